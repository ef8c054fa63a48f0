"""Selection of neurons by the columns of their table."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from nwbdyn.data import conditions, observation
from nwbdyn.data.conditions import Condition
from nwbdyn.errors import DataError
from nwbdyn.recording import Array, LazyArray, Note, Recording, SpikeTimes, Traces


def where(recording: Recording, condition: str) -> Recording:
    """The recording with only the neurons for which `condition` holds; arrays stay lazy.

    Beside the columns of the neurons' table, a condition on units may use, where the table has no
    such column, `num_spikes` and `firing_rate` (Hz): the spikes stored, and these divided by the
    time observed, or by the time from the first spike of all units to the last; and
    `observed_from` and `observed_until`, the seconds between which a unit was observed.

    Args:
        recording: open; the result shares its file.
        condition: in terms of the neurons' columns, in the grammar of `nwbdyn.data.conditions`, for
            example "quality == 'good' and firing_rate > 0.5". Unknown values (NaN) do not hold.

    Raises:
        ConfigError: the condition is not in the grammar, or is not true or false per neuron.
        DataError: no neuron is left.
    """
    neurons = recording.neurons
    parsed = conditions.parse(condition, columns=list(map(str, neurons.table.columns)))
    rows = np.flatnonzero(conditions.holds(parsed, _with_rates(recording, parsed)))
    if not len(rows):
        raise DataError(
            f"None of the {len(neurons)} neurons satisfies {condition!r}. "
            "`nwbdyn inspect` shows their columns."
        )
    activity = recording.activity
    note = Note(
        "selected-neurons",
        neurons.table_path or "neurons",
        f"{len(rows)} of {len(neurons)} neurons kept, where {condition}",
    )
    neurons, notes = neurons.take(rows), [*recording.notes, note]
    if isinstance(activity, SpikeTimes):
        activity = _units(activity, rows)
        notes = [one for one in notes if one.code not in observation.CODES]
        notes += observation.notes(activity, neurons)
    else:
        activity = _columns(activity, rows)
    return replace(
        recording,
        neurons=neurons,
        activity=activity,
        notes=tuple(notes),
        chosen=recording.chosen | {"where": _joined(recording.chosen.get("where"), condition)},
    )


def _joined(before: str | None, condition: str) -> str:
    return condition if before is None else f"({before}) and ({condition})"


def _with_rates(recording: Recording, condition: Condition) -> pd.DataFrame:
    """The neurons' table, with columns from the spikes if the condition names them."""
    table, spikes = recording.neurons.table, recording.activity
    if not isinstance(spikes, SpikeTimes):
        return table
    counts = np.diff(spikes.index, prepend=0)
    if "num_spikes" in condition.columns and "num_spikes" not in table:
        table = table.assign(num_spikes=counts)
    if "firing_rate" in condition.columns and "firing_rate" not in table:
        table = table.assign(firing_rate=counts / _seconds(spikes, counts))
    for name, values in observation.columns(spikes).items():
        if name in condition.columns and name not in table:
            table = table.assign(**{name: values})
    return table


def _seconds(spikes: SpikeTimes, counts: np.ndarray) -> float | np.ndarray:
    """Time in which each unit was observed, else from the first spike of all units to the last."""
    if spikes.unit_intervals is not None:
        own = [
            np.nan if one is None else np.ptp(one, axis=1).sum() for one in spikes.unit_intervals
        ]
        longest = np.nanmax(own)
        return np.where(np.isnan(own), longest, own)
    if spikes.intervals is not None:
        return float(np.sum(spikes.intervals[:, 1] - spikes.intervals[:, 0]))
    ends = np.concatenate([[0], spikes.index])
    spoken = np.flatnonzero(counts)
    first = min((spikes.times[int(ends[unit])] for unit in spoken), default=0.0)
    last = max((spikes.times[int(ends[unit + 1]) - 1] for unit in spoken), default=np.nan)
    return float(last - first)


def _units(spikes: SpikeTimes, rows: np.ndarray) -> SpikeTimes:
    ends = np.concatenate([[0], spikes.index])
    starts, counts = ends[rows], np.diff(ends)[rows]
    index = np.cumsum(counts)

    def read(key: Any) -> np.ndarray:
        if not isinstance(key, slice) or key.step not in (None, 1):
            return read(slice(None))[key]
        begin, end, _ = key.indices(int(index[-1]))
        parts = [
            spikes.times[int(start + max(begin - first, 0)) : int(start + min(end - first, count))]
            for start, count, first in zip(starts, counts, index - counts, strict=True)
            if begin < first + count and end > first
        ]
        return np.concatenate(parts) if parts else np.empty(0)

    times = LazyArray(
        read, (int(index[-1]),), np.dtype(np.float64), stored=lambda: _stored(spikes.times)
    )
    intervals, unit_intervals = spikes.intervals, spikes.unit_intervals
    if unit_intervals is not None:
        intervals, unit_intervals = observation.common([unit_intervals[row] for row in rows])
    return replace(
        spikes, times=times, index=index, intervals=intervals, unit_intervals=unit_intervals
    )


def _columns(traces: Traces, rows: np.ndarray) -> Traces:
    data = traces.data

    def read(key: Any) -> np.ndarray:
        time, channel = key if isinstance(key, tuple) and len(key) == 2 else (key, slice(None))
        if isinstance(time, tuple):
            time = slice(None)
        # whole frames are read: chunks hold many neurons, and picking columns in HDF5 is slow
        return data[time][..., rows[channel]]

    kept = LazyArray(
        read,
        (data.shape[0], len(rows)),
        data.dtype,
        stored=lambda: _stored(data),
        rows_together=data.rows_together if isinstance(data, LazyArray) else 1,
    )
    return replace(traces, data=kept)


def _stored(array: Array) -> int | None:
    """Stored bytes of the whole array: an upper limit for reading a part of it."""
    return array.stored_bytes if isinstance(array, LazyArray) else None
