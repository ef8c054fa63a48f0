"""A linear Hawkes process with delays (Hawkes 1971): units that cause each other's spikes.

Every unit fires by itself. A spike of unit j gives unit i another one with probability w[i, j],
after the delay of the pair.
"""

from dataclasses import dataclass

import numpy as np

from nwbdyn.recording import SpikeTimes

MOST_INPUT = 0.6  # largest sum of a unit's incoming weights, so that the activity stays bounded
SHORTEST, LONGEST = 0.002, 0.020  # seconds, delays
SPREAD = 0.0005  # seconds, of a delay from spike to spike


@dataclass(frozen=True)
class Spikes:
    """All spikes of a simulation, in no order."""

    times: np.ndarray  # (num_spikes,) seconds
    units: np.ndarray  # (num_spikes,) int
    caused: np.ndarray  # (num_steps, N) spikes that others are expected to cause in a step

    def spike_times(self, duration: float) -> SpikeTimes:
        """Spike times per unit, observed from 0 to `duration` seconds."""
        order = np.lexsort((self.times, self.units))
        index = np.cumsum(np.bincount(self.units, minlength=self.caused.shape[1]))
        return SpikeTimes(self.times[order], index, intervals=np.array([[0.0, duration]]))


def couplings(
    num_units: int, share: float, weights: tuple[float, float], random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """(N, N) [post, pre] weights, and delays in seconds, NaN where nothing is coupled.

    Args:
        share: of the pairs that are coupled.
        weights: least and most, spikes of the receiver per spike of the sender.
    """
    coupled = random.random((num_units, num_units)) < share
    np.fill_diagonal(coupled, False)
    weight = coupled * random.uniform(*weights, coupled.shape)
    weight *= np.minimum(1.0, MOST_INPUT / np.maximum(weight.sum(axis=1), MOST_INPUT))[:, None]
    delay = random.uniform(SHORTEST, LONGEST, coupled.shape)
    return weight, np.where(coupled, delay, np.nan)


def spikes(
    weight: np.ndarray,
    delay: np.ndarray,
    *,
    rate: float,
    duration: float,
    step: float,
    random: np.random.Generator,
) -> Spikes:
    """Spikes of all units, generation after generation: own ones, those that these cause, ….

    Args:
        rate: of every unit by itself, Hz.
        duration: seconds.
        step: of `Spikes.caused`, seconds.
    """
    num_units = len(weight)
    units = np.repeat(np.arange(num_units), random.poisson(rate * duration, num_units))
    times = random.uniform(0, duration, len(units))
    caused = np.zeros((int(np.ceil(duration / step)), num_units))
    generations = [(times, units)]
    while len(times):
        next_times, next_units = [np.empty(0)], [np.empty(0, int)]
        for post, pre in np.argwhere(weight):
            sent = times[units == pre]
            later = sent + delay[post, pre] + SPREAD * random.normal(size=len(sent))
            later = later[later < duration]
            np.add.at(caused[:, post], (later / step).astype(int), weight[post, pre])
            arrived = later[random.random(len(later)) < weight[post, pre]]
            next_times.append(arrived)
            next_units.append(np.full(len(arrived), post))
        times, units = np.concatenate(next_times), np.concatenate(next_units)
        generations.append((times, units))
    all_times, all_units = zip(*generations, strict=True)
    return Spikes(np.concatenate(all_times), np.concatenate(all_units), caused)
