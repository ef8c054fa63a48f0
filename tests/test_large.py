"""Recordings that memory does not hold twice: the same bins, made in pieces."""

import gc
import tracemalloc
from pathlib import Path

import h5py
import numpy as np
import pytest
from nwb_files import nwb, rois, traces, units
from small import poisson_spikes

import nwbdyn
from nwbdyn.data import large
from nwbdyn.data.binning import Binned, bin_recording
from nwbdyn.recording import LazyArray


@pytest.fixture
def tiny(monkeypatch):
    """Pieces of a few rows, and every array on disk."""
    monkeypatch.setattr(large, "READ", 4096)
    monkeypatch.setattr(large, "WORK", 4096)
    monkeypatch.setattr(large, "SHARE", 0.0)


def same(one: Binned, other: Binned) -> None:
    for name in ("values", "time", "valid", "segment", "covariates"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert one.neurons.table.equals(other.neurons.table)
    assert one.notes == other.notes


REAL = (
    "ecephys/human_mtl_dandi000207_sub-4_ses-4.nwb",
    "ecephys/rat_hippocampus_nelpy_linear-track.nwb",
    "ophys/celegans_dag2023_2022-07-26-31.nwb",
    "ophys/celegans_scholz_142554_per-neuron-timeseries.nwb",
)


@pytest.mark.parametrize("bin_width", [None, 1.0])
@pytest.mark.parametrize("name", REAL)
def test_pieces_give_the_same_bins(data, name, bin_width, monkeypatch):
    with nwbdyn.open(str(data / name)) as recording:
        whole = bin_recording(recording, bin_width=bin_width)
    for size in ("READ", "WORK"):
        monkeypatch.setattr(large, size, 50_000)
    monkeypatch.setattr(large, "SHARE", 0.0)
    with nwbdyn.open(str(data / name)) as recording:
        pieced = bin_recording(recording, bin_width=bin_width)
    assert isinstance(pieced.values, np.memmap)
    same(whole, pieced)


def test_bad_rois_and_frames_are_found_in_any_piece(tmp_path, monkeypatch, tiny):
    draw = np.random.default_rng(0)
    values = draw.normal(size=(900, 6))
    values[500:, 1] = np.nan  # less than half
    values[100:, 2] = np.nan
    values[:, 3] = 7.0
    values[:, 4] = np.nan
    values[899, 3] = 8.0  # not constant after all
    times = np.arange(900) / 10
    times[[300, 301]] = times[[301, 300]]
    with nwb(tmp_path / "a.nwb") as file:
        traces(file, rois=rois(file, num_rois=6), data=values, timestamps=times)
    with nwbdyn.open(str(tmp_path / "a.nwb")) as recording:
        pieced = bin_recording(recording)
    monkeypatch.undo()
    with nwbdyn.open(str(tmp_path / "a.nwb")) as recording:
        whole = bin_recording(recording)
    same(whole, pieced)
    assert {note.code for note in whole.notes} == {"unordered-frames", "all-nan", "mostly-nan"}
    assert whole.num_neurons == 4


def test_spikes_of_many_units_are_read_a_few_units_at_a_time(tmp_path, monkeypatch, tiny):
    with nwb(tmp_path / "a.nwb") as file:
        units(file, spikes=[[*row] for row in poisson_spikes(30, 60.0, rate=10.0)] + [[]])
    with nwbdyn.open(str(tmp_path / "a.nwb")) as recording:
        pieced = bin_recording(recording)
    monkeypatch.undo()
    with nwbdyn.open(str(tmp_path / "a.nwb")) as recording:
        same(bin_recording(recording), pieced)


def peak(path: Path, bin_width: float | None) -> float:
    """Bytes of memory that binning takes at most, arrays on disk not counted."""
    with nwbdyn.open(str(path)) as recording:
        gc.collect()
        tracemalloc.start()
        bin_recording(recording, bin_width=bin_width)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    return most


@pytest.mark.parametrize("bin_width", [None, 1.0])
def test_a_longer_recording_takes_no_more_memory(tmp_path, monkeypatch, bin_width):
    for size in ("READ", "WORK"):
        monkeypatch.setattr(large, size, 2**20)
    monkeypatch.setattr(large, "SHARE", 0.0)
    peaks = []
    for length in (3_000, 30_000):
        path = tmp_path / f"{length}.nwb"
        with nwb(path) as file:
            group = traces(file, rois=rois(file, num_rois=300), data=np.zeros((1, 300)))
            del group["data"]
            values = np.random.default_rng(0).normal(size=(length, 300)).astype(np.float32)
            group.create_dataset("data", data=values, chunks=(500, 300))
        peaks.append(peak(path, bin_width))
    assert 30_000 * 300 * 4 == 36_000_000
    assert peaks[1] < peaks[0] + 5e6  # what there is one of per frame: times and marks


def test_a_piece_is_made_of_whole_chunks(tmp_path, monkeypatch):
    monkeypatch.setattr(large, "READ", 1000)
    array = LazyArray(lambda key: np.zeros(1), (100, 5), np.dtype(float), rows_together=32)
    assert [(p.start, p.stop) for p in large.row_blocks(array)] == [
        (0, 32),
        (32, 64),
        (64, 96),
        (96, 100),
    ]


def test_an_array_on_disk_leaves_no_file_behind(cache, tiny):
    array = large.memmap_zeros((10, 10))
    array += 1
    assert isinstance(array, np.memmap)
    assert array.sum() == 100
    assert list((cache / "large").iterdir()) == []


def test_a_chunked_file_says_which_rows_lie_together(tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        group = traces(file, rois=rois(file), data=np.zeros((1, 5)))
        del group["data"]
        group.create_dataset("data", shape=(400, 5), dtype="f4", chunks=(128, 5))
    with nwbdyn.open(str(tmp_path / "a.nwb")) as recording:
        assert recording.activity.data.rows_together == 128
    with h5py.File(tmp_path / "a.nwb") as file:
        assert file["processing/ophys/DfOverF/RoiResponseSeries/data"].chunks == (128, 5)
