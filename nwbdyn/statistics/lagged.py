"""Directed couplings over several lags, tested jointly and against surrogates.

The weight of an edge is the mean derivative of the receiver in the sender's last bins, summed over
lags; see `lagged_regression`. Two Wald tests are combined (Cauchy combination, which holds for
tests that depend on each other: Liu and Xie 2020): of all terms of the sender jointly, and of the
derivative in its last bin alone, which has more power where the delay is short. Coefficients of
surrogates go through the same test. What the surrogates have on average is subtracted from the
recording, and from each surrogate the average of the others. p is the larger of the Wald test's and
the share of the surrogates' edges with a p as small, pooled over edges. The first accounts for
inputs that are correlated, the second for autocorrelation and heavy tails. q is Benjamini and
Hochberg's. Common input passes this test.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.stats import cauchy
from scipy.stats import f as fisher

from nwbdyn.models._core_terms import SENDER_LAGS
from nwbdyn.statistics.lagged_regression import (
    Estimate,
    SenderTerms,
    chosen_terms,
    estimate,
    rows_with_past,
)
from nwbdyn.statistics.significance import benjamini_hochberg

SMALLEST_P = 1e-300  # of one test, in a combination
CONSTANT = 1e-12  # of the largest variance of any edge: below, a sender does not vary
RANK = 1e-6  # eigenvalues of a covariance below this share of the largest count as 0


@dataclass(frozen=True)
class LaggedCouplings:
    """Edges over lags; matrices are (N, N) [post, pre], p and q NaN where nothing is tested."""

    terms: SenderTerms
    weight: np.ndarray  # mean derivative, summed over lags; units of the values
    se: np.ndarray  # of the weight
    by_lag: np.ndarray  # (num_lags, N, N) mean derivative
    lag: np.ndarray  # of the largest mean derivative, bins
    wald_p: np.ndarray  # of the Wald test alone
    p: np.ndarray
    q: np.ndarray
    num_surrogates: int
    num_rows: int  # bins


def lagged_couplings(
    values: np.ndarray,
    segment: np.ndarray,
    *,
    surrogates: Iterable[np.ndarray] = (),
    covariates: np.ndarray | None = None,
    functions: bool = True,
) -> LaggedCouplings:
    """Fit and test every edge.

    Args:
        values: (T, N), NaN in bins that are not to be used.
        segment: (T,) int, the same number = no gap in between.
        surrogates: recordings of this shape without coupling; without any, p is the Wald test's.
        covariates: (T, C) that act on all neurons.
        functions: whether nonlinear functions of a sender's last bin enter; False for counts.

    Raises:
        DataError: fewer than twice as many bins with a past as neurons.
    """
    rows = rows_with_past(values, segment, SENDER_LAGS)
    terms = chosen_terms(len(rows), values.shape[1], functions=functions)
    mean, sd = _mean_and_sd(values[rows])
    beside = np.zeros((len(values), 0)) if covariates is None else np.nan_to_num(covariates)
    beside_mean, beside_sd = _mean_and_sd(beside[rows])
    beside = (beside - beside_mean) / beside_sd

    def fitted(recording: np.ndarray) -> Estimate:
        used = rows_with_past(recording, segment, SENDER_LAGS)
        return estimate((recording - mean) / sd, used, terms, beside)

    own, null = fitted(values), [fitted(one) for one in surrogates]
    slopes = terms.slopes((values - mean) / sd, rows)
    wald_p = _p(own, slopes[0], _mean_of(null), 1 / len(null) if null else 0.0)
    p = wald_p if not null else np.maximum(wald_p, pooled_p(wald_p, _null_p(null, slopes[0])))
    unit = sd[:, None] / sd
    by_lag = np.einsum("ijk,ljk->lij", own.coefficients, slopes) * unit
    whole = slopes.sum(axis=0)  # (N, K)
    variance = np.einsum("jk,ijkl,jl->ij", whole, own.covariance, whole)
    return LaggedCouplings(
        terms=terms,
        weight=by_lag.sum(axis=0),
        se=np.sqrt(np.maximum(variance, 0)) * unit,
        by_lag=by_lag,
        lag=1 + np.abs(by_lag).argmax(axis=0),
        wald_p=wald_p,
        p=p,
        q=benjamini_hochberg(p),
        num_surrogates=len(null),
        num_rows=len(rows),
    )


def pooled_p(p: np.ndarray, null: np.ndarray) -> np.ndarray:
    """(N, N) share of the surrogates' edges whose p is as small; NaN where p is.

    Args:
        p: (N, N) of the recording.
        null: (M,) of all edges of all surrogates.
    """
    below = np.searchsorted(np.sort(null), p, side="right")
    return np.where(np.isfinite(p), (1 + below) / (1 + len(null)), np.nan)


def cauchy_combination(p: np.ndarray) -> np.ndarray:
    """One p from those of several tests, along the first axis; see Liu and Xie (2020)."""
    bounded = np.clip(p, SMALLEST_P, 1 - 1e-12)
    combined: np.ndarray = cauchy.sf(cauchy.isf(bounded).mean(axis=0))
    return combined


def _null_p(null: list[Estimate], slope: np.ndarray) -> np.ndarray:
    """(M,) p of the edges of every surrogate against the mean of the others."""
    total = np.sum([one.coefficients for one in null], axis=0, dtype=np.float64)
    others = max(1, len(null) - 1)
    each = [_p(one, slope, (total - one.coefficients) / others, 1 / others) for one in null]
    pooled = np.concatenate([one.ravel() for one in each])
    return pooled[np.isfinite(pooled)]


def _mean_of(null: list[Estimate]) -> np.ndarray | float:
    return np.mean([one.coefficients for one in null], axis=0) if null else 0.0


def _p(fit: Estimate, slope: np.ndarray, expected: np.ndarray | float, more: float) -> np.ndarray:
    """(N, N) of both Wald tests; NaN on the diagonal and where no coefficient varies.

    Args:
        slope: (N, K) derivative of each sender's terms in its last bin.
        expected: coefficients without coupling.
        more: variance of `expected`, over that of the coefficients.
    """
    values, vectors = np.linalg.eigh(fit.covariance.astype(np.float64))
    largest = values[..., -1:]
    kept = values > np.maximum(RANK * largest, CONSTANT * np.abs(values).max())
    along = np.einsum("ijkl,ijk->ijl", vectors, fit.coefficients - expected)
    size = np.where(kept, along**2 / np.where(kept, values, 1), 0).sum(axis=-1) / (1 + more)
    rank = kept.sum(axis=-1)
    joint = fisher.sf(size / np.maximum(rank, 1), np.maximum(rank, 1), fit.num_blocks - 1)
    last = np.einsum("ijk,jk->ij", fit.coefficients - expected, slope)
    variance = np.einsum("jk,ijkl,jl->ij", slope, fit.covariance, slope) * (1 + more)
    varies = variance > 0
    ratio = np.where(varies, last**2 / np.where(varies, variance, 1), 0)
    p = cauchy_combination(np.stack([joint, fisher.sf(ratio, 1, fit.num_blocks - 1)]))
    others = ~np.eye(len(p), dtype=bool)
    return np.where(others & (rank > 0), p, np.nan)


def _mean_and_sd(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each column; the sd of a constant one is 1."""
    mean, sd = values.mean(axis=0), values.std(axis=0)
    return mean, np.where(sd > 1e-9 * np.abs(mean), sd, 1.0)
