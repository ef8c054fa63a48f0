"""`sample:reach`: units of two motor areas during delayed reaches, with planted rates.

A hand moves to one of eight targets, straight or around a barrier: sixteen conditions. Fifteen
latents drive log firing rates linearly: the plan (held from the target to the go cue), three
rotations that the plan starts at the onset of movement, the velocity that the hand will have 100 ms
later, a ramp common to all conditions, and three slow fluctuations of the trial that no condition
explains. Spikes are Poisson given the rates, independent between units. Trials, units and hand
carry the columns of a benchmark's maze recording. Nothing couples one unit to another: what they
share is the latents.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.signal import lfilter

from nwbdyn.recording import Covariate, Neurons, Recording
from nwbdyn.simulate.parameters import Parameters, parameter
from nwbdyn.simulate.spikes import spike_times
from nwbdyn.simulate.truth import Truth

STEP = 0.005  # seconds, of the latents and rates; trials start on its grid
NUM_TARGETS, NUM_VERSIONS = 8, 2
REACH = 0.12  # metres to the target
BEND = 0.05  # metres to the side, around the barrier
MOVEMENT = 0.4  # seconds
LEAD = 0.1  # seconds from rates to hand
ROTATIONS = (1.2, 1.9, 2.6)  # Hz
ROTATION_DECAY = 0.35  # seconds
FLUCTUATION = 0.15  # seconds, memory of the trial's own latents
AFTER_ONSET = 0.75  # seconds of a trial after the onset of movement
MEAN_RATE, MOST_RATE = 9.0, 120.0  # Hz
DEPTH = 0.75  # sd of log rates over time
HAND_RATE = 1000  # Hz
HELD_OUT = 0.25  # share of the units
SPLITS = {"train": 0.70, "val": 0.15, "test": 0.15}


@dataclass(frozen=True)
class Reach(Parameters):
    """Parameters of `sample:reach`."""

    name = "reach"
    neurons: int = parameter(60, 8, 900)
    trials: int = parameter(160, 20, 5000)

    def simulate(self) -> tuple[Recording, Truth]:
        """The recording and what was planted in it."""
        task, hand, dynamics, population, spiking = (
            np.random.default_rng([self.seed, stream]) for stream in range(5)
        )
        trials = _trials(self.trials, task)
        time, trial = _clock(trials)
        paths = [_velocity(row, hand) for row in trials.itertuples()]
        latents = _latents(trials, time, trial, paths, dynamics)
        rates = _rates(latents, self.neurons, population)
        observed = trials[["start_time", "stop_time"]].to_numpy()
        counts = spiking.poisson(rates * STEP)
        recording = self.recording(
            _units(self.neurons, population),
            spike_times(counts, time, STEP, spiking, intervals=observed),
            "units of dorsal premotor and primary motor cortex during delayed reaches",
            subject={
                "subject_id": "sample-monkey",
                "species": "Macaca mulatta",
                "sex": "U",
                "age": "P6Y",
                "description": "simulated, no animal",
            },
            covariates=_hand(trials, paths),
            trials=trials,
        )
        return recording, Truth(
            time=time, rates=rates.astype(np.float32), latents=latents.astype(np.float32)
        )


def _trials(num_trials: int, random: np.random.Generator) -> pd.DataFrame:
    """One row per trial, times in seconds; conditions and splits in random order."""
    conditions = np.resize(np.arange(NUM_TARGETS * NUM_VERSIONS), num_trials)
    conditions = random.permutation(conditions)
    num_val, num_test = (max(1, round(SPLITS[name] * num_trials)) for name in ("val", "test"))
    splits = ["train"] * (num_trials - num_val - num_test) + ["val"] * num_val + ["test"] * num_test
    delay = random.uniform(0.35, 0.8, num_trials)
    reaction = random.uniform(0.24, 0.36, num_trials)
    pause = random.uniform(0.3, 0.6, num_trials)
    target_on = 0.25  # after the start
    length = np.ceil((target_on + delay + reaction + AFTER_ONSET) / STEP) * STEP
    start = np.cumsum(np.round(np.append(0.5, (length + pause)[:-1]) / STEP)) * STEP
    start, length = np.round(start, 3), np.round(length, 3)
    times = {
        "start_time": start,
        "stop_time": start + length,
        "target_on_time": start + target_on,
        "go_cue_time": start + target_on + delay,
        "move_onset_time": start + target_on + delay + reaction,
    }
    angle = 2 * np.pi * (conditions // NUM_VERSIONS) / NUM_TARGETS
    return pd.DataFrame(
        {name: np.round(values, 3) for name, values in times.items()}
        | {
            "rt": np.round(reaction, 3),
            "delay": np.round(delay, 3),
            "trial_type": conditions // NUM_VERSIONS,
            "trial_version": conditions % NUM_VERSIONS,
            "target_x": REACH * np.cos(angle),
            "target_y": REACH * np.sin(angle),
            "success": True,
            "split": random.permutation(splits),
        }
    )


def _clock(trials: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """(num_steps,) centres of the steps inside trials, and the row of each step's trial."""
    first = np.round(trials["start_time"].to_numpy() / STEP).astype(int)
    last = np.round(trials["stop_time"].to_numpy() / STEP).astype(int)
    steps = np.concatenate([np.arange(a, b) for a, b in zip(first, last, strict=True)])
    return (steps + 0.5) * STEP, np.repeat(np.arange(len(trials)), last - first)


def _velocity(trial, random: np.random.Generator):
    """A function: seconds after the onset of movement -> (n, 2) hand velocity in m/s.

    The way along the target is a minimum-jerk path, the way to the side goes out and back; vigour
    and aim vary from trial to trial.
    """
    vigour, aim = np.exp(0.1 * random.normal()), 0.08 * random.normal()
    along = np.array([trial.target_x, trial.target_y]) @ _turn(aim)
    aside = BEND / REACH * (along @ _turn(np.pi / 2)) * (trial.trial_version == 1)
    duration = MOVEMENT / vigour

    def velocity(after_onset: np.ndarray) -> np.ndarray:
        s = np.clip(after_onset / duration, 0, 1)[:, None]
        speed_along = 30 * s**2 * (1 - s) ** 2
        speed_aside = 192 * s**2 * (1 - s) ** 2 * (1 - 2 * s)  # of 64 s^3 (1 - s)^3
        return (along * speed_along + aside * speed_aside) / duration

    return velocity


def _turn(angle: float) -> np.ndarray:
    return np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])


def _latents(trials, time, trial, paths, random: np.random.Generator) -> np.ndarray:
    """(num_steps, 15) of unit variance."""
    to_plan = random.normal(size=(2 * len(ROTATIONS), 5)) / np.sqrt(5)
    keep = np.exp(-STEP / FLUCTUATION)
    parts = []
    for row, move in zip(trials.itertuples(), paths, strict=True):
        now = time[trial == row.Index]
        onset = now - row.move_onset_time
        angle = np.arctan2(row.target_y, row.target_x)
        bend = 2 * row.trial_version - 1
        goal = np.array(
            [np.cos(angle), np.sin(angle), bend * np.cos(angle), bend * np.sin(angle), bend]
        )
        plan = (
            goal[[0, 1, 4]]
            * (_rise(now - row.target_on_time - 0.1, 0.08) * (1 - _rise(onset + LEAD, 0.03)))[
                :, None
            ]
        )
        start = to_plan @ goal + 0.3 * random.normal(size=2 * len(ROTATIONS))
        rotation = _rotations(onset + LEAD, start)
        ramp = _rise(onset + LEAD, 0.05) * np.exp(-np.maximum(onset + LEAD, 0) / 0.5)
        noise = random.normal(size=(len(now) + 200, 3))
        fluctuation = lfilter([1], [1, -keep], noise, axis=0)[200:]
        parts.append(np.column_stack([plan, rotation, move(onset + LEAD), ramp, fluctuation]))
    latents = np.concatenate(parts)
    return (latents - latents.mean(axis=0)) / latents.std(axis=0)


def _rise(after: np.ndarray, width: float) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(after / width, -50, 50)))


def _rotations(after: np.ndarray, start: np.ndarray) -> np.ndarray:
    """(n, 6) damped rotations in three planes from their states `start`."""
    envelope = _rise(after, 0.02) * np.exp(-np.maximum(after, 0) / ROTATION_DECAY)
    columns = []
    for plane, frequency in enumerate(ROTATIONS):
        phase = 2 * np.pi * frequency * after
        a, b = start[2 * plane : 2 * plane + 2]
        columns += [a * np.cos(phase) - b * np.sin(phase), a * np.sin(phase) + b * np.cos(phase)]
    return np.column_stack(columns) * envelope[:, None]


def _rates(latents: np.ndarray, num_neurons: int, random: np.random.Generator) -> np.ndarray:
    """(num_steps, N) Hz: exponential of a sum of latents, each unit with its own mean and depth."""
    loading = random.normal(size=(latents.shape[1], num_neurons))
    log_rate = latents @ loading
    log_rate *= DEPTH * random.uniform(0.6, 1.4, num_neurons) / log_rate.std(axis=0)
    mean = MEAN_RATE * random.lognormal(sigma=0.5, size=num_neurons)
    rates = np.exp(log_rate)
    return np.minimum(rates * mean / rates.mean(axis=0), MOST_RATE)


def _units(num_neurons: int, random: np.random.Generator) -> Neurons:
    """Ids 1001, 1002, … in PMd and 2001, 2002, … in M1; a quarter of each area is held out."""
    num_pmd = round(0.6 * num_neurons)
    sizes = {"PMd": num_pmd, "M1": num_neurons - num_pmd}
    held_out = [random.permutation(np.arange(n) < round(HELD_OUT * n)) for n in sizes.values()]
    table = {
        "id": np.concatenate([1001 + np.arange(sizes["PMd"]), 2001 + np.arange(sizes["M1"])]),
        "location": np.repeat(list(sizes), list(sizes.values())),
        "heldout": np.concatenate(held_out),
    }
    return Neurons(pd.DataFrame(table), kind="unit")


def _hand(trials: pd.DataFrame, paths) -> tuple[Covariate, Covariate]:
    """Position and velocity of the hand at 1 kHz; the clock skips what lies between trials."""
    times, velocities, positions = [], [], []
    for row, move in zip(trials.itertuples(), paths, strict=True):
        num_samples = round((row.stop_time - row.start_time) * HAND_RATE)
        now = row.start_time + np.arange(num_samples) / HAND_RATE
        velocity = move(now - row.move_onset_time)
        times.append(now)
        velocities.append(velocity)
        positions.append(np.cumsum(velocity, axis=0) / HAND_RATE)
    clock = np.round(np.concatenate(times), 3)
    return (
        Covariate("hand_pos", np.concatenate(positions), clock, "m", ("x", "y")),
        Covariate("hand_vel", np.concatenate(velocities), clock, "m/s", ("x", "y")),
    )
