"""A regression of every neuron on the last bins of all, and the covariance of its coefficients.

    x_i(t) = b_i + sum_j sum_{l = 1..L} W^l_ij x_j(t - l)
                 + sum_j sum_k V^k_ij f_k(x_j(t - 1), x_j(t - 2)) + C_i u(t - 1) + e_i(t)

Signals x and covariates u are scaled to unit sd; f_k are the sender functions of rung M2 (tanh, a
hinge, the increase), so that a response that bends does not make edges. The covariance holds for
noise whose variance changes and that is correlated over a few bins: scores are summed over blocks
of time (Arellano 1987), with residuals corrected for leverage (HC3: MacKinnon and White 1985).
Rows are taken in chunks, so that the inputs of a long recording are never held at once.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from nwbdyn.errors import DataError
from nwbdyn.models._core_terms import (
    MAX_INPUTS,
    SENDER_FUNCTIONS,
    SENDER_LAGS,
    sender_functions,
    sender_slopes,
)

MOST_LEVERAGE = 0.9  # of a row; beyond it the correction would explode
ROWS_PER_INPUT = 2  # at least
CHUNK = 2**23  # bytes of inputs at a time
SMALLEST_EIGENVALUE = 1e-10  # of the inputs' second moments, over the largest


@dataclass(frozen=True)
class SenderTerms:
    """The terms of each sender, in this order: its last bins, then functions of the newest."""

    num_lags: int
    functions: bool

    @property
    def number(self) -> int:
        return self.num_lags + (len(SENDER_FUNCTIONS) if self.functions else 0)

    def of(self, signals: np.ndarray, rows: np.ndarray) -> list[np.ndarray]:
        """(n, N) of each term."""
        lags = [signals[rows - lag] for lag in range(1, self.num_lags + 1)]
        return lags + (sender_functions(lags[0], lags[1], np.tanh) if self.functions else [])

    def slopes(self, signals: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """(L, N, K) mean derivative of each term in a sender's bin at each lag."""
        slopes = np.zeros((self.num_lags, signals.shape[1], self.number))
        for lag in range(self.num_lags):
            slopes[lag, :, lag] = 1.0
        if self.functions:
            each = sender_slopes(signals[rows - 1], signals[rows - 2], np.tanh)
            for term, (newest, before) in enumerate(each, start=self.num_lags):
                slopes[0, :, term], slopes[1, :, term] = newest.mean(axis=0), before.mean(axis=0)
        return slopes


@dataclass(frozen=True)
class Estimate:
    """Coefficients of the terms of every sender, per sd of the receiver and of the sender."""

    coefficients: np.ndarray  # (N, N, K) float32 [post, pre, term]
    covariance: np.ndarray  # (N, N, K, K) float32
    num_blocks: int  # of time, over which scores are summed


def chosen_terms(num_rows: int, num_neurons: int, *, functions: bool) -> SenderTerms:
    """The most terms that a recording of such a size can fit: three lags and functions at best.

    Args:
        num_rows: bins with a whole past.
        functions: False for counts, which have no functions in M2.

    Raises:
        DataError: fewer than twice as many bins as neurons.
    """
    options = [SenderTerms(SENDER_LAGS, True)] if functions else []
    options += [SenderTerms(lags, False) for lags in range(SENDER_LAGS, 0, -1)]
    for terms in options:
        num_inputs = terms.number * num_neurons + 1
        few = terms.number == 1 or num_inputs <= MAX_INPUTS
        if few and num_rows >= ROWS_PER_INPUT * num_inputs:
            return terms
    needed = ROWS_PER_INPUT * (num_neurons + 1)
    raise DataError(
        f"{num_rows} bins with a past are too few to test edges between {num_neurons} neurons; "
        f"{needed} are needed. Choose neurons with --where."
    )


def estimate(
    signals: np.ndarray, rows: np.ndarray, terms: SenderTerms, covariates: np.ndarray
) -> Estimate:
    """Least squares and the covariance of its coefficients.

    Args:
        signals: (T, N) of unit sd.
        rows: (n,) bins with a whole past, rising.
        covariates: (T, C) of unit sd; those of the bin before enter.
    """
    num_neurons = signals.shape[1]
    moments: np.ndarray | float = 0.0
    products: np.ndarray | float = 0.0
    parts = list(_parts(rows, len(rows), num_inputs=terms.number * num_neurons))
    for part in parts:
        inputs = _inputs(signals, part, terms, covariates)
        moments = moments + inputs.T @ inputs
        products = products + inputs.T @ signals[part]
    inverse = np.linalg.pinv(moments, hermitian=True, rcond=SMALLEST_EIGENVALUE)
    solution = inverse @ products  # (inputs, N)
    width, tested = block_length(len(rows)), terms.number * num_neurons
    covariance = np.zeros((num_neurons, num_neurons, terms.number, terms.number))
    num_blocks = 0
    for part in parts:
        inputs = _inputs(signals, part, terms, covariates)
        projected = inputs @ inverse
        leverage = np.minimum(np.einsum("ti,ti->t", projected, inputs), MOST_LEVERAGE)
        residual = (signals[part] - inputs @ solution) / (1 - leverage)[:, None]
        scores = _block_sums(projected[:, :tested], residual, part // width)
        num_blocks += scores.shape[-1]
        covariance += _outer(scores, terms.number)
    covariance *= num_blocks / (num_blocks - 1)
    shape = (terms.number, num_neurons, num_neurons)
    by_edge = solution[:tested].reshape(shape).transpose(2, 1, 0)
    return Estimate(by_edge.astype(np.float32), covariance.astype(np.float32), num_blocks)


def block_length(num_rows: int) -> int:
    """Bins over which scores may be correlated (Newey and West 1994), and one."""
    return 1 + int(4 * (num_rows / 100) ** (2 / 9))


def rows_with_past(values: np.ndarray, segment: np.ndarray, num_lags: int) -> np.ndarray:
    """(n,) bins without NaN, with a whole past of `num_lags` bins."""
    usable = np.isfinite(values).all(axis=1)
    rows = np.arange(num_lags, len(values))
    whole = usable[rows]
    for lag in range(1, num_lags + 1):
        whole &= usable[rows - lag] & (segment[rows - lag] == segment[rows])
    return rows[whole]


def _inputs(
    signals: np.ndarray, rows: np.ndarray, terms: SenderTerms, covariates: np.ndarray
) -> np.ndarray:
    """(n, K * N + C + 1) terms of all senders, covariates, 1."""
    constant = np.ones((len(rows), 1))
    return np.concatenate([*terms.of(signals, rows), covariates[rows - 1], constant], axis=1)


def _parts(rows: np.ndarray, num_rows: int, *, num_inputs: int) -> Iterator[np.ndarray]:
    """Rows in chunks that end where a block of time ends."""
    width = block_length(num_rows)
    blocks = max(1, CHUNK // (8 * num_inputs * width))
    chunk = rows // (width * blocks)
    yield from np.split(rows, np.flatnonzero(np.diff(chunk)) + 1)


def _block_sums(projected: np.ndarray, residual: np.ndarray, block: np.ndarray) -> np.ndarray:
    """(N, inputs, blocks) sums over each block of residual times projected input."""
    starts = np.flatnonzero(np.diff(block, prepend=block[0] - 1))
    ends = np.append(starts[1:], len(block))
    sums = [
        residual[first:last].T @ projected[first:last]
        for first, last in zip(starts, ends, strict=True)
    ]
    return np.stack(sums, axis=-1)


def _outer(scores: np.ndarray, num_terms: int) -> np.ndarray:
    """(N, N, K, K) sums over blocks of the products of an edge's scores."""
    by_edge = scores.reshape(len(scores), num_terms, len(scores), -1).transpose(0, 2, 1, 3)
    product: np.ndarray = by_edge @ by_edge.transpose(0, 1, 3, 2)
    return product
