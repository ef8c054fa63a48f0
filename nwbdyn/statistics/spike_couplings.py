"""Directed couplings between spiking units at the time scale of synapses, with p and q.

Filters are chosen by their coupling gain on validation (`time_scale`), fitted to all observed time,
and tested against jitter surrogates (`jitter`). Two tests have to agree on an edge:

- its filter differs from 0 (Wald, joint over the filter's functions);
- its filter differs from the mean of the surrogates' filters, in units of their pooled covariance.

Surrogates alone are not enough. Jitter moves part of a strong coupling to the reverse direction,
so that an uncoupled reverse edge lies far below its surrogates; but it does not differ from 0. The
p of an edge is the larger of both (an intersection-union test), and 1 where the two differences
point in opposite directions. q is Benjamini and Hochberg's over all tested edges.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import chi2

from nwbdyn.errors import ConfigError, DataError
from nwbdyn.recording import SpikeTimes
from nwbdyn.statistics import time_scale
from nwbdyn.statistics.coupling_filters import OWN_SPAN, Filters, fit
from nwbdyn.statistics.fine_counts import FineCounts, correlogram, fine_counts, in_bins
from nwbdyn.statistics.jitter import WINDOW, hypothesis, jitter
from nwbdyn.statistics.significance import benjamini_hochberg
from nwbdyn.statistics.time_scale import GRID, Candidate

FEWEST_SURROGATES = 10  # below which their mean and covariance are too uncertain
CHOOSING_SURROGATES = 2  # of them, for the time scale
FEWEST_PAIRS = 10.0  # spike pairs within the filter's support that chance alone gives


@dataclass(frozen=True)
class SpikeCouplings:
    """Edges between units; matrices are (N, N) [post, pre], NaN where untested."""

    weight: np.ndarray  # spikes of the receiver per spike of the sender, beyond chance
    surrogate_weight: np.ndarray  # mean of the jitter surrogates
    se: np.ndarray  # of the weight
    statistic: np.ndarray  # chi-square of the weaker of both tests, 0 where they disagree
    p: np.ndarray
    q: np.ndarray
    filters: np.ndarray  # (N, N, num_lags) the filter at each lag
    chosen: Candidate
    compared: tuple[Candidate, ...]
    bin_width: float  # seconds
    window: float  # of jitter, seconds
    num_surrogates: int

    @property
    def hypothesis(self) -> str:
        """The null hypothesis, in words."""
        return hypothesis(self.window)


def spike_couplings(
    spikes: SpikeTimes,
    *,
    train: np.ndarray,
    val: np.ndarray,
    num_surrogates: int = 20,
    window: float = WINDOW,
    each: Sequence[Filters] | None = None,
    seed: int = 0,
) -> SpikeCouplings:
    """Choose the time scale, fit every pair of units, and test it against jitter surrogates.

    Args:
        train, val: (m, 2) seconds that choose the time scale. Edges use all observed time.
        num_surrogates: jittered copies.
        window: of jitter, seconds.
        each: candidate filters on a grid of 1 ms, `time_scale.candidates` by default.

    Raises:
        ConfigError: too few surrogates.
        DataError: no time to train on or to validate with.
    """
    if num_surrogates < FEWEST_SURROGATES:
        raise ConfigError(
            f"{num_surrogates} jitter surrogates are too few for their mean and covariance; "
            f"{FEWEST_SURROGATES} are needed. Use --null jitter:20."
        )
    random = np.random.default_rng([seed, 0])
    counts = fine_counts(spikes, GRID)
    drawn = [
        fine_counts(jitter(spikes, random=random, window=window), GRID)
        for _ in range(num_surrogates)
    ]
    parts = {"training": in_bins(train, GRID), "validation": in_bins(val, GRID)}
    for name, spans in parts.items():
        if not counts.within(spans).num_bins:
            raise DataError(f"No observed time lies in the {name} intervals. Use another split.")
    compared = time_scale.compare(
        counts,
        drawn[:CHOOSING_SURROGATES],
        time_scale.candidates() if each is None else each,
        train=parts["training"],
        val=parts["validation"],
    )
    chosen = time_scale.best(compared)
    num_lags = round(OWN_SPAN / GRID)
    own = fit(correlogram(counts, num_lags), chosen.filters)
    null = np.stack([fit(correlogram(one, num_lags), chosen.filters).coefficients for one in drawn])
    statistic, p = joint_test(own.coefficients, own.covariance, null)
    untested = _untested(counts, chosen.filters)
    p, statistic = np.where(untested, np.nan, p), np.where(untested, np.nan, statistic)
    return SpikeCouplings(
        weight=own.weight,
        surrogate_weight=null.mean(axis=0) @ chosen.filters.basis.sum(axis=0),
        se=own.se,
        statistic=statistic,
        p=p,
        q=benjamini_hochberg(p),
        filters=own.coefficients @ chosen.filters.basis.T,
        chosen=chosen,
        compared=tuple(compared),
        bin_width=GRID,
        window=window,
        num_surrogates=num_surrogates,
    )


def joint_test(
    coefficients: np.ndarray, covariance: np.ndarray, null: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(N, N) chi-square and p that filters differ from 0 and, likewise, from their surrogates.

    The surrogates' covariance is pooled over edges, each first divided by its own analytic one. It
    is scaled up for an edge whose surrogates vary more than that, as those of bursting units do.

    Args:
        coefficients: (N, N, K).
        covariance: (N, N, K, K) of the coefficients, if units fire independently.
        null: (S, N, N, K) coefficients of surrogates.
    """
    num_units, num_functions = len(coefficients), coefficients.shape[-1]
    others = ~np.eye(num_units, dtype=bool)
    usable = np.isfinite(np.linalg.slogdet(covariance)[1]) & (covariance[..., 0, 0] > 0)
    others &= usable
    root = np.linalg.cholesky(covariance[others])  # (E, K, K)

    def whitened(values: np.ndarray) -> np.ndarray:
        return np.linalg.solve(root, values[..., None])[..., 0]

    centre = null.mean(axis=0)
    spread = whitened((null - centre)[:, others])  # (S, E, K)
    pooled = np.einsum("sek,sel->kl", spread, spread) / ((len(null) - 1) * len(root))
    pooled *= 1 + 1 / len(null)  # their mean is uncertain, too
    from_zero = whitened(coefficients[others])
    from_null = whitened((coefficients - centre)[others])
    wald = np.square(from_zero).sum(axis=1)
    inverse = np.linalg.inv(pooled)
    own = np.einsum("sek,kl,sel->e", spread, inverse, spread) / ((len(null) - 1) * num_functions)
    own *= 1 + 1 / len(null)
    beyond = np.einsum("ek,kl,el->e", from_null, inverse, from_null) / np.maximum(own, 1.0)
    agree = np.einsum("ek,ek->e", from_zero, from_null) > 0
    smaller = np.where(agree, np.minimum(wald, beyond), 0.0)
    statistic, p = np.full((2, num_units, num_units), np.nan)
    statistic[others], p[others] = smaller, chi2.sf(smaller, num_functions)
    return statistic, p


def _untested(counts: FineCounts, filters: Filters) -> np.ndarray:
    """(N, N) bool, pairs with too few spikes for a test, and the diagonal."""
    mean = counts.mean
    by_chance = counts.num_bins * np.outer(mean, mean) * len(filters.basis)
    return (by_chance < FEWEST_PAIRS) | np.eye(len(mean), dtype=bool)
