"""Ridge regression of residuals, from moments that are summed over stretches of time.

Terms are centred and scaled to unit variance over the rows. min_w |y - X w|^2 / n + penalty |w|^2.
"""

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from nwbdyn.baselines.ladder.terms import Terms

PENALTIES = np.logspace(-4, 2, 13)  # per row, terms in sd; infinity is the rung below
ROWS, NEURONS = 2048, 32  # whose terms are in memory at once


class OwnRidge:
    """Each neuron on its own terms."""

    def __init__(self, terms: Terms, rows: np.ndarray, targets: np.ndarray) -> None:
        """`targets` are (n, N) residuals of the rung below at `rows`."""
        self._terms, self._num_neurons = terms, targets.shape[1]
        self._target_mean = targets.mean(axis=0)
        means, scales, spectra, vectors, turned = [], [], [], [], []
        for group in _groups(self._num_neurons):
            total, gram, moment = 0.0, 0.0, 0.0
            for part in _parts(len(rows)):
                inputs = terms(rows[part], group)  # (neurons, n, F)
                total = total + inputs.sum(axis=1)
                gram = gram + inputs.mT @ inputs
                moment = moment + np.einsum("inf,ni->if", inputs, targets[part, group])
            mean = total / len(rows)
            covariance = gram / len(rows) - mean[:, :, None] * mean[:, None]
            scale = _scale(np.diagonal(covariance, axis1=1, axis2=2), mean)
            spectrum, vector = np.linalg.eigh(covariance / scale[:, :, None] / scale[:, None])
            moment = moment / len(rows) - mean * self._target_mean[group, None]
            means.append(mean)
            scales.append(scale)
            spectra.append(np.maximum(spectrum, 0))
            vectors.append(vector)
            turned.append(np.einsum("ifk,if->ik", vector, moment / scale))
        self._mean, self._scale = np.concatenate(means), np.concatenate(scales)
        self._spectrum, self._vectors = np.concatenate(spectra), np.concatenate(vectors)
        self._turned = np.concatenate(turned)

    def coefficients(self, penalty: float) -> np.ndarray:
        """(N, F + 1) weights of the terms as they are, and the constant."""
        weights = np.einsum("ifk,ik->if", self._vectors, self._turned / (self._spectrum + penalty))
        weights /= self._scale
        constant = self._target_mean - (self._mean * weights).sum(axis=1)
        return np.concatenate([weights, constant[:, None]], axis=1)

    def path(self, penalties: np.ndarray) -> Iterator[np.ndarray]:
        """Coefficients for each penalty in turn."""
        return (self.coefficients(float(penalty)) for penalty in penalties)

    def apply(self, rows: np.ndarray, path: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """(n, N) predicted residuals for each set of coefficients."""
        yield from apply_own(self._terms, rows, path)


class SenderRidge:
    """Every neuron on the terms of all other neurons; its own weights are exactly 0."""

    def __init__(
        self,
        terms: Callable[[np.ndarray], np.ndarray],
        rows: np.ndarray,
        targets: np.ndarray,
    ) -> None:
        self._terms, self._num_neurons = terms, targets.shape[1]
        self._target_mean = targets.mean(axis=0)
        total, gram, moment = 0.0, 0.0, 0.0
        for part in _parts(len(rows)):
            inputs = terms(rows[part])
            total = total + inputs.sum(axis=0)
            gram = gram + inputs.T @ inputs
            moment = moment + inputs.T @ targets[part]
        self._mean = total / len(rows)
        covariance = gram / len(rows) - np.outer(self._mean, self._mean)
        self._scale = _scale(np.diagonal(covariance), self._mean)
        covariance = covariance / self._scale[:, None] / self._scale
        spectrum, self._vectors = np.linalg.eigh(covariance)
        self._spectrum = np.maximum(spectrum, 0)
        moment = moment / len(rows) - np.outer(self._mean, self._target_mean)
        self._moment = moment / self._scale[:, None]

    def coefficients(self, penalty: float) -> np.ndarray:
        """(N, F + 1) weights [post, kind and pre], and the constant.

        The constraint "own weights are 0" has the closed form W - P_S (P_SS)^-1 W_S, with P the
        inverse of the penalised moments and S the receiver's own terms.
        """
        inverse = (self._vectors / (self._spectrum + penalty)) @ self._vectors.T
        weights = inverse @ self._moment  # (F, N)
        n = self._num_neurons
        kinds, neurons = len(weights) // n, np.arange(n)
        own = neurons + n * np.arange(kinds)[:, None]  # (kinds, N) rows of each receiver itself
        block = inverse[own.T[:, :, None], own.T[:, None, :]]  # (N, kinds, kinds)
        excess = np.linalg.solve(block, weights[own, neurons].T[..., None])[..., 0].T  # (kinds, N)
        for kind in range(kinds):
            weights -= inverse[:, own[kind]] * excess[kind]
        weights[own, neurons] = 0.0
        weights /= self._scale[:, None]
        constant = self._target_mean - self._mean @ weights
        return np.concatenate([weights.T, constant[:, None]], axis=1)

    def path(self, penalties: np.ndarray) -> Iterator[np.ndarray]:
        """Coefficients for each penalty in turn."""
        return (self.coefficients(float(penalty)) for penalty in penalties)

    def apply(self, rows: np.ndarray, path: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """(n, N) predicted residuals for each set of coefficients."""
        yield from apply_senders(self._terms, rows, path)


def apply_own(
    terms: Terms, rows: np.ndarray, path: Iterable[np.ndarray]
) -> Iterator[np.ndarray]:
    """(n, N) own terms times each (N, F + 1) of coefficients."""
    stacked = np.stack(list(path), axis=2)  # (N, F + 1, P)
    added = np.empty((stacked.shape[2], len(rows), len(stacked)))
    for group in _groups(len(stacked)):
        for part in _parts(len(rows)):
            sums = terms(rows[part], group) @ stacked[group, :-1] + stacked[group, None, -1]
            added[:, part, group] = sums.transpose(2, 1, 0)
    yield from added


def apply_senders(
    terms: Callable[[np.ndarray], np.ndarray], rows: np.ndarray, path: Iterable[np.ndarray]
) -> Iterator[np.ndarray]:
    """(n, N) sender terms times each (N, F + 1) of coefficients."""
    for coefficients in path:
        added = np.empty((len(rows), len(coefficients)))
        for part in _parts(len(rows)):
            added[part] = terms(rows[part]) @ coefficients[:, :-1].T + coefficients[:, -1]
        yield added


def _scale(variance: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Standard deviations; 1 for a term that is constant."""
    sd = np.sqrt(np.maximum(variance, 0))
    return np.where(sd > 1e-6 * np.maximum(1.0, np.abs(mean)), sd, 1.0)


def _groups(num_neurons: int) -> Iterator[slice]:
    return (slice(start, min(start + NEURONS, num_neurons)) for start in range(0, num_neurons, NEURONS))


def _parts(num_rows: int) -> Iterator[slice]:
    return (slice(start, min(start + ROWS, num_rows)) for start in range(0, num_rows, ROWS))
