"""One set of terms in a rung: fitted on training bins, chosen on validation bins."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nwbdyn.baselines.ladder.poisson import IntrinsicPoisson, SenderPoisson
from nwbdyn.baselines.ladder.ridge import PENALTIES, IntrinsicRidge, SenderRidge
from nwbdyn.baselines.ladder.rung import Part
from nwbdyn.baselines.ladder.selection import Choice, Gain, by_block, choose
from nwbdyn.baselines.ladder.sparse import SparseSenders
from nwbdyn.baselines.ladder.terms import Past
from nwbdyn.baselines.lagged_design import LaggedDesign
from nwbdyn.baselines.regression import CHOOSING_ROWS, PRECISIONS

Regression = IntrinsicRidge | SenderRidge | SparseSenders | IntrinsicPoisson | SenderPoisson
Fit = Callable[..., Regression]  # of rows and targets; of counts, of their offset too


@dataclass(frozen=True)
class Data:
    """Data that every rung is fitted to and scored on."""

    problem: LaggedDesign
    past: Past
    observed: np.ndarray  # (num_bins, N) training sd, or counts
    counts: bool
    ceiling: np.ndarray  # (N,)
    block: np.ndarray  # (num_val,) block of each validation row
    given: Mapping[str, tuple[Choice, int]]  # step -> choice that is taken over

    def loss(self, linear: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """(n, N) squared error, or negative log likelihood of counts."""
        observed = self.observed[rows]
        if not self.counts:
            return (observed - linear) ** 2
        held = np.minimum(linear, self.ceiling)
        return np.exp(held) - observed * held

    def scale(self, below: np.ndarray) -> float:
        """Divisor of a decrease of the validation loss: see `Gain.mean`."""
        if self.counts:
            return float(self.observed[self.problem.val].sum() * np.log(2))
        return float(below.sum())

    @property
    def penalties(self) -> np.ndarray:
        return PRECISIONS if self.counts else PENALTIES

    @property
    def choosing(self) -> np.ndarray:
        """Training rows that choose penalties: all for traces, thinned for counts."""
        train = self.problem.train
        return train[:: -(-len(train) // CHOOSING_ROWS)] if self.counts else train


@dataclass(frozen=True)
class Step:
    """One set of terms, fitted and chosen."""

    linear: np.ndarray  # (num_bins, N) with the rung below
    choice: Choice
    number: int  # of the set among those that compete
    coefficients: np.ndarray | None = None  # (N, F + 1); None where it is not used
    regression: Regression | None = None  # likewise


def best_step(data: Data, name: str, below: np.ndarray, fits: Sequence[Fit]) -> Step:
    """The rung below plus one set of terms.

    Args:
        name: of the step.
        below: (num_bins, N).
        fits: functions that fit a set of terms; the set with the largest gain is taken.
    """
    problem = data.problem
    if name in data.given:
        choice, number = data.given[name]
        regression = None
    else:
        choice, number, regression = _chosen(data, below, fits)
    if not choice.gain.above:
        return Step(below, choice, number)
    if regression is None or len(data.choosing) < len(problem.train):
        regression = fitted_on(data, below, fits[number], problem.train)
    return applied(data, below, choice, number, regression)


def applied(
    data: Data,
    below: np.ndarray,
    choice: Choice,
    number: int,
    regression: Regression,
    *,
    start: np.ndarray | None = None,
) -> Step:
    """The rung below plus a set of terms with the penalties that were chosen.

    Args:
        start: (num_bins, N) the terms are added to; by default the rung below. A neuron with an
            infinite penalty stays at the rung below.
    """
    rows = data.problem.rows
    grid = np.unique(choice.penalties)[::-1]
    grid = grid[np.isfinite(grid)]
    combined: np.ndarray | None = None
    for penalty, coefficients in zip(grid, regression.path(grid), strict=True):
        combined = np.zeros_like(coefficients) if combined is None else combined
        ours = choice.penalties == penalty
        combined[ours] = coefficients[ours]
    assert combined is not None
    (added,) = regression.apply(rows, [combined])
    linear = below.copy()
    fitted = np.isfinite(choice.penalties)
    linear[np.ix_(rows, fitted)] = ((below if start is None else start)[rows] + added)[:, fitted]
    return Step(linear, choice, number, combined, regression)


def _chosen(data: Data, below: np.ndarray, fits: Sequence[Fit]) -> tuple[Choice, int, Regression]:
    """Penalties by validation, the number of the set of terms, and its regression."""
    attempts: list[tuple[Choice, Regression]] = []
    for fit in fits:
        regression = fitted_on(data, below, fit, data.choosing)
        choice = choice_of(data, below, regression, data.penalties, num_sets=len(fits))
        attempts.append((choice, regression))
    number = max(range(len(attempts)), key=lambda one: attempts[one][0].gain.mean)
    choice, regression = attempts[number]
    return choice, number, regression


def choice_of(
    data: Data,
    below: np.ndarray,
    regression: Regression,
    grid: np.ndarray,
    *,
    num_sets: int,
    start: np.ndarray | None = None,
) -> Choice:
    """Penalties, or forms, of one set of terms by validation; `start` as for `applied`."""
    val = data.problem.val
    base = by_block(data.loss(below[val].astype(np.float64), val), data.block)
    first = (below if start is None else start)[val].astype(np.float64)
    losses = [
        by_block(data.loss(first + added, val), data.block)
        for added in regression.apply(val, regression.path(grid))
    ]
    return choose(np.stack([*losses, base]), grid, data.scale(base), num_sets=num_sets)


def fitted_on(data: Data, below: np.ndarray, fit: Fit, rows: np.ndarray) -> Regression:
    """The block on training rows: residuals of traces, counts with an offset."""
    start = below[rows].astype(np.float64)
    if data.counts:
        return fit(rows, data.observed[rows], np.minimum(start, data.ceiling))
    return fit(rows, data.observed[rows] - start)


def parts_of(terms: str, step: Step) -> list[Part]:
    """The coefficients of a step, where it is used."""
    if step.coefficients is None:
        return []
    return [Part(terms, step.coefficients[:, :-1], step.coefficients[:, -1])]


def total_gain(gains: list[Gain]) -> Gain:
    """The sum of the blocks that are used, or the best of those that are not."""
    used = [gain for gain in gains if gain.above]
    if not used:
        return max(gains, key=lambda gain: gain.mean)
    mean = sum(gain.mean for gain in used)
    error = float(np.sqrt(sum(gain.error**2 for gain in used)))
    return Gain(mean, error, used[0].num_blocks, True)


def penalty_words(choice: Choice) -> dict[str, float | int | str]:
    """The penalties for a table: one, or their range."""
    finite = choice.penalties[np.isfinite(choice.penalties)]
    if not len(finite):
        return {"penalty": "infinite"}
    if choice.form == "shared":
        return {"penalty": float(finite[0])}
    return {"penalty": f"{finite.min():.3g} to {finite.max():.3g}, per neuron"}
