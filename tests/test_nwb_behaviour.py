"""Behaviour, events and intervals as labs write them."""

import h5py
import numpy as np
from nwb_files import (
    behaviour,
    made,
    noted,
    nwb,
    opened,
    series,
    table,
    typed,
    units,
)


def test_columns_named_in_the_comments_are_the_channels(tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        units(file)
        velocity = series(behaviour(file), "hand_vel", made(30, 2), rate=1000.0, unit="m/s")
        velocity.attrs["comments"] = "columns=[x, 'y']"
    with opened(tmp_path / "a.nwb") as recording:
        assert recording.covariate("hand_vel").channels == ("x", "y")
        np.testing.assert_allclose(
            np.asarray(recording.covariate("hand_vel").timestamps)[:2], [0, 1e-3]
        )


def test_too_few_names_for_the_columns_are_dropped_and_noted(tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        units(file)
        series(behaviour(file), "joints", made(30, 3), rate=10.0).attrs["comments"] = (
            "columns=[a,b]"
        )
    with opened(tmp_path / "a.nwb") as recording:
        assert recording.covariate("joints").channels == ()
        assert noted(recording)["channel-names"] == "/processing/behavior/joints"


def test_two_series_of_one_name_keep_their_paths(tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        units(file)
        series(typed(behaviour(file), "Position", "Position"), "left", made(9, 2), rate=1.0)
        series(file["acquisition"], "left", made(9, 1), rate=1.0)
    with opened(tmp_path / "a.nwb") as recording:
        names = {covariate.name for covariate in recording.covariates}
        assert names == {"acquisition/left", "processing/behavior/Position/left"}


def test_an_ellipse_gives_its_centre_its_area_and_its_angle(tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        units(file)
        eye = typed(file["acquisition"], "EyeTracking", "EyeTracking")
        pupil = series(eye, "pupil", made(9, 2), "SpatialSeries", rate=30.0)
        pupil["area"], pupil["angle"] = np.arange(9.0), np.zeros(9)
    with opened(tmp_path / "a.nwb") as recording:
        assert {c.name: c.data.shape for c in recording.covariates} == {
            "pupil": (9, 2),
            "pupil_area": (9, 1),
            "pupil_angle": (9, 1),
        }


def test_raw_data_and_images_are_named_and_never_opened(tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        units(file)
        for kind in ("ElectricalSeries", "TwoPhotonSeries", "ImageSeries"):
            group = typed(file["acquisition"], kind, kind)
            group["data"] = h5py.SoftLink("/nowhere")  # opening it would leave a note
    with opened(tmp_path / "a.nwb") as recording:
        raw = [note.where for note in recording.notes if note.code == "raw-data"]
        assert len(raw) == 3
        assert "broken-link" not in noted(recording)


def test_events_become_tables_of_moments(tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        units(file)
        folder = typed(behaviour(file), "BehavioralEvents", "BehavioralEvents")
        series(folder, "reward", np.array([4.0, 5.0]), timestamps=np.array([0.5, 2.5]))
        table(
            file.create_group("events"),
            "licks",
            "EventsTable",
            timestamp=[0.1, 0.7],
            duration=[0, 1],
        )
        epochs = series(file["acquisition"], "running", np.array([1, -1, 1, -1]), "IntervalSeries")
        epochs["timestamps"] = np.array([0.0, 1.0, 2.0, 3.0])
    with opened(tmp_path / "a.nwb") as recording:
        reward, licks = recording.intervals["reward"], recording.intervals["licks"]
        assert reward["start_time"].tolist() == reward["stop_time"].tolist() == [0.5, 2.5]
        assert reward["value"].tolist() == [4, 5]
        assert licks["stop_time"].tolist() == [0.1, 1.7]
        assert recording.intervals["running"]["stop_time"].tolist() == [1.0, 3.0]
        assert recording.covariates == ()


def test_events_at_the_time_of_a_marker_keep_their_row_and_have_no_time(tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        units(file)
        folder = typed(behaviour(file), "BehavioralEvents", "BehavioralEvents")
        series(folder, "ttl", np.arange(4.0), timestamps=np.array([-1.0, 0.5, -1.0, 2.0]))
        series(folder, "early", np.ones(3), timestamps=np.array([-1.0, -0.5, 2.0]))
    with opened(tmp_path / "a.nwb") as recording:
        np.testing.assert_array_equal(
            recording.intervals["ttl"][["start_time", "stop_time", "value"]],
            [[np.nan, np.nan, 0], [0.5, 0.5, 1], [np.nan, np.nan, 2], [2, 2, 3]],
        )
        assert recording.intervals["early"]["start_time"].tolist() == [-1.0, -0.5, 2.0]
        (note,) = [note for note in recording.notes if note.code == "invalid-events"]
        assert note.where.endswith("/ttl")
        assert note.reason.startswith("2 of 4 events are at exactly -1 s")


def test_behaviour_linked_to_another_series_clock_is_read(tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        units(file)
        first = series(behaviour(file), "speed", made(9, 1), timestamps=np.arange(9) ** 1.1)
        second = typed(file["processing/behavior"], "lick", "TimeSeries")
        second["data"] = np.arange(9)
        second["timestamps"] = h5py.SoftLink(f"{first.name}/timestamps")
    with opened(tmp_path / "a.nwb") as recording:
        np.testing.assert_array_equal(
            recording.covariate("lick").timestamps, recording.covariate("speed").timestamps
        )


def test_trials_keep_every_column_and_lists_where_a_row_has_several_values(tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        units(file)
        columns = {"start_time": [0.0, 1.0], "stop_time": [1.0, 2.0], "split": ["train", "val"]}
        trials = table(
            file["intervals"], "trials", "TimeIntervals", **columns, tags=[["a", "b"], ["c"]]
        )
        region = np.dtype([("idx_start", "i4"), ("count", "i4"), ("timeseries", h5py.ref_dtype)])
        trials.create_dataset("timeseries", shape=(2,), dtype=region)
        trials["timeseries_index"] = np.array([1, 2], np.uint8)
    with opened(tmp_path / "a.nwb") as recording:
        assert recording.trials.columns.tolist() == [
            "id",
            "start_time",
            "stop_time",
            "split",
            "tags",
        ]
        assert recording.trials["tags"].tolist() == [["a", "b"], ["c"]]
        assert recording.trials["split"].dtype == "str"
        assert noted(recording)["skipped-column"] == "/intervals/trials/timeseries"


def test_trials_outside_intervals_are_taken_and_noted(tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        units(file)
        table(behaviour(file), "trials", "TimeIntervals", start_time=[0.0], stop_time=[1.0])
    with opened(tmp_path / "a.nwb") as recording:
        assert len(recording.trials) == 1
        assert noted(recording)["trials-elsewhere"] == "/processing/behavior/trials"
