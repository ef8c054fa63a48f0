"""A baseline's prediction, and what it chose on validation."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Baseline:
    """One simple method, fitted and applied to one recording."""

    name: str  # its row in a printed table: "persistence", "AR(1)", "VAR ridge", …
    prediction: np.ndarray  # (num_bins, N) in source units, NaN where it predicts nothing
    chosen: dict[str, float | int | str]  # on validation: order, penalty, filter
    coupling: np.ndarray | None = None  # (N, N) [post, pre] at the first lag (GLM: all lags)
