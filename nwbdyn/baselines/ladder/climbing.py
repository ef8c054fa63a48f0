"""Fit the rungs of one recording, each on what the rung below leaves over."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from nwbdyn.baselines.autoregression import Autoregression
from nwbdyn.baselines.ladder.poisson import IntrinsicPoisson, SenderPoisson
from nwbdyn.baselines.ladder.ridge import PENALTIES, IntrinsicRidge, SenderRidge
from nwbdyn.baselines.ladder.rung import Ladder, Rung
from nwbdyn.baselines.ladder.selection import Choice, Gain, blocks, by_block, choose
from nwbdyn.baselines.ladder.smoothing import log_rates
from nwbdyn.baselines.ladder.terms import CURVED, Past, Terms
from nwbdyn.baselines.lagged_design import LaggedDesign
from nwbdyn.baselines.regression import CHOOSING_ROWS, PRECISIONS
from nwbdyn.data.binning import Binned
from nwbdyn.recording import COUNTS

LINEAR = ("last bin", "rates")  # blocks whose first kind of term is a coupling
Regression = IntrinsicRidge | SenderRidge | IntrinsicPoisson | SenderPoisson
Fit = Callable[..., Regression]  # of rows and targets; of counts, of their offset too
ORDERS = (1, 2, 3, 5, 8, 10)  # of the autoregression of counts


@dataclass(frozen=True)
class _Data:
    """Data that every rung is fitted to and scored on."""

    problem: LaggedDesign
    past: Past
    observed: np.ndarray  # (num_bins, N) training sd, or counts
    counts: bool
    ceiling: np.ndarray  # (N,)
    block: np.ndarray  # (num_val,) block of each validation row

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


def climb(
    binned: Binned,
    problem: LaggedDesign,
    alone: Autoregression,
    *,
    to: str = "M4",
) -> Ladder:
    """Fit M0 up to the rung `to`.

    Args:
        problem: as `baselines.problem.pose` made it; its horizon is that of every rung.
        alone: the linear autoregression of the same problem, M0 of traces.
        to: "M1", "M2", "M3" or "M4".
    """
    data = _data(binned, problem)
    rungs = [_counts_alone(data) if data.counts else _traces_alone(data, alone)]
    past = data.past
    steps: dict[str, Callable[[Rung], Rung]] = {
        "M1": lambda below: _intrinsic(data, below),
        "M2": lambda below: _coupled(data, below),
        "M3": lambda below: _gated(data, below, "M3", past.gated),
        "M4": lambda below: _gated(data, below, "M4", past.gain(_centred(data, below))),
    }
    for name, step in steps.items():
        rungs.append(step(rungs[-1]))
        if name == to:
            break
    return Ladder(tuple(rungs), data.counts, data.ceiling)


def _data(binned: Binned, problem: LaggedDesign) -> _Data:
    counts = binned.quantity == COUNTS
    if counts:
        observed = np.nan_to_num(binned.values).astype(np.float64)
        largest = np.maximum(observed[problem.train].max(axis=0), 1)
        ceiling = np.log(2 * largest)
        past = Past.of(problem, log_rates(binned, problem))
    else:
        observed = problem.signals[:, : problem.num_neurons].astype(np.float64)
        ceiling = np.full(problem.num_neurons, np.inf)
        past = Past.of(problem)
    return _Data(problem, past, observed, counts, ceiling, blocks(problem.val, problem.horizon))


def _traces_alone(data: _Data, alone: Autoregression) -> Rung:
    return Rung("M0", alone.predicted.astype(np.float32), None, {"order": alone.order})


def _counts_alone(data: _Data) -> Rung:
    """Poisson autoregression on lags or on filters; which, and the penalty, by validation."""
    problem, past = data.problem, data.past
    train = data.observed[problem.train]
    constant = np.log(np.maximum(train.sum(axis=0), 0.5) / len(train))
    start = np.broadcast_to(constant, data.observed.shape)
    candidates = {f"{order} lags": past.lags(order) for order in ORDERS if order <= past.context}
    candidates["exponential filters"] = past.filtered
    middle = data.penalties[len(data.penalties) // 2 :][:1]
    name = min(candidates, key=lambda one: _path_loss(data, candidates[one], start, middle)[0])
    losses = _path_loss(data, candidates[name], start, data.penalties)
    penalty = float(data.penalties[int(np.argmin(losses))])
    rows = problem.train
    block = IntrinsicPoisson(candidates[name], rows, data.observed[rows], start[rows])
    (added,) = block.apply(problem.rows, block.path(np.array([penalty])))
    linear = np.zeros(data.observed.shape, np.float32)
    linear[problem.rows] = start[problem.rows] + added
    return Rung("M0", linear, None, {"history": name, "penalty": penalty})


def _path_loss(data: _Data, terms: Terms, start: np.ndarray, penalties: np.ndarray) -> list[float]:
    """The loss of a Poisson autoregression on validation, for each penalty."""
    rows, val = data.choosing, data.problem.val
    block = IntrinsicPoisson(terms, rows, data.observed[rows], start[rows])
    added = block.apply(val, block.path(penalties))
    return [float(data.loss(start[val] + one, val).sum()) for one in added]


def _intrinsic(data: _Data, below: Rung) -> Rung:
    """One of two sets of own terms, whichever validation prefers, then finer ones on top."""
    past, regression = data.past, IntrinsicPoisson if data.counts else IntrinsicRidge
    sets = {"one-sided": past.intrinsic, "two-sided": past.intrinsic_two_sided}
    fits = [partial(regression, terms) for terms in sets.values()]
    linear, choice, number = _best_step(data, below.linear, fits)
    gains, chosen = [choice.gain], {"terms": list(sets)[number], **_words(choice)}
    linear, choice = _step(data, linear, partial(regression, past.intrinsic_finer))
    chosen |= {f"finer terms, {name}": value for name, value in _words(choice).items()}
    return Rung("M1", linear, _total([*gains, choice.gain]), chosen)


def _gated(data: _Data, below: Rung, name: str, terms: Terms) -> Rung:
    """A rung whose terms are a neuron's own, gated by the population."""
    regression = IntrinsicPoisson if data.counts else IntrinsicRidge
    linear, choice = _step(data, below.linear, partial(regression, terms))
    return Rung(name, linear, choice.gain, _words(choice))


def _coupled(data: _Data, below: Rung) -> Rung:
    """Additive terms of the senders, block after block; a block that does not help is left out."""
    linear, gains, coupling = below.linear, [], None
    chosen: dict[str, float | int | str] = {}
    lags = data.past.lags(min(CURVED, data.past.context))
    n = data.problem.num_neurons
    for name, senders in data.past.senders().items():
        weights: list[np.ndarray] = []
        fit = (
            partial(SenderPoisson, senders) if data.counts else partial(SenderRidge, senders, lags)
        )
        linear, choice = _step(data, linear, fit, weights)
        chosen |= {f"{name}, {key}": value for key, value in _words(choice).items()}
        gains.append(choice.gain)
        if choice.gain.above and coupling is None:  # the last bin comes first
            coupling = weights[0][:, :n] * ~np.eye(n, dtype=bool) if name in LINEAR else None
    if not gains:
        chosen["coupling"] = "not fitted: too many neurons" if n > 1 else "not fitted: one neuron"
        return Rung("M2", below.linear, Gain(0.0, np.nan, 0, False), chosen)
    return Rung("M2", linear, _total(gains), chosen, coupling)


def _total(gains: list[Gain]) -> Gain:
    """The sum of the blocks that are used, or the best of those that are not."""
    used = [gain for gain in gains if gain.above]
    if not used:
        return max(gains, key=lambda gain: gain.mean)
    mean = sum(gain.mean for gain in used)
    error = float(np.sqrt(sum(gain.error**2 for gain in used)))
    return Gain(mean, error, used[0].num_blocks, True)


def _step(
    data: _Data, below: np.ndarray, fit: Fit, weights: list[np.ndarray] | None = None
) -> tuple[np.ndarray, Choice]:
    """See `_best_step`; one set of terms."""
    return _best_step(data, below, [fit], weights)[:2]


def _best_step(
    data: _Data,
    below: np.ndarray,
    fits: Sequence[Fit],
    weights: list[np.ndarray] | None = None,
) -> tuple[np.ndarray, Choice, int]:
    """(num_bins, N) the rung below plus one set of terms, its penalties, and its number.

    Args:
        fits: functions that fit a set of terms; the set with the largest gain is taken.
        weights: takes the coefficients (N, F + 1), where the set is used.
    """
    problem, penalties = data.problem, data.penalties
    start = below[problem.val].astype(np.float64)
    base = by_block(data.loss(start, problem.val), data.block)
    attempts: list[tuple[Choice, Regression]] = []
    for fit in fits:
        regression = _fitted(data, below, fit, data.choosing)
        losses = [
            by_block(data.loss(start + added, problem.val), data.block)
            for added in regression.apply(problem.val, regression.path(penalties))
        ]
        stacked = np.stack([*losses, base])
        choice = choose(stacked, penalties, data.scale(base), num_sets=len(fits))
        attempts.append((choice, regression))
    number = max(range(len(attempts)), key=lambda one: attempts[one][0].gain.mean)
    choice, regression = attempts[number]
    if not choice.gain.above:
        return below, choice, number
    if len(data.choosing) < len(problem.train):
        regression = _fitted(data, below, fits[number], problem.train)
    grid = np.unique(choice.penalties)[::-1]
    grid = grid[np.isfinite(grid)]
    combined: np.ndarray | None = None
    for penalty, coefficients in zip(grid, regression.path(grid), strict=True):
        combined = np.zeros_like(coefficients) if combined is None else combined
        ours = choice.penalties == penalty
        combined[ours] = coefficients[ours]
    assert combined is not None
    (added,) = regression.apply(problem.rows, [combined])
    linear = below.copy()
    linear[problem.rows] += added
    if weights is not None:
        weights.append(combined)
    return linear, choice, number


def _fitted(data: _Data, below: np.ndarray, fit: Fit, rows: np.ndarray) -> Regression:
    """The block on training rows: residuals of traces, counts with an offset."""
    start = below[rows].astype(np.float64)
    if data.counts:
        return fit(rows, data.observed[rows], np.minimum(start, data.ceiling))
    return fit(rows, data.observed[rows] - start)


def _centred(data: _Data, below: Rung) -> np.ndarray:
    """(num_bins, N) a neuron's whole input, without its training mean."""
    return below.linear - below.linear[data.problem.train].mean(axis=0)


def _words(choice: Choice) -> dict[str, float | int | str]:
    """The penalties for a table: one, or their range."""
    finite = choice.penalties[np.isfinite(choice.penalties)]
    if not len(finite):
        return {"penalty": "infinite"}
    if choice.form == "shared":
        return {"penalty": float(finite[0])}
    return {"penalty": f"{finite.min():.3g} to {finite.max():.3g}, per neuron"}
