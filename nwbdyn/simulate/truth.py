"""The planted truth of a simulated recording."""

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Truth:
    """The arrays behind a simulated recording; None for what a simulation does not have."""

    time: np.ndarray  # (num_steps,) seconds, centres of the steps
    rates: np.ndarray  # (num_steps, N) float32, spikes per second, or events per frame of ROIs
    latents: np.ndarray  # (num_steps, L) float32, what drives the rates
    coupling: np.ndarray | None = None  # (N, N) [post, pre], mean over time
    couplings: np.ndarray | None = None  # (num_states, N, N) [post, pre], one per state
    state: np.ndarray | None = None  # (num_steps,) int, index into `couplings`
    edges: np.ndarray | None = None  # (E, 2) post and pre rows of the edges that change
    edge_weights: np.ndarray | None = None  # (num_steps, E) float32, their weights over time
    delays: np.ndarray | None = None  # (N, N) [post, pre] seconds, NaN where nothing is coupled
    input_coupling: np.ndarray | None = None  # (N, K) [post, channel of the stimulus]

    def save(self, path: Path) -> None:
        """Write the arrays that are present as an .npz file."""
        arrays = {field.name: getattr(self, field.name) for field in fields(self)}
        with path.open("wb") as file:
            np.savez(file, **{k: v for k, v in arrays.items() if v is not None})

    @classmethod
    def load(cls, path: Path) -> "Truth":
        """The truth that `save` wrote."""
        with np.load(path, allow_pickle=False) as arrays:
            return cls(**{name: arrays[name] for name in arrays.files})
