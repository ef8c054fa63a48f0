"""A home, cache or temporary folder that cannot be written, a full disk, and a kill."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import lab_files
import numpy as np
import pytest
from pynwb import NWBHDF5IO, TimeSeries
from pynwb.image import ImageSeries

from nwbdyn import archive, cache, scratch
from nwbdyn.data import large
from nwbdyn.errors import ResultsError
from nwbdyn.streaming import disk
from nwbdyn.streaming.disk import BLOCK, DiskBlocks
from nwbdyn.workflows.fetch import fetch

NOWHERE = "/dev/null/nobody"  # no folder can be made below a device, not even by root
UNSET = ("XDG_CACHE_HOME", "NWBDYN_CACHE", "MPLCONFIGDIR", "XDG_CONFIG_HOME")


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    fit = lab_files.fit_of(lab_files.write_imaging(folder / "lab.nwb"))
    return fit.save(folder / "fit")


def nwbdyn(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    kept = {name: value for name, value in os.environ.items() if name not in UNSET}
    return subprocess.run(
        [sys.executable, "-m", "nwbdyn", *arguments],
        capture_output=True,
        text=True,
        env=kept | {"HOME": NOWHERE} | environment,
    )


@pytest.mark.skipif(os.name != "posix", reason="a device in the place of a folder")
def test_an_export_without_a_home_works_and_names_the_variable(run, tmp_path):
    output = tmp_path / "sub-m1_desc-netformer_ophys.nwb"
    done = nwbdyn("export", str(run), "-o", str(output))
    assert done.returncode == 0, done.stderr
    assert output.exists()
    assert "Traceback" not in done.stderr
    assert done.stderr.count("XDG_CACHE_HOME") == 1
    assert f"{NOWHERE}/.cache cannot be written" in done.stderr


@pytest.mark.skipif(os.name != "posix", reason="a device in the place of a folder")
def test_a_cache_that_was_chosen_and_cannot_be_written_is_named_with_its_variable():
    done = nwbdyn("inspect", "sample:cortex?neurons=5&duration=30", NWBDYN_CACHE=NOWHERE)
    assert done.returncode == 1
    *_, last = done.stderr.strip().splitlines()
    assert last.startswith("nwbdyn: Cannot write sample:cortex")
    assert "set NWBDYN_CACHE" in last
    assert NOWHERE in last


def test_a_large_array_without_a_cache_names_the_variable(monkeypatch):
    monkeypatch.setenv("NWBDYN_CACHE", NOWHERE)
    monkeypatch.setattr(large, "SHARE", 0.0)
    with pytest.raises(ResultsError, match="Set NWBDYN_CACHE to a folder that can be written"):
        large.memmap_zeros((10, 10))


def test_without_any_folder_to_write_to_the_variables_are_named(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", NOWHERE)
    monkeypatch.setattr("tempfile.tempdir", NOWHERE)
    with pytest.raises(ResultsError, match="Set XDG_CACHE_HOME, or TMPDIR"):
        cache.replace_unwritable()


def test_a_cache_that_can_be_written_stays(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cache.replace_unwritable()
    assert os.environ["XDG_CACHE_HOME"] == str(tmp_path)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, as Linux has it")
def test_a_local_file_that_a_full_disk_does_not_hold_is_refused_in_one_line(tmp_path):
    (source,) = archive.resolve(str(lab_files.write_imaging(tmp_path / "lab.nwb")))
    folder = tmp_path / "here"
    folder.mkdir()
    (folder / "lab.nwb.part").symlink_to("/dev/full")
    with pytest.raises(ResultsError, match="the disk is full") as message:
        archive.download(source, folder)
    assert "\n" not in str(message.value)
    assert list(folder.iterdir()) == []


# Folders of processes that were killed


def test_a_folder_for_files_on_the_way_goes_with_its_block(tmp_path):
    with scratch.folder(tmp_path) as folder:
        assert folder.parent == tmp_path
        assert folder.is_dir()
    assert list(tmp_path.iterdir()) == []


PROGRAM = """
import sys, time
from pathlib import Path
from nwbdyn import scratch
with scratch.folder(Path(sys.argv[1])) as folder:
    (folder / "half").write_text("half")
    print(flush=True)
    time.sleep(60)
"""


@pytest.mark.skipif(os.name != "posix", reason="kills a process as POSIX does")
def test_what_a_killed_process_left_goes_with_the_next_run_and_only_that(tmp_path):
    started = [
        subprocess.Popen([sys.executable, "-c", PROGRAM, str(tmp_path)], stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    for process in started:
        process.stdout.readline()
    killed, alive = started
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    other = tmp_path / ".nwbdyn-00000000-1-another_machine"
    other.mkdir()
    assert len(list(tmp_path.iterdir())) == 3
    with scratch.folder(tmp_path):
        left = [path.name for path in tmp_path.iterdir()]
    try:
        assert not [name for name in left if f"-{killed.pid}-" in name]
        assert [name for name in left if f"-{alive.pid}-" in name]
        assert other.is_dir()
    finally:
        alive.kill()
        alive.wait()
        for process in started:
            process.stdout.close()


FETCH = """
import os, signal, sys
from pathlib import Path
from nwbdyn import archive
from nwbdyn.workflows.fetch import fetch

def kill(progress):
    if progress.done > 0.5 * (progress.total or 1):
        os.kill(os.getpid(), signal.SIGKILL)

(source,) = archive.resolve(sys.argv[1])
fetch(source, Path(sys.argv[2]), full=sys.argv[3] == "full", report=kill)
"""


@pytest.mark.skipif(os.name != "posix", reason="kills a process as POSIX does")
@pytest.mark.parametrize("form", ["full", "slim"])
def test_a_fetch_that_was_killed_ends_as_one_that_was_not(tmp_path, form):
    path = lab_files.write_imaging(tmp_path / "lab.nwb")
    with NWBHDF5IO(path, "a") as io:
        file = io.read()
        movie = np.random.default_rng(0).integers(0, 255, (300, 100, 100), np.uint8)
        file.add_acquisition(ImageSeries(name="movie", data=movie, unit="n.a.", rate=10.0))
        for k in range(4):
            speed = np.random.default_rng(k).normal(size=100_000)
            file.add_acquisition(TimeSeries(name=f"speed {k}", data=speed, unit="m/s", rate=10.0))
        io.write(file)
    here = tmp_path / "here"
    words = [sys.executable, "-c", FETCH, str(path), str(here), form]
    assert subprocess.run(words).returncode == -signal.SIGKILL
    assert not (here / "lab.nwb").exists()
    assert len(list(here.iterdir())) == 1  # what had arrived
    (source,) = archive.resolve(str(path))
    fetched = fetch(source, here, full=form == "full")
    assert [one.name for one in here.iterdir()] == ["lab.nwb"]
    assert bool(fetched.left_out) == (form == "slim")
    unbroken = fetch(source, tmp_path / "unbroken", full=form == "full").path
    with h5py.File(fetched.path) as one, h5py.File(unbroken) as other:
        names = ["acquisition/movie/data", *(f"acquisition/speed {k}/data" for k in range(4))]
        assert all(np.array_equal(one[name], other[name]) for name in names)


# A small cache


def size_of(folder: Path) -> int:
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("at_once", [1, 4, 12])
def test_a_cache_of_one_megabyte_stays_below_it(monkeypatch, tmp_path, at_once):
    monkeypatch.setenv("NWBDYN_CACHE", str(tmp_path))
    monkeypatch.setenv(disk.LIMIT_VARIABLE, "1 MB")
    for number in range(3):  # of files that are opened one after the other
        blocks = DiskBlocks(f"file {number}")
        for first in range(0, 60, at_once):
            blocks.write(first * BLOCK, os.urandom(at_once * BLOCK))
            assert size_of(tmp_path) <= 1_000_000
            assert set(blocks.read(first, first + at_once)) == set(range(first, first + at_once))
            time.sleep(0)
    assert size_of(tmp_path) > 0


def test_what_is_larger_than_the_cache_is_not_kept(monkeypatch, tmp_path):
    monkeypatch.setenv("NWBDYN_CACHE", str(tmp_path))
    monkeypatch.setenv(disk.LIMIT_VARIABLE, "1 MB")
    blocks = DiskBlocks("a file")
    blocks.write(0, os.urandom(20 * BLOCK))
    assert size_of(tmp_path) == 0
    assert blocks.read(0, 20) == {}
