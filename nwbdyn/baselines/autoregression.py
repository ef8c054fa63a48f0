"""Each neuron predicted from its own last bins, by least squares."""

from dataclasses import dataclass

import numpy as np

from nwbdyn.baselines.lagged_design import LaggedDesign

ORDERS = (1, 2, 3, 5, 8, 12, 20)
RIDGE = 1e-6  # per row, for constant or collinear inputs


@dataclass(frozen=True)
class Autoregression:
    """Each neuron by itself."""

    order: int
    predicted: np.ndarray  # (num_bins, N) float32, in training sd, 0 where there is no prediction
    slopes: np.ndarray  # (N,) of the last bin seen
    weights: np.ndarray  # (N, order + K) of the lags, then of the covariates


def first_order(problem: LaggedDesign) -> Autoregression:
    """From the last bin alone, without covariates."""
    return _fit(problem, (1,), covariates=False)


def best(problem: LaggedDesign, order: int | None = None) -> Autoregression:
    """From the last bins and the last covariates; the order, one for all neurons, by validation.

    Args:
        order: leaves validation no choice.
    """
    orders = tuple(one for one in ORDERS if one <= problem.context) if order is None else (order,)
    return _fit(problem, orders, covariates=True)


def _fit(problem: LaggedDesign, orders: tuple[int, ...], *, covariates: bool) -> Autoregression:
    longest = orders[-1]
    beside = problem.covariates if covariates else slice(0, 0)
    fitted, held = (problem.lagged(rows, 1, beside) for rows in (problem.train, problem.val))
    target, truth = problem.targets(problem.train), problem.targets(problem.val)
    solutions: list[list[np.ndarray]] = []  # neuron -> order -> weights of its lags and covariates
    errors = np.zeros(len(orders))
    for neuron in range(problem.num_neurons):
        inputs = np.hstack([problem.lagged(problem.train, longest, neuron), fitted])
        gram = (inputs.T @ inputs).astype(np.float64) / len(inputs)
        gram[np.diag_indices_from(gram)] += RIDGE
        moment = (inputs.T @ target[:, neuron]).astype(np.float64) / len(inputs)
        checked = np.hstack([problem.lagged(problem.val, longest, neuron), held])
        solutions.append([])
        for k, order in enumerate(orders):
            used = np.r_[:order, longest : len(gram)]
            weights = np.linalg.solve(gram[np.ix_(used, used)], moment[used])
            errors[k] += np.mean((truth[:, neuron] - checked[:, used] @ weights) ** 2)
            solutions[-1].append(weights)
    chosen = int(np.argmin(errors))
    predicted = np.zeros((len(problem.signals), problem.num_neurons), np.float32)
    applied = problem.lagged(problem.rows, 1, beside)
    for neuron, weights in enumerate(solution[chosen] for solution in solutions):
        inputs = np.hstack([problem.lagged(problem.rows, orders[chosen], neuron), applied])
        predicted[problem.rows, neuron] = inputs @ weights.astype(np.float32)
    kept = np.array([solution[chosen] for solution in solutions])
    return Autoregression(orders[chosen], predicted, kept[:, 0], kept)
