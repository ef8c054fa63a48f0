"""Penalised regressions that are solved once for many targets and many penalties.

Inputs are (n, F) with zero mean and unit variance over the rows, targets (n, M). Ridge regression
takes one eigendecomposition for all penalties. Poisson regression takes the same decomposition as
its preconditioner: near a constant rate r the curvature is r X'X + penalty, so that L-BFGS starts
from nearly a Newton step and needs some ten evaluations, each two products of X.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

MAX_ITERATIONS = 200
ROUNDING = 1e-6
MAX_LASSO_STEPS, LASSO_TOLERANCE = 1000, 1e-5  # largest change of a weight, in sd per sd
# relative decrease of the loss at which L-BFGS stops (inputs are float32): while choosing, at last
CHOOSING, FINAL = 1e-5, 1e-6
PRECISIONS = np.logspace(4.5, 0.5, 9)  # of the prior: weights of .006 to .6 log units per sd
CHOOSING_ROWS = 10_000  # training rows that choose inputs and precision, evenly spread


class Ridge:
    """Least squares with an L2 penalty: min_W |Y - X W|^2 / n + penalty |W|^2."""

    def __init__(self, inputs: np.ndarray, targets: np.ndarray) -> None:
        n, num_inputs = inputs.shape
        if num_inputs <= n:
            self._spectrum, vectors = np.linalg.eigh(inputs.T @ inputs / n)
            self._left, self._right = vectors, vectors.T @ (inputs.T @ targets / n)
        else:  # more inputs than rows: the same solution from the smaller matrix
            self._spectrum, vectors = np.linalg.eigh(inputs @ inputs.T / n)
            self._left, self._right = inputs.T @ vectors, vectors.T @ targets / n

    def weights(self, penalty: float) -> np.ndarray:
        """(F, M) for one penalty > 0."""
        scale = 1 / (np.maximum(self._spectrum, 0) + penalty)
        return self._left @ (scale[:, None] * self._right).astype(self._left.dtype)


class Lasso:
    """Least squares with an L1 penalty: min_W |Y - X W|^2 / 2n + penalty |W|_1, for all targets.

    Accelerated proximal gradient steps (Beck and Teboulle 2009) on the moments of the data.
    """

    def __init__(self, inputs: np.ndarray, targets: np.ndarray) -> None:
        self.gram = inputs.T @ inputs / len(inputs)
        self.moment = inputs.T @ targets / len(inputs)  # (F, M)
        # the penalty that leaves no weight, whatever the rounding of 32 bits
        self.largest = (1 + ROUNDING) * float(np.abs(self.moment).max())
        self._step = 1 / max(float(np.linalg.eigvalsh(self.gram)[-1]), 1e-12)

    def weights(self, penalty: float, *, start: np.ndarray) -> np.ndarray:
        """(F, M) for one penalty, from `start` (a neighbouring fit, or zeros)."""
        weights = ahead = start
        momentum = 1.0
        for _ in range(MAX_LASSO_STEPS):
            moved = ahead - self._step * (self.gram @ ahead - self.moment)
            shrunk = moved - np.clip(moved, -self._step * penalty, self._step * penalty)
            change = shrunk - weights
            faster = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
            ahead = shrunk + (momentum - 1) / faster * change
            weights, momentum = shrunk, faster
            if np.abs(change).max() < LASSO_TOLERANCE:
                break
        return weights


@dataclass(frozen=True)
class PoissonWeights:
    """log rate = inputs @ weights + bias."""

    weights: np.ndarray  # (F, M) float32
    bias: np.ndarray  # (M,)
    ceiling: np.ndarray  # (M,) largest log rate that is believed: twice the largest training count
    converged: bool

    def rates(self, inputs: np.ndarray) -> np.ndarray:
        """(n, M) expected counts per bin."""
        log_rate = inputs @ self.weights + self.bias.astype(inputs.dtype)
        return np.exp(np.minimum(log_rate, self.ceiling.astype(inputs.dtype)))


class Poisson:
    """Poisson regression with log link: min sum_t exp(z) - y z + precision |w|^2 / 2.

    `precision` is that of a Gaussian prior on the weights, so it does not depend on the number of
    rows. Above the ceiling the loss goes on as a straight line, which keeps it finite and convex.
    A target without any event in training keeps the constant rate of half an event in all.

    Args:
        offset: (n, M) log rates that the inputs are added to.
    """

    def __init__(
        self,
        inputs: np.ndarray,
        counts: np.ndarray,
        *,
        offset: np.ndarray | None = None,
    ) -> None:
        self._inputs = inputs.astype(np.float32, copy=False)
        self._counts = counts.astype(np.float32, copy=False)
        self._offset = np.float32(0) if offset is None else offset.astype(np.float32)
        n = len(inputs)
        total = counts.sum(axis=0, dtype=np.float64)
        self._silent = total == 0
        self._mean = np.maximum(total, 0.5) / n
        self._bias = np.log(self._mean)
        if offset is not None:
            self._bias = self._bias - np.log(np.exp(offset).mean(axis=0, dtype=np.float64))
        self._ceiling = np.log(2 * np.maximum(counts.max(axis=0), 1).astype(np.float64))
        gram = (self._inputs.T @ self._inputs).astype(np.float64) / n
        spectrum, self._vectors = np.linalg.eigh(gram)
        self._spectrum = np.maximum(spectrum, 0)

    def fit(
        self,
        precision: float,
        *,
        start: PoissonWeights | None = None,
        tolerance: float = FINAL,
    ) -> PoissonWeights:
        """Weights for one precision, starting from `start` if it is given (a neighbouring fit)."""
        n, num_inputs = self._inputs.shape
        num_targets = len(self._mean)
        penalty = precision / n
        bias_scale = 1 / np.sqrt(self._mean)
        # weights = vectors @ (scale * u): u has unit curvature at the mean rate
        scale = 1 / np.sqrt(self._spectrum[:, None] * self._mean + penalty)

        def unpack(u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            u = u.reshape(num_inputs + 1, num_targets)
            bias = self._bias + u[-1] * bias_scale
            return self._vectors @ (scale * u[:-1]), bias

        def loss(u: np.ndarray) -> tuple[float, np.ndarray]:
            weights, bias = unpack(u)
            log_rate = self._inputs @ weights.astype(np.float32) + bias.astype(np.float32)
            log_rate += self._offset
            excess = np.maximum(log_rate - self._ceiling.astype(np.float32), 0)
            rate = np.exp(log_rate - excess)
            value = np.sum(rate * (1 + excess) - self._counts * log_rate, dtype=np.float64) / n
            value += penalty * np.sum(weights**2) / 2
            residual = rate - self._counts
            residual[:, self._silent] = 0
            gradient = np.empty((num_inputs + 1, num_targets))
            by_weight = (self._inputs.T @ residual) / n + penalty * weights
            gradient[:-1] = scale * (self._vectors.T @ by_weight)
            gradient[-1] = bias_scale * residual.mean(axis=0, dtype=np.float64)
            return value, gradient.ravel()

        u = np.zeros((num_inputs + 1, num_targets))
        if start is not None:
            u[:-1] = (self._vectors.T @ start.weights) / scale
            u[-1] = (start.bias - self._bias) / bias_scale
        result = minimize(
            loss,
            u.ravel(),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": MAX_ITERATIONS, "ftol": tolerance, "gtol": 1e-6},
        )
        weights, bias = unpack(result.x)
        return PoissonWeights(
            weights.astype(np.float32), bias, self._ceiling, converged=result.status == 0
        )


@dataclass(frozen=True)
class PoissonChoice:
    """The Poisson regression that predicts validation best."""

    inputs: str  # name of the inputs
    precision: float
    weights: PoissonWeights
    rates: np.ndarray  # (num_rows, M) expected counts of every row, training or not
    validation: float  # loss

    def chosen(self, noun: str) -> dict[str, float | int | str]:
        """The selected penalty in words, with a remark if L-BFGS did not converge."""
        chosen: dict[str, float | int | str] = {noun: self.inputs, "penalty": self.precision}
        return chosen if self.weights.converged else chosen | {"converged": "no"}


def best_poisson(
    candidates: Mapping[str, Callable[[], np.ndarray]],
    counts: np.ndarray,
    *,
    train: np.ndarray,
    val: np.ndarray,
    final: np.ndarray | None = None,
) -> PoissonChoice:
    """Choose inputs and precision on validation, then fit on all training rows.

    Args:
        candidates: name -> function that makes inputs (num_rows, F), in an order along which the
            validation loss has one minimum (widths of a filter, say): the search stops behind it.
        counts: (num_rows, M).
        train, val: row numbers.
        final: rows of the last fit; by default those of `train`.
    """
    thin = train[:: -(-len(train) // CHOOSING_ROWS)]
    best: tuple[float, str, float, PoissonWeights] | None = None
    for name, make_inputs in candidates.items():
        inputs = make_inputs()
        score, precision, weights = _best_precision(
            Poisson(inputs[thin], counts[thin]), inputs[val], counts[val]
        )
        if best is not None and score > best[0]:
            break
        best = (score, name, precision, weights)
    assert best is not None
    _, name, precision, weights = best
    inputs = candidates[name]()
    final = train if final is None else final
    weights = Poisson(inputs[final], counts[final]).fit(precision, start=weights)
    rates = weights.rates(inputs)
    return PoissonChoice(name, precision, weights, rates, _poisson_loss(rates[val], counts[val]))


def _best_precision(
    regression: Poisson, inputs: np.ndarray, counts: np.ndarray
) -> tuple[float, float, PoissonWeights]:
    """Validation loss, precision and weights, from strong to weak until validation turns."""
    weights = regression.fit(PRECISIONS[0], tolerance=CHOOSING)
    best = (_poisson_loss(weights.rates(inputs), counts), float(PRECISIONS[0]), weights)
    for precision in PRECISIONS[1:]:
        weights = regression.fit(precision, start=weights, tolerance=CHOOSING)
        score = _poisson_loss(weights.rates(inputs), counts)
        if score > best[0]:
            break
        best = (score, float(precision), weights)
    return best


def _poisson_loss(rates: np.ndarray, counts: np.ndarray) -> float:
    """Mean over rows and targets of rate - count log rate."""
    return float(np.mean(rates - counts * np.log(rates), dtype=np.float64))


@dataclass(frozen=True)
class LogScale:
    """Standardised log rates as inputs: (log(rate + offset) - mean) / sd, each (F,)."""

    offset: np.ndarray
    mean: np.ndarray
    sd: np.ndarray

    @classmethod
    def of(cls, rates: np.ndarray, share: float = 1.0) -> "LogScale":
        """The scale of the training rates (n, F); `share` of their mean is added before the log."""
        mean = rates.mean(axis=0)
        offset = np.maximum(share * mean, 1e-6)  # a neuron silent in training stays constant
        logs = np.log(rates + offset)
        sd = logs.std(axis=0)
        return cls(offset, logs.mean(axis=0), np.where(sd > 1e-6, sd, 1))

    def apply(self, rates: np.ndarray) -> np.ndarray:
        return (np.log(rates + self.offset) - self.mean) / self.sd


def log_scaled(rates: np.ndarray, train: np.ndarray) -> np.ndarray:
    """(n, F) log(rate + mean rate), zero mean and unit variance over the training rows.

    A log link of a sum over neurons wants their logs: a burst then multiplies the rate instead of
    exponentiating it. Adding the mean keeps an empty bin at a moderate value.
    """
    return LogScale.of(rates[train]).apply(rates)
