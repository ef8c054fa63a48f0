"""Fit the rungs of one recording, each on what the rung below leaves over."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from nwbdyn.baselines.autoregression import Autoregression
from nwbdyn.baselines.ladder.poisson import IntrinsicPoisson, SenderPoisson
from nwbdyn.baselines.ladder.ridge import PENALTIES, IntrinsicRidge, SenderRidge
from nwbdyn.baselines.ladder.rung import Ladder, Part, Rung
from nwbdyn.baselines.ladder.selection import Choice, Gain, blocks, by_block, choose
from nwbdyn.baselines.ladder.smoothing import log_rates
from nwbdyn.baselines.ladder.terms import Past, Terms
from nwbdyn.baselines.lagged_design import LaggedDesign
from nwbdyn.baselines.regression import CHOOSING_ROWS, PRECISIONS
from nwbdyn.data.binning import Binned
from nwbdyn.models._core_terms import LAGS
from nwbdyn.recording import COUNTS

LINEAR = ("last bin", "rates")  # steps whose first kind of term is a coupling
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
class _Step:
    """One set of terms, fitted and chosen."""

    linear: np.ndarray  # (num_bins, N) with the rung below
    choice: Choice
    number: int  # of the set among those that compete
    coefficients: np.ndarray | None  # (N, F + 1); None where it is not used


def climb(
    binned: Binned,
    problem: LaggedDesign,
    alone: Autoregression,
    *,
    to: str = "M4",
    like: Ladder | None = None,
    below: Ladder | None = None,
    windowed: bool = False,
) -> Ladder:
    """Fit M0 up to the rung `to`.

    Args:
        problem: as `build_lagged_design` made it; its horizon is that of every rung.
        alone: the linear autoregression of the same problem, M0 of traces.
        to: "M0", "M1", "M2", "M3" or "M4".
        like: a ladder whose penalties and rungs are taken over; validation chooses nothing.
        below: the lower rungs of this very problem, where they are fitted already.
        windowed: counts are filtered inside the context only, as a model sees them.
    """
    data = _data(binned, problem, like, windowed=windowed)
    if below is not None:
        rungs = list(below.rungs)
    else:
        rungs = [_counts_alone(data) if data.counts else _traces_alone(data, alone)]
    past = data.past
    steps: dict[str, Callable[[Rung], Rung]] = {
        "M1": lambda below: _intrinsic(data, below),
        "M2": lambda below: _coupled(data, below),
        "M3": lambda below: _gated(data, below, "M3", past.gated),
        "M4": lambda below: _gated(data, below, "M4", past.gain(_centred(data, below))),
    }
    for name, step in steps.items():
        if rungs[-1].name == to:
            break
        if name > rungs[-1].name:
            rungs.append(step(rungs[-1]))
    return Ladder(tuple(rungs), data.counts, data.ceiling, past)


def _data(binned: Binned, problem: LaggedDesign, like: Ladder | None, *, windowed: bool) -> _Data:
    counts = binned.quantity == COUNTS
    if counts:
        observed = np.nan_to_num(binned.values).astype(np.float64)
        largest = np.maximum(observed[problem.train].max(axis=0), 1)
        ceiling = np.log(2 * largest)
        window = problem.context if windowed else None
        past = Past.of(problem, log_rates(binned, problem, window=window))
    else:
        observed = problem.signals[:, : problem.num_neurons].astype(np.float64)
        ceiling = np.full(problem.num_neurons, np.inf)
        past = Past.of(problem)
    given: dict[str, tuple[Choice, int]] = {}
    for rung in like.rungs if like is not None else ():
        given |= rung.choices
    block = blocks(problem.val, problem.horizon)
    return _Data(problem, past, observed, counts, ceiling, block, given)


def _traces_alone(data: _Data, alone: Autoregression) -> Rung:
    n, past = data.problem.num_neurons, data.past
    parts = (Part("lags", alone.weights, np.zeros(n)),)
    linear = alone.predicted.astype(np.float32)
    assert alone.order <= past.context
    return Rung("M0", linear, None, {"order": alone.order}, parts=parts)


def _counts_alone(data: _Data) -> Rung:
    """Poisson autoregression on lags or on filters; which, and the penalty, by validation."""
    problem, past = data.problem, data.past
    train = data.observed[problem.train]
    constant = np.log(np.maximum(train.sum(axis=0), 0.5) / len(train))
    start = np.broadcast_to(constant, data.observed.shape)
    candidates = {f"{order} lags": past.lags(order) for order in ORDERS if order <= past.context}
    candidates["exponential filters"] = past.filtered
    if "M0" in data.given:
        taken, number = data.given["M0"]
        name, penalty = list(candidates)[number], float(taken.penalties[0])
    else:
        middle = data.penalties[len(data.penalties) // 2 :][:1]
        name = min(candidates, key=lambda one: _path_loss(data, candidates[one], start, middle)[0])
        losses = _path_loss(data, candidates[name], start, data.penalties)
        penalty, number = (
            float(data.penalties[int(np.argmin(losses))]),
            list(candidates).index(name),
        )
    rows = problem.train
    block = IntrinsicPoisson(candidates[name], rows, data.observed[rows], start[rows])
    path = block.path(np.array([penalty]))
    (added,) = block.apply(problem.rows, path)
    linear = np.zeros(data.observed.shape, np.float32)
    linear[problem.rows] = start[problem.rows] + added
    terms = "filters" if name == "exponential filters" else "lags"
    part = Part(terms, path[0][:, :-1], constant + path[0][:, -1])
    taken = Choice(np.array([penalty]), "shared", Gain(0.0, np.nan, 0, True))
    chosen: dict[str, float | int | str] = {"history": name, "penalty": penalty}
    return Rung("M0", linear, None, chosen, parts=(part,), choices={"M0": (taken, number)})


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
    first = _best_step(data, "M1", below.linear, fits)
    second = _best_step(data, "M1 finer", first.linear, [partial(regression, past.intrinsic_finer)])
    chosen = {"terms": list(sets)[first.number], **_words(first.choice)}
    finer = _words(second.choice)
    chosen |= {f"finer terms, {name}": value for name, value in finer.items()}
    parts = [*_parts(list(sets)[first.number], first), *_parts("finer", second)]
    return Rung(
        "M1",
        second.linear,
        _total([first.choice.gain, second.choice.gain]),
        chosen,
        parts=tuple(parts),
        choices={
            name: (one.choice, one.number) for name, one in (("M1", first), ("M1 finer", second))
        },
    )


def _gated(data: _Data, below: Rung, name: str, terms: Terms) -> Rung:
    """A rung whose terms are a neuron's own, gated by the population."""
    regression = IntrinsicPoisson if data.counts else IntrinsicRidge
    step = _best_step(data, name, below.linear, [partial(regression, terms)])
    choices = {name: (step.choice, step.number)}
    return Rung(name, step.linear, step.choice.gain, _words(step.choice), choices=choices)


def _coupled(data: _Data, below: Rung) -> Rung:
    """Additive terms of the senders, step after step; a step that does not help is left out."""
    linear, gains, coupling = below.linear, [], None
    chosen: dict[str, float | int | str] = {}
    parts: list[Part] = []
    choices: dict[str, tuple[Choice, int]] = {}
    lags = data.past.lags(min(LAGS, data.past.context))
    n = data.problem.num_neurons
    for name, sets in data.past.senders().items():
        fits = [
            partial(SenderPoisson, senders) if data.counts else partial(SenderRidge, senders, lags)
            for senders in sets.values()
        ]
        step = _best_step(data, f"M2 {name}", linear, fits)
        terms = list(sets)[step.number]
        linear = step.linear
        chosen |= {f"{terms}, {key}": value for key, value in _words(step.choice).items()}
        gains.append(step.choice.gain)
        choices[f"M2 {name}"] = (step.choice, step.number)
        parts += _parts(terms, step)
        if step.coefficients is not None and coupling is None:  # the last bin comes first
            others = ~np.eye(n, dtype=bool)
            coupling = step.coefficients[:, :n] * others if name in LINEAR else None
    if not gains:
        chosen["coupling"] = "not fitted: too many neurons" if n > 1 else "not fitted: one neuron"
        return Rung("M2", below.linear, Gain(0.0, np.nan, 0, False), chosen)
    return Rung("M2", linear, _total(gains), chosen, coupling, tuple(parts), choices)


def _parts(terms: str, step: _Step) -> list[Part]:
    """The coefficients of a step, where it is used."""
    if step.coefficients is None:
        return []
    return [Part(terms, step.coefficients[:, :-1], step.coefficients[:, -1])]


def _total(gains: list[Gain]) -> Gain:
    """The sum of the blocks that are used, or the best of those that are not."""
    used = [gain for gain in gains if gain.above]
    if not used:
        return max(gains, key=lambda gain: gain.mean)
    mean = sum(gain.mean for gain in used)
    error = float(np.sqrt(sum(gain.error**2 for gain in used)))
    return Gain(mean, error, used[0].num_blocks, True)


def _best_step(data: _Data, name: str, below: np.ndarray, fits: Sequence[Fit]) -> _Step:
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
        return _Step(below, choice, number, None)
    if regression is None or len(data.choosing) < len(problem.train):
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
    return _Step(linear, choice, number, combined)


def _chosen(data: _Data, below: np.ndarray, fits: Sequence[Fit]) -> tuple[Choice, int, Regression]:
    """Penalties by validation, the number of the set of terms, and its regression."""
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
    return choice, number, regression


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
