"""Files written by pynwb, read by nwbdyn and by pynwb: equal."""

from datetime import UTC, datetime

import numpy as np
import pytest
from hdmf.common import MeaningsTable
from nwb_files import noted, opened
from pynwb import NWBHDF5IO, NWBFile, TimeSeries
from pynwb.behavior import Position, SpatialSeries
from pynwb.event import EventsTable
from pynwb.file import Subject
from pynwb.misc import IntervalSeries

SPIKES = [np.array([0.1, 0.4, 2.5]), np.array([0.2]), np.array([0.3, 0.9, 1.7, 2.2])]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """One session with much of what pynwb can write beside units."""
    nwbfile = NWBFile(
        session_description="a session",
        identifier="pynwb-1",
        session_start_time=datetime(2024, 1, 1, tzinfo=UTC),
        session_id="ses-1",
        subject=Subject(subject_id="m1", species="Mus musculus", sex="F", age="P90D"),
    )
    _electrodes_and_units(nwbfile)
    _behaviour(nwbfile)
    _trials_and_events(nwbfile)
    path = tmp_path_factory.mktemp("pynwb") / "session.nwb"
    with NWBHDF5IO(path, "w") as io:
        io.write(nwbfile)
    return path


def _electrodes_and_units(nwbfile: NWBFile) -> None:
    device = nwbfile.create_device(name="probe")
    for region in ("CA1", "VISp"):
        group = nwbfile.create_electrode_group(region, "a shank", region, device)
        for _ in range(2):
            nwbfile.add_electrode(group=group, location=region)
    nwbfile.add_unit_column("cell_type", "1: pyramidal, 2: fast spiking")
    nwbfile.add_unit_column("heldout", "not shown to the model")
    for unit, times in enumerate(SPIKES):
        nwbfile.add_unit(
            id=100 + unit,
            spike_times=times,
            obs_intervals=[[0.0, 1.0], [1.5, 3.0]],
            electrodes=[unit, unit + 1],
            electrode_group=nwbfile.electrode_groups["CA1"],
            waveform_mean=np.zeros(12),
            cell_type=1 + unit % 2,
            heldout=unit == 1,
        )
    cell_type = nwbfile.units["cell_type"]
    meanings = MeaningsTable(target=cell_type, description="what the codes mean")
    for value, meaning in ((1, "pyramidal"), (2, "fast spiking")):
        meanings.add_row(value=value, meaning=meaning)
    nwbfile.units.add_meanings_table(meanings)


def _behaviour(nwbfile: NWBFile) -> None:
    behavior = nwbfile.create_processing_module("behavior", "behaviour")
    speed = TimeSeries(
        name="speed",
        data=np.arange(30, dtype=np.int16),
        unit="cm/s",
        conversion=0.5,
        offset=1.0,
        timestamps=np.cumsum(np.linspace(0.05, 0.15, 30)),
    )
    position = SpatialSeries(
        name="place", data=np.arange(60.0).reshape(30, 2), timestamps=speed, reference_frame="box"
    )
    behavior.add(speed)
    behavior.add(Position(spatial_series=position))
    lights = IntervalSeries(name="lights", data=[1, -1], timestamps=[0.5, 1.5])
    nwbfile.add_stimulus(lights)


def _trials_and_events(nwbfile: NWBFile) -> None:
    speed = nwbfile.processing["behavior"]["speed"]
    nwbfile.add_trial_column("choice", "left or right")
    nwbfile.add_trial_column("flashes", "times of flashes", index=True)
    nwbfile.add_trial_column("target", "where")
    for trial in range(3):
        nwbfile.add_trial(
            start_time=float(trial),
            stop_time=trial + 0.75,
            choice=("left", "right")[trial % 2],
            flashes=[trial + 0.1 * n for n in range(trial)],
            target=[trial, trial],
            timeseries=[speed],
        )
    nwbfile.add_epoch(0.0, 3.0, ["all", "task"])
    licks = EventsTable(name="licks", description="tongue on spout")
    for time in (0.25, 0.5):
        licks.add_row(timestamp=time)
    nwbfile.add_events_table(licks)


def test_units_spikes_and_labels_are_pynwb_s_own(path):
    with opened(path) as recording, NWBHDF5IO(path, "r") as io:
        units = io.read().units
        for unit in range(len(SPIKES)):
            np.testing.assert_array_equal(recording.activity.of(unit), units["spike_times"][unit])
        assert recording.activity.intervals.tolist() == units["obs_intervals"][0].tolist()
        frame = recording.neurons.table
        assert frame["id"].tolist() == units.id[:].tolist()
        assert frame["heldout"].tolist() == units["heldout"][:].tolist()
        assert frame["cell_type"].tolist() == ["pyramidal", "fast spiking", "pyramidal"]
        assert frame["electrode_group"].tolist() == ["CA1"] * 3
        assert frame["location"].tolist() == ["CA1", "CA1; VISp", "VISp"]
        assert recording.neurons.table_object_id == units.object_id


def test_behaviour_has_pynwb_s_values_in_the_stated_unit(path):
    with opened(path) as recording, NWBHDF5IO(path, "r") as io:
        behavior = io.read().processing["behavior"]
        speed, position = recording.covariate("speed"), recording.covariate("place")
        expected = behavior["speed"].get_data_in_units()
        np.testing.assert_array_equal(np.asarray(speed.data)[:, 0], expected)
        np.testing.assert_array_equal(speed.timestamps, behavior["speed"].timestamps)
        np.testing.assert_array_equal(position.timestamps, speed.timestamps)
        assert speed.unit == "cm/s"
        assert position.channels == ("x", "y")


def test_trials_and_epochs_are_pynwb_s_own(path):
    with opened(path) as recording, NWBHDF5IO(path, "r") as io:
        nwbfile = io.read()
        trials = nwbfile.trials.to_dataframe()
        for name in ("start_time", "stop_time", "choice"):
            assert recording.trials[name].tolist() == trials[name].tolist()
        assert recording.trials["flashes"].tolist() == [list(f) for f in trials["flashes"]]
        assert recording.intervals["epochs"]["tags"].tolist() == [["all", "task"]]
        skipped = {n.where for n in recording.notes if n.code == "skipped-column"}
        assert {"/intervals/trials/timeseries", "/intervals/trials/target"} <= skipped


def test_events_are_tables_of_moments(path):
    with opened(path) as recording:
        assert recording.intervals["licks"]["start_time"].tolist() == [0.25, 0.5]
        lights = recording.intervals["lights"]
        assert lights[["start_time", "stop_time"]].to_numpy().tolist() == [[0.5, 1.5]]
        assert {covariate.name for covariate in recording.covariates} == {"speed", "place"}


def test_session_and_subject_are_kept_as_text(path):
    with opened(path) as recording:
        assert (recording.session_id, recording.identifier) == ("ses-1", "pynwb-1")
        assert recording.session_start_time == "2024-01-01T00:00:00+00:00"
        assert recording.subject["age"] == "P90D"
        assert "corrupted-object" not in noted(recording)
