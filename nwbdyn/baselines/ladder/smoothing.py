"""Counts through causal exponentials: log rates as terms see them."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.signal import lfilter

from nwbdyn.baselines.lagged_design import LaggedDesign
from nwbdyn.baselines.regression import LogScale
from nwbdyn.data.binning import Binned
from nwbdyn.models._core_terms import TIME_CONSTANTS


@dataclass(frozen=True)
class LogRates:
    """Counts through each exponential, on a log scale."""

    values: np.ndarray  # (K, num_bins, N) zero mean, unit variance in training
    scaling: np.ndarray  # (K, 3, N) added to a rate; mean and sd of its log in training


def log_rates(binned: Binned, problem: LaggedDesign, *, window: int | None = None) -> LogRates:
    """Scaled log rates up to and including each bin.

    After a gap or at a new segment a filter starts from the training mean.

    Args:
        window: bins; an exponential is cut off there, and the training mean stands for the rest.
            By default it reaches back to the last gap.
    """
    counts = np.nan_to_num(binned.values).astype(np.float32)
    breaks = (np.diff(binned.segment) != 0) | np.diff(binned.valid)
    edges = [0, *(np.flatnonzero(breaks) + 1).tolist(), binned.num_bins]
    filtered = np.empty((len(TIME_CONSTANTS), *counts.shape), np.float32)
    for rates, constant in zip(filtered, TIME_CONSTANTS, strict=True):
        keep = np.exp(-binned.bin_width / constant) if constant else 0.0
        for start, stop in pairwise(edges):
            state = keep * problem.mean[None]
            run = lfilter([1 - keep], [1, -keep], counts[start:stop], axis=0, zi=state)[0]
            if window is not None and keep:
                run[window:] -= keep**window * (run[:-window] - problem.mean)
            rates[start:stop] = run
    scales = [LogScale.of(rates[problem.train]) for rates in filtered]
    for rates, scale in zip(filtered, scales, strict=True):
        rates[:] = scale.apply(rates)
    scaling = np.stack([np.stack([one.offset, one.mean, one.sd]) for one in scales])
    return LogRates(filtered, scaling)
