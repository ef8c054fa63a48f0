"""Baselines for models that predict the next bin from the bins before it.

Persistence repeats the last bin. AR(1) and AR are autoregressions of each neuron by itself, NLinear
one for all neurons together. VAR ridge and VAR lasso add coupling between neurons, OLS does so
through the model's link. Nonlinear AR and nonlinear VAR are the rungs M1 and M2 of the `ladder`:
own dynamics made of fixed functions, and additive coupling on top; of counts they have a log link.
Counts have a Poisson GLM with log link too, whose inputs are the logs of all neurons' counts
through causal exponentials. Covariates, where there are any, enter AR, VAR, OLS, GLM and ladder.
"""

from functools import partial
from itertools import pairwise

import numpy as np
from scipy.signal import lfilter

from nwbdyn.baselines import autoregression, vector
from nwbdyn.baselines.autoregression import Autoregression
from nwbdyn.baselines.baseline import Baseline
from nwbdyn.baselines.ladder import Ladder, Rung, climb
from nwbdyn.baselines.lagged_design import (
    LaggedDesign,
    at_rows,
    build_lagged_design,
    floored,
    history,
    in_source_units,
)
from nwbdyn.baselines.link import through_link
from nwbdyn.baselines.nlinear import nlinear
from nwbdyn.baselines.regression import best_poisson, log_scaled
from nwbdyn.data.binning import Binned
from nwbdyn.data.splits import Split
from nwbdyn.progress import Progress, Report, silent
from nwbdyn.recording import COUNTS

FILTERS = {  # of the GLM's counts: time constants in seconds, 0 is the last bin itself
    "last bin + 0.1 s": (0.0, 0.1),
    "0.05 s + 0.25 s": (0.05, 0.25),
}


def next_bin(
    binned: Binned,
    split: Split,
    *,
    context: int,
    horizon: int = 1,
    link: str = "identity",
    raw: bool = False,
    ladder: Ladder | None = None,
    report: Report = silent,
) -> dict[str, Baseline]:
    """Predict each bin from the bins before it.

    A bin is predicted where the `context` bins before it belong to its segment and were observed,
    whatever their label; a training bin helps to fit where none of them is validation or test. A
    missing value counts as the neuron's training mean.

    Args:
        context: bins of history the model has.
        horizon: bins ahead. Beyond 1 every regression is fitted to that distance anew, which is at
            least as good as stepping there, and the Poisson GLM is left out.
        link: of the model; least squares through it stand beside it. Through the identity they
            are the vector autoregression; counts have the logarithm whatever the model's.
        raw: the model sees traces as they are, and its link is in their units.
        ladder: fitted to the same bins already, at this horizon.

    Returns:
        "persistence", "AR(1)", "AR", "NLinear", "VAR ridge", "VAR lasso" (up to 500 inputs),
        "nonlinear AR", "nonlinear VAR", "OLS tanh" or, for counts, "OLS log", and for counts
        "Poisson GLM".

    Raises:
        DataError: no training or no validation bin has such a history.
    """
    problem = build_lagged_design(binned, split, context, horizon)
    steps = 6 if binned.quantity == COUNTS and horizon == 1 else 5
    alone = autoregression.best(problem)
    baselines = [
        _persistence(binned, problem),
        _ar_one(binned, problem),
        _ar(binned, problem, alone),
    ]
    baselines.append(nlinear(binned, problem))
    report(Progress("baselines", 3, steps, "fits"))
    ridge, choice = vector.ridge(binned, problem, alone)
    baselines.append(ridge)
    report(Progress("baselines", 4, steps, "fits"))
    lasso = vector.lasso(binned, problem, alone, choice)
    baselines += [lasso] if lasso is not None else []
    rungs = ladder or climb(binned, problem, alone, to="M2")
    baselines += [
        Baseline(name, prediction(binned, problem, rungs, rungs[rung]), *_chosen(rungs[rung]))
        for name, rung in (("nonlinear AR", "M1"), ("nonlinear VAR", "M2"))
    ]
    if binned.quantity == COUNTS:
        link = "log"
    if link != "identity" and horizon == 1:
        baselines.append(through_link(binned, problem, link, raw=raw))
    report(Progress("baselines", 5, steps, "fits"))
    if steps == 6:
        baselines.append(_glm(binned, problem))
        report(Progress("baselines", 6, steps, "fits"))
    return {baseline.name: baseline for baseline in baselines}


def prediction(binned: Binned, problem: LaggedDesign, ladder: Ladder, rung: Rung) -> np.ndarray:
    """(num_bins, N) what a rung predicts, in source units; NaN where it predicts nothing."""
    if not ladder.counts:
        return in_source_units(binned, problem, rung.linear)
    rates = np.exp(np.minimum(rung.linear[problem.rows].astype(np.float64), ladder.ceiling))
    return at_rows(binned, problem.rows, rates)


def _chosen(rung: Rung) -> tuple[dict[str, float | int | str], np.ndarray | None]:
    """The selection of validation, and the coupling."""
    used: dict[str, float | int | str] = {} if rung.used else {"used": "no"}
    return rung.chosen | used, rung.coupling


def _persistence(binned: Binned, problem: LaggedDesign) -> Baseline:
    last = binned.values[problem.rows - problem.horizon]
    last = np.where(np.isfinite(last), last, problem.mean)
    repeated = at_rows(binned, problem.rows, last)
    return Baseline("persistence", floored(binned, problem, repeated), {})


def _ar_one(binned: Binned, problem: LaggedDesign) -> Baseline:
    one = autoregression.first_order(problem)
    predicted = in_source_units(binned, problem, one.predicted)
    return Baseline("AR(1)", predicted, {"order": 1}, coupling=np.diag(one.slopes))


def _ar(binned: Binned, problem: LaggedDesign, alone: Autoregression) -> Baseline:
    predicted = in_source_units(binned, problem, alone.predicted)
    return Baseline("AR", predicted, {"order": alone.order}, coupling=np.diag(alone.slopes))


def _glm(binned: Binned, problem: LaggedDesign) -> Baseline:
    """Poisson regression on exponentially filtered counts and covariates of all neurons."""
    choice = best_poisson(
        {name: partial(_filtered, binned, problem, taus) for name, taus in FILTERS.items()},
        binned.values,
        train=problem.train,
        val=problem.val,
    )
    predicted = at_rows(binned, problem.rows, choice.rates[problem.rows])
    n, num_filters = problem.num_neurons, len(FILTERS[choice.inputs])
    weights = choice.weights.weights[: num_filters * n]  # (num_filters * N, N)
    coupling = weights.reshape(num_filters, n, n).sum(axis=0).T  # (post, pre)
    return Baseline("Poisson GLM", predicted, choice.chosen("history"), coupling=coupling)


def _filtered(
    binned: Binned, problem: LaggedDesign, time_constants: tuple[float, ...]
) -> np.ndarray:
    """(num_bins, F) inputs of the GLM, from the bin before backwards.

    The log rates of all neurons through the first exponential come first, then through the second,
    then the covariates of the bin before. After a gap a filter starts from the training mean.
    """
    past = history(binned.valid, binned.segment)
    starts = np.flatnonzero(past == 0)
    filtered = np.tile(problem.mean, (len(time_constants), len(past), 1)).astype(np.float32)
    for start, stop in pairwise([*starts, len(past)]):
        run = binned.values[start : stop - 1]
        for rates, time_constant in zip(filtered, time_constants, strict=True):
            keep = np.exp(-binned.bin_width / time_constant) if time_constant else 0.0
            state = keep * problem.mean[None]
            rates[start + 1 : stop] = lfilter([1 - keep], [1, -keep], run, axis=0, zi=state)[0]
    rates = np.concatenate(list(filtered), axis=1)
    covariates = np.zeros_like(problem.signals[:, problem.covariates])
    covariates[1:] = problem.signals[:-1, problem.covariates]
    return np.concatenate([log_scaled(rates, problem.train), covariates], axis=1)
