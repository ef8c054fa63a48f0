"""Many sessions: failures stay alone, and what is done is not done again."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner
from nwb_files import nwb

import nwbdyn
from nwbdyn import archive
from nwbdyn.cli import main
from nwbdyn.errors import DataError, FitError, NoActivityError, NwbdynError, ReadError, ResultsError
from nwbdyn.progress import Report, silent
from nwbdyn.request import FitRequest
from nwbdyn.workflows import batch
from nwbdyn.workflows.batch import FAILED, FITTED, SKIPPED, SessionJob

QUICK = {"epochs": 1, "options": {"history": 4, "batch_size": 256, "ridge": 3000.0}}


@pytest.fixture(scope="module")
def recording() -> bytes:
    return archive.resolve("sample:cortex?neurons=6&duration=60")[0].path.read_bytes()


@pytest.fixture
def folder(tmp_path, recording) -> Path:
    """Two recordings that can be fitted, and a file that is no NWB."""
    there = tmp_path / "recordings"
    there.mkdir()
    for name in ("a", "b"):
        (there / f"{name}.nwb").write_bytes(recording)
    (there / "broken.nwb").write_text("not a recording")
    return there


def fit_all(
    folder: Path,
    run: Path,
    report: Report = silent,
    opened: Mapping[str, object] | None = None,
    **choices: object,
) -> list[batch.SessionResult]:
    sessions = archive.sessions(archive.resolve(str(folder)))
    request = FitRequest.from_keywords("netformer", run=run, **QUICK | choices)
    return batch.fit_each(sessions, request, opened=opened, report=report)


def test_a_session_that_fails_leaves_the_others_alone(folder, tmp_path):
    with nwb(folder / "video.nwb"):
        pass
    outcomes = fit_all(folder, tmp_path / "runs")
    statuses = [FITTED, FITTED, FAILED, SKIPPED]  # the last is a recording, but of no neurons
    assert [outcome.status for outcome in outcomes] == statuses
    assert "broken.nwb" in outcomes[2].reason
    assert "neither units with spike times nor ROI traces" in outcomes[3].reason
    summary = json.loads((tmp_path / "runs" / "summary.json").read_text())
    assert [row["status"] for row in summary] == statuses
    assert outcomes[0].value == outcomes[1].value  # the same recording, the same seed
    there = re.escape(f"2 of them complete. Choose from: {outcomes[0].run}, {outcomes[1].run}.")
    with pytest.raises(ResultsError, match=there):
        nwbdyn.load(tmp_path / "runs")


def test_what_is_done_is_not_opened_again(folder, tmp_path):
    run = tmp_path / "runs"
    before = fit_all(folder, run)
    written = (run / "a" / "metrics.json").stat().st_mtime_ns
    reported = []
    after = fit_all(
        folder, run, resume=True, report=lambda progress: reported.append(progress.stage)
    )
    assert after == before
    assert (run / "a" / "metrics.json").stat().st_mtime_ns == written
    assert set(reported) == {"recordings"}  # nothing was streamed, trained or scored


def test_only_what_failed_is_fitted_again(folder, tmp_path, recording):
    run = tmp_path / "runs"
    fit_all(folder, run)
    (folder / "broken.nwb").write_bytes(recording)
    trained = []

    def report(progress):
        if progress.stage == "training":
            trained.append(progress)

    outcomes = fit_all(folder, run, resume=True, report=report)
    assert [outcome.status for outcome in outcomes] == [FITTED] * 3
    assert len(trained) == 1  # one epoch of one session


def test_a_recording_that_was_replaced_is_not_taken_for_the_one_that_was_fitted(
    folder, tmp_path, recording
):
    run = tmp_path / "runs"
    fit_all(folder, run)
    other = archive.resolve("sample:cortex?neurons=7&duration=60")[0].path.read_bytes()
    (folder / "b.nwb").write_bytes(other)
    outcomes = fit_all(folder, run, resume=True)
    assert [outcome.status for outcome in outcomes] == [FITTED, FAILED, FAILED]
    assert "--overwrite" in outcomes[1].reason


def test_finished_runs_are_not_resumed_with_other_choices_and_stay_finished(folder, tmp_path):
    run = tmp_path / "runs"
    before = fit_all(folder, run, seed=0)
    written = (run / "summary.json").read_bytes()
    there = sorted(path.relative_to(run) for path in run.rglob("*"))
    for choices, message in [
        ({"seed": 1}, "were started with --seed 0, and this is --seed 1"),
        ({"epochs": 2}, "were started with --epochs 1, and this is --epochs 2"),
        ({"options": QUICK["options"] | {"history": 5}}, "--set history=4 .*--set history=5"),
        ({"opened": {"where": "x > 0"}}, "with no --where, and this is --where x > 0"),
        ({"covariates": ("running",)}, "with no --covariate, and this is --covariate running"),
        ({"null": "shift:20"}, "with no --null, and this is --null shift:20"),
    ]:
        with pytest.raises(FitError, match=message):
            fit_all(folder, run, resume=True, **{"seed": 0} | choices)
        assert (run / "summary.json").read_bytes() == written
    assert sorted(path.relative_to(run) for path in run.rglob("*")) == there
    assert fit_all(folder, run, resume=True, seed=0) == before


def test_finished_runs_are_not_touched_without_being_asked(folder, tmp_path):
    run = tmp_path / "runs"
    fit_all(folder, run)
    written = (run / "summary.json").read_bytes()
    with pytest.raises(ResultsError, match="holds 2 finished runs"):
        fit_all(folder, run)
    assert (run / "summary.json").read_bytes() == written
    again = fit_all(folder, run, overwrite=True)
    assert [outcome.status for outcome in again] == [FITTED, FITTED, FAILED]
    resumed = fit_all(folder, run, resume=True)  # overwriting is no choice of what to fit
    assert [outcome.status for outcome in resumed] == [FITTED, FITTED, FAILED]


def test_runs_of_a_version_that_wrote_no_choices_down_are_compared_by_their_digest(
    folder, tmp_path
):
    run = tmp_path / "runs"
    fit_all(folder, run)
    (run / "request.json").unlink()
    with pytest.raises(FitError, match="were not stored"):
        fit_all(folder, run, resume=True, seed=7)
    assert [o.status for o in fit_all(folder, run, resume=True)] == [FITTED, FITTED, FAILED]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (DataError("too short"), SKIPPED),
        (NoActivityError("holds no units"), SKIPPED),
        (ReadError("damaged"), FAILED),
        (FitError("not finite"), FAILED),
        (ResultsError("occupied"), FAILED),
        (ValueError("nobody foresaw this"), FAILED),
        (MemoryError("Unable to allocate 3 TiB"), FAILED),
    ],
)
def test_whatever_goes_wrong_becomes_an_outcome(error, status, tmp_path, recording):
    path = tmp_path / "a.nwb"
    path.write_bytes(recording)

    def report(progress):
        raise error

    request = FitRequest.from_keywords("netformer", run=tmp_path / "runs" / "a", **QUICK)
    job = SessionJob(tuple(archive.resolve(str(path))), request, {})
    job.run.parent.mkdir()
    outcome = batch.fit_one_safely(job, report)
    assert outcome.status == status
    assert str(error) in outcome.reason
    traceback = tmp_path / "runs" / "a.error.txt"
    foreseen = isinstance(error, NwbdynError)
    assert traceback.exists() is not foreseen
    if not foreseen:
        assert str(traceback) in outcome.reason
        assert type(error).__name__ in traceback.read_text()


def test_the_exit_code_says_how_many_could_be_fitted(folder, tmp_path):
    arguments = ["fit", str(folder), "--model", "netformer", "--epochs", "1", "--set", "ridge=1e3"]
    arguments += ["--set", "history=4", "-o", str(tmp_path / "runs")]
    assert CliRunner().invoke(main, arguments).exit_code == 3
    (folder / "broken.nwb").unlink()
    with nwb(folder / "video.nwb"):
        pass
    assert CliRunner().invoke(main, [*arguments, "--resume"]).exit_code == 0
    (tmp_path / "runs" / "b" / "metrics.json").unlink()
    (tmp_path / "runs" / "b" / "config.json").write_text('{"format": 99}')
    some = CliRunner().invoke(main, [*arguments, "--resume"])
    assert some.exit_code == 3
    assert "format 99" in some.stdout
    (folder / "a.nwb").write_text("nor this")
    (folder / "b.nwb").write_text("nor this")
    none = CliRunner().invoke(main, [*arguments, "--overwrite"])
    assert none.exit_code == 1
