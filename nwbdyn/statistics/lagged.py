"""Directed couplings over several lags: a vector autoregression and one robust test per edge.

    x_i(t) = b_i + sum_{l = 1..L} sum_j W^l_ij x_j(t - l) + e_i(t)

The weight of an edge is its sum over lags. Its test is joint over lags (Wald), with a covariance
that holds for noise whose variance changes and that is correlated over time (Newey and West 1987),
of residuals corrected for leverage (HC3: MacKinnon and White 1985). q is Benjamini and Hochberg's.
Common input passes this test.
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import f as fisher

from nwbdyn.errors import DataError
from nwbdyn.statistics.significance import benjamini_hochberg

NUM_LAGS = 3
MOST_LEVERAGE = 0.9  # of a row; beyond it the correction would explode


@dataclass(frozen=True)
class LaggedCouplings:
    """Edges over lags; matrices are (N, N) [post, pre], p and q NaN on the diagonal."""

    coefficients: np.ndarray  # (num_lags, N, N)
    weight: np.ndarray  # sum over lags
    se: np.ndarray  # of the weight
    statistic: np.ndarray  # Wald
    p: np.ndarray
    q: np.ndarray
    lag: np.ndarray  # of the largest coefficient, bins


def lagged_couplings(
    values: np.ndarray, segment: np.ndarray, *, num_lags: int = NUM_LAGS
) -> LaggedCouplings:
    """Fit and test every edge.

    Args:
        values: (T, N), NaN in bins that are not to be used.
        segment: (T,) int, the same number = no gap in between.
        num_lags: bins.

    Raises:
        DataError: fewer than twice as many bins with a past as regressors.
    """
    rows = _rows(values, segment, num_lags)
    num_neurons = values.shape[1]
    num_inputs = num_lags * num_neurons + 1
    if len(rows) < 2 * num_inputs:
        raise DataError(
            f"{len(rows)} bins with {num_lags} bins of past are too few for {num_inputs} "
            f"coefficients per neuron; {2 * num_inputs} are needed. Choose neurons with --where."
        )
    past = np.concatenate([values[rows - lag] for lag in range(1, num_lags + 1)], axis=1)
    scale = past.std(axis=0)
    past = (past - past.mean(axis=0)) / np.where(scale > 0, scale, 1.0)
    target = values[rows] - values[rows].mean(axis=0)
    inverse = np.linalg.pinv(past.T @ past, hermitian=True)
    projected = past @ inverse  # (n, L * N): the coefficient is its product with the target
    solution = projected.T @ target  # (L * N, N)
    leverage = np.einsum("ti,ti->t", projected, past) + 1 / len(rows)
    residual = (target - past @ solution) / (1 - np.minimum(leverage, MOST_LEVERAGE))[:, None]
    shape = (num_lags, num_neurons, num_neurons)
    unit = 1 / np.where(scale > 0, scale, np.inf)
    coefficients = (unit[:, None] * solution).reshape(shape).transpose(0, 2, 1)
    by_lag = (projected * unit).reshape(len(rows), num_lags, num_neurons)
    covariance = _newey_west(by_lag, residual, rows)  # (N post, N pre, L, L)
    statistic = np.full((num_neurons, num_neurons), np.nan)
    known = ~np.eye(num_neurons, dtype=bool)
    known &= (np.diagonal(covariance, axis1=2, axis2=3) > 0).all(axis=-1)
    each = coefficients.transpose(1, 2, 0)[known]  # (E, L)
    statistic[known] = np.einsum(
        "el,el->e", each, np.linalg.solve(covariance[known], each[..., None])[..., 0]
    )
    p = fisher.sf(statistic / num_lags, num_lags, len(rows) - num_inputs)
    return LaggedCouplings(
        coefficients=coefficients,
        weight=coefficients.sum(axis=0),
        se=np.sqrt(np.maximum(covariance.sum(axis=(2, 3)), 0)),
        statistic=statistic,
        p=p,
        q=benjamini_hochberg(p),
        lag=1 + np.abs(coefficients).argmax(axis=0),
    )


def bandwidth(num_rows: int) -> int:
    """Bins over which scores may be correlated (Newey and West 1994)."""
    return int(4 * (num_rows / 100) ** (2 / 9))


def _newey_west(by_lag: np.ndarray, residual: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """(N, N, L, L) [post, pre] covariance of coefficients, for all edges by matrix products.

    Args:
        by_lag: (n, L, N) projected inputs.
        residual: (n, N).
        rows: (n,) bins, increasing; scores are paired where no gap lies between them.
    """
    num_rows, num_lags, num_neurons = by_lag.shape
    covariance = np.zeros((num_neurons, num_neurons, num_lags, num_lags))
    widest = bandwidth(num_rows)
    for apart in range(widest + 1):
        together = rows[apart:] - rows[: num_rows - apart] == apart
        later = apart + np.flatnonzero(together)
        earlier = later - apart
        product = residual[later] * residual[earlier]  # (m, N)
        weight = 1 - apart / (widest + 1)
        for a in range(num_lags):
            for b in range(num_lags):
                inputs = by_lag[later, a] * by_lag[earlier, b]
                part = weight * (product.T @ inputs)
                covariance[:, :, a, b] += part
                if apart:
                    covariance[:, :, b, a] += part
    return covariance


def _rows(values: np.ndarray, segment: np.ndarray, num_lags: int) -> np.ndarray:
    """(n,) bins with a whole past of `num_lags` bins."""
    usable = np.isfinite(values).all(axis=1)
    rows = np.arange(num_lags, len(values))
    whole = usable[rows]
    for lag in range(1, num_lags + 1):
        whole &= usable[rows - lag] & (segment[rows - lag] == segment[rows])
    return rows[whole]
