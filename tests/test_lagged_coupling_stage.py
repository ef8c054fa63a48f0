"""Edges over lags in a fit: what is tested, when q is given, and what is refused."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from small import poisson_spikes, units
from test_refits import EDGES, QUICK, traces

from nwbdyn.errors import ConfigError
from nwbdyn.fitting.fit import fit
from nwbdyn.fitting.stages import lagged_coupling, recording_edges
from nwbdyn.fitting.task import build_task
from nwbdyn.recording import Neurons
from nwbdyn.statistics.lagged import LaggedCouplings
from nwbdyn.statistics.lagged_regression import SenderTerms
from nwbdyn.statistics.slow_activity import slow_activity, slow_input
from nwbdyn.statistics.surrogates import Null

ADDS = {"metric": "r2", "split": "test", "adds": 0.1, "interval": [0.05, 0.15]}
FEW = {"preset": "paper", **QUICK, "updates": 4}


@pytest.fixture(scope="module")
def fitted():
    return fit(traces(EDGES, num_frames=300), "synapsnet", options=FEW)


@pytest.fixture(scope="module")
def task():
    return build_task(traces(EDGES, num_frames=300), "synapsnet", seed=0, options=FEW)


@pytest.mark.parametrize(
    ("coupling", "shared", "slow", "number", "reason"),
    [
        (ADDS, False, None, 20, ""),
        (ADDS, False, 0.015, 20, ""),
        (ADDS, False, None, 19, "20 suffice"),
        (ADDS | {"interval": [-0.1, 0.3]}, False, None, 20, "coupling adds nothing"),
        (ADDS | {"all_zero": True}, False, 0.1, 20, "no coupling was kept"),
        (ADDS, True, 0.1, 20, "residual variance"),
        (ADDS, False, 0.016, 20, "older activity of the population"),
    ],
)
def test_when_edges_have_no_q(fitted, coupling, shared, slow, number, reason):
    metrics = {
        "coupling": coupling,
        "common_input": {"excess": 0.05, "limit": 0.015, "above": shared},
    }
    actual = lagged_coupling.why_not_called(
        replace(fitted, metrics=metrics), num_surrogates=number, slow=slow
    )
    assert bool(actual) is bool(reason)
    assert reason in actual


def test_a_withheld_q_leaves_p_and_gives_its_reason(fitted, task):
    made = replace(fitted, metrics=fitted.metrics | {"coupling": ADDS | {"adds": -1.0}})
    made.metrics["coupling"]["interval"] = [-1.1, -0.9]
    actual = lagged_coupling.result_of(made, task, Null("shift", 20)).added_to(made)
    assert actual.edges["q"].isna().all()
    assert actual.edges["p"].notna().all()
    summary = actual.metrics["edges"]
    assert summary["num_significant"] is None
    assert summary["withheld"].startswith("coupling adds nothing")
    assert [note.code for note in actual.notes][-1] == "q-withheld"


def test_a_delay_of_three_bins_is_found_and_named():
    draw = np.random.default_rng(0)
    recording = traces({}, num_frames=700)
    values = np.array(recording.activity.data[:])
    for frame in range(3, 700):
        values[frame] = 0.4 * values[frame - 1] + draw.normal(0, 0.3, 6)
        values[frame, 1] += 0.5 * values[frame - 3, 0]
    delayed = replace(recording, activity=replace(recording.activity, data=values))
    made = fit(delayed, "synapsnet", options=FEW)
    made = replace(made, metrics=made.metrics | {"coupling": ADDS})
    problem = build_task(delayed, "synapsnet", seed=0, options=FEW)
    actual = lagged_coupling.result_of(made, problem, Null("shift", 20)).added_to(made)
    (edge,) = actual.connectivity.edges(q=0.05).to_dict("records")
    assert (edge["pre_id"], edge["post_id"], edge["lag"]) == (0, 1, 3)
    assert edge["weight"] == pytest.approx(0.5, abs=4 * edge["se"])


def test_values_are_z_scored_traces_with_the_mean_for_what_is_missing(task):
    binned = task.binned
    holes = np.array(binned.values)
    holes[5, 2] = np.nan
    valid = np.array(binned.valid)
    valid[9] = False
    actual = lagged_coupling._values(task, replace(binned, values=holes, valid=valid))
    scaled = (binned.values[7] - task.windows.mean) / task.windows.sd
    np.testing.assert_allclose(actual[7], scaled, rtol=1e-5)
    assert actual[5, 2] == 0
    assert np.isnan(actual[9]).all()
    assert np.isfinite(actual[[8, 10]]).all()


def test_counts_stay_counts():
    problem = build_task(units(poisson_spikes(4, 60.0)), "synapsnet", seed=0, options=QUICK)
    actual = lagged_coupling._values(problem, problem.binned)
    used = problem.binned.valid
    np.testing.assert_array_equal(actual[used], problem.binned.values[used])


@pytest.mark.parametrize("measured", [False, True])
def test_slow_activity_of_counts_is_a_covariate_beside_measured_ones(measured):
    problem = build_task(units(poisson_spikes(4, 60.0)), "synapsnet", seed=0, options=QUICK)
    binned = problem.binned
    beside = np.ones((binned.num_bins, 1)) if measured else None
    given = replace(problem, binned=replace(binned, covariates=beside))
    actual = lagged_coupling.covariates(given)
    slow = slow_activity(lagged_coupling._values(problem, binned), binned.segment)
    assert actual.shape == (binned.num_bins, 6 + measured)
    np.testing.assert_array_equal(actual[:, measured:], slow)


def test_the_slow_input_is_that_of_counts():
    problem = build_task(units(poisson_spikes(4, 60.0)), "synapsnet", seed=0, options=QUICK)
    values = lagged_coupling._values(problem, problem.binned)
    expected = slow_input(values, problem.binned.segment, [values[::-1]])
    assert lagged_coupling.slow_input_of(problem, [values[::-1]]) == expected


def test_traces_have_no_slow_input(task):
    assert lagged_coupling.slow_input_of(task, []) is None


def test_traces_have_the_measured_covariates_alone(task):
    assert lagged_coupling.covariates(task) is task.binned.covariates


@pytest.mark.parametrize(("kept", "refused"), [(17, False), (16, True)])
def test_a_recording_with_too_few_bins_is_refused_before_training(task, kept, refused):
    # 6 neurons: 14 bins with three bins of past
    valid = np.arange(task.binned.num_bins) < kept
    short = replace(task, binned=replace(task.binned, valid=valid))
    if refused:
        with pytest.raises(ConfigError, match="14 are needed"):
            lagged_coupling.check(short)
    else:
        lagged_coupling.check(short)


@pytest.mark.parametrize(
    ("terms", "counts", "measure", "words"),
    [
        (
            *(SenderTerms(3, True), False, "sd of the receiver per sd of the sender, summed over "),
            "last 3 bins and nonlinear functions of the last one",
        ),
        (SenderTerms(2, False), True, "spikes of the receiver per spike", "last 2 bins"),
        (SenderTerms(1, False), False, "sd of the receiver per sd of the sender, at lag 1",
         "last bin"),
    ],
)  # fmt: skip
def test_what_was_tested_is_given_in_words(terms, counts, measure, words):
    none = np.zeros((2, 2))
    made = LaggedCouplings(terms, none, none, none[None], none, none, none, none, 2, 10)
    assert lagged_coupling.measure(made, counts=counts).startswith(measure)
    assert lagged_coupling.terms(made) == words


def test_edges_of_a_recording_are_ordered_by_certainty_and_keep_the_weights_of_the_model():
    neurons = Neurons(pd.DataFrame({"id": [7, 8]}), "roi")
    statistics = {
        name: np.array(matrix, dtype=float)
        for name, matrix in {
            "weight": [[0, 1], [3, 0]],
            "se": [[1, 0.1], [1, 1]],
            "p": [[np.nan, 0.001], [0.2, np.nan]],
            "q": [[np.nan, 0.002], [0.2, np.nan]],
        }.items()
    }
    statistics["flags"] = np.array([["", "near"], ["", ""]], dtype=object)
    modelled = pd.DataFrame(
        {
            **{"pre_id": [7, 8], "post_id": [8, 7], "weight": [0.3, 0.1], "influence": [0.5, 0.7]},
            **{"kind": ["directed"] * 2, "state": [""] * 2},
        }
    )
    size = np.array([[0, 10.0], [3.0, 0]])
    lag = np.array([[1, 3], [2, 1]])
    table = recording_edges.table_of(statistics, modelled, neurons, size=size, lag=lag)
    shown = table[["pre_id", "post_id", "lag", "weight", "flags", "model_weight", "influence"]]
    assert shown.to_numpy().tolist() == [
        [8, 7, 3, 1.0, "near", 0.1, 0.7],
        [7, 8, 2, 3.0, "", 0.3, 0.5],
    ]
    assert table.attrs == {"num_pairs": 2, "kept_share": 1.0}
    summary = recording_edges.summary_of(statistics, num_surrogates=4)
    assert (summary["num_edges"], summary["num_untested"]) == (2, 0)
    assert (summary["num_significant"], summary["num_significant_unflagged"]) == (1, 0)
    assert (summary["num_flagged"], summary["mean_weight"]) == (1, 2.0)
