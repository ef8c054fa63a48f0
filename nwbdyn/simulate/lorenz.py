"""`sample:lorenz`: spikes of units that share a chaotic, three-dimensional latent.

The Lorenz system starts from one of many initial conditions in every trial; log rates are linear in
its state, spikes Poisson. No unit is coupled to another. Held-out units can be predicted only
through the latent.
"""

from dataclasses import dataclass

import numpy as np

from nwbdyn.recording import Recording
from nwbdyn.simulate.parameters import Parameters, parameter
from nwbdyn.simulate.spikes import spike_times, trials, units
from nwbdyn.simulate.truth import Truth

SIGMA, RHO, BETA = 10.0, 28.0, 8 / 3
BINS, STEP = 60, 0.02  # of a trial; seconds
SPEED = 0.03  # Lorenz time per bin
SUBSTEPS = 3
PAUSE = 10  # bins between trials
BASE_RATE = 10.0  # Hz, of a unit that the latent does not move
GAIN = 0.7  # sd of the log rates


@dataclass(frozen=True)
class Lorenz(Parameters):
    """Parameters of `sample:lorenz`; `trials` counts those of one initial condition."""

    name = "lorenz"
    neurons: int = parameter(48, 4, 900)
    conditions: int = parameter(64, 1, 1000)
    trials: int = parameter(10, 10, 1000)

    def simulate(self) -> tuple[Recording, Truth]:
        """The recording and what was planted in it."""
        random = np.random.default_rng(self.seed)
        paths = _paths(self.conditions, random)  # (conditions, BINS, 3)
        loading = random.normal(size=(3, self.neurons))
        loading *= GAIN / np.linalg.norm(loading, axis=0)
        table, time = trials(self.conditions, self.trials, BINS, STEP, PAUSE)
        latents = paths[table["condition"]].reshape(-1, 3)
        rates = BASE_RATE * np.exp(latents @ loading)
        observed = table[["start_time", "stop_time"]].to_numpy()
        spikes = spike_times(
            random.poisson(rates * STEP), time.ravel(), STEP, random, intervals=observed
        )
        recording = self.recording(
            units(self.neurons, random), spikes, "units driven by a Lorenz system", trials=table
        )
        return recording, Truth(
            time=time.ravel(),
            rates=rates.astype(np.float32),
            latents=latents.astype(np.float32),
        )


def _paths(num_conditions: int, random: np.random.Generator) -> np.ndarray:
    """(num_conditions, BINS, 3) paths on the attractor, each coordinate of unit variance."""
    state = random.normal(loc=[0, 0, 25], size=(num_conditions, 3))
    path = []
    for bin in range(-100, BINS):
        for _ in range(SUBSTEPS):
            state = _advance(state, SPEED / SUBSTEPS)
        if bin >= 0:
            path.append(state)
    paths = np.stack(path, axis=1)
    return (paths - paths.mean(axis=(0, 1))) / paths.std(axis=(0, 1))


def _advance(state: np.ndarray, step: float) -> np.ndarray:
    """One Runge-Kutta step of fourth order."""
    k1 = _flow(state)
    k2 = _flow(state + step / 2 * k1)
    k3 = _flow(state + step / 2 * k2)
    k4 = _flow(state + step * k3)
    return state + step / 6 * (k1 + 2 * k2 + 2 * k3 + k4)


def _flow(state: np.ndarray) -> np.ndarray:
    x, y, z = state.T
    return np.stack([SIGMA * (y - x), x * (RHO - z) - y, x * y - BETA * z], axis=1)
