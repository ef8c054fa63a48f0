"""The warning of common input: what residuals share above chance, and what follows from it."""

import numpy as np
import pytest
from small import TESTED
from test_baselines import binned_of, split_of

import nwbdyn
from nwbdyn.evaluation import verdict
from nwbdyn.fitting.stages import common_input_warning
from nwbdyn.results.sections.common_input import CommonInput
from nwbdyn.simulate import sample
from nwbdyn.statistics.common_input import LIMIT, common_input, excess_eigenvalue, residuals_of
from nwbdyn.statistics.rung_gains import climbed


def columns(num_rows, num_neurons, shared, seed=0):
    """Noise of each column, and a share of the variance that all have in common."""
    draw = np.random.default_rng(seed)
    own = draw.normal(size=(num_rows, num_neurons))
    return np.sqrt(1 - shared) * own + np.sqrt(shared) * draw.normal(size=(num_rows, 1))


@pytest.mark.parametrize("num_neurons", [3, 30, 100])
def test_independent_residuals_have_no_excess(num_neurons):
    assert excess_eigenvalue(columns(1500, num_neurons, 0.0)) < LIMIT / 3


@pytest.mark.parametrize("shared", [0.1, 0.3])
def test_the_excess_is_about_the_share_of_the_variance_that_is_common(shared):
    # first eigenvalue of a matrix with correlation c everywhere: 1 + c (N - 1)
    num_rows, num_neurons = 20_000, 40
    chance = (1 + np.sqrt(num_neurons / num_rows)) ** 2
    expected = (1 + shared * (num_neurons - 1) - chance) / num_neurons
    actual = excess_eigenvalue(columns(num_rows, num_neurons, shared))
    assert actual == pytest.approx(expected, abs=0.01)
    assert actual > LIMIT


@pytest.mark.parametrize(("num_neurons", "measured"), [(2, False), (3, True)])
def test_at_least_three_neurons_are_measured(num_neurons, measured):
    binned, split = binned_of(columns(600, num_neurons, 0.0)), split_of(600, num_neurons)
    problem, ladder = climbed(binned, split, 3, 1, "M2")
    assert (common_input(binned, problem, ladder) is not None) is measured


def test_residuals_of_counts_have_unit_variance():
    counts = np.random.default_rng(0).poisson(3.0, (3000, 3)).astype(np.float32)
    binned, split = binned_of(counts, "counts"), split_of(3000, 3)
    problem, ladder = climbed(binned, split, 3, 1, "M2")
    residuals = residuals_of(binned, problem, ladder, "M2")
    np.testing.assert_allclose(residuals.std(axis=0), 1.0, atol=0.05)


def shared_rates(variance, mean, seed=0):
    """Counts of 20 units in 20,000 bins whose rates share a relative variance, anew in each bin."""
    draw = np.random.default_rng(seed)
    common = draw.gamma(1 / variance, variance, (20_000, 1)) if variance else np.ones((20_000, 1))
    return draw.poisson(mean * common * np.ones(20)).astype(np.float32)


@pytest.mark.parametrize("mean", [0.1, 0.5])
@pytest.mark.parametrize(("variance", "above"), [(0.0, False), (0.1, True)])
def test_the_excess_of_counts_is_the_relative_variance_that_rates_share(mean, variance, above):
    binned = binned_of(shared_rates(variance, mean), "counts")
    problem, ladder = climbed(binned, split_of(20_000, 3), 3, 1, "M2")
    measured = common_input(binned, problem, ladder)
    # residuals correlate by m v / (1 + m v); chance is subtracted, as for traces
    correlation = mean * variance / (1 + mean * variance)
    chance = (1 + np.sqrt(20 / problem.train.size)) ** 2
    expected = (1 + 19 * correlation - chance) / 20 / mean
    if variance:
        assert measured.excess == pytest.approx(expected, abs=0.03)
    assert (measured.above, measured.of_rates) == (above, True)


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({}, "the neurons share 0.052 of their residual variance"),
        ({"of_rates": False}, "the neurons share 0.052 of their residual variance"),
        ({"of_rates": True}, "the rates of the neurons share a relative variance of 0.052"),
    ],
)
def test_what_is_shared_is_named(section, words):
    measured = CommonInput.from_json({"excess": 0.052, "limit": LIMIT, "above": True} | section)
    assert words in measured.q_withheld_reason
    assert words in measured.sentences(withheld_for_it=False)[0]


@pytest.mark.parametrize(
    ("section", "withheld"),
    [
        (None, False),
        ({"excess": 0.004, "limit": LIMIT, "above": False}, False),
        ({"excess": 0.052, "limit": LIMIT, "above": True}, True),
    ],
)
def test_common_input_is_a_reason_to_give_no_q(section, withheld):
    metrics = {} if section is None else {"common_input": section}
    reason = common_input_warning.q_withheld_reason(metrics)
    assert bool(reason) is withheld
    assert ("0.052" in reason) is withheld


@pytest.mark.parametrize(("kind", "above"), [("rate", False), ("hidden", True)])
def test_a_fit_warns_of_common_input(kind, above):
    recording, _ = sample(f"sample:network?kind={kind}&seed=21&neurons=20")
    fit = nwbdyn.fit(recording, "synapsnet", options={"own_part": False}, report=False)
    assert fit.metrics["common_input"]["above"] is above
    assert (fit.metrics["common_input"]["excess"] > LIMIT) is above
    assert ("common-input" in {note.code for note in fit.notes}) is above


REASON = CommonInput(0.052, LIMIT, True).q_withheld_reason


@pytest.mark.parametrize(
    ("above", "withheld", "warned"),
    [
        (True, None, True),
        (True, "", True),
        (False, None, False),
        (True, REASON, False),
        (True, "traces have common input", True),
    ],
)
def test_the_verdict_warns_once(above, withheld, warned):
    tested = {} if withheld is None else {"edges": TESTED | {"withheld": withheld}}
    measured = {"excess": 0.052, "limit": LIMIT, "above": above}
    words = verdict._common_input({"common_input": measured} | tested)
    assert bool(words) is warned


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "above"), [("rate", False), ("hidden", True)])
def test_edges_have_no_q_where_common_input_is_likely(kind, above):
    recording, _ = sample(f"sample:network?kind={kind}&seed=21&neurons=30")
    fit = nwbdyn.fit(
        recording, "synapsnet", null="shift:20", options={"own_part": False}, report=False
    )
    assert bool(fit.metrics["edges"]["withheld"]) is above
    directed = fit.edges[fit.edges["kind"] == "directed"]
    assert directed["q"].isna().all() == above
    assert directed["p"].notna().all()
    words = " ".join(verdict.sentences(fit.metrics, "synapsnet"))
    assert ("common input; neurons without a connection" in words) is above
