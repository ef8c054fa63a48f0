"""Several series of ROI responses in one file: which are the signal, and how they go together."""

import h5py
import numpy as np
import pytest
from nwb_files import (
    NUM_FRAMES,
    NUM_ROIS,
    imaging_plane,
    important,
    made,
    noted,
    nwb,
    opened,
    rois,
    traces,
    typed,
    units,
)

from nwbdyn.data.binning import bin_recording
from nwbdyn.errors import NoActivityError
from nwbdyn.nwb.read.imaging import roles

LONG = 3 * NUM_FRAMES
WHOLE = made(LONG, NUM_ROIS)


def runs(path, starts, *, names=None, rows=None, rates=None, table=True) -> None:
    """The whole recording cut into runs of the same ROIs that begin at `starts`."""
    with nwb(path) as file:
        cells = rois(file, num_rois=8) if table else None
        for number, start in enumerate(starts):
            part = WHOLE[NUM_FRAMES * number : NUM_FRAMES * (number + 1)]
            own = np.arange(NUM_ROIS) if rows is None else np.array(rows[number])
            name = f"run{number}" if names is None else names[number]
            rate = 10.0 if rates is None else rates[number]
            traces(
                file, name, rois=cells, rows=own, data=part[:, own], rate=rate, start=float(start)
            )


def test_runs_are_joined_in_time_with_a_gap_between_them(tmp_path):
    runs(tmp_path / "a.nwb", [20, 0, 10])
    with opened(tmp_path / "a.nwb") as recording:
        data, times = recording.activity.data, np.asarray(recording.activity.timestamps)
        order = np.concatenate([WHOLE[40:80], WHOLE[80:], WHOLE[:40]])
        np.testing.assert_array_equal(data, order)
        for key in (5, slice(30, 90), (slice(None), 1), (45, 2), ..., np.s_[::7], np.s_[90:30:-9]):
            np.testing.assert_array_equal(data[key], order[key])
        kept = np.array([3, 100, 41])
        np.testing.assert_array_equal(data[kept], order[kept])
        assert times[[0, 39, 40, 80, 119]].tolist() == pytest.approx([0, 3.9, 10, 20, 23.9])
        assert recording.neurons.ids.tolist() == list(range(NUM_ROIS))
        assert len(np.unique(bin_recording(recording).segment)) == 3
        assert not important(recording)
        assert "joined-runs" in noted(recording)


def test_a_run_that_reaches_one_frame_into_the_next_gives_each_time_once(tmp_path):
    runs(tmp_path / "a.nwb", [0, 3.9, 7.8])
    with opened(tmp_path / "a.nwb") as recording:
        times = np.asarray(recording.activity.timestamps)
        assert len(times) == LONG - 2
        assert (np.diff(times) > 0).all()
        np.testing.assert_array_equal(recording.activity.data[40], WHOLE[41])


def test_runs_with_other_rois_share_those_that_all_have(tmp_path):
    runs(tmp_path / "a.nwb", [0, 10, 20], rows=[[0, 1, 2, 3], [3, 2, 1], [1, 2, 3, 4]])
    with opened(tmp_path / "a.nwb") as recording:
        assert recording.neurons.ids.tolist() == [1, 2, 3]
        np.testing.assert_array_equal(recording.activity.data, WHOLE[:, 1:4])
        assert "3 of 5 ROIs" in important(recording)["rois-of-some-runs"]


def test_runs_at_other_rates_are_joined_and_noted_above_all(tmp_path):
    runs(tmp_path / "a.nwb", [0, 10, 20], rates=[10.0, 5.0, 10.0])
    with opened(tmp_path / "a.nwb") as recording:
        assert "5 to 10 frames per second" in important(recording)["uneven-frames"]


def test_runs_that_all_begin_at_zero_are_refused_until_one_is_named(tmp_path):
    runs(tmp_path / "a.nwb", [0, 0, 0])
    message = "same 5 ROIs at the same times .* Pass --series run0 or run1"
    with pytest.raises(NoActivityError, match=message), opened(tmp_path / "a.nwb"):
        pass
    with opened(tmp_path / "a.nwb", series="run1") as recording:
        np.testing.assert_array_equal(recording.activity.data, WHOLE[40:80])
        assert recording.activity.quantity == "dff"


def test_runs_that_overlap_are_refused_with_the_times_that_both_have(tmp_path):
    runs(tmp_path / "a.nwb", [0, 3])
    message = r"at the same times \(3\.0 to 3\.9 s\), and no name"
    with pytest.raises(NoActivityError, match=message), opened(tmp_path / "a.nwb"):
        pass


def overlapping(path, *, change=None, rows=(None, None), late=0.0) -> None:
    """Two runs of 40 frames at 10 Hz; the second begins with the first one's last 10 frames."""
    with nwb(path) as file:
        cells = rois(file)
        for number, begin in enumerate((0, 30)):
            data = WHOLE[begin : begin + NUM_FRAMES].copy()
            if change is not None and number:
                data[change] += 0.5
            own = np.arange(NUM_ROIS) if rows[number] is None else np.array(rows[number])
            traces(
                file,
                f"run{number}",
                rois=cells,
                rows=own,
                data=data[:, own],
                rate=10.0,
                start=begin / 10 + late * number,
            )


@pytest.mark.parametrize("late", [0.0, 1e-6, 0.005])
def test_runs_that_overlap_with_the_same_values_are_joined_and_each_frame_is_taken_once(
    tmp_path, late
):
    overlapping(tmp_path / "a.nwb", late=late)
    with opened(tmp_path / "a.nwb") as recording:
        np.testing.assert_array_equal(recording.activity.data, WHOLE[:70])
        times = np.asarray(recording.activity.timestamps)
        np.testing.assert_allclose(times, np.arange(70) / 10 + late * (np.arange(70) > 39))
        (reason,) = [note.reason for note in recording.notes if note.code == "joined-runs"]
        assert "; 10 frames at times that an earlier run holds are left out" in reason
        assert not important(recording)


def test_runs_of_some_rois_each_that_overlap_with_the_same_values_are_joined(tmp_path):
    overlapping(tmp_path / "a.nwb", rows=([0, 1, 2, 3], [4, 3, 1]))
    with opened(tmp_path / "a.nwb") as recording:
        assert recording.neurons.ids.tolist() == [1, 3]
        np.testing.assert_array_equal(recording.activity.data, WHOLE[:70][:, [1, 3]])


@pytest.mark.parametrize(
    ("change", "late"),
    [((9, 2), 0.0), ((0, 0), 0.0), (None, 0.03)],
    ids=["last frame", "first frame", "other times"],
)
def test_runs_that_overlap_with_another_value_or_other_times_are_refused(tmp_path, change, late):
    overlapping(tmp_path / "a.nwb", change=change, late=late)
    message = "and no name says which are the signal"
    with pytest.raises(NoActivityError, match=message), opened(tmp_path / "a.nwb"):
        pass


def test_a_run_within_another_adds_nothing_and_cuts_nothing(tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        cells = rois(file)
        for name, begin, end in (("long", 0, 100), ("part", 20, 50), ("end", 90, 120)):
            traces(file, name, rois=cells, data=WHOLE[begin:end], rate=10.0, start=begin / 10)
    with opened(tmp_path / "a.nwb") as recording:
        np.testing.assert_array_equal(recording.activity.data, WHOLE)
        assert (np.diff(np.asarray(recording.activity.timestamps)) > 0).all()


def test_runs_without_rois_are_joined_with_a_warning(tmp_path):
    runs(tmp_path / "a.nwb", [0, 10, 20], table=False)
    with opened(tmp_path / "a.nwb") as recording:
        np.testing.assert_array_equal(recording.activity.data, WHOLE)
        assert "name no ROIs" in important(recording)["joined-runs"]


@pytest.mark.parametrize("names", [("a_some", "b_all"), ("z_some", "b_all")])
def test_a_series_of_more_rois_wins_over_a_part_of_it(tmp_path, names):
    with nwb(tmp_path / "a.nwb") as file:
        cells = rois(file)
        data = made(NUM_FRAMES, NUM_ROIS)
        traces(file, names[0], rois=cells, rows=np.arange(3), data=data[:, :3])
        traces(file, names[1], rois=cells, data=data)
    with opened(tmp_path / "a.nwb") as recording:
        assert len(recording.neurons) == NUM_ROIS
        assert recording.activity.series_path.endswith(names[1])
        assert noted(recording)["other-traces"].endswith(names[0])


@pytest.mark.parametrize("rows", [([4, 3, 2], [0, 1, 2]), ([3, 4], [0, 1, 2])])
def test_parts_of_one_table_on_one_clock_are_united(tmp_path, rows):
    data = made(NUM_FRAMES, NUM_ROIS)
    with nwb(tmp_path / "a.nwb") as file:
        cells = rois(file)
        for name, own in zip("ab", rows, strict=True):
            traces(file, f"dff_{name}", rois=cells, rows=np.array(own), data=data[:, own])
    with opened(tmp_path / "a.nwb") as recording:
        assert recording.neurons.ids.tolist() == [0, 1, 2, 3, 4]
        for key in (..., 3, (slice(None), 4), (7, 2), np.s_[3:9], np.s_[:, [4, 0]]):
            np.testing.assert_array_equal(recording.activity.data[key], data[key])
        assert "united-series" in noted(recording)


def test_the_same_values_twice_are_taken_once(tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        cells = rois(file)
        traces(file, "one", rois=cells)
        traces(file, "two", rois=cells)
    with opened(tmp_path / "a.nwb") as recording:
        assert recording.activity.data.shape == (NUM_FRAMES, NUM_ROIS)
        assert not important(recording)


def test_other_values_of_the_same_rois_are_refused_until_one_is_named(tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        cells = rois(file)
        for number, container in enumerate(("Fluorescence", "DfOverF")):
            traces(file, "dff_a", container=container, rois=cells)
            traces(file, "dff_b", container=container, rois=cells, data=WHOLE[40:80] + number)
    message = r"with other values.*/DfOverF/dff_a, .*Pass --series DfOverF/dff_a or DfOverF/dff_b\."
    with pytest.raises(NoActivityError, match=message), opened(tmp_path / "a.nwb"):
        pass
    with opened(tmp_path / "a.nwb", series="DfOverF/dff_a") as recording:
        np.testing.assert_array_equal(recording.activity.data, made(NUM_FRAMES, NUM_ROIS))
    path = "/processing/ophys/DfOverF/dff_b"
    with opened(tmp_path / "a.nwb", series=path) as recording:
        assert recording.activity.series_path == path
    text_shown = "no series of ROI responses named 'dff'; it has: /"
    with pytest.raises(NoActivityError, match=text_shown), opened(tmp_path / "a.nwb", series="dff"):
        pass


def test_a_named_series_is_taken_whatever_its_name_says_and_before_units(tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        units(file)
        cells = rois(file)
        traces(file, "dff", rois=cells)
        traces(file, "Neuropil", container="Fluorescence", rois=cells, data=WHOLE[40:80])
    with opened(tmp_path / "a.nwb", series="Neuropil") as recording:
        np.testing.assert_array_equal(recording.activity.data, WHOLE[40:80])


@pytest.mark.parametrize(
    ("signal", "reference"),
    [
        ("SignalDFoF", "ReferenceDFoF"),
        ("RoiResponseSeries", "ARedSeries"),
        ("gcamp", "a_tdTomato"),
        ("dff_green", "dff_mCherry"),
        ("GCaMP6f", "CalciumReference"),
        ("dff", "dff_red"),
        ("zRCaMP_red", "dff_ref"),
    ],
)
def test_a_reference_channel_is_not_the_signal(tmp_path, signal, reference):
    with nwb(tmp_path / "a.nwb") as file:
        cells = rois(file)
        for number, name in enumerate((reference, signal)):
            traces(file, name, rois=cells, data=made(NUM_FRAMES, NUM_ROIS) + 100 * number)
    with opened(tmp_path / "a.nwb") as recording:
        assert recording.activity.series_path.endswith(f"/{signal}")
        assert noted(recording)["other-channel"].endswith(f"/{reference}")
    with opened(tmp_path / "a.nwb", series=reference) as recording:
        assert recording.activity.data[0, 0] == 0


@pytest.mark.parametrize(
    "name",
    ["filtered", "registered", "inferred", "corrected", "measured", "shared", "refined", "bigraw"],
)
def test_words_that_only_contain_a_channel_or_background_name_none(name):
    assert roles.channel_named(name) is None
    assert not roles.is_background(name)


def test_the_second_channel_is_taken_as_the_reference_with_a_warning(tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        cells = rois(file)
        traces(file, "RoiResponseSeriesCh2", rois=cells, data=WHOLE[40:80])
        traces(file, "RoiResponseSeriesCh1", rois=cells)
    with opened(tmp_path / "a.nwb") as recording:
        assert recording.activity.series_path.endswith("Ch1")
        assert "--series RoiResponseSeriesCh2" in important(recording)["other-channel"]


def test_the_indicator_of_the_imaging_plane_tells_a_structural_channel(tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        for name, indicator in (("first", "tdTomato"), ("second", "mRuby2-P2A-GCaMP6s")):
            cells = rois(file, name)
            imaging_plane(cells, indicator=indicator)
            traces(file, f"dff_{name}", rois=cells)
    with opened(tmp_path / "a.nwb") as recording:
        assert recording.activity.series_path.endswith("dff_second")
        assert len(recording.neurons) == NUM_ROIS


@pytest.mark.parametrize("numbers", [(1, 2), (0, 1)])
def test_a_table_for_each_channel_is_not_two_planes(tmp_path, numbers):
    with nwb(tmp_path / "a.nwb") as file:
        for number in numbers[::-1]:
            cells = rois(file, f"PlaneSegmentationCh{number}")
            data = made(NUM_FRAMES, NUM_ROIS) + 1000 * number
            traces(file, f"dff_{number}", rois=cells, data=data)
    with opened(tmp_path / "a.nwb") as recording:
        assert len(recording.neurons) == NUM_ROIS
        assert recording.activity.data[0, 0] == 1000 * numbers[0]
        taken = f"--plane PlaneSegmentationCh{numbers[1]} takes it"
        assert taken in important(recording)["other-channel"]
    with opened(tmp_path / "a.nwb", plane=f"PlaneSegmentationCh{numbers[1]}") as recording:
        assert recording.activity.data[0, 0] == 1000 * numbers[1]


def test_the_optical_channel_of_the_imaging_plane_tells_a_reference(tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        for name, channel in (("first", "Red"), ("second", "Green")):
            cells = rois(file, name)
            imaging_plane(cells)
            typed(cells["imaging_plane"], channel, "OpticalChannel")
            traces(file, f"dff_{name}", rois=cells)
    with opened(tmp_path / "a.nwb") as recording:
        assert recording.activity.series_path.endswith("dff_second")
        assert len(recording.neurons) == NUM_ROIS


@pytest.mark.parametrize("name", ["Denoised", "dff_smoothed", "zscored", "F_raw"])
def test_a_processed_or_raw_copy_is_not_taken_before_the_plain_series(tmp_path, name):
    with nwb(tmp_path / "a.nwb") as file:
        cells = rois(file)
        traces(file, name, rois=cells, data=WHOLE[40:80])
        traces(file, "RoiResponseSeries", rois=cells)
    with opened(tmp_path / "a.nwb", quantity="dff") as recording:
        assert recording.activity.series_path.endswith("RoiResponseSeries")


def test_rois_that_only_another_quantity_has_are_counted_above_all(tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        cells, deep = rois(file), rois(file, "deep", 3)
        some = made(NUM_FRAMES, 3)
        traces(file, "events", rois=cells, rows=np.arange(3), data=some)
        traces(file, "dff", rois=cells)
        traces(file, "dff_deep", rois=deep, data=some)
    with opened(tmp_path / "a.nwb") as recording:
        assert len(recording.neurons) == 3
        reasons = [n.reason for n in recording.notes if n.important]
        assert any("with 2 ROIs that events does not have" in reason for reason in reasons)
        assert any("with 3 ROIs that events does not have" in reason for reason in reasons)
    with opened(tmp_path / "a.nwb", quantity="dff") as recording:
        assert len(recording.neurons) == NUM_ROIS + 3


def test_a_reference_channel_alone_is_read_with_a_warning(tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        traces(file, "red", rois=rois(file))
    with opened(tmp_path / "a.nwb") as recording:
        assert "the only one" in important(recording)["other-channel"]


@pytest.mark.parametrize("name", ["BackgroundPlaneSegmentation", "neuropil_rois", "CellsBg"])
def test_rois_of_background_are_no_neurons(tmp_path, name):
    with nwb(tmp_path / "a.nwb") as file:
        traces(file, "dff", rois=rois(file))
        background = rois(file, name, 2)
        traces(file, "components", rois=background, data=made(NUM_FRAMES, 2))
    with opened(tmp_path / "a.nwb") as recording:
        assert len(recording.neurons) == NUM_ROIS
        assert noted(recording)["not-activity"].endswith("/components")


@pytest.mark.parametrize(
    ("column", "values", "keeps"),
    [
        ("Accepted", np.array([1, 0, 1, 1, 0], np.uint8), "'Accepted'"),
        ("is_background", np.array([False, True, False, False, False]), "'not is_background'"),
    ],
)
def test_rois_that_are_no_cells_are_counted_above_all(tmp_path, column, values, keeps):
    with nwb(tmp_path / "a.nwb") as file:
        traces(file, rois=rois(file, **{column: values}))
    with opened(tmp_path / "a.nwb") as recording:
        reason = important(recording)["no-cells"]
        assert reason.endswith(f"--where {keeps} leaves them out")


def test_a_raw_run_beside_corrected_ones_is_left_out_with_a_warning(tmp_path):
    names = ["corrected_run0", "corrected_run1", "raw_run2"]
    with nwb(tmp_path / "a.nwb") as file:
        cells = rois(file)
        for number, name in enumerate(names):
            part = WHOLE[NUM_FRAMES * number :][:NUM_FRAMES]
            start = 10.0 * number
            traces(
                file, name, container="Fluorescence", rois=cells, data=part, rate=10.0, start=start
            )
    with opened(tmp_path / "a.nwb") as recording:
        assert recording.activity.data.shape[0] == 2 * NUM_FRAMES
        assert "20.0 to 23.9 s" in important(recording)["other-traces"]


def test_raw_values_of_more_rois_than_the_corrected_are_noted_above_all(tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        cells = rois(file)
        traces(file, "raw", container="Fluorescence", rois=cells)
        some = made(NUM_FRAMES, 3)
        traces(
            file, "corrected", container="Fluorescence", rois=cells, rows=np.arange(3), data=some
        )
    with opened(tmp_path / "a.nwb") as recording:
        assert len(recording.neurons) == 3
        assert "2 more; --series raw" in important(recording)["other-traces"]


def test_a_series_that_cannot_be_read_costs_itself(tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        cells = rois(file)
        traces(file, "one", rois=cells, timestamps=np.array([b"x"] * NUM_FRAMES))
        traces(file, "two", rois=cells)
        broken = traces(file, "three", rois=cells)
        del broken["data"]
        broken["data"] = h5py.SoftLink("/nowhere")
    with opened(tmp_path / "a.nwb") as recording:
        assert recording.activity.series_path.endswith("/two")
        assert {"bad-clock", "broken-link"} <= set(noted(recording))
