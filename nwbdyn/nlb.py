"""The Neural Latents Benchmark's seven data sets: recognised by their layout, cut as published.

Pei et al. 2021. A layout says which trial column the windows are aligned to, from when to when they
reach, and how far beyond them a model must predict. Trials of any other recording are aligned to
their start and cut to their median length.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from nwbdyn.binning import Binned
from nwbdyn.clock import INSTANT, grid_ceil, whole_ms
from nwbdyn.errors import DataError
from nwbdyn.recording import COUNTS, Note, Recording


@dataclass(frozen=True)
class Layout:
    """How one data set of the benchmark is cut into windows and scored."""

    name: str
    align: str  # the trial column that is time 0
    window: tuple[int, int]  # ms around it, observed
    forward: int = 200  # ms after the window, never observed
    bin_width: float = 0.005  # seconds
    velocity: str | None = None  # the covariate that rates are decoded to
    velocity_lag: int | None = None  # ms from the rates to the velocity
    psth_sd: int | None = None  # ms, width of the smoothing of the reference PSTHs
    conditions: tuple[str, ...] = ()  # the trial columns that make a condition
    jitter: bool = False  # windows of train and val trials end up to 300 ms later


def _maze(name: str, lag: int, psth_sd: int) -> Layout:
    return Layout(
        name=name,
        align="move_onset_time",
        window=(-250, 450),
        velocity="hand_vel",
        velocity_lag=lag,
        psth_sd=psth_sd,
        conditions=("trial_type", "trial_version"),
    )


LAYOUTS = {
    "000128": _maze("mc_maze", 100, 70),
    "000138": _maze("mc_maze_large", 120, 50),
    "000139": _maze("mc_maze_medium", 120, 50),
    "000140": _maze("mc_maze_small", 120, 50),
    "000129": Layout("mc_rtt", "start_time", (0, 600), velocity="finger_vel", velocity_lag=140),
    "000127": Layout(
        name="area2_bump",
        align="move_onset_time",
        window=(-100, 500),
        velocity="hand_vel",
        velocity_lag=-20,
        psth_sd=40,
        conditions=("cond_dir", "ctr_hold_bump"),
    ),
    "000130": Layout(
        name="dmfc_rsg",
        align="go_time",
        window=(-1500, 0),
        psth_sd=70,
        conditions=("is_eye", "theta", "is_short", "ts"),
        jitter=True,
    ),
}  # by dandiset

# Units (held-in, held-in + held-out) of the four maze sets, which share one trial table
_MAZE_UNITS = {
    (137, 182): "000128",
    (122, 162): "000138",
    (114, 152): "000139",
    (107, 142): "000140",
}


@dataclass(frozen=True)
class Aligned:
    """Trials cut into windows of one length."""

    starts: np.ndarray  # (num_trials,) int64, first bin of each window, index into the Binned
    observed: int  # bins
    forward: int  # bins after the observed ones
    trials: pd.DataFrame  # the rows kept, in the order of `starts`
    notes: tuple[Note, ...] = ()


def recognise(recording: Recording) -> Layout | None:
    """The benchmark's layout of a recording, or None.

    It takes units with a `heldout` column and a trial table. The columns decide; between the four
    maze sets the dandiset or the number of units. A file with the maze's columns and other units is
    cut like MC_Maze and called "maze".
    """
    table, trials = recording.neurons.table, recording.trials
    if recording.neurons.kind != "unit" or "heldout" not in table or trials is None:
        return None
    if not len(trials):
        return None
    dandiset = recording.source.dandiset_id
    if "go_time" in trials and "move_onset_time" not in trials:
        return LAYOUTS["000130"]
    if "move_onset_time" in trials:
        if _is_area2(trials):
            return LAYOUTS["000127"]
        held_in = int((~table["heldout"].astype(bool)).sum())
        for (num_held_in, num_units), known in _MAZE_UNITS.items():
            if dandiset == known or len(table) == num_units or len(table) == held_in == num_held_in:
                return LAYOUTS[known]
        return _maze("maze", 100, 70)
    if dandiset == "000129" or _all_last(trials, 0.600):
        return LAYOUTS["000129"]
    return None


def align(binned: Binned, trials: pd.DataFrame, layout: Layout | None = None) -> Aligned:
    """Cut trials into windows on the bins of a recording.

    With a layout: the bins k of the grid from 0 s with a + lo <= k w < a + hi, a the time in the
    layout's column (trials without it are left out), and `forward` bins after them. DMFC_RSG's
    windows of one call end later by a random jitter, drawn in the order of `trials` as published,
    so pass the trials of one split (or train and val together) as the benchmark does.

    Without one: windows begin with the trial's first whole bin and last the median trial.

    Trials whose window leaves the recording are dropped, with a note.

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
            times = times + jitter(trials, layout.bin_width) / 1000
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
    return Aligned(starts[inside], observed, forward, trials[inside], tuple(notes))


def first_bins(binned: Binned, times: np.ndarray) -> np.ndarray:
    """(n,) int64, the first bin that begins, or frame that lies, at or after each time."""
    if binned.quantity == COUNTS:
        origin = round(binned.time[0] / binned.bin_width - 0.5)
        return grid_ceil(times, binned.bin_width) - origin
    found = np.searchsorted(binned.time, times - INSTANT, side="left")
    return np.where(times < binned.time[0] - binned.bin_width, -1, found).astype(np.int64)


def jitter(trials: pd.DataFrame, bin_width: float, *, seed: int = 0) -> np.ndarray:
    """(num_trials,) ms by which the windows of DMFC_RSG's trials end later.

    round(U floor(clip(1500 - tp, 0, 300) / bin)) * bin, U uniform from NumPy's legacy generator,
    one draw per trial in order; 0 for test trials.
    """
    width_ms = whole_ms(bin_width) or bin_width * 1000
    produced = trials["tp"].to_numpy(float) if "tp" in trials else np.full(len(trials), np.nan)
    longest = np.clip(1500.0 - produced, 0.0, 300.0)
    test = trials["split"].to_numpy() == "test" if "split" in trials else np.isnan(produced)
    longest = np.where(test, 0.0, longest)
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


def _is_area2(trials: pd.DataFrame) -> bool:
    """Area2_Bump's columns; in its test file only the onset, .1 s into the window, tells."""
    if "ctr_hold_bump" in trials or "trial_version" in trials:
        return "ctr_hold_bump" in trials
    onset = (trials["move_onset_time"] - trials["start_time"]).to_numpy(float)
    return bool(np.isclose(np.nanmedian(onset), 0.1, atol=0.002))


def _all_last(trials: pd.DataFrame, seconds: float) -> bool:
    durations = (trials["stop_time"] - trials["start_time"]).to_numpy(float)
    return bool(np.allclose(durations, seconds, atol=0.0015))
