"""Measurement artefacts that make two neurons look coupled.

ROIs that lie on one another share light, units sorted from one channel share spikes, and whatever
is shared shows up as a coupling in both directions. A flag is a warning beside an edge. It removes
nothing; summaries are given with flagged edges and without.
"""

import numpy as np
import pandas as pd

from nwbdyn.recording import Neurons, Note

CLOSE = 20.0  # micrometres between the centres of two ROIs
COINCIDENT = 0.3  # correlation of what is left over in the same bin
SAME_CHANNEL, ADJACENT_CHANNEL = "same channel", "adjacent channel"
OVERLAP, CLOSE_ROIS, COINCIDENCE = "overlapping ROIs", "close ROIs", "coincidence"


def flags(neurons: Neurons, residual: np.ndarray | None) -> tuple[np.ndarray, tuple[Note, ...]]:
    """Comma-separated flags of each pair of neurons, and notes on flags that cannot be computed.

    Args:
        neurons: with `channel` of units, or masks and x, y and z of ROIs, where the file has them.
        residual: (n, N) recorded minus predicted in training bins; NaN is left out. Two neurons
            whose residuals correlate by COINCIDENT or more coincide beyond what the past explains.
            None where predictions saw the bin itself, and nothing can be told.

    Returns:
        (N, N) str, the same for both directions, "" on the diagonal; and notes.
    """
    by_kind: dict[str, np.ndarray] = {}
    notes: tuple[Note, ...] = ()
    if residual is None:
        reason = "rates of held-in neurons are reconstructions; coincidence is not flagged"
        notes = (Note("coincidence-unknown", "edges", reason),)
    else:
        by_kind = {COINCIDENCE: np.abs(_correlation(residual)) >= COINCIDENT}
    if neurons.kind == "unit" and "channel" in neurons.table:
        channel = pd.to_numeric(neurons.table["channel"], errors="coerce").to_numpy(float)
        channel = np.where(channel >= 0, channel, np.nan)
        apart = np.abs(channel[:, None] - channel)
        by_kind = {SAME_CHANNEL: apart == 0, ADJACENT_CHANNEL: apart == 1} | by_kind
    elif neurons.kind == "roi" and {"x", "y"} <= set(neurons.table):
        close, more = _close(neurons)
        by_kind, notes = {CLOSE_ROIS: close} | by_kind, (*notes, *more)
    if neurons.overlaps is not None:
        by_kind = {OVERLAP: _overlapping(neurons)} | by_kind
    text = np.full((len(neurons), len(neurons)), "", dtype=object)
    for words, pairs in by_kind.items():
        pairs = pairs & ~np.eye(len(neurons), dtype=bool)
        text[pairs] = [f"{before}, {words}" if before else words for before in text[pairs]]
    return text, notes


def _overlapping(neurons: Neurons) -> np.ndarray:
    """(N, N) bool, masks that have a point in common."""
    assert neurons.overlaps is not None  # flags
    first, second = neurons.overlaps[:, :2].astype(int).T
    shared = np.zeros((len(neurons), len(neurons)), dtype=bool)
    shared[first, second] = shared[second, first] = True
    return shared


def _close(neurons: Neurons) -> tuple[np.ndarray, tuple[Note, ...]]:
    """(N, N) bool, centres closer than CLOSE; all False if positions are not in micrometres."""
    axes = [axis for axis in ("x", "y", "z") if axis in neurons.table]
    position = neurons.table[axes].apply(pd.to_numeric, errors="coerce").to_numpy(float)
    size = neurons.micrometres
    stated = size is not None and len(size) >= len(axes)
    if size is not None and stated:
        position = position * size[: len(axes)]
    apart = np.sqrt(np.square(position[:, None] - position).sum(axis=-1))
    others = ~np.eye(len(neurons), dtype=bool) & np.isfinite(apart)
    if not others.any():
        return np.zeros(apart.shape, dtype=bool), ()
    if not stated and np.median(apart[others]) < CLOSE:
        reason = (
            f"half of all ROIs lie within {np.median(apart[others]):.3g} of each other in the "
            "file's unit, which is then not micrometres; close ROIs are not flagged"
        )
        return np.zeros(apart.shape, dtype=bool), (Note("positions-unit", "edges", reason),)
    unit = "is that of the imaging plane's grid" if stated else "is taken as micrometres"
    reason = f"ROIs within {CLOSE:g} um are flagged as close; the unit of positions {unit}"
    return apart < CLOSE, (Note("positions-unit", "edges", reason),)


def _correlation(residual: np.ndarray) -> np.ndarray:
    """(N, N) correlation over the rows that are whole; 0 with a neuron that does not vary."""
    rows = residual[np.isfinite(residual).all(axis=1)].astype(np.float64)
    if len(rows) < 3:
        return np.zeros((residual.shape[1],) * 2)
    rows = rows - rows.mean(axis=0)
    size = np.sqrt(np.square(rows).sum(axis=0))
    rows = np.divide(rows, size, out=np.zeros_like(rows), where=size > 0)
    return rows.T @ rows
