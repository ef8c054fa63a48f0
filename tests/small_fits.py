"""Recordings that are fitted in a second, and what makes two fits the same."""

import numpy as np
import pandas as pd

from nwbdyn.progress import Progress
from nwbdyn.recording import Neurons, Recording, Source, SpikeTimes, Traces
from nwbdyn.results import fit_results

LINEAR = {
    "history": 1,
    "ridge": 3000.0,
    "layer_norm": False,
    "raw_values": False,
}  # NetFormer without layer norm: x + A(x) x
SMALL_STNDT = {"context": 10, "layers": 1, "feedforward": 8, "batch_size": 8, "validate_every": 1}
SOURCE = Source(uri="made.nwb", url="file:///made.nwb", digest="sha256:0")


def network(num_neurons: int = 6, seed: int = 0) -> np.ndarray:
    """(N, N) planted coupling, off the diagonal."""
    rng = np.random.default_rng(seed)
    weight = np.where(rng.random((num_neurons, num_neurons)) < 0.3, rng.normal(0, 1, (1,)), 0)
    weight = weight * rng.choice([-1, 1], weight.shape)
    np.fill_diagonal(weight, 0)
    return 0.5 * weight / max(np.abs(np.linalg.eigvals(weight)).max(), 1e-9)


def imaging(num_neurons: int = 6, num_frames: int = 600, seed: int = 0) -> Recording:
    """Traces of a linear network x(t + 1) = .4 x(t) + W x(t) + noise at 10 Hz."""
    rng = np.random.default_rng(seed + 1)
    weight = network(num_neurons, seed=seed)
    x = np.zeros((num_frames, num_neurons))
    for frame in range(1, num_frames):
        x[frame] = 0.4 * x[frame - 1] + weight @ x[frame - 1] + rng.normal(0, 0.3, num_neurons)
    return Recording(
        session_id="made",
        neurons=Neurons(pd.DataFrame({"id": np.arange(num_neurons) + 100}), "roi"),
        activity=Traces(x.astype(np.float32), np.arange(num_frames) / 10, "dff"),
        source=SOURCE,
        identifier="made-1",
        session_start_time="2020-01-01T00:00:00+00:00",
        subject={"subject_id": "a", "species": "Mus musculus"},
    )


def units(num_units: int = 12, seconds: float = 30, seed: int = 0) -> Recording:
    """Spikes of units that share one slow drive, about 20 Hz each."""
    rng = np.random.default_rng(seed)
    step = 0.01
    moments = np.arange(0, seconds, step)
    drive = np.sin(2 * np.pi * moments / 0.8)
    gain = rng.uniform(0.5, 1.2, num_units)
    rate = 15 * np.exp(gain * drive[:, None])  # (T, N)
    spikes = [
        np.sort(moments[rng.random(len(moments)) < rate[:, n] * step]) for n in range(num_units)
    ]
    return Recording(
        session_id="made",
        neurons=Neurons(pd.DataFrame({"id": np.arange(num_units)}), "unit"),
        activity=SpikeTimes(
            np.concatenate(spikes) + 1e-4,
            np.cumsum([len(times) for times in spikes]),
            intervals=np.array([[0.0, seconds]]),
        ),
        source=SOURCE,
    )


def interrupt_after(epochs: int):
    """A report that behaves like Ctrl-C once so many epochs are done."""

    def report(progress: Progress) -> None:
        if progress.stage == "training" and progress.done == epochs:
            raise KeyboardInterrupt

    return report


def assert_same_fit(one: fit_results.Fit, other: fit_results.Fit) -> None:
    assert one.weights.keys() == other.weights.keys()
    for name, value in one.weights.items():
        np.testing.assert_array_equal(value, other.weights[name], err_msg=name)
    np.testing.assert_array_equal(one.predictions.values, other.predictions.values)
    timeless = [{k: v for k, v in h.items() if k != "seconds"} for h in one.history]
    assert timeless == [{k: v for k, v in h.items() if k != "seconds"} for h in other.history]
