"""Two rungs of the ladder compared on test bins, and how far a gain of coupling can be trusted.

Sensitivity of the gain of M2 over M1: the share of neurons that improve, the gain with the
population mean and its first components as covariates, the gain without the largest errors, and how
much of the residuals is shared by all neurons. A large shared part says that neurons have common
input.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from nwbdyn.baselines import autoregression
from nwbdyn.baselines.ladder import Gain, Ladder, climb, is_above
from nwbdyn.baselines.ladder.selection import blocks, by_block
from nwbdyn.baselines.ladder.terms import COMPONENTS
from nwbdyn.baselines.lagged_design import LaggedDesign, build_lagged_design
from nwbdyn.data.binning import Binned
from nwbdyn.data.splits import TEST, Split
from nwbdyn.recording import COUNTS
from nwbdyn.results.sections.nested import Sensitivity
from nwbdyn.statistics.common_input import residuals_of

REQUIRED_ERRORS = 2.0  # of the block test
QUESTIONS = {"coupling": ("M2", "M1"), "gain": ("M4", "M3")}
LARGEST = 0.01  # of the test bins, by their error under M1


def gain_on_test(
    binned: Binned, split: Split, problem: LaggedDesign, ladder: Ladder, question: str
) -> Gain | None:
    """Decrease of the loss on test bins from the lower to the upper rung of a question.

    The share of the squared error in training sd; of counts, bits per spike.
    """
    above, below = (ladder[name] for name in QUESTIONS[question])
    rows = problem.rows[split.labels[problem.rows] == TEST]
    if not len(rows):
        return None
    loss = losses(binned, problem, ladder)
    lower = loss(below.linear[rows], rows)
    gains = by_block(lower - loss(above.linear[rows], rows), blocks(rows, problem.horizon))
    scale = lower.sum()
    if ladder.counts:
        scale = np.nan_to_num(binned.values[rows]).sum() * np.log(2)
    return is_above(gains.sum(axis=1), scale=float(scale), required=REQUIRED_ERRORS)


def sensitivity(
    binned: Binned,
    split: Split,
    problem: LaggedDesign,
    ladder: Ladder,
    *,
    context: int,
    horizon: int,
) -> Sensitivity:
    """See `Sensitivity`."""
    above, below = (ladder[name].linear for name in QUESTIONS["coupling"])
    rows = problem.rows[split.labels[problem.rows] == TEST]
    loss = losses(binned, problem, ladder)
    lower, upper = loss(below[rows], rows), loss(above[rows], rows)
    by_neuron = (lower - upper).sum(axis=0)
    changed = by_neuron != 0
    ordinary = lower.sum(axis=1) <= np.quantile(lower.sum(axis=1), 1 - LARGEST)
    scale = lower[ordinary].sum()
    if ladder.counts:
        scale = np.nan_to_num(binned.values[rows[ordinary]]).sum() * np.log(2)
    beside = with_population(binned, split)
    again, rungs = climbed(beside, split, context, horizon, "M2")
    gain = gain_on_test(beside, split, again, rungs, "coupling")
    return Sensitivity(
        improved=float((by_neuron > 0).sum() / max(1, changed.sum())),
        population=None if gain is None else gain.mean,
        without_largest=float((lower - upper)[ordinary].sum() / scale) if scale > 0 else 0.0,
        shared=shared_share(residuals_of(binned, problem, ladder, "M1")),
    )


def with_population(binned: Binned, split: Split) -> Binned:
    """The recording with the population mean and its first components as further covariates."""
    values = binned.values.astype(np.float64)
    train = values[split.bins("train") & binned.valid]
    sd = np.nanstd(train, axis=0)
    scaled = np.nan_to_num((values - np.nanmean(train, axis=0)) / np.where(sd > 0, sd, 1))
    seen = scaled[split.bins("train") & binned.valid]
    _, directions = np.linalg.eigh(seen.T @ seen)  # weakest first
    shared = np.c_[scaled.mean(axis=1), scaled @ directions[:, ::-1][:, :COMPONENTS]]
    return replace(
        binned,
        covariates=np.c_[binned.covariates, shared].astype(np.float32),
        covariate_names=(*binned.covariate_names, *(f"shared {k}" for k in range(shared.shape[1]))),
    )


def shared_share(residuals: np.ndarray) -> float:
    """First eigenvalue of the correlations between columns, over their number; constants left out.

    1 / N for independent columns, 1 for identical ones.
    """
    centred = residuals - residuals.mean(axis=0)
    sd = centred.std(axis=0)
    centred = centred[:, sd > 0] / sd[sd > 0]
    if not centred.shape[1]:
        return float("nan")
    correlations = centred.T @ centred / len(centred)
    return float(np.linalg.eigvalsh(correlations)[-1] / len(correlations))


def climbed(
    binned: Binned,
    split: Split,
    context: int,
    horizon: int,
    to: str,
    *,
    like: Ladder | None = None,
    windowed: bool = False,
) -> tuple[LaggedDesign, Ladder]:
    """The design of a recording and its ladder up to `to`; options as for `climb`."""
    problem = build_lagged_design(binned, split, context, horizon)
    order = None if like is None or like.counts else int(like["M0"].chosen["order"])
    alone = autoregression.best(problem, order)
    return problem, climb(binned, problem, alone, to=to, like=like, windowed=windowed)


def losses(
    binned: Binned, problem: LaggedDesign, ladder: Ladder
) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """(n, N) loss of linear predictions at rows."""
    if binned.quantity != COUNTS:
        return lambda linear, rows: np.square(problem.targets(rows).astype(np.float64) - linear)

    def poisson(linear: np.ndarray, rows: np.ndarray) -> np.ndarray:
        held = np.minimum(linear.astype(np.float64), ladder.ceiling)
        return np.exp(held) - np.nan_to_num(binned.values[rows]) * held

    return poisson
