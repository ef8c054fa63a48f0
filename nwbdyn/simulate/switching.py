"""`sample:switching`: a network whose couplings change with a state that is recorded.

    x(t+1) = leak x(t) + W(state) x(t) + noise

The states "engaged" and "idle" take turns, about ten seconds each. While idle, three of the senders
have other receivers: the same weights, permuted. Everything else stays, also the noise, so that a
difference between the states is a difference of coupling.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from nwbdyn.recording import Neurons, Recording, Traces
from nwbdyn.simulate.parameters import Parameters, parameter
from nwbdyn.simulate.truth import Truth

STATES = ("engaged", "idle")
LEAK = 0.5
COUPLED = 0.3  # share of pairs
WEAKEST, STRONGEST = 0.15, 0.35
RADIUS = 0.85  # spectral radius of leak + W in both states, at most
REWIRED = 3  # senders with other receivers while idle
DWELL = 10.0  # seconds, mean length of a state
SHORTEST_DWELL = 4.0  # seconds
STEP = 0.1  # seconds


@dataclass(frozen=True)
class Switching(Parameters):
    """Parameters of `sample:switching`."""

    name = "switching"
    neurons: int = parameter(10, 4, 500)
    steps: int = parameter(4000, 600, 1_000_000)

    def simulate(self) -> tuple[Recording, Truth]:
        """The recording and what was planted in it."""
        wiring, behaviour, activity = (
            np.random.default_rng([self.seed, stream]) for stream in range(3)
        )
        couplings = _couplings(self.neurons, wiring)
        state = _states(self.steps, behaviour)
        x = np.zeros((self.steps, self.neurons))
        noise = activity.normal(size=x.shape)
        for t in range(1, self.steps):
            x[t] = LEAK * x[t - 1] + couplings[state[t - 1]] @ x[t - 1] + noise[t]
        time = np.arange(self.steps) * STEP
        recording = self.recording(
            Neurons(pd.DataFrame({"id": np.arange(self.neurons)}), kind="roi"),
            Traces(x.astype(np.float32), time, "dff"),
            "a network of which three senders change their receivers with the state",
            intervals={"task_state": _intervals(time, state)},
        )
        share = state.mean()
        return recording, Truth(
            time=time,
            rates=x.astype(np.float32),
            latents=np.zeros((self.steps, 0), np.float32),
            coupling=(1 - share) * couplings[0] + share * couplings[1],
            couplings=couplings,
            state=state,
        )


def _couplings(num_neurons: int, random: np.random.Generator) -> np.ndarray:
    """(2, N, N) [state, post, pre], stable with the leak in both states."""
    weights = random.uniform(WEAKEST, STRONGEST, (num_neurons, num_neurons))
    weights *= random.choice([-1.0, 1.0], weights.shape)
    weights *= random.random(weights.shape) < COUPLED
    np.fill_diagonal(weights, 0)
    others = weights.copy()
    strongest = np.argsort(-np.abs(weights).sum(axis=0))[:REWIRED]
    for sender in strongest:
        receivers = np.delete(np.arange(num_neurons), sender)
        others[receivers, sender] = weights[random.permutation(receivers), sender]
    couplings = np.stack([weights, others])
    largest = np.abs(np.linalg.eigvals(LEAK * np.eye(num_neurons) + couplings)).max()
    while largest > RADIUS:
        couplings *= 0.95
        largest = np.abs(np.linalg.eigvals(LEAK * np.eye(num_neurons) + couplings)).max()
    return couplings


def _states(num_steps: int, random: np.random.Generator) -> np.ndarray:
    """(num_steps,) int, index into STATES."""
    state = np.zeros(num_steps, np.int64)
    at, current = 0, 0
    while at < num_steps:
        dwell = max(SHORTEST_DWELL, random.exponential(DWELL))
        length = round(dwell / STEP)
        state[at : at + length] = current
        at, current = at + length, 1 - current
    return state


def _intervals(time: np.ndarray, state: np.ndarray) -> pd.DataFrame:
    """One row per stretch of a state."""
    edges = np.flatnonzero(np.diff(state, prepend=-1))
    return pd.DataFrame(
        {
            "start_time": time[edges],
            "stop_time": np.append(time[edges[1:]], time[-1] + STEP),
            "label": np.array(STATES)[state[edges]],
        }
    )
