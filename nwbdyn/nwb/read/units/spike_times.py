"""One Units table -> spike times by unit, lazily."""

from typing import Any

import h5py
import numpy as np

from nwbdyn.data import observation
from nwbdyn.nwb.read import ranges, series, tables
from nwbdyn.nwb.read.objects import NwbIndex, NwbObject, has, number, path_of
from nwbdyn.nwb.read.units import observed
from nwbdyn.recording import LazyArray, SpikeTimes


def read(contents: NwbIndex, item: NwbObject, seconds: float) -> SpikeTimes | None:
    """The spike times of one Units table, and when its units were observed; None with a note.

    Args:
        contents: the open file; notes are added to it.
        item: the table.
        seconds: in one unit of the times.
    """
    group = item.group
    times = contents.dataset(group, "spike_times")
    if times is None:
        contents.note("no-spike-times", item.path, "the table of units has no spike_times")
        return None
    if not tables.is_list(times) or times.dtype.kind not in "iuf":
        contents.note("bad-spike-times", path_of(times), "is not a list of times")
        return None
    num_units = tables.count_rows(contents, group)
    if not num_units:
        contents.note("no-units", item.path, "the table of units has no rows")
        return None
    if not has(group, "spike_times_index"):
        reason = "has no spike_times_index, so its spikes cannot be told apart by unit"
        contents.note("no-spike-index", item.path, reason)
        return None
    index = tables.ends(contents, group, "spike_times", int(times.size))
    if index is None:
        return None
    if len(index) != num_units:
        reason = f"ends {len(index)} units, but the table has {num_units} rows; it was not aligned"
        contents.note("column-length", f"{item.path}/spike_times_index", reason)
        return None
    empty = np.flatnonzero(np.diff(index, prepend=0) == 0)
    if len(empty):
        rows = ", ".join(map(str, empty[:10])) + (", …" if len(empty) > 10 else "")
        reason = f"{len(empty)} of {num_units} units have no spikes: rows {rows}"
        contents.note("empty-units", item.path, reason)
    resolution = number(times, "resolution", float("nan"))
    in_seconds = _times(contents, times, seconds)
    if seconds == 1.0:
        advice = "--spike-time-unit ms, or a sampling rate in Hz, reads them as that"
        series.note_unit(contents, times, advice, important=True)
    else:
        contents.note("spike-time-unit", path_of(times), f"are multiplied by {seconds:g}, as asked")
    per_unit = observed.read(contents, item, in_seconds, index, seconds)
    intervals, unit_intervals = (None, None) if per_unit is None else observation.common(per_unit)
    return SpikeTimes(
        times=in_seconds,
        index=index,
        intervals=intervals,
        resolution=resolution if np.isfinite(resolution) and resolution > 0 else None,
        unit_intervals=unit_intervals,
    )


def _times(contents: NwbIndex, dataset: h5py.Dataset, seconds: float) -> LazyArray:
    """(num_spikes,) seconds, of a list that MATLAB may have stored as one row or one column."""
    if dataset.ndim == 1:
        return series.times(contents, dataset, seconds)
    in_row = dataset.shape[0] == 1

    def read(key: Any) -> np.ndarray:
        key = slice(None) if isinstance(key, tuple) and not key else key
        stored = contents.part(dataset, (0, key) if in_row else (key, 0))
        return stored.astype(np.float64, copy=False) * seconds

    size, dtype = (int(dataset.size),), np.dtype(np.float64)
    return LazyArray(read, size, dtype, stored=lambda: ranges.stored(dataset))
