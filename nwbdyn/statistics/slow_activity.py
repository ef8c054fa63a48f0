"""The slow activity of a population of counts, as covariates of couplings over lags.

If many units share a slow input, each unit's spikes predict those of others, and units without a
connection have edges. The few spikes of the last bins estimate this input poorly. The counts of the
whole population over many bins estimate it better: the first principal components of exponential
means of all units. These means end where the lags of the senders begin, so an edge is tested beyond
older activity. An input that is as fast as the couplings is not removed.

The variance that older activity explains is also a measure of such an input. Couplings over the
last bins do not raise it, but slow changes of single units do. So each unit's older activity is
among the regressors, and the mean of the same measure in surrogates is subtracted.
"""

from collections.abc import Iterable

import numpy as np
from scipy.signal import lfilter

from nwbdyn.models._core_terms import SENDER_LAGS
from nwbdyn.statistics.lagged_regression import (
    CHUNK,
    SMALLEST_EIGENVALUE,
    chosen_terms,
    rows_with_past,
)

TIME_CONSTANTS = (5.0, 20.0)  # bins
NUM_COMPONENTS = 3  # of each


def slow_activity(values: np.ndarray, segment: np.ndarray) -> np.ndarray:
    """(T, C) components of means over counts that are SENDER_LAGS bins older, or more.

    A covariate of bin t enters the regression of bin t + 1.

    Args:
        values: (T, N) counts, NaN in bins that are not to be used; these count as the mean.
        segment: (T,) int, the same number = no gap in between. Nothing is carried over a gap.
    """
    if not np.isfinite(values).all(axis=1).any():
        return np.zeros((len(values), 0))
    components = []
    for means in _older_means(values, segment):
        _, vectors = np.linalg.eigh(means.T @ means)
        components.append(means @ vectors[:, ::-1][:, :NUM_COMPONENTS])
    return np.concatenate(components, axis=1)


def slow_input(values: np.ndarray, segment: np.ndarray, surrogates: Iterable[np.ndarray]) -> float:
    """Relative variance of the rates that older activity of the population explains.

    Args:
        values: (T, N) counts, NaN in bins that are not to be used.
        segment: (T,) int, the same number = no gap in between.
        surrogates: recordings of this shape without coupling, whose mean is subtracted.
    """
    by_chance = [explained_by_older_activity(one, segment) for one in surrogates]
    return explained_by_older_activity(values, segment) - float(np.mean(by_chance))


def explained_by_older_activity(values: np.ndarray, segment: np.ndarray) -> float:
    """Share of the residual variance that `slow_activity` explains, over the mean count.

    The residuals are those of the last bins of all units, as many as edges are tested with, and of
    a unit's own older activity. If rates share a relative variance v, they share about v times the
    mean count of their residuals.
    """
    rows = rows_with_past(values, segment, SENDER_LAGS)
    num_units = values.shape[1]
    num_lags = chosen_terms(len(rows), num_units, functions=False).num_lags
    own, slow = _older_means(values, segment), slow_activity(values, segment)
    num_columns = num_units * (num_lags + 1 + len(own)) + slow.shape[1] + 1
    moments = np.zeros((num_columns, num_columns))
    for part in np.array_split(rows, 1 + 8 * len(rows) * num_columns // CHUNK):
        lags = [values[part - lag] for lag in range(1, num_lags + 1)]
        older = [means[part - 1] for means in (*own, slow)]
        columns = [*lags, np.ones((len(part), 1)), values[part], *older]
        whole = np.concatenate(columns, axis=1)
        moments += whole.T @ whole
    size = np.sqrt(moments.diagonal())
    size[size == 0] = 1.0
    every = _left_over(moments / np.outer(size, size), num_units * num_lags + 1)
    shared = list(range(len(every)))[len(every) - slow.shape[1] :]
    shares = []
    for unit in range(num_units):
        beside = [num_units * (k + 1) + unit for k in range(len(own))]
        chosen = [[*one, unit] for one in (beside, beside + shared)]
        left = [_left_over(every[np.ix_(one, one)], len(one) - 1)[0, 0] for one in chosen]
        shares.append(1 - left[1] / left[0] if left[0] > SMALLEST_EIGENVALUE else 0.0)
    return float(np.mean(shares) / np.mean(values[rows]))


def _left_over(moments: np.ndarray, number: int) -> np.ndarray:
    """Second moments of the last columns, without what the first `number` ones explain."""
    inputs, cross = moments[:number, :number], moments[:number, number:]
    inverse = np.linalg.pinv(inputs, hermitian=True, rcond=SMALLEST_EIGENVALUE)
    rest: np.ndarray = moments[number:, number:] - cross.T @ inverse @ cross
    return rest


def _older_means(values: np.ndarray, segment: np.ndarray) -> list[np.ndarray]:
    """(T, N) exponential means of every unit, one array per time constant."""
    usable = np.isfinite(values).all(axis=1)
    mean, sd = values[usable].mean(axis=0), values[usable].std(axis=0)
    scaled = np.where(usable[:, None], (values - mean) / np.where(sd > 0, sd, 1.0), 0.0)
    starts = np.flatnonzero(np.diff(segment, prepend=segment[:1] - 1))
    runs = np.split(scaled, starts[1:])
    return [np.concatenate([_older_mean(run, bins) for run in runs]) for bins in TIME_CONSTANTS]


def _older_mean(run: np.ndarray, time_constant: float) -> np.ndarray:
    """(n, N) exponential mean of the bins of one stretch up to SENDER_LAGS before."""
    keep = np.exp(-1 / time_constant)
    means = lfilter([1 - keep], [1, -keep], run, axis=0)
    late = np.zeros_like(means)
    late[SENDER_LAGS:] = means[:-SENDER_LAGS]
    return late
