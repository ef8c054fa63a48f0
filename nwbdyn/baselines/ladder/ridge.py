"""Ridge regression of residuals, from moments that are summed over stretches of time.

Terms are centred and scaled to unit variance over the rows. min_w |y - X w|^2 / n + penalty |w|^2.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice

import numpy as np

from nwbdyn.baselines.ladder.terms import Terms

PENALTIES = np.logspace(-4, 2, 13)  # per row, terms in sd; infinity is the rung below
ROWS, NEURONS = 2048, 32  # whose terms are in memory at once
TOGETHER = 2**20  # predictions of several sets of coefficients that are in memory at once


class IntrinsicRidge:
    """Each neuron on its own terms."""

    def __init__(self, terms: Terms, rows: np.ndarray, targets: np.ndarray) -> None:
        """`targets` are (n, N) residuals of the rung below at `rows`."""
        self._terms, self._num_neurons = terms, targets.shape[1]
        self._target_mean = targets.mean(axis=0)
        means, scales, spectra, vectors, turned = [], [], [], [], []
        for group in _groups(self._num_neurons):
            total, gram, moment = (np.zeros(()) for _ in range(3))
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
        yield from apply_intrinsic(self._terms, rows, path)


class SenderRidge:
    """Every neuron on the terms of all other neurons, and on own lags, under one penalty.

    Own lags let a neuron's own dynamics give way to coupling: without them, what others send is
    ascribed to the neuron's own past wherever both explain it. A receiver's own sender terms have
    weights of exactly 0.
    """

    def __init__(
        self,
        senders: Callable[[np.ndarray], np.ndarray],
        lags: Terms,
        rows: np.ndarray,
        targets: np.ndarray,
    ) -> None:
        """`targets` are (n, N) residuals of the rung below at `rows`."""
        self._senders, self._lags = senders, lags
        n, num_neurons = len(rows), targets.shape[1]
        self._target_mean = targets.mean(axis=0)
        sums, products, moments = (np.zeros(()) for _ in range(3))
        beside: list[list[np.ndarray]] = []  # of own lags: sums, products, moments, with senders
        for part in _parts(n):
            inputs = senders(rows[part])  # (n, F)
            sums = sums + inputs.sum(axis=0)
            products = products + inputs.T @ inputs
            moments = moments + inputs.T @ targets[part]
            for number, group in enumerate(_groups(num_neurons)):
                past = lags(rows[part], group)  # (neurons, n, q)
                target = targets[part, group].T[:, :, None]
                new = [past.sum(axis=1), past.mT @ past, past.mT @ target, inputs.T @ past]
                if number == len(beside):
                    beside.append(new)
                else:
                    beside[number] = [a + b for a, b in zip(beside[number], new, strict=True)]
        lag_sums, lag_products, lag_moments, cross = (
            np.concatenate(parts) for parts in zip(*beside, strict=True)
        )
        mean, self._lag_mean = sums / n, lag_sums / n
        covariance = products / n - np.outer(mean, mean)
        self._mean, self._scale = mean, _scale(np.diagonal(covariance), mean)
        self._gram = covariance / np.outer(self._scale, self._scale)
        spectrum, self._vectors = np.linalg.eigh(self._gram)
        self._spectrum = np.maximum(spectrum, 0)
        moment = (moments / n - np.outer(mean, self._target_mean)) / self._scale[:, None]
        self._turned = self._vectors.T @ moment  # (F, N)
        between = lag_products / n - self._lag_mean[:, :, None] * self._lag_mean[:, None]
        self._lag_scale = _scale(np.diagonal(between, axis1=1, axis2=2), self._lag_mean)
        self._between = between / self._lag_scale[:, :, None] / self._lag_scale[:, None]
        lag_moment = lag_moments[..., 0] / n - self._lag_mean * self._target_mean[:, None]
        self._lag_moment = lag_moment / self._lag_scale  # (N, q)
        cross = cross / n - mean[:, None] * self._lag_mean[:, None]  # (N, F, q)
        cross = cross / self._scale[:, None] / self._lag_scale[:, None]
        excluded = np.arange(num_neurons)[:, None] + num_neurons * np.arange(
            len(mean) // num_neurons
        )  # (N, kinds) a receiver's own sender terms
        # per receiver, in the basis of the eigenvectors: own lags, then excluded terms
        self._border = np.concatenate(
            [self._vectors.T @ cross, self._vectors[excluded].mT], axis=2
        )  # (N, F, q + kinds)
        self._excluded, self._num_rows = excluded, n
        self._moment = moment

    @property
    def num_inputs(self) -> int:
        """Sender terms of all neurons."""
        return len(self._spectrum)

    def coefficients(self, penalty: float) -> np.ndarray:
        """(N, F + q + 1) weights [post, kind and pre], of own lags, and the constant.

        The bordered system of all senders, the own lags and the constraint "excluded weights are 0"
        is reduced to q + kinds unknowns per receiver; the eigenvectors serve all receivers.
        """
        shrunk = 1 / (self._spectrum + penalty)
        num_lags = self._lag_moment.shape[1]
        weighted = self._border * shrunk[:, None]
        system = -(weighted.mT @ self._border)
        lag = np.arange(num_lags)
        system[:, :num_lags, :num_lags] += self._between
        system[:, lag, lag] += penalty
        right = -np.einsum("nfa,fn->na", weighted, self._turned)
        right[:, :num_lags] += self._lag_moment
        solved = np.linalg.solve(system, right[..., None])[..., 0]  # (N, q + kinds)
        turned = self._turned - np.einsum("nfa,na->fn", self._border, solved)
        weights = self._vectors @ (shrunk[:, None] * turned)  # (F, N)
        weights[self._excluded, np.arange(len(self._excluded))[:, None]] = 0.0
        weights /= self._scale[:, None]
        by_lag = solved[:, :num_lags] / self._lag_scale
        constant = self._target_mean - self._mean @ weights - (self._lag_mean * by_lag).sum(axis=1)
        return np.concatenate([weights.T, by_lag, constant[:, None]], axis=1)

    def scaled_weights(self, penalty: float) -> np.ndarray:
        """(N, F) weights of sender terms in sd."""
        return self.coefficients(penalty)[:, : self.num_inputs] * self._scale

    def spread(self, penalty: float) -> np.ndarray:
        """(F,) standard errors of these weights, for residuals of sd 1 and no own lags."""
        shrunk = self._spectrum / (self._spectrum + penalty) ** 2
        return np.sqrt(self._vectors**2 @ shrunk / self._num_rows)

    def of_senders(self, post: int, terms: np.ndarray, penalty: float) -> np.ndarray:
        """Regress one receiver on a few sender terms and on its own lags.

        Args:
            terms: numbers of the sender terms, none of them its own.
            penalty: infinity: every coefficient is 0.

        Returns:
            (F + q + 1,) weights of the terms as they are, of own lags, and the constant.
        """
        weights, num_lags = np.zeros(self.num_inputs), self._lag_moment.shape[1]
        if np.isinf(penalty):
            return np.zeros(self.num_inputs + num_lags + 1)
        num = len(terms)
        system = np.empty((num + num_lags, num + num_lags))
        system[:num, :num] = self._gram[terms[:, None], terms]
        system[:num, num:] = self._vectors[terms] @ self._border[post, :, :num_lags]
        system[num:, :num] = system[:num, num:].T
        system[num:, num:] = self._between[post]
        system.flat[:: len(system) + 1] += penalty
        right = np.concatenate([self._moment[terms, post], self._lag_moment[post]])
        solved = np.linalg.solve(system, right)
        weights[terms] = solved[:num] / self._scale[terms]
        by_lag = solved[num:] / self._lag_scale[post]
        constant = self._target_mean[post] - self._mean @ weights - self._lag_mean[post] @ by_lag
        return np.r_[weights, by_lag, constant]

    def path(self, penalties: np.ndarray) -> Iterator[np.ndarray]:
        """Coefficients for each penalty in turn."""
        return (self.coefficients(float(penalty)) for penalty in penalties)

    def apply(self, rows: np.ndarray, path: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """(n, N) predicted residuals for each set of coefficients."""
        split, sets = self.num_inputs, iter(path)
        together = max(1, TOGETHER // max(1, len(rows) * len(self._target_mean)))
        while some := list(islice(sets, together)):
            added = list(apply_intrinsic(self._lags, rows, [one[:, split:] for one in some]))
            for part in _parts(len(rows)):
                inputs = self._senders(rows[part])
                for one, coefficients in zip(added, some, strict=True):
                    one[part] += inputs @ coefficients[:, :split].T
            yield from added


def apply_intrinsic(
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


def _scale(variance: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Standard deviations; 1 for a term that is constant."""
    sd = np.sqrt(np.maximum(variance, 0))
    return np.where(sd > 1e-6 * np.maximum(1.0, np.abs(mean)), sd, 1.0)


def _groups(num_neurons: int) -> Iterator[slice]:
    return (
        slice(start, min(start + NEURONS, num_neurons)) for start in range(0, num_neurons, NEURONS)
    )


def _parts(num_rows: int) -> Iterator[slice]:
    return (slice(start, min(start + ROWS, num_rows)) for start in range(0, num_rows, ROWS))
