"""`sample:toy`: five units whose coupling is constant or moves with their state, linear or tanh.

    x(k+1) = x(k) + STEP phi(W(k) x(k)) + noise of sd `noise`        W(k) = W0 (+ x(k) a^T, moving)

With phi the identity and Euler's steps this is what NetFormer without layer norm computes exactly;
with tanh only near 0. (`linear-static` takes exact steps, exp(STEP W0), as published.) One pair of
modes of W0 oscillates without damping, the others decay. Seed 0 is the system of NetFormer's toy
experiments (Lu et al. 2025), drawn anew from the seeds of its random numbers; the other seeds are
systems of the same kind.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.linalg import expm

from nwbdyn.recording import Neurons, Recording, Traces
from nwbdyn.simulate.parameters import Parameters, choice, parameter
from nwbdyn.simulate.truth import Truth

NUM_UNITS = 5
STEP = 0.01
DRAW = {"linear": 1, "tanh": 2}  # of W0; the first state comes from the draw of "linear"
UNUSED = 10  # numbers before the first state in its draw
SLOWER = {"linear": 1.2, "tanh": 0.0}  # added to the real modes
SENDERS = {"linear": (-1, 1, -1, 2, -1), "tanh": (-1, -1, 1, 1, 1)}  # a
MOST = 10.0  # of a state; systems of other seeds that pass it are drawn again
RATE = 10.0  # steps per second, for the recording's clock only


@dataclass(frozen=True)
class Toy(Parameters):
    """Parameters of `sample:toy`."""

    name = "toy"
    kind: str = choice("linear-static", "tanh-static", "linear-moving", "tanh-moving")
    steps: int = parameter(3000, 100, 1_000_000)
    noise: float = parameter(0.0, 0, 1)  # per step

    def simulate(self) -> tuple[Recording, Truth]:
        """The recording and what was planted in it."""
        x, weights = self._course()
        moving = weights.ndim == 3
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
            coupling=weights.mean(axis=0) if moving else weights,
            couplings=weights if moving else None,
            state=np.arange(self.steps) if moving else None,
        )
        return recording, truth

    def _course(self) -> tuple[np.ndarray, np.ndarray]:
        """States (steps, 5), and weights [post, pre]: (5, 5), or (steps, 5, 5) where they move."""
        link, _, motion = self.kind.partition("-")
        first, network = (self._generator(DRAW[name]) for name in ("linear", link))
        first.standard_normal(UNUSED)
        start = first.standard_normal(NUM_UNITS)
        if link == "linear":
            network = first
        noise = self.noise * self._generator(0).standard_normal((self.steps, NUM_UNITS))
        while True:
            fixed = _oscillating(network, SLOWER[link])
            x, weights = _steps(link, motion == "moving", fixed, start, noise)
            if np.abs(x).max() < MOST:
                return x, weights

    def _generator(self, draw: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, draw] if self.seed else draw)


def _steps(
    link: str, moving: bool, fixed: np.ndarray, start: np.ndarray, noise: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The steps behind `Toy._course`."""
    senders = np.array(SENDERS[link], dtype=float)
    respond = np.tanh if link == "tanh" else np.positive
    exact = expm(STEP * fixed)
    x = np.empty_like(noise)
    weights = np.empty((len(noise), NUM_UNITS, NUM_UNITS))
    x[0] = start
    with np.errstate(over="ignore", invalid="ignore"):  # a system that runs away is drawn again
        for k, now in enumerate(x):
            weights[k] = fixed + np.outer(now, senders) if moving else fixed
            if k + 1 < len(x):
                after = now + STEP * respond(weights[k] @ now)
                x[k + 1] = (after if moving or link == "tanh" else exact @ now) + noise[k + 1]
    return x, weights if moving else fixed


def _oscillating(random: np.random.Generator, slower: float) -> np.ndarray:
    """(5, 5) normal weights whose fastest rhythm is undamped, all other modes decaying."""
    while True:
        values, modes = np.linalg.eig(random.standard_normal((NUM_UNITS, NUM_UNITS)))
        rhythm = np.abs(values.imag)
        if rhythm.max() > 0:
            break
    damping = np.abs(values.real + np.where(rhythm == 0, slower, 0))
    damping[np.isclose(rhythm, rhythm.max())] = 0
    values = -damping + 1j * values.imag
    return np.real(modes @ np.diag(values) @ np.linalg.inv(modes))
