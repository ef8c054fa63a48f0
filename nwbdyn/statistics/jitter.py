"""Jitter surrogates of spikes: fine timing is destroyed, everything slower remains.

Time is divided into windows of equal width. Each spike is drawn again, uniformly, within its window
(interval jitter: Amarasingham et al. 2012; Fujisawa et al. 2008). A unit has as many spikes in each
window as before, so rates, bursts and common input that are slower than the window stay. Rejecting
this null says that two units are coordinated within a window, in one direction. It says nothing of
an unrecorded neuron that drives both with delays of a few milliseconds.
"""

from dataclasses import replace

import numpy as np

from nwbdyn.errors import ConfigError
from nwbdyn.recording import SpikeTimes

WINDOW = 0.02  # seconds


def jitter(
    spikes: SpikeTimes, *, random: np.random.Generator, window: float = WINDOW
) -> SpikeTimes:
    """Draw every spike again within its window of time.

    A window that an observed interval begins or ends in is cut there. Spikes outside the observed
    intervals are drawn within their part of the window, too. Times that are not finite stay.

    Args:
        window: seconds; windows start at 0 s.

    Raises:
        ConfigError: a window that is not a positive number of seconds.
    """
    if not (np.isfinite(window) and window > 0):
        raise ConfigError(f"A jitter window is a positive number of seconds, not {window:g}.")
    times = np.asarray(spikes.times[:], dtype=np.float64)
    finite = np.isfinite(times)
    begin, end = _cells(times[finite], spikes.intervals, window)
    drawn = begin + random.random(len(begin)) * (end - begin)
    moved = times.copy()
    moved[finite] = np.clip(drawn, begin, np.nextafter(end, begin))
    unit = np.repeat(np.arange(len(spikes.index)), np.diff(spikes.index, prepend=0))
    return replace(spikes, times=moved[np.lexsort((moved, unit))])


def hypothesis(window: float) -> str:
    """The null hypothesis of `jitter`, in words."""
    return (
        f"no coordination of spikes finer than {1000 * window:g} ms (each spike drawn again within "
        "its window); common input slower than that stays, faster common input passes this null"
    )


def _cells(
    times: np.ndarray, intervals: np.ndarray | None, window: float
) -> tuple[np.ndarray, np.ndarray]:
    """(n,) begin and end of the stretch that each time may move in."""
    number = np.floor(times / window)
    number -= times < number * window  # rounding of the quotient
    number += times >= (number + 1) * window
    begin, end = number * window, (number + 1) * window
    if intervals is not None and len(intervals):
        edges = np.unique(np.asarray(intervals, dtype=np.float64))
        after = np.searchsorted(edges, times, side="right")
        limits = np.concatenate([[-np.inf], edges, [np.inf]])
        begin, end = np.maximum(begin, limits[after]), np.minimum(end, limits[after + 1])
    return begin, end
