"""Behavioural states from an interval table, for coupling in each of them."""

import numpy as np
import pandas as pd

from nwbdyn.errors import DataError
from nwbdyn.recording import Recording

MOST_STATES = 6


def of_recording(recording: Recording, choice: str) -> pd.DataFrame:
    """start_time, stop_time and state of the intervals in a table of the recording.

    Args:
        choice: "TABLE:COLUMN", or "TABLE" where one column only has a few different words.

    Raises:
        DataError: no such table or column, or a column with one value or more than MOST_STATES.
    """
    name, _, column = choice.partition(":")
    tables = dict(recording.intervals)
    if recording.trials is not None:
        tables.setdefault("trials", recording.trials)
    if name not in tables:
        there = ", ".join(sorted(tables)) or "none"
        raise DataError(f"{recording.source.name} has no interval table {name!r}; it has: {there}.")
    table = tables[name]
    fitting = [
        other
        for other in table.columns
        if other not in ("id", "start_time", "stop_time")
        and 2 <= table[other].nunique() <= MOST_STATES
    ]
    if not column and len(fitting) == 1:
        column = fitting[0]
    if column not in fitting:
        names_ = ", ".join(map(str, fitting)) or "none"
        raise DataError(
            f"{choice!r} names no column with 2 to {MOST_STATES} states in "
            f"{recording.source.name}; such columns of {name}: {names_}. Pass {name}:COLUMN."
        )
    known = table.dropna(subset=[column, "start_time", "stop_time"])
    return known[["start_time", "stop_time"]].assign(state=known[column].astype(str))


def at(table: pd.DataFrame, time: np.ndarray) -> np.ndarray:
    """(num_bins,) int, the state at each time: its index among the sorted names, -1 for none.

    Args:
        table: as `of_recording` gives it; of intervals that overlap the last one counts.
        time: seconds.
    """
    rows = np.full(len(time), -1)
    number = {name: k for k, name in enumerate(names(table))}
    for row in table.itertuples():
        rows[(time >= row.start_time) & (time < row.stop_time)] = number[row.state]
    return rows


def names(table: pd.DataFrame) -> list[str]:
    """The states in a table, sorted."""
    return sorted(table["state"].unique())
