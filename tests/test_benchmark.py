"""The benchmark inside a fit: whole trials, both phases, beside the baselines."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV
from small import poisson_spikes, trial_table, units

from nwbdyn import nlb, simulate
from nwbdyn.cli import main
from nwbdyn.errors import ConfigError, FitError, ResultsError
from nwbdyn.fitting.fit import fit
from nwbdyn.fitting.stages.benchmark import layout_of
from nwbdyn.fitting.task import build_task
from nwbdyn.nlb import scores, submission
from nwbdyn.recording import Covariate, SpikeTimes
from nwbdyn.request import DataOptions
from nwbdyn.results import fit_results, run_directory
from nwbdyn.simulate import nwb_file

SMALL = {"layers": 1, "feedforward": 8, "updates": 40, "validate_every": 2, "batch_size": 16}
WIDTH = 0.020
BINS = {"observed": 35, "forward": 10}


@pytest.fixture(scope="module")
def reach():
    """A simulated recording of the maze's layout, and its true rates."""
    return simulate.sample("sample:reach?neurons=24&trials=60")


@pytest.fixture(scope="module")
def fitted(reach):
    return fit(reach[0], "stndt", bin_width=WIDTH, options=SMALL)


def windows(recording, fitted, split):
    """(num_trials, observed) bins of the fit's clock, trials in file order."""
    trials = recording.trials[recording.trials["split"] == split]
    edges = fitted.predictions.time - WIDTH / 2
    starts = np.searchsorted(edges, trials["move_onset_time"].to_numpy() - 0.25 - 1e-9)
    return starts[:, None] + np.arange(BINS["observed"])


def velocity(recording, fitted, bins):
    """Hand velocity 100 ms after each bin begins, to the nearest millisecond, without a filter."""
    hand = recording.covariate("hand_vel")
    times = fitted.predictions.time[bins] - WIDTH / 2 + 0.1
    return hand.data[np.searchsorted(hand.timestamps, times.ravel() - 5e-4)]


def test_a_fit_of_the_layout_is_scored_like_the_benchmark(fitted):
    actual = fitted.metrics["benchmark"]
    assert actual["data_set"] == "maze_20"
    assert set(actual["model"]["test"]) == {"co_bps", "fp_bps", "vel_r2", "psth_r2"}
    assert actual["num_trials"] == {"val": 9, "test": 9}
    assert actual["milliseconds_per_trial"] > 0
    assert set(actual["baselines"]["Poisson GLM"]["test"]) == {"co_bps"}
    smoothing = actual["baselines"]["smoothing + GLM"]["test"]
    assert set(smoothing) == {"co_bps", "vel_r2", "psth_r2"}
    # the same neurons, trials and bins as the fit's own score
    for split in ("val", "test"):
        assert actual["model"][split]["co_bps"] == pytest.approx(
            fitted.metrics["model"][split]["co_bps"], abs=1e-6
        )
        for name, baseline in actual["baselines"].items():
            assert baseline[split]["co_bps"] == pytest.approx(
                fitted.metrics["baselines"][name][split]["co_bps"], abs=1e-6
            )


def test_velocity_is_decoded_from_the_rates_that_the_fit_predicts(reach, fitted):
    recording, _ = reach
    parts = {}
    for split in ("train", "val", "test"):
        bins = windows(recording, fitted, split).ravel()
        parts[split] = fitted.predictions.values[bins], velocity(recording, fitted, bins)
    search = GridSearchCV(Ridge(), {"alpha": np.logspace(-4, 0, 9)})
    search.fit(*parts["train"])
    # the benchmark filters the velocity before it takes every 20th sample
    expected = search.score(*parts["val"])
    assert fitted.metrics["benchmark"]["model"]["val"]["vel_r2"] == pytest.approx(
        expected, abs=0.03
    )
    # decoders of the test learn from train and val trials: their score is the nearer one
    alone = search.score(*parts["test"])
    search.fit(*(np.concatenate([parts[split][k] for split in ("train", "val")]) for k in (0, 1)))
    both = search.score(*parts["test"])
    of_test = fitted.metrics["benchmark"]["model"]["test"]["vel_r2"]
    assert abs(of_test - both) < abs(both - alone) / 2


def test_true_rates_score_far_above_smoothing(reach, fitted):
    recording, truth = reach
    targets = nlb.targets(recording, bin_width=WIDTH, learned="train val", phase="test")
    ids, held_in = recording.neurons.ids, ~recording.neurons.table["heldout"].to_numpy()
    rates = {}
    for phase, names in (("train", ("train", "val")), ("eval", ("test",))):
        trials = recording.trials[recording.trials["split"].isin(names)]
        onset = trials["move_onset_time"].to_numpy()
        first = np.ceil(np.round((onset - 0.25) / WIDTH, 6)) * WIDTH
        begin = first[:, None] + np.arange(sum(BINS.values())) * WIDTH
        step = np.searchsorted(truth.time, begin)[..., None] + np.arange(4)  # of 5 ms
        true = truth.rates[np.minimum(step, len(truth.time) - 1)].mean(axis=2) * WIDTH
        rates |= submission.arrange(
            phase, true, observed=BINS["observed"], held_in=held_in, ids=ids
        )
    best = scores.score(targets, rates)
    smoothing = fitted.metrics["benchmark"]["baselines"]["smoothing + GLM"]["test"]
    assert best["co_bps"] > smoothing["co_bps"]
    assert best["vel_r2"] > smoothing["vel_r2"] + 0.05
    assert best["fp_bps"] > 0


def test_a_recording_of_another_layout_has_no_such_scores(reach):
    recording, _ = reach
    table = recording.neurons.table.drop(columns="heldout")
    other = replace(recording, neurons=replace(recording.neurons, table=table))
    options = SMALL | {"context": 10, "updates": 4}
    actual = fit(other, "stndt", bin_width=0.05, options=options, heldout_resamples=1)
    assert "benchmark" not in actual.metrics


@pytest.mark.parametrize(
    ("trials", "follow"),
    [
        (None, True),
        ("none", False),
        ("trials", False),
        ("trials.move_onset_time[-0.25,0.45]", False),
    ],
)
def test_windows_of_other_trials_do_not_follow_the_layout(reach, trials, follow):
    data = DataOptions(bin_width=WIDTH, trials=trials)
    task = build_task(reach[0], "stndt", seed=0, options=SMALL | {"context": 10}, data=data)
    assert (layout_of(task) is not None) == follow


def pair(recording):
    """The recording as the benchmark publishes one: test trials in a file of held-in units only."""
    trials = recording.trials
    requested = trials["split"] == "test"
    train = replace(recording, trials=trials[~requested].reset_index(drop=True))
    kept = np.flatnonzero(~recording.neurons.table["heldout"].to_numpy())
    spikes = [recording.activity.of(unit) for unit in kept]
    onset = trials.loc[requested, "move_onset_time"].to_numpy()
    table = pd.DataFrame(
        {"start_time": onset - 0.25, "stop_time": onset + 0.45, "move_onset_time": onset}
    )
    activity = SpikeTimes(
        np.concatenate(spikes),
        np.cumsum([len(times) for times in spikes]),
        table[["start_time", "stop_time"]].to_numpy(),
    )
    test = replace(recording, neurons=recording.neurons.take(kept), activity=activity, trials=table)
    return train, test


def test_rates_for_the_test_trials_are_written_and_scored_here(reach, tmp_path):
    recording, _ = reach
    train, test = pair(recording)
    targets = nlb.targets(recording, bin_width=WIDTH, learned="train val", phase="test")
    file = submission.write(tmp_path / "targets.h5", {"maze_20": targets})
    actual = fit(
        train,
        "stndt",
        bin_width=WIDTH,
        options=SMALL,
        test_recording=test,
        targets=file,
        run=tmp_path / "run",
    )
    submitted = actual.metrics["submission"]
    assert submitted["phase"] == "test"
    assert set(submitted["scores"]) == {"co_bps", "fp_bps", "vel_r2", "psth_r2"}
    (name, rates), *others = submission.read(tmp_path / "run/submission.h5").items()
    assert name == "maze_20"
    assert not others
    num_train = (train.trials["split"] != "none").sum()
    assert rates["train_rates_heldin"].shape == (num_train, 35, 18)
    assert rates["eval_rates_heldout"].shape == (9, 35, 6)
    assert rates["eval_rates_heldin_forward"].shape == (9, 10, 18)
    assert scores.score(targets, rates) == pytest.approx(submitted["scores"], abs=1e-5)
    again = fit(
        train,
        "stndt",
        bin_width=WIDTH,
        options=SMALL,
        test_recording=test,
        targets=file,
        run=tmp_path / "run",
        resume=True,
    )
    assert again.metrics["submission"] == submitted
    with pytest.raises(FitError, match="targets"):
        fit(
            train,
            "stndt",
            bin_width=WIDTH,
            options=SMALL,
            test_recording=test,
            run=tmp_path / "run",
            resume=True,
        )


def test_a_model_of_train_and_val_trials_stops_where_validation_chose(reach, tmp_path):
    train, test = pair(reach[0])
    test = replace(test, source=replace(test.source, uri="test.nwb"))
    options = SMALL | {"updates": 12, "validate_every": 1}
    run = tmp_path / "run"
    actual = fit(train, "stndt", bin_width=WIDTH, options=options, test_recording=test, run=run)
    validations = [record["validation"] for record in actual.history]
    best = actual.history[int(np.argmin(validations))]["updates"]
    (refitted,) = run.glob("refit-*")
    history = run_directory.read_history(refitted)
    assert history[-1]["updates"] == best
    assert all("validation" not in record for record in history)
    # whoever may not see the test file may not see its scores
    assert [source.uri for source in fit_results.derived_from(actual)] == [
        train.source.uri,
        "test.nwb",
    ]


def test_the_validation_phase_needs_no_test_file(reach, tmp_path):
    train, _ = pair(reach[0])
    targets = nlb.targets(train, bin_width=WIDTH)
    file = submission.write(tmp_path / "targets.h5", {"maze_20": targets})
    options = SMALL | {"updates": 4}
    actual = fit(
        train, "stndt", bin_width=WIDTH, options=options, targets=file, run=tmp_path / "run"
    )
    assert actual.metrics["submission"]["phase"] == "validation"
    # the file's val trials are the fit's test trials
    assert actual.metrics["submission"]["scores"] == pytest.approx(
        actual.metrics["benchmark"]["model"]["test"], abs=1e-5
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"run": None}, "run directory"),
        ({"bin_width": 0.005}, "no targets of 'maze'"),
        ({"model": "netformer"}, "predicts nothing that the Neural"),
    ],
)
def test_what_cannot_be_submitted_is_refused_before_training(change, message, reach, tmp_path):
    train, _ = pair(reach[0])
    file = submission.write(tmp_path / "targets.h5", {"maze_20": {"x": np.zeros(1)}})
    chosen = {"run": tmp_path / "run", "bin_width": WIDTH, "model": "stndt"} | change
    with pytest.raises((ConfigError, ResultsError), match=message):
        fit(train, **chosen, targets=file)
    assert not (tmp_path / "run").exists()


def test_a_test_file_is_noted_by_a_model_that_predicts_the_next_bin(reach):
    train, test = pair(reach[0])
    options = {"epochs": 1, "history": 1}
    actual = fit(train, "netformer", bin_width=0.05, options=options, test_recording=test)
    assert "unused-test-file" in [note.code for note in actual.notes]


def test_a_pair_of_files_is_one_session_on_the_command_line(reach, tmp_path):
    recording, _ = reach
    train, test = pair(recording)
    folder = tmp_path / "data"
    folder.mkdir()
    nwb_file.write(train, folder / "sub-a_ses-small_desc-train_behavior+ecephys.nwb")
    nwb_file.write(test, folder / "sub-a_ses-small_desc-test_ecephys.nwb")
    targets = nlb.targets(recording, bin_width=WIDTH, learned="train val", phase="test")
    file = submission.write(tmp_path / "targets.h5", {"maze_20": targets})
    settings = [f"--set={name}={value}" for name, value in (SMALL | {"updates": 4}).items()]
    command = ["fit", str(folder), "--model", "stndt", "--bin-width", str(WIDTH), *settings]
    command += ["--targets", str(file), "-o", str(tmp_path / "run")]
    done = CliRunner().invoke(main, command, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "As the Neural Latents Benchmark scores maze_20, on 9 test trials:" in done.output
    assert "Rates for the test phase are in submission.h5; against" in done.output
    assert "co_bps over trials and 6 neurons held out" in done.output
    path = str(file)
    assert all(len(line) <= 80 for line in done.output.splitlines() if path not in line)
    assert (tmp_path / "run/submission.h5").exists()


def of_layout(name, num_trials=24):
    """Noise in the trials of one of the benchmark's layouts."""
    rng = np.random.default_rng(0)
    length = {"mc_rtt": 0.6, "area2_bump": 1.2, "dmfc_rsg": 3.0}[name]
    starts = 0.5 + np.arange(num_trials) * (length if name == "mc_rtt" else length + 0.3)
    columns = {"split": np.array(["train", "train", "train", "val"] * (num_trials // 4))}
    if name == "area2_bump":
        columns |= {"move_onset_time": starts + rng.uniform(0.3, 0.5, num_trials)}
        columns |= {"ctr_hold_bump": np.arange(num_trials) % 8 > 3, "cond_dir": 0.0}
    if name == "dmfc_rsg":
        produced = rng.uniform(900, 1400, num_trials)
        columns |= {"set_time": starts + 1.0, "go_time": starts + 1.0 + produced / 1000}
        columns |= {"tp": produced, "ts": 900.0, "is_outlier": False}
        columns |= dict.fromkeys(("is_eye", "theta", "is_short"), 0.0)
    trials = trial_table(starts, length, **columns)
    seconds = float(trials["stop_time"].max()) + 1
    hand = "finger_vel" if name == "mc_rtt" else "hand_vel"
    clock = np.arange(round(seconds * 1000)) / 1000
    velocity = rng.normal(size=(len(clock), 2)).cumsum(axis=0)
    return units(
        poisson_spikes(14, seconds),
        intervals=[(0.0, seconds)],
        trials=trials,
        heldout=np.arange(14) >= 9,
        covariates=() if name == "dmfc_rsg" else (Covariate(hand, velocity, clock, "m/s"),),
    )


@pytest.mark.parametrize(
    ("name", "metrics"),
    [
        ("mc_rtt", {"co_bps", "fp_bps", "vel_r2"}),
        ("area2_bump", {"co_bps", "fp_bps", "vel_r2", "psth_r2"}),
        ("dmfc_rsg", {"co_bps", "fp_bps", "tp_corr", "psth_r2"}),
    ],
)
def test_every_layout_is_fitted_and_scored(name, metrics, tmp_path):
    recording = of_layout(name)
    targets = nlb.targets(recording, bin_width=WIDTH)
    file = submission.write(tmp_path / "targets.h5", {f"{name}_20": targets})
    made = fit(
        recording,
        "stndt",
        bin_width=WIDTH,
        options=SMALL | {"updates": 2},
        targets=file,
        run=tmp_path / "run",
    )
    actual = made.metrics["benchmark"]
    assert actual["data_set"] == f"{name}_20"
    assert actual["num_trials"]["test"] == 6  # the file's val trials
    scored = actual["model"]["test"]
    assert set(scored) == metrics
    assert np.isfinite(list(scored.values())).all()
    assert made.metrics["submission"]["scores"] == pytest.approx(scored, abs=1e-5)
    smoothing = actual["baselines"]["smoothing + GLM"]["test"]
    assert set(smoothing) == metrics - {"fp_bps"}
    assert np.isfinite(list(smoothing.values())).all()
