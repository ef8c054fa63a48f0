"""`sample:cortex`: two-photon dF/F of a signed network of four cell types, with planted weights.

Every step is one imaging frame. The state x of N neurons follows

    x(t+1) = leak x(t) + W(state) tanh(x(t)) + b run(t) + noise,

where column j of W has the sign of cell type j (Dale's law) and running scales the columns by cell
type: Sst cells lose influence and Vip cells gain it. Events softplus(x + 1.5) go through a calcium
kernel and imaging noise. Which types connect, and how strongly relative to each other, follows the
textbook circuit (Pvalb onto EC and itself, Sst onto all but itself, Vip onto Sst); the numbers are
chosen here.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.signal import lfilter

from nwbdyn.recording import Covariate, Neurons, Recording, Traces
from nwbdyn.simulate.parameters import Parameters, parameter
from nwbdyn.simulate.truth import Truth

CELL_TYPES = ("EC", "Pvalb", "Sst", "Vip")
SHARES = (0.70, 0.12, 0.10, 0.08)
SIGNS = np.array([1.0, -1.0, -1.0, -1.0])
STRENGTH = np.array(  # [post type, pre type], relative
    [
        [1.0, 2.4, 1.8, 0.3],
        [1.4, 2.4, 1.2, 0.3],
        [1.0, 0.4, 0.2, 2.4],
        [1.0, 0.3, 1.8, 0.2],
    ]
)
RUNNING_GAIN = np.array([1.1, 1.0, 0.5, 1.8])  # of the columns of each cell type
RUNNING_DRIVE = np.array([0.1, 0.1, -0.1, 0.4])  # mean input while running, by cell type
CONNECTED = 0.2  # share of pairs with a synapse
LEAK = 0.2
RADIUS = 0.9  # spectral radius of leak + W in the stronger state
STRONGEST = 1.5  # root sum of squares of the strongest row of W, at most
NOISE = 0.4  # sd of the state's own noise per frame
FRAME_RATE = 10.0  # Hz
CALCIUM_DECAY = 0.25  # seconds
AMPLITUDE = 0.1  # dF/F per event
IMAGING_NOISE = 0.01  # dF/F
BOUT, REST = 8.0, 16.0  # seconds, mean length of running and of standing still
BEHAVIOUR_RATE = 50.0  # Hz
FIELD = 512  # pixels along a side of the image, one micrometre each
STILL, RUNNING = 0, 1


@dataclass(frozen=True)
class Cortex(Parameters):
    """Parameters of `sample:cortex`."""

    name = "cortex"
    neurons: int = parameter(50, 4, 2000)
    duration: float = parameter(600.0, 30, 36_000)  # seconds

    def simulate(self) -> tuple[Recording, Truth]:
        """The recording and what was planted in it."""
        network, behaviour, activity, imaging = (
            np.random.default_rng([self.seed, stream]) for stream in range(4)
        )
        types = _cell_types(self.neurons, network)
        couplings = _couplings(types, network)
        speed, pupil, times = _behaviour(self.duration, behaviour)
        num_frames = int(self.duration * FRAME_RATE)
        time = np.arange(num_frames) / FRAME_RATE
        state = np.interp(time, times, speed) > 1.0
        drive = RUNNING_DRIVE[types] + 0.15 * network.normal(size=self.neurons)
        x = _states(couplings, state, drive, activity)
        rates = np.log1p(np.exp(x + 1.5))
        traces = _calcium(rates) + IMAGING_NOISE * imaging.normal(size=rates.shape)
        recording = self.recording(
            _neurons(types, network),
            Traces(traces.astype(np.float32), time, "dff"),
            "two-photon imaging of a network of four cell types in a running mouse",
            subject={
                "subject_id": "sample-mouse",
                "species": "Mus musculus",
                "sex": "U",
                "age": "P90D",
                "description": "simulated, no animal",
            },
            covariates=(
                Covariate("running_speed", speed[:, None], times, "cm/s"),
                Covariate("pupil_diameter", pupil[:, None], times, "mm"),
            ),
            intervals={"behavioral_state": _bouts(time, state)},
        )
        share = state.mean()
        truth = Truth(
            time=time,
            rates=rates.astype(np.float32),
            latents=x.astype(np.float32),
            coupling=(1 - share) * couplings[STILL] + share * couplings[RUNNING],
            couplings=couplings,
            state=state.astype(np.int64),
        )
        return recording, truth


def _cell_types(num_neurons: int, random: np.random.Generator) -> np.ndarray:
    """(N,) index into CELL_TYPES, shuffled; every type occurs."""
    counts = np.maximum(np.floor(np.array(SHARES) * num_neurons).astype(int), 1)
    counts[0] = num_neurons - counts[1:].sum()
    return random.permutation(np.repeat(np.arange(len(CELL_TYPES)), counts))


def _couplings(types: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """(2, N, N) [state, post, pre], scaled so that the network is stable in both states."""
    num_neurons = len(types)
    size = random.lognormal(sigma=0.5, size=(num_neurons, num_neurons))
    size *= STRENGTH[types[:, None], types[None, :]]
    size *= random.random(size.shape) < CONNECTED
    np.fill_diagonal(size, 0)
    weights = size * SIGNS[types]
    couplings = np.stack([weights, weights * RUNNING_GAIN[types]])
    eigenvalues = np.linalg.eigvals(couplings)
    low, high = 0.0, STRONGEST / np.sqrt((couplings**2).sum(axis=-1)).max()
    for _ in range(40):
        scale = (low + high) / 2
        stable = np.abs(LEAK + scale * eigenvalues).max() < RADIUS
        low, high = (scale, high) if stable else (low, scale)
    return low * couplings


def _states(
    couplings: np.ndarray, state: np.ndarray, drive: np.ndarray, random: np.random.Generator
) -> np.ndarray:
    """(num_frames, N) x of the equation above; the first ten seconds are discarded."""
    settling = int(10 * FRAME_RATE)
    running = np.concatenate([np.full(settling, state[0]), state])
    noise = NOISE * random.normal(size=(len(running), len(drive)))
    x = np.zeros_like(noise)
    for t in range(1, len(running)):
        weights = couplings[int(running[t - 1])]
        x[t] = LEAK * x[t - 1] + weights @ np.tanh(x[t - 1]) + drive * running[t - 1] + noise[t]
    return x[settling:]


def _calcium(rates: np.ndarray) -> np.ndarray:
    """(num_frames, N) dF/F without noise: events through an exponential decay, above the floor."""
    decay = np.exp(-1 / (CALCIUM_DECAY * FRAME_RATE))
    calcium = np.empty_like(rates)
    calcium[0] = rates[0] / (1 - decay)
    for t in range(1, len(rates)):
        calcium[t] = decay * calcium[t - 1] + rates[t]
    floor = np.quantile(calcium, 0.1, axis=0)
    return AMPLITUDE * (calcium - floor)


def _behaviour(
    duration: float, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Running speed (cm/s), pupil diameter (mm) and their clock (seconds)."""
    times = np.arange(int(duration * BEHAVIOUR_RATE)) / BEHAVIOUR_RATE
    target = np.zeros(len(times))
    at, moving = 0.0, False
    while at < duration:
        length = random.exponential(BOUT if moving else REST)
        if moving:
            inside = (times >= at) & (times < at + length)
            target[inside] = random.uniform(8, 30)
        at, moving = at + length, not moving
    step, arousal = random.normal(size=(2, len(times)))
    speed = _low_pass(target, 0.5) * np.exp(0.2 * _unit(_low_pass(step, 0.3)))
    pupil = 1.0 + 0.5 * _low_pass((target > 0).astype(float), 2.0)
    return speed, pupil + 0.08 * _unit(_low_pass(arousal, 5.0)), times


def _low_pass(signal: np.ndarray, time_constant: float) -> np.ndarray:
    keep = np.exp(-1 / (time_constant * BEHAVIOUR_RATE))
    return lfilter([1 - keep], [1, -keep], signal)


def _unit(signal: np.ndarray) -> np.ndarray:
    return signal / signal.std()


def _bouts(time: np.ndarray, state: np.ndarray) -> pd.DataFrame:
    """Intervals of one state each."""
    edges = np.flatnonzero(np.diff(state, prepend=~state[:1]))
    return pd.DataFrame(
        {
            "start_time": time[edges],
            "stop_time": np.append(time[edges[1:]], time[-1] + 1 / FRAME_RATE),
            "state": np.where(state[edges], "running", "stationary"),
        }
    )


def _neurons(types: np.ndarray, random: np.random.Generator) -> Neurons:
    x, y = random.integers(10, FIELD - 10, size=(2, len(types)))
    table = {"id": np.arange(len(types)), "cell_type": np.array(CELL_TYPES)[types]}
    return Neurons(
        pd.DataFrame(table | {"x": x.astype(float), "y": y.astype(float)}),
        kind="roi",
        cell_type_source="simulated",
    )
