"""`sample:toy`: five units whose coupling is constant or moves, linear or through tanh.

    x(k+1) = x(k) + STEP (-x(k) + phi(W(k) x(k))) + noise of sd `noise`

With phi the identity this is what NetFormer without layer norm computes exactly; with tanh only
near 0. The linear systems oscillate with hardly any damping, the tanh systems keep themselves in a
limit cycle. In the moving systems every weight swings about its mean at its own slow rhythm. The
form is that of NetFormer's toy systems (Lu et al. 2025); weights and rhythms are chosen here.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from nwbdyn.recording import Neurons, Recording, Traces
from nwbdyn.simulate.parameters import Parameters, choice, parameter
from nwbdyn.simulate.truth import Truth

NUM_UNITS = 5
STEP = 0.05
GROWTH = {"linear": 0.999, "tanh": 1.01}  # per step of the fastest mode around 0, at its fastest
SWING = 0.5  # amplitude of a moving weight over its mean
PERIODS = (400, 900)  # steps
RATE = 10.0  # steps per second, for the recording's clock only


@dataclass(frozen=True)
class Toy(Parameters):
    """Parameters of `sample:toy`."""

    name = "toy"
    kind: str = choice("linear-static", "tanh-static", "linear-moving", "tanh-moving")
    steps: int = parameter(3000, 100, 1_000_000)
    noise: float = parameter(0.01, 0, 1)  # per step

    def simulate(self) -> tuple[Recording, Truth]:
        """The recording and what was planted in it."""
        random = np.random.default_rng([self.seed, *self.kind.encode()])
        link, _, motion = self.kind.partition("-")
        moving = motion == "moving"
        weights = _weights(self.steps, GROWTH[link], moving=moving, random=random)
        respond = np.tanh if link == "tanh" else np.positive
        noise = self.noise * random.normal(size=(self.steps, NUM_UNITS))
        x = np.empty_like(noise)
        x[0] = random.normal(size=NUM_UNITS)
        for k in range(1, self.steps):
            flow = respond(weights[k - 1] @ x[k - 1]) - x[k - 1]
            x[k] = x[k - 1] + STEP * flow + noise[k]
        time = np.arange(self.steps) / RATE
        recording = self.recording(
            Neurons(pd.DataFrame({"id": np.arange(NUM_UNITS)}), kind="roi"),
            Traces(x.astype(np.float32), time, "dff"),
            f"a {self.kind} system of five units",
        )
        truth = Truth(
            time=time,
            rates=x.astype(np.float32),
            latents=x.astype(np.float32),
            coupling=weights.mean(axis=0),
            couplings=weights if moving else None,
            state=np.arange(self.steps) if moving else None,
        )
        return recording, truth


def _weights(
    num_steps: int, growth: float, *, moving: bool, random: np.random.Generator
) -> np.ndarray:
    """(num_steps, 5, 5) [post, pre] without diagonal; its fastest mode grows by `growth`."""
    shape = (NUM_UNITS, NUM_UNITS)
    others = ~np.eye(NUM_UNITS, dtype=bool)
    while True:  # until the leading mode oscillates
        mean = random.normal(size=shape) * others
        leading = max(np.linalg.eigvals(mean), key=np.real)
        if abs(leading.imag) > 0.5 * leading.real:
            break
    k = np.arange(num_steps)[:, None, None]
    swing = np.zeros((num_steps, 1, 1))
    if moving:
        period = random.uniform(*PERIODS, size=shape)
        phase = random.uniform(0, 2 * np.pi, size=shape)
        swing = SWING * np.sin(2 * np.pi * k / period + phase)
    weights = mean * (1 + swing)
    eigenvalues = np.linalg.eigvals(weights if moving else mean)
    low, high = 0.0, 10.0
    for _ in range(40):
        scale = (low + high) / 2
        slower = np.abs(1 + STEP * (scale * eigenvalues - 1)).max() < growth
        low, high = (scale, high) if slower else (low, scale)
    return low * weights
