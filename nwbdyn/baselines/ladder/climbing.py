"""Fit the rungs of one recording, each on what the rung below leaves over."""

from collections.abc import Callable
from functools import partial

import numpy as np

from nwbdyn.baselines.autoregression import Autoregression
from nwbdyn.baselines.ladder.coupled import coupled_rung
from nwbdyn.baselines.ladder.poisson import IntrinsicPoisson
from nwbdyn.baselines.ladder.ridge import IntrinsicRidge
from nwbdyn.baselines.ladder.rung import Ladder, Part, Rung
from nwbdyn.baselines.ladder.selection import Choice, Gain, blocks
from nwbdyn.baselines.ladder.smoothing import log_rates
from nwbdyn.baselines.ladder.steps import Data, best_step, parts_of, penalty_words, total_gain
from nwbdyn.baselines.ladder.terms import Past, Terms
from nwbdyn.baselines.lagged_design import LaggedDesign
from nwbdyn.data.binning import Binned
from nwbdyn.recording import COUNTS

ORDERS = (1, 2, 3, 5, 8, 10)  # of the autoregression of counts


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
    data = data_of(binned, problem, like, windowed=windowed)
    if below is not None:
        rungs = list(below.rungs)
    else:
        rungs = [_counts_alone(data) if data.counts else _traces_alone(data, alone)]
    past = data.past
    steps: dict[str, Callable[[Rung], Rung]] = {
        "M1": lambda below: _intrinsic(data, below),
        "M2": lambda _: coupled_rung(data, rungs),
        "M3": lambda below: _gated(data, below, "M3", past.gated),
        "M4": lambda below: _gated(data, below, "M4", past.gain(_centred(data, below))),
    }
    for name, step in steps.items():
        if rungs[-1].name == to:
            break
        if name > rungs[-1].name:
            rungs.append(step(rungs[-1]))
    return Ladder(tuple(rungs), data.counts, data.ceiling, past)


def data_of(binned: Binned, problem: LaggedDesign, like: Ladder | None, *, windowed: bool) -> Data:
    """Signals, observations and blocks of one problem."""
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
    return Data(problem, past, observed, counts, ceiling, block, given)


def _traces_alone(data: Data, alone: Autoregression) -> Rung:
    n, past = data.problem.num_neurons, data.past
    parts = (Part("lags", alone.weights, np.zeros(n)),)
    linear = alone.predicted.astype(np.float32)
    assert alone.order <= past.context
    return Rung("M0", linear, None, {"order": alone.order}, parts=parts)


def _counts_alone(data: Data) -> Rung:
    """Poisson autoregression on lags or filtered counts; which, and the penalty, by validation."""
    problem, past = data.problem, data.past
    train = data.observed[problem.train]
    constant = np.log(np.maximum(train.sum(axis=0), 0.5) / len(train))
    start = np.broadcast_to(constant, data.observed.shape)
    candidates = {f"{order} lags": past.lags(order) for order in ORDERS if order <= past.context}
    candidates["exponential filters"] = past.filtered
    candidates["filters and window"] = past.filtered_with_window
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
    terms = "lags" if name.endswith("lags") else "filters"
    part = Part(terms, path[0][:, :-1], constant + path[0][:, -1])
    taken = Choice(np.array([penalty]), "shared", Gain(0.0, np.nan, 0, True))
    chosen: dict[str, float | int | str] = {"history": name, "penalty": penalty}
    return Rung("M0", linear, None, chosen, parts=(part,), choices={"M0": (taken, number)})


def _path_loss(data: Data, terms: Terms, start: np.ndarray, penalties: np.ndarray) -> list[float]:
    """The loss of a Poisson autoregression on validation, for each penalty."""
    rows, val = data.choosing, data.problem.val
    block = IntrinsicPoisson(terms, rows, data.observed[rows], start[rows])
    added = block.apply(val, block.path(penalties))
    return [float(data.loss(start[val] + one, val).sum()) for one in added]


def _intrinsic(data: Data, below: Rung) -> Rung:
    """One of two sets of own terms, whichever validation prefers, then finer ones on top."""
    past, regression = data.past, IntrinsicPoisson if data.counts else IntrinsicRidge
    sets = {"one-sided": past.intrinsic, "two-sided": past.intrinsic_two_sided}
    fits = [partial(regression, terms) for terms in sets.values()]
    first = best_step(data, "M1", below.linear, fits)
    second = best_step(data, "M1 finer", first.linear, [partial(regression, past.intrinsic_finer)])
    chosen = {"terms": list(sets)[first.number], **penalty_words(first.choice)}
    finer = penalty_words(second.choice)
    chosen |= {f"finer terms, {name}": value for name, value in finer.items()}
    parts = [*parts_of(list(sets)[first.number], first), *parts_of("finer", second)]
    return Rung(
        "M1",
        second.linear,
        total_gain([first.choice.gain, second.choice.gain]),
        chosen,
        parts=tuple(parts),
        choices={
            name: (one.choice, one.number) for name, one in (("M1", first), ("M1 finer", second))
        },
    )


def _gated(data: Data, below: Rung, name: str, terms: Terms) -> Rung:
    """A rung whose terms are a neuron's own, gated by the population."""
    regression = IntrinsicPoisson if data.counts else IntrinsicRidge
    step = best_step(data, name, below.linear, [partial(regression, terms)])
    choices = {name: (step.choice, step.number)}
    return Rung(name, step.linear, step.choice.gain, penalty_words(step.choice), choices=choices)


def _centred(data: Data, below: Rung) -> np.ndarray:
    """(num_bins, N) a neuron's whole input, without its training mean."""
    return below.linear - below.linear[data.problem.train].mean(axis=0)
