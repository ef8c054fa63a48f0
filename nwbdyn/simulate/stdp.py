"""`sample:stdp`: one integrate-and-fire neuron whose synapses change with the timing of spikes.

100 independent Poisson inputs at 50 Hz drive a leaky integrate-and-fire neuron through excitatory
conductances g_j. Pairs of spikes change them: a synapse that was active before the neuron fired
grows, one that is active after it shrinks (additive, with soft limits 0 and G_MOST as walls). Steps
of 1 ms, Euler's method for every decay; the constants are those of NetFormer's simulation (Lu et
al. 2025), after Song et al. 2000. `simulate(spikes)` takes input spikes as they are given.
The recording's first column is the membrane voltage (mV), the others are input spikes, 0 or 1.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from nwbdyn.recording import Neurons, Recording, Traces
from nwbdyn.simulate.parameters import Parameters, parameter
from nwbdyn.simulate.truth import Truth

STEP = 0.001  # seconds
INPUT_RATE = 50.0  # Hz
MEMBRANE, SYNAPSE, REFRACTORY = 0.010, 0.005, 0.002  # seconds
THRESHOLD, REST, REVERSAL = -55.0, -75.0, 0.0  # mV; REST is the reset, too
START = -65.0  # mV
G_START, G_MOST = 0.014, 0.024  # of the leak conductance
POTENTIATION = 0.008  # of G_MOST, per pair
DEPRESSION = 1.1 * POTENTIATION
PLASTICITY = 0.020  # seconds, both windows


@dataclass(frozen=True)
class Stdp(Parameters):
    """Parameters of `sample:stdp`."""

    name = "stdp"
    inputs: int = parameter(100, 1, 1000)
    steps: int = parameter(100_000, 1000, 1_000_000)

    def simulate(self) -> tuple[Recording, Truth]:
        """The recording and what was planted in it."""
        random = np.random.default_rng(self.seed)
        spikes = random.random((self.steps, self.inputs)) < INPUT_RATE * STEP
        voltage, weights, fired = simulate(spikes)
        time = np.arange(self.steps) * STEP
        values = np.concatenate([voltage[:, None], spikes], axis=1).astype(np.float32)
        kinds = ["postsynaptic"] + ["input"] * self.inputs
        recording = self.recording(
            Neurons(
                pd.DataFrame({"id": np.arange(1 + self.inputs), "cell_type": kinds}),
                kind="roi",
                cell_type_source="simulated",
            ),
            Traces(values, time, "events"),
            "the voltage of an integrate-and-fire neuron, and its inputs, under plasticity",
        )
        edges = np.stack([np.zeros(self.inputs, int), 1 + np.arange(self.inputs)], axis=1)
        coupling = np.zeros((1 + self.inputs, 1 + self.inputs))
        coupling[0, 1:] = weights.mean(axis=0)
        return recording, Truth(
            time=time,
            rates=values,
            latents=fired[:, None].astype(np.float32),
            coupling=coupling,
            edges=edges,
            edge_weights=weights,
        )


def simulate(spikes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Response to inputs (num_steps, num_inputs), bool; those of a step act on the next voltage.

    Returns:
        Voltage (num_steps,), conductances (num_steps, num_inputs), own spikes (num_steps,).
    """
    num_steps, num_inputs = spikes.shape
    voltage = np.empty(num_steps)
    weights = np.empty((num_steps, num_inputs), dtype=np.float32)
    fired = np.zeros(num_steps, dtype=bool)
    g = np.full(num_inputs, G_START)
    before, after, conductance = np.zeros(num_inputs), 0.0, 0.0  # traces of inputs, own spikes
    keep, decay = 1 - STEP / PLASTICITY, 1 - STEP / SYNAPSE
    rest_until = 0
    now = START
    for t in range(num_steps):
        arrived = spikes[t]
        before *= keep
        before[arrived] += t > 0  # the published traces start a step late
        if t < rest_until:
            now = REST
        elif now >= THRESHOLD:
            fired[t] = True
            now, rest_until = REST, t + 1 + round(REFRACTORY / STEP)
            g = np.minimum(g + POTENTIATION * G_MOST * before, G_MOST)
            after += 1
        voltage[t], weights[t] = now, g
        conductance = decay * conductance + g[arrived].sum()
        g[arrived] = np.maximum(g[arrived] - DEPRESSION * G_MOST * after, 0)
        after *= keep
        now += STEP / MEMBRANE * (REST - now + conductance * (REVERSAL - now))
    return voltage, weights, fired
