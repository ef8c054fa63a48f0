"""The layouts labs really write: where things lie, what they are called, how they are turned."""

import h5py
import numpy as np
import pandas as pd
import pytest
from nwb_files import (
    NUM_FRAMES,
    NUM_ROIS,
    SPIKES,
    TEXT,
    add_column,
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

from nwbdyn.errors import ConfigError, DataError, ReadError
from nwbdyn.nwb import cell_types, ophys
from nwbdyn.nwb.ecephys import intersection
from nwbdyn.nwb.objects import Found

# ---------------------------------------------------------------- units


def test_units_are_found_in_a_processing_module(tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        units(file, "processing/ecephys/units")
    with opened(tmp_path / "a.nwb") as recording:
        assert recording.neurons.table_path == "/processing/ecephys/units"
        for unit, times in enumerate(SPIKES):
            assert recording.activity.of(unit).tolist() == times


def test_an_index_stored_in_bytes_does_not_wrap_round(tmp_path):
    many = [list(np.linspace(0, 9, 200)), list(np.linspace(0, 9, 30)), [1.0]]
    with nwb(tmp_path / "a.nwb") as file:
        group = units(file, spikes=many)
        assert group["spike_times_index"].dtype == np.uint8
    with opened(tmp_path / "a.nwb") as recording:
        assert recording.activity.index.tolist() == [200, 230, 231]
        assert len(recording.activity.of(1)) == 30


def test_quality_and_heldout_columns_stay_beside_the_neurons(tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        units(file, quality=["good", "mua", "good"], heldout=np.array([False, True, False]))
    with opened(tmp_path / "a.nwb") as recording:
        frame = recording.neurons.table
        assert frame["quality"].tolist() == ["good", "mua", "good"]
        assert frame["heldout"].dtype == bool
        assert frame["heldout"].tolist() == [False, True, False]


def test_intervals_observed_by_all_units_are_kept_as_they_are(tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        group = units(file)
        group["obs_intervals"] = np.tile([[0.0, 1.0], [1.0, 4.0]], (3, 1))
        group["obs_intervals_index"] = np.array([2, 4, 6], np.uint8)
    with opened(tmp_path / "a.nwb") as recording:
        assert recording.activity.intervals.tolist() == [[0, 1], [1, 4]]
        assert "unequal-intervals" not in noted(recording)


def test_unequal_observed_intervals_are_intersected_and_noted(tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        group = units(file)
        group["obs_intervals"] = [[0.0, 4.0], [0.5, 1.0], [2.0, 3.0], [0.0, 2.5]]
        group["obs_intervals_index"] = np.array([1, 3, 4], np.uint8)
    with opened(tmp_path / "a.nwb") as recording:
        assert recording.activity.intervals.tolist() == [[0.5, 1.0], [2.0, 2.5]]
        assert noted(recording)["unequal-intervals"] == "/units/obs_intervals"


@pytest.mark.parametrize("seed", range(20))
def test_an_intersection_holds_exactly_the_moments_in_every_set(seed):
    draw = np.random.default_rng(seed)
    many = []
    for _ in range(3):
        edges = np.unique(draw.integers(0, 60, 12))
        many.append(edges[: len(edges) // 2 * 2].reshape(-1, 2).astype(float))
    common = intersection(many)
    for moment in np.arange(0.5, 60):  # between the edges, which are whole numbers
        everywhere = all(any(a < moment < b for a, b in intervals) for intervals in many)
        assert everywhere == any(a < moment < b for a, b in common)


def test_units_with_an_electrode_in_common_get_the_same_channel(tmp_path):
    path = tmp_path / "made.nwb"
    with nwb(path) as file:
        spikes = [[0.1, 0.5 + unit] for unit in range(6)]
        group = units(file, spikes=spikes)
        add_column(group, "electrodes", [[4], [7, 9], [9, 2], [4], [], [5]])
    with opened(path) as recording:
        # 7 and 9 by one unit, 9 and 2 by another: one channel, called by its lowest row
        assert recording.neurons.table["channel"].tolist() == [4, 2, 2, 4, -1, 5]


def test_locations_come_from_the_electrodes_through_their_table(tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        folder = file.create_group("general/extracellular_ephys")
        electrodes = table(folder, "electrodes", "DynamicTable", location=["CA1", "CA3", "DG"])
        group = units(file)
        add_column(group, "electrodes", [[0], [0, 1], [2]])
        group["electrodes"].attrs["table"] = electrodes.ref
    with opened(tmp_path / "a.nwb") as recording:
        assert recording.neurons.table["location"].tolist() == ["CA1", "CA1; CA3", "DG"]


def test_locations_come_from_the_peak_channel_where_units_name_one(tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        folder = file.create_group("general/extracellular_ephys")
        electrodes = table(folder, "electrodes", "DynamicTable", location=["VISp", "LGd", "CA1"])
        electrodes["id"][...] = [850, 851, 852]
        units(file, peak_channel_id=np.array([852, 850, 9]))
    with opened(tmp_path / "a.nwb") as recording:
        assert recording.neurons.table["location"].tolist() == ["CA1", "VISp", ""]


def test_units_win_over_traces_unless_a_quantity_is_named(tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        units(file)
        traces(file, rois=rois(file))
    with opened(tmp_path / "a.nwb") as recording:
        assert recording.neurons.kind == "unit"
        assert noted(recording)["other-traces"] == "/processing/ophys/DfOverF/RoiResponseSeries"
    with opened(tmp_path / "a.nwb", quantity="dff") as recording:
        assert recording.neurons.kind == "roi"
        assert recording.activity.quantity == "dff"


def test_spikes_far_longer_than_a_short_epoch_are_still_seconds(tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        units(file, spikes=[0.3 + 1.5 * np.arange(240) for _ in range(2)])
        table(file["intervals"], "test_tone", "TimeIntervals", start_time=[0.0], stop_time=[1.0])
    with opened(tmp_path / "a.nwb") as recording:
        assert len(recording.activity.times) == 480


def test_numbered_behaviour_is_never_taken_for_neurons(tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        for tone in range(8):
            series(file["acquisition"], f"tone_{tone}", np.arange(9.0), rate=1.0)
    with pytest.raises(ReadError, match="neither units"), opened(tmp_path / "a.nwb"):
        pass


# ---------------------------------------------------------------- traces


@pytest.mark.parametrize(
    ("name", "container", "expected"),
    [
        ("Deconvolved", "Fluorescence", "deconvolved"),
        ("dff_events", "Fluorescence", "events"),
        ("event_detection", "Fluorescence", "events"),
        ("Neuropil", "Fluorescence", None),
        ("neuropil_corrected", "Fluorescence", "fluorescence"),
        ("BackgroundSubtracted", "Fluorescence", "fluorescence"),
        ("demixed_traces", "Fluorescence", "fluorescence"),
        ("Baseline", "Fluorescence", None),
        ("DfOverF", "Fluorescence", "dff"),
        ("dF_over_F", "Fluorescence", "dff"),
        ("dff", "Fluorescence", "dff"),
        ("RoiResponseSeries", "Fluorescence", "fluorescence"),
        ("RoiResponseSeries", "DfOverF", "dff"),
        ("traces", "DfOverF", "dff"),
        ("inferred_spikes", "Fluorescence", "deconvolved"),
        ("RawTraces", "Fluorescence", "fluorescence"),
        ("denoised", "Fluorescence", "fluorescence"),
        ("noise", "Fluorescence", None),
        ("F0", "Fluorescence", None),
    ],
)
def test_what_a_series_holds_is_in_its_name(name, container, expected, tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        parent = Found(f"/processing/ophys/{container}", container, container, file)
        found = Found(
            f"{parent.path}/{name}", "RoiResponseSeries", "RoiResponseSeries", file, parent
        )
        assert ophys.role(found) == expected


def test_events_are_preferred_then_dff_then_deconvolved_then_fluorescence(tmp_path):
    names = ["Fluorescence", "Deconvolved", "dff", "events"]
    for kept, expected in enumerate(["fluorescence", "deconvolved", "dff", "events"]):
        path = tmp_path / f"{kept}.nwb"
        with nwb(path) as file:
            cells = rois(file)
            for name in names[: kept + 1]:
                traces(file, name, container="Fluorescence", rois=cells)
        with opened(path) as recording:
            assert recording.activity.quantity == expected


def test_traces_stored_rois_first_are_turned_round_by_the_length_of_rois(tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        traces(file, rois=rois(file), data=made(NUM_FRAMES, NUM_ROIS).T)
    with opened(tmp_path / "a.nwb") as recording:
        data, expected = recording.activity.data, made(NUM_FRAMES, NUM_ROIS)
        assert data.shape == expected.shape
        assert noted(recording)["transposed"].endswith("RoiResponseSeries/data")
        for key in (3, slice(2, 5), (slice(None), 1), (4, 2), ..., (..., slice(0, 2)), np.s_[::3]):
            np.testing.assert_array_equal(data[key], expected[key])
        np.testing.assert_array_equal(data, expected)


def test_conversion_and_offset_are_applied_when_read_and_stated(tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        stored = np.arange(NUM_FRAMES * NUM_ROIS, dtype=np.int16).reshape(NUM_FRAMES, NUM_ROIS)
        traces(file, rois=rois(file), data=stored, rate=10.0, conversion=0.5, offset=-1.0)
    with opened(tmp_path / "a.nwb") as recording:
        np.testing.assert_array_equal(recording.activity.data, stored * 0.5 - 1)
        note = next(note for note in recording.notes if note.code == "converted")
        assert "times 0.5 plus -1" in note.reason


def test_empty_rois_take_every_row_only_where_the_counts_agree(tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        traces(file, rois=rois(file, quality=np.arange(5)), rows=np.zeros(0, int))
    with opened(tmp_path / "a.nwb") as recording:
        assert recording.neurons.table["quality"].tolist() == [0, 1, 2, 3, 4]
        assert noted(recording)["empty-rois"].endswith("/rois")
    with nwb(tmp_path / "b.nwb") as file:
        traces(file, rois=rois(file, quality=np.arange(7)), rows=np.zeros(0, int))
    with opened(tmp_path / "b.nwb") as recording:
        assert recording.neurons.table.columns.tolist() == ["id"]
        assert recording.activity.data.shape == (NUM_FRAMES, NUM_ROIS)


def test_rois_choose_rows_of_the_table_in_their_order(tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        cells = rois(file, quality=np.arange(8))
        traces(file, rois=cells, rows=np.array([7, 0, 3, 4, 1]))
    with opened(tmp_path / "a.nwb") as recording:
        assert recording.neurons.table["quality"].tolist() == [7, 0, 3, 4, 1]
        assert recording.neurons.ids.tolist() == [7, 0, 3, 4, 1]


def test_suite2p_s_iscell_becomes_a_flag_and_a_probability(tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        pairs = np.array([[1, 0.9], [0, 0.2], [1, 0.7], [1, 0.6], [0, 0.4]])
        traces(file, rois=rois(file, iscell=pairs))
    with opened(tmp_path / "a.nwb") as recording:
        frame = recording.neurons.table
        assert frame["iscell"].tolist() == [True, False, True, True, False]
        assert frame["iscell_probability"].tolist() == [0.9, 0.2, 0.7, 0.6, 0.4]


def test_positions_are_the_weighted_centres_of_the_masks(tmp_path):
    point = np.dtype([("x", "<u4"), ("y", "<u4"), ("weight", "<f4")])
    with nwb(tmp_path / "a.nwb") as file:
        cells = rois(file, num_rois=2)
        cells["pixel_mask"] = np.array([(0, 2, 1), (4, 2, 3), (9, 9, 0)], point)
        cells["pixel_mask_index"] = np.array([2, 3], np.uint8)
        cells.attrs["colnames"] = np.array(["quality", "pixel_mask"], dtype=TEXT)
        traces(file, rois=cells, data=made(NUM_FRAMES, 2))
    with opened(tmp_path / "a.nwb") as recording:
        assert recording.neurons.table["x"].iloc[0] == 3  # (0 * 1 + 4 * 3) / 4
        assert recording.neurons.table["y"].iloc[0] == 2
        assert recording.neurons.table[["x", "y"]].iloc[1].isna().all()


def test_masks_that_have_points_in_common_are_known(tmp_path):
    point = np.dtype([("x", "<u4"), ("y", "<u4"), ("weight", "<f4")])
    points = [
        *[
            (0, 0, 1),
            (0, 1, 1),
            (0, 1, 1),
            (1, 0, 1),
            (1, 1, 0),
        ],  # one point twice, one of weight 0
        *[(1, 1, 1), (0, 1, 0.5)],
        *[(0, 1, 1), (5, 5, 1), (6, 5, 1)],
    ]
    with nwb(tmp_path / "a.nwb") as file:
        cells = rois(file, num_rois=3)
        cells["pixel_mask"] = np.array(points, point)
        cells["pixel_mask_index"] = np.array([5, 7, 10], np.uint8)
        cells.attrs["colnames"] = np.array(["quality", "pixel_mask"], dtype=TEXT)
        plane = file.require_group("imaging")
        spacing = plane.create_dataset("grid_spacing", data=[2e-6, 3e-6])
        spacing.attrs["unit"] = "meters"
        cells["imaging_plane"] = plane
        traces(file, rois=cells, data=made(NUM_FRAMES, 3))
    with opened(tmp_path / "a.nwb") as recording:
        neurons = recording.neurons
        pairs = {(int(a), int(b)): share for a, b, share in neurons.overlaps}
        assert pairs == {(0, 1): 1 / 2, (0, 2): 1 / 3, (1, 2): 1 / 2}
        assert neurons.take(np.array([2, 0])).overlaps.tolist() == [[1, 0, pytest.approx(1 / 3)]]
        np.testing.assert_allclose(neurons.micrometres, [2, 3], rtol=1e-6)


def test_planes_with_their_own_clocks_hold_their_last_frame(tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        upper, lower = rois(file, "upper", 2), rois(file, "lower", 2)
        for name, cells, start, step in (("A", upper, 0.0, 100), ("B", lower, 0.05, 200)):
            data = made(NUM_FRAMES, 2) + step
            traces(file, f"dff_{name}", rois=cells, data=data, rate=10.0, start=start)
    with opened(tmp_path / "a.nwb") as recording:
        traces_ = recording.activity
        # the later plane's clock; its frame k sees the earlier plane's frame k, taken 50 ms before
        np.testing.assert_allclose(np.asarray(traces_.timestamps)[:3], [0.05, 0.15, 0.25])
        np.testing.assert_allclose(traces_.data[1], [101.0, 101.01, 201.0, 201.01])
        np.testing.assert_array_equal(traces_.data[2:6, 3], np.asarray(traces_.data)[2:6, 3])
        assert recording.neurons.ids.tolist() == ["upper/0", "upper/1", "lower/0", "lower/1"]
        assert recording.neurons.table["plane"].tolist() == ["upper", "upper", "lower", "lower"]
        assert "merged-planes" in noted(recording)


def test_a_merged_value_was_never_measured_later_than_its_time(tmp_path):
    draw = np.random.default_rng(0)
    clocks = [np.cumsum(draw.uniform(0.05, 0.2, NUM_FRAMES)) for _ in range(3)]
    with nwb(tmp_path / "a.nwb") as file:
        for name, clock in zip("ABC", clocks, strict=True):
            # each value is the time at which it was measured
            traces(
                file, f"dff_{name}", rois=rois(file, name, 1), data=clock[:, None], timestamps=clock
            )
    with opened(tmp_path / "a.nwb") as recording:
        held, times = np.asarray(recording.activity.data), recording.activity.timestamps
        assert (held <= times[:, None]).all()
        assert (times[:, None] - held < 0.2 + 1e-9).all()  # the longest step of any clock


def test_one_plane_can_be_chosen_and_keeps_its_clock(tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        for name, start in (("upper", 0.0), ("lower", 0.05)):
            traces(file, f"dff_{name}", rois=rois(file, name), rate=10.0, start=start)
    with opened(tmp_path / "a.nwb", plane="upper") as recording:
        assert recording.activity.timestamps[0] == 0
        assert recording.neurons.ids.tolist() == list(range(NUM_ROIS))
    said = r"a\.nwb has no plane named 'middle'; it has: lower, upper\."
    with pytest.raises(ReadError, match=said), opened(tmp_path / "a.nwb", plane="middle"):
        pass


def test_the_same_rois_twice_are_not_counted_twice(tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        cells = rois(file)
        traces(file, "raw", container="Fluorescence", rois=cells)
        traces(file, "neuropil_corrected", container="Fluorescence", rois=cells)
    with opened(tmp_path / "a.nwb") as recording:
        assert recording.activity.series_path.endswith("neuropil_corrected")
        assert len(recording.neurons) == NUM_ROIS
        assert noted(recording)["other-traces"].endswith("/raw")


# ---------------------------------------------------------------- behaviour and events


def behaviour(file: h5py.File) -> h5py.Group:
    return typed(file["processing"], "behavior", "ProcessingModule")


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


# ---------------------------------------------------------------- intervals


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


# ---------------------------------------------------------------- cell types


@pytest.mark.parametrize("name", ["cell_type", "CellType", "celltype_label", "putative_cell_type"])
def test_cell_types_are_found_under_the_names_labs_give_them(name, tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        units(file, **{name: ["pyr", "", "fast spiking"]})
    with opened(tmp_path / "a.nwb") as recording:
        assert recording.neurons.table["cell_type"].tolist() == ["pyr", "", "fast spiking"]
        assert recording.neurons.cell_type_source == f"units/{name}"


def test_codes_take_the_words_of_their_description(tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        group = units(file, quality=[1, 1, 1])
        add_column(group, "celltype_label", [1.0, 2.0, np.nan], "cell type: 1 = RSU, 2 = FSU")
        group.attrs["colnames"] = np.array(["spike_times", "celltype_label"], dtype=TEXT)
    with opened(tmp_path / "a.nwb") as recording:
        assert recording.neurons.table["cell_type"].tolist() == ["RSU", "FSU", ""]
        assert recording.neurons.table["celltype_label"].tolist()[:2] == [1, 2]
        assert "1 = RSU, 2 = FSU" in next(
            note.reason for note in recording.notes if note.code == "cell-type-codes"
        )


def test_codes_without_words_stay_codes(tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        units(file, cell_type=[1, 3, 2])
    with opened(tmp_path / "a.nwb") as recording:
        assert recording.neurons.table["cell_type"].tolist() == ["1", "3", "2"]
        assert noted(recording)["cell-type-codes"] == "/units/cell_type"


def test_a_separate_table_with_one_row_per_neuron_is_joined_by_id(tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        traces(file, rois=rois(file))
        subtypes = table(
            file["processing/ophys"], "Cell_Subtypes", "DynamicTable", cell_type=list("abcde")
        )
        subtypes["id"][...] = [4, 3, 2, 1, 0]
    with opened(tmp_path / "a.nwb") as recording:
        assert recording.neurons.table["cell_type"].tolist() == list("edcba")
        assert recording.neurons.cell_type_source == "processing/ophys/Cell_Subtypes/cell_type"


def test_a_separate_table_with_another_number_of_rows_is_never_aligned(tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        traces(file, rois=rois(file))
        table(file["processing/ophys"], "Cell_Subtypes", "DynamicTable", cell_type=list("abcdef"))
    with opened(tmp_path / "a.nwb") as recording:
        assert "cell_type" not in recording.neurons.table
        assert noted(recording)["cell-type-rows"] == "/processing/ophys/Cell_Subtypes/cell_type"


def test_a_genotype_is_noted_and_never_used(tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        units(file)
        file["general/subject/genotype"] = "Pvalb-IRES-Cre"
    with opened(tmp_path / "a.nwb") as recording:
        assert "cell_type" not in recording.neurons.table
        assert noted(recording)["genotype"] == "/general/subject/genotype"
        assert recording.subject == {"genotype": "Pvalb-IRES-Cre", "species": "Mus musculus"}


def test_a_column_named_by_the_user_gives_the_cell_types(tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        units(file, layer=["L4", "", "L5"])
    with opened(tmp_path / "a.nwb") as recording:
        labelled = cell_types.from_column(recording.neurons, "layer")
        assert labelled.table["cell_type"].tolist() == ["L4", "", "L5"]
        assert labelled.cell_type_source == "units/layer"
        with pytest.raises(DataError, match="no column 'depth'; it has: id, layer"):
            cell_types.from_column(recording.neurons, "depth")


def test_a_csv_file_gives_cell_types_by_id_and_never_by_order(tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        units(file, cell_type=["a", "b", "c"])
    with opened(tmp_path / "a.nwb") as recording:
        neurons = recording.neurons
    mapping = tmp_path / "types.csv"
    mapping.write_text("id,cell_type\n2,Pvalb\n0,Sst\n")
    labelled = cell_types.from_file(neurons, mapping)
    assert labelled.table["cell_type"].tolist() == ["Sst", "b", "Pvalb"]
    mapping.write_text("id,cell_type\n7,Pvalb\n")
    with pytest.raises(DataError, match=r"neurons that the recording does not have: 7\."):
        cell_types.from_file(neurons, mapping)
    mapping.write_text("id,cell_type\n1,Pvalb\n1,Sst\n")
    with pytest.raises(DataError, match="names a neuron twice: 1"):
        cell_types.from_file(neurons, mapping)


# ---------------------------------------------------------------- types


def test_an_extension_s_type_is_known_by_its_cached_specification(tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        units(file)
        series(behaviour(file), "paw", made(9, 2), "PoseEstimationSeries", rate=1.0)
        spec = {"groups": [{"neurodata_type_def": "PoseEstimationSeries"}]}
        spec["groups"][0]["neurodata_type_inc"] = "SpatialSeries"
        file["specifications/ndx-pose/0.1/ndx-pose"] = pd.io.json.ujson_dumps(spec)
    with opened(tmp_path / "a.nwb") as recording:
        assert recording.covariate("paw").channels == ("x", "y")  # the axes of a SpatialSeries
        assert "unknown-type" not in noted(recording)


def test_what_holds_nothing_for_a_fit_is_named(tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        units(file)
        table(behaviour(file), "weights", "DynamicTable", grams=[20.0, 21.0])
    with opened(tmp_path / "a.nwb") as recording:
        assert noted(recording)["skipped-object"] == "/processing/behavior/weights"


def test_results_of_an_earlier_fit_are_not_taken_for_behaviour_or_cell_types(tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        units(file)
        module = typed(file["processing"], "population_dynamics", "ProcessingModule")
        series(module, "run_predictions", made(9, 3), rate=1.0)
        table(module, "run_neurons", "DynamicTable", cell_type=["a", "b", "c"])
    with opened(tmp_path / "a.nwb") as recording:
        assert recording.covariates == ()
        assert "cell_type" not in recording.neurons.table
        assert noted(recording)["earlier-results"] == "/processing/population_dynamics"


def test_a_recording_without_activity_says_what_is_there(tmp_path):
    with nwb(tmp_path / "empty.nwb") as file:
        series(behaviour(file), "speed", made(9, 1), rate=1.0)
    said = r"empty\.nwb holds neither units .* It has: .*TimeSeries"
    with pytest.raises(ReadError, match=said), opened(tmp_path / "empty.nwb"):
        pass


# ---------------------------------------------------------------- times that are not seconds


@pytest.mark.parametrize(("unit", "per_second"), [("ms", 1_000), ("30000", 30_000)])
def test_spike_times_in_another_unit_become_seconds_when_it_is_named(unit, per_second, tmp_path):
    seconds = [np.linspace(0.5, 100.0, 400), np.linspace(1.0, 99.0, 50)]
    observed = [[(0.0, 100.0)]] * 2
    with nwb(tmp_path / "other.nwb") as file:
        times = [(row * per_second).round() for row in seconds]
        units(file, spikes=times, obs_intervals=[[(0.0, 100.0 * per_second)]] * 2)
    with nwb(tmp_path / "mixed.nwb") as file:
        units(file, spikes=times, obs_intervals=observed)
    for name in ("other.nwb", "mixed.nwb"):
        with opened(tmp_path / name, spike_time_unit=unit) as recording:
            np.testing.assert_allclose(
                recording.activity.of(1), seconds[1], atol=0.5 / per_second, rtol=0
            )
            np.testing.assert_allclose(recording.activity.intervals, [[0.0, 100.0]])
            assert "spike-time-unit" in noted(recording)


def test_rare_spikes_of_a_very_long_recording_are_seconds_when_that_is_said(tmp_path):
    spikes = [np.linspace(0.25, 40_000.0, 400)]
    with nwb(tmp_path / "long.nwb") as file:
        units(file, spikes=spikes)
    with pytest.raises(ReadError, match="--spike-time-unit"), opened(tmp_path / "long.nwb"):
        pass
    with opened(tmp_path / "long.nwb", spike_time_unit="s") as recording:
        np.testing.assert_array_equal(recording.activity.of(0), spikes[0])


@pytest.mark.parametrize("unit", ["us", "0", "-1", "nan", ""])
def test_a_unit_of_spike_times_that_is_none_is_refused(unit, tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        units(file)
    refused = pytest.raises(ConfigError, match="s, ms, or the sampling rate")
    with refused, opened(tmp_path / "a.nwb", spike_time_unit=unit):
        pass


def test_spike_times_that_are_no_numbers_are_noted(tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        units(file, spikes=[[0.5, np.nan, 1.5], [0.25]])
    with opened(tmp_path / "a.nwb") as recording:
        assert noted(recording)["nan-spikes"] == "/units/spike_times"
