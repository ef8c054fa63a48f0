"""The time scale of coupling between spiking units: which filters predict validation best.

Every candidate lives on one fine grid, with one span of a unit's own past and the same validation
seconds, so that they differ in coupling only. What is compared is the coupling gain, l(own past +
coupling) - l(own past) in bits per second, and never the likelihood itself, which rises with the
width of a bin whatever the coupling. Common input slower than the jitter window raises the gain of
wide filters; how far is seen in jitter surrogates, and is subtracted.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nwbdyn.statistics.coupling_filters import (
    OWN_SPAN,
    Filters,
    box,
    coupling_gain,
    fit,
    raised_cosines,
)
from nwbdyn.statistics.fine_counts import FineCounts, correlogram

GRID = 0.001  # seconds per bin
BOXES = (0.002, 0.005, 0.010, 0.020, 0.050)  # seconds
COSINES = ((0.005, 2), (0.010, 3), (0.020, 4), (0.050, 5))  # seconds, number of functions


@dataclass(frozen=True)
class Candidate:
    """Filters and what coupling through them adds on validation."""

    filters: Filters
    gain: float  # bits per second
    surrogate_gain: float  # the same of jitter surrogates, their mean; 0 if negative

    @property
    def excess(self) -> float:
        """Bits per second that need timing finer than the jitter window."""
        return self.gain - self.surrogate_gain


def candidates(bin_width: float = GRID) -> list[Filters]:
    """Boxes and raised cosines of supports up to 50 ms."""
    boxes = [box(round(span / bin_width), bin_width) for span in BOXES]
    return boxes + [raised_cosines(round(span / bin_width), n, bin_width) for span, n in COSINES]


def compare(
    counts: FineCounts,
    surrogates: Sequence[FineCounts],
    each: Sequence[Filters],
    *,
    train: np.ndarray,
    val: np.ndarray,
) -> list[Candidate]:
    """The coupling gain of every candidate on validation.

    Args:
        counts: of the recording.
        surrogates: of the same spikes, jittered.
        each: the candidates.
        train, val: (m, 2) bins [start, stop), increasing and disjoint.
    """
    gains = []
    for one in (counts, *surrogates):
        lags = correlogram(one.within(train), round(OWN_SPAN / one.bin_width))
        part = one.within(val)
        gains.append([coupling_gain(fit(lags, filters), part) for filters in each])
    own, drawn = np.array(gains[0]), np.array(gains[1:])
    beside = drawn.mean(axis=0) if len(drawn) else np.zeros(len(own))
    return [
        Candidate(filters, float(gain), float(max(common, 0.0)))
        for filters, gain, common in zip(each, own, beside, strict=True)
    ]


def best(compared: Sequence[Candidate]) -> Candidate:
    """The candidate of the largest excess."""
    return max(compared, key=lambda candidate: candidate.excess)
