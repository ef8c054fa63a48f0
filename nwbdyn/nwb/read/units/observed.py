"""`obs_intervals` of a Units table -> when each unit was observed.

Files that were written by hand or by MATLAB store them without an index, with two rows instead of
two columns, with open ends, or with single intervals turned round. What cannot be read costs the
unit it belongs to, and no other.
"""

import numpy as np

from nwbdyn.data.spike_trains import digits, extent
from nwbdyn.nwb.read import tables
from nwbdyn.nwb.read.objects import NwbIndex, NwbObject, has, path_of
from nwbdyn.recording import Array, LazyArray, SpikeTimes

FAR_BEYOND = 50.0  # times the end of the spikes; intervals that end later are no seconds
MILLISECONDS = 1e-3  # seconds
LOOKED_AT = 2_000  # spike times, before all of them are read


def read(
    contents: NwbIndex, item: NwbObject, times: LazyArray, index: np.ndarray, seconds: float
) -> tuple[np.ndarray | None, ...] | None:
    """(num_intervals, 2) seconds of each unit, None for a unit without; None where none has any.

    Args:
        contents: the open file; notes are added to it.
        item: the Units table.
        times: spike times of all units, seconds.
        index: (num_units,) end of each unit's spikes.
        seconds: in one unit of the spike times, where they were scaled as asked.
    """
    dataset = contents.dataset(item.group, "obs_intervals")
    if dataset is None:
        return None
    where, num_units = path_of(dataset), len(index)
    rows = _rows(contents, item, num_units)
    if rows is None:
        return None
    usable = [_usable(one) for one in rows]
    _note_repairs(contents, where, rows, usable)
    if not any(len(one) for one in usable):
        return None
    known = SpikeTimes(times, index)
    usable = _in_seconds(contents, where, usable, known, seconds)
    if any(np.isinf(one).any() for one in usable):
        usable = _ended(contents, where, usable, known)
    return tuple(one if len(one) else None for one in usable)


def _rows(contents: NwbIndex, item: NwbObject, num_units: int) -> list[np.ndarray] | None:
    """(num_intervals, 2) of each unit as stored; None with a note where that cannot be read."""
    dataset = contents.dataset(item.group, "obs_intervals")
    assert dataset is not None
    where, shape = path_of(dataset), " x ".join(map(str, dataset.shape))
    stored = tables.values(contents, dataset) if dataset.dtype.kind in "iuf" else None
    if stored is None or stored.ndim != 2 or 2 not in stored.shape:
        _ignored(contents, where, f"{shape} values are not start and stop times")
        return None
    stored = stored.astype(np.float64)
    indexed = has(item.group, "obs_intervals_index")
    index = _index(contents, item) if indexed else None
    if indexed and index is None:
        return None
    expected = num_units if index is None else int(index[-1]) if len(index) else 0
    if _is_turned(stored, expected):
        contents.note(
            "transposed", where, f"is stored {shape}, intervals last; it was turned round"
        )
        stored = stored.T
    if index is None:
        if len(stored) != num_units:
            reason = f"{shape} without an index is not one interval for each of {num_units} units"
            _ignored(contents, where, reason)
            return None
        contents.note("no-interval-index", where, "has no index; read as one interval per unit")
        index = np.arange(1, num_units + 1)
    if len(index) != num_units or expected != len(stored):
        reason = f"{shape} with its index is not start and stop times of {num_units} units"
        _ignored(contents, where, reason)
        return None
    return tables.rows(stored, index)


def _is_turned(stored: np.ndarray, expected: int) -> bool:
    """True for a row of starts above a row of stops.

    Two intervals in two columns fit either way; turned ones last 0 s as they are stored, and more
    than 0 s turned round.
    """
    if stored.shape != (2, 2):
        return stored.shape[1] != 2
    lasting, turned = np.diff(stored, axis=1), np.diff(stored, axis=0)
    return expected == 2 and bool(np.all(lasting == 0) and np.all(turned > 0))


def _index(contents: NwbIndex, item: NwbObject) -> np.ndarray | None:
    dataset = contents.dataset(item.group, "obs_intervals_index")
    stored = None if dataset is None else tables.whole_numbers(contents, dataset)
    if stored is None or np.any(np.diff(stored, prepend=0) < 0):
        where = f"{item.path}/obs_intervals"
        _ignored(contents, where, "its index is not a list of increasing row ends")
        return None
    return stored


def _ignored(contents: NwbIndex, where: str, reason: str) -> None:
    text = f"{reason}; they are ignored, so all times count as observed"
    contents.note("bad-intervals", where, text, important=True)


def _usable(intervals: np.ndarray) -> np.ndarray:
    """Intervals with a start and a stop, those that are stored backwards turned round."""
    known = intervals[~np.isnan(intervals).any(axis=1)]
    ordered = np.sort(known, axis=1)
    return ordered[ordered[:, 0] < ordered[:, 1]]


def _note_repairs(
    contents: NwbIndex, where: str, rows: list[np.ndarray], usable: list[np.ndarray]
) -> None:
    without = sum(not len(one) for one in usable)
    unknown = sum(bool(np.isnan(one).any()) for one in rows)
    turned = sum(int((one[:, 1] < one[:, 0]).sum()) for one in rows)
    units = f"of {len(rows)} units"
    if unknown:
        reason = f"intervals of {unknown} {units} have no start or no stop (NaN); left out"
        contents.note("bad-intervals", where, reason)
    if turned:
        reason = f"{turned} intervals {units} stop before they start; they were turned round"
        contents.note("reversed-intervals", where, reason, important=True)
    if without == len(rows):
        _ignored(contents, where, "no unit states an interval of more than 0 s")
    elif without:
        reason = f"{without} {units} state no interval; they count as observed wherever others are"
        contents.note("unstated-intervals", where, reason)


def _in_seconds(
    contents: NwbIndex,
    where: str,
    intervals: list[np.ndarray],
    spikes: SpikeTimes,
    seconds: float,
) -> list[np.ndarray]:
    """The intervals in seconds: scaled like the spike times, or read as ms, where they fit so."""
    edges = np.concatenate(intervals).ravel()
    edges = edges[np.isfinite(edges)]
    if not len(edges) or edges.max() <= FAR_BEYOND * _late_spike(spikes.times):
        return intervals
    if seconds != 1.0:
        contents.note(
            "spike-time-unit", where, f"are multiplied by {seconds:g}, as spike times are"
        )
        return [one * seconds for one in intervals]
    span = extent(spikes)
    if span is None or edges.max() <= FAR_BEYOND * span[1]:
        return intervals
    low, high = edges.min() * MILLISECONDS, edges.max() * MILLISECONDS
    beyond = f"end at {digits(edges.max())}, but no unit fires after {digits(span[1])} s"
    if low <= span[0] and span[1] <= high <= 2 * span[1]:
        reason = f"{beyond}, so they are read as milliseconds"
        contents.note("interval-unit", where, reason, important=True)
        return [one * MILLISECONDS for one in intervals]
    reason = f"{beyond}; correct the file if they are not seconds"
    contents.note("interval-unit", where, reason, important=True)
    return intervals


def _late_spike(times: Array) -> float:
    """The latest of the last spike times stored, at least 0."""
    seen = times[-LOOKED_AT:]
    return float(np.max(seen, where=np.isfinite(seen), initial=0.0))


def _ended(
    contents: NwbIndex, where: str, intervals: list[np.ndarray], spikes: SpikeTimes
) -> list[np.ndarray]:
    """Intervals without an end last until the last spike of all units, likewise their beginning."""
    span = extent(spikes)
    if span is None:
        return [one[np.isfinite(one).all(axis=1)] for one in intervals]
    number = sum(bool(np.isinf(one).any()) for one in intervals)
    first, last = np.floor(span[0] * 1000) / 1000, np.floor(span[1] * 1000 + 1) / 1000
    reason = (
        f"intervals of {number} units are open; they reach from the first spike or to the last, "
        f"{digits(span[0])} to {digits(span[1])} s"
    )
    contents.note("open-intervals", where, reason)
    ended = [np.nan_to_num(one, posinf=last, neginf=first) for one in intervals]
    return [one[one[:, 0] < one[:, 1]] for one in ended]
