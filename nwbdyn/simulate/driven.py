"""`sample:driven`: a recurrent network under a stimulus that is recorded beside it.

    x(t+1) = leak x(t) + (1 - leak) tanh(W x(t) + B u(t)) + noise

Not autonomous: three stimulus channels u, steps of random height and length, reach overlapping
groups of neurons through B and move them together, so that correlation mistakes common input for
coupling. W as in `sample:network`.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from nwbdyn.recording import Covariate, Neurons, Recording, Traces
from nwbdyn.simulate.network import balanced
from nwbdyn.simulate.parameters import Parameters, parameter
from nwbdyn.simulate.truth import Truth

NUM_CHANNELS = 3
REACHED = 0.5  # share of the neurons that a channel reaches
STRENGTH = 1.0
RADIUS = 1.2
LEAK = 0.4
NOISE = 0.3
HOLD = 8  # steps, mean length of a stimulus level
STEP = 0.05  # seconds


@dataclass(frozen=True)
class Driven(Parameters):
    """Parameters of `sample:driven`."""

    name = "driven"
    neurons: int = parameter(30, 4, 2000)
    steps: int = parameter(3000, 100, 1_000_000)

    def simulate(self) -> tuple[Recording, Truth]:
        """The recording and what was planted in it."""
        random = np.random.default_rng(self.seed)
        weights = balanced(self.neurons, RADIUS, random)
        inputs = STRENGTH * random.normal(size=(self.neurons, NUM_CHANNELS))
        inputs *= random.random(inputs.shape) < REACHED
        changes = random.random((self.steps, NUM_CHANNELS)) < 1 / HOLD
        levels = random.normal(size=changes.shape)
        stimulus = np.zeros(changes.shape)
        x = NOISE * random.normal(size=(self.steps, self.neurons))
        for t in range(1, self.steps):
            stimulus[t] = np.where(changes[t], levels[t], stimulus[t - 1])
            response = np.tanh(weights @ x[t - 1] + inputs @ stimulus[t - 1])
            x[t] += LEAK * x[t - 1] + (1 - LEAK) * response
        time = np.arange(self.steps) * STEP
        recording = self.recording(
            Neurons(pd.DataFrame({"id": np.arange(self.neurons)}), kind="roi"),
            Traces(x.astype(np.float32), time, "dff"),
            "a recurrent network under a known stimulus",
            covariates=(Covariate("stimulus", stimulus, time),),
        )
        return recording, Truth(
            time=time,
            rates=x.astype(np.float32),
            latents=stimulus.astype(np.float32),
            coupling=weights,
            input_coupling=inputs,
        )
