"""Spikes on a fine grid, and their correlograms: all that linear coupling filters are fitted to.

A grid of 1 ms has few spikes in many bins, so the regression of one unit's spikes on the past of
all units is solved from sums over pairs of spikes, without a matrix of bins.
"""

from dataclasses import dataclass

import numpy as np

from nwbdyn.data.clock import grid_ceil, grid_index
from nwbdyn.recording import SpikeTimes


@dataclass(frozen=True)
class FineCounts:
    """Counts of all units in bins of one fine grid; bins without a spike are left out."""

    bins: np.ndarray  # (n,) int64, increasing
    units: np.ndarray  # (n,) int64
    counts: np.ndarray  # (n,) float64
    num_units: int
    bin_width: float  # seconds
    spans: np.ndarray  # (num_spans, 2) int64, observed bins [start, stop), increasing, disjoint

    @property
    def num_bins(self) -> int:
        """Observed bins."""
        return int((self.spans[:, 1] - self.spans[:, 0]).sum())

    @property
    def mean(self) -> np.ndarray:
        """(N,) counts per observed bin."""
        total = np.bincount(self.units, self.counts, minlength=self.num_units)
        return total / max(self.num_bins, 1)

    def within(self, spans: np.ndarray) -> "FineCounts":
        """The part in `spans`, (m, 2) bins [start, stop)."""
        common = intersect(self.spans, spans)
        inside = contains(common, self.bins)
        return FineCounts(
            self.bins[inside],
            self.units[inside],
            self.counts[inside],
            self.num_units,
            self.bin_width,
            common,
        )


@dataclass(frozen=True)
class Correlogram:
    """Covariances of counts over lags, times the number of bins."""

    values: np.ndarray  # (num_lags + 1, N, N) [lag, later unit, earlier unit], centred
    mean: np.ndarray  # (N,) counts per bin
    bin_width: float  # seconds

    def at(self, lag: int) -> np.ndarray:
        """(N, N) [a, b]: b leads a by `lag` bins; a leads b where `lag` is negative."""
        return self.values[lag] if lag >= 0 else self.values[-lag].T


def fine_counts(spikes: SpikeTimes, bin_width: float) -> FineCounts:
    """Count spikes in bins of the grid from 0 s; without intervals, from first to last spike."""
    times = np.asarray(spikes.times[:], dtype=np.float64)
    unit = np.repeat(np.arange(len(spikes.index)), np.diff(spikes.index, prepend=0))
    finite = np.isfinite(times)
    index, unit = grid_index(times[finite], bin_width), unit[finite]
    if spikes.intervals is not None and len(spikes.intervals):
        spans = in_bins(spikes.intervals, bin_width)
    elif len(index):
        spans = np.array([[index.min(), index.max() + 1]])
    else:
        spans = np.zeros((0, 2), dtype=np.int64)
    inside = contains(spans, index)
    num_units = len(spikes.index)
    cells, counts = np.unique(index[inside] * num_units + unit[inside], return_counts=True)
    bins, units = cells // max(num_units, 1), cells % max(num_units, 1)
    return FineCounts(bins, units, counts.astype(np.float64), num_units, bin_width, spans)


def in_bins(intervals: np.ndarray, bin_width: float) -> np.ndarray:
    """(m, 2) bins [start, stop) that lie whole in intervals of seconds, increasing and disjoint."""
    intervals = np.asarray(intervals, dtype=np.float64)
    intervals = intervals[np.argsort(intervals[:, 0])]
    starts = grid_ceil(intervals[:, 0], bin_width)
    stops = grid_index(intervals[:, 1], bin_width)
    merged: list[list[int]] = []
    for start, stop in zip(starts.tolist(), stops.tolist(), strict=True):
        if stop <= start:
            continue
        if merged and start <= merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], stop)
        else:
            merged.append([start, stop])
    return np.array(merged, dtype=np.int64).reshape(-1, 2)


def intersect(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(m, 2) the bins in both of two sets of disjoint, increasing spans."""
    shared, k = [], 0
    for start, stop in first.tolist():
        while k < len(second) and second[k, 1] <= start:
            k += 1
        each = k
        while each < len(second) and second[each, 0] < stop:
            shared.append([max(start, second[each, 0]), min(stop, second[each, 1])])
            each += 1
    return np.array(shared, dtype=np.int64).reshape(-1, 2)


def contains(spans: np.ndarray, bins: np.ndarray) -> np.ndarray:
    """(n,) bool, True for bins in one of disjoint, increasing spans."""
    if not len(spans):
        return np.zeros(len(bins), dtype=bool)
    before = np.searchsorted(spans[:, 0], bins, side="right") - 1
    return (before >= 0) & (bins < spans[np.maximum(before, 0), 1])


def correlogram(counts: FineCounts, num_lags: int) -> Correlogram:
    """Sum products of counts at lags of 0 to `num_lags` bins, less what means alone would give.

    A pair of bins counts where both were observed. Means near the ends of spans are taken to be
    those of the whole.
    """
    num_units, mean = counts.num_units, counts.mean
    size = num_units * num_units
    sums = np.zeros((num_lags + 1) * size)
    step = 0
    while step < len(counts.bins):
        later, earlier = slice(step, None), slice(0, len(counts.bins) - step)
        lag = counts.bins[later] - counts.bins[earlier]
        near = lag <= num_lags
        if not near.any():
            break
        a, b = counts.units[later][near], counts.units[earlier][near]
        product = (counts.counts[later] * counts.counts[earlier])[near]
        sums += np.bincount(lag[near] * size + a * num_units + b, product, minlength=len(sums))
        if step:  # of pairs in the same bin the other order, too
            same = lag[near] == 0
            sums += np.bincount(b[same] * num_units + a[same], product[same], minlength=len(sums))
        step += 1
    values = sums.reshape(num_lags + 1, num_units, num_units)
    values -= _num_pairs(counts.spans, num_lags)[:, None, None] * np.outer(mean, mean)
    return Correlogram(values, mean, counts.bin_width)


def _num_pairs(spans: np.ndarray, num_lags: int) -> np.ndarray:
    """(num_lags + 1,) pairs of observed bins at each lag."""
    number = np.zeros(num_lags + 1)
    for lag in range(num_lags + 1):
        overlap = intersect(spans, spans + lag)
        number[lag] = (overlap[:, 1] - overlap[:, 0]).sum()
    return number
