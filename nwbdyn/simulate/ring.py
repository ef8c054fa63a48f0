"""`sample:ring`: a spiking ring attractor, whose bump makes far neurons look connected.

    s(t+1) = decay s(t) + y(t),    y(t+1) ~ Poisson(exp(b + W s(t+1)))

100 neurons around a ring. W depends on the distance only: its neighbours excite a neuron, all
others inhibit it, and nothing connects it to itself. The bump of activity drifts, so that neurons
of one side fire together whether connected or not.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from nwbdyn.recording import Neurons, Recording
from nwbdyn.simulate.parameters import Parameters, parameter
from nwbdyn.simulate.spikes import spike_times
from nwbdyn.simulate.truth import Truth

STEP = 0.01  # seconds
DECAY = 0.9  # of synaptic activation, per step
OFFSET = -0.7  # log expected count per step without input
EXCITATION, INHIBITION = 0.10, -0.09
WIDTH = 0.14  # of the excitation, turns of the ring
MOST = 0.8  # expected count per step, at most; the bump stays below it
SETTLING = 500  # steps that are discarded


@dataclass(frozen=True)
class Ring(Parameters):
    """Parameters of `sample:ring`."""

    name = "ring"
    neurons: int = parameter(100, 20, 1000)
    steps: int = parameter(20_000, 500, 1_000_000)

    def simulate(self) -> tuple[Recording, Truth]:
        """The recording and what was planted in it."""
        random = np.random.default_rng(self.seed)
        weights = _weights(self.neurons)
        counts = np.zeros((SETTLING + self.steps, self.neurons), dtype=np.int64)
        expected = np.zeros(counts.shape)
        activation = np.zeros(counts.shape)
        for t in range(1, len(counts)):
            activation[t] = DECAY * activation[t - 1] + counts[t - 1]
            expected[t] = np.minimum(np.exp(OFFSET + weights @ activation[t]), MOST)
            counts[t] = random.poisson(expected[t])
        time = (np.arange(self.steps) + 0.5) * STEP
        observed = np.array([[0.0, self.steps * STEP]])
        recording = self.recording(
            Neurons(pd.DataFrame({"id": 1 + np.arange(self.neurons)}), kind="unit"),
            spike_times(counts[SETTLING:], time, STEP, random, intervals=observed),
            "a ring attractor of spiking neurons",
        )
        return recording, Truth(
            time=time,
            rates=(expected[SETTLING:] / STEP).astype(np.float32),
            latents=activation[SETTLING:].astype(np.float32),
            coupling=weights,
        )


def _weights(num_neurons: int) -> np.ndarray:
    """(N, N) [post, pre]; sums over the ring do not depend on the number of neurons."""
    angle = np.arange(num_neurons) / num_neurons
    apart = np.abs(angle[:, None] - angle)
    apart = np.minimum(apart, 1 - apart)
    weights = EXCITATION * np.exp(-0.5 * (apart / WIDTH) ** 2) + INHIBITION
    np.fill_diagonal(weights, 0)
    return weights * 100 / num_neurons
