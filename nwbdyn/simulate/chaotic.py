"""`sample:chaotic`: spikes of the units of a chaotic recurrent network.

    tau dx/dt = -x + GAIN W tanh(x),    rate = MOST_RATE (1 + tanh(x)) / 2

W is normal with variance 1/N. In every trial the network starts from one of a few initial states;
what differs between trials of one condition is the Poisson noise of the spikes.
"""

from dataclasses import dataclass

import numpy as np

from nwbdyn.recording import Recording
from nwbdyn.simulate.parameters import Parameters, parameter
from nwbdyn.simulate.spikes import spike_times, trials, units
from nwbdyn.simulate.truth import Truth

GAIN = 1.5
TIME_CONSTANT = 0.05  # seconds
BINS, STEP = 100, 0.01  # of a trial; seconds
SUBSTEPS = 4
PAUSE = 20  # bins between trials
MOST_RATE = 30.0  # Hz


@dataclass(frozen=True)
class Chaotic(Parameters):
    """Parameters of `sample:chaotic`; `trials` counts those of one initial state."""

    name = "chaotic"
    neurons: int = parameter(50, 8, 900)
    conditions: int = parameter(20, 1, 1000)
    trials: int = parameter(20, 10, 1000)

    def simulate(self) -> tuple[Recording, Truth]:
        """The recording and what was planted in it."""
        random = np.random.default_rng(self.seed)
        weights = GAIN * random.normal(size=(self.neurons, self.neurons)) / np.sqrt(self.neurons)
        x = random.normal(size=(self.conditions, self.neurons))
        path = []
        for bin in range(-50, BINS):  # the first half second brings it to its own activity
            for _ in range(SUBSTEPS):
                x = x + STEP / SUBSTEPS / TIME_CONSTANT * (np.tanh(x) @ weights.T - x)
            if bin >= 0:
                path.append(x)
        paths = np.stack(path, axis=1)  # (conditions, BINS, N)
        table, time = trials(self.conditions, self.trials, BINS, STEP, PAUSE)
        latents = paths[table["condition"]].reshape(-1, self.neurons)
        rates = MOST_RATE * (1 + np.tanh(latents)) / 2
        observed = table[["start_time", "stop_time"]].to_numpy()
        spikes = spike_times(
            random.poisson(rates * STEP), time.ravel(), STEP, random, intervals=observed
        )
        recording = self.recording(
            units(self.neurons, random), spikes, "units of a chaotic network", trials=table
        )
        return recording, Truth(
            time=time.ravel(),
            rates=rates.astype(np.float32),
            latents=latents.astype(np.float32),
            coupling=weights,
        )
