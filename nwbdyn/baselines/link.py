"""Least squares through a link: g(next bin) from the last bins of all neurons, undone afterwards.

Where activity is a known function of a linear sum, x(t+1) = g^-1(W x(t) + b), the inverse g of that
function turns it into an ordinary regression, which finds W exactly where there is no noise.
"tanh": traces, in the units in which the model sees them, kept inside what a tanh can reach. "log":
counts with half a count added; each neuron's mean is restored afterwards (Duan 1983).
"""

import numpy as np

from nwbdyn.baselines.baseline import Baseline
from nwbdyn.baselines.lagged_design import LaggedDesign, at_rows, floored
from nwbdyn.baselines.regression import Ridge
from nwbdyn.data.binning import Binned

ORDERS = (1, 2, 3, 5)
MAX_INPUTS = 1000  # lags times signals, beyond order 1
SMALLEST = 1e-9  # penalty per row: least squares, for which inputs need not be independent
EDGE = 0.999  # arctanh of 1 is infinite
HALF_COUNT = 0.5


def through_link(binned: Binned, problem: LaggedDesign, link: str, *, raw: bool) -> Baseline:
    """ "OLS tanh" or "OLS log"; the order by validation, in the units of the prediction.

    Args:
        raw: the model sees traces as they are, not in training sd.
    """
    mean = np.zeros_like(problem.mean) if raw else problem.mean
    sd = np.ones_like(problem.sd) if raw else problem.sd
    observed = np.where(np.isfinite(binned.values), binned.values, problem.mean)
    if link == "tanh":
        target = np.arctanh(np.clip((observed - mean) / sd, -EDGE, EDGE))
    else:
        target = np.log(observed + HALF_COUNT)
    offset = target[problem.train].mean(axis=0)
    num_signals = problem.signals.shape[1]
    best: tuple[float, int, np.ndarray, np.ndarray] | None = None
    for order in ORDERS:
        if order > 1 and (order > problem.context or order * num_signals > MAX_INPUTS):
            break
        inputs = problem.lagged(problem.train, order, slice(None)).astype(np.float64)
        centre = inputs.mean(axis=0)
        weights = Ridge(inputs - centre, target[problem.train] - offset).weights(SMALLEST)
        rows = problem.lagged(problem.rows, order, slice(None)) - centre
        predicted = np.full(target.shape, np.nan)
        linear = rows @ weights + offset
        if link == "tanh":
            predicted[problem.rows] = np.tanh(linear) * sd + mean
        else:
            predicted[problem.rows] = _counts(binned, problem, linear)
        error = binned.values[problem.val] - predicted[problem.val]
        score = float(np.nanmean((error / problem.sd) ** 2))
        if best is None or score < best[0]:
            best = (score, order, weights, predicted)
    assert best is not None
    _, order, weights, predicted = best
    n = problem.num_neurons
    prediction = at_rows(binned, problem.rows, predicted[problem.rows])
    return Baseline(
        f"OLS {link}",
        floored(binned, problem, prediction),
        {"order": order},
        coupling=weights.reshape(order, num_signals, n)[0, :n].T,
    )


def _counts(binned: Binned, problem: LaggedDesign, linear: np.ndarray) -> np.ndarray:
    """(num_rows, N) expected counts from their log, below twice the largest, at the right mean."""
    largest = np.nanmax(binned.values[problem.train], axis=0)
    counts = np.exp(np.minimum(linear, np.log(2 * largest + HALF_COUNT)))
    train = np.isin(problem.rows, problem.train)
    return counts * (problem.mean + HALF_COUNT) / counts[train].mean(axis=0) - HALF_COUNT
