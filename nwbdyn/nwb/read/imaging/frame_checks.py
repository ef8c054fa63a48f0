"""Agreement of frame times with the imaging plane, trials and behaviour.

A rate that is an interval, times in milliseconds and a start of another session all look well by
themselves. Only the rest of the file contradicts them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from nwbdyn.data.clock import frame_interval, increasing
from nwbdyn.errors import ReadError
from nwbdyn.nwb.read import intervals
from nwbdyn.nwb.read.imaging.choice import TIME_UNITS, TraceChoice
from nwbdyn.nwb.read.objects import NwbIndex, has
from nwbdyn.recording import Covariate

LIKE = 2.0  # factor between two ends of one session, at most
UNLIKE = (
    5.0  # factor between the frames' end and every other end, from which on a unit is suspected
)
FAR_BEYOND = 50.0  # the same, where no unit explains it
SAME_RATE = 0.1  # share by which a rate and the imaging plane's may differ
MOST_PLANES = 40  # a scan's rate over that of one plane is a whole number up to this
LONGEST = 12 * 3600.0  # seconds that imaging takes, at most, at less than SLOWEST
SLOWEST = 0.5  # Hz


@dataclass(frozen=True)
class Span:
    """When something beside the frames begins and ends."""

    name: str
    start: float  # seconds
    stop: float  # seconds


def spans(
    trials: pd.DataFrame | None,
    tables: Mapping[str, pd.DataFrame],
    covariates: Sequence[Covariate] = (),
) -> list[Span]:
    """Start and stop of everything beside the frames, where they are finite."""
    named = tables if trials is None else {"trials": trials, **tables}
    ends = [
        (name, _finite(frame["start_time"]).min(), _finite(frame["stop_time"]).max())
        for name, frame in named.items()
        if name != "invalid_times"
    ]
    ends += [(one.name, *_ends(one)) for one in covariates]
    return [
        Span(name, float(start), float(stop))
        for name, start, stop in ends
        if np.isfinite(start) and np.isfinite(stop)
    ]


def durations(contents: NwbIndex) -> list[float]:
    """Seconds that the interval tables of the file reach to, and from their start to their stop."""
    known = spans(*intervals.read(contents))
    return [seconds for span in known for seconds in (span.stop, span.stop - span.start)]


def check(
    contents: NwbIndex,
    path: str,
    timestamps: np.ndarray,
    plane_rate: float | None,
    beside: Sequence[Span],
    choice: TraceChoice,
) -> None:
    """Note frame times that the imaging plane or the rest of the session contradicts.

    Args:
        contents: the open file; notes are added to it.
        path: of the series.
        timestamps: (num_frames,) seconds.
        plane_rate: Hz, of the imaging plane, where it is known.
        beside: everything else that is timed in the file.
        choice: with the unit "s", the times are taken as they are.
    """
    times = timestamps[increasing(timestamps)]
    if choice.frame_time_unit == "s" or len(times) < 2:
        return
    _note_uneven(contents, path, times)
    if any(note.code == "coarse-clock" and note.where == path for note in contents.notes):
        return
    rate = 1 / frame_interval(times)
    start, stop = float(times[0]), float(times[-1])
    stated = f"frames at {rate:.4g} Hz reach from {start:,.6g} to {stop:,.6g} s"
    others = _in_words(plane_rate, beside)
    now = _agreement(rate, stop, plane_rate, beside)
    for advice, other_rate, other_stop in _other_units(contents, path, times, plane_rate, choice):
        new = _agreement(other_rate, other_stop, plane_rate, beside)
        sure = sum(new) - sum(now) == 2 or _is_suspect(rate, stop, plane_rate, beside)
        if sum(new) > sum(now) and sure:
            reason = f"{stated}, but {others}; {advice} makes them agree"
            contents.note("clock-contradicts", path, reason, important=True)
            return
    ends = [span.stop for span in beside]
    meets = any(span.start <= stop and span.stop >= start for span in beside)
    if plane_rate and not now[1] and not _of_one_scan(rate, plane_rate):
        advice = f"--frame-rate {plane_rate:g} takes the imaging plane's rate"
    elif ends and stop > FAR_BEYOND * max(ends) > 0 and (meets or not now[0]):
        advice = "if they are not seconds, pass --frame-time-unit ms or --frame-rate HZ"
    elif beside and not meets:
        advice = f"if both begin together, pass --frame-start {min(s.start for s in beside):.6g}"
    elif not beside and stop - start > LONGEST and rate < SLOWEST:
        others = f"these are {(stop - start) / 3600:,.0f} hours"
        advice = "if they are not seconds, pass --frame-time-unit ms or --frame-rate HZ"
    else:
        return
    contents.note("clock-contradicts", path, f"{stated}, but {others}; {advice}", important=True)


def _note_uneven(contents: NwbIndex, path: str, times: np.ndarray) -> None:
    """Note frame intervals that alternate, which is neither jitter nor a gap."""
    steps = np.diff(times)
    low, middle, high = np.quantile(steps, [0.3, 0.5, 0.7])
    known = any(note.code == "uneven-frames" for note in contents.notes)  # of runs
    if known or max(high / middle, middle / low) < 1.5:
        return
    reason = (
        f"frame intervals are uneven, {low:.3g} s and {high:.3g} s, {steps.mean():.3g} s on "
        "average; a model takes frames as evenly spaced, and a wider --bin-width averages them"
    )
    contents.note("uneven-frames", path, reason, important=True)


def _agreement(
    rate: float, stop: float, plane_rate: float | None, beside: Sequence[Span]
) -> tuple[bool, bool]:
    """True for frames at the imaging plane's rate; True for frames that end with the session."""
    same = plane_rate is not None and abs(rate / plane_rate - 1) < SAME_RATE
    ends = [span.stop for span in beside if span.stop > 0]
    together = stop > 0 and any(max(stop / end, end / stop) <= LIKE for end in ends)
    return same, together


def _is_suspect(rate: float, stop: float, plane_rate: float | None, beside: Sequence[Span]) -> bool:
    """True for frame times unlikely enough to name another unit."""
    inverse = plane_rate is not None and abs(rate * plane_rate - 1) < 0.02
    rates_differ = plane_rate is not None and (inverse or not _of_one_scan(rate, plane_rate))
    ends = [span.stop for span in beside if span.stop > 0]
    return rates_differ or (bool(ends) and stop > UNLIKE * max(ends))


def _other_units(
    contents: NwbIndex,
    path: str,
    times: np.ndarray,
    plane_rate: float | None,
    choice: TraceChoice,
) -> list[tuple[str, float, float]]:
    """Other readings of the times: the option, and the rate and end with it."""
    group = contents.group(path)
    if choice.frame_rate is not None or group is None:
        return []
    rate = 1 / frame_interval(times)
    start, stop = float(times[0]), float(times[-1])
    if has(group, "timestamps"):
        others = [
            (f"--frame-time-unit {unit}", rate / TIME_UNITS[unit], stop * TIME_UNITS[unit])
            for unit in ("ms", "us")
        ]
        if plane_rate is not None and (np.diff(times) == 1).all():  # numbers of frames
            others.append((f"--frame-rate {plane_rate:g}", plane_rate, stop / plane_rate))
        return others
    meant = (1 / rate, 1000 / rate, 1000 * rate)  # an interval in s, one in ms, a rate in kHz
    return [
        (f"--frame-rate {other:.6g}", other, start + (stop - start) * rate / other)
        for other in meant
    ]


def _of_one_scan(rate: float, plane_rate: float) -> bool:
    """True for equal rates, or one a multiple of the other: planes, or averaging."""
    ratio = max(rate / plane_rate, plane_rate / rate)
    if ratio > 2 * MOST_PLANES:
        return False
    whole = round(ratio)
    return whole <= MOST_PLANES and abs(ratio / whole - 1) < SAME_RATE / 2


def _in_words(plane_rate: float | None, beside: Sequence[Span]) -> str:
    parts = [] if plane_rate is None else [f"the imaging plane states {plane_rate:g} Hz"]
    shown = sorted(beside, key=lambda span: -span.stop)[:2]
    parts += [f"{span.name} {span.start:,.6g} to {span.stop:,.6g} s" for span in shown]
    return ", ".join(parts)


def _ends(covariate: Covariate) -> tuple[float, float]:
    """First and last time; NaN if there is none that can be read."""
    try:
        return float(covariate.timestamps[0]), float(covariate.timestamps[-1])
    except (ReadError, IndexError):
        return float("nan"), float("nan")


def _finite(column: pd.Series) -> pd.Series:
    if not pd.api.types.is_numeric_dtype(column):
        return pd.Series(dtype=float)
    values = column.astype(float)
    return values[np.isfinite(values)]
