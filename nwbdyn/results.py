"""What a fit leaves behind: Fit, Predictions and Connectivity; saved and loaded without torch."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from nwbdyn.connectivity import Connectivity
from nwbdyn.recording import Neurons, Note, Source


@dataclass(frozen=True)
class Predictions:
    """Predicted activity on the session clock, NaN where there is no prediction."""

    values: np.ndarray  # (num_bins, N) in source units; spikes: expected counts per bin
    time: np.ndarray  # (num_bins,) bin centres, seconds
    bin_width: float  # seconds
    held_out: np.ndarray  # (N,) bool; co-smoothing: False = a reconstruction, never scored
    labels: np.ndarray  # (num_bins,) int8, index into splits.SPLITS
    quantity: str
    horizon: int  # bins ahead; 0 for co-smoothing
    neurons: Neurons


@dataclass(frozen=True)
class Fit:
    """One model fitted to one recording, with everything needed to judge and to repeat it."""

    model: str
    config: dict[str, object]
    binning: dict[str, object]  # bin_width, quantity, trials table, alignment, covariates
    split: dict[str, object]  # rule, seed, bins per split, held-out neuron ids
    history: tuple[dict[str, float], ...]  # one per epoch
    metrics: dict[str, object]  # as metrics.json
    predictions: Predictions
    connectivity: Connectivity
    edges: pd.DataFrame  # pre, post, weight, seed_sd, sign_agreement …; off-diagonal, strongest first
    neurons: Neurons
    source: Source
    session: dict[str, object]  # session_id, identifier, session_start_time, description, subject
    versions: dict[str, str]
    seed: int
    device: str
    embeddings: np.ndarray | None = None  # (N, E)
    notes: tuple[Note, ...] = ()
    run: Path | None = field(default=None, compare=False)  # where it is saved
