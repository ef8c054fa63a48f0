"""`sample:frames`: imaging so slow that neurons couple within one frame.

The spikes are those of a Hawkes process (`hawkes`) with delays of 2 to 20 ms, as in
`sample:spiking`. They go through an indicator that decays over half a second. A frame is the mean
of 200 ms and has imaging noise. So a spike and those that it causes lie in one frame: the next
frame shows little of a coupling, which is visible within frames, without direction.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.signal import lfilter

from nwbdyn.recording import Neurons, Recording, Traces
from nwbdyn.simulate import hawkes
from nwbdyn.simulate.parameters import Parameters, parameter
from nwbdyn.simulate.truth import Truth

RATE = 0.5  # Hz, of every neuron by itself
COUPLED = 0.06  # share of ordered pairs
WEIGHTS = (0.15, 0.35)  # spikes of the receiver per spike of the sender
FINE = 0.01  # seconds, of the indicator
PER_FRAME = 20  # fine steps
DECAY = 0.5  # seconds, of the indicator
AMPLITUDE = 0.1  # dF/F per spike
IMAGING_NOISE = 0.05  # of the sd of a trace


@dataclass(frozen=True)
class Frames(Parameters):
    """Parameters of `sample:frames`."""

    name = "frames"
    neurons: int = parameter(20, 4, 500)
    duration: float = parameter(600.0, 60, 36_000)  # seconds

    def simulate(self) -> tuple[Recording, Truth]:
        """The recording and what was planted in it."""
        wiring, firing, imaging = (
            np.random.default_rng([self.seed, stream]) for stream in range(3)
        )
        weight, delay = hawkes.couplings(self.neurons, COUPLED, WEIGHTS, wiring)
        frame = FINE * PER_FRAME
        num_frames = int(self.duration / frame)
        duration = num_frames * frame
        spikes = hawkes.spikes(
            weight, delay, rate=RATE, duration=duration, step=frame, random=firing
        )
        counts = np.zeros((num_frames * PER_FRAME, self.neurons))
        rows = np.minimum((spikes.times / FINE).astype(int), len(counts) - 1)
        np.add.at(counts, (rows, spikes.units), 1)
        calcium = lfilter([1], [1, -np.exp(-FINE / DECAY)], counts, axis=0)
        traces = AMPLITUDE * calcium.reshape(num_frames, PER_FRAME, -1).mean(axis=1)
        traces += IMAGING_NOISE * traces.std(axis=0) * imaging.normal(size=traces.shape)
        time = np.arange(num_frames) * frame
        recording = self.recording(
            Neurons(pd.DataFrame({"id": np.arange(self.neurons)}), kind="roi"),
            Traces(traces.astype(np.float32), time, "dff"),
            "imaging at 5 Hz of neurons that couple within a frame",
        )
        return recording, Truth(
            time=time,
            rates=(RATE * frame + spikes.caused[:num_frames]).astype(np.float32),
            latents=np.zeros((num_frames, 0), np.float32),
            coupling=weight,
            delays=delay,
        )
