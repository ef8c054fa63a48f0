"""On a full disk a run says so in one line, keeps what it had, and goes on later."""

import errno
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nwbdyn.errors import ResultsError
from nwbdyn.results import hdf5, run_directory
from nwbdyn.training import checkpoint

FULL = Path("/dev/full")  # whatever is written to it finds no space left

pytestmark = pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full, as Linux has it")
told = pytest.raises(ResultsError, match="the disk is full")


def test_the_file_that_was_there_stays(tmp_path):
    path = tmp_path / "config.json"
    path.write_text("before")
    with told, run_directory.atomic_write(path) as partial:
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
    with told:
        checkpoint.write_checkpoint(state | {"epoch": 4}, tmp_path)
    assert checkpoint.read_checkpoint(tmp_path) == state


def test_a_history_says_that_the_disk_is_full(tmp_path, monkeypatch):
    monkeypatch.setattr(run_directory, "_check_no_link", lambda path: None)  # it refuses the link
    (tmp_path / run_directory.HISTORY).symlink_to(FULL)
    with told:
        run_directory.append_history(tmp_path, {"epoch": 1, "loss": 0.5})


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
    asked = []
    reserve = run_directory.preallocate

    def asking(path, num_bytes):
        asked.append(num_bytes)
        reserve(path, num_bytes)

    monkeypatch.setattr(run_directory, "preallocate", asking)
    path = tmp_path / "results.h5"
    hdf5.write(path, tree)
    assert path.stat().st_size < asked[0]
    np.testing.assert_array_equal(hdf5.read(path)["noise"], tree["noise"])
