"""Predictive influence over time: the one read-out that means the same for every model.

C_ij(t) is what one more unit of input of neuron j, in the last bin that is seen, does to the
prediction of neuron i; see `Model.influence`. It is causal, and it is taken in test windows, spread
evenly, because a transformer needs a backward pass per neuron and window.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from nwbdyn.connectivity.connectivity import Connectivity
from nwbdyn.data.splits import GAP, SPLITS
from nwbdyn.data.windows import Windows
from nwbdyn.models.base import CO_SMOOTHING, Batch, Model
from nwbdyn.progress import Progress, Report, silent
from nwbdyn.recording import COUNTS

NUM_WINDOWS = 200  # that the mean influence is taken over
KEPT_BYTES = 64 * 2**20  # of the matrices over time; entries of 1e-5 take single precision
BATCH_NUMBERS = 2**25  # entries of the influence matrices that are held at once


@dataclass(frozen=True)
class Influence:
    """Rows and columns are those of the model's connectivity."""

    mean: np.ndarray  # (N, N) float64 [post, pre] over test windows
    over_time: Connectivity  # "dense": the matrices of as many of these as KEPT_BYTES hold


def read(
    model: Model,
    windows: Windows,
    *,
    num_windows: int = NUM_WINDOWS,
    report: Report = silent,
) -> Influence:
    """The influence in evenly spaced test windows.

    Args:
        num_windows: at most.
        report: called with the number of windows before the first, and after each batch with the
            progress and the seconds left.
    """
    every = windows.starts("test")
    picked = every[_spread(len(every), num_windows)]
    rows = _rows(model, windows)
    number = max(1, KEPT_BYTES // (4 * len(rows) ** 2))
    kept = picked[_spread(len(picked), number)]
    total = np.zeros((len(rows), len(rows)))
    matrices = np.empty((len(kept), len(rows), len(rows)), np.float32)
    done, begun = 0, time.monotonic()
    report(Progress("influence", 0, len(picked), "windows"))
    for starts, part in _matrices(model, windows, "test", picked):
        total += part.sum(axis=0, dtype=np.float64)
        at = np.isin(starts, kept)
        matrices[np.searchsorted(kept, starts[at])] = part[at]
        done += len(starts)
        left = (time.monotonic() - begun) / done * (len(picked) - done)
        report(Progress("influence", done, len(picked), "windows", {"seconds left": left}))
    return Influence(total / len(picked), _over_time(model, windows, kept, matrices))


def at(model: Model, windows: Windows, times: Sequence[float]) -> Connectivity:
    """The influence in the windows that are nearest to some times, of whatever split.

    Args:
        times: seconds on the session clock.

    Returns:
        "dense", in single precision, as many windows as there are different ones, in time order.
    """
    starts = {name: windows.starts(name) for name in SPLITS[:GAP]}
    every = np.sort(np.concatenate(list(starts.values())))
    stamps = windows.binned.time[every + _seen(model, windows) - 1]
    nearest = [int(np.abs(stamps - moment).argmin()) for moment in times]
    picked = every[np.unique(nearest)]
    rows = _rows(model, windows)
    matrices = np.empty((len(picked), len(rows), len(rows)), np.float32)
    for name, own in starts.items():
        for some, part in _matrices(model, windows, name, picked[np.isin(picked, own)]):
            matrices[np.searchsorted(picked, some)] = part
    return _over_time(model, windows, picked, matrices)


def _matrices(
    model: Model, windows: Windows, split: str, picked: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """First bins of some windows of a split and their matrices (n, N, N), batch after batch."""
    rows = _rows(model, windows)
    size = max(1, min(model.config.batch_size, BATCH_NUMBERS // windows.binned.num_neurons**2))
    for batch in windows.batches(split, size) if len(picked) else ():
        starts = batch.start_bin.cpu().numpy()
        chosen = np.isin(starts, picked)
        if chosen.any():
            part = model.influence(_only(batch, chosen)).float().cpu().numpy()
            yield starts[chosen], part[:, rows[:, None], rows]


def _rows(model: Model, windows: Windows) -> np.ndarray:
    """Positions of the neurons that have a row and a column."""
    if model.target == CO_SMOOTHING:
        return np.flatnonzero(windows.split.held_in)
    return np.arange(windows.binned.num_neurons)


def _seen(model: Model, windows: Windows) -> int:
    """Bins of a window that are seen."""
    if model.target == CO_SMOOTHING and not windows.spec.forward:
        return windows.spec.context - 1  # the last one is predicted
    return windows.spec.context


def _over_time(
    model: Model, windows: Windows, starts: np.ndarray, matrices: np.ndarray
) -> Connectivity:
    """The matrices on the session clock, each at the last bin that its window shows."""
    binned, seen = windows.binned, _seen(model, windows)
    counts = binned.quantity == COUNTS
    change = "log rate" if counts else "next value"
    unit = "spike" if model.target == CO_SMOOTHING else "unit"
    return Connectivity(
        form="dense",
        time=binned.time[starts + seen - 1],
        window=(-(seen - 0.5) * binned.bin_width, 0.5 * binned.bin_width),
        neurons=binned.neurons.take(_rows(model, windows)),
        measure=f"predictive influence: {change} of the receiver per {unit} of the sender's input",
        causal=True,
        arrays={"weights": matrices},
    )


def _spread(number: int, most: int) -> np.ndarray:
    """At most so many positions among `number`, evenly spaced."""
    return np.unique(np.linspace(0, number - 1, min(number, most)).astype(int))


def _only(batch: Batch, chosen: np.ndarray) -> Batch:
    """Some windows of a batch; `chosen` is (B,) bool."""
    flags = torch.as_tensor(chosen, device=batch.activity.device)
    return replace(
        batch,
        activity=batch.activity[flags],
        target=batch.target[flags],
        valid=batch.valid[flags],
        covariates=batch.covariates[flags],
        start_bin=batch.start_bin[flags],
        lower=None if batch.lower is None else batch.lower[flags],
    )
