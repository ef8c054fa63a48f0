"""Several imaging planes on one clock, by holding each plane's last frame.

Nothing is interpolated: a value at time t was measured at or before t, so that a prediction made
at t has not seen the future.
"""

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pandas as pd

from nwbdyn.data.clock import increasing
from nwbdyn.nwb.read.objects import NwbObject
from nwbdyn.recording import LazyArray, Neurons


def merge(
    planes: list[tuple[LazyArray, np.ndarray]],
) -> tuple[LazyArray, np.ndarray, str]:
    """All planes' ROIs side by side on the clock of the slowest plane (of equals, the latest).

    Args:
        planes: for each, data (num_frames, num_rois) and timestamps (num_frames,) seconds.

    Returns:
        data (num_ticks, sum of num_rois), timestamps (num_ticks,), and what was done, in words.
    """
    kept = [np.flatnonzero(increasing(timestamps)) for _, timestamps in planes]
    clocks = [times[frames] for (_, times), frames in zip(planes, kept, strict=True)]
    reference = max(range(len(planes)), key=lambda i: (_median_interval(clocks[i]), clocks[i][0]))
    ticks = clocks[reference]
    # from the first frame of every plane to the end of the one that stops first (plus one frame)
    first = max(clock[0] for clock in clocks)
    last = min(clock[-1] + _median_interval(clock) for clock in clocks)
    ticks = ticks[(ticks >= first) & (ticks < last)]
    frames = [
        rows[np.searchsorted(clock, ticks, side="right") - 1]
        for rows, clock in zip(kept, clocks, strict=True)
    ]
    widths = [data.shape[1] for data, _ in planes]
    shared = all(np.array_equal(clock, clocks[0]) for clock in clocks)
    words = f"{len(planes)} planes with {sum(widths)} ROIs"
    words += " on one clock" if shared else " on their own clocks, each plane's last frame held"

    def read(key: Any) -> np.ndarray:
        time, channel = key if isinstance(key, tuple) and len(key) == 2 else (key, slice(None))
        if isinstance(time, tuple) or time is Ellipsis:
            time = slice(None)
        ticked = np.atleast_1d(np.arange(len(ticks))[time])
        parts = [
            _frames(data, plane[ticked]) for (data, _), plane in zip(planes, frames, strict=True)
        ]
        joined = np.concatenate(parts, axis=1)  # (num_asked, sum of num_rois)
        return (joined[0] if np.ndim(np.arange(len(ticks))[time]) == 0 else joined)[..., channel]

    dtype = np.result_type(*[data.dtype for data, _ in planes])
    merged = LazyArray(
        read,
        (len(ticks), sum(widths)),
        dtype,
        stored=lambda: stored_in_all([data for data, _ in planes]),
        rows_together=max(data.rows_together for data, _ in planes),
    )
    return merged, ticks, words


def stored_in_all(parts: Sequence[LazyArray]) -> int | None:
    """Bytes of several arrays in the file; None where one of them is not known."""
    sizes = [part.stored_bytes for part in parts]
    known = [size for size in sizes if size is not None]
    return sum(known) if len(known) == len(sizes) else None


def stack_neurons(planes: list[tuple[NwbObject, Neurons]]) -> Neurons:
    """One table for all planes: a `plane` column, and ids made unique by it where they repeat."""
    tables = [neurons.table.assign(plane=name_of(found, neurons)) for found, neurons in planes]
    table = pd.concat(tables, ignore_index=True)
    if table["id"].duplicated().any():
        table = table.assign(id=table["plane"] + "/" + table["id"].astype(str))
    paths = ", ".join(neurons.table_path or found.path for found, neurons in planes)
    first = np.cumsum([0, *(len(neurons) for _, neurons in planes)])
    known = [neurons.overlaps for _, neurons in planes]
    shifted = [
        pairs + np.array([start, start, 0])
        for start, pairs in zip(first, known, strict=False)
        if pairs is not None
    ]
    stated = [neurons.micrometres for _, neurons in planes if neurons.micrometres is not None]
    alike = len(stated) == len(planes) and all(np.array_equal(one, stated[0]) for one in stated)
    return Neurons(
        table,
        "roi",
        paths,
        overlaps=np.concatenate(shifted) if len(shifted) == len(planes) else None,
        micrometres=stated[0] if alike else None,
    )


def name_of(found: NwbObject, neurons: Neurons) -> str:
    """What a plane is called: its ROI table's name, else its series' name."""
    return PurePosixPath(neurons.table_path or found.path).name


def _frames(data: LazyArray, frames: np.ndarray) -> np.ndarray:
    """Rows of `data`, which may repeat, read as one block."""
    if not len(frames):
        return np.empty((0, data.shape[1]), dtype=data.dtype)
    first, last = int(frames.min()), int(frames.max())
    return data[first : last + 1][frames - first]


def _median_interval(timestamps: np.ndarray) -> float:
    return float(np.median(np.diff(timestamps)))
