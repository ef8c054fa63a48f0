"""One unit's spike train in numbers: how many, in which order, how often a time repeats."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

FEWEST_MARKED = 10  # equal negative times that are a marker, not spikes
MOST_MARKERS = 3  # different ones
RESTART = 0.05  # of a unit's span; a larger step back is a restart, not a disorder
PADDED = 20  # equal times of one unit that are padding
SAMPLE = 256  # times of a unit that its quantiles are taken from
EDGE = 64  # earliest and latest times of a unit that are looked at one by one
BULK = (0.01, 0.99)  # quantiles of all spike times
STRAY_BEYOND = 1.0  # spans beyond the bulk of the spikes


@dataclass(frozen=True)
class Train:
    """Statistics of one unit's spike times, without the times themselves."""

    number: int  # finite spike times, without markers
    negative: tuple[np.ndarray, np.ndarray]  # different negative times, and their numbers
    sample: np.ndarray  # (≤ SAMPLE,) evenly spaced among the sorted times
    edges: np.ndarray  # (≤ 2 EDGE,) the earliest and the latest times
    restarts: int  # steps back by more than a small part of the span
    is_unsorted: bool
    repeated: int  # spikes at the time of another one
    is_rounded: bool  # all are whole milliseconds, where equal times can be two spikes
    padding: tuple[float, int]  # the most frequent time, and how often it is stored
    num_marked: int = 0

    @classmethod
    def of(cls, stored: np.ndarray) -> "Train":
        stored = stored[np.isfinite(stored)]
        negative = np.unique(stored[stored < 0], return_counts=True)
        marks = negative[0] if are_markers(*negative) else np.zeros(0)
        kept = stored[~np.isin(stored, marks)] if len(marks) else stored
        times = np.sort(kept)
        if not len(times):
            none = np.zeros(0)
            return cls(0, negative, none, none, 0, False, 0, False, (0.0, 0))
        number = len(times)
        sample = times[np.linspace(0, number - 1, min(number, SAMPLE)).astype(int)]
        steps = np.diff(kept)
        begins = np.flatnonzero(np.diff(times, prepend=np.nan) != 0)
        lengths = np.diff(begins, append=number)
        longest = int(lengths.argmax())
        padding = times[begins[longest]]
        return cls(
            number=number,
            negative=negative if len(negative[0]) <= MOST_MARKERS else (times[:0], lengths[:0]),
            sample=sample,
            edges=times if number <= 2 * EDGE else np.r_[times[:EDGE], times[-EDGE:]],
            restarts=_restarts(
                kept if lengths[longest] < PADDED else kept[kept != padding], sample
            ),
            is_unsorted=bool(np.any(steps < 0)),
            repeated=number - len(begins),
            is_rounded=_is_rounded(sample),
            padding=(float(padding), int(lengths[longest])),
        )

    def marked(self, markers: Sequence[float]) -> "Train":
        """The unit with its number of marked spikes; those of other values count as spikes."""
        values, counts = self.negative
        is_marker = np.isin(values, markers)
        number = int(counts[is_marker].sum())
        if not are_markers(values, counts):  # they are still among the times
            left = self.edges[~np.isin(self.edges, markers)]
            return replace(self, number=self.number - number, edges=left, num_marked=number)
        others = np.repeat(values[~is_marker], counts[~is_marker])
        edges = np.sort(np.r_[others[:EDGE], self.edges])
        return replace(self, number=self.number + len(others), edges=edges, num_marked=number)

    def beyond(self, low: float, high: float) -> np.ndarray:
        """The earliest and latest times that lie outside."""
        return self.edges[(self.edges < low) | (self.edges > high)]

    def between(self, low: float, high: float) -> tuple[float, float]:
        """The first and the last time inside."""
        inside = np.r_[self.edges, self.sample]
        inside = inside[(inside >= low) & (inside <= high)]
        return (float(inside.min()), float(inside.max())) if len(inside) else (low, high)


def _is_rounded(times: np.ndarray) -> bool:
    """True where all times (seconds) are whole milliseconds."""
    with np.errstate(over="ignore", invalid="ignore"):  # a damaged file holds times near 1e308
        in_ms = times * 1000
        return bool(np.all(np.abs(in_ms - np.round(in_ms)) < 1e-6))


def _restarts(stored: np.ndarray, sample: np.ndarray) -> int:
    first, last = np.quantile(sample, BULK)
    span = max(float(last - first), 0.001)
    back = np.flatnonzero(np.diff(stored) < -RESTART * span)
    near = np.abs(stored - (first + last) / 2) <= (0.5 + STRAY_BEYOND) * span
    return int((near[back] & near[back + 1]).sum())


def are_markers(values: np.ndarray, counts: np.ndarray) -> bool:
    return 0 < len(values) <= MOST_MARKERS and counts.min() >= FEWEST_MARKED
