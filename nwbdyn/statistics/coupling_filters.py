"""Coupling filters between spiking units: each unit's rate from its own and all others' past.

    lambda_i(t) = b_i + sum_l o_i(l) n_i(t - l) + sum_{j != i} sum_l h_ij(l) n_j(t - l)

on a fine grid: a linear Hawkes model (Hawkes 1971), with the likelihood of Truccolo et al. (2005).
Filters are sums of a few fixed functions of the lag: raised cosines on its logarithm (Pillow et al.
2008), or one box, which is a wide bin. The weight of an edge is its filter's sum: spikes of the
receiver that follow one spike of the sender, beyond chance. All filters of a unit are fitted at
once by least squares, from correlograms.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from nwbdyn.statistics.fine_counts import Correlogram, FineCounts

OWN_SPAN, OWN_FUNCTIONS = 0.2, 6  # seconds of a unit's own past, the same for every candidate
LOWEST = 0.1  # of a unit's mean rate: what a predicted rate is held above
CHUNK = 20_000_000  # numbers of a chunk of features


@dataclass(frozen=True)
class Filters:
    """Functions of the lag that coupling filters are sums of."""

    name: str
    basis: np.ndarray  # (num_lags, num_functions), at lags of 1, 2, … bins

    @property
    def num_functions(self) -> int:
        return self.basis.shape[1]


@dataclass(frozen=True)
class Fitted:
    """Coefficients of one set of filters, and their covariance if units fire independently."""

    filters: Filters
    coefficients: np.ndarray  # (N, N, K) [post, pre, function], 0 on the diagonal
    covariance: np.ndarray  # (N, N, K, K)
    own: np.ndarray  # (N, Q) of a unit's own past
    own_alone: np.ndarray  # (N, Q) the same without any coupling
    mean: np.ndarray  # (N,) counts per bin

    @property
    def weight(self) -> np.ndarray:
        """(N, N) sum of each filter over lags."""
        return self.coefficients @ self.filters.basis.sum(axis=0)

    @property
    def se(self) -> np.ndarray:
        """(N, N) standard error of the weight."""
        size = self.filters.basis.sum(axis=0)
        return np.sqrt(np.einsum("ijkl,k,l->ij", self.covariance, size, size))


def box(num_lags: int, bin_width: float) -> Filters:
    """One number for all lags up to `num_lags`."""
    return Filters(f"box to {_ms(num_lags, bin_width)}", np.ones((num_lags, 1)))


def raised_cosines(num_lags: int, num_functions: int, bin_width: float) -> Filters:
    """Bumps evenly spaced in the logarithm of the lag, wider at longer lags."""
    x = np.log(np.arange(1, num_lags + 1) + 2.0)
    centres = np.linspace(x[0], x[-1], num_functions)
    phase = (x[:, None] - centres) / (centres[1] - centres[0])
    basis = 0.5 * (1 + np.cos(np.pi * np.clip(phase, -1, 1)))
    name = f"{num_functions} raised cosines to {_ms(num_lags, bin_width)}"
    return Filters(name, basis)


def own_filters(bin_width: float) -> Filters:
    """Functions of a unit's own past."""
    return raised_cosines(round(OWN_SPAN / bin_width), OWN_FUNCTIONS, bin_width)


def fit(lags: Correlogram, filters: Filters) -> Fitted:
    """Fit every unit's own filter and the filters of all other units."""
    num_units, num_functions = len(lags.mean), filters.num_functions
    own = own_filters(lags.bin_width)
    between = _gram(lags, filters.basis, filters.basis)  # (N, K, N, K)
    across = _gram(lags, filters.basis, own.basis)  # (N, K, N, Q)
    alone = _gram(lags, own.basis, own.basis)
    drive, own_drive = _response(lags, filters.basis), _response(lags, own.basis)
    coefficients = np.zeros((num_units, num_units, num_functions))
    covariance = np.zeros((num_units, num_units, num_functions, num_functions))
    own_weights, own_alone = np.zeros((2, num_units, own.num_functions))
    for unit in range(num_units):
        others = np.delete(np.arange(num_units), unit)
        size = len(others) * num_functions
        gram = np.zeros((size + own.num_functions,) * 2)
        gram[:size, :size] = between[others][:, :, others].reshape(size, size)
        gram[:size, size:] = across[others][:, :, unit].reshape(size, -1)
        gram[size:, :size] = gram[:size, size:].T
        gram[size:, size:] = alone[unit, :, unit]
        inverse = _inverse(gram)
        solution = inverse @ np.r_[drive[unit, others].ravel(), own_drive[unit, unit]]
        coefficients[unit, others] = solution[:size].reshape(-1, num_functions)
        own_weights[unit] = solution[size:]
        own_alone[unit] = _inverse(gram[size:, size:]) @ own_drive[unit, unit]
        for position, other in enumerate(others):
            part = slice(position * num_functions, (position + 1) * num_functions)
            covariance[unit, other] = lags.mean[unit] * inverse[part, part]
    return Fitted(filters, coefficients, covariance, own_weights, own_alone, lags.mean)


def coupling_gain(fitted: Fitted, counts: FineCounts) -> float:
    """Bits per second that coupling adds to units' own past, summed over units.

    l = sum over spikes of log lambda - integral of lambda, with coupling less without it. Rates are
    held above LOWEST of a unit's mean.
    """
    own = own_filters(counts.bin_width)
    basis = fitted.filters.basis
    gained = 0.0
    for observed, (by_sender, by_self) in _features(counts, (basis, own.basis)):
        coupled = by_sender.reshape(len(by_sender), -1) @ fitted.coefficients.reshape(
            len(fitted.mean), -1
        ).T.astype(np.float32)
        coupled = coupled - fitted.weight @ fitted.mean
        rates = []
        for weights in (fitted.own_alone, fitted.own):
            past = np.einsum("nik,ik->ni", by_self, weights.astype(np.float32))
            rates.append(fitted.mean + past - fitted.mean * (weights @ own.basis.sum(axis=0)))
        rates[1] = rates[1] + coupled
        alone, both = (np.maximum(rate, LOWEST * fitted.mean + 1e-12) for rate in rates)
        gained += float((observed * (np.log(both) - np.log(alone)) - (both - alone)).sum())
    seconds = counts.num_bins * counts.bin_width
    return gained / seconds / np.log(2)


def _features(
    counts: FineCounts, bases: tuple[np.ndarray, ...]
) -> Iterator[tuple[np.ndarray, list[np.ndarray]]]:
    """Counts (n, N), and counts through each basis (n, N, K), one stretch of bins after another."""
    widest = max(len(basis) for basis in bases)
    numbers = counts.num_units * sum(basis.shape[1] for basis in bases)
    length = max(CHUNK // max(numbers, 1), 10 * widest)
    for start, stop in counts.spans.tolist():
        for first in range(start, stop, length):
            last = min(first + length, stop)
            inside = slice(*np.searchsorted(counts.bins, [first, last]))
            observed = np.zeros((last - first, counts.num_units), dtype=np.float32)
            rows, units = counts.bins[inside] - first, counts.units[inside]
            observed[rows, units] = counts.counts[inside]
            past = slice(*np.searchsorted(counts.bins, [first - widest, last]))
            rows, units = counts.bins[past] - first, counts.units[past]
            number = counts.counts[past].astype(np.float32)
            filtered = []
            for basis in bases:
                values = np.zeros((*observed.shape, basis.shape[1]), dtype=np.float32)
                for lag, row in enumerate(basis.astype(np.float32), start=1):
                    seen = (rows + lag >= 0) & (rows + lag < len(observed))
                    values[rows[seen] + lag, units[seen]] += number[seen, None] * row
                filtered.append(values)
            yield observed, filtered


def _gram(lags: Correlogram, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(N, K, N, Q) products of filtered counts, summed over bins."""
    num_units = len(lags.mean)
    gram = np.zeros((num_units, first.shape[1], num_units, second.shape[1]))
    for shift in range(1 - len(first), len(second)):
        rows = np.arange(max(0, -shift), min(len(first), len(second) - shift))
        product = first[rows].T @ second[rows + shift]  # (K, Q)
        gram += product[None, :, None, :] * lags.at(shift)[:, None, :, None]
    return gram


def _response(lags: Correlogram, basis: np.ndarray) -> np.ndarray:
    """(N, N, K) [post, pre] products of counts with filtered counts, summed over bins."""
    return np.einsum("lk,lij->ijk", basis, lags.values[1 : len(basis) + 1])


def _inverse(gram: np.ndarray) -> np.ndarray:
    """The inverse; 0 for features that never vary, which belong to units that never fire."""
    alive = np.diag(gram) > 1e-9 * max(float(np.diag(gram).max()), 1e-12)
    inverse = np.zeros_like(gram)
    inverse[np.ix_(alive, alive)] = np.linalg.pinv(gram[np.ix_(alive, alive)], hermitian=True)
    return inverse


def _ms(num_lags: int, bin_width: float) -> str:
    return f"{1000 * num_lags * bin_width:g} ms"
