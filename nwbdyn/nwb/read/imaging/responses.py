"""One readable series of ROI responses, and several of them as one."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import h5py
import numpy as np

from nwbdyn.nwb.read.objects import NwbObject, path_of
from nwbdyn.recording import LazyArray


@dataclass(frozen=True)
class Response:
    """A series with its times and ROIs, or several series of one ROI table put together."""

    series: NwbObject  # of several the first
    data: LazyArray  # (num_frames, num_rois)
    timestamps: np.ndarray  # (num_frames,) seconds, as stored
    rows: np.ndarray  # (num_rois,) rows of the ROI table
    table: h5py.Group | None  # the ROI table
    plane_rate: float | None  # Hz, as the imaging plane states it
    paths: tuple[str, ...]  # of all the series
    numbered: bool = False  # the rows are not known; ROIs are numbered from 0

    @property
    def table_path(self) -> str | None:
        return None if self.table is None else path_of(self.table)

    @property
    def name(self) -> str:
        """Name of its plane: that of its ROI table, else of its series."""
        return (self.table_path or self.series.path).rsplit("/", 1)[-1]

    @property
    def start(self) -> float:
        """Seconds, of the first frame with a time."""
        return float(np.nanmin(self._finite()))

    @property
    def stop(self) -> float:
        """Seconds, of the last frame with a time."""
        return float(np.nanmax(self._finite()))

    @property
    def interval(self) -> float:
        """Seconds from frame to frame."""
        steps = np.diff(self._finite())
        return float(np.median(steps[steps > 0]))

    def span(self) -> str:
        return f"{self.start:,.1f} to {self.stop:,.1f} s"

    def _finite(self) -> np.ndarray:
        return self.timestamps[np.isfinite(self.timestamps)]


def side_by_side(parts: Sequence[Response]) -> Response:
    """Series of one clock as one; an ROI that several hold is taken from the first of them."""
    if len(parts) == 1:
        return parts[0]
    rows = np.concatenate([part.rows for part in parts])
    which = np.repeat(np.arange(len(parts)), [len(part.rows) for part in parts])
    column = np.concatenate([np.arange(len(part.rows)) for part in parts])
    rows, first = np.unique(rows, return_index=True)
    which, column = which[first], column[first]

    def read(key: Any) -> np.ndarray:
        time, channel = two_axes(key)
        some = np.atleast_1d(which[channel])
        blocks = {part: parts[part].data[time] for part in np.unique(some)}
        columns = zip(some, np.atleast_1d(column[channel]), strict=True)
        joined = np.stack([blocks[part][..., at] for part, at in columns], axis=-1)
        return joined[..., 0] if np.ndim(which[channel]) == 0 else joined

    return _of(parts, read, parts[0].timestamps, rows)


def one_after_another(
    parts: Sequence[Response], rows: np.ndarray, same_time: float = 0.0
) -> Response:
    """Series of the same ROIs joined in time; frames before the end of an earlier one are left out.

    Args:
        parts: in the order of time.
        rows: rows of the ROI table that every part holds.
        same_time: of a frame interval; a frame this close behind the end of an earlier series is
            that series' last.
    """
    if len(parts) == 1 and np.array_equal(parts[0].rows, rows):
        return parts[0]
    columns = [_columns_of(part, rows) for part in parts]
    frames, last = [], -np.inf
    for part in parts:
        later = ~(part.timestamps <= last + same_time * part.interval)
        frames.append(np.flatnonzero(later))
        last = max(last, part.stop)
    which = np.repeat(np.arange(len(parts)), [len(some) for some in frames])
    row = np.concatenate(frames)
    times = np.concatenate([p.timestamps[f] for p, f in zip(parts, frames, strict=True)])

    def read(key: Any) -> np.ndarray:
        time, channel = two_axes(key)
        wanted = np.arange(len(row))[time]
        some = np.atleast_1d(wanted)
        blocks = []
        for number, part in enumerate(parts):
            inside = row[some[which[some] == number]]
            if len(inside):
                begin = int(inside.min())
                block = part.data[begin : int(inside.max()) + 1][inside - begin]
                blocks.append(block[:, columns[number]])
        joined = np.concatenate(blocks) if blocks else np.empty((0, len(rows)), dtype)
        # frames come run by run: back into the order that was wanted
        joined = joined[np.argsort(np.argsort(which[some], kind="stable"), kind="stable")]
        return (joined[0] if np.ndim(wanted) == 0 else joined)[..., channel]

    dtype = np.result_type(*[part.data.dtype for part in parts])
    return _of(parts, read, times, rows)


def two_axes(key: Any) -> tuple[Any, Any]:
    """An index of frames and ROIs, from anything that names both, frames alone, or everything."""
    parts = list(key) if isinstance(key, tuple) else [key]
    if any(part is Ellipsis for part in parts):
        at = next(i for i, part in enumerate(parts) if part is Ellipsis)
        parts[at : at + 1] = [slice(None)] * (3 - len(parts))
    parts += [slice(None)] * (2 - len(parts))
    return parts[0], parts[1]


def stored_in_all(parts: Sequence[LazyArray]) -> int | None:
    """Bytes of several arrays in the file; None where one of them is not known."""
    sizes = [part.stored_bytes for part in parts]
    known = [size for size in sizes if size is not None]
    return sum(known) if len(known) == len(sizes) else None


def _columns_of(part: Response, rows: np.ndarray) -> np.ndarray:
    order = np.argsort(part.rows, kind="stable")
    return order[np.searchsorted(part.rows[order], rows)]


def _of(parts: Sequence[Response], read: Any, timestamps: np.ndarray, rows: np.ndarray) -> Response:
    data = LazyArray(
        read,
        (len(timestamps), len(rows)),
        np.result_type(*[part.data.dtype for part in parts]),
        stored=lambda: stored_in_all([part.data for part in parts]),
        rows_together=max(part.data.rows_together for part in parts),
    )
    paths = tuple(path for part in parts for path in part.paths)
    return replace(parts[0], data=data, timestamps=timestamps, rows=rows, paths=paths)
