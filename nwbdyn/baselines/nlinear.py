"""NLinear: one linear map of the last bins, relative to the newest one, for all neurons.

Zeng, Chen, Zhang, Xu, "Are Transformers Effective for Time Series Forecasting?", AAAI 2023:
x(t + h) = x(t) + sum_l w_l (x(t - l) - x(t)), with w shared by all neurons. Their constant is left
out: of z-scored traces it is the mean change, 0.
"""

import numpy as np

from nwbdyn.baselines.baseline import Baseline
from nwbdyn.baselines.lagged_design import LaggedDesign, in_source_units
from nwbdyn.data.binning import Binned

RIDGE = 1e-6  # per row


def nlinear(binned: Binned, problem: LaggedDesign) -> Baseline:
    """Least squares over all neurons and training bins; the window is the model's."""
    gram = np.zeros((problem.context - 1, problem.context - 1))
    moment = np.zeros(problem.context - 1)
    target = problem.targets(problem.train)
    for neuron in range(problem.num_neurons):
        inputs, last = _inputs(problem, problem.train, neuron)
        gram += inputs.T @ inputs
        moment += inputs.T @ (target[:, neuron] - last)
    gram[np.diag_indices_from(gram)] += RIDGE * len(problem.train) * problem.num_neurons
    weights = np.linalg.solve(gram, moment)
    predicted = np.zeros((len(problem.signals), problem.num_neurons), np.float32)
    for neuron in range(problem.num_neurons):
        inputs, last = _inputs(problem, problem.rows, neuron)
        predicted[problem.rows, neuron] = last + inputs @ weights
    prediction = in_source_units(binned, problem, predicted)
    return Baseline("NLinear", prediction, {"window": problem.context})


def _inputs(problem: LaggedDesign, rows: np.ndarray, neuron: int) -> tuple[np.ndarray, np.ndarray]:
    """(n, context - 1) earlier bins minus the newest one; (n,) the newest."""
    lags = problem.lagged(rows, problem.context, neuron).astype(np.float64)
    last = lags[:, 0]
    return lags[:, 1:] - last[:, None], last
