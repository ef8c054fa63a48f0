"""Which neurons of several recordings are the same: by subject and an identifying column."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from nwbdyn.errors import DataError
from nwbdyn.fitting.task import FitTask


def global_rows(problems: Mapping[str, FitTask], column: str | None) -> dict[str, np.ndarray]:
    """session -> (N,) int, the number of each neuron among those of all sessions.

    Raises:
        DataError: a recording without that column, or in which it tells no neuron from another.
    """
    known: dict[tuple[str, str], int] = {}
    rows, next_row = {}, 0
    for name, problem in problems.items():
        keys = _identities(problem, column)
        row = np.zeros(len(keys), dtype=np.int64)
        for neuron, key in enumerate(keys):
            if key is None or key not in known:
                row[neuron] = next_row
                next_row += 1
                if key is not None:
                    known[key] = int(row[neuron])
            else:
                row[neuron] = known[key]
        rows[name] = row
    return rows


def _identities(problem: FitTask, column: str | None) -> list[tuple[str, str] | None]:
    """(subject, entry) of each neuron, None for a neuron without identity."""
    table, where = problem.binned.neurons.table, problem.recording.source.name
    if column is None:
        return [None] * len(table)
    if column not in table:
        has = ", ".join(map(str, table.columns))
        raise DataError(f"The neurons of {where} have no column {column!r}; they have: {has}.")
    subject = str(problem.recording.subject.get("subject_id", ""))
    entries = [entry(value) for value in table[column]]
    unclear = repeated(entries)
    if unclear and set(entries) <= {None, *unclear}:
        raise DataError(
            f"Column {column!r} of {where} gives {unclear[0]!r} to {entries.count(unclear[0])} "
            "neurons, and no neuron an entry of its own; choose a column that tells them apart."
        )
    return [None if name is None or name in unclear else (subject, name) for name in entries]


def repeated(entries: Sequence[str | None]) -> list[str]:
    """Entries that several neurons of one recording share: they identify none of them."""
    count = Counter(name for name in entries if name is not None)
    return sorted(name for name, number in count.items() if number > 1)


def entry(value: object) -> str | None:
    """An identifier as text, the same for 5, 5.0 and "5"; None for an empty one."""
    if pd.isna(value) or not str(value).strip():
        return None
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        value = int(value)
    return str(value).strip()
