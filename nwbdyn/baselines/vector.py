"""Vector autoregression: every neuron on the last bins of all neurons, under a penalty.

The penalty shrinks towards 0, or towards each neuron's own autoregression (then the regression
explains what that leaves over), whichever predicts validation better.
"""

from dataclasses import dataclass

import numpy as np

from nwbdyn.baselines.autoregression import Autoregression
from nwbdyn.baselines.baseline import Baseline
from nwbdyn.baselines.lagged_design import LaggedDesign, in_source_units
from nwbdyn.baselines.regression import Lasso, Ridge
from nwbdyn.data.binning import Binned

ORDERS = (1, 2, 3, 5)
MAX_INPUTS = 1000  # lags times signals, beyond order 1: keeps the eigendecomposition short
MAX_LASSO_INPUTS = 500  # lags times signals: its steps cost inputs^2 x neurons each
PENALTIES = np.logspace(-4, 2, 13)  # of ridge, per row, inputs in sd
LASSO_PENALTIES = np.logspace(0, -3, 13)  # of lasso, times the one that leaves no weight


@dataclass(frozen=True)
class Choice:
    """The regression that predicts validation best."""

    score: float  # mean squared error on validation, in training sd
    order: int
    towards: str  # "0" or "AR"
    penalty: float
    weights: np.ndarray  # (order * signals, N)


def ridge(binned: Binned, problem: LaggedDesign, alone: Autoregression) -> tuple[Baseline, Choice]:
    """Ridge regression with order, penalty and what it shrinks to chosen on validation."""
    n, num_signals = problem.num_neurons, problem.signals.shape[1]
    bases = {"0": np.zeros_like(alone.predicted), "AR": alone.predicted}
    best: Choice | None = None
    for order in ORDERS:
        if order > 1 and (order > problem.context or order * num_signals > MAX_INPUTS):
            break
        inputs = problem.lagged(problem.train, order, slice(None))
        held = problem.lagged(problem.val, order, slice(None))
        left = [problem.targets(problem.train) - base[problem.train] for base in bases.values()]
        regression = Ridge(inputs, np.concatenate(left, axis=1))
        for penalty in PENALTIES:
            both = regression.weights(penalty)
            for k, (towards, base) in enumerate(bases.items()):
                weights = both[:, k * n : (k + 1) * n]
                error = problem.targets(problem.val) - base[problem.val] - held @ weights
                score = float(np.mean(error**2, dtype=np.float64))
                if best is None or score < best.score:
                    best = Choice(score, order, towards, float(penalty), weights)
    assert best is not None
    return _baseline("VAR ridge", binned, problem, alone, best), best


def lasso(
    binned: Binned, problem: LaggedDesign, alone: Autoregression, like: Choice
) -> Baseline | None:
    """Lasso with the order and base of the ridge regression `like`, penalty by validation.

    None beyond MAX_LASSO_INPUTS: it would take minutes.
    """
    order = like.order
    while order > 1 and order * problem.signals.shape[1] > MAX_LASSO_INPUTS:
        order -= 1
    if order * problem.signals.shape[1] > MAX_LASSO_INPUTS:
        return None
    base = alone.predicted if like.towards == "AR" else np.zeros_like(alone.predicted)
    inputs = problem.lagged(problem.train, order, slice(None))
    held = problem.lagged(problem.val, order, slice(None))
    regression = Lasso(inputs, problem.targets(problem.train) - base[problem.train])
    truth = problem.targets(problem.val) - base[problem.val]
    best: Choice | None = None
    weights = np.zeros_like(regression.moment)
    for penalty in LASSO_PENALTIES * regression.largest:  # from strong to weak
        weights = regression.weights(penalty, start=weights)
        score = float(np.mean((truth - held @ weights) ** 2, dtype=np.float64))
        if best is not None and score > best.score:
            break
        best = Choice(score, order, like.towards, float(penalty), weights)
    assert best is not None
    return _baseline("VAR lasso", binned, problem, alone, best)


def _baseline(
    name: str, binned: Binned, problem: LaggedDesign, alone: Autoregression, choice: Choice
) -> Baseline:
    n, num_signals = problem.num_neurons, problem.signals.shape[1]
    inputs = problem.lagged(problem.rows, choice.order, slice(None))
    predicted = np.zeros_like(alone.predicted)
    predicted[problem.rows] = inputs @ choice.weights
    coupling = choice.weights.reshape(choice.order, num_signals, n)[0, :n].T  # (post, pre)
    chosen: dict[str, float | int | str] = {"order": choice.order, "penalty": choice.penalty}
    if choice.towards == "AR":
        predicted += alone.predicted
        coupling = coupling + np.diag(alone.slopes)
        chosen |= {"shrinks to": f"AR({alone.order})"}
    prediction = in_source_units(binned, problem, predicted)
    return Baseline(name, prediction, chosen, coupling=coupling)
