"""Sparse coupling: its regression equals a slow one, and validation decides between the forms."""

import numpy as np
import pytest
from ladder_reference import ridge
from test_baselines import binned_of, split_of
from test_ladder import ROWS, climbed, fit_task, recording, sets_of_senders

from nwbdyn.baselines.ladder import Gain, climb
from nwbdyn.baselines.ladder.ridge import SenderRidge
from nwbdyn.baselines.ladder.selection import Choice, improves
from nwbdyn.baselines.ladder.sparse import FORMS, SparseSenders
from nwbdyn.baselines.ladder.terms import Past

NUM_NEURONS = 16


def network(share, num_bins=3000, seed=0):
    """A linear network with a share of the pairs coupled, and its couplings [post, pre]."""
    random = np.random.default_rng(seed)
    coupling = random.choice([-1.0, 1.0], size=(NUM_NEURONS, NUM_NEURONS))
    coupling *= random.random(coupling.shape) < share
    np.fill_diagonal(coupling, 0)
    coupling *= 0.5 / np.sqrt(share * NUM_NEURONS)
    activity = np.zeros((num_bins, NUM_NEURONS))
    for t in range(1, num_bins):
        noise = random.normal(size=NUM_NEURONS)
        activity[t] = 0.3 * activity[t - 1] + coupling @ activity[t - 1] + noise
    return activity, coupling


def sparse_of(past, problem, below, terms, penalties):
    senders, lags, rows = sets_of_senders(past)[terms], past.lags(5), problem.train
    target = problem.targets(rows) - below[rows].astype(float)
    dense = SenderRidge(senders, lags, rows, target)
    return SparseSenders(dense, penalties, np.full(4, 0.2)), dense, target, senders, lags


@pytest.mark.parametrize("terms", ["last bin", "last 3 bins"])
def test_a_sparse_form_equals_least_squares_on_the_strong_senders_and_own_lags(terms):
    binned, split = recording()
    problem, alone = fit_task(binned, split)
    past, penalties = Past.of(problem), np.array([0.1, 1.0, 0.1, np.inf])
    parts = sparse_of(past, problem, alone.predicted, terms, penalties)
    block, dense, target, senders, lags = parts
    number = FORMS.index((1.5, 0.1))
    (coefficients,) = block.path(np.array([float(number)]))
    (predicted,) = block.apply(ROWS, [coefficients])
    whole = senders(problem.train)
    gram = np.corrcoef(whole.T)
    for neuron, penalty in enumerate(penalties[:3]):
        one = slice(neuron, neuron + 1)
        inverse = np.linalg.inv(gram + penalty * np.eye(len(gram)))
        errors = 0.2 * np.sqrt(np.diag(inverse @ gram @ inverse) / len(whole))
        (full,) = dense.path(np.array([penalty]))
        strong = np.abs(full[neuron, : len(gram)] * whole.std(axis=0)) > 1.5 * errors
        assert 0 < strong.sum() < len(gram)  # the neuron's own terms at least are 0
        inputs = np.hstack([whole[:, strong], lags(problem.train, one)[0]])
        others = np.hstack([senders(ROWS)[:, strong], lags(ROWS, one)[0]])
        slow = ridge(inputs, target[:, neuron], 0.1 * penalty)
        np.testing.assert_allclose(predicted[:, neuron], slow(others), atol=1e-8)
        assert ((coefficients[neuron, : len(gram)] != 0) == strong).all()
    assert (coefficients[3] == 0).all()  # an infinite penalty


@pytest.mark.parametrize(
    ("sparse", "dense", "above", "better"),
    [
        ([4.0, 5.0, 4.0, 5.0], [2.0, 2.0, 2.0, 2.0], True, True),
        ([4.0, 5.0, 4.0, 5.0], [4.0, 5.0, 4.1, 5.0], True, False),
        ([4.0, 3.0, 3.0, 2.0], [2.0, 2.0, 3.0, 3.0], True, False),  # mean .5, one error .65
        ([4.0, 5.0, 4.0, 5.0], [2.0, 2.0, 2.0, 2.0], False, False),  # below the lower rung
    ],
)
def test_a_sparse_form_needs_a_gain_over_the_other_one(sparse, dense, above, better):
    none, gain = np.zeros(1), Gain(1.0, 0.1, 4, above)
    one, other = (Choice(none, "shared", gain, np.array(gains)) for gains in (sparse, dense))
    assert improves(one, other) is better


@pytest.mark.parametrize("share", [0.1, 1.0])
def test_few_couplings_are_fitted_alone_and_many_are_not(share):
    activity, coupling = network(share)
    binned, split = binned_of(activity), split_of(len(activity), NUM_NEURONS)
    rung = climbed(binned, split, to="M2")["M2"]
    assert ("M2 last bin, sparse" in rung.choices) is (share < 1)
    if share < 1:
        weights = rung.coupling * activity.std(0)[:, None] / activity.std(0)
        assert (weights[coupling != 0] != 0).all()
        assert rung.chosen["last bin, share of pairs"] == pytest.approx(
            (rung.coupling != 0).sum() / (NUM_NEURONS * (NUM_NEURONS - 1))
        )
        assert rung.chosen["last bin, share of pairs"] < 0.3


def test_a_ladder_that_is_taken_over_keeps_the_sparse_form():
    activity, _ = network(0.1)
    binned, split = binned_of(activity), split_of(len(activity), NUM_NEURONS)
    problem, alone = fit_task(binned, split)
    first = climb(binned, problem, alone, to="M2")
    again = climb(binned, problem, alone, to="M2", like=first)
    np.testing.assert_allclose(again["M2"].coupling, first["M2"].coupling, atol=1e-9)
    other, _ = network(0.1, seed=1)
    binned = binned_of(other)
    problem, alone = fit_task(binned, split)
    third = climb(binned, problem, alone, to="M2", like=first)
    assert 0 < (third["M2"].coupling != 0).mean() < 0.5
