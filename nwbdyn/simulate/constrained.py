"""`sample:constrained`: a network whose weights follow measured strengths between cell types.

    x(t+1) = tanh(W x(t) + b) + 3.5 noise

200 neurons, 76 % EC and 8 % each of Pvalb, Sst and Vip; 13.2 % of the pairs are connected, their
weights normal about the postsynaptic potential between the two types (Campagnola et al. 2022, mV)
with sd .1. After NetFormer's connectivity-constrained simulation (Lu et al. 2025).
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from nwbdyn.recording import Neurons, Recording, Traces
from nwbdyn.simulate.parameters import Parameters, parameter
from nwbdyn.simulate.truth import Truth

CELL_TYPES = ("EC", "Pvalb", "Sst", "Vip")
SHARE = 0.08  # of each inhibitory type
POTENTIAL = np.array(  # [post, pre], mV
    [
        [0.11, -0.44, -0.16, -0.06],
        [0.27, -0.47, -0.18, -0.10],
        [0.10, -0.44, -0.19, -0.17],
        [0.45, -0.23, -0.17, -0.10],
    ]
)
SPREAD = 0.1
CONNECTED = 0.132
NOISE = 3.5
RATE = 10.0  # steps per second, for the recording's clock only


@dataclass(frozen=True)
class Constrained(Parameters):
    """Parameters of `sample:constrained`."""

    name = "constrained"
    neurons: int = parameter(200, 16, 2000)
    steps: int = parameter(30_000, 100, 1_000_000)

    def simulate(self) -> tuple[Recording, Truth]:
        """The recording and what was planted in it."""
        random = np.random.default_rng(self.seed)
        per_type = round(SHARE * self.neurons)
        types = np.repeat(np.arange(4), [self.neurons - 3 * per_type] + [per_type] * 3)
        weights = POTENTIAL[types[:, None], types] + SPREAD * random.normal(
            size=(self.neurons, self.neurons)
        )
        weights *= random.random(weights.shape) < CONNECTED
        np.fill_diagonal(weights, 0)
        offset = random.normal(size=self.neurons)
        x = NOISE * random.normal(size=(self.steps, self.neurons))
        for t in range(1, self.steps):
            x[t] += np.tanh(weights @ x[t - 1] + offset)
        time = np.arange(self.steps) / RATE
        table = {"id": np.arange(self.neurons), "cell_type": np.array(CELL_TYPES)[types]}
        recording = self.recording(
            Neurons(pd.DataFrame(table), kind="roi", cell_type_source="simulated"),
            Traces(x.astype(np.float32), time, "dff"),
            "a network with the strengths between cell types that were measured in mouse cortex",
        )
        state = x.astype(np.float32)
        return recording, Truth(time=time, rates=state, latents=state, coupling=weights)
