"""Several imaging planes on one clock, by holding each plane's last frame.

Nothing is interpolated: a value at time t was measured at or before t, so that a prediction made
at t has not seen the future.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from nwbdyn.data.clock import increasing
from nwbdyn.errors import NoActivityError
from nwbdyn.nwb.read.imaging.responses import Response, stored_in_all
from nwbdyn.nwb.read.objects import NwbIndex
from nwbdyn.recording import LazyArray, Neurons

LEAST_SHARED = 0.1  # share of the shortest plane's time that all planes have in common
MOST_UNUSED = 0.01  # share of a plane's frames that a slower clock skips without a word
MOST_CUT = 0.95  # share of the longest plane's time, below which a cut changes what is fitted


def merge(contents: NwbIndex, planes: Sequence[Response]) -> tuple[LazyArray, np.ndarray]:
    """All planes' ROIs side by side on the clock of the slowest plane (of equals, the latest).

    Args:
        contents: the open file; what was done is noted.
        planes: on clocks of their own.

    Returns:
        data (num_ticks, sum of num_rois), timestamps (num_ticks,).

    Raises:
        NoActivityError: planes that were imaged one after another.
    """
    kept = [np.flatnonzero(increasing(plane.timestamps)) for plane in planes]
    clocks = [plane.timestamps[frames] for plane, frames in zip(planes, kept, strict=True)]
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
    widths = [plane.data.shape[1] for plane in planes]
    unused = [
        int(np.count_nonzero((clock >= first) & (clock < last))) - len(np.unique(held))
        for clock, held in zip(clocks, frames, strict=True)
    ]
    _note_merged(contents, planes, ticks, unused)

    def read(key: Any) -> np.ndarray:
        time, channel = key if isinstance(key, tuple) and len(key) == 2 else (key, slice(None))
        if isinstance(time, tuple) or time is Ellipsis:
            time = slice(None)
        ticked = np.atleast_1d(np.arange(len(ticks))[time])
        parts = [
            _frames(plane.data, held[ticked]) for plane, held in zip(planes, frames, strict=True)
        ]
        joined = np.concatenate(parts, axis=1)  # (num_asked, sum of num_rois)
        return (joined[0] if np.ndim(np.arange(len(ticks))[time]) == 0 else joined)[..., channel]

    dtype = np.result_type(*[plane.data.dtype for plane in planes])
    merged = LazyArray(
        read,
        (len(ticks), sum(widths)),
        dtype,
        stored=lambda: stored_in_all([plane.data for plane in planes]),
        rows_together=max(plane.data.rows_together for plane in planes),
    )
    return merged, ticks


def _note_merged(
    contents: NwbIndex, planes: Sequence[Response], ticks: np.ndarray, unused: Sequence[int]
) -> None:
    """Note how planes were put together and what that cuts; refuse planes that hardly meet.

    Args:
        contents: the open file.
        planes: on clocks of their own.
        ticks: (num_ticks,) seconds, the common clock.
        unused: frames of each plane in the common time that no tick shows.
    """
    clocks = [plane.timestamps for plane in planes]
    shared = all(np.array_equal(clock, clocks[0], equal_nan=True) for clock in clocks)
    num_rois = sum(plane.data.shape[1] for plane in planes)
    words = f"{len(planes)} planes with {num_rois} ROIs"
    words += " on one clock" if shared else " on their own clocks, each plane's last frame held"
    seconds = float(ticks[-1] - ticks[0]) if len(ticks) > 1 else 0.0
    lengths = [plane.stop - plane.start for plane in planes]
    listed = ", ".join(
        f"{name} {plane.span()} ({len(plane.timestamps):,} frames)"
        for name, plane in list(zip(unique_names(planes), planes, strict=True))[:6]
    ) + (", …" if len(planes) > 6 else "")
    if seconds < LEAST_SHARED * min(lengths):
        raise NoActivityError(
            f"{contents.file_name} has planes that were imaged one after another: {listed}. They "
            f"have {len(ticks)} frames in common. Pass --plane NAME to take one of them."
        )
    cut = seconds + 2 * max(plane.interval for plane in planes) < MOST_CUT * max(lengths)
    if cut:
        words += (
            f"; only {ticks[0]:,.1f} to {ticks[-1]:,.1f} s, {len(ticks):,} frames, are in all: "
            f"{listed}; --plane NAME takes one whole"
        )
    fast = [
        f"{number:,} of the {len(plane.timestamps):,} frames of {name}"
        for name, plane, number in zip(unique_names(planes), planes, unused, strict=True)
        if number > MOST_UNUSED * len(plane.timestamps)
    ]
    if fast:
        words += "; between the frames of the slowest plane lie, and are not used, "
        words += ", ".join(fast) + ("" if cut else "; --plane NAME takes one whole")
    paths = ", ".join(path for plane in planes for path in plane.paths)
    contents.note("merged-planes", paths, words, important=cut or bool(fast))


def stack_neurons(planes: Sequence[tuple[Response, Neurons]]) -> Neurons:
    """One table for all planes: a `plane` column, and ids made unique by it where they repeat."""
    names = unique_names([plane for plane, _ in planes])
    tables = [
        neurons.table.assign(plane=name) for name, (_, neurons) in zip(names, planes, strict=True)
    ]
    table = pd.concat(tables, ignore_index=True)
    if table["id"].duplicated().any():
        table = table.assign(id=table["plane"] + "/" + table["id"].astype(str))
    paths = ", ".join(dict.fromkeys(n.table_path or plane.series.path for plane, n in planes))
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


def unique_names(planes: Sequence[Response]) -> list[str]:
    """Names of planes: those of their ROI tables, or paths if names repeat."""
    paths = [plane.table_path or plane.series.path for plane in planes]
    names = [path.rsplit("/", 1)[-1] for path in dict.fromkeys(paths)]
    return [
        name if names.count(name) == 1 else path.lstrip("/")
        for path in paths
        for name in [path.rsplit("/", 1)[-1]]
    ]


def _frames(data: LazyArray, frames: np.ndarray) -> np.ndarray:
    """Rows of `data`, which may repeat, read as one block."""
    if not len(frames):
        return np.empty((0, data.shape[1]), dtype=data.dtype)
    first, last = int(frames.min()), int(frames.max())
    return data[first : last + 1][frames - first]


def _median_interval(timestamps: np.ndarray) -> float:
    return float(np.median(np.diff(timestamps)))
