"""Several Units tables of one file as one, with ids that are unique.

One probe often has one table, and every table numbers its units from 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from nwbdyn.data import observation
from nwbdyn.nwb.read.objects import NwbIndex, NwbObject
from nwbdyn.recording import LazyArray, Neurons, SpikeTimes

TABLE, STORED_ID = "table", "stored_id"  # columns of the neurons where they are needed
COMPARED = 2_000  # spike times at each end by which two tables are compared
FEWEST_SPIKES = 20  # of a unit that is looked for in another table
MOST_COMPARED = 500  # pairs of units


@dataclass(frozen=True)
class UnitsTable:
    """The units of one table, or of several read together."""

    neurons: Neurons
    descriptions: dict[str, str]  # of the table's columns
    spikes: SpikeTimes

    @property
    def path(self) -> str:
        return self.neurons.table_path or "/units"


def unique_ids(ids: np.ndarray | pd.Series) -> np.ndarray:
    """The ids as they are, or as texts in which repeated ones carry their row: "3 (row 12)"."""
    known = pd.Series(np.asarray(ids))
    repeated = known.duplicated(keep=False)
    if not repeated.any():
        return known.to_numpy()
    pairs = zip(known, repeated, strict=True)
    texts = [f"{one} (row {row})" if again else str(one) for row, (one, again) in enumerate(pairs)]
    return np.array(texts, dtype=object)


def with_unique_ids(contents: NwbIndex, neurons: Neurons) -> Neurons:
    """Make the ids unique, with a note; a column keeps those of the file."""
    ids = unique_ids(neurons.ids)
    number = int(pd.Series(neurons.ids).duplicated(keep=False).sum())
    if not number:
        return neurons
    where = f"{neurons.table_path}/id"
    reason = (
        f"{number} units share an id with another one; their row distinguishes them, as in "
        f"{ids[pd.Series(neurons.ids).duplicated(keep=False).to_numpy().argmax()]!r}, and the "
        f"column {STORED_ID!r} holds the ids of the file"
    )
    contents.note("duplicate-ids", where, reason)
    table = neurons.table.assign(id=ids, **{STORED_ID: neurons.ids})
    return Neurons(table, neurons.kind, neurons.table_path, neurons.table_object_id)


def together(contents: NwbIndex, tables: Sequence[tuple[NwbObject, UnitsTable]]) -> UnitsTable:
    """All units of several tables, in the tables' order; a copy of another table is left out."""
    kept = _without_copies(contents, tables)
    if len(kept) == 1:
        return kept[0][1]
    names = _names([one.path for one, _ in kept])
    parts = [table for _, table in kept]
    counts = ", ".join(
        f"{name} ({len(table.neurons)})" for name, table in zip(names, parts, strict=True)
    )
    paths = ", ".join(table.path for table in parts)
    column = _free(TABLE, parts)
    reason = (
        f"{len(parts)} tables of units are read together: {counts}; the column {column!r} "
        f'distinguishes them, as in --where "{column} == {names[0]!r}"'
    )
    contents.note("merged-units", paths, reason, important=kept[0][0].path == "/units")
    _note_shared(contents, names, parts)
    descriptions: dict[str, str] = {}
    for table in parts:
        descriptions |= table.descriptions
    return UnitsTable(
        neurons=Neurons(_stacked(names, column, parts), "unit", paths),
        descriptions=descriptions,
        spikes=_joined([table.spikes for table in parts]),
    )


def _free(name: str, parts: Sequence[UnitsTable]) -> str:
    """A name for a column that no table has."""
    taken = {column for part in parts for column in part.neurons.table}
    return name if name not in taken else f"units_{name}"


def _names(paths: Sequence[str]) -> list[str]:
    """The tables' names; their paths where names repeat."""
    last = [path.rsplit("/", 1)[-1] for path in paths]
    return last if len(set(last)) == len(last) else [path.lstrip("/") for path in paths]


def _stacked(names: Sequence[str], column: str, parts: Sequence[UnitsTable]) -> pd.DataFrame:
    frames = [
        part.neurons.table.assign(**{column: n}) for n, part in zip(names, parts, strict=True)
    ]
    table = pd.concat(frames, ignore_index=True)
    if table["id"].duplicated().any():
        stored = table[STORED_ID] if STORED_ID in table else pd.Series(np.nan, index=table.index)
        stored = stored.where(stored.notna(), table["id"])
        ids = table[column].astype(str) + "/" + table["id"].astype(str)
        table = table.assign(id=ids.to_numpy(dtype=object), **{STORED_ID: stored.infer_objects()})
    return table


def _joined(parts: Sequence[SpikeTimes]) -> SpikeTimes:
    """The spikes of all tables, one table after the other; they stay in the file."""
    sizes = [int(part.index[-1]) if len(part.index) else 0 for part in parts]
    first = np.concatenate([[0], np.cumsum(sizes)])
    index = np.concatenate([part.index + start for part, start in zip(parts, first, strict=False)])

    def read(key: Any) -> np.ndarray:
        if not isinstance(key, slice) or key.step not in (None, 1):
            whole = read(slice(None))
            return whole if isinstance(key, tuple) and not key else whole[key]
        begin, end, _ = key.indices(int(first[-1]))
        pieces = [
            np.asarray(part.times[int(max(begin - start, 0)) : int(min(end - start, size))])
            for part, start, size in zip(parts, first, sizes, strict=False)
            if begin < start + size and end > start
        ]
        return np.concatenate(pieces) if pieces else np.empty(0)

    def stored() -> int | None:
        each = [p.times.stored_bytes if isinstance(p.times, LazyArray) else 0 for p in parts]
        known = [size for size in each if size is not None]
        return sum(known) if len(known) == len(each) else None

    per_unit = [intervals for part in parts for intervals in _per_unit(part)]
    intervals, unit_intervals = observation.common(per_unit)
    resolutions = {part.resolution for part in parts}
    return SpikeTimes(
        times=LazyArray(read, (int(first[-1]),), np.dtype(np.float64), stored=stored),
        index=index.astype(np.int64),
        intervals=intervals,
        resolution=resolutions.pop() if len(resolutions) == 1 else None,
        unit_intervals=unit_intervals,
    )


def _per_unit(spikes: SpikeTimes) -> tuple[np.ndarray | None, ...]:
    if spikes.unit_intervals is not None:
        return spikes.unit_intervals
    return (spikes.intervals,) * len(spikes.index)


def _without_copies(
    contents: NwbIndex, tables: Sequence[tuple[NwbObject, UnitsTable]]
) -> list[tuple[NwbObject, UnitsTable]]:
    kept: list[tuple[NwbObject, UnitsTable]] = []
    for one, table in tables:
        twin = next((other for other, known in kept if _same(table.spikes, known.spikes)), None)
        if twin is None:
            kept.append((one, table))
        else:
            contents.note("more-units", one.path, f"has the same spikes as {twin.path}; read once")
    return kept


def _same(one: SpikeTimes, other: SpikeTimes) -> bool:
    if not np.array_equal(one.index, other.index):
        return False
    ours, theirs = (np.r_[it.times[:COMPARED], it.times[-COMPARED:]] for it in (one, other))
    return bool(np.array_equal(ours, theirs, equal_nan=True))


def _note_shared(contents: NwbIndex, names: Sequence[str], parts: Sequence[UnitsTable]) -> None:
    """A note where units of two tables have the same number of spikes and the same first one."""
    for later in range(1, len(parts)):
        for earlier in range(later):
            number = _shared(parts[earlier].spikes, parts[later].spikes)
            if number:
                reason = (
                    f"{number} units of {names[later]} have the spikes of units of "
                    f"{names[earlier]}, so they are fitted twice; choose one table with --where"
                )
                contents.note("shared-units", parts[later].path, reason, important=True)


def _shared(one: SpikeTimes, other: SpikeTimes) -> int:
    counts = [np.diff(it.index, prepend=0) for it in (one, other)]
    pairs = [
        (row, twin)
        for row in np.flatnonzero(counts[0] >= FEWEST_SPIKES).tolist()
        for twin in np.flatnonzero(counts[1] == counts[0][row]).tolist()
    ]
    return sum(
        bool(one.of(row)[0] == other.of(twin)[0] and one.of(row)[-1] == other.of(twin)[-1])
        for row, twin in pairs[:MOST_COMPARED]
    )
