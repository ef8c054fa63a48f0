"""Stretches of a recording that are independent enough to be resampled as units.

Neighbouring bins say nearly the same, so an interval that drew bins would be far too narrow.
"""

import numpy as np

from nwbdyn import metrics
from nwbdyn.data.binning import Binned
from nwbdyn.data.splits import Split
from nwbdyn.recording import COUNTS

SLOWEST_RATES = 5.0  # seconds over which the rates of spiking neurons are taken to be related


def make(binned: Binned, split: Split, *, trials: bool, context: int) -> np.ndarray:
    """(num_bins,) int, the number of the block each bin belongs to.

    One block per trial, if `trials`. Else traces take stretches of twice their `memory`. Single
    counts are mostly noise and hide how slowly rates change: they take stretches of a window
    (`context` bins), and of SLOWEST_RATES at least.
    """
    if trials and binned.trials is not None:
        return np.searchsorted(binned.trials["start_time"], binned.time, side="right")
    if binned.quantity == COUNTS:
        length = max(context, round(SLOWEST_RATES / binned.bin_width))
    else:
        length = 2 * memory(binned.values[split.bins("train")])
    return metrics.time_blocks(binned.num_bins, length)


def memory(values: np.ndarray) -> int:
    """Bins after which the mean autocorrelation of the columns has fallen to 1/e, at least 1.

    Args:
        values: (num_bins, N); NaN counts as the column's mean, constant columns not at all.
    """
    centred = np.nan_to_num(values - np.nanmean(values, axis=0))
    power = np.square(centred).sum(axis=0)
    centred, power = centred[:, power > 0], power[power > 0]
    longest = max(1, len(centred) // 4)
    for lag in range(1, longest):
        correlation = (centred[lag:] * centred[:-lag]).sum(axis=0) / power
        if not correlation.size or correlation.mean() < np.exp(-1):
            return lag
    return longest
