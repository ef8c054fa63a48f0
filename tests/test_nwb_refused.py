"""Files that cannot be read: each kind is refused in words that name file, object and next step."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from nwb_files import (
    NUM_FRAMES,
    NUM_ROIS,
    TEXT,
    nwb,
    opened,
    rois,
    table,
    traces,
    units,
)

from nwbdyn.errors import DataError, NoActivityError, ReadError

REFUSED = {}


def refused(*text_shown: str):
    """A kind of file that cannot be fitted; the error must contain every text of `text_shown`."""

    def keep(build):
        REFUSED[build.__name__] = (build, text_shown)
        return build

    return keep


@refused("cannot be read as an HDF5 file", "it is empty or of another format", "fetch it again")
def an_empty_file(path: Path):
    path.write_bytes(b"")


@refused("cannot be read as an HDF5 file", "it is empty or of another format")
def a_text_file(path: Path):
    path.write_text("subject,session\nm1,1\n" * 100)


@refused("cannot be read as an HDF5 file: it is truncated, ", " bytes. Copy or fetch it again.")
def a_truncated_file(path: Path):
    with nwb(path) as file:
        units(file)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


@refused("HDF5 but not NWB", "it holds: spikes")
def an_hdf5_file_of_something_else(path: Path):
    with h5py.File(path, "w") as file:
        file["spikes"] = [1, 2]


@refused("is NWB 1.0.6", "Convert it")
def a_file_of_the_first_nwb(path: Path):
    with h5py.File(path, "w") as file:
        file["nwb_version"] = "NWB-1.0.6"
        file.create_group("epochs")


@refused("neither units with spike times nor ROI traces", "no typed objects")
def a_file_with_nothing_in_it(path: Path):
    nwb(path).close()


@refused("/units", "has no spike_times", "no-spike-times")
def units_without_spike_times(path: Path):
    with nwb(path) as file:
        table(file, "units", "Units", quality=["good"])


@refused("/units", "spike_times_index", "no-spike-index")
def spikes_that_belong_to_no_unit(path: Path):
    with nwb(path) as file:
        del units(file)["spike_times_index"]


@refused("/units/spike_times_index", "ends at 999", "`spike_times` has 8 values")
def an_index_beyond_the_spikes(path: Path):
    with nwb(path) as file:
        group = units(file)
        del group["spike_times_index"]
        group["spike_times_index"] = [3, 4, 999]


@refused("/units/spike_times_index", "not in increasing order")
def an_index_that_goes_back(path: Path):
    with nwb(path) as file:
        units(file)["spike_times_index"][...] = [4, 3, 8]


@refused("/units/spike_times_index", "ends 3 units", "table has 5 rows")
def an_index_of_another_length_than_the_table(path: Path):
    with nwb(path) as file:
        group = units(file)
        del group["id"]
        group["id"] = np.arange(5)


@refused("/units/spike_times", "not a list of times")
def spike_times_in_words(path: Path):
    with nwb(path) as file:
        group = units(file)
        del group["spike_times"]
        group["spike_times"] = np.array(["early"] * 8, dtype=TEXT)


@refused("/units/spike_times in ", "whole numbers only", "--spike-time-unit: ms, the sampling rate")
def spike_times_in_samples(path: Path):
    with nwb(path) as file:
        units(file, spikes=[np.arange(30, 3_000_000, 30_011), [60]])


@refused("/units/spike_times in ", "ends by 60 s", "--spike-time-unit: ms")
def spike_times_in_milliseconds(path: Path):
    with nwb(path) as file:
        units(file, spikes=[np.linspace(10.5, 59_000.25, 400)])
        table(file["intervals"], "trials", "TimeIntervals", start_time=[0.0], stop_time=[60.0])


@refused("/units/spike_times in ", "33 hours at 0.0033 Hz", "--spike-time-unit: ms")
def spike_times_in_milliseconds_and_nothing_beside_them(path: Path):
    with nwb(path) as file:
        units(file, spikes=[np.linspace(10.5, 120_000.25, 400)])


@refused("/units/spike_times in ", "42 hours", "--spike-time-unit: ms")
def a_file_with_every_time_in_milliseconds(path: Path):
    with nwb(path) as file:
        intervals = [[(10.0, 150_000.0)]] * 2
        spikes = [np.linspace(10.5, 150_000.0, 900), np.linspace(20.25, 149_000.0, 400)]
        units(file, spikes=spikes, obs_intervals=intervals)
        columns = {"start_time": [0.0, 75_000.0], "stop_time": [75_000.0, 150_000.0]}
        table(file["intervals"], "trials", "TimeIntervals", **columns)


@refused("whole numbers only", "--spike-time-unit: ms, 25000 (samples)")
def spike_times_in_samples_of_a_stated_rate(path: Path):
    with nwb(path) as file:
        group = units(file, spikes=[np.arange(30, 3_000_000, 30_011)])
        group["spike_times"].attrs["resolution"] = 1 / 25_000


@refused("RoiResponseSeries", "has 39 times for 40 samples")
def traces_with_a_frame_more_than_their_clock(path: Path):
    with nwb(path) as file:
        traces(file, rois=rois(file), timestamps=np.arange(NUM_FRAMES - 1.0))


@refused("RoiResponseSeries", "neither timestamps nor starting_time and rate")
def traces_without_a_clock(path: Path):
    with nwb(path) as file:
        del traces(file, rois=rois(file))["starting_time"]


@refused("RoiResponseSeries/starting_time", "rate 0 Hz is no clock")
def traces_at_a_rate_of_zero(path: Path):
    with nwb(path) as file:
        traces(file, rois=rois(file), rate=0)


@refused("RoiResponseSeries", "its times do not increase")
def traces_at_times_that_are_all_nan(path: Path):
    with nwb(path) as file:
        traces(file, rois=rois(file), timestamps=np.full(NUM_FRAMES, np.nan))


@refused("RoiResponseSeries", "is 40 x 5 for 7 rois")
def traces_of_another_number_of_rois(path: Path):
    with nwb(path) as file:
        traces(file, rois=rois(file, num_rois=7))


@refused("RoiResponseSeries/data", "links to '/nowhere'")
def traces_behind_a_broken_link(path: Path):
    with nwb(path) as file:
        group = traces(file, rois=rois(file))
        del group["data"]
        group["data"] = h5py.SoftLink("/nowhere")


@refused("RoiResponseSeries/data", "declares", "in a file of")
def traces_that_declare_more_than_the_file_can_hold(path: Path):
    with nwb(path) as file:
        group = traces(file, rois=rois(file), rate=10.0)
        del group["data"]
        group.create_dataset("data", shape=(10**12, NUM_ROIS), dtype="f4", chunks=(1024, NUM_ROIS))


@refused("RoiResponseSeries/data", "stored in another file")
def traces_stored_in_a_file_outside(path: Path):
    with nwb(path) as file:
        group = traces(file, rois=rois(file))
        del group["data"]
        outside = [("../../etc/passwd", 0, h5py.h5f.UNLIMITED)]
        group.create_dataset("data", (NUM_FRAMES, NUM_ROIS), "f4", external=outside)


@refused("RoiResponseSeries/data", "stored in another file")
def traces_that_are_a_view_of_another_file(path: Path):
    with nwb(path) as file:
        group = traces(file, rois=rois(file))
        del group["data"]
        layout = h5py.VirtualLayout((NUM_FRAMES, NUM_ROIS), "f4")
        layout[:] = h5py.VirtualSource("../secret.h5", "data", (NUM_FRAMES, NUM_ROIS))
        group.create_virtual_dataset("data", layout)


@pytest.mark.parametrize("kind", REFUSED)
def test_a_file_without_readable_activity_is_refused_by_name(kind, tmp_path):
    build, text_shown = REFUSED[kind]
    path = tmp_path / f"{kind}.nwb"
    build(path)
    with pytest.raises(ReadError) as caught, opened(path):
        pass
    message = str(caught.value)
    assert "\n" not in message
    for words in (path.name, *text_shown):
        assert words in message


def imaged(file):
    traces(file, rois=rois(file))


def test_a_quantity_that_the_file_lacks_is_refused_with_those_that_it_holds(tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        imaged(file)
    wanted = r"a\.nwb holds no events.* It holds dff: leave out --quantity, or name one"
    with (
        pytest.raises(NoActivityError, match=wanted),
        opened(tmp_path / "a.nwb", quantity="events"),
    ):
        pass


@pytest.mark.parametrize(
    ("build", "option", "message"),
    [
        (imaged, {"spike_time_unit": "ms"}, "--spike-time-unit is for spike times, and a"),
        (units, {"frame_rate": 5.0}, "--frame-rate is for ROI traces, and a fit of a.nwb reads sp"),
        (units, {"time_axis": 0}, "--time-axis is for ROI traces"),
    ],
)
def test_a_correction_of_what_is_not_read_is_refused(tmp_path, build, option, message):
    with nwb(tmp_path / "a.nwb") as file:
        build(file)
    with pytest.raises(DataError, match=message), opened(tmp_path / "a.nwb", **option):
        pass
