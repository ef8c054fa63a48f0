"""The times of frames, as stored, or as a person states them."""

import h5py
import numpy as np

from nwbdyn.data.clock import increasing
from nwbdyn.errors import ReadError
from nwbdyn.nwb.read import series
from nwbdyn.nwb.read.imaging.choice import TraceChoice
from nwbdyn.nwb.read.objects import NwbIndex, NwbObject, has, one_line
from nwbdyn.nwb.read.series import scalar_number

START = "starting_time"
ABSURD = 1e20  # seconds or any unit of them; such a time is damage, and its arithmetic overflows
SAME_RATE = 0.1  # share by which the imaging plane's rate and that of all frames may differ
SHARED_TIMES = 0.05  # share of frames with the time of another, from which on a clock is coarse


def read(
    contents: NwbIndex,
    series: NwbObject,
    num_frames: int,
    choice: TraceChoice,
    plane_rate: float | None,
) -> np.ndarray | None:
    """(num_frames,) seconds; times that do not increase are noted, and dropped by binning.

    Args:
        contents: the open file.
        series: the series.
        num_frames: of its data.
        choice: how to read times that are stated wrongly.
        plane_rate: Hz, of the imaging plane, where it is known.
    """
    if num_frames < 2:
        contents.note("bad-clock", series.path, "has fewer than two frames")
        return None
    try:
        timestamps = _stored(contents, series, num_frames, choice, plane_rate)
    except ReadError as error:
        contents.note("corrupted-object", series.path, one_line(error))
        return None
    if timestamps is None:
        return None
    absurd = np.abs(timestamps) > ABSURD
    timestamps = np.where(absurd, np.nan, timestamps) if absurd.any() else timestamps
    num_bad = int((~increasing(timestamps)).sum())
    if num_bad >= num_frames - 1:
        contents.note("bad-clock", series.path, f"its times do not increase{_advice(plane_rate)}")
        return None
    if num_bad and not _note_coarse(contents, series, timestamps, plane_rate):
        reason = f"{num_bad} of {num_frames} times are NaN or do not come after those before"
        many = num_bad > SHARED_TIMES * num_frames
        back = np.flatnonzero(np.diff(timestamps) < 0)
        if many:
            reason += "; these frames are left out"
        if many and len(back):
            reason += f"; times go back at frame {back[0] + 1}{_advice(plane_rate)}"
        contents.note("odd-clock", series.path, reason, important=many)
    return timestamps


def begun(contents: NwbIndex, path: str, timestamps: np.ndarray, choice: TraceChoice) -> np.ndarray:
    """The same times, shifted so that the first frame lies at --frame-start."""
    if choice.frame_start is None:
        return timestamps
    first = float(timestamps[np.isfinite(timestamps)].min())
    reason = (
        f"the first frame, at {first:.6g} s, is taken to {choice.frame_start:g} s (--frame-start)"
    )
    contents.note("frame-times", path, reason)
    return timestamps + (choice.frame_start - first)


def plane_rate(contents: NwbIndex, plane: h5py.Group | None) -> float | None:
    """Hz, as an imaging plane states it; None where it states none that is usable."""
    dataset = None if plane is None else contents.dataset(plane, "imaging_rate")
    rate = None if dataset is None else scalar_number(dataset)
    return rate if rate is not None and np.isfinite(rate) and rate > 0 else None


def _stored(
    contents: NwbIndex, item: NwbObject, num_frames: int, choice: TraceChoice, rate: float | None
) -> np.ndarray | None:
    if choice.frame_rate is not None:
        first = _first_time(contents, item) * choice.seconds
        reason = f"{num_frames} frames at {choice.frame_rate:g} Hz from {first:g} s (--frame-rate)"
        contents.note("frame-times", item.path, reason)
        return first + np.arange(num_frames) / choice.frame_rate
    clock = series.clock(contents, item, num_frames, advice=_advice(rate))
    if clock is None:
        return None
    times = clock[()]
    if choice.frame_time_unit is None:
        _note_unit(contents, item)
    if choice.frame_time_unit in (None, "s"):
        return times
    reason = f"times are read as {choice.frame_time_unit} (--frame-time-unit)"
    contents.note("frame-times", item.path, reason)
    if has(item.group, "timestamps"):
        return times * choice.seconds
    return times + times[0] * (choice.seconds - 1)  # a rate is in Hz; its start is not


def _note_unit(contents: NwbIndex, item: NwbObject) -> None:
    """Note frame times whose stated unit is not seconds, with the option that decides."""
    stored = contents.dataset(item.group, "timestamps" if has(item.group, "timestamps") else START)
    if stored is not None:
        advice = "--frame-time-unit ms, us or s decides, or --frame-rate HZ"
        series.note_unit(contents, stored, advice, important=True)


def _first_time(contents: NwbIndex, item: NwbObject) -> float:
    """The first time that the series states, in its unit; 0 where it states none."""
    timestamps = contents.dataset(item.group, "timestamps")
    if timestamps is not None and timestamps.ndim and timestamps.dtype.kind in "iuf":
        try:
            known = series.times(contents, timestamps)[:1000]
        except ReadError:
            known = np.zeros(0)
        finite = np.flatnonzero(np.isfinite(known))
        return float(known[finite[0]]) if len(finite) else 0.0
    start = contents.dataset(item.group, "starting_time")
    first = None if start is None else scalar_number(start)
    return first if first is not None and np.isfinite(first) else 0.0


def _note_coarse(
    contents: NwbIndex, series: NwbObject, timestamps: np.ndarray, plane_rate: float | None
) -> bool:
    """Note times that many frames share because they are stored in too coarse steps."""
    finite = timestamps[np.isfinite(timestamps)]
    steps = np.diff(finite)
    shared = steps == 0
    groups = int((shared & ~np.concatenate([[False], shared[:-1]])).sum())
    if shared.mean() < SHARED_TIMES or groups < 10 or (steps < 0).any():
        return False
    overall = (len(finite) - 1) / float(finite[-1] - finite[0])
    if plane_rate is not None and abs(plane_rate / overall - 1) < SAME_RATE:
        overall = plane_rate
    step = float(steps[~shared].min())
    reason = (
        f"{int(shared.sum())} of {len(timestamps)} frames have the time of the frame before and "
        f"are left out: times are stored in steps of {step:.3g} s; --frame-rate {overall:.6g} "
        "spaces all frames evenly"
    )
    contents.note("coarse-clock", series.path, reason, important=True)
    return True


def _advice(rate: float | None) -> str:
    value = "HZ" if rate is None else f"{rate:g} (the imaging plane's)"
    return f"; --frame-rate {value} gives frames even times"
