"""Notes that change what the numbers mean stand first: in `inspect`, before training, in scores."""

import logging
from dataclasses import replace

import pytest
from nwb_files import nwb, opened, rois, traces
from small_fits import LINEAR, imaging

from nwbdyn.cli import scoreboard, terminal
from nwbdyn.cli.cmd_inspect import page
from nwbdyn.fitting.fit import fit
from nwbdyn.nwb.read.summary import summarise
from nwbdyn.recording import Note
from nwbdyn.workflows.batch import FITTED, SessionResult

PLAIN = Note("empty-rois", "/processing/ophys/a", "is empty; all rows are taken")
IMPORTANT = Note("clock-contradicts", "/processing/ophys/b", "10 Hz here, 0.1 Hz there", True)


@pytest.fixture(scope="module")
def noted():
    """An imaging session with one note of each kind."""
    return replace(imaging(), notes=(PLAIN, IMPORTANT))


def test_inspect_begins_with_what_changes_the_numbers(tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        traces(file, rois=rois(file))
    with opened(tmp_path / "a.nwb") as recording:
        summary = summarise(replace(recording, notes=(PLAIN, IMPORTANT)))
    lines = page(summary | {"fit": None}).splitlines()
    assert lines[2] == "Attention:"
    assert lines[3] == f"  {IMPORTANT}"
    assert lines[4] == ""
    skipped = lines[lines.index("Skipped or odd:") :]
    assert any("[empty-rois]" in line for line in skipped)
    assert not any("[clock-contradicts]" in line for line in skipped)


def test_a_fit_warns_of_it_before_training_and_once(noted, caplog):
    stages = []

    def report(progress):
        stages.append((progress.stage, len(caplog.records)))

    with caplog.at_level(logging.WARNING):
        fit(noted, "netformer", epochs=1, options=LINEAR, folds=3, report=report)
    assert [record.getMessage() for record in caplog.records] == [
        f"{noted.source.name}: {IMPORTANT}"
    ]
    assert stages[0][1] == 1


def test_the_scores_of_a_fit_begin_with_it(noted):
    made = fit(noted, "netformer", epochs=1, options=LINEAR)
    text = scoreboard.of_fit(made)
    first, *rest = text.split("\n\n")
    assert " ".join(first.split()) == f"Attention: {IMPORTANT}"
    assert "netformer" in rest[0]
    plain = scoreboard.of_fit(replace(made, notes=(PLAIN,)))
    assert plain == text.removeprefix(f"{first}\n\n")


def test_several_recordings_begin_with_what_changes_the_numbers_of_each():
    done = SessionResult(
        "a/one.nwb", "runs/one", FITTED, "", "r2", 0.5, important=(str(IMPORTANT),)
    )
    other = SessionResult("a/two.nwb", "runs/two", FITTED, "", "r2", 0.5)
    first, table = scoreboard.of_outcomes([done, other], "netformer").split("\n\n")
    assert " ".join(first.split()) == f"Attention: one.nwb: {IMPORTANT}"
    assert "two.nwb" in table
    assert "Attention" not in scoreboard.of_outcomes([other], "netformer")
    many = scoreboard.of_outcomes([done] * 8, "netformer").split("\n\n")[0]
    assert many.endswith("and 2 more in summary.json")


def test_warnings_of_the_library_go_to_stderr_and_wrap(capsys):
    log = logging.getLogger("nwbdyn.fitting.task")
    with terminal.warnings_on_stderr():
        log.warning("a.nwb: %s", "word " * 40)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("a.nwb: word word")
    assert all(len(line) <= terminal.WIDTH for line in shown.err.splitlines())
    assert not logging.getLogger("nwbdyn").handlers
