"""pynwb over the file that a recording holds open."""

import numpy as np
import pytest
from lab_files import NUM_NEURONS, write_imaging, write_units
from nwb_files import nwb, opened, series, units
from small import units as small_units
from standin import StandIn

import nwbdyn
from nwbdyn.errors import ReadError


def test_pynwb_shows_the_same_units(tmp_path):
    path = write_units(tmp_path / "units.nwb")
    with nwbdyn.open(str(path)) as recording:
        nwbfile = recording.to_pynwb()
        assert nwbfile.units.id[:].tolist() == recording.neurons.ids.tolist()
        for unit in range(NUM_NEURONS):
            np.testing.assert_array_equal(
                nwbfile.units["spike_times"][unit], recording.activity.of(unit)
            )
    path.rename(tmp_path / "moved.nwb")  # nothing holds it open


def test_the_recording_goes_on_after_pynwb_is_forgotten(tmp_path):
    path = write_imaging(tmp_path / "imaging.nwb")
    with nwbdyn.open(str(path)) as recording:
        series = recording.to_pynwb().processing["ophys"]["DfOverF"]["dff"]
        values = series.data[:]
        del series
        np.testing.assert_array_equal(recording.activity.data[:], values)
        assert recording.to_pynwb().subject.subject_id == recording.subject["subject_id"]


def test_a_remote_file_is_not_opened_again(tmp_path, monkeypatch):
    monkeypatch.setenv("DANDI_NO_ET", "1")
    monkeypatch.setenv("NWBDYN_CACHE", str(tmp_path / "cache"))
    asset = tmp_path / "archive" / "000001" / "sub-m1" / "sub-m1_ecephys.nwb"
    asset.parent.mkdir(parents=True)
    write_units(asset)
    with (
        StandIn(tmp_path / "archive") as running,
        nwbdyn.open("dandi:000001", instance=running.api) as recording,
    ):
        before = len(running.requested)
        assert len(recording.to_pynwb().units) == NUM_NEURONS
        assert len(running.requested) == before


def test_what_pynwb_refuses_is_still_read_here(tmp_path):
    with nwb(tmp_path / "broken.nwb") as file:
        units(file)
        series(file["acquisition"], "speed", np.zeros(9))  # neither rate nor timestamps
        del file["session_start_time"]
    with opened(tmp_path / "broken.nwb") as recording:
        with pytest.raises(ReadError, match="pynwb refuses broken"):
            recording.to_pynwb()
        assert len(recording.activity.of(0)) == 3


def test_without_a_file_there_is_nothing_to_show(tmp_path):
    with pytest.raises(ReadError, match="HDF5"):
        small_units([[0.1], [0.2]]).to_pynwb()
    recording = nwbdyn.open(str(write_units(tmp_path / "units.nwb")))
    recording.close()
    with pytest.raises(ReadError, match="is closed"):
        recording.to_pynwb()
