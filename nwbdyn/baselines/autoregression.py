"""Each neuron predicted from its own last bins, by least squares."""

from dataclasses import dataclass

import numpy as np

from nwbdyn.baselines.problem import Problem

ORDERS = (1, 2, 3, 5, 8, 12, 20)


@dataclass(frozen=True)
class Autoregression:
    """Each neuron by itself."""

    order: int
    predicted: np.ndarray  # (num_bins, N) float32, in training sd, 0 where there is no prediction
    slopes: np.ndarray  # (N,) of the last bin seen


def best(problem: Problem) -> Autoregression:
    """The order, one for all neurons, with the least validation error."""
    truth = problem.targets(problem.val)
    orders = [order for order in ORDERS if order <= problem.context]
    fits = [fit(problem, order, covariates=True) for order in orders]
    return min(
        fits,
        key=lambda fit: float(np.mean((truth - fit.predicted[problem.val]) ** 2, dtype=np.float64)),
    )


def fit(problem: Problem, order: int, *, covariates: bool) -> Autoregression:
    """Least squares of each neuron on its own last `order` bins (and the last covariates)."""
    predicted = np.zeros((len(problem.signals), problem.num_neurons), np.float32)
    slopes = np.zeros(problem.num_neurons)
    beside = problem.covariates if covariates else slice(0, 0)
    fitted = problem.lagged(problem.train, 1, beside)
    applied = problem.lagged(problem.rows, 1, beside)
    for neuron in range(problem.num_neurons):
        inputs = np.concatenate([problem.lagged(problem.train, order, neuron), fitted], axis=1)
        gram = (inputs.T @ inputs).astype(np.float64) / len(inputs)
        gram[np.diag_indices_from(gram)] += 1e-6  # constant or collinear inputs
        moment = inputs.T @ problem.targets(problem.train)[:, neuron] / len(inputs)
        weights = np.linalg.solve(gram, moment.astype(np.float64))
        inputs = np.concatenate([problem.lagged(problem.rows, order, neuron), applied], axis=1)
        predicted[problem.rows, neuron] = inputs @ weights.astype(np.float32)
        slopes[neuron] = weights[0]
    return Autoregression(order, predicted, slopes)
