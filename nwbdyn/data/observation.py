"""When units were observed: unions and intersections of intervals, and units never seen together.

A bin counts only while every unit of the fit was observed, so units whose times never overlap have
no common bin and cannot be coupled.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from nwbdyn.recording import Neurons, Note, SpikeTimes

NEVER_TOGETHER = "never-together"
UNEQUAL = "unequal-intervals"
CODES = (NEVER_TOGETHER, UNEQUAL)
FROM, UNTIL = "observed_from", "observed_until"  # columns for conditions on units
SHORTEST = 0.001  # seconds; a shorter interval holds no whole millisecond
MOST_GROUPS = 4  # named one by one
MOST_IDS = 12  # in a condition
LITTLE_LOST = 0.9  # of the longest unit's time that must stay for a note not to be important


@dataclass(frozen=True)
class Group:
    """Units with the same observed times."""

    rows: np.ndarray  # (n,) positions of the units
    start: float  # seconds
    stop: float  # seconds


def united(intervals: np.ndarray) -> np.ndarray:
    """Intervals in time order, those that overlap made one (touching ones stay two)."""
    ordered = intervals[np.argsort(intervals[:, 0], kind="stable")].astype(np.float64)
    merged: list[np.ndarray] = []
    for interval in ordered:
        if merged and interval[0] < merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], interval[1])
        else:
            merged.append(interval.copy())
    return np.array(merged).reshape(-1, 2)


def intersection(many: Sequence[np.ndarray]) -> np.ndarray:
    """(num_intervals, 2) the times that lie in an interval of each of `many` sets of intervals."""
    starts = np.sort(np.concatenate([intervals[:, 0] for intervals in many]))
    stops = np.sort(np.concatenate([intervals[:, 1] for intervals in many]))
    # all sets are open from the last missing start to the first stop after it
    edges = np.concatenate([starts, stops])
    steps = np.concatenate([np.ones(len(starts)), -np.ones(len(stops))])
    order = np.lexsort((steps, edges))  # at equal times a stop comes before a start
    num_open = np.cumsum(steps[order])
    inside = np.flatnonzero(num_open == len(many))
    return np.stack([edges[order][inside], edges[order][inside + 1]], axis=1)


def common(
    per_unit: Sequence[np.ndarray | None],
) -> tuple[np.ndarray | None, tuple[np.ndarray | None, ...] | None]:
    """Return the times in which all units were observed, and those of each unit where these differ.

    Args:
        per_unit: (num_intervals, 2) seconds of each unit; None for a unit that states none, which
            counts as observed throughout.

    Returns:
        (num_intervals, 2) seconds, with no row where the units were never observed together, None
        where no unit states any; and `per_unit`, or None where all units have the same times.
    """
    stated = [united(one) for one in per_unit if one is not None]
    if not stated:
        return None, None
    if all(np.array_equal(one, stated[0]) for one in stated):
        return stated[0], None
    shared = intersection(stated)
    if all(np.array_equal(_joined(one), _joined(shared)) for one in stated):
        return shared, None
    return shared, tuple(per_unit)


def notes(spikes: SpikeTimes, neurons: Neurons) -> list[Note]:
    """Notes on units with different observed times; empty if all are the same."""
    if spikes.unit_intervals is None or spikes.intervals is None:
        return []
    where = f"{neurons.table_path or 'units'}/obs_intervals"
    reason = refusal(spikes, neurons)
    if reason is not None:
        return [Note("never-together", where, reason, important=True)]
    longest = max(_seconds(one) for one in spikes.unit_intervals if one is not None)
    seconds = _seconds(spikes.intervals)
    reason = (
        f"units were observed at different times; the {len(spikes.intervals)} intervals common to "
        f"all are used, {seconds:.6g} s of at most {longest:.6g} s"
    )
    return [Note("unequal-intervals", where, reason, important=seconds < LITTLE_LOST * longest)]


def refusal(spikes: SpikeTimes, neurons: Neurons, *, shortest: float = SHORTEST) -> str | None:
    """Why these units cannot be fitted together, and how to choose some; None where they can.

    Args:
        spikes: of all units.
        neurons: the units.
        shortest: seconds that all units must have in common.
    """
    if spikes.unit_intervals is None or spikes.intervals is None:
        return None
    seconds = _seconds(spikes.intervals)
    if seconds >= shortest:
        return None
    by_times = groups(spikes.unit_intervals)
    parts = [
        f"{len(group.rows)} units from {group.start:.6g} to {group.stop:.6g} s"
        f"{_choice(neurons, spikes.unit_intervals, group)}"
        for group in by_times[:MOST_GROUPS]
    ]
    if len(by_times) > MOST_GROUPS:
        parts.append(f"and {len(by_times) - MOST_GROUPS} more groups")
    shared = f"only {seconds:.6g} s is common to all" if seconds else "no time is common to all"
    return (
        f"the units were never observed together ({shared}), so there is no bin to fit: "
        f"{'; '.join(parts)}. Choose units that were observed together with --where"
    )


def groups(per_unit: Sequence[np.ndarray | None]) -> list[Group]:
    """Units by their observed times, largest group first; units that state none are in no group."""
    by_times: dict[bytes, list[int]] = {}
    times: dict[bytes, np.ndarray] = {}
    for row, intervals in enumerate(per_unit):
        if intervals is None:
            continue
        one = _joined(united(intervals))
        times[one.tobytes()] = one
        by_times.setdefault(one.tobytes(), []).append(row)
    sets = [
        Group(np.array(rows), float(times[key][0, 0]), float(times[key][-1, 1]))
        for key, rows in by_times.items()
    ]
    return sorted(sets, key=lambda group: (-len(group.rows), group.start))


def columns(spikes: SpikeTimes) -> dict[str, np.ndarray]:
    """(num_units,) when each unit's observation begins and ends, for conditions; empty if unknown.

    NaN for a unit that states no interval.
    """
    per_unit = spikes.unit_intervals
    if per_unit is None:
        if spikes.intervals is None or not len(spikes.intervals):
            return {}
        per_unit = (spikes.intervals,) * len(spikes.index)
    first = [np.nan if one is None else one[:, 0].min() for one in per_unit]
    last = [np.nan if one is None else one[:, 1].max() for one in per_unit]
    return {FROM: np.array(first), UNTIL: np.array(last)}


def _choice(neurons: Neurons, per_unit: Sequence[np.ndarray | None], group: Group) -> str:
    """The shortest condition that chooses exactly one group, in brackets, or nothing.

    A column that separates the groups is better than ids, and ids are better than times.
    """
    table = neurons.table
    inside = np.zeros(len(table), dtype=bool)
    inside[group.rows] = True
    for name in table.columns:
        column = table[name]
        chosen = column[inside]
        if name == "id" or chosen.nunique(dropna=False) != 1 or not _is_text(chosen):
            continue
        if not column[~inside].isin(chosen).any():
            quoted = f"`{name}`" if not str(name).isidentifier() else name
            return f' (--where "{quoted} == {chosen.iloc[0]!r}")'
    ids = neurons.ids
    if ids.dtype.kind in "iu":
        low, high = ids[inside].min(), ids[inside].max()
        others = ids[~inside]
        for condition, holds in (
            (f"id <= {high}", others > high),
            (f"id >= {low}", others < low),
            (f"id >= {low} and id <= {high}", (others < low) | (others > high)),
        ):
            if holds.all():
                return f' (--where "{condition}")'
    for decimals in (0, 3, 6):
        low, high = np.round(group.start, decimals), np.round(group.stop, decimals)
        around = [
            one is not None
            and one[:, 0].min() >= low - 10.0**-decimals
            and one[:, 1].max() <= high + 10.0**-decimals
            for one in per_unit
        ]
        if np.array_equal(around, inside):
            low, high = low - 10.0**-decimals, high + 10.0**-decimals
            begin, end = (f"{edge:.{decimals}f}" for edge in (low, high))
            return f' (--where "{FROM} >= {begin} and {UNTIL} <= {end}")'
    if inside.sum() <= MOST_IDS:
        return f' (--where "id in {ids[inside].tolist()}")'
    return ""


def _is_text(column: pd.Series) -> bool:
    return bool(column.map(lambda value: isinstance(value, str) and value != "").all())


def _joined(intervals: np.ndarray) -> np.ndarray:
    """Intervals in time order, those that touch made one."""
    if not len(intervals):
        return intervals
    apart = np.concatenate([[True], intervals[1:, 0] > intervals[:-1, 1]])
    last = np.append(np.flatnonzero(apart)[1:] - 1, len(intervals) - 1)
    return np.stack([intervals[apart, 0], intervals[last, 1]], axis=1)


def _seconds(intervals: np.ndarray) -> float:
    return float(np.sum(intervals[:, 1] - intervals[:, 0]))
