"""Behavioural states from an interval table, a CSV file or times, for coupling in each of them."""

import re
from pathlib import Path

import numpy as np
import pandas as pd

from nwbdyn.errors import ConfigError, DataError
from nwbdyn.recording import Recording

MOST_STATES = 6
CSV = ".csv"
LABELS = ("label", "state")  # columns of a CSV file that name the state
_NUMBER = r"[+-]?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?"
_INTERVAL = re.compile(rf"([^=,]+)=({_NUMBER})-({_NUMBER})")


def is_file(choice: str | None) -> bool:
    """True if a choice of states is the path of a CSV file."""
    return choice is not None and choice.lower().endswith(CSV)


def resolved(choice: str) -> str:
    """The states of a CSV file as times, "rest=0-10,run=10-25"; anything else as it is.

    A request that holds times can be repeated without the file.

    Raises:
        ConfigError: no such file, or not the columns start_time, stop_time and label.
    """
    if not is_file(choice):
        return choice
    try:
        table = pd.read_csv(Path(choice), skipinitialspace=True)
    except FileNotFoundError as error:
        raise ConfigError(f"--states: there is no file {choice}.") from error
    except (OSError, ValueError) as error:  # ValueError: nothing in it, or not UTF-8
        raise ConfigError(f"--states {choice}: cannot be read as CSV ({error}).") from error
    label = next((name for name in LABELS if name in table), None)
    if label is None or not {"start_time", "stop_time"} <= set(table):
        raise ConfigError(
            f"--states {choice} has the columns {', '.join(map(str, table.columns))}; start_time, "
            "stop_time (seconds) and label are needed."
        )
    table = table.dropna(subset=["start_time", "stop_time", label])
    names = table[label].astype(str).str.strip()
    if names.str.contains("[=,]").any() or not len(table):
        raise ConfigError(f"--states {choice}: labels are needed, without '=' and ','.")
    try:
        starts, stops = (table[name].astype(float) for name in ("start_time", "stop_time"))
    except ValueError as error:
        raise ConfigError(f"--states {choice}: {error}. Times are seconds.") from error
    rows = zip(names, starts.tolist(), stops.tolist(), strict=True)
    return ",".join(f"{name}={start!r}-{stop!r}" for name, start, stop in rows)


def of_recording(recording: Recording, choice: str) -> pd.DataFrame:
    """start_time, stop_time and state of intervals.

    Args:
        choice: "TABLE:COLUMN" of the recording, or "TABLE" where one column only has a few
            different words; "rest=0-10,run=10-25" in seconds; or a CSV file, see `resolved`.

    Raises:
        ConfigError: times or a file that cannot be read, or intervals of two states that overlap.
        DataError: no such table or column, or a column with one value or more than MOST_STATES.
    """
    choice = resolved(choice)
    table = _of_times(choice) if "=" in choice else _of_table(recording, choice)
    _check_overlap(table)
    return table


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


def _of_times(choice: str) -> pd.DataFrame:
    rows = []
    for part in choice.split(","):
        match = _INTERVAL.fullmatch(part.strip())
        if match is None:
            raise ConfigError(
                f"--states: {part.strip()!r} is no NAME=START-STOP in seconds. Write for example "
                "--states run=0-40,rest=40-90,run=90-125, or name a table or a CSV file."
            )
        rows.append((float(match[2]), float(match[3]), match[1].strip()))
    table = pd.DataFrame(rows, columns=["start_time", "stop_time", "state"])
    empty = table[table["stop_time"] <= table["start_time"]]
    if len(empty):
        name, start, stop = empty[["state", "start_time", "stop_time"]].iloc[0]
        raise ConfigError(f"--states: {name} ends at {stop:g} s, and starts at {start:g} s.")
    number = table["state"].nunique()
    if not 2 <= number <= MOST_STATES:
        raise ConfigError(
            f"--states names {number} state{'' if number == 1 else 's'}; 2 to {MOST_STATES} can be "
            "compared."
        )
    return table


def _of_table(recording: Recording, choice: str) -> pd.DataFrame:
    name, _, column = choice.partition(":")
    tables = dict(recording.intervals)
    if recording.trials is not None:
        tables.setdefault("trials", recording.trials)
    if name not in tables:
        there = ", ".join(sorted(tables)) or "none"
        raise DataError(
            f"{recording.source.name} has no interval table {name!r}; it has: {there}. States may "
            "also be a CSV file, or times such as run=0-40,rest=40-90."
        )
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


def _check_overlap(table: pd.DataFrame) -> None:
    """Refuse intervals of two states at one time; rounding of their ends is no overlap."""
    ordered = table.sort_values("start_time", kind="stable").reset_index(drop=True)
    stop = ordered["stop_time"].cummax().shift()
    both = (ordered["start_time"] < stop - 1e-6) & (ordered["state"] != ordered["state"].shift())
    if both.any():
        row = int(np.flatnonzero(both)[0])
        one, other = ordered["state"][row - 1], ordered["state"][row]
        raise ConfigError(
            f"--states: {one} and {other} overlap at {ordered['start_time'][row]:g} s. A time has "
            "one state."
        )
