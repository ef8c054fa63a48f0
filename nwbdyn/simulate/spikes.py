"""Counts in small steps -> spike times, and what spiking simulations in trials have in common."""

import numpy as np
import pandas as pd

from nwbdyn.recording import Neurons, SpikeTimes

HELD_OUT = 0.25  # share of the units
INSIDE = 0.45  # of a step: spikes keep off its edges, where rounding would move them


def spike_times(
    counts: np.ndarray,
    time: np.ndarray,
    step: float,
    random: np.random.Generator,
    *,
    intervals: np.ndarray,
) -> SpikeTimes:
    """Spikes at random places inside their steps.

    Args:
        counts: (num_steps, N).
        time: (num_steps,) centres of the steps, seconds.
        step: width of a step, seconds.
        intervals: (num_intervals, 2) seconds that were observed.
    """
    units = []
    for count in counts.T:
        centres = np.repeat(time, count)
        units.append(np.sort(centres + step * random.uniform(-INSIDE, INSIDE, len(centres))))
    index = np.cumsum([len(times) for times in units])
    return SpikeTimes(np.concatenate(units), index, intervals=intervals)


def units(num_neurons: int, random: np.random.Generator) -> Neurons:
    """Units numbered from 1, a quarter of them held out."""
    held_out = random.permutation(np.arange(num_neurons) < round(HELD_OUT * num_neurons))
    table = pd.DataFrame({"id": 1 + np.arange(num_neurons), "heldout": held_out})
    return Neurons(table, kind="unit")


def trials(
    num_conditions: int, per_condition: int, num_steps: int, step: float, pause: int
) -> tuple[pd.DataFrame, np.ndarray]:
    """Trials of equal length, conditions in turn, with `pause` steps between them.

    Of ten trials of a condition seven train, one validates and two test.

    Returns:
        the table of trials, and (num_trials, num_steps) centres of the steps in seconds.
    """
    number = np.arange(num_conditions * per_condition)
    first = number * (num_steps + pause)
    repeat = number // num_conditions % 10
    table = pd.DataFrame(
        {
            "start_time": first * step,
            "stop_time": (first + num_steps) * step,
            "condition": number % num_conditions,
            "split": np.where(repeat < 7, "train", np.where(repeat < 8, "val", "test")),
        }
    )
    return table, (first[:, None] + np.arange(num_steps) + 0.5) * step
