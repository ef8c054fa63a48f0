"""ROI traces as labs write them: what they hold, whose they are, which plane and clock."""

import h5py
import numpy as np
import pytest
from nwb_files import (
    NUM_FRAMES,
    NUM_ROIS,
    TEXT,
    made,
    noted,
    nwb,
    opened,
    rois,
    traces,
)

from nwbdyn.errors import ReadError
from nwbdyn.nwb.read.imaging import roles
from nwbdyn.nwb.read.objects import NwbObject


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
        parent = NwbObject(f"/processing/ophys/{container}", container, container, file)
        actual = NwbObject(
            f"{parent.path}/{name}", "RoiResponseSeries", "RoiResponseSeries", file, parent
        )
        assert roles.role(actual) == expected


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
    message = r"a\.nwb has no plane named 'middle'; it has: lower, upper\."
    with pytest.raises(ReadError, match=message), opened(tmp_path / "a.nwb", plane="middle"):
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
