"""Trials cut into windows on the bins of a recording."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from nwbdyn.data.binning import Binned
from nwbdyn.data.clock import INSTANT, grid_ceil, whole_ms
from nwbdyn.errors import DataError
from nwbdyn.nlb import bounds
from nwbdyn.nlb.layouts import Layout
from nwbdyn.recording import COUNTS, Note


@dataclass(frozen=True)
class Aligned:
    """Trials cut into windows of one length."""

    starts: np.ndarray  # (num_trials,) int64, first bin of each window, index into the Binned
    observed: int  # bins
    forward: int  # bins after the observed ones
    trials: pd.DataFrame  # the rows kept, in the order of `starts`
    reach: np.ndarray  # (num_trials,) int64, bins of each window that belong to its trial
    notes: tuple[Note, ...] = ()


def align(
    binned: Binned,
    trials: pd.DataFrame,
    layout: Layout | None = None,
    *,
    observation_stated: bool = True,
) -> Aligned:
    """Cut trials into windows on the bins of a recording.

    With a layout: the bins k of the grid from 0 s with a + lo <= k w < a + hi, a the time in the
    layout's column (trials without it are left out), and `forward` bins after them. DMFC_RSG's
    windows of one call end later by a random jitter, drawn in the order of `trials` as published,
    so pass the trials of one split (or train and val together) as the benchmark does.

    Without one: windows begin with the trial's first whole bin and last the median trial.

    Trials whose window leaves the recording are dropped, with a note. A window keeps its length,
    and its bins count as far as `Aligned.reach`: without a layout to the trial's stop, else through
    the layout's observed bins and as far behind them as no other trial follows (see `bounds`).

    Args:
        observation_stated: whether the file says when units were observed; if not, nothing behind a
            trial's stop counts.

    Raises:
        DataError: no trial fits, the layout's column is missing, or the bins are not the layout's.
    """
    if layout is None:
        length = np.median((trials["stop_time"] - trials["start_time"]).to_numpy(float))
        times, low = trials["start_time"].to_numpy(float), 0
        observed, forward = round(length / binned.bin_width), 0
        column = "start_time"
    else:
        column, low = layout.align, layout.window[0]
        observed, forward = _window_bins(binned, layout)
        if column not in trials:
            raise DataError(f"Trials have no column {column!r}, which {layout.name} is aligned to.")
        times = trials[column].to_numpy(float)
        if layout.jitter:
            times = times + jitter(trials, binned.bin_width) / 1000
    if observed < 1:
        raise DataError(f"Trials last {length:g} s, less than a bin of {binned.bin_width:g} s.")
    timed = np.isfinite(times)
    starts = np.zeros(len(trials), dtype=np.int64)
    starts[timed] = first_bins(binned, times[timed] + low / 1000)
    inside = timed & (starts >= 0) & (starts + observed + forward <= binned.num_bins)
    notes = []
    if not timed.all():
        notes.append(Note("untimed-trials", "trials", f"{(~timed).sum()} have no {column}"))
    if (timed & ~inside).any():
        reason = f"the windows of {(timed & ~inside).sum()} trials leave the recording"
        notes.append(Note("trials-outside", "trials", reason))
    if not inside.any():
        raise DataError(
            f"None of {len(trials)} trials fits: windows of {observed} + {forward} bins of "
            f"{binned.bin_width:g} s from {column}, and a recording of {binned.time[0]:.1f} to "
            f"{binned.time[-1]:.1f} s. Pass another --trials table or none."
        )
    starts, trials, length = starts[inside], trials[inside], observed + forward
    reach = np.full(len(starts), length, dtype=np.int64)
    if binned.quantity == COUNTS:
        first = starts + _origin(binned)
        if layout is None:
            reach = np.clip(bounds.until_stop(trials, binned.bin_width) - first, 1, length)
        else:
            among = trials if binned.trials is None else binned.trials
            ends = bounds.ends(
                trials, among, binned.bin_width, observation_stated=observation_stated
            )
            reach = np.clip(ends - first, observed, length)
    return Aligned(starts, observed, forward, trials, reach, tuple(notes))


def first_bins(binned: Binned, times: np.ndarray) -> np.ndarray:
    """(n,) int64, the first bin that begins, or frame that lies, at or after each time."""
    if binned.quantity == COUNTS:
        return grid_ceil(times, binned.bin_width) - _origin(binned)
    bins = np.searchsorted(binned.time, times - INSTANT, side="left")
    return np.where(times < binned.time[0] - binned.bin_width, -1, bins).astype(np.int64)


def _origin(binned: Binned) -> int:
    """Number, from 0 s, of the first bin."""
    return round(binned.time[0] / binned.bin_width - 0.5)


def jitter(trials: pd.DataFrame, bin_width: float, *, seed: int = 0) -> np.ndarray:
    """(num_trials,) ms by which the windows of DMFC_RSG's trials end later.

    round(U floor(clip(1500 - tp, 0, 300) / bin)) * bin, U uniform from NumPy's legacy generator,
    one draw per trial in order; 0 for test trials and where tp is not known.
    """
    width_ms = whole_ms(bin_width) or bin_width * 1000
    produced = trials["tp"].to_numpy(float) if "tp" in trials else np.full(len(trials), np.nan)
    longest = np.nan_to_num(np.clip(1500.0 - produced, 0.0, 300.0))
    if "split" in trials:
        longest[trials["split"].to_numpy() == "test"] = 0.0
    steps = np.floor(np.round(longest / width_ms, 4))
    draws = np.random.RandomState(seed).random_sample(len(trials))
    return np.round(draws * steps) * width_ms


def _window_bins(binned: Binned, layout: Layout) -> tuple[int, int]:
    """Observed and forward bins of a layout at the recording's bin width."""
    low, high = layout.window
    width_ms = whole_ms(binned.bin_width) if binned.quantity == COUNTS else None
    if width_ms is None or (high - low) % width_ms or layout.forward % width_ms:
        raise DataError(
            f"{layout.name} has windows of {high - low} + {layout.forward} ms; bins of "
            f"{binned.bin_width * 1000:g} ms do not divide them. Pass --bin-width 0.005."
        )
    return (high - low) // width_ms, layout.forward // width_ms
