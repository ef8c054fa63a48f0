"""Damage that costs only itself: it becomes a note, and the rest of the file is read."""

import io
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import h5py
import numpy as np
import pytest
from nwb_files import (
    NUM_FRAMES,
    NUM_ROIS,
    SPIKES,
    TEXT,
    made,
    noted,
    nwb,
    opened,
    rois,
    series,
    table,
    traces,
    typed,
    units,
)
from test_nwb_refused import REFUSED

from nwbdyn.errors import ReadError, StreamError
from nwbdyn.nwb.read.recording import read
from nwbdyn.recording import Source

NOTED = {}


def costs(code: str, where: str):
    """A kind of damage beside intact units; it must leave this note and nothing else unread."""

    def keep(build):
        NOTED[build.__name__] = (build, code, where)
        return build

    return keep


@costs("broken-link", "/processing/behavior")
def a_link_to_a_group_that_is_not_there(file):
    file["processing/behavior"] = h5py.SoftLink("/acquisition/moved")


@costs("external-link", "/acquisition/raw")
def a_link_to_another_file(file):
    file["acquisition/raw"] = h5py.ExternalLink("../../other.nwb", "/acquisition/raw")


@costs("broken-link", "/acquisition/speed/timestamps")
def behaviour_whose_linked_clock_is_gone(file):
    group = series(file["acquisition"], "speed", made(9, 1))
    group["timestamps"] = h5py.SoftLink("/acquisition/camera/timestamps")


@costs("external-link", "/acquisition/speed/timestamps")
def behaviour_whose_clock_is_in_another_file(file):
    group = series(file["acquisition"], "speed", made(9, 1))
    group["timestamps"] = h5py.ExternalLink("camera.h5", "/timestamps")


@costs("no-clock", "/acquisition/speed")
def behaviour_without_a_clock(file):
    series(file["acquisition"], "speed", made(9, 1))


@costs("clock-length", "/acquisition/speed")
def behaviour_with_a_shorter_clock(file):
    series(file["acquisition"], "speed", made(9, 1), timestamps=np.arange(8.0))


@costs("bad-clock", "/acquisition/speed/timestamps")
def behaviour_with_a_clock_in_words(file):
    group = series(file["acquisition"], "speed", made(2, 1))
    group["timestamps"] = np.array(["noon", "one"], dtype=TEXT)


@costs("bad-clock", "/acquisition/speed/starting_time")
def behaviour_at_a_negative_rate(file):
    series(file["acquisition"], "speed", made(9, 1), rate=-30.0)


@costs("not-numeric", "/acquisition/state/data")
def behaviour_in_words(file):
    words = np.array(["run", "rest"], dtype=TEXT)
    series(file["acquisition"], "state", words, timestamps=np.arange(2.0))


@costs("bad-shape", "/acquisition/video/data")
def behaviour_in_three_dimensions(file):
    series(file["acquisition"], "video", np.zeros((9, 2, 2)), rate=1.0)


@costs("no-data", "/acquisition/speed/data")
def behaviour_without_data(file):
    del series(file["acquisition"], "speed", made(9, 1), rate=1.0)["data"]


@costs("bad-conversion", "/acquisition/speed/data")
def a_conversion_that_is_not_a_number(file):
    series(file["acquisition"], "speed", made(9, 1), rate=1.0, conversion=np.nan)


@costs("corrupted-object", "/acquisition/speed/data")
def a_group_where_data_should_be(file):
    group = series(file["acquisition"], "speed", made(9, 1), rate=1.0)
    del group["data"]
    group.create_group("data")


@costs("unknown-type", "/acquisition/paw")
def a_type_whose_specification_is_missing(file):
    series(file["acquisition"], "paw", made(9, 2), "PoseEstimationSeries", rate=1.0)


@costs("unknown-type", "/acquisition/paw")
def a_specification_that_is_not_json(file):
    series(file["acquisition"], "paw", made(9, 2), "PoseEstimationSeries", rate=1.0)
    file["specifications/ndx-pose/0.1/ndx-pose"] = "{not json"


@costs("unknown-type", "/acquisition/paw")
def types_that_inherit_from_each_other(file):
    series(file["acquisition"], "paw", made(9, 2), "Hen", rate=1.0)
    file["specifications/loop/0.1/loop"] = (
        '[{"neurodata_type_def": "Hen", "neurodata_type_inc": "Egg"},'
        ' {"neurodata_type_def": "Egg", "neurodata_type_inc": "Hen"}]'
    )


@costs("no-interval-times", "/intervals/trials")
def trials_without_an_end(file):
    table(file["intervals"], "trials", "TimeIntervals", start_time=[0.0, 1.0])


@costs("no-interval-times", "/intervals/trials")
def trials_that_start_in_words(file):
    columns = {"start_time": ["now", "then"], "stop_time": [1.0, 2.0]}
    table(file["intervals"], "trials", "TimeIntervals", **columns)


@costs("nan-interval", "/intervals/trials")
def a_trial_at_no_time(file):
    columns = {"start_time": [0.0, np.nan], "stop_time": [1.0, 2.0]}
    table(file["intervals"], "trials", "TimeIntervals", **columns)


@costs("reversed-interval", "/intervals/trials")
def a_trial_that_stops_before_it_starts(file):
    columns = {"start_time": [0.0, 2.0], "stop_time": [1.0, 1.5]}
    table(file["intervals"], "trials", "TimeIntervals", **columns)


@costs("column-length", "/intervals/trials/choice")
def a_column_shorter_than_its_table(file):
    columns = {"start_time": [0.0, 1.0], "stop_time": [1.0, 2.0]}
    group = table(file["intervals"], "trials", "TimeIntervals", **columns)
    group["choice"] = [1]
    group.attrs["colnames"] = np.array([*columns, "choice"], dtype=TEXT)


@costs("missing-column", "/intervals/trials/choice")
def a_column_that_is_named_and_not_there(file):
    columns = {"start_time": [0.0, 1.0], "stop_time": [1.0, 2.0]}
    group = table(file["intervals"], "trials", "TimeIntervals", **columns)
    group.attrs["colnames"] = np.array([*columns, "choice"], dtype=TEXT)


@costs("missing-column", "/intervals/trials/../../identifier")
def a_column_name_that_climbs_out_of_the_table(file):
    columns = {"start_time": [0.0, 1.0], "stop_time": [1.0, 2.0]}
    group = table(file["intervals"], "trials", "TimeIntervals", **columns)
    group.attrs["colnames"] = np.array([*columns, "../../identifier"], dtype=TEXT)


@costs("broken-index", "/intervals/trials/tags_index")
def a_ragged_column_whose_rows_end_beyond_it(file):
    columns = {"start_time": [0.0, 1.0], "stop_time": [1.0, 2.0], "tags": [["a"], ["b"]]}
    group = table(file["intervals"], "trials", "TimeIntervals", **columns)
    group["tags_index"][...] = [1, 9]


@costs("no-id", "/intervals/trials")
def a_table_without_ids(file):
    del table(file["intervals"], "trials", "TimeIntervals", start_time=[0.0], stop_time=[1.0])["id"]


@costs("bad-intervals", "/units/obs_intervals")
def observed_intervals_turned_round(file):
    file["units/obs_intervals"] = np.zeros((2, 3))
    file["units/obs_intervals_index"] = np.array([1, 2, 2])


@costs("broken-reference", "/units/electrodes")
def units_on_electrodes_that_are_not_there(file):
    folder = file.require_group("general/extracellular_ephys")
    electrodes = table(folder, "electrodes", "DynamicTable", location=["CA1"])
    file["units/electrodes"] = [0, 0, 7]
    file["units/electrodes"].attrs["table"] = electrodes.ref


@costs("empty-units", "/units")
def a_unit_without_spikes(file):
    del file["units"]
    units(file, spikes=[[0.5], [], [0.25, 0.75]])


@costs("duplicate-ids", "/units/id")
def two_units_of_one_id(file):
    file["units/id"][...] = [3, 3, 4]


@costs("more-units", "/processing/ecephys/units")
def a_second_table_of_units(file):
    units(file, "processing/ecephys/units")


@costs("too-deep", "/acquisition" + "/deeper" * 32)
def groups_without_an_end(file):
    file.create_group("acquisition" + "/deeper" * 40)


@costs("missing-column", "/units/waveform_notes")
def a_column_of_units_that_is_named_and_not_there(file):
    names = np.array(["spike_times", "waveform_notes"], dtype=TEXT)
    file["units"].attrs["colnames"] = names


@pytest.mark.parametrize("kind", NOTED)
def test_damage_beside_the_units_costs_only_itself(kind, tmp_path):
    build, code, where = NOTED[kind]
    path = tmp_path / f"{kind}.nwb"
    with nwb(path) as file:
        units(file)
        build(file)
        series(file["acquisition"], "intact", made(9, 1), rate=1.0)
    with opened(path) as recording:
        assert noted(recording)[code] == where
        assert len(recording.neurons) == len(SPIKES)
        np.testing.assert_array_equal(recording.covariate("intact").data, made(9, 1))
        assert all(note.where.startswith("/") and note.reason for note in recording.notes)


def test_there_are_at_least_twenty_five_kinds_of_broken_file():
    assert len(REFUSED) + len(NOTED) >= 25


# ---------------------------------------------------------------- traces beside broken ROI tables


def test_rois_that_point_outside_their_table_are_numbered_instead(tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        traces(file, rois=rois(file, cell_type=list("abcde")), rows=np.array([0, 1, 2, 3, 9]))
    with opened(tmp_path / "a.nwb") as recording:
        assert recording.neurons.table.columns.tolist() == ["id"]
        assert noted(recording)["broken-reference"].endswith("RoiResponseSeries/rois")


def test_rois_of_a_table_that_was_deleted_are_numbered_instead(tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        traces(file, rois=rois(file))
        del file["processing/ophys/ImageSegmentation/cells"]
    with opened(tmp_path / "a.nwb") as recording:
        assert recording.neurons.ids.tolist() == list(range(NUM_ROIS))
        assert noted(recording)["broken-reference"].endswith("RoiResponseSeries/rois")


def test_a_few_times_that_do_not_increase_are_noted_and_the_traces_kept(tmp_path):
    clock = np.arange(NUM_FRAMES, dtype=float)
    clock[[7, 20]] = np.nan, 3.0
    with nwb(tmp_path / "a.nwb") as file:
        traces(file, rois=rois(file), timestamps=clock)
    with opened(tmp_path / "a.nwb") as recording:
        assert "2 of 40 times" in next(n.reason for n in recording.notes if n.code == "odd-clock")
        assert recording.activity.data.shape == (NUM_FRAMES, NUM_ROIS)


# ---------------------------------------------------------------- damage in the bytes themselves


def test_a_damaged_chunk_is_an_error_that_names_the_object_and_never_a_wrong_value(tmp_path):
    path = tmp_path / "damaged.nwb"
    with nwb(path) as file:
        group = traces(file, rois=rois(file))
        del group["data"]
        data = group.create_dataset(
            "data", data=made(NUM_FRAMES, NUM_ROIS), chunks=(10, NUM_ROIS), compression="gzip"
        )
        chunk = data.id.get_chunk_info(2)
    _overwrite(path, chunk.byte_offset, b"\xff" * chunk.size)
    with opened(path) as recording:
        np.testing.assert_array_equal(recording.activity.data[:20], made(NUM_FRAMES, NUM_ROIS)[:20])
        message = r"RoiResponseSeries/data in damaged\.nwb cannot be read .* fetch it again"
        with pytest.raises(ReadError, match=message):
            np.asarray(recording.activity.data)


def test_a_damaged_header_costs_its_object(tmp_path):
    path = tmp_path / "damaged.nwb"
    with nwb(path) as file:
        units(file)
        bad = typed(file["acquisition"], "bad", "TimeSeries")
        series(file["acquisition"], "good", made(9, 1), rate=1.0)
        address = h5py.h5o.get_info(bad.id).addr
    _overwrite(path, address, b"\xee" * 16)
    with opened(path) as recording:
        assert noted(recording)["corrupted-object"] == "/acquisition/bad"
        assert [covariate.name for covariate in recording.covariates] == ["good"]


def test_a_circle_of_groups_is_walked_once(tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        units(file)
        file["acquisition/inner/again"] = file["acquisition"]
        file["acquisition/inner/root"] = h5py.SoftLink("/")
    with opened(tmp_path / "a.nwb") as recording:
        assert len(recording.neurons) == len(SPIKES)


def test_a_fuzzed_header_ends_in_the_recording_or_in_an_error_of_ours(tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        units(file)
    whole = (tmp_path / "a.nwb").read_bytes()
    source = Source("a.nwb", (tmp_path / "a.nwb").as_uri())
    draw = np.random.default_rng(0)
    for _ in range(200):
        fuzzed = bytearray(whole)
        for at in draw.integers(0, 96, 4):  # HDF5's superblock
            fuzzed[at] = draw.integers(256)
        with suppress(ReadError), read(io.BytesIO(fuzzed), source) as recording:
            assert recording.activity.of(2).tolist() == SPIKES[2]


class LosesConnection(io.BytesIO):
    """A file whose reads fail from some read on, as a lost connection does."""

    def __init__(self, content: bytes, num_good_reads: int) -> None:
        super().__init__(content)
        self.left = num_good_reads

    def readinto(self, buffer) -> int:
        self.left -= 1
        if self.left < 0:
            raise StreamError("the connection was lost")
        return super().readinto(buffer)


def test_a_lost_connection_is_never_taken_for_a_damaged_file(tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        units(file, quality=["good", "mua", "good"])
        series(file["acquisition"], "speed", made(9, 1), rate=1.0)
    content = (tmp_path / "a.nwb").read_bytes()
    source = Source("a.nwb", (tmp_path / "a.nwb").as_uri())
    outcomes = []
    for num_good_reads in [*range(0, 160, 3), 1000]:
        try:
            recording = read(LosesConnection(content, num_good_reads), source)
        except StreamError:
            outcomes.append("lost")
            continue
        outcomes.append("read")
        assert {note.code for note in recording.notes} == set()
        assert recording.neurons.table["quality"].tolist() == ["good", "mua", "good"]
        assert [covariate.name for covariate in recording.covariates] == ["speed"]
        recording.close()
    assert outcomes[0] == "lost"
    assert outcomes[-1] == "read"


def test_a_recording_left_open_does_not_crash_python_at_its_end(tmp_path):
    path = tmp_path / "a.nwb"
    with nwb(path) as file:
        units(file)
    script = (
        "import io, pathlib\n"
        "from nwbdyn.nwb.read.recording import read\n"
        "from nwbdyn.recording import Source\n"
        f"file = io.FileIO({str(path)!r})\n"
        f"recording = read(file, Source('a', pathlib.Path({str(path)!r}).as_uri()))\n"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (0, "")


def _overwrite(path: Path, at: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(content)
