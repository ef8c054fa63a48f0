"""Counts through causal exponentials: log rates as terms see them."""

from itertools import pairwise

import numpy as np
from scipy.signal import lfilter

from nwbdyn.baselines.lagged_design import LaggedDesign
from nwbdyn.baselines.regression import log_scaled
from nwbdyn.data.binning import Binned

TIME_CONSTANTS = (0.0, 0.05, 0.25)  # seconds; 0 is the bin itself


def log_rates(binned: Binned, problem: LaggedDesign) -> np.ndarray:
    """(K, num_bins, N) scaled log rates up to and including each bin.

    After a gap or at a new segment a filter starts from the training mean.
    """
    counts = np.nan_to_num(binned.values).astype(np.float32)
    breaks = (np.diff(binned.segment) != 0) | np.diff(binned.valid)
    edges = [0, *(np.flatnonzero(breaks) + 1).tolist(), binned.num_bins]
    filtered = np.empty((len(TIME_CONSTANTS), *counts.shape), np.float32)
    for rates, constant in zip(filtered, TIME_CONSTANTS, strict=True):
        keep = np.exp(-binned.bin_width / constant) if constant else 0.0
        for start, stop in pairwise(edges):
            state = keep * problem.mean[None]
            rates[start:stop] = lfilter(
                [1 - keep], [1, -keep], counts[start:stop], axis=0, zi=state
            )[0]
        rates[:] = log_scaled(rates, problem.train)
    return filtered
