"""A baseline's prediction, and what it chose on validation."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class WindowedRegression:
    """log rate = min(sum over groups of log(filter counts + offset) weights + bias, ceiling)."""

    filters: np.ndarray  # (G, context, context) of the counts of a window
    offset: np.ndarray  # (G, num_held_in)
    weights: np.ndarray  # (G, num_held_in, num_held_out)
    bias: np.ndarray  # (num_held_out,)
    ceiling: np.ndarray  # (num_held_out,)
    ahead: np.ndarray  # (num_held_out,) log of the mean count, for bins behind the context


@dataclass(frozen=True)
class Baseline:
    """One simple method, fitted and applied to one recording."""

    name: str  # its row in a printed table: "persistence", "AR(1)", "VAR ridge", …
    prediction: np.ndarray  # (num_bins, N) in source units, NaN where it predicts nothing
    chosen: dict[str, float | int | str]  # on validation: order, penalty, filter
    coupling: np.ndarray | None = None  # (N, N) [post, pre] at the first lag (GLM: all lags)
    validation: float | None = None  # loss of held-out counts
    regression: WindowedRegression | None = None  # of held-out counts, for other windows
