"""On a full disk a run says so in one line, keeps what it had, and goes on later."""

import errno
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

try:
    import resource
except ImportError:  # Windows
    resource = None

from nwbdyn.errors import ResultsError
from nwbdyn.results import hdf5, run_directory
from nwbdyn.training import checkpoint

FULL = Path("/dev/full")  # whatever is written to it finds no space left

pytestmark = pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full, as Linux has it")
reported = pytest.raises(ResultsError, match="the disk is full")


def test_the_file_that_was_there_stays(tmp_path):
    path = tmp_path / "config.json"
    path.write_text("before")
    with reported, run_directory.atomic_write(path) as partial:
        partial.symlink_to(FULL)
        partial.write_text("after")
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_checkpoint_says_that_the_disk_is_full(tmp_path, monkeypatch):
    def no_space(descriptor):  # some file systems say so only here
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    state = {"epoch": 3, "weights": {}}
    checkpoint.write_checkpoint(state, tmp_path)
    monkeypatch.setattr(os, "fsync", no_space)
    with reported:
        checkpoint.write_checkpoint(state | {"epoch": 4}, tmp_path)
    assert checkpoint.read_checkpoint(tmp_path) == state


def test_a_history_says_that_the_disk_is_full(tmp_path, monkeypatch):
    monkeypatch.setattr(run_directory, "_check_no_link", lambda path: None)  # it refuses the link
    (tmp_path / run_directory.HISTORY).symlink_to(FULL)
    with reported:
        run_directory.append_history(tmp_path, {"epoch": 1, "loss": 0.5})


@pytest.mark.parametrize("number", [errno.EFBIG, errno.EROFS, errno.EIO])
def test_a_disk_that_refuses_is_named_in_one_line_and_what_was_there_stays(tmp_path, number):
    path = tmp_path / "results.h5"
    path.write_text("before")
    message = rf"results\.h5: {os.strerror(number)}\. Free some room there, or pass -o .*--resume"

    def failing(partial):
        partial.write_text("after")
        raise OSError(number, os.strerror(number))

    with pytest.raises(ResultsError, match=message), run_directory.atomic_write(path) as partial:
        failing(partial)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(resource is None, reason="needs limits of a process, as Unix has them")
def test_a_limit_on_the_size_of_files_is_named_in_one_line(tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    (tmp_path / "a.h5").touch()
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
        with (
            pytest.raises(ResultsError, match=os.strerror(errno.EFBIG)),
            run_directory.disk_full_as_error(tmp_path / "a.h5"),
        ):
            run_directory.preallocate(tmp_path / "a.h5", 2000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_any_other_trouble_with_a_file_keeps_its_own_words(tmp_path):
    (tmp_path / run_directory.HISTORY).mkdir()
    with pytest.raises(IsADirectoryError):
        run_directory.append_history(tmp_path, {"epoch": 1})


def test_room_is_reserved_for_all_of_a_results_file(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    text = np.array([f"neuron {k}" for k in range(500)], dtype=object)
    tree = {
        "noise": rng.normal(size=(300, 700)).astype(np.float32),  # gzip gains nothing on it
        "more": {"few": np.arange(5), "names": text, "model": "synapsnet", "bins": 300},
        "neurons": pd.DataFrame({"id": range(500), "name": text, "x": rng.normal(size=500)}),
    }
    requested = []
    reserve = run_directory.preallocate

    def asking(path, num_bytes):
        requested.append(num_bytes)
        reserve(path, num_bytes)

    monkeypatch.setattr(run_directory, "preallocate", asking)
    path = tmp_path / "results.h5"
    hdf5.write(path, tree)
    assert path.stat().st_size < requested[0]
    np.testing.assert_array_equal(hdf5.read(path)["noise"], tree["noise"])
