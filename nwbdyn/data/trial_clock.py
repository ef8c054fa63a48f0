"""Check that the trials and the recording share one clock.

Trials in milliseconds, trials that all start at 0 and spike times relative to a trial are read
without an error, and every number that follows is wrong.
"""

import numpy as np
import pandas as pd

from nwbdyn.data.spike_trains import digits
from nwbdyn.recording import Note

UNUSABLE = "unusable-trials"
RELATIVE = "relative-spikes"
OVERLAPPING = "overlapping-trials"
CODES = (UNUSABLE, RELATIVE, OVERLAPPING)
FEWEST = 10  # trials from which the clock can be judged
INSIDE = 0.5  # of the trials that must start within the recording
FITTING = 0.9  # of the trials that start within it, where their unit is another one
SHORTEST = 0.05  # seconds from one trial to the next
UNITS = {"milliseconds": 1e-3, "microseconds": 1e-6}  # seconds
RELATIVE_SPAN = 0.05  # of the trials' span; spikes that cover less are relative to a trial
RELATIVE_LENGTHS = 3.0  # lengths of a trial that such spikes cover at most


def unusable(trials: pd.DataFrame, first: float, last: float) -> str | None:
    """Why trials cannot divide a recording; None where they can.

    Args:
        trials: with start_time and stop_time, seconds.
        first, last: seconds, the recording's first and last usable moment.
    """
    starts = trials["start_time"].to_numpy(float)
    starts = starts[np.isfinite(starts)]
    if len(trials) and not len(starts):
        return f"none of {len(trials)} trials has a start time"
    if len(starts) < 2:
        return None
    if len(np.unique(starts)) == 1:
        return f"all {len(starts)} trials start at {digits(starts[0])} s"
    inside = (starts >= first) & (starts <= last)
    if inside.mean() >= INSIDE:
        return None
    reason = (
        f"{int((~inside).sum())} of {len(starts)} trials start outside the recording: they start "
        f"from {digits(starts.min())} to {digits(starts.max())} s, and it lasts from "
        f"{digits(first)} to {digits(last)} s"
    )
    unit = _unit(starts, first, last)
    return reason if unit is None else f"{reason}; they look like {unit}"


def _unit(starts: np.ndarray, first: float, last: float) -> str | None:
    """The unit, other than seconds, in which the trials fill the recording; None without one."""
    apart = float(np.median(np.diff(np.sort(starts))))
    for name, seconds in UNITS.items():
        scaled = starts * seconds
        inside = (scaled >= first - 1) & (scaled <= last + 1)
        if inside.mean() > FITTING and apart * seconds >= SHORTEST:
            return name
    return None


def relative(trials: pd.DataFrame | None, first: float, last: float) -> str | None:
    """Why spike times cannot be on the session's clock, but count from each trial; None otherwise.

    Args:
        trials: with start_time and stop_time, seconds.
        first, last: seconds, of all spikes.
    """
    if trials is None or len(trials) < FEWEST:
        return None
    starts = np.sort(trials["start_time"].to_numpy(float))
    starts = starts[np.isfinite(starts)]
    if len(np.unique(starts)) < FEWEST:
        return None
    if _unit(starts, first, last) is not None:
        return None
    apart = float(np.median(np.diff(starts)))
    span, covered = starts[-1] - starts[0] + apart, last - first
    if covered > RELATIVE_SPAN * span or covered > RELATIVE_LENGTHS * apart:
        return None
    return (
        f"all spikes lie within {digits(covered)} s ({digits(first)} to {digits(last)} s), but "
        f"{len(starts)} trials start from {digits(starts[0])} to {digits(starts[-1])} s: the spike "
        "times count from each trial, not from the session's start. Add each trial's start to its "
        "spikes in the file; --trials none fits them as they are"
    )


def notes(trials: pd.DataFrame | None, first: float, last: float) -> list[Note]:
    """Notes on trials that do not fit a recording from `first` to `last` seconds."""
    if trials is None:
        return []
    reason = unusable(trials, first, last)
    if reason is not None:
        text = f"{reason}. They are not used: the recording is split in time"
        return [Note("unusable-trials", "trials", text, important=True)]
    ordered = trials.sort_values("start_time", kind="stable")
    starts, stops = (ordered[name].to_numpy(float) for name in ("start_time", "stop_time"))
    overlap = int((stops[:-1] > starts[1:] + 1e-6).sum()) if len(starts) > 1 else 0
    if not overlap:
        return []
    reason = (
        f"{overlap} of {len(starts)} trials stop after the next one has started; a bin belongs to "
        "the trial that started last"
    )
    return [Note("overlapping-trials", "trials", reason)]
