"""One process writes into a run directory; what dead processes left blocks nobody."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from small_fits import LINEAR, imaging

from nwbdyn import archive
from nwbdyn.cli import main
from nwbdyn.errors import FitError, ResultsError
from nwbdyn.fitting.fit import fit
from nwbdyn.results import run_directory, run_lock

HOLDER = """
import sys, time
from pathlib import Path
from nwbdyn.results.run_lock import run_lock
with run_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that writes to tmp_path/run."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, tmp_path / "run"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def left(run: Path, **owner: object) -> Path:
    """The lock of a process that is no more, unless `owner` says otherwise."""
    run.mkdir(exist_ok=True)
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    reported = {"host": socket.gethostname(), "process": dead.pid, "begun": "1"} | owner
    (run / run_directory.LOCK).write_text(json.dumps(reported))
    return run


def test_a_second_fit_into_the_same_folder_is_refused_and_names_the_first(holder, tmp_path):
    run = tmp_path / "run"
    before = (run / run_directory.LOCK).read_text()
    with pytest.raises(ResultsError, match=rf"Process {holder.pid} on .* is writing to .*run"):
        fit(imaging(), "netformer", epochs=1, options=LINEAR, run=run)
    with pytest.raises(ResultsError, match=str(holder.pid)):
        fit(imaging(), "netformer", epochs=1, options=LINEAR, run=run, overwrite=True)
    assert os.listdir(run) == [run_directory.LOCK]
    assert (run / run_directory.LOCK).read_text() == before


def test_a_second_fit_of_many_recordings_is_one_line(holder, tmp_path):
    recording = archive.resolve("sample:cortex?neurons=6&duration=60")[0].path.read_bytes()
    (tmp_path / "recordings").mkdir()
    for name in ("a.nwb", "b.nwb"):
        (tmp_path / "recordings" / name).write_bytes(recording)
    requested = ["fit", str(tmp_path / "recordings"), "--model", "netformer", "-o"]
    result = CliRunner().invoke(main, [*requested, str(tmp_path / "run")])
    assert result.exit_code == 1
    assert f"Process {holder.pid}" in result.stderr
    assert not (tmp_path / "run" / run_directory.SUMMARY).exists()


def test_a_process_that_was_killed_blocks_nobody(holder, tmp_path):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    run = tmp_path / "run"
    assert (run / run_directory.LOCK).exists()
    fit(imaging(), "netformer", epochs=1, options=LINEAR, run=run)
    assert run_directory.is_complete(run)
    assert not list(run.glob(f"{run_directory.LOCK}*"))


def test_a_later_process_of_the_same_number_is_not_the_one_that_held_it(tmp_path):
    run = left(tmp_path / "run", process=os.getpid(), begun="1")
    with run_lock.run_lock(run):
        assert json.loads((run / run_directory.LOCK).read_text())["begun"] != "1"


def test_a_fit_within_the_same_process_is_refused_too(tmp_path):
    with (
        run_lock.run_lock(tmp_path / "run"),
        pytest.raises(ResultsError, match=str(os.getpid())),
        run_lock.run_lock(tmp_path / "run"),
    ):
        pass


@pytest.mark.parametrize("text", ["", "{", '{"host": 1}', "[]"])
def test_a_lock_that_was_never_written_to_its_end_blocks_nobody(text, tmp_path):
    (tmp_path / run_directory.LOCK).write_text(text)
    with run_lock.run_lock(tmp_path):
        pass
    assert not os.listdir(tmp_path)


def test_a_lock_of_another_host_that_nobody_touches_is_taken_over(tmp_path):
    run = left(tmp_path / "run", host="elsewhere")
    reported = []
    with run_lock.run_lock(run, watched_for=0.2, report=reported.append):
        owner = json.loads((run / run_directory.LOCK).read_text())
        assert owner["host"] == socket.gethostname()
    assert {progress.stage for progress in reported} == {"watching lock.json"}
    assert reported[-1].done == reported[-1].total


def test_a_lock_of_another_host_that_somebody_touches_is_respected(tmp_path):
    run = left(tmp_path / "run", host="elsewhere", process=7)

    def touch(progress: object) -> None:  # as its owner would, by a clock of its own
        os.utime(run / run_directory.LOCK, (0, 0))

    with (
        pytest.raises(ResultsError, match="Process 7 on elsewhere"),
        run_lock.run_lock(run, watched_for=30, report=touch),
    ):
        pass
    assert json.loads((run / run_directory.LOCK).read_text())["process"] == 7


def test_whoever_watches_a_lock_that_goes_away_takes_its_place(tmp_path):
    run = left(tmp_path / "run", host="elsewhere")

    def end(progress: object) -> None:
        (run / run_directory.LOCK).unlink(missing_ok=True)

    with run_lock.run_lock(run, watched_for=30, report=end):
        assert json.loads((run / run_directory.LOCK).read_text())["process"] == os.getpid()


def test_its_owner_touches_the_lock(tmp_path, monkeypatch):
    monkeypatch.setattr(run_lock, "TOUCHED_EVERY", 0.05)
    with run_lock.run_lock(tmp_path):
        os.utime(tmp_path / run_directory.LOCK, (0, 0))
        for _ in range(200):
            if (tmp_path / run_directory.LOCK).stat().st_mtime > 0:
                break
            time.sleep(0.05)
        assert (tmp_path / run_directory.LOCK).stat().st_mtime > 0


def test_of_many_that_find_the_lock_of_a_dead_process_one_takes_it(tmp_path):
    run = left(tmp_path / "run")
    takers = [
        subprocess.Popen(
            [sys.executable, "-c", HOLDER, run],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    try:
        losers = [taker for taker in takers if taker.stdout.readline() != "held\n"]
        assert len(losers) == 3
        for loser in losers:
            assert "is writing to" in loser.communicate()[1]
    finally:
        for taker in takers:
            taker.kill()
            taker.communicate()


def test_a_fit_that_is_refused_leaves_no_folder(tmp_path):
    with pytest.raises(FitError, match="No run to resume"):
        fit(imaging(), "netformer", run=tmp_path / "run", resume=True)
    assert not (tmp_path / "run").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(ResultsError, match="is a file"):
        fit(imaging(), "netformer", run=tmp_path / "file")
