"""Design matrices of next-bin baselines: scaled signals, and the bins that fit and select."""

from dataclasses import dataclass, field

import numpy as np

from nwbdyn.data.binning import Binned
from nwbdyn.data.splits import GAP, SPLITS, TRAIN, VAL, Split
from nwbdyn.errors import DataError
from nwbdyn.recording import COUNTS

FLOOR = 0.01  # of a neuron's mean rate: a linear prediction of counts is kept above it


@dataclass(frozen=True)
class LaggedDesign:
    """Inputs and targets of every next-bin regression."""

    signals: np.ndarray  # (num_bins, N + K) float32 in training sd, neurons, covariates
    num_neurons: int
    train: np.ndarray  # rows (bins) that fit
    val: np.ndarray  # rows that choose
    rows: np.ndarray  # rows that are predicted: an unbroken history of `context` bins
    context: int  # bins
    horizon: int  # bins from the last bin that is seen to the one that is predicted
    mean: np.ndarray  # (N,) of the training bins, source units
    sd: np.ndarray  # (N,)
    covariate_mean: np.ndarray = field(default_factory=lambda: np.zeros(0))  # (K,)
    covariate_sd: np.ndarray = field(default_factory=lambda: np.zeros(0))  # (K,)

    def lagged(self, rows: np.ndarray, order: int, signals: slice | int) -> np.ndarray:
        """(n, order * signals) the last `order` bins that are seen before each row."""
        return np.concatenate(
            [
                self.signals[rows - lag, signals].reshape(len(rows), -1)
                for lag in range(self.horizon, self.horizon + order)
            ],
            axis=1,
        )

    @property
    def covariates(self) -> slice:
        return slice(self.num_neurons, None)

    def targets(self, rows: np.ndarray) -> np.ndarray:
        """(n, N) the bin itself, in training sd."""
        return self.signals[rows, : self.num_neurons]


def build_lagged_design(binned: Binned, split: Split, context: int, horizon: int) -> LaggedDesign:
    labels = split.labels
    training = labels == TRAIN
    whole = history(binned.valid, binned.segment)
    own = history(binned.valid & (training | (labels == GAP)), binned.segment)
    needed = context + horizon - 1
    rows = np.flatnonzero(binned.valid & (whole >= needed))
    train = np.flatnonzero(binned.valid & training & (own >= needed))
    val = rows[labels[rows] == VAL]
    for label, bins in ((TRAIN, train), (VAL, val)):
        if not len(bins):
            raise DataError(
                f"no {SPLITS[label]} bin has an unbroken history of {needed} bins for the "
                f"baselines ({int(np.sum(labels == label))} {SPLITS[label]} bins in all); "
                "shorten the context or lengthen the recording."
            )
    signals = np.concatenate([binned.values, binned.covariates], axis=1).astype(np.float64)
    signals[~np.isfinite(signals)] = np.nan
    mean, sd = _mean_and_sd(signals[binned.valid & training])
    scaled = np.nan_to_num((signals - mean) / sd).astype(np.float32)  # missing: the mean
    n = binned.num_neurons
    scales = (mean[:n], sd[:n], mean[n:], sd[n:])
    return LaggedDesign(scaled, n, train, val, rows, context, horizon, *scales)


def _mean_and_sd(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each column without NaN; a column that is constant or empty has sd 1."""
    finite = np.isfinite(values)
    number = np.maximum(finite.sum(axis=0), 1)
    mean = np.where(finite, values, 0).sum(axis=0) / number
    sd = np.sqrt(np.square(np.where(finite, values - mean, 0)).sum(axis=0) / number)
    return mean, np.where(sd > 1e-9 * np.abs(mean), sd, 1.0)


def history(usable: np.ndarray, segment: np.ndarray) -> np.ndarray:
    """(num_bins,) how many usable bins of its segment come right before each bin."""
    bins = np.arange(len(usable))
    starts = np.r_[True, segment[1:] != segment[:-1]]
    begin = np.maximum.accumulate(np.where(starts, bins, 0))
    after_gap = np.maximum.accumulate(np.where(usable, 0, bins + 1))  # first bin after the last gap
    before = np.r_[0, after_gap[:-1]]
    return bins - np.maximum(begin, before)


def in_source_units(binned: Binned, problem: LaggedDesign, predicted: np.ndarray) -> np.ndarray:
    values = predicted[problem.rows] * problem.sd + problem.mean
    return floored(binned, problem, at_rows(binned, problem.rows, values))


def at_rows(binned: Binned, rows: np.ndarray, values: np.ndarray) -> np.ndarray:
    prediction = np.full(binned.values.shape, np.nan)
    prediction[rows] = values
    return prediction


def floored(binned: Binned, problem: LaggedDesign, prediction: np.ndarray) -> np.ndarray:
    """Expected counts stay positive; a silent neuron is given half a spike in all of training."""
    if binned.quantity != COUNTS:
        return prediction
    return np.maximum(prediction, np.maximum(FLOOR * problem.mean, 0.5 / len(problem.train)))
