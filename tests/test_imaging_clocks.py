"""Frame times that contradict the imaging plane, the trials or behaviour, and what mends them."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from nwb_files import (
    NUM_ROIS,
    imaging_plane,
    important,
    nwb,
    opened,
    rois,
    series,
    traces,
    trials,
)

from nwbdyn.cli import main
from nwbdyn.data.binning import bin_recording
from nwbdyn.errors import ConfigError, NoActivityError

FRAMES = 1500
VALUES = np.random.default_rng(3).normal(size=(FRAMES, NUM_ROIS)).cumsum(axis=0)


def session(path, *, plane_rate=10.0, trials_end=150.0, speed_rate=None, **clock) -> None:
    """1,500 frames on the clock given; trials and the imaging plane say 150 s at 10 Hz."""
    with nwb(path) as file:
        cells = rois(file)
        if plane_rate is not None:
            imaging_plane(cells, rate=plane_rate)
        traces(file, rois=cells, data=VALUES, **clock)
        if trials_end is not None:
            trials(file, stop=trials_end)
        if speed_rate is not None:
            series(file["acquisition"], "speed", np.arange(FRAMES), rate=speed_rate)


TENTHS = np.arange(FRAMES) / 10
CONTRADICTIONS = {  # how the clock is stated wrongly -> the option that mends it
    "an interval": ({"rate": 0.1}, {"frame_rate": 10.0}),
    "an interval in ms": ({"rate": 100.0}, {"frame_rate": 10.0}),
    "a rate in kHz": ({"rate": 0.01}, {"frame_rate": 10.0}),
    "ms": ({"timestamps": TENTHS * 1e3}, {"frame_time_unit": "ms"}),
    "us": ({"timestamps": TENTHS * 1e6}, {"frame_time_unit": "us"}),
}


@pytest.mark.parametrize("beside", ["both", "plane", "trials", "behaviour"])
@pytest.mark.parametrize("kind", CONTRADICTIONS)
def test_a_contradicted_clock_names_the_option_that_mends_it(tmp_path, kind, beside):
    clock, mended = CONTRADICTIONS[kind]
    known = {
        "both": {},
        "plane": {"trials_end": None},
        "trials": {"plane_rate": None},
        "behaviour": {"plane_rate": None, "trials_end": None, "speed_rate": 10.0},
    }[beside]
    session(tmp_path / "a.nwb", **known, **clock)
    if kind == "an interval in ms" and beside != "both":
        return  # 15 s of frames in 150 s, or 100 Hz on a plane of 10 Hz, may well be right
    ((option, value),) = mended.items()
    with opened(tmp_path / "a.nwb") as recording:
        reason = important(recording)["clock-contradicts"]
        text = f"{value:g}" if isinstance(value, float) else value
        assert f"--{option.replace('_', '-')} {text}" in reason
    with opened(tmp_path / "a.nwb", **mended) as recording:
        np.testing.assert_allclose(recording.activity.timestamps, TENTHS, atol=1e-9)
        assert not important(recording)


@pytest.mark.parametrize(
    ("clock", "known"),
    [
        ({"rate": 10.0}, {}),
        ({"rate": 10.3}, {}),
        ({"rate": 10.0}, {"plane_rate": None, "trials_end": None}),
        ({"rate": 10.0}, {"plane_rate": 30.0}),  # one of three planes
        ({"rate": 10.0}, {"plane_rate": 2.0}),  # a volume's rate beside a plane's frames
        ({"rate": 10.0}, {"plane_rate": float("nan")}),
        ({"rate": 10.0}, {"plane_rate": 0.0}),
        ({"rate": 10.0}, {"plane_rate": 3.3}),  # wrong, but frames end with the trials
        ({"rate": 10.0}, {"trials_end": 40.0}),  # imaging went on after them
        ({"rate": 10.0}, {"trials_end": 3600.0}),  # or ended long before
        ({"rate": 10.0, "start": 20.0}, {}),
        ({"rate": 0.5}, {"plane_rate": 0.5, "trials_end": 3000.0}),
    ],
    ids=str,
)
def test_a_clock_that_may_well_be_right_is_no_warning(tmp_path, clock, known):
    session(tmp_path / "a.nwb", **known, **clock)
    with opened(tmp_path / "a.nwb") as recording:
        assert not important(recording)


def test_a_rate_that_is_no_fraction_of_the_plane_s_is_a_warning(tmp_path):
    session(tmp_path / "a.nwb", plane_rate=16.0, trials_end=None, rate=10.0)
    with opened(tmp_path / "a.nwb") as recording:
        assert "imaging plane states 16 Hz" in important(recording)["clock-contradicts"]


def test_two_days_of_slow_frames_are_a_warning(tmp_path):
    session(tmp_path / "a.nwb", plane_rate=None, trials_end=None, timestamps=TENTHS * 1e3)
    with opened(tmp_path / "a.nwb") as recording:
        reason = important(recording)["clock-contradicts"]
        assert "42 hours" in reason
        assert "--frame-time-unit ms" in reason
    with opened(tmp_path / "a.nwb", frame_time_unit="s") as recording:
        assert not important(recording)


@pytest.mark.parametrize("start", [5000.0, 86400.0])  # 86,400 s is a day late
def test_frames_that_meet_nothing_else_in_the_file_are_a_warning(tmp_path, start):
    session(tmp_path / "a.nwb", rate=10.0, start=start)
    with opened(tmp_path / "a.nwb") as recording:
        reason = important(recording)["clock-contradicts"]
        assert f"from {start:,.6g} to {start + 149.9:,.6g} s" in reason
        assert "--frame-start 0" in reason
    with opened(tmp_path / "a.nwb", frame_start=0.0) as recording:
        np.testing.assert_allclose(recording.activity.timestamps, TENTHS, atol=1e-9)
        assert not important(recording)


@pytest.mark.parametrize("rate", [0.0, -10.0, float("nan"), float("inf")])
def test_a_rate_that_is_none_names_the_plane_s(tmp_path, rate):
    session(tmp_path / "a.nwb", rate=rate)
    message = r"is no clock; --frame-rate 10 \(the imaging plane's\) gives frames even times"
    with pytest.raises(NoActivityError, match=message), opened(tmp_path / "a.nwb"):
        pass
    with opened(tmp_path / "a.nwb", frame_rate=10.0) as recording:
        np.testing.assert_allclose(recording.activity.timestamps, TENTHS, atol=1e-9)


@pytest.mark.parametrize(
    "times", [np.arange(FRAMES + 6) / 10, np.arange(FRAMES - 1) / 10, np.zeros(FRAMES)], ids=len
)
def test_times_that_are_none_are_refused_until_a_rate_is_given(tmp_path, times):
    session(tmp_path / "a.nwb", timestamps=times)
    with pytest.raises(NoActivityError, match="--frame-rate 10"), opened(tmp_path / "a.nwb"):
        pass
    with opened(tmp_path / "a.nwb", frame_rate=10.0) as recording:
        np.testing.assert_allclose(recording.activity.timestamps, TENTHS, atol=1e-9)


def test_times_in_too_coarse_steps_are_a_warning_and_a_rate_mends_them(tmp_path):
    times = (40_000 + np.arange(FRAMES) / 400).astype("f4")
    session(tmp_path / "a.nwb", plane_rate=400.0, trials_end=None, timestamps=times)
    with opened(tmp_path / "a.nwb") as recording:
        reason = important(recording)["coarse-clock"]
        assert "540 of 1500 frames" in reason
        assert "--frame-rate 400" in reason
    with opened(tmp_path / "a.nwb", frame_rate=400.0) as recording:
        assert bin_recording(recording).num_bins == FRAMES


@pytest.mark.parametrize("pattern", [(0.03, 0.09), (0.09, 0.03), (0.05, 0.05, 0.15)], ids=str)
def test_intervals_that_alternate_are_one_segment_and_a_warning(tmp_path, pattern):
    times = np.cumsum(np.resize(pattern, FRAMES))
    session(tmp_path / "a.nwb", plane_rate=None, trials_end=None, timestamps=times)
    with opened(tmp_path / "a.nwb") as recording:
        assert "uneven" in important(recording)["uneven-frames"]
        binned = bin_recording(recording)
        assert len(np.unique(binned.segment)) == 1
        assert binned.bin_width == pytest.approx(np.mean(pattern), rel=0.01)


def test_lost_frames_and_jitter_are_no_warning(tmp_path):
    times = np.sort(TENTHS + np.random.default_rng(0).uniform(-0.01, 0.01, FRAMES))
    times[[5, 700]] = np.nan
    session(tmp_path / "a.nwb", timestamps=times)
    with opened(tmp_path / "a.nwb") as recording:
        assert not important(recording)
        assert len(np.unique(bin_recording(recording).segment)) == 3


@pytest.mark.parametrize("stray", [1e300, -1e300, np.inf, 1e9])
def test_a_stray_time_costs_its_frame(tmp_path, stray):
    times = TENTHS.copy()
    times[-1] = stray
    session(tmp_path / "a.nwb", timestamps=times)
    with opened(tmp_path / "a.nwb") as recording:
        binned = bin_recording(recording)
        assert binned.num_bins == FRAMES - (stray != 1e9)
        assert binned.bin_width == pytest.approx(0.1)
        assert binned.segment[-2] == 0
        assert all(len(note.reason) < 300 for note in recording.notes)


@pytest.mark.parametrize("step", [5e-324, 1e-300, 1e-12])
def test_times_in_absurd_steps_are_a_warning_and_no_crash(tmp_path, step):
    session(tmp_path / "a.nwb", timestamps=np.arange(FRAMES) * step)
    with opened(tmp_path / "a.nwb") as recording:
        assert "clock-contradicts" in important(recording)


def test_frames_numbered_from_zero_take_the_plane_s_rate(tmp_path):
    session(tmp_path / "a.nwb", timestamps=np.arange(FRAMES))
    with opened(tmp_path / "a.nwb") as recording:
        assert "--frame-rate 10 makes them agree" in important(recording)["clock-contradicts"]


def test_times_that_begin_again_are_a_warning_and_a_rate_mends_them(tmp_path):
    times = np.concatenate([np.arange(900) / 10, np.arange(600) / 10])
    session(tmp_path / "a.nwb", timestamps=times)
    with opened(tmp_path / "a.nwb") as recording:
        reason = important(recording)["odd-clock"]
        assert "600 of 1500" in reason
        assert "times go back at frame 900; --frame-rate 10" in reason


@pytest.mark.parametrize("shape", [(FRAMES, 1), (1, FRAMES)])
def test_times_in_a_column_or_a_row_are_a_list(tmp_path, shape):
    session(tmp_path / "a.nwb", timestamps=TENTHS.reshape(shape))
    with opened(tmp_path / "a.nwb") as recording:
        np.testing.assert_array_equal(recording.activity.timestamps, TENTHS)
        assert not important(recording)


def test_one_series_per_neuron_has_its_clock_checked_too(tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        for number in range(5):
            series(file["acquisition"], f"neuron_{number}", VALUES[:, number], rate=0.1)
        trials(file, stop=150.0)
    with opened(tmp_path / "a.nwb") as recording:
        assert "--frame-rate 10" in important(recording)["clock-contradicts"]
    with opened(tmp_path / "a.nwb", frame_rate=10.0, frame_start=3.0) as recording:
        np.testing.assert_allclose(recording.activity.timestamps, TENTHS + 3)


def test_a_wrong_option_of_frame_times_is_refused(tmp_path):
    session(tmp_path / "a.nwb", rate=10.0)
    for wrong in ({"frame_rate": 0.0}, {"frame_start": float("nan")}, {"frame_time_unit": "h"}):
        with pytest.raises(ConfigError), opened(tmp_path / "a.nwb", **wrong):
            pass


def test_inspect_and_fit_begin_with_a_contradicted_clock(tmp_path):
    session(tmp_path / "a.nwb", rate=0.1, trials_end=None)
    run = CliRunner()
    shown = run.invoke(main, ["inspect", str(tmp_path / "a.nwb")]).stdout.splitlines()
    assert shown[2] == "Attention:"
    assert "frames at 0.1 Hz" in shown[3]
    arguments = ["fit", str(tmp_path / "a.nwb"), "--model", "netformer", "--epochs", "1"]
    arguments += ["--set", "history=3", "-o", str(tmp_path / "run")]
    done = run.invoke(main, arguments)
    assert done.exit_code == 0, done.output
    assert done.stderr.startswith("a: /processing/ophys/DfOverF/RoiResponseSeries: frames at")
    assert done.stdout.startswith("Attention:\n")
    session(tmp_path / "b.nwb", rate=0.1)
    arguments[1] = str(tmp_path / "b.nwb")
    refused = run.invoke(main, [*arguments, "--overwrite"])
    assert refused.exit_code == 1  # trials of 150 s do not split bins of 10 s
    assert refused.stderr.startswith("b: /processing/ophys/DfOverF/RoiResponseSeries: frames at")
    notes = json.loads((tmp_path / "run" / "provenance.json").read_text())["notes"]
    assert [note["code"] for note in notes if note["important"]] == ["clock-contradicts"]


@pytest.mark.parametrize(
    ("stated", "called"),
    [("milliseconds", "ms"), (" MS ", "ms"), ("μs", "us"), ("frames", "frames")],
)
@pytest.mark.parametrize("name", ["timestamps", "starting_time"])
def test_frame_times_that_state_another_unit_are_noted_above_all(tmp_path, stated, called, name):
    with nwb(tmp_path / "a.nwb") as file:
        clock = {"timestamps": np.arange(40) / 10} if name == "timestamps" else {"rate": 10.0}
        traces(file, rois=rois(file), **clock)[name].attrs["unit"] = stated
    with opened(tmp_path / "a.nwb") as recording:
        reason = important(recording)["stated-unit"]
        assert reason.startswith(f"states the unit {called}, and is read as seconds")
        assert "--frame-time-unit" in reason
    with opened(tmp_path / "a.nwb", frame_time_unit="s") as recording:
        assert "stated-unit" not in important(recording)


@pytest.mark.parametrize("stated", ["seconds", "Seconds", "s", "sec", "", "n.a."])
def test_frame_times_in_seconds_are_no_news(tmp_path, stated):
    with nwb(tmp_path / "a.nwb") as file:
        made = traces(file, rois=rois(file), timestamps=np.arange(40) / 10)
        made["timestamps"].attrs["unit"] = stated
    with opened(tmp_path / "a.nwb") as recording:
        assert "stated-unit" not in important(recording)


def test_behaviour_whose_times_state_another_unit_is_noted(tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        traces(file, rois=rois(file))
        speed = series(file["acquisition"], "speed", np.arange(9.0), timestamps=np.arange(9.0))
        speed["timestamps"].attrs["unit"] = "ms"
    with opened(tmp_path / "a.nwb") as recording:
        (note,) = [note for note in recording.notes if note.code == "stated-unit"]
        assert note.where.endswith("speed/timestamps")
        assert "in the file if they are ms" in note.reason
        assert not note.important
