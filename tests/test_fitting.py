"""Fitting: from a recording to scores and couplings; stopped and resumed without a trace."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import nwbdyn
from nwbdyn.errors import ConfigError, DataError, FitError, ResultsError
from nwbdyn.fitting import fit
from nwbdyn.learning.checkpoint import read_checkpoint
from nwbdyn.progress import Progress
from nwbdyn.recording import Neurons, Recording, Source, SpikeTimes, Traces
from nwbdyn.runs import results, run_directory

LINEAR = {
    "history": 1,
    "ridge": 3000.0,
    "layer_norm": False,
    "raw_values": False,
}  # NetFormer without layer norm: x + A(x) x
SMALL_STNDT = {"context": 10, "layers": 1, "feedforward": 8, "batch_size": 8, "validate_every": 1}
SOURCE = Source(uri="made.nwb", url="file:///made.nwb", digest="sha256:0")


def network(num_neurons: int = 6, seed: int = 0) -> np.ndarray:
    """(N, N) planted coupling, off the diagonal."""
    rng = np.random.default_rng(seed)
    weight = np.where(rng.random((num_neurons, num_neurons)) < 0.3, rng.normal(0, 1, (1,)), 0)
    weight = weight * rng.choice([-1, 1], weight.shape)
    np.fill_diagonal(weight, 0)
    return 0.5 * weight / max(np.abs(np.linalg.eigvals(weight)).max(), 1e-9)


def imaging(num_neurons: int = 6, num_frames: int = 600, seed: int = 0) -> Recording:
    """Traces of a linear network x(t + 1) = .4 x(t) + W x(t) + noise at 10 Hz."""
    rng = np.random.default_rng(seed + 1)
    weight = network(num_neurons, seed=seed)
    x = np.zeros((num_frames, num_neurons))
    for frame in range(1, num_frames):
        x[frame] = 0.4 * x[frame - 1] + weight @ x[frame - 1] + rng.normal(0, 0.3, num_neurons)
    return Recording(
        session_id="made",
        neurons=Neurons(pd.DataFrame({"id": np.arange(num_neurons) + 100}), "roi"),
        activity=Traces(x.astype(np.float32), np.arange(num_frames) / 10, "dff"),
        source=SOURCE,
        identifier="made-1",
        session_start_time="2020-01-01T00:00:00+00:00",
        subject={"subject_id": "a", "species": "Mus musculus"},
    )


def units(num_units: int = 12, seconds: float = 30, seed: int = 0) -> Recording:
    """Spikes of units that share one slow drive, about 20 Hz each."""
    rng = np.random.default_rng(seed)
    step = 0.01
    moments = np.arange(0, seconds, step)
    drive = np.sin(2 * np.pi * moments / 0.8)
    gain = rng.uniform(0.5, 1.2, num_units)
    rate = 15 * np.exp(gain * drive[:, None])  # (T, N)
    spikes = [
        np.sort(moments[rng.random(len(moments)) < rate[:, n] * step]) for n in range(num_units)
    ]
    return Recording(
        session_id="made",
        neurons=Neurons(pd.DataFrame({"id": np.arange(num_units)}), "unit"),
        activity=SpikeTimes(
            np.concatenate(spikes) + 1e-4,
            np.cumsum([len(times) for times in spikes]),
            intervals=np.array([[0.0, seconds]]),
        ),
        source=SOURCE,
    )


def interrupt_after(epochs: int):
    """A report that behaves like Ctrl-C once so many epochs are done."""

    def report(progress: Progress) -> None:
        if progress.stage == "training" and progress.done == epochs:
            raise KeyboardInterrupt

    return report


def assert_same_fit(one: results.Fit, other: results.Fit) -> None:
    assert one.weights.keys() == other.weights.keys()
    for name, value in one.weights.items():
        np.testing.assert_array_equal(value, other.weights[name], err_msg=name)
    np.testing.assert_array_equal(one.predictions.values, other.predictions.values)
    timeless = [{k: v for k, v in h.items() if k != "seconds"} for h in one.history]
    assert timeless == [{k: v for k, v in h.items() if k != "seconds"} for h in other.history]


# --- what a fit says ---


def test_a_next_bin_fit_scores_model_and_baselines_on_the_same_bins():
    made = fit(imaging(), "netformer", epochs=3, options=LINEAR)
    metrics = made.metrics
    assert metrics["primary"]["metric"] == "r2"
    assert metrics["primary"]["baseline"] in metrics["baselines"]
    for scores in (metrics["model"], *metrics["baselines"].values()):
        assert set(scores) == {"train", "val", "test"}
        named = {"r2", "pearson", "mse", "skill"}
        further = {f"{metric}@{horizon}" for metric in named for horizon in (5, 10)}
        assert set(scores["train"]) == named
        assert set(scores["test"]) == named | further
    assert metrics["baselines"]["persistence"]["test"]["skill"] == 0
    low, high = metrics["intervals"]["model"]["test"]["r2"]
    assert low < metrics["model"]["test"]["r2"] < high
    test = made.predictions.labels == 2
    values = imaging().activity.data
    error = np.square(values - made.predictions.values)[test].mean(axis=0)
    r2 = 1 - error / values[test].var(axis=0)
    assert metrics["model"]["test"]["r2"] == pytest.approx(r2.mean(), abs=1e-5)
    assert metrics["num_bins"]["r2"]["test"] == test.sum()


def test_a_prediction_stands_wherever_the_context_reaches_and_nowhere_else():
    made = fit(
        imaging(), "netformer", epochs=1, options=LINEAR | {"history": 3, "raw_values": False}
    )
    predicted = np.isfinite(made.predictions.values).all(axis=1)
    labels = made.predictions.labels
    np.testing.assert_array_equal(predicted, (labels < 3) & (np.arange(600) >= 3))


def test_a_planted_network_is_found_again():
    weight = network(8)
    made = fit(imaging(8, 1500), "netformer", epochs=15, options=LINEAR)
    found = made.connectivity.mean().to_numpy()
    off = ~np.eye(8, dtype=bool)
    agreement = np.corrcoef(found[off], weight[off])[0, 1]
    rng = np.random.default_rng(0)
    shuffled = [np.corrcoef(found[off], rng.permutation(weight[off]))[0, 1] for _ in range(200)]
    assert agreement > max(0.8, *shuffled)
    assert np.corrcoef(found.T[off], weight[off])[0, 1] < agreement  # row = receiver
    strongest = made.edges.iloc[0]
    assert found[strongest["post"] - 100, strongest["pre"] - 100] == pytest.approx(
        strongest["weight"]
    )


def test_a_fit_without_coupling_shows_what_coupling_adds():
    made = fit(imaging(8, 1500), "netformer", epochs=10, options=LINEAR)
    coupling = made.metrics["coupling"]
    assert coupling["metric"] == "r2"
    assert coupling["with"] == pytest.approx(made.metrics["model"]["test"]["r2"], abs=1e-6)
    assert coupling["adds"] == pytest.approx(coupling["with"] - coupling["without"])
    assert coupling["interval"][0] > 0
    alone = fit(imaging(8, 1500), "netformer", epochs=10, options=LINEAR | {"coupling": False})
    assert "coupling" not in alone.metrics
    assert alone.metrics["model"]["test"]["r2"] == pytest.approx(coupling["without"], abs=1e-6)


def test_influence_of_a_linear_network_is_its_weights():
    made = fit(imaging(8, 1500), "netformer", epochs=15, options=LINEAR)
    weight = network(8)
    edges = made.edges
    planted = weight[edges["post"] - 100, edges["pre"] - 100]
    assert np.corrcoef(edges["influence"], planted)[0, 1] > 0.8


def test_a_co_smoothing_fit_is_scored_on_held_out_units_only():
    made = fit(units(), "stndt", epochs=3, options=SMALL_STNDT, draws=1)
    assert made.predictions.held_out.sum() == 5
    assert made.split["held_out"] == made.neurons.ids[made.predictions.held_out].tolist()
    assert set(made.metrics["model"]["test"]) == {"co_bps"}
    assert set(made.metrics["baselines"]) == {"smoothing + GLM", "Poisson GLM"}
    assert set(made.metrics["necessity"]["loss"]) == {
        "uniform",
        "trial-mean",
        "shuffled",
        "identity",
    }
    assert len(made.connectivity.neurons) == 7
    assert made.edges["influence"].isna().all()  # it was not trained with causal masks
    assert made.edges.attrs["num_pairs"] == 42
    assert not made.connectivity.causal


def test_co_bps_of_a_fit_is_what_its_definition_says():
    made = fit(units(), "stndt", epochs=2, options=SMALL_STNDT, draws=1)
    held_out = np.flatnonzero(made.predictions.held_out)
    test = np.isfinite(made.predictions.values[:, held_out[0]]) & (made.predictions.labels == 2)
    edges = np.append(made.predictions.time[test] - 0.01, made.predictions.time[test][-1] + 0.01)
    activity = units().activity
    counts = np.stack([np.histogram(activity.of(unit), edges)[0] for unit in held_out], axis=1)
    rates = made.predictions.values[test][:, held_out].astype(float)
    model = (rates - counts * np.log(rates)).sum()
    null = counts.mean(axis=0)
    null_loss = (null - counts * np.log(null)).sum()
    co_bps = (null_loss - model) / (counts.sum() * np.log(2))
    assert made.metrics["model"]["test"]["co_bps"] == pytest.approx(co_bps, abs=1e-5)


def test_rates_of_slow_units_start_at_their_mean():
    slow = units(seconds=60)
    kept = np.random.default_rng(0).random(len(slow.activity.times)) < 0.05  # about 1 Hz
    index = np.cumsum(kept)[slow.activity.index - 1]
    slow = replace(
        slow, activity=replace(slow.activity, times=slow.activity.times[kept], index=index)
    )
    options = SMALL_STNDT | {"learning_rate": 1e-6}
    made = fit(slow, "stndt", epochs=1, options=options, draws=1)
    assert made.metrics["model"]["train"]["co_bps"] > -0.2


def test_several_seeds_are_averaged_and_each_is_kept():
    one, two = (fit(imaging(), "netformer", seed=s, epochs=2, options=LINEAR) for s in (0, 1))
    both = fit(imaging(), "netformer", seeds=2, epochs=2, options=LINEAR)
    mean = (one.predictions.values + two.predictions.values) / 2
    # Stacked members sum in another order: some float32 roundings (6e-8) over the updates.
    np.testing.assert_allclose(both.predictions.values, mean, atol=2e-5)
    assert both.metrics["seeds"]["0"]["test"]["r2"] == pytest.approx(
        one.metrics["model"]["test"]["r2"], abs=1e-6
    )
    scaled = []
    for single in (one, two):
        matrix = single.connectivity.mean().to_numpy()
        off = ~np.eye(len(matrix), dtype=bool)
        scaled.append(matrix / np.sqrt(np.square(matrix[off]).mean()))
    edge = both.edges.iloc[3]
    entries = [matrix[edge["post"] - 100, edge["pre"] - 100] for matrix in scaled]
    assert edge["weight"] == pytest.approx(np.mean(entries), abs=1e-5)
    assert edge["seed_sd"] == pytest.approx(np.std(entries, ddof=1), abs=1e-5)
    assert both.edges["sign_agreement"].between(0.5, 1).all()


def test_folds_add_mean_and_spread_over_interleaved_blocks():
    made = fit(imaging(), "netformer", epochs=1, options=LINEAR, folds=3)
    folds = made.metrics["folds"]
    assert folds["num_folds"] == 3
    values = folds["model"]["r2"]["values"]
    assert folds["model"]["r2"]["mean"] == pytest.approx(np.mean(values))
    assert len(set(values)) == 3
    single = fit(imaging(), "netformer", epochs=1, options=LINEAR, fold=(1, 3))
    assert values[1] == single.metrics["model"]["test"]["r2"]


def test_a_fit_carries_what_an_export_needs():
    made = fit(imaging(), "netformer", epochs=1, options=LINEAR)
    assert made.session["identifier"] == "made-1"
    assert made.session["subject"] == {"subject_id": "a", "species": "Mus musculus"}
    assert made.source == SOURCE
    assert {"nwbdyn", "torch", "numpy", "python"} <= set(made.versions)
    assert made.device == "cpu"
    assert made.environment["seeds"] == [0]


def test_the_digest_of_what_is_fitted_tells_one_recording_from_another():
    one, same, other = (
        fit(recording, "netformer", epochs=1, options=LINEAR).binning["tensors"]
        for recording in (imaging(), imaging(), imaging(seed=1))
    )
    assert one == same != other


def test_covariates_reach_the_model_and_the_baselines():
    recording = imaging()
    speed = nwbdyn.recording.Covariate(
        "speed", np.sin(np.arange(600) / 7.0)[:, None], recording.activity.timestamps
    )
    recording = replace(recording, covariates=(speed,))
    made = fit(recording, "netformer", epochs=1, options=LINEAR, covariates=["speed"])
    assert made.binning["covariates"] == ["speed"]
    assert "covariate_embedding" in made.weights


def test_trials_that_are_named_decide_the_split():
    table = pd.DataFrame({"start_time": np.arange(12) * 5.0, "stop_time": np.arange(12) * 5.0 + 4})
    recording = replace(imaging(), intervals={"epochs": table})
    made = fit(recording, "netformer", epochs=1, options=LINEAR, trials="epochs")
    assert "whole trials" in made.split["rule"]
    outside = (made.predictions.time % 5) >= 4
    assert np.isnan(made.predictions.values[outside]).all()


# --- repeatable, resumable ---


def test_the_same_seed_gives_the_same_fit_and_another_seed_another():
    one, same, other = (
        fit(imaging(), "netformer", seed=s, epochs=2, options=LINEAR) for s in (3, 3, 4)
    )
    assert_same_fit(one, same)
    assert not np.array_equal(one.weights["query"], other.weights["query"])


def test_a_fit_leaves_the_callers_random_numbers_alone():
    torch.manual_seed(11)
    np.random.seed(11)  # noqa: NPY002 the caller's global state is what is tested
    wanted = torch.rand(3), np.random.rand(3)  # noqa: NPY002
    torch.manual_seed(11)
    np.random.seed(11)  # noqa: NPY002
    fit(imaging(), "netformer", epochs=1, options=LINEAR)
    assert torch.equal(torch.rand(3), wanted[0])
    np.testing.assert_array_equal(np.random.rand(3), wanted[1])  # noqa: NPY002


@pytest.mark.parametrize(
    ("model", "recording", "options"),
    [("netformer", imaging(), LINEAR), ("stndt", units(), SMALL_STNDT)],
)
@pytest.mark.parametrize("after", [1, 3])
def test_a_resumed_run_ends_like_one_that_was_never_stopped(
    model, recording, options, after, tmp_path
):
    asked = {"epochs": 5, "options": options, "draws": 1}
    whole = fit(recording, model, **asked)
    run = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        fit(recording, model, **asked, run=run, report=interrupt_after(after))
    with pytest.raises(ResultsError, match="incomplete"):
        results.load(run)
    resumed = fit(recording, model, **asked, run=run, resume=True)
    assert_same_fit(resumed, whole)
    assert len(run_directory.read_history(run)) == 5


def test_an_interrupt_between_validations_loses_no_whole_epoch(tmp_path):
    options = LINEAR | {"validate_every": 4}
    whole = fit(imaging(), "netformer", epochs=6, options=options)
    with pytest.raises(KeyboardInterrupt):
        fit(
            imaging(),
            "netformer",
            epochs=6,
            options=options,
            run=tmp_path / "run",
            report=interrupt_after(3),
        )
    assert read_checkpoint(tmp_path / "run")["epoch"] == 3
    resumed = fit(
        imaging(), "netformer", epochs=6, options=options, run=tmp_path / "run", resume=True
    )
    assert_same_fit(resumed, whole)


def test_a_run_with_several_seeds_resumes_in_the_seed_where_it_stopped(tmp_path):
    def interrupt_in_second(progress: Progress) -> None:
        if progress.stage == "training" and (tmp_path / "run" / "seed-1").exists():
            raise KeyboardInterrupt

    whole = fit(imaging(), "netformer", seeds=2, epochs=2, options=LINEAR)
    with pytest.raises(KeyboardInterrupt):
        fit(
            imaging(),
            "netformer",
            seeds=2,
            epochs=2,
            options=LINEAR,
            run=tmp_path / "run",
            report=interrupt_in_second,
        )
    resumed = fit(
        imaging(), "netformer", seeds=2, epochs=2, options=LINEAR, run=tmp_path / "run", resume=True
    )
    assert_same_fit(resumed, whole)


def test_a_finished_run_is_loaded_instead_of_fitted_again(tmp_path):
    made = fit(imaging(), "netformer", epochs=1, options=LINEAR, run=tmp_path / "run")
    stages = []
    again = fit(
        imaging(),
        "netformer",
        epochs=1,
        options=LINEAR,
        run=tmp_path / "run",
        resume=True,
        report=lambda progress: stages.append(progress.stage),
    )
    assert stages == []
    assert_same_fit(again, made)
    assert again.run == tmp_path / "run"


def test_a_run_is_not_resumed_with_other_choices(tmp_path):
    fit(imaging(), "netformer", epochs=1, options=LINEAR, run=tmp_path / "run")
    with pytest.raises(FitError, match=r"was started with config\.epochs = 1, now it is 2"):
        fit(imaging(), "netformer", epochs=2, options=LINEAR, run=tmp_path / "run", resume=True)
    other = replace(imaging(), source=replace(SOURCE, digest="sha256:1"))
    with pytest.raises(FitError, match=r"source\.digest = 'sha256:0', now it is 'sha256:1'"):
        fit(other, "netformer", epochs=1, options=LINEAR, run=tmp_path / "run", resume=True)


def test_a_run_in_use_is_refused_before_anything_is_trained(tmp_path):
    fit(imaging(), "netformer", epochs=1, options=LINEAR, run=tmp_path / "run")
    with pytest.raises(ResultsError, match="Pass --overwrite"):
        fit(imaging(), "netformer", epochs=1, options=LINEAR, run=tmp_path / "run")
    again = fit(
        imaging(),
        "netformer",
        seed=5,
        epochs=1,
        options=LINEAR,
        run=tmp_path / "run",
        overwrite=True,
    )
    assert results.load(tmp_path / "run").seed == again.seed == 5


PROGRAM = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
sys.path.insert(0, {tests!r})
from test_fitting import LINEAR, imaging
from nwbdyn.fitting import fit
fit(imaging(), "netformer", epochs=60, options=LINEAR, run=Path({run!r}), resume={resume})
"""


@pytest.mark.slow
def test_a_run_killed_at_any_moment_resumes_to_the_same_weights(tmp_path):
    whole = fit(imaging(), "netformer", epochs=60, options=LINEAR)
    rng = np.random.default_rng(0)
    run, resume = tmp_path / "run", False
    for _ in range(4):
        program = PROGRAM.format(tests=str(Path(__file__).parent), run=str(run), resume=resume)
        process = subprocess.Popen([sys.executable, "-c", program])
        deadline = time.monotonic() + 60
        before = len(run_directory.read_history(run)) if run.exists() else 0
        while process.poll() is None and time.monotonic() < deadline:
            if run.exists() and len(run_directory.read_history(run)) > before + 2:
                break
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.1))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        resume = True
    resumed = fit(imaging(), "netformer", epochs=60, options=LINEAR, run=run, resume=True)
    assert_same_fit(resumed, whole)
    assert not list(run.glob("*.partial"))


def test_a_checkpoint_half_written_leaves_the_one_before(tmp_path):
    run = tmp_path / "run"
    whole = fit(imaging(), "netformer", epochs=4, options=LINEAR)
    with pytest.raises(KeyboardInterrupt):
        fit(imaging(), "netformer", epochs=4, options=LINEAR, run=run, report=interrupt_after(2))
    checkpoint = (run / "checkpoint.pt").read_bytes()
    (run / "checkpoint.pt.partial").write_bytes(checkpoint[:100])  # as a kill would leave it
    resumed = fit(imaging(), "netformer", epochs=4, options=LINEAR, run=run, resume=True)
    assert_same_fit(resumed, whole)


def test_nothing_in_a_run_directory_executes_when_it_is_read(tmp_path):
    run = tmp_path / "run"
    fit(imaging(), "netformer", epochs=1, options=LINEAR, run=run)
    others = {run_directory.SUBMISSION, run_directory.SUMS}
    expected = {*run_directory.FILES, "without-coupling"} - others
    assert {path.name for path in run.iterdir()} == expected
    assert read_checkpoint(run)["epoch"] == 1  # torch.load(weights_only=True)
    for name in ("config.json", "provenance.json", "metrics.json"):
        json.loads((run / name).read_text())


class _Trap:
    """Leaves a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path):
    run = tmp_path / "run"
    fit(imaging(), "netformer", epochs=1, options=LINEAR, run=run)
    torch.save(read_checkpoint(run) | {"epoch": _Trap(tmp_path / "ran")}, run / "checkpoint.pt")
    with pytest.raises(FitError, match="damaged"):
        read_checkpoint(run)
    assert results.load(run).model == "netformer"  # it does not read the checkpoint
    (run / "metrics.json").unlink()
    with pytest.raises(FitError, match="damaged"):
        fit(imaging(), "netformer", epochs=1, options=LINEAR, run=run, resume=True)
    assert not (tmp_path / "ran").exists()


# --- what is refused ---


def test_a_loss_that_is_not_finite_stops_with_the_step_and_keeps_the_checkpoint(tmp_path):
    run = tmp_path / "run"
    options = LINEAR | {"learning_rate": 1e18, "clip_norm": None}
    with pytest.raises(FitError, match=r"at update \d+ .*Lower learning_rate \(now 1e\+18\)"):
        fit(imaging(), "netformer", epochs=5, options=options, run=run)
    state = read_checkpoint(run)
    assert all(value.isfinite().all() for value in state["best_weights"].values())


def test_an_unknown_option_is_named_beside_those_there_are():
    with pytest.raises(
        ConfigError, match=r"netformer has no option 'histroy'. Choose from: .*history"
    ):
        fit(imaging(), "netformer", options={"histroy": 3})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"history": "long"}, "history is 'long'; it takes int"),
        ({"layer_norm": 1}, "layer_norm is 1; it takes bool"),
        ({"batch_size": 0}, "batch_size is 0; it is at least 1"),
        ({"history": 1, "layer_norm": True, "raw_values": False}, "cannot be set up so"),
    ],
)
def test_an_option_with_a_wrong_value_is_named(options, message):
    with pytest.raises(ConfigError, match=message):
        fit(imaging(), "netformer", options=options)


def test_an_unknown_model_and_device_are_named():
    with pytest.raises(ConfigError, match="No model named 'netfromer'"):
        fit(imaging(), "netfromer")
    with pytest.raises(ConfigError, match=r"No device named 'tpu'. Choose from: auto, cpu, cuda"):
        fit(imaging(), "netformer", device="tpu")


def test_stndt_refuses_traces_and_says_what_takes_them():
    with pytest.raises(DataError, match=r"stndt takes counts; made holds dff traces.*netformer"):
        fit(imaging(), "stndt")


def test_a_single_neuron_is_refused():
    with pytest.raises(DataError, match="has 1 usable neuron of 1; a coupling needs two"):
        fit(imaging(1), "netformer")


def test_a_table_of_trials_that_is_not_there_is_refused_with_those_that_are():
    recording = replace(imaging(), intervals={"reversals": pd.DataFrame()})
    with pytest.raises(DataError, match="no interval table 'trails'; it has: reversals"):
        fit(recording, "netformer", trials="trails")


def test_a_recording_too_short_for_the_context_is_refused():
    with pytest.raises(
        DataError, match=r"nothing is left to train on. Ask for a shorter one with --set"
    ):
        fit(imaging(3, 40), "netformer", options={"history": 30})


# --- real recordings ---


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "model", "options", "choices"),
    [
        ("ophys/zebrafish_tectum_triplett2018_f1.nwb", "netformer", {"history": 5}, {}),
        ("ophys/celegans_dag2023_2022-07-26-31.nwb", "netformer", {"history": 5}, {}),
        (
            "ecephys/human_mtl_dandi000207_sub-4_ses-4.nwb",
            "stndt",
            {"layers": 1},
            {"bin_width": 0.1, "draws": 1},
        ),
        (
            "ecephys/rat_hippocampus_nelpy_linear-track.nwb",
            "stndt",
            {"layers": 1},
            {"bin_width": 0.1, "draws": 1},
        ),
        (
            "ecephys/rat_hippocampus_nelpy_linear-track.nwb",
            "netformer",
            {"batch_size": 512},
            {"bin_width": 0.1},
        ),
    ],
)
def test_a_real_recording_is_fitted_saved_and_loaded(data, tmp_path, name, model, options, choices):
    run = tmp_path / "run"
    made = fit(str(data / name), model, epochs=2, options=options, run=run, **choices)
    back = results.load(run)
    assert_same_fit(back, made)
    metric = back.metrics["primary"]["metric"]
    assert np.isfinite(back.metrics["model"]["test"][metric])
    assert back.metrics["primary"]["baseline"] in back.metrics["baselines"]
    assert back.source.digest.startswith("sha256:")
    assert np.isfinite(back.edges["weight"]).all()


def test_what_validation_chooses_is_the_best_it_tried_and_is_not_chosen_twice(tmp_path):
    options = {name: value for name, value in LINEAR.items() if name != "ridge"}
    options |= {"history": 2, "ridge": None}
    chosen = fit(imaging(), "netformer", epochs=2, options=options, run=tmp_path / "run")
    tried = {
        ridge: fit(imaging(), "netformer", epochs=2, options=options | {"ridge": ridge})
        for ridge in (3e3, 3e4, 3e5)
    }
    best = {ridge: min(e["validation"] for e in one.history) for ridge, one in tried.items()}
    assert chosen.config["ridge"] == min(best, key=best.get)
    again = fit(
        imaging(), "netformer", epochs=2, options=options, run=tmp_path / "run", resume=True
    )
    assert again.config == chosen.config
