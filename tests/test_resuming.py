"""A fit is the same every time, and the same where it was stopped and resumed without a trace."""

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_fits import LINEAR, SMALL_STNDT, SOURCE, assert_same_fit, imaging, interrupt_after, units

from nwbdyn.errors import FitError, ResultsError
from nwbdyn.fitting.fit import fit
from nwbdyn.progress import Progress
from nwbdyn.results import fit_results, run_directory
from nwbdyn.training.checkpoint import read_checkpoint


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
    requested = {"epochs": 5, "options": options, "heldout_resamples": 1}
    whole = fit(recording, model, **requested)
    run = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        fit(recording, model, **requested, run=run, report=interrupt_after(after))
    with pytest.raises(ResultsError, match="incomplete"):
        fit_results.load(run)
    resumed = fit(recording, model, **requested, run=run, resume=True)
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
    with pytest.raises(
        FitError, match=r"was started with epochs = 1, now it is 2. Resume with --epochs 1,"
    ):
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
    assert fit_results.load(tmp_path / "run").seed == again.seed == 5


def test_overwriting_takes_away_all_that_a_fit_left_and_nothing_else(tmp_path):
    run = tmp_path / "run"
    options = LINEAR | {"ridge": None}  # tried one by one
    requested = {"seeds": 2, "folds": 3, "null": "shift:2"}
    fit(imaging(), "netformer", epochs=1, options=options, run=run, **requested)
    folders = {path.name.partition("-")[0] for path in run.iterdir() if path.is_dir()}
    assert folders >= {"seed", "fold", "choice", "without", "static"}
    (run / "refits").mkdir()  # of a co-smoothing model, and of earlier versions
    np.save(run / "refits" / "surrogates-0.npy", np.zeros(2))
    own = {run / "notes.txt", run / "static" / "notes.txt"}
    for file in (*own, run / "report.html"):
        file.touch()
    run_directory.validate_run_dir(run, overwrite=True)
    assert {path for path in run.rglob("*") if path.is_file()} == own
    assert [path.name for path in run.iterdir() if path.is_dir()] == ["static"]


PROGRAM = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
sys.path.insert(0, {tests!r})
from small_fits import LINEAR, imaging
from nwbdyn.fitting.fit import fit
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


def test_a_resumed_fit_stops_as_early_as_one_that_was_not_interrupted(tmp_path):
    options = LINEAR | {"patience": 3}
    whole = fit(imaging(), "netformer", epochs=60, options=options)
    stopped = len(whole.history)
    assert 4 < stopped < 60
    run = tmp_path / "run"
    again = {"epochs": 60, "options": options, "run": run}
    with pytest.raises(KeyboardInterrupt):
        fit(imaging(), "netformer", **again, report=interrupt_after(stopped - 1))
    assert len(fit(imaging(), "netformer", **again, resume=True).history) == stopped


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
    assert fit_results.load(run).model == "netformer"  # it does not read the checkpoint
    (run / "metrics.json").unlink()
    with pytest.raises(FitError, match="damaged"):
        fit(imaging(), "netformer", epochs=1, options=LINEAR, run=run, resume=True)
    assert not (tmp_path / "ran").exists()


def test_a_pickle_in_place_of_any_file_of_a_run_is_refused_and_does_not_run(tmp_path):
    run = tmp_path / "run"
    requested = {"epochs": 1, "options": LINEAR, "run": run, "resume": True}
    fit(imaging(), "netformer", **requested | {"resume": False})
    unread = {"checkpoint.pt", "methods.md", "edges.csv", "scores.csv"}
    for name in sorted({path.name for path in run.iterdir() if path.is_file()} - unread):
        before = (run / name).read_bytes()
        (run / name).write_bytes(pickle.dumps(_Trap(tmp_path / "ran")))
        with pytest.raises(ResultsError, match="damaged"):
            fit_results.load(run)
        with pytest.raises(ResultsError, match="damaged"):
            fit(imaging(), "netformer", **requested)
        if name in (run_directory.CONFIG, run_directory.WEIGHTS):
            with pytest.raises(ResultsError, match="damaged"):
                fit(imaging(), "netformer", epochs=1, init_from=run)
        (run / name).write_bytes(before)
    assert not (tmp_path / "ran").exists()
    fit_results.load(run)


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
