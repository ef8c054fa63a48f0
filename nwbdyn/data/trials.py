"""Which rows are the trials: a table of intervals, or windows around the times in a column."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd

from nwbdyn.errors import DataError
from nwbdyn.recording import Recording

NONE = "none"  # no trials, whatever the file holds
_WINDOW = re.compile(r"(?P<rest>.*)\[\s*(?P<begin>[^,\]]+),(?P<end>[^,\]]+)\]")


def tables(recording: Recording) -> dict[str, pd.DataFrame]:
    """Every table of the recording whose rows are moments or intervals, by its name."""
    by_name = dict(recording.intervals)
    if recording.trials is not None:
        by_name.setdefault("trials", recording.trials)
    return by_name


def with_trials(recording: Recording, name: str) -> Recording:
    """The recording with other rows as its trials.

    Args:
        name: TABLE[.COLUMN][[BEGIN,END]], such as "epochs", "trials.go_cue_time[-0.5,1]" or
            "licks[0,0.3]". Where BEGIN and END are given, a trial lasts from so many seconds after
            the time in COLUMN (by default where the row starts; a negative number is before it) to
            so many seconds after it; else it lasts from there to where the row stops. Rows without
            that time are left out. "none" leaves the recording without trials.

    Raises:
        DataError: no such table or column, a window that is none, or no row left.
    """
    file, by_name = recording.source.name, tables(recording)
    if name == NONE and name not in by_name:
        return replace(recording, trials=None)
    if name in by_name:
        if not len(by_name[name]):
            raise DataError(f"The interval table {name!r} of {file} is empty.")
        return replace(recording, trials=by_name[name])
    window = _window(name)
    rest = name if window is None else _WINDOW.fullmatch(name)["rest"]  # type: ignore[index]
    table, column = _table_and_column(by_name, rest, file)
    times = _seconds(by_name[table], column, f"{file}: {rest}")
    stops = by_name[table]["stop_time"].to_numpy(float) if window is None else times + window[1]
    starts = times if window is None else times + window[0]
    rows = np.isfinite(starts) & (stops > starts)
    if not rows.any():
        raise DataError(
            f"{file}: none of {len(rows)} rows of {table!r} starts at its {column!r} and stops "
            "later. Name another column, or a window after it, as in "
            f"{table}.{column}[-0.5,1]."
        )
    trials = by_name[table].assign(start_time=starts, stop_time=stops)[rows]
    return replace(recording, trials=trials.reset_index(drop=True))


def _window(name: str) -> tuple[float, float] | None:
    """Seconds from the column's time to where a trial begins and ends."""
    match = _WINDOW.fullmatch(name)
    if match is None:
        return None
    try:
        begin, end = float(match["begin"]), float(match["end"])
    except ValueError:
        begin, end = 0.0, 0.0
    if not (np.isfinite([begin, end]).all() and begin < end):
        raise DataError(
            f"{name!r}: a window is two numbers of seconds, the first the smaller one, as in "
            f"{match['rest']}[-0.5,1]."
        )
    return begin, end


def _table_and_column(by_name: dict[str, pd.DataFrame], name: str, file: str) -> tuple[str, str]:
    """The longest table that the name begins with, and the column after it."""
    for table in sorted(by_name, key=len, reverse=True):
        if name == table:
            return table, "start_time"
        if name.startswith(f"{table}."):
            return table, name.removeprefix(f"{table}.")
    if not by_name:
        raise DataError(
            f"{file} has no interval table {name!r}, and no other to align to; leave out --trials."
        )
    there = ", ".join(sorted(by_name))
    raise DataError(f"{file} has no interval table {name!r}; it has: {there}.")


def _seconds(table: pd.DataFrame, column: str, where: str) -> np.ndarray:
    """(num_rows,) the times in a column."""
    if column not in table:
        has = ", ".join(map(str, table.columns))
        raise DataError(f"{where}: there is no column {column!r}; there are: {has}.")
    if not pd.api.types.is_numeric_dtype(table[column]) or table[column].dtype == bool:
        raise DataError(f"{where}: {column!r} holds no times. Name a column of seconds.")
    return table[column].to_numpy(float)
