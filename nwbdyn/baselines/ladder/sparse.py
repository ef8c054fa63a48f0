"""Sparse additive coupling: strong weights of a ridge regression, fitted again without the others.

A weight is kept where it exceeds a number of its standard errors. Each receiver is then regressed
on its own lags and on the senders that are left, under a part of its former penalty. Without the
weak weights less shrinking is needed.
"""

from collections.abc import Iterable, Iterator
from itertools import product

import numpy as np

from nwbdyn.baselines.ladder.ridge import SenderRidge

MAX_SPARSE_INPUTS = 500  # sender terms: keeps the regressions of single receivers short
LEAST_ERRORS = (4.0, 3.0, 2.5, 2.0, 1.5)  # standard errors that a weight has to exceed
SHARES = (1.0, 10**-0.5, 0.1)  # of the penalty of the ridge regression
FORMS = tuple(product(LEAST_ERRORS, SHARES))


class SparseSenders:
    """Every neuron on the terms of few other neurons, and on own lags.

    A path runs over numbers of FORMS instead of penalties.
    """

    def __init__(self, ridge: SenderRidge, penalties: np.ndarray, noise: np.ndarray) -> None:
        """Standard errors of the weights of a ridge regression.

        Args:
            ridge: regression of all senders.
            penalties: (N,) of its receivers; one with an infinite penalty receives nothing.
            noise: (N,) sd of its residuals in training.
        """
        self._ridge, self._penalties = ridge, penalties
        self._errors = np.zeros((len(penalties), ridge.num_inputs))  # weight over standard error
        for penalty in np.unique(penalties[np.isfinite(penalties)]):
            ours = penalties == penalty
            weights = ridge.scaled_weights(float(penalty))[ours]
            spread = ridge.spread(float(penalty)) * noise[ours, None]
            self._errors[ours] = np.abs(weights) / np.maximum(spread, 1e-300)

    @property
    def num_inputs(self) -> int:
        """Sender terms of all neurons."""
        return self._ridge.num_inputs

    def path(self, numbers: np.ndarray) -> Iterator[np.ndarray]:
        """(N, F + q + 1) coefficients as of the ridge regression, for each number of a form."""
        return (self._coefficients(*FORMS[int(number)]) for number in numbers)

    def apply(self, rows: np.ndarray, path: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """(n, N) predicted residuals for each set of coefficients."""
        return self._ridge.apply(rows, path)

    def _coefficients(self, least: float, share: float) -> np.ndarray:
        strong = self._errors > least
        return np.stack(
            [
                self._ridge.of_senders(post, np.flatnonzero(strong[post]), share * penalty)
                for post, penalty in enumerate(self._penalties)
            ]
        )
