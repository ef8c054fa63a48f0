"""`sample:spiking`: units that excite each other after a few milliseconds.

A Hawkes process (`hawkes`): each unit fires by itself at 8 Hz, and a spike of unit j gives unit i
another one with probability w[i, j], after a delay of the pair between 2 and 20 ms. So w is the
number of spikes of the receiver per spike of the sender, the unit in which `--null jitter:K`
estimates couplings.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from nwbdyn.recording import Neurons, Recording
from nwbdyn.simulate import hawkes
from nwbdyn.simulate.parameters import Parameters, parameter
from nwbdyn.simulate.truth import Truth

RATE = 8.0  # Hz, of every unit by itself
COUPLED = 0.15  # share of pairs
WEIGHTS = (0.06, 0.15)  # spikes of the receiver per spike of the sender
STEP = 0.01  # seconds, of the rates in the truth


@dataclass(frozen=True)
class Spiking(Parameters):
    """Parameters of `sample:spiking`."""

    name = "spiking"
    neurons: int = parameter(10, 4, 200)
    duration: float = parameter(300.0, 10, 36_000)  # seconds

    def simulate(self) -> tuple[Recording, Truth]:
        """The recording and what was planted in it."""
        wiring, firing = (np.random.default_rng([self.seed, stream]) for stream in range(2))
        weight, delay = hawkes.couplings(self.neurons, COUPLED, WEIGHTS, wiring)
        spikes = hawkes.spikes(
            weight, delay, rate=RATE, duration=self.duration, step=STEP, random=firing
        )
        num_steps = len(spikes.caused)
        recording = self.recording(
            Neurons(pd.DataFrame({"id": 1 + np.arange(self.neurons)}), kind="unit"),
            spikes.spike_times(self.duration),
            "units that excite each other after delays of milliseconds",
        )
        return recording, Truth(
            time=(np.arange(num_steps) + 0.5) * STEP,
            rates=(RATE + spikes.caused / STEP).astype(np.float32),
            latents=np.zeros((num_steps, 0), np.float32),
            coupling=weight,
            delays=delay,
        )
