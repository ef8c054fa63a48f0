"""The spikes of a recording as whole milliseconds, read once for all windows that are cut."""

from dataclasses import dataclass

import numpy as np

from nwbdyn.data.clock import milliseconds, observed_moments
from nwbdyn.data.spike_trains import by_unit
from nwbdyn.recording import Recording, SpikeTimes

READ = 16 * 2**20  # bytes of spike times read together


@dataclass(frozen=True)
class Moments:
    """Observed spikes of all units, unit after unit, each unit's in time order."""

    values: np.ndarray  # (num_spikes,) int64 milliseconds
    ends: np.ndarray  # (num_units + 1,) int64, where each unit's begin and end

    def of(self, unit: int) -> np.ndarray:
        """(n,) int64 milliseconds of one unit, by its row."""
        return self.values[self.ends[unit] : self.ends[unit + 1]]

    def in_windows(
        self, unit: int, first: np.ndarray, length: int, width: int = 1
    ) -> tuple[np.ndarray, np.ndarray]:
        """The spikes of one unit in windows of bins, which may overlap.

        Args:
            unit: row of the unit.
            first: (num_windows,) int64 milliseconds where the windows begin.
            length: bins per window.
            width: milliseconds per bin.

        Returns:
            (n,) positions window * length + bin that hold a spike, increasing, and (n,) how many.
        """
        moments = self.of(unit)
        start = np.searchsorted(moments, first)
        number = np.searchsorted(moments, first + length * width) - start
        window = np.repeat(np.arange(len(first)), number)
        spike = np.arange(len(window)) + np.repeat(start - np.cumsum(number) + number, number)
        position = window * length + (moments[spike] - first[window]) // width
        is_new = np.ones(len(position), dtype=bool)
        np.not_equal(position[1:], position[:-1], out=is_new[1:])
        new = np.flatnonzero(is_new)
        return position[new], np.diff(new, append=len(position))


def moments_of(recording: Recording) -> Moments:
    """All spikes that are finite and observed."""
    spikes = recording.activity
    assert isinstance(spikes, SpikeTimes)
    values = np.empty(int(spikes.index[-1]) if len(spikes.index) else 0, dtype=np.int64)
    ends = [0]
    for times in by_unit(spikes, together=READ):
        finite = np.isfinite(times)
        moments = milliseconds(times if finite.all() else times[finite])
        if np.any(moments[1:] < moments[:-1]):
            moments.sort()
        moments = observed_moments(moments, spikes.intervals)
        values[ends[-1] : ends[-1] + len(moments)] = moments
        ends.append(ends[-1] + len(moments))
    return Moments(values[: ends[-1]], np.array(ends))
