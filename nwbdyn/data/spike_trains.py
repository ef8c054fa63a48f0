"""Spike trains that contradict themselves: restarts, repeats, markers and stray times.

A unit's spike times should increase through the session. Files break that in a few known ways: the
clock starts again midway, times are relative to a trial, spikes are stored twice, a marker such as
-1 stands for "not placed", or a single time is corrupted. Counts do not show any of it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from nwbdyn.data.spike_train import BULK, EDGE, PADDED, STRAY_BEYOND, Train, are_markers
from nwbdyn.recording import Neurons, Note, SpikeTimes

READ = 256 * 2**20  # bytes of spike times read together
STRAY_SHARE = 1e-3  # of all spikes, at most, that may be stray
FEWEST_SPIKES = 100  # of all units, from which times can be stray
FEWEST_STRAY = 2  # spikes that may be stray in a recording of few
MOST_AROUND = 20.0  # spans that something else may give the session
MOST_RESTARTS = 20  # more are trials, or spikes in no order
REPEATED = 0.01  # share of spikes at the time of another from which a note is made
REPEATED_ROUNDED = 0.45  # the same, where times are whole milliseconds
MOST_NAMED = 5  # units in a note
MARKED, STRAY = "invalid-spikes", "stray-spikes"  # codes of notes on times that are left out


@dataclass(frozen=True)
class Trains:
    """Findings on all spike trains of a recording."""

    markers: tuple[float, ...] = ()  # seconds; times that are no spikes
    extent: tuple[float, float] | None = None  # seconds, without markers and stray times
    bounds: tuple[float, float] = (-np.inf, np.inf)  # seconds; times outside are stray
    restarts: np.ndarray = field(default_factory=lambda: np.zeros(0, int))  # (num_units,)
    notes: tuple[Note, ...] = ()

    def spikes_in(self, times: np.ndarray) -> np.ndarray:
        """The times of a unit that are spikes: finite, no marker, not stray."""
        low, high = self.bounds
        usable = np.isfinite(times) & (times >= low) & (times <= high)
        if self.markers:
            usable &= ~np.isin(times, self.markers)
        return times[usable]


def digits(value: float) -> str:
    """A number in at most 6 digits."""
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e6 else f"{value:.6g}"


def by_unit(spikes: SpikeTimes, *, together: int | None = None) -> Iterator[np.ndarray]:
    """(n,) float64 spike times of one unit after the other, read for several units at once.

    Args:
        spikes: of all units.
        together: bytes read at once.
    """
    ends = np.concatenate([[0], np.asarray(spikes.index, dtype=np.int64)])
    first, num_units = 0, len(ends) - 1
    most = (together or READ) // np.dtype(np.float64).itemsize
    while first < num_units:
        after = int(np.searchsorted(ends, ends[first] + most, side="right")) - 1
        after = min(max(after, first + 1), num_units)
        times = np.asarray(spikes.times[int(ends[first]) : int(ends[after])], dtype=np.float64)
        yield from np.split(times, ends[first + 1 : after] - ends[first])
        first = after


def extent(spikes: SpikeTimes) -> tuple[float, float] | None:
    """First and last spike in seconds, without markers and stray times; None without spikes."""
    return examine(spikes).extent


def stated_extent(spikes: SpikeTimes, notes: Sequence[Note]) -> tuple[float, float] | None:
    """The extent, where notes leave some times out of it; else None."""
    return extent(spikes) if any(note.code in (MARKED, STRAY) for note in notes) else None


def examine(
    spikes: SpikeTimes,
    neurons: Neurons | None = None,
    *,
    around: tuple[float, float] | None = None,
) -> Trains:
    """Read all spike times once, unit by unit, and look for what contradicts them.

    Args:
        spikes: of all units.
        neurons: the units, whose ids are named in the notes; without them no notes are made.
        around: seconds in which no spike is stray, because the session lasted so long by something
            else.
    """
    units = [Train.of(times) for times in by_unit(spikes)]
    markers = _markers(units)
    units = [unit.marked(markers) for unit in units]
    low, high = _bounds(units, around)
    stray = np.array([len(unit.beyond(low, high)) for unit in units], dtype=int)
    ends = [unit.between(low, high) for unit in units if unit.number > len(unit.beyond(low, high))]
    span = (float(min(a for a, _ in ends)), float(max(b for _, b in ends))) if ends else None
    restarts = np.array([unit.restarts for unit in units], dtype=int)
    notes: list[Note] = []
    if neurons is not None and span is not None:
        odd = np.concatenate([unit.beyond(low, high) for unit in units])
        notes += _of_markers(markers, np.array([unit.num_marked for unit in units]), neurons)
        notes += _of_stray(stray, odd, span, neurons)
        notes += _of_order(restarts, np.array([unit.is_unsorted for unit in units]), neurons)
        notes += _of_repeats(units, neurons)
    return Trains(markers, span, (low, high), restarts, tuple(notes))


def _markers(units: Sequence[Train]) -> tuple[float, ...]:
    """Negative times that are stored again and again, where no other time is negative."""
    if any(len(u.edges) and u.edges[0] < 0 and not len(u.negative[0]) for u in units):
        return ()  # many different negative times
    values = np.concatenate([unit.negative[0] for unit in units] or [np.zeros(0)])
    counts = np.concatenate([unit.negative[1] for unit in units] or [np.zeros(0, int)])
    different, which = np.unique(values, return_inverse=True)
    total = np.bincount(which, weights=counts, minlength=len(different))
    return tuple(different.tolist()) if are_markers(different, total) else ()


def _bounds(units: Sequence[Train], around: tuple[float, float] | None) -> tuple[float, float]:
    """The times outside of which a few spikes are stray."""
    some = [unit for unit in units if unit.number]
    number = sum(unit.number for unit in some)
    if number < FEWEST_SPIKES:
        return -np.inf, np.inf
    times = np.concatenate([unit.sample for unit in some])
    weights = np.concatenate([np.full(len(u.sample), u.number / len(u.sample)) for u in some])
    order = np.argsort(times, kind="stable")
    total = np.cumsum(weights[order]) - weights[order] / 2
    outer = min(max(BULK[0], (FEWEST_STRAY + 0.5) / number), 0.25)
    first, last = np.interp(np.array([outer, 1 - outer]) * total[-1], total, times[order])
    reach = STRAY_BEYOND * max(float(last - first), 1.0)
    low, high = float(first) - reach, float(last) + reach
    if around is not None and around[1] - around[0] <= MOST_AROUND * (last - first):
        low, high = min(low, around[0]), max(high, around[1])
    outside = [len(unit.beyond(low, high)) for unit in some]
    if sum(outside) > max(FEWEST_STRAY, STRAY_SHARE * number) or max(outside) >= EDGE:
        return -np.inf, np.inf
    return low, high


def _of_markers(markers: Sequence[float], marked: np.ndarray, neurons: Neurons) -> list[Note]:
    if not markers:
        return []
    values = " and ".join(digits(value) for value in markers)
    reason = (
        f"{_range(marked[marked > 0])} spikes of each of {int((marked > 0).sum())} units are at "
        f"exactly {values} s, a marker and no time; they are left out"
    )
    return [Note("invalid-spikes", _where(neurons), reason, important=True)]


def _of_stray(
    stray: np.ndarray, times: np.ndarray, span: tuple[float, float], neurons: Neurons
) -> list[Note]:
    if not stray.any():
        return []
    rows = np.flatnonzero(stray)
    number = int(stray.sum())
    listed = ", ".join(f"{value:.6g}" for value in times[:MOST_NAMED])
    verb = "lies" if number == 1 else "lie"
    reason = (
        f"{number} spike{'s' if number > 1 else ''} of {_units(rows, neurons)} {verb} at {listed} "
        f"s, far from all others ({span[0]:.6g} to {span[1]:.6g} s); left out of the bins"
    )
    return [Note("stray-spikes", _where(neurons), reason, important=True)]


def _of_order(restarts: np.ndarray, unsorted: np.ndarray, neurons: Neurons) -> list[Note]:
    notes = []
    again = np.flatnonzero((restarts > 0) & (restarts <= MOST_RESTARTS))
    if len(again):
        reason = (
            f"times of {_units(again, neurons)} go back to the start {_often(restarts[again])}, "
            f"so several runs lie on top of each other{_without(again, neurons)}"
        )
        notes.append(Note("restarting-spikes", _where(neurons), reason, important=True))
    rest = np.flatnonzero(unsorted & ~((restarts > 0) & (restarts <= MOST_RESTARTS)))
    if len(rest):
        reason = f"times of {_units(rest, neurons)} are not in order; counts do not depend on it"
        notes.append(Note("unsorted-spikes", _where(neurons), reason))
    return notes


def _of_repeats(units: Sequence[Train], neurons: Neurons) -> list[Note]:
    rows, shares = [], []
    for row, unit in enumerate(units):
        share = unit.repeated / max(unit.number, 1)
        rounded = share < REPEATED_ROUNDED and share > 0 and unit.is_rounded
        if unit.repeated >= 2 and share > (REPEATED_ROUNDED if rounded else REPEATED):
            rows.append(row)
            shares.append(share)
    if not rows:
        return []
    padded = [row for row in rows if units[row].padding[1] >= PADDED]
    reason = (
        f"{_range(100 * np.array(shares), '.0f')} % of the spikes of "
        f"{_units(np.array(rows), neurons)} are at the time of another spike of the unit"
    )
    if padded:
        value, number = units[padded[0]].padding
        reason += f"; unit {neurons.ids[padded[0]]} has {number} at {value:.6g} s"
    reason += f"; all are counted{_without(np.array(rows), neurons)}"
    return [Note("repeated-spikes", _where(neurons), reason, important=True)]


def _where(neurons: Neurons) -> str:
    return f"{neurons.table_path or 'units'}/spike_times"


def _units(rows: np.ndarray, neurons: Neurons) -> str:
    ids = [str(one) for one in neurons.ids[rows]]
    if len(ids) == 1:
        return f"unit {ids[0]}"
    if len(ids) == len(neurons):
        return f"all {len(ids)} units"
    if len(ids) <= MOST_NAMED:
        return f"units {', '.join(ids[:-1])} and {ids[-1]}"
    return f"{len(ids)} units ({', '.join(ids[:MOST_NAMED])}, …)"


def _without(rows: np.ndarray, neurons: Neurons) -> str:
    """A `--where` that leaves out these units; empty for many or all of them."""
    if len(rows) > MOST_NAMED or len(rows) == len(neurons):
        return ""
    condition = " and ".join(f"id != {one!r}" for one in neurons.ids[rows].tolist())
    return f'. Leave out with --where "{condition}"'


def _often(numbers: np.ndarray) -> str:
    return {"1": "once", "2": "twice"}.get(text := _range(numbers), f"{text} times")


def _range(values: np.ndarray, how: str = "d") -> str:
    low, high = values.min(), values.max()
    ends = [format(int(end) if how == "d" else end, how) for end in (low, high)]
    return ends[0] if ends[0] == ends[1] else f"{ends[0]} to {ends[1]}"
