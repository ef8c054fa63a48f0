"""Events as covariates: what a moment leaves behind, as causal bumps in the time since it.

A stimulus, a reward or a lick drives many neurons together, so that a model which does not know of
it takes common input for coupling. Each kind of event becomes NUM_BUMPS raised cosines in the
logarithm of the time since the event (Pillow et al. 2008): narrow at first, wider later, 0 before.
"""

import re
from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from nwbdyn.data.clock import Clock
from nwbdyn.data.spike_trains import digits
from nwbdyn.data.trials import tables
from nwbdyn.errors import DataError
from nwbdyn.recording import Note, Recording

NUM_BUMPS = 6
SPAN, SPAN_BINS = (
    1.0,
    10,
)  # the last bump peaks this many seconds, or bins, after; whichever is more
MOST_KINDS = 12  # of events in one column; more are no kinds but measurements
TOGETHER = 10_000  # events that are worked on together
FEWEST_MARKED = 2  # equal negative times, where no other is negative, that are a marker
_START = "start_time"


def marker(times: np.ndarray) -> float | None:
    """The negative time that stands for "did not happen", such as -1; None without one.

    Args:
        times: (num_events,) seconds, NaN allowed.
    """
    negative = times[times < 0]
    if len(negative) < FEWEST_MARKED or (negative != negative[0]).any():
        return None
    return float(negative[0])


def marked(times: np.ndarray, value: float) -> str:
    """Reason of a note on events at the time of a marker."""
    number, known = int((times == value).sum()), int(np.isfinite(times).sum())
    return (
        f"{number} of {known} events are at exactly {digits(value)} s, a marker and no time; they "
        "are left out"
    )


def covariates(
    recording: Recording, name: str, clock: Clock, notes: list[Note]
) -> dict[str, np.ndarray] | None:
    """The bumps of one kind of event, or of several.

    Args:
        recording: with tables of events, trials or other intervals.
        name: TABLE[.TIMES][:KINDS], such as "licks", "trials.go_cue_time", "trials:choice" or
            "trials.feedback_time:feedback"; TIMES is the column of the moments (by default where
            the rows start), KINDS one whose different values are different kinds of event.
        clock: of the bins.
        notes: gets one on times that are a marker and no events.

    Returns:
        Label -> (num_bins,) float32: "trials:choice=left[0]" is the first bump after a choice of
        left. What a bin sees ends with the bin. None when no table has such a name.

    Raises:
        DataError: no such column, times that are not numbers, no event at all or none in the
            recording, or too many kinds.
    """
    match = _named(tables(recording), name)
    if match is None:
        return None
    table, times_column, kinds_column = match
    where = f"{recording.source.name}: {name}"
    times = _times(table, times_column, where)
    if (value := marker(times)) is not None:
        notes.append(Note("invalid-events", name, marked(times, value), important=True))
        times = np.where(times == value, np.nan, times)
    columns: dict[str, np.ndarray] = {}
    for kind, rows in _kinds(table, kinds_column, np.isfinite(times), where):
        traced = bumps(times[rows], clock)
        if not traced.any():
            traced[:] = np.nan  # no event of this kind is in the recording
        for bump, column in enumerate(traced.T):
            columns[f"{name}{kind}[{bump}]"] = column
    if all(np.isnan(column).all() for column in columns.values()):
        first, last = np.nanmin(times), np.nanmax(times)
        raise DataError(
            f"{where}: all {int(np.isfinite(times).sum())} events, from {first:.6g} to {last:.6g} "
            f"s, lie outside the recording, {clock.begin[0]:.6g} to {clock.until[-1]:.6g} s. "
            "Correct the table, or leave out --events."
        )
    return columns


def bumps(times: np.ndarray, clock: Clock) -> np.ndarray:
    """(num_bins, NUM_BUMPS) float32, the bumps after all events, added up.

    With tau the time from an event to the end of a bin, b one bin, S the span and c_0 … c_5 evenly
    spaced from log(b) to log(S + b), d apart,

        bump_j = (1 + cos(clip((log(tau + b) - c_j) pi / (2 d), -pi, pi))) / 2,  tau >= 0.

    Args:
        times: (num_events,) seconds, in any order.
        clock: of the bins.
    """
    width = clock.bin_width
    centres, apart = np.linspace(
        np.log(width), np.log(max(SPAN, SPAN_BINS * width) + width), NUM_BUMPS, retstep=True
    )
    reach = float(np.exp(centres[-1] + 2 * apart) - width)  # where the last bump is 0 again
    total = np.zeros((len(clock), NUM_BUMPS))
    for first in range(0, len(times), TOGETHER):
        some = times[first : first + TOGETHER]
        begin = np.searchsorted(clock.until, some, side="left")
        number = np.searchsorted(clock.until, some + reach, side="left") - begin
        event = np.repeat(np.arange(len(some)), number)
        bins = np.arange(len(event)) + np.repeat(begin - np.cumsum(number) + number, number)
        since = np.log(clock.until[bins] - some[event] + width)
        for j, centre in enumerate(centres):
            phase = np.clip((since - centre) * np.pi / (2 * apart), -np.pi, np.pi)
            total[:, j] += np.bincount(bins, (1 + np.cos(phase)) / 2, minlength=len(clock))
    return total.astype(np.float32)


def _named(
    named: Mapping[str, pd.DataFrame], name: str
) -> tuple[pd.DataFrame, str, str | None] | None:
    """The table, and the columns of times and of kinds, that a name means; the longest table."""
    for table in sorted(named, key=len, reverse=True):
        rest = re.fullmatch(re.escape(table) + r"(?:\.([^:]+))?(?::(.+))?", name)
        if rest:
            return named[table], rest[1] or _START, rest[2]
    return None


def _times(table: pd.DataFrame, column: str, where: str) -> np.ndarray:
    """(num_rows,) seconds, NaN where an event did not happen."""
    _check_column(table, column, where)
    if not pd.api.types.is_numeric_dtype(table[column]) or table[column].dtype == bool:
        raise DataError(
            f"{where}: {column!r} holds no times. Name a column of seconds, or, for one kind of "
            f"event per value, TABLE:{column}."
        )
    times = table[column].to_numpy(float)
    happened = np.isfinite(times)
    if not happened.any():
        raise DataError(f"{where}: no event has a time. Name another table or column.")
    starts = table[_START].to_numpy(float)
    span = np.nanmin(starts), np.nanmax(table[["start_time", "stop_time"]].to_numpy(float))
    slack = max(span[1] - span[0], 1.0)
    outside = (times < span[0] - slack) | (times > span[1] + slack)
    if (outside & happened).any():
        odd = times[outside & happened][0]
        raise DataError(
            f"{where}: {column!r} holds {odd:g}, and the rows last from {span[0]:.1f} to "
            f"{span[1]:.1f} s, so these are no times of events. For one kind of event per value "
            f"write TABLE:{column}."
        )
    return times


def _kinds(
    table: pd.DataFrame, column: str | None, happened: np.ndarray, where: str
) -> Iterator[tuple[str, np.ndarray]]:
    """Suffix of the name of each kind of event, and its rows."""
    if column is None:
        yield "", np.flatnonzero(happened)
        return
    _check_column(table, column, where)
    known = happened & table[column].notna().to_numpy()
    values = table[column].astype(str).to_numpy()
    different = sorted(set(values[known]))
    if not 0 < len(different) <= MOST_KINDS:
        raise DataError(
            f"{where}: {column!r} has {len(different)} different values; 1 to {MOST_KINDS} kinds "
            "of event are expected. Name another column."
        )
    for value in different:
        yield f"={value}", np.flatnonzero(known & (values == value))


def _check_column(table: pd.DataFrame, column: str, where: str) -> None:
    if column not in table:
        has = ", ".join(map(str, table.columns))
        raise DataError(f"{where}: there is no column {column!r}; there are: {has}.")
