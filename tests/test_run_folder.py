"""Folders of runs: which runs they hold, their files, their pages and their summary."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from small_fits import imaging

import nwbdyn
from nwbdyn.cli import main
from nwbdyn.errors import ResultsError
from nwbdyn.results import run_folder
from nwbdyn.workflows.export_folder import export_each

QUICK = ["--model", "netformer", "--epochs", "1", "--set", "history=2"]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def two_runs(tmp_path_factory) -> Path:
    """A folder with the runs of two small recordings, and a file and a folder that are no runs."""
    folder = tmp_path_factory.mktemp("runs")
    for seed, name in ((0, "one"), (1, "two")):
        nwbdyn.fit(
            imaging(seed=seed),
            model="netformer",
            epochs=1,
            options={"history": 2},
            run=folder / name,
        )
    (folder / "notes").mkdir()
    (folder / "notes.txt").write_text("mine")
    return folder


# --- which runs a folder holds ---


def test_a_folder_lists_its_complete_runs_by_name(two_runs):
    assert run_folder.runs_in(two_runs) == (two_runs / "one", two_runs / "two")


def test_a_run_a_file_and_nothing_are_no_folders_of_runs(two_runs):
    assert run_folder.runs_in(two_runs / "one") == ()
    assert run_folder.runs_in(two_runs / "notes.txt") == ()
    assert run_folder.runs_in(two_runs / "absent") == ()


def test_the_runs_of_a_joint_fit_are_those_of_its_recordings_in_its_order(tmp_path):
    sessions = {"b": {}, "a": {}}
    (tmp_path / "config.json").write_text(json.dumps({"format": 1, "sessions": sessions}))
    with pytest.raises(ResultsError, match=r"incomplete\. Continue it with --resume"):
        run_folder.runs_in(tmp_path)
    (tmp_path / "metrics.json").write_text("{}")
    assert run_folder.runs_in(tmp_path) == (tmp_path / "b", tmp_path / "a")


# --- export ---


def test_every_run_of_a_folder_becomes_a_file_in_its_run(two_runs):
    result = run("export", two_runs, "--overwrite", "-q")
    assert result.exit_code == 0, result.output
    paths = [Path(line) for line in result.stdout.splitlines()]
    assert [path.parent for path in paths] == [two_runs / "one", two_runs / "two"]
    assert all(path.suffix == ".nwb" and path.is_file() for path in paths)
    again = run("export", two_runs)
    assert again.exit_code == 0
    assert "2 of them held these results already." in again.stdout


def test_two_runs_never_share_a_file(two_runs, tmp_path):
    runs = run_folder.runs_in(two_runs)  # of one session, as its recordings say
    with pytest.raises(ResultsError, match=r"one and .*two would both be written to"):
        export_each(runs, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_run_that_cannot_be_exported_does_not_stop_the_others(two_runs, tmp_path):
    names = {path.name: path for path in run_folder.runs_in(two_runs)}
    exported = export_each(list(names.values()), overwrite=True)
    exported[0].path.write_bytes(b"something else")
    first, second = export_each(list(names.values()))
    assert "exists" in first.reason
    assert second.reason == ""
    result = run("export", two_runs, "--json")
    assert result.exit_code == 3
    document = json.loads(result.stdout)
    assert [one["reason"] is None for one in document["files"]] == [False, True]
    first.path.unlink()
