"""Poisson regression of counts whose log rate starts at that of the rung below.

Terms are centred and scaled over the rows, as in `ridge`. A path goes from the strongest penalty to
the weakest, each fit starting at the one before.
"""

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from nwbdyn.baselines.ladder.ridge import apply_intrinsic
from nwbdyn.baselines.ladder.terms import Terms
from nwbdyn.baselines.regression import CHOOSING, FINAL, Poisson, PoissonWeights


class IntrinsicPoisson:
    """Each neuron on its own terms."""

    def __init__(
        self, terms: Terms, rows: np.ndarray, counts: np.ndarray, offset: np.ndarray
    ) -> None:
        """`counts` and `offset` are (n, N) at `rows`."""
        self._terms, self._rows, self._counts, self._offset = terms, rows, counts, offset

    def path(self, penalties: np.ndarray) -> list[np.ndarray]:
        """(N, F + 1) coefficients for each penalty in turn."""
        paths = [self._neuron(neuron, penalties) for neuron in range(self._counts.shape[1])]
        return list(np.stack(paths, axis=1))

    def apply(self, rows: np.ndarray, path: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """(n, N) what is added to the log rate, for each set of coefficients."""
        yield from apply_intrinsic(self._terms, rows, path)

    def _neuron(self, neuron: int, penalties: np.ndarray) -> np.ndarray:
        """(P, F + 1)."""
        one = slice(neuron, neuron + 1)
        inputs, mean, scale = _scaled(self._terms(self._rows, one)[0])
        regression = Poisson(inputs, self._counts[:, one], offset=self._offset[:, one])
        fitted: PoissonWeights | None = None
        path = []
        for penalty in penalties:
            fitted = regression.fit(float(penalty), start=fitted, tolerance=FINAL)
            path.append(_coefficients(fitted, mean, scale)[0])
        return np.stack(path)


class SenderPoisson:
    """Every neuron on the terms of all neurons; own terms let its own dynamics give way."""

    def __init__(
        self,
        terms: Callable[[np.ndarray], np.ndarray],
        rows: np.ndarray,
        counts: np.ndarray,
        offset: np.ndarray,
    ) -> None:
        self._terms = terms
        inputs, self._mean, self._scale = _scaled(terms(rows))
        self._regression = Poisson(inputs, counts, offset=offset)

    def path(self, penalties: np.ndarray) -> Iterator[np.ndarray]:
        """(N, F + 1) coefficients for each penalty in turn."""
        fitted: PoissonWeights | None = None
        for penalty in penalties:
            fitted = self._regression.fit(float(penalty), start=fitted, tolerance=CHOOSING)
            yield _coefficients(fitted, self._mean, self._scale)

    def apply(self, rows: np.ndarray, path: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """(n, N) what is added to the log rate, for each set of coefficients."""
        inputs = self._terms(rows)
        for coefficients in path:
            yield inputs @ coefficients[:, :-1].T + coefficients[:, -1]


def _scaled(inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Inputs of zero mean and unit variance, their mean, their standard deviation."""
    mean, sd = inputs.mean(axis=0), inputs.std(axis=0)
    sd = np.where(sd > 1e-6 * np.maximum(1.0, np.abs(mean)), sd, 1.0)
    return ((inputs - mean) / sd).astype(np.float32), mean, sd


def _coefficients(fitted: PoissonWeights, mean: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """(M, F + 1) weights of the terms as they are, and the constant."""
    weights = fitted.weights.T.astype(np.float64) / scale
    return np.concatenate([weights, (fitted.bias - weights @ mean)[:, None]], axis=1)
