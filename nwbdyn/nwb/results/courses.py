"""Couplings over time for viewers, averaged until they fit a budget of bytes.

The exact couplings are in the components of the connectivity.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from nwbdyn.connectivity import edge_table
from nwbdyn.connectivity.connectivity import Connectivity
from nwbdyn.nwb.results import storage
from nwbdyn.recording import Note
from nwbdyn.results.fit_results import Fit

MOST_COURSES = 256  # strongest edges whose weights are written over time
COURSE_SHARE = 0.06  # of the activity's bytes, that a series of courses may take
LEAST_COURSE_BYTES = 2**17  # that it may take in any case
BYTES_PER_VALUE = 2  # of a rounded course, compressed
BLOCK_VALUES = 2**24  # of courses evaluated at once


@dataclass(frozen=True)
class Courses:
    """Numbers over time for viewers, averaged over as many windows as the bytes demand."""

    values: np.ndarray  # (num_times, num_columns) float32
    time: np.ndarray  # (num_times,) seconds, means of the averaged windows
    window: tuple[float, float]  # seconds around `time` that a sample reaches
    num_averaged: int


def budget(fit: Fit) -> int:
    """Values that a series of courses may have."""
    activity = 4 * math.prod(fit.predictions.values.shape)
    return int(max(LEAST_COURSE_BYTES, COURSE_SHARE * activity)) // BYTES_PER_VALUE


def weights_over_time(
    connectivity: Connectivity, edges: pd.DataFrame, budget: int, notes: list[Note]
) -> Courses | None:
    """Weights of the strongest edges; None for a constant coupling. Notes the edges left out."""
    edges = edge_table.directed(edges)
    num_windows = connectivity.num_windows
    if connectivity.form == "static" or num_windows < 2:
        return None
    # Not more edges than samples, or time is no longer the long axis.
    kept = min(len(edges), MOST_COURSES, num_windows)
    while kept and kept > -(-num_windows // _num_averaged(num_windows, kept, budget)):
        kept -= 1
    if kept < len(edges):
        reason = f"weights over time are written for the {kept} strongest of {len(edges)} edges"
        notes.append(Note("left-out", "edge_weights", reason))
    if not kept:
        return None
    pre, post = (edges[f"{side}_id"][:kept].to_numpy() for side in ("pre", "post"))

    def evaluate(mask: np.ndarray) -> np.ndarray:
        return connectivity.over_time(pre=pre, post=post, mask=mask).to_numpy()

    return _courses(connectivity, kept, budget, evaluate)


def types_over_time(connectivity: Connectivity, budget: int, notes: list[Note]) -> Courses | None:
    """Mean weights of pairs of cell types; None where there are none, or too many."""
    neurons, num_windows = connectivity.neurons.table, connectivity.num_windows
    if connectivity.form == "static" or num_windows < 2 or "cell_type" not in neurons:
        return None
    num_pairs = len(set(storage.texts(neurons["cell_type"])) - {""}) ** 2
    if not num_pairs:
        return None
    num_samples = -(-num_windows // _num_averaged(num_windows, num_pairs, budget))
    if num_pairs > num_samples:
        reason = f"{num_pairs} pairs of cell types are more than {num_samples} samples of time"
        notes.append(Note("left-out", "cell_types", reason))
        return None

    def evaluate(mask: np.ndarray) -> np.ndarray:
        return connectivity.by_cell_type(mask=mask).to_numpy().reshape(mask.sum(), -1)

    return _courses(connectivity, num_pairs, budget, evaluate)


def _courses(
    connectivity: Connectivity,
    num_columns: int,
    budget: int,
    evaluate: Callable[[np.ndarray], np.ndarray],
) -> Courses:
    """Courses within the budget; `evaluate` gives (windows, columns) for a mask of windows."""
    num_windows = connectivity.num_windows
    together = _num_averaged(num_windows, num_columns, budget)
    firsts = np.arange(0, num_windows, together)
    step = max(1, BLOCK_VALUES // (together * num_columns)) * together  # windows evaluated at once
    parts = []
    for start in range(0, num_windows, step):
        mask = np.zeros(num_windows, bool)
        mask[start : start + step] = True
        values = evaluate(mask)
        inside = np.arange(0, len(values), together)
        sizes = np.diff(np.r_[inside, len(values)])[:, None]
        parts.append((np.add.reduceat(values, inside, axis=0) / sizes).astype(np.float32))
    sizes = np.diff(np.r_[firsts, num_windows])
    time = np.add.reduceat(connectivity.time, firsts) / sizes
    reach = float((connectivity.time[firsts + sizes - 1] - connectivity.time[firsts]).max()) / 2
    before, after = connectivity.window
    return Courses(np.concatenate(parts), time, (before - reach, after + reach), together)


def _num_averaged(num_windows: int, num_columns: int, budget: int) -> int:
    """Windows of one sample, so that all samples stay within the budget of values."""
    return max(1, -(-num_windows * num_columns // budget))
