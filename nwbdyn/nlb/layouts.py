"""Windows and scores of each data set of the benchmark, and how a data set is recognised."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from nwbdyn.data.flags import flags
from nwbdyn.recording import Recording


@dataclass(frozen=True)
class Layout:
    """Windows and scores of one data set of the benchmark."""

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


def recognise(recording: Recording) -> Layout | None:
    """The benchmark's layout of a recording, or None.

    It takes units with a `heldout` column and a trial table. The columns decide; between the four
    maze sets the dandiset or the number of units. A file with the maze's columns and other units is
    cut like MC_Maze and called "maze".
    """
    table, trials = recording.neurons.table, recording.trials
    if recording.neurons.kind != "unit" or "heldout" not in table or trials is None:
        return None
    marked = flags(table["heldout"])
    if not len(trials) or marked is None:
        return None
    dandiset = recording.source.dandiset_id
    if {"set_time", "go_time"} <= set(trials) and "move_onset_time" not in trials:
        return LAYOUTS["000130"]
    if "move_onset_time" in trials:
        if _is_area2(trials):
            return LAYOUTS["000127"]
        held_in = int((~marked).sum())
        for (num_held_in, num_units), known in _MAZE_UNITS.items():
            if dandiset == known or len(table) == num_units or len(table) == held_in == num_held_in:
                return LAYOUTS[known]
        return _maze("maze", 100, 70)
    if dandiset == "000129" or _all_last(trials, 0.600):
        return LAYOUTS["000129"]
    return None


def _is_area2(trials: pd.DataFrame) -> bool:
    """True for Area2_Bump's columns; its test file has only the onset, .1 s into the window."""
    if "ctr_hold_bump" in trials or "trial_version" in trials:
        return "ctr_hold_bump" in trials
    onset = (trials["move_onset_time"] - trials["start_time"]).to_numpy(float)
    return bool(np.isclose(np.nanmedian(onset), 0.1, atol=0.002))


def _all_last(trials: pd.DataFrame, seconds: float) -> bool:
    durations = (trials["stop_time"] - trials["start_time"]).to_numpy(float)
    return bool(np.allclose(durations, seconds, atol=0.0015))
