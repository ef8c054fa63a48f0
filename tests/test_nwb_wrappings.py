"""Files whose outside is odd: start times that are none, a user block, a crash, linked arrays."""

import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from nwb_files import NUM_FRAMES, SPIKES, made, nwb, opened, rois, series, traces, units
from zarr_files import write_store

import nwbdyn


def check_spikes(path: Path) -> None:
    with opened(path) as recording:
        assert np.diff(recording.activity.index, prepend=0).tolist() == [3, 1, 4]
        np.testing.assert_array_equal(recording.activity.times, np.concatenate(SPIKES))


@pytest.mark.parametrize(
    "stated", ["2021-01-01 00:00:00", "unknown", "", "01/02/2021", "2021-01-01T25:00:00Z"]
)
def test_a_start_time_that_is_none_costs_nothing_else(tmp_path, stated):
    with nwb(tmp_path / "a.nwb") as file:
        units(file)
        for name in ("session_start_time", "timestamps_reference_time"):
            if name in file:
                del file[name]
            file[name] = stated
    check_spikes(tmp_path / "a.nwb")
    with opened(tmp_path / "a.nwb") as recording:
        assert recording.session_start_time == stated


@pytest.mark.parametrize("size", [512, 4096])
def test_a_block_of_matlab_s_before_the_file_is_skipped(tmp_path, size):
    with nwb(tmp_path / "plain.nwb") as file:
        units(file)
        series(file["acquisition"], "speed", np.arange(200_000.0), rate=1000.0)
    path = tmp_path / "a.nwb"
    with h5py.File(tmp_path / "plain.nwb") as plain, h5py.File(path, "w", userblock_size=size) as f:
        f.attrs.update(plain.attrs)
        for name in plain:
            plain.copy(name, f)
    check_spikes(path)
    with nwbdyn.open(str(path)) as recording:
        assert recording.covariates[0].data[-1, 0] == 199_999


def test_a_file_that_a_crash_left_open_is_read(tmp_path):
    with nwb(tmp_path / "plain.nwb") as file:
        units(file)
    path = tmp_path / "a.nwb"
    with h5py.File(tmp_path / "plain.nwb") as plain, h5py.File(path, "w", libver="latest") as f:
        f.attrs.update(plain.attrs)
        for name in plain:
            plain.copy(name, f)
    dies = (
        "import h5py, os, sys\n"
        "file = h5py.File(sys.argv[1], 'a', libver='latest')\n"
        "file['units'].attrs['touched'] = 1\n"
        "file.flush()\n"
        "os._exit(1)\n"
    )
    subprocess.run([sys.executable, "-c", dies, str(path)], check=False)
    with pytest.raises(OSError, match=r"consistency flags|already open"):
        h5py.File(path, "r+")  # the flags are set
    check_spikes(path)


def linked(path: Path) -> None:
    """dF/F whose rois and times are links into another series."""
    with nwb(path) as file:
        cells = rois(file, quality=np.arange(9.0))
        rows = np.array([8, 1, 2, 3, 4])
        times = 7 + np.arange(NUM_FRAMES) / 10
        first = traces(file, "F", container="Fluorescence", rois=cells, rows=rows, timestamps=times)
        second = traces(file, "dff", rois=cells, rows=rows, timestamps=times)
        for name in ("rois", "timestamps"):
            del second[name]
            second[name] = h5py.SoftLink(f"{first.name}/{name}")


@pytest.mark.parametrize("change", ["none", "moved and renamed", "not consolidated"])
def test_a_store_with_linked_rois_and_times_reads_as_its_file(tmp_path, change):
    linked(tmp_path / "a.nwb")
    store = write_store(tmp_path / "a.nwb", tmp_path / "a.nwb.zarr")
    if change == "moved and renamed":
        deep = tmp_path / "deep" / "other name.zarr"
        deep.parent.mkdir()
        store = Path(shutil.move(store, deep))
    elif change == "not consolidated":
        (store / ".zmetadata").unlink()
    with nwbdyn.open(str(store)) as recording:
        assert recording.activity.quantity == "dff"
        assert recording.neurons.ids.tolist() == [8, 1, 2, 3, 4]
        assert recording.activity.timestamps[0] == 7
        np.testing.assert_array_equal(recording.activity.data, made(NUM_FRAMES, 5))
