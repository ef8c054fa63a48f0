"""Rungs of counts: the mean of the window, and how much of own dynamics stays beside coupling."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from test_baselines import binned_of, shared_latent_counts, split_of

from nwbdyn.baselines.ladder import Gain, climb
from nwbdyn.baselines.ladder.coefficients import coefficients
from nwbdyn.baselines.ladder.coupled import OWN_SHARES
from nwbdyn.baselines.ladder.selection import Choice, improves
from nwbdyn.baselines.ladder.smoothing import log_rates
from nwbdyn.baselines.lagged_design import build_lagged_design
from nwbdyn.data.windows import Windows, WindowSpec
from nwbdyn.models._core import Core
from nwbdyn.models._core_terms import WINDOW_SHARES
from nwbdyn.training import lower_rungs

OWN = "M2 rates, own dynamics"


def fit_task(counts, context=5):
    binned = binned_of(np.asarray(counts), "counts")
    return binned, build_lagged_design(binned, split_of(*binned.values.shape), context, 1)


def climbed(counts, context=5, like=None):
    binned, problem = fit_task(counts, context)
    return climb(binned, problem, None, to="M2", like=like)


def fading(num_bins=4000, seed=0):
    """Two neurons, each of which is silent for long stretches and for good in the last third."""
    random = np.random.default_rng(seed)
    active = np.repeat(random.random((num_bins // 200, 2)) < 0.6, 200, axis=0)
    active[2 * num_bins // 3 :] = False
    active[:, 1] |= np.arange(num_bins) % 1000 > 900
    return random.poisson(np.where(active, 0.8, 0.0))


def test_the_mean_of_a_window_is_that_of_its_last_bins():
    counts = np.zeros((60, 1))
    counts[[10, 12, 13]] = [[2], [4], [6]]
    binned, problem = fit_task(counts, context=4)
    rates = log_rates(binned, problem)
    np.testing.assert_allclose(rates.window[9:18, 0], np.array([0, 2, 2, 6, 12, 10, 10, 6, 0]) / 4)
    mean = rates.window[problem.train].mean()
    np.testing.assert_allclose(rates.scaling[3:, 0, 0], mean * np.array(WINDOW_SHARES), rtol=1e-5)


def test_a_neuron_that_falls_silent_is_predicted_by_the_mean_of_its_window():
    ladder = climbed(fading(), context=25)
    assert ladder["M0"].chosen["history"] == "filters and window"


def test_terms_of_the_window_are_logs_of_its_mean():
    binned, problem = fit_task(fading(), context=25)
    past = climb(binned, problem, None, to="M0").past
    rows = np.array([700, 2100])
    *_, last = past.rates(rows, slice(1, 2))
    added, centre, sd = past.scaling[-1, :, 1]
    mean = np.array([binned.values[row - 25 : row, 1].mean() for row in rows])
    np.testing.assert_allclose(last[0], (np.log(mean + added) - centre) / sd, atol=1e-5)


def test_own_dynamics_give_way_where_all_neurons_follow_one_latent():
    counts, _ = shared_latent_counts(4000, 12)
    first = climbed(counts)
    assert first["M2"].chosen["rates, share of own dynamics"] in OWN_SHARES
    again = climbed(counts, like=first)
    np.testing.assert_allclose(again["M2"].linear, first["M2"].linear, atol=1e-5)


def test_own_dynamics_stay_beside_coupling_that_needs_no_other_form():
    random, counts, trace = np.random.default_rng(0), np.zeros((4000, 4)), np.zeros(4)
    for t in range(1, 4000):
        trace = 0.8 * trace + 0.2 * counts[t - 1]
        sent = 0.9 * np.array([0, counts[t - 1, 0], 0, counts[t - 1, 2]])
        drive = np.array([1.2, 1.0, 1.2, 1.0]) * (trace - 0.5) + sent
        counts[t] = random.poisson(0.4 * np.exp(np.clip(drive, -3, 1.5)))
    rung = climbed(counts)["M2"]
    assert rung.used
    assert OWN not in rung.choices


def test_own_dynamics_stay_where_the_others_predict_nothing():
    assert OWN not in climbed(fading(), context=25)["M2"].choices


@pytest.mark.parametrize("counts", [shared_latent_counts(4000, 12)[0], fading()])
def test_a_core_of_counts_equals_the_ladder(counts):
    binned, _ = fit_task(counts)
    split = split_of(*binned.values.shape, gap=20)
    windows = Windows(binned, split, WindowSpec(context=5), device=torch.device("cpu"))
    rungs = lower_rungs.fit(windows, like=climbed(counts))
    assert (OWN in rungs.ladder["M2"].choices) is (counts.shape[1] == 12)
    with_core = lower_rungs.attached(windows, rungs)
    core = Core(counts.shape[1], 0, context=5, counts=True)
    core.load_state_dict(with_core.core)
    for batch in with_core.batches("test", 200):
        torch.testing.assert_close(core(batch), batch.lower[:, 0], atol=2e-4, rtol=0)


def test_a_neuron_without_senders_keeps_its_own_dynamics():
    counts, _ = shared_latent_counts(4000, 12)
    binned, problem = fit_task(counts)
    first = climb(binned, problem, None, to="M2")
    choice, number = first["M2"].choices[OWN]
    penalties = choice.penalties.copy()
    penalties[0] = np.inf
    m2 = first["M2"]
    m2 = replace(m2, choices=m2.choices | {OWN: (replace(choice, penalties=penalties), number)})
    off = Choice(np.full(12, np.inf), "shared", Gain(0.0, 0.0, 12, False))
    m2 = replace(m2, choices=m2.choices | {"M2 last bin": (off, 0)})
    again = climb(binned, problem, None, to="M2", like=replace(first, rungs=(*first.rungs[:2], m2)))
    rows = problem.rows
    lower, upper = (again[name].linear[rows] for name in ("M1", "M2"))
    np.testing.assert_allclose(upper[:, 0], lower[:, 0], atol=1e-5)
    assert np.abs(upper[:, 1] - lower[:, 1]).max() > 0.1
    own, all_of_it = (coefficients(again, num_lags=5, to=name) for name in ("M1", "M2"))
    np.testing.assert_allclose(all_of_it.curved[0], own.curved[0], atol=1e-9)
    assert (all_of_it.senders[:, 0] == 0).all()


@pytest.mark.parametrize(
    ("gains", "num_forms", "better"),
    [
        ([3.4, 0.3, 0.5, 0.0], 1, True),  # mean 1.05, error .79: 1.33 errors
        ([3.4, 0.3, 0.5, 0.0], 3, False),  # the best of three has to exceed 1.62
        ([3.4, 1.3, 1.5, 1.0], 3, True),
    ],
)
def test_the_best_of_more_forms_needs_a_larger_gain(gains, num_forms, better):
    gain = Gain(1.0, 0.1, 4, True)
    one, other = (Choice(np.zeros(1), "shared", gain, np.array(g)) for g in (gains, [0.0] * 4))
    assert improves(one, other, num_forms=num_forms) is better
