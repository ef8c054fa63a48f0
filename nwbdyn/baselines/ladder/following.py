"""Coupling that follows time: W + D(t), a rung above M2 for drift and plasticity.

D(t) is a time-varying VAR: a regression of M2's residuals on the last bin of the senders, weighted
by a Gaussian kernel in time, with a penalty that shrinks it to 0. First, means, own lags and
covariates get coefficients that follow time, so that their drift is not taken for a change of
coupling. Everything is computed from moments of short stretches of the recording. Cross-validation
chooses kernel width, penalty and senders: some stretches are predicted from those before and after.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from nwbdyn.baselines.ladder.selection import NUM_BLOCKS, Gain, is_above
from nwbdyn.baselines.ladder.steps import Data

LEAST_STRETCH, MOST_STRETCHES = 40, 256  # bins (at least as many as neurons); stretches
OWN_LAGS = 3  # bins of own past that follow time
OWN_WIDTH, OWN_PENALTY = 2.0, 0.01  # of their kernel, in stretches; in training sd
NARROWEST, WIDEST = 64, 4  # parts of the recording that are as long as the kernel's sd
STEP = 1.5  # from one width to the next
PENALTIES = np.logspace(-2, 0.5, 6)
COUPLED = 2.0  # standard errors of a weight of M2
STEADY = 1e-3  # ridge per bin, so that moments can be inverted
SILENT = 1e-12  # variance of residuals below which a neuron is constant
NEURONS = 8  # number of neurons whose own terms are in memory at once


@dataclass(frozen=True)
class Stretches:
    """Moments of short stretches of the recording, in training sd.

    Senders are relative to their mean over neighbouring stretches. Own terms that follow time are
    subtracted from the residuals.
    """

    centre: np.ndarray  # (B,) seconds, of the bins that are seen last
    count: np.ndarray  # (B,) bins
    gram: np.ndarray  # (B, N, N) of last bins
    moment: np.ndarray  # (B, N, N) [pre, post] last bins times residuals
    power: np.ndarray  # (B, N) squared residuals

    def __len__(self) -> int:
        return len(self.centre)

    @property
    def span(self) -> float:
        """Seconds from the first to the last centre."""
        return float(self.centre[-1] - self.centre[0])

    @property
    def noise(self) -> np.ndarray:
        """(N,) variance of the residuals; 1 for a neuron that has none."""
        variance = self.power.sum(axis=0) / self.count.sum()
        return np.where(variance > SILENT, variance, 1.0)

    @property
    def inverse(self) -> np.ndarray:
        """(N, N) inverse of the last bins' moments."""
        gram = self.gram.sum(axis=0)
        return np.linalg.inv(gram + STEADY * self.count.sum() * np.eye(len(gram)))

    def gains(self, change: np.ndarray) -> np.ndarray:
        """(B, N) decrease of the squared residuals by changes of coupling.

        Args:
            change: (B, N, N) or (N, N) [pre, post].
        """
        return ((2 * self.moment - self.gram @ change) * change).sum(axis=1)

    def centred(self) -> "Stretches":
        """The same without the part that a constant change of coupling explains."""
        constant = self.inverse @ self.moment.sum(axis=0)
        power = self.power - self.gains(constant)
        return replace(self, moment=self.moment - self.gram @ constant, power=power)


@dataclass(frozen=True)
class Form:
    """Settings of D(t)."""

    width: float  # seconds, sd of the kernel
    penalty: float
    coupled: bool  # only senders of `coupled_senders`


@dataclass(frozen=True)
class Following:
    """The form that cross-validation chose, and its gain."""

    form: Form
    gain: Gain  # in blocks that did not choose it: share of the squared residuals, in sd


def kernel(seconds: np.ndarray, width: float) -> np.ndarray:
    """Gaussian weight of a distance in time."""
    return np.exp(-0.5 * np.square(seconds / width))


def stretches(data: Data, below: np.ndarray, rows: np.ndarray, time: np.ndarray) -> Stretches:
    """Moments of stretches of the bins that are predicted.

    Args:
        data: of traces.
        below: (num_bins, N) prediction of M2.
        rows: (n,) bins that are predicted.
        time: (num_bins,) seconds.
    """
    n, seen = data.problem.num_neurons, rows - data.problem.horizon
    length = max(LEAST_STRETCH, n, -(-len(rows) // MOST_STRETCHES))
    number = max(1, len(rows) // length)
    starts = np.arange(number) * len(rows) // number
    count = np.diff([*starts, len(rows)])
    centre = np.add.reduceat(time[seen], starts) / count
    near = kernel(centre[:, None] - centre, OWN_WIDTH * _apart(centre))
    near /= (near @ count)[:, None]
    last = data.past.signals[seen].astype(np.float64)
    last -= np.repeat(near @ np.add.reduceat(last, starts), count, axis=0)
    left = data.observed[rows] - below[rows]
    for group in (slice(start, start + NEURONS) for start in range(0, n, NEURONS)):
        lags = data.past.lags(min(OWN_LAGS, data.past.context))(rows, group)
        own = np.concatenate([np.ones((*lags.shape[:2], 1)), lags], axis=2)  # (neurons, n, F)
        for inputs, target in zip(own, left[:, group].T, strict=True):
            target -= _own(inputs, target, starts, count, near)
    parts = [slice(start, start + size) for start, size in zip(starts, count, strict=True)]
    gram = np.stack([last[part].T @ last[part] for part in parts])
    moment = np.stack([last[part].T @ left[part] for part in parts])
    power = np.add.reduceat(np.square(left), starts)
    return Stretches(centre, count.astype(float), gram, moment, power)


def _own(
    inputs: np.ndarray, target: np.ndarray, starts: np.ndarray, count: np.ndarray, near: np.ndarray
) -> np.ndarray:
    """(n,) prediction of own terms with coefficients that follow time.

    Args:
        inputs: (n, F).
        target: (n,).
        near: (B, B) weight of each stretch's bins for the coefficients of another.
    """
    parts = [slice(start, start + size) for start, size in zip(starts, count, strict=True)]
    products = np.stack([inputs[part].T @ inputs[part] for part in parts])
    moments = np.stack([inputs[part].T @ target[part] for part in parts])
    system = np.tensordot(near, products, axes=1) + OWN_PENALTY * np.eye(inputs.shape[1])
    coefficients = np.linalg.solve(system, (near @ moments)[..., None])[..., 0]  # (B, F)
    return (inputs * np.repeat(coefficients, count, axis=0)).sum(axis=1)


def _apart(centre: np.ndarray) -> float:
    """Seconds between neighbouring centres; 1 for a single stretch."""
    return float(np.median(np.diff(centre))) if len(centre) > 1 else 1.0


def coupled_senders(weights: np.ndarray, one: Stretches) -> list[np.ndarray]:
    """Senders of each receiver with a weight in M2 beyond COUPLED se, and the receiver itself.

    Args:
        weights: (N, N) [post, pre] of the last bin, training sd.
        one: of training bins.
    """
    se = np.sqrt(np.outer(one.noise, np.diag(one.inverse)))
    kept = (np.abs(weights) > COUPLED * se) | np.eye(len(weights), dtype=bool)
    return [np.flatnonzero(row) for row in kept]


def path_at(
    one: Stretches,
    at: np.ndarray,
    width: float,
    senders: Sequence[np.ndarray] | None,
    left_out: np.ndarray | None = None,
) -> Callable[[float], np.ndarray]:
    """A function of the penalty that returns D at some times, (K, N, N) [pre, post].

    Args:
        at: (K,) seconds.
        senders: of each receiver; None for all of every receiver.
        left_out: (K, B) stretches that D at a time does not use.
    """
    weight = kernel(at[:, None] - one.centre, width)
    if left_out is not None:
        weight = np.where(left_out, 0.0, weight)
    weight /= np.maximum(weight @ one.count, np.finfo(float).tiny)[:, None]
    gram, moment = (np.tensordot(weight, each, axes=1) for each in (one.gram, one.moment))
    every = np.arange(moment.shape[1])
    pairs = [(every, every)]  # senders, and the receivers that have them
    if senders is not None:
        pairs = [(which, np.array([post])) for post, which in enumerate(senders)]

    def path(penalty: float) -> np.ndarray:
        change = np.zeros_like(moment)
        for pre, post in pairs:
            system = gram[:, pre[:, None], pre] + penalty * np.eye(len(pre))
            change[:, pre[:, None], post] = np.linalg.solve(system, moment[:, pre[:, None], post])
        return change

    return path


def widths(one: Stretches) -> np.ndarray:
    """Seconds: candidate widths of the kernel, the narrowest first."""
    narrowest = max(2 * one.span / (len(one) - 1), one.span / NARROWEST)
    number = 1 + int(np.log(one.span / WIDEST / narrowest) / np.log(STEP))
    return narrowest * STEP ** np.arange(number)


def follow(one: Stretches, senders: Sequence[np.ndarray] | None) -> Following:
    """Choose the form of D(t); score each block with the form that is best in the others.

    Args:
        one: of training bins, `centred`.
        senders: see `coupled_senders`; None where M2 has no coupling.
    """
    forms: list[Form] = []
    gains: list[np.ndarray] = []
    for coupled in (False, True) if senders is not None else (False,):
        for width in widths(one):
            for penalty, gain in _left_out_gains(one, float(width), senders if coupled else None):
                forms.append(Form(float(width), penalty, coupled))
                gains.append((gain / one.noise).sum(axis=1))
    number, scored = picked(np.stack(gains))
    scale = float((one.power / one.noise).sum())
    return Following(forms[number], is_above(scored, scale=scale))


def picked(gains: np.ndarray) -> tuple[int, np.ndarray]:
    """Index of the best setting; gain of each block with the best setting of the other blocks.

    Args:
        gains: (settings, num_blocks).
    """
    total = gains.sum(axis=1)
    elsewhere = np.argmax(total[:, None] - gains, axis=0)
    return int(np.argmax(total)), gains[elsewhere, np.arange(gains.shape[1])]


def _left_out_gains(
    one: Stretches, width: float, senders: Sequence[np.ndarray] | None
) -> Iterator[tuple[float, np.ndarray]]:
    """Each penalty, and (NUM_BLOCKS, N) decrease of squared residuals in left-out stretches.

    A part that is left out is half as long as the kernel's sd.
    """
    together = max(1, int(0.5 * width * (len(one) - 1) / one.span))
    part = np.arange(len(one)) // together
    number = np.bincount(part)
    at = np.bincount(part, one.centre) / number
    path = path_at(one, at, width, senders, part == np.arange(len(number))[:, None])
    starts = np.arange(NUM_BLOCKS) * len(one) // NUM_BLOCKS
    for penalty in PENALTIES:
        yield float(penalty), np.add.reduceat(one.gains(path(float(penalty))[part]), starts)


def course(
    one: Stretches, form: Form, senders: Sequence[np.ndarray] | None, knots: np.ndarray
) -> np.ndarray:
    """(K, N, N) [knot, post, pre] D at some times; 0 on the diagonal.

    Args:
        knots: (K,) seconds.
    """
    change = path_at(one, knots, form.width, senders if form.coupled else None)(form.penalty)
    change *= 1 - np.eye(change.shape[1])
    return change.swapaxes(1, 2)


def knots_of(one: Stretches, width: float) -> np.ndarray:
    """(K,) seconds: times at most a width apart, between which D is interpolated."""
    return np.linspace(one.centre[0], one.centre[-1], 1 + max(1, int(np.ceil(one.span / width))))


def hats(time: np.ndarray, knots: np.ndarray) -> np.ndarray:
    """(T, K) linear interpolation between knots; constant before the first and after the last.

    Args:
        knots: (K,) evenly spaced.
    """
    position = np.interp(time, knots, np.arange(len(knots)))
    return np.clip(1 - np.abs(position[:, None] - np.arange(len(knots))), 0, None)
