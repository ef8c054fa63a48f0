"""M2: additive coupling on top of a neuron's own dynamics, and the forms that compete."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from nwbdyn.baselines.ladder.poisson import SenderPoisson
from nwbdyn.baselines.ladder.ridge import SenderRidge
from nwbdyn.baselines.ladder.rung import Part, Rung
from nwbdyn.baselines.ladder.selection import Choice, Gain, improves
from nwbdyn.baselines.ladder.sparse import FORMS, MAX_SPARSE_INPUTS, SparseSenders
from nwbdyn.baselines.ladder.steps import (
    Data,
    Fit,
    Step,
    applied,
    best_step,
    choice_of,
    fitted_on,
    parts_of,
    penalty_words,
    total_gain,
)
from nwbdyn.models._core_terms import LAGS

OWN_SHARES = (0.5, 0.0)  # of the log rate of own dynamics, where coupling of counts is fitted
LINEAR = ("last bin", "rates")  # steps whose first kind of term is a coupling


def coupled_rung(data: Data, lower: Sequence[Rung]) -> Rung:
    """Additive terms of the senders, step after step; a step that does not help is left out.

    Args:
        lower: the rungs M0 and M1.
    """
    below = lower[-1]
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
        step = best_step(data, f"M2 {name}", linear, fits)
        terms = list(sets)[step.number]
        words = penalty_words(step.choice)
        choices[f"M2 {name}"] = (step.choice, step.number)
        sparse = sparse_step(data, f"M2 {name}, sparse", linear, step)
        if sparse is not None:
            words |= _words_of_sparse(sparse, n)
            choices[f"M2 {name}, sparse"] = (sparse.choice, sparse.number)
            step = sparse
        if name == "rates":
            shrunk = _shrunk_step(data, f"M2 {name}, own dynamics", linear, step, fits[0])
            if shrunk is not None:
                step, share = shrunk
                words = penalty_words(step.choice) | {"share of own dynamics": share}
                choices[f"M2 {name}, own dynamics"] = (step.choice, step.number)
                parts += _without(lower, 1 - share, data, step)
        linear = step.linear
        chosen |= {f"{terms}, {key}": value for key, value in words.items()}
        gains.append(step.choice.gain)
        parts += parts_of(terms, step)
        if step.coefficients is not None and coupling is None:  # the last bin comes first
            others = ~np.eye(n, dtype=bool)
            coupling = step.coefficients[:, :n] * others if name in LINEAR else None
    if not gains:
        chosen["coupling"] = "not fitted: too many neurons" if n > 1 else "not fitted: one neuron"
        return Rung("M2", below.linear, Gain(0.0, np.nan, 0, False), chosen)
    return Rung("M2", linear, total_gain(gains), chosen, coupling, tuple(parts), choices)


def sparse_step(data: Data, name: str, below: np.ndarray, dense: Step) -> Step | None:
    """The same senders without weak weights; None where validation does not prefer that.

    The gain over the ridge regression has to exceed one standard error over blocks, and more, as
    one of two forms is taken.
    """
    ridge, train = dense.regression, data.problem.train
    if not isinstance(ridge, SenderRidge) or ridge.num_inputs > MAX_SPARSE_INPUTS:
        return None
    taken = data.given.get(name)
    if taken is None and data.given:
        return None
    noise = (data.observed[train] - dense.linear[train]).std(axis=0)
    sparse = SparseSenders(ridge, dense.choice.penalties, noise)
    if taken is not None:
        return applied(data, below, *taken, sparse)
    choice = choice_of(data, below, sparse, np.arange(float(len(FORMS))), num_sets=1)
    if not improves(choice, dense.choice):
        return None
    return applied(data, below, choice, 0, sparse)


def _shrunk_step(
    data: Data, name: str, below: np.ndarray, dense: Step, fit: Fit
) -> tuple[Step, float] | None:
    """The same senders on a part of the log rate of own dynamics; None without need.

    Own counts predict a neuron partly because they follow what all neurons share. Fitted first,
    they take that from the others. `fit` makes the regression of `dense`.

    Returns:
        The step, and the share of the own dynamics' log rate, without its mean, that stays.
    """
    if not dense.choice.gain.above or (data.given and name not in data.given):
        return None
    mean = below[data.problem.train].mean(axis=0)
    starts = [mean + share * (below - mean) for share in OWN_SHARES]
    if name in data.given:
        choice, number = data.given[name]
    else:
        strong = data.penalties >= np.min(dense.choice.penalties)
        choices = [
            choice_of(
                data,
                below,
                fitted_on(data, start, fit, data.choosing),
                data.penalties[strong],
                num_sets=len(starts),
                start=start,
            )
            for start in starts
        ]
        number = max(range(len(starts)), key=lambda one: choices[one].gain.mean)
        choice = choices[number]
        if not improves(choice, dense.choice, num_forms=1 + len(starts)):
            return None
    start = starts[number]
    regression = fitted_on(data, start, fit, data.problem.train)
    step = applied(data, below, choice, number, regression, start=start)
    return step, OWN_SHARES[number]


def _without(lower: Sequence[Rung], share: float, data: Data, step: Step) -> list[Part]:
    """A share of the lower rungs' coefficients, negative, and of their mean log rate."""
    ours = np.isfinite(step.choice.penalties) * share
    mean = lower[-1].linear[data.problem.train].mean(axis=0)
    parts = [
        Part(part.terms, -ours[:, None] * part.coefficients, -ours * part.constant)
        for rung in lower
        for part in rung.parts
    ]
    return [replace(parts[0], constant=parts[0].constant + ours * mean), *parts[1:]]


def _words_of_sparse(step: Step, num_neurons: int) -> dict[str, float | int | str]:
    """The least ratio of a weight to its standard error, and the share of pairs that are left."""
    assert step.coefficients is not None  # applied
    assert isinstance(step.regression, SparseSenders)
    finite = step.choice.penalties[np.isfinite(step.choice.penalties)].astype(int)
    least = np.array([FORMS[number][0] for number in finite])
    words = f"{least.min():g}" if np.ptp(least) == 0 else f"{least.min():g} to {least.max():g}"
    senders = step.coefficients[:, : step.regression.num_inputs]
    coupled = senders.reshape(num_neurons, -1, num_neurons).any(axis=1).sum()
    pairs = num_neurons * (num_neurons - 1)
    return {"least standard errors": words, "share of pairs": float(coupled / pairs)}
