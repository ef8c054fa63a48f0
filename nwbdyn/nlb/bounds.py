"""End of a trial's window: the end of the trial, of observed time, or the next trial.

The published data continue behind every window, so that bins after it can be predicted. A file may
hold single windows only: what follows such a window was not observed, or is another trial.
"""

import numpy as np
import pandas as pd

from nwbdyn.data.clock import grid_ceil, grid_index

FARTHEST = 2**40  # bins; no end


def ends(
    trials: pd.DataFrame, among: pd.DataFrame, bin_width: float, *, observation_stated: bool
) -> np.ndarray:
    """(num_trials,) int64, the bin from 0 s behind the last one that belongs to each trial.

    A trial ends where the next one begins, unless that follows without a pause: then the recording
    went on, and its bins come after the trial. Where the file states no observed time, a trial also
    ends at its stop.

    Args:
        trials: those that windows are cut for.
        among: all trials of the recording.
        bin_width: seconds.
        observation_stated: whether the file says when units were observed.
    """
    begun = np.unique(among["start_time"].to_numpy(float))
    begun = np.append(begun[np.isfinite(begun)], np.inf)
    starts, stops = (trials[name].to_numpy(float) for name in ("start_time", "stop_time"))
    following = begun[np.searchsorted(begun, starts, side="right").clip(max=len(begun) - 1)]
    paused = ~(following <= stops + bin_width)
    limit = np.full(len(trials), FARTHEST, dtype=np.int64)
    by_next = paused & np.isfinite(following)
    limit[by_next] = grid_index(following[by_next], bin_width)
    if not observation_stated:
        by_stop = paused & np.isfinite(stops)
        limit[by_stop] = np.minimum(limit[by_stop], grid_ceil(stops[by_stop], bin_width))
    return limit


def until_stop(trials: pd.DataFrame, bin_width: float) -> np.ndarray:
    """(num_trials,) int64, the first bin from 0 s that begins after each trial has stopped."""
    stops = trials["stop_time"].to_numpy(float)
    limit = np.full(len(trials), FARTHEST, dtype=np.int64)
    known = np.isfinite(stops)
    limit[known] = grid_ceil(stops[known], bin_width)
    return limit


def unbroken(seen: np.ndarray) -> np.ndarray:
    """(num_trials, num_bins) bool, True up to the first bin of each trial that was not observed."""
    return np.logical_and.accumulate(seen, axis=1)
