"""Changes, states and refits: each branch of each decision of trust, from numbers by hand."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from small import poisson_spikes, rois, trial_table, units
from test_refits import EDGES, QUICK, traces

from nwbdyn.connectivity import edge_table
from nwbdyn.errors import ConfigError, DataError
from nwbdyn.evaluation import scoring
from nwbdyn.fitting import train_models
from nwbdyn.fitting.assemble import task_of
from nwbdyn.fitting.fit import fit
from nwbdyn.fitting.stage import FitInputs
from nwbdyn.fitting.stages import edge_tests, static_control, surrogate_data
from nwbdyn.fitting.stages.edge_tests import EdgeRefits
from nwbdyn.fitting.stages.lagged_coupling import LaggedCoupling
from nwbdyn.fitting.task import build_task
from nwbdyn.fitting.train_models import RunContext
from nwbdyn.inference import readout
from nwbdyn.request import DataOptions, FitRequest
from nwbdyn.results.sections.difference import Difference
from nwbdyn.statistics import states
from nwbdyn.statistics.significance import NullSamples
from nwbdyn.statistics.surrogates import Null

ABOVE, AROUND, BELOW = [0.01, 0.03], [-0.01, 0.03], [-0.03, -0.01]
FROZEN = {
    "start": 1.0,
    "learning_rate": 1e-9,
    "epochs": 1,
    "ridge": 0.0,
    "embedding": 9,
    "history": 5,
}  # nothing is learned: what a matrix holds is its start


# --- is a change supported ---


@pytest.mark.parametrize(
    ("interval", "beats", "supported"),
    [
        (ABOVE, True, True),
        (ABOVE, False, False),
        (ABOVE, None, False),
        (AROUND, True, False),
        (BELOW, True, False),
        (None, True, False),
        (AROUND, False, False),
    ],
)
def test_a_change_beats_the_constant_refit_and_the_baseline(interval, beats, supported):
    static = Difference("r2", "test", 0.5, 0.4, 0.1, interval)
    assert static_control.supported(static, beats) is supported
    assert static_control.supported(None, beats) is None


@pytest.mark.parametrize(("more", "trained"), [({}, True), ({"static": True}, False),
                                               ({"coupling": False}, False)])  # fmt: skip
def test_a_constant_refit_is_trained_where_coupling_can_change(more, trained):
    problem = build_task(traces(EDGES, num_frames=200), "netformer", seed=0, options=FROZEN | more)
    (own,) = train_models.train_seeds(problem, [0], RunContext())
    refit = static_control.train_static(problem, own, RunContext())
    assert (refit is not None) is trained
    if refit is not None:
        assert refit.model.config.static
        ours, theirs = (readout.predict(one.model, problem.windows) for one in (own, refit))
        actual = static_control.against_static(problem, own, refit)
        assert actual == scoring.paired_difference(task_of(problem), ours, theirs)
        assert actual.with_ != actual.without


@pytest.mark.parametrize(
    ("agreement", "stable"),
    [([1.0, 1.0], 1.0), ([1.0, 0.9], 0.5), ([0.5, 0.0], 0.0), ([np.nan, np.nan], None)],
)
def test_an_edge_is_stable_where_all_agree_on_its_sign(agreement, stable):
    edges = pd.DataFrame({"sign_agreement": agreement})
    assert static_control._stable(edges, "sign_agreement") == stable
    assert static_control._stable(edges, "half_split_agreement") is None


def test_what_a_fit_adds_to_its_baseline_is_its_own_score_minus_that():
    metrics = {
        "primary": {"metric": "r2", "split": "test", "baseline": "AR"},
        "model": {"test": {"r2": 0.5}},
        "baselines": {"AR": {"test": {"r2": 0.4}}},
        "intervals": {"difference": {"test": {"r2": [0.05, 0.15]}}},
    }
    actual = static_control.against_baseline(metrics)
    assert actual.adds == pytest.approx(0.1)
    assert actual.interval == [0.05, 0.15]
    assert static_control.against_baseline(
        metrics | {"primary": metrics["primary"] | {"baseline": None}}
    ) is None  # fmt: skip


# --- what is asked, and refused ---


def planned(recording, model, options, **tests):
    task = build_task(recording, model, seed=0, options=options)
    request = FitRequest.from_keywords(model, **tests)
    kind = EdgeRefits if task.co_smoothing else LaggedCoupling
    return kind.plan(request, task, FitInputs(recording, refit=fit))


def test_what_has_no_answer_is_refused_before_training():
    spikes = units(poisson_spikes(12, 30.0))
    assert planned(spikes, "stndt", {}) is None
    with pytest.raises(ConfigError, match="add --set causal_mask_ratio"):
        planned(spikes, "stndt", {}, null="shift:20")
    hidden = planned(spikes, "stndt", {"causal_mask_ratio": 0.2}, null="shift:20")
    assert hidden.record == {"null": "shift:20"}
    asleep = with_states(stage=["rem", "nrem"])
    stage = planned(asleep, "synapsnet", QUICK, null="shift:20")
    assert stage.record == {"null": "shift:20"}


@pytest.mark.parametrize(("most", "refused"), [(6, False), (5, True)])
def test_a_null_of_too_many_neurons_is_refused(most, refused, monkeypatch):
    recording = traces(EDGES, num_frames=200)
    monkeypatch.setattr(edge_tests, "MOST_NEURONS", most)
    if refused:
        with pytest.raises(ConfigError, match="6 neurons have no edge table"):
            planned(recording, "synapsnet", QUICK, null="shift:2")
    else:
        assert planned(recording, "synapsnet", QUICK, null="shift:2") is not None


@pytest.mark.parametrize(
    ("named", "kind", "refused"),
    [(None, "shift", False), (None, "trials", True), ("trials", "trials", False)],
)
def test_trials_are_shuffled_where_a_table_is_named(named, kind, refused):
    table = trial_table(np.arange(0, 69, 2.0), 1.9)
    recording = traces(EDGES, trials=table)
    problem = build_task(
        recording, "synapsnet", seed=0, options=QUICK, data=DataOptions(trials=named)
    )
    actual = surrogate_data.trials(problem)
    assert (actual is not None) is (named is not None)
    if actual is not None:
        assert actual[1].tolist() == list(range(0, 700, 20))[: len(table)]
        assert (actual[2] - actual[1] == 19).all()
    if refused:
        with pytest.raises(ConfigError, match="name the interval table"):
            edge_tests.check(problem, Null(kind, 2))
        return
    edge_tests.check(problem, Null(kind, 2))
    make, words = surrogate_data.recipe(problem, Null(kind, 2))
    assert ("circular shifts by 3 bins" in words) is (kind == "shift")
    assert ("trials shuffled" in words) is (kind == "trials")
    first, other = (make(np.random.default_rng(seed)) for seed in (0, 1))
    assert not np.array_equal(first.values, other.values)


def test_a_neuron_of_a_co_smoothing_model_is_shifted_by_a_window_at_least():
    options = {"context": 10, "forward": 5, "layers": 1}
    problem = build_task(units(poisson_spikes(12, 60.0)), "stndt", seed=0, options=options)
    assert problem.windows.length == 15
    assert "by 15 bins" in surrogate_data.recipe(problem, Null("shift", 2))[1]


# --- refits ---


@pytest.fixture(scope="module")
def slow():
    """A problem of traces that remember ten bins, with a context of three."""
    draw = np.random.default_rng(0)
    x = np.zeros((2000, 3))
    for t in range(1, 2000):
        x[t] = 0.9 * x[t - 1] + draw.normal(size=3)
    return build_task(rois(x, np.arange(2000) / 10), "synapsnet", seed=0, options=QUICK)


def test_halves_are_random_complementary_and_of_whole_blocks(slow):
    from nwbdyn.evaluation import blocks

    rows = slow.split.bins("train")
    length = 2 * blocks.memory(slow.binned.values[rows])
    assert length > 10
    halves = [one for (one,) in edge_tests.complementary_halves([slow], seed=0)]
    assert len(halves) == 2 * edge_tests.HALF_PAIRS
    for half, rest in zip(halves[::2], halves[1::2], strict=True):
        assert (half != rest).all()
        assert half[rows].mean() == pytest.approx(0.5, abs=1.5 * length / rows.sum())
        whole = half[: 60 * length].reshape(60, length)
        assert (whole == whole[:, :1]).all()
        firsts = np.flatnonzero(np.diff(half[: rows.sum()].astype(int)))
        assert len(firsts) > 10  # no half is one stretch
        windows_of = surrogate_data.windows_over(slow, slow.binned, targets=half)
        assert half[windows_of.starts("train") + slow.spec.context].all()
    different = {half.tobytes() for half in halves}
    assert len(different) == len(halves)
    (again,) = edge_tests.complementary_halves([slow], seed=0)[0]
    assert (again == halves[0]).all()


def test_blocks_of_counts_are_at_least_five_seconds():
    problem = build_task(units(poisson_spikes(6, 120.0)), "synapsnet", seed=0, options=QUICK)
    length = round(5 / problem.binned.bin_width)
    half = surrogate_data.half_of_blocks(problem, np.random.default_rng(0))
    whole = half[: 10 * length].reshape(10, length)
    assert (whole == whole[:, :1]).all()


@pytest.fixture(scope="module")
def collected():
    """Two models that learned nothing, and what their refits on surrogates and halves hold."""
    problem = build_task(traces(EDGES, num_frames=300), "netformer", seed=0, options=FROZEN)
    trained = train_models.train_seeds(problem, [3, 4], RunContext())
    actual = edge_tests.collect(problem, trained, Null("shift", 2), RunContext(), seed=3)
    return problem, trained, actual


def test_the_tested_weight_is_the_mean_over_seeds_and_surrogates_start_like_the_first(collected):
    problem, trained, actual = collected
    own = [edge_tests.matrix(one.model, problem.windows) for one in trained]
    assert np.abs(own[0] - own[1]).max() > 0.1
    np.testing.assert_allclose(actual.weight, np.mean(own, axis=0))
    np.testing.assert_allclose(
        own[0], readout.connectivity(trained[0].model, problem.windows).mean(), rtol=1e-6
    )
    assert (actual.kind, actual.tested) == ("shift", "weight")
    assert actual.halves.shape == (edge_tests.HALF_PAIRS, 2, 6, 6)


def test_every_surrogate_is_another_draw():
    problem = build_task(traces(EDGES, num_frames=300), "netformer", seed=0,
                   options=FROZEN | {"learning_rate": 0.01})  # fmt: skip
    (own,) = train_models.train_seeds(problem, [0], RunContext())
    actual = edge_tests.collect(problem, [own], Null("shift", 2), RunContext(), seed=0)
    assert np.abs(actual.null[0] - actual.null[1]).max() > 1e-4


def test_surrogates_of_a_fit_are_drawn_with_its_seed():
    made = [
        fit(traces(EDGES, num_frames=300), "netformer", null="shift:20", seed=seed,
            options=FROZEN | {"static": True})
        for seed in (1, 1, 2)
    ]  # fmt: skip
    p = [edge_table.directed(one.edges)["p"].to_numpy() for one in made]
    np.testing.assert_array_equal(p[0], p[1])
    assert np.abs(np.sort(p[0]) - np.sort(p[2])).max() > 0


@pytest.mark.parametrize(("resume", "read_again"), [(True, False), (False, True)])
def test_matrices_of_an_earlier_run_count_where_it_is_resumed(resume, read_again, tmp_path):
    problem = build_task(traces(EDGES, num_frames=200), "netformer", seed=0, options=FROZEN)
    (tmp_path / "refits").mkdir()
    np.save(tmp_path / "refits" / "made-0.npy", np.full(2, 99.0))
    actual = edge_tests.matrices(
        problem,
        "made",
        lambda numbers: [problem.windows for _ in numbers],
        [0],
        RunContext(run=tmp_path, resume=resume),
        read=lambda model, cut: np.zeros(2),
    )
    assert (actual == (0 if read_again else 99)).all()


@pytest.mark.parametrize(
    ("adds", "withheld"),
    [(0.1, "q has not been calibrated for this model"), (-0.1, "coupling adds nothing")],
)
def test_a_fit_is_judged_by_what_coupling_adds_and_its_model(adds, withheld):
    recording, options = traces(EDGES, num_frames=300), QUICK | {"updates": 2}
    made = fit(recording, "synapsnet", options=options)
    problem = build_task(recording, "synapsnet", seed=0, options=options)
    gain = {"metric": "r2", "split": "test", "adds": adds, "interval": [adds, adds]}
    made = replace(made, metrics=made.metrics | {"coupling": gain})
    draw = np.random.default_rng(0)
    evidence = NullSamples(
        *(draw.normal(size=size) for size in ((6, 6), (20, 6, 6), (5, 2, 6, 6))), "shift", "made"
    )
    actual = edge_tests.result_of(made, problem, evidence).added_to(made)
    assert actual.metrics["edges"]["withheld"].startswith(withheld)
    train = problem.split.bins("train")
    left = edge_tests._unfinished(made, problem)
    wanted = (made.predictions.recorded - made.predictions.values)[train]
    np.testing.assert_array_equal(left, wanted)


# --- states ---


def with_states(**columns):
    recording = traces(EDGES, num_frames=200)
    number = len(next(iter(columns.values())))
    table = trial_table(np.arange(number) * 5.0, 5.0, **columns)
    return replace(recording, intervals={"sleep": table})


@pytest.mark.parametrize(
    ("columns", "requested", "actual"),
    [
        ({"stage": ["b", "a", "b"]}, "sleep", ["a", "b"]),
        ({"stage": ["b", "a", "b"]}, "sleep:stage", ["a", "b"]),
        ({"stage": ["a", "a", "a"]}, "sleep", None),
        ({"stage": [*"abcdef"]}, "sleep", [*"abcdef"]),
        ({"stage": [*"abcdefg"]}, "sleep", None),
        ({"stage": ["a", "b"], "light": ["on", "off"]}, "sleep", None),
        ({"stage": ["a", "b"], "light": ["on", "off"]}, "sleep:light", ["off", "on"]),
        ({"stage": ["a", "b"]}, "sleep:light", None),
        ({"stage": ["a", "b"]}, "wake", None),
    ],
)
def test_which_column_holds_states(columns, requested, actual):
    recording = with_states(**columns)
    if actual is None:
        with pytest.raises(DataError):
            states.of_recording(recording, requested)
    else:
        assert states.names(states.of_recording(recording, requested)) == actual


@pytest.mark.parametrize(("time", "state"), [(0.0, 1), (1.9, 1), (2.0, 0), (2.9, 0), (3.0, -1)])
def test_an_interval_holds_its_start_and_not_its_end(time, state):
    table = pd.DataFrame({"start_time": [0.0, 2.0], "stop_time": [2.0, 3.0], "state": ["b", "a"]})
    assert states.at(table, np.array([time])).tolist() == [state]
