"""`sample:network`: random signed networks, the scenarios on which SynapsNet is judged.

Weights: sparse (10 %), 20 % inhibitory columns, excitation and inhibition balanced, no diagonal,
scaled to a spectral radius. With leak a and gain g of each neuron,

    rate, strong, linear, hetero, hidden:  x' = a x + (1 - a) phi(g W x) + .3 noise
    poisson:                               y' ~ Poisson(softplus(b + W y))
    ca:                                    an AR(.85) of poisson's counts, with noise

phi is tanh (linear: the identity). `hetero` has three kinds of neurons; in `hidden` half of the
neurons are not observed, and three slow latents drive all of them.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from nwbdyn.recording import Neurons, Recording, SpikeTimes, Traces
from nwbdyn.simulate.parameters import Parameters, choice, parameter
from nwbdyn.simulate.spikes import spike_times
from nwbdyn.simulate.truth import Truth

RADIUS = {"rate": 1.2, "strong": 2.5, "linear": 0.9, "hetero": 1.2, "hidden": 1.2}
SPIKING_RADIUS = 0.9
DENSITY, INHIBITORY = 0.1, 0.2
LEAK = 0.4
LEAKS, GAINS = np.array([0.8, 0.4, 0.1]), np.array([0.5, 1.0, 2.5])  # of the kinds of `hetero`
NOISE = 0.3
SETTLING = 100  # steps that are discarded
CALCIUM, CALCIUM_NOISE = 0.85, 0.1  # decay per step; noise over the trace's sd
STEP = 0.05  # seconds


@dataclass(frozen=True)
class Network(Parameters):
    """Parameters of `sample:network`; `neurons` counts those that are observed."""

    name = "network"
    kind: str = choice("rate", "strong", "linear", "hetero", "hidden", "poisson", "ca")
    neurons: int = parameter(30, 4, 2000)
    steps: int = parameter(2000, 100, 1_000_000)

    def simulate(self) -> tuple[Recording, Truth]:
        """The recording and what was planted in it."""
        random = np.random.default_rng([self.seed, *self.kind.encode()])
        time = (np.arange(self.steps) + 0.5) * STEP
        neurons = Neurons(pd.DataFrame({"id": np.arange(self.neurons)}), kind="roi")
        activity: Traces | SpikeTimes
        if self.kind in RADIUS:
            values, weights, latents = self._rates(random)
            activity = Traces(values.astype(np.float32), time, "dff")
            rates = values
        else:
            weights = balanced(self.neurons, SPIKING_RADIUS, random)
            counts, expected = _poisson(weights, self.steps, random)
            latents = np.zeros((self.steps, 0))
            rates = expected / STEP
            if self.kind == "ca":
                activity = Traces(_calcium(counts, random).astype(np.float32), time, "dff")
            else:
                neurons = Neurons(neurons.table, kind="unit")
                observed = np.array([[0.0, self.steps * STEP]])
                activity = spike_times(counts, time, STEP, random, intervals=observed)
        recording = self.recording(neurons, activity, f"a random network, {self.kind}")
        return recording, Truth(
            time=time,
            rates=rates.astype(np.float32),
            latents=latents.astype(np.float32),
            coupling=weights,
        )

    def _rates(self, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Activity and weights of the observed neurons, and the latents."""
        hidden = self.kind == "hidden"
        num_neurons = 2 * self.neurons if hidden else self.neurons
        weights = balanced(num_neurons, RADIUS[self.kind], random)
        leak, gain = np.full(num_neurons, LEAK), np.ones(num_neurons)
        if self.kind == "hetero":
            number = random.integers(0, len(LEAKS), num_neurons)
            leak, gain = LEAKS[number], GAINS[number]
        num_latents = 3 if hidden else 0
        loading = 0.3 * random.normal(size=(num_neurons, num_latents))
        x = np.zeros((SETTLING + self.steps, num_neurons))
        latents = np.zeros((SETTLING + self.steps, num_latents))
        for t in range(1, len(x)):
            current = gain * (weights @ x[t - 1])
            response = current if self.kind == "linear" else np.tanh(current)
            latents[t] = 0.95 * latents[t - 1] + 0.3 * random.normal(size=num_latents)
            noise = NOISE * random.normal(size=num_neurons)
            x[t] = leak * x[t - 1] + (1 - leak) * response + noise + loading @ latents[t]
        seen = np.sort(random.permutation(num_neurons)[: self.neurons])
        return x[SETTLING:, seen], weights[np.ix_(seen, seen)], latents[SETTLING:]


def balanced(num_neurons: int, radius: float, random: np.random.Generator) -> np.ndarray:
    """(N, N) [post, pre] sparse weights, column signs by neuron, with a given spectral radius."""
    weights = np.abs(random.normal(1, 0.3, (num_neurons, num_neurons)))
    weights *= random.random(weights.shape) < DENSITY
    inhibitory = random.permutation(num_neurons)[: round(INHIBITORY * num_neurons)]
    weights[:, inhibitory] *= -(1 - INHIBITORY) / INHIBITORY
    np.fill_diagonal(weights, 0)
    largest = np.abs(np.linalg.eigvals(weights)).max()
    return weights * (radius / max(largest, 0.1))  # a tiny network may have no loop at all


def _poisson(
    weights: np.ndarray, num_steps: int, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """(num_steps, N) counts and expected counts."""
    offset = random.normal(-1, 0.3, len(weights))
    counts = np.zeros((SETTLING + num_steps, len(weights)), dtype=np.int64)
    expected = np.zeros(counts.shape)
    for t in range(1, len(counts)):
        expected[t] = np.logaddexp(0, offset + weights @ counts[t - 1])
        counts[t] = random.poisson(expected[t])
    return counts[SETTLING:], expected[SETTLING:]


def _calcium(counts: np.ndarray, random: np.random.Generator) -> np.ndarray:
    trace = np.zeros(counts.shape)
    for t in range(1, len(trace)):
        trace[t] = CALCIUM * trace[t - 1] + counts[t]
    return trace + CALCIUM_NOISE * trace.std(axis=0) * random.normal(size=trace.shape)
