"""Several imaging planes: on one clock where they meet, refused where they do not."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from nwb_files import NUM_FRAMES, important, made, noted, nwb, opened, rois, traces

from nwbdyn.cli import main
from nwbdyn.errors import NoActivityError


def planes(path, **spans: tuple[float, float, float]) -> None:
    """Planes of two ROIs each: name -> start, stop in seconds, and rate in Hz."""
    with nwb(path) as file:
        for number, (name, (start, stop, rate)) in enumerate(spans.items()):
            data = made(round((stop - start) * rate), 2) + 1000 * number
            cells = rois(file, name, 2)
            traces(file, f"dff_{name}", rois=cells, data=data, rate=rate, start=start)


@pytest.mark.parametrize(
    "second", [(100.0, 180.0, 10.0), (79.9, 160.0, 10.0), (77.0, 300.0, 5.0)], ids=str
)
def test_planes_imaged_one_after_another_are_refused_with_their_times(tmp_path, second):
    planes(tmp_path / "a.nwb", upper=(0.0, 80.0, 10.0), lower=second)
    message = r"lower .* upper 0\.0 to 79\.9 s \(800 frames\).*--plane NAME"
    with pytest.raises(NoActivityError, match=message), opened(tmp_path / "a.nwb"):
        pass
    with opened(tmp_path / "a.nwb", plane="lower") as recording:
        assert recording.activity.timestamps[0] == second[0]
    done = CliRunner().invoke(main, ["inspect", str(tmp_path / "a.nwb")])
    assert done.exit_code == 1
    assert "--plane NAME" in done.output


def test_what_a_shorter_plane_cuts_is_counted_above_all(tmp_path):
    planes(tmp_path / "a.nwb", upper=(0.0, 80.0, 10.0), lower=(50.0, 90.0, 10.0))
    with opened(tmp_path / "a.nwb") as recording:
        times = np.asarray(recording.activity.timestamps)
        assert times[[0, -1]].tolist() == pytest.approx([50.0, 79.9])
        reason = important(recording)["merged-planes"]
        assert "only 50.0 to 79.9 s, 300 frames, are in all" in reason
        assert "upper 0.0 to 79.9 s (800 frames)" in reason
        assert "--plane NAME" in reason


def test_planes_that_end_a_frame_apart_are_no_warning(tmp_path):
    planes(tmp_path / "a.nwb", upper=(0.0, 80.0, 10.0), lower=(0.05, 79.95, 10.0))
    with opened(tmp_path / "a.nwb") as recording:
        assert not important(recording)
        assert "merged-planes" in noted(recording)


def test_frames_between_those_of_the_slower_plane_are_counted_above_all(tmp_path):
    planes(tmp_path / "a.nwb", upper=(0.0, 80.0, 10.0), lower=(0.0, 80.0, 5.0))
    with opened(tmp_path / "a.nwb") as recording:
        assert len(recording.activity.timestamps) == 400
        reason = important(recording)["merged-planes"]
        assert "not used, 400 of the 800 frames of upper; --plane NAME takes" in reason
        assert "frames of lower" not in reason


def test_planes_at_other_rates_take_the_slower_clock(tmp_path):
    planes(tmp_path / "a.nwb", upper=(0.0, 80.0, 10.0), lower=(0.0, 80.0, 4.0))
    with opened(tmp_path / "a.nwb") as recording:
        np.testing.assert_allclose(np.diff(recording.activity.timestamps), 0.25)
        assert recording.activity.data.shape[1] == 4
        assert list(important(recording)) == ["merged-planes"]


def test_planes_of_the_same_name_are_told_by_their_paths(tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        for number, module in enumerate(("left", "right")):
            cells = rois(file, "cells", 2) if not number else None
            if cells is None:
                folder = file.create_group("processing/right")
                file.copy("processing/ophys/ImageSegmentation", folder)
                cells = folder["ImageSegmentation/cells"]
            data = made(NUM_FRAMES, 2) + 1000 * number
            traces(file, f"dff_{module}", rois=cells, data=data, rate=10.0, start=100.0 * number)
    message = (
        r"processing/ophys/ImageSegmentation/cells .*processing/right/ImageSegmentation/cells "
    )
    with pytest.raises(NoActivityError, match=message), opened(tmp_path / "a.nwb"):
        pass
    path = "processing/right/ImageSegmentation/cells"
    with opened(tmp_path / "a.nwb", plane=path) as recording:
        assert recording.activity.data[0, 0] == 1000


def test_runs_of_each_plane_are_joined_before_planes_are_put_together(tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        for name, step in (("upper", 0), ("lower", 1000)):
            cells = rois(file, name, 2)
            for run in range(2):
                part = made(2 * NUM_FRAMES, 2)[NUM_FRAMES * run :][:NUM_FRAMES] + step
                start = 10.0 * run
                traces(file, f"dff_{name}_run{run}", rois=cells, data=part, rate=10.0, start=start)
    with opened(tmp_path / "a.nwb") as recording:
        expected = np.hstack([made(2 * NUM_FRAMES, 2) + 1000, made(2 * NUM_FRAMES, 2)])
        np.testing.assert_array_equal(recording.activity.data, expected)


def test_inspect_s_command_repeats_what_was_chosen(tmp_path):
    planes(tmp_path / "a.nwb", upper=(0.0, 80.0, 10.0), lower=(100.0, 180.0, 10.0))
    chosen = ["--plane", "lower", "--series", "dff_lower", "--frame-rate", "5"]
    chosen += ["--frame-start", "2", "--time-axis", "0", "--frame-time-unit", "s"]
    done = CliRunner().invoke(main, ["inspect", str(tmp_path / "a.nwb"), *chosen, "--json"])
    assert done.exit_code == 0, done.output
    summary = json.loads(done.stdout)["recordings"][0]
    assert summary["clock"]["start"] == 2
    assert summary["clock"]["median_rate"] == pytest.approx(5)
    for option, value in zip(chosen[::2], chosen[1::2], strict=True):
        assert f"{option} {value}" in summary["fit"].replace("5.0", "5").replace("2.0", "2")
