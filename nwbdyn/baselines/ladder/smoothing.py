"""Counts through causal exponentials, and their mean over a window: log rates as terms see them."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.signal import lfilter

from nwbdyn.baselines.lagged_design import LaggedDesign
from nwbdyn.baselines.regression import LogScale
from nwbdyn.data.binning import Binned
from nwbdyn.models._core_terms import TIME_CONSTANTS, WINDOW_SHARES


@dataclass(frozen=True)
class LogRates:
    """Counts through each exponential, on a log scale, and the mean count of a window.

    The logs of the latter have zero mean and unit variance in training, too. The less is added to
    the mean count, the lower the log rate of a neuron that has been silent for a whole window.
    """

    values: np.ndarray  # (K, num_bins, N) zero mean, unit variance in training
    window: np.ndarray  # (num_bins, N) mean count of the last `context` bins
    scaling: np.ndarray  # (K + W, 3, N) added to a rate; mean and sd of its log in training


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
    mean = _window_mean(counts, problem.context)
    scales += [LogScale.of(mean[problem.train], share) for share in WINDOW_SHARES]
    scaling = np.stack([np.stack([one.offset, one.mean, one.sd]) for one in scales])
    return LogRates(filtered, mean, scaling)


def _window_mean(counts: np.ndarray, context: int) -> np.ndarray:
    """(num_bins, N) mean of the last bins over gaps too: no bin so close to a gap is predicted."""
    mean = np.empty_like(counts)
    for neuron, values in enumerate(counts.T):
        total = np.cumsum(values, dtype=np.float64)
        total[context:] -= total[:-context].copy()
        mean[:, neuron] = total / context
    return mean
