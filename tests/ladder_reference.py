"""The ladder written out slowly: loops, one regression per neuron, no shared moments."""

import numpy as np
from scipy.optimize import minimize


def intrinsic_terms(x, bounded, smooth, row, neuron, horizon, context):
    """The terms of one neuron at one row, in order."""
    x, bounded = x.astype(float), bounded.astype(float)
    lag = [x[row - horizon - k, neuron] for k in range(min(10, context))]
    b = [bounded[row - horizon - k, neuron] for k in range(min(5, context))]
    terms = list(lag)
    terms += [np.tanh(value) for value in b]
    terms += [max(value - hinge, 0) for value in b[:3] for hinge in (1, 3)]
    terms += [max(b[k] - b[k + 1], 0) for k in range(len(b) - 1)]
    for one, other in ((0, 0), (0, 1), (0, 2), (1, 2)):
        if max(one, other) < len(b):
            terms.append(b[one] * b[other])
    terms += [filtered[row - horizon, neuron] for filtered in smooth.astype(float)]
    return terms


def sender_terms(block, x, bounded, smooth, row, sender, horizon, context):
    """The terms of one sender at one row."""
    x, bounded = x.astype(float), bounded.astype(float)
    bins = {"last bin": 1, "last 2 bins": 2, "last 3 bins": 3}
    if block in bins:
        return [x[row - horizon - k, sender] for k in range(bins[block])]
    if block == "rates":
        return [filtered[row - horizon, sender] for filtered in smooth.astype(float)]
    last = bounded[row - horizon, sender]
    terms = [np.tanh(last), max(last - 1, 0)]
    if context > 1:
        terms.append(max(last - bounded[row - horizon - 1, sender], 0))
    return terms


def gated_terms(own, gates):
    return [term * gate for term in own for gate in gates]


def ridge(inputs, target, penalty):
    """A function from inputs to predictions: least squares with the penalty as further rows."""
    mean, sd = inputs.mean(axis=0), inputs.std(axis=0)
    sd = np.where(sd > 1e-6 * np.maximum(1, np.abs(mean)), sd, 1)
    scaled = (inputs - mean) / sd
    rows = np.sqrt(penalty * len(inputs)) * np.eye(inputs.shape[1])
    centred = np.r_[target - target.mean(), np.zeros(inputs.shape[1])]
    weights = np.linalg.lstsq(np.vstack([scaled, rows]), centred, rcond=None)[0]
    return lambda others: ((others - mean) / sd) @ weights + target.mean()


def poisson(inputs, counts, offset, precision):
    """A function from inputs to what is added to the log rate; no line beyond the ceiling."""
    mean, sd = inputs.mean(axis=0), inputs.std(axis=0)
    sd = np.where(sd > 1e-6 * np.maximum(1, np.abs(mean)), sd, 1)
    scaled = (inputs - mean) / sd

    def loss(parameters):
        linear = scaled @ parameters[1:] + parameters[0] + offset
        rate = np.exp(linear)
        gradient = np.r_[
            np.sum(rate - counts), scaled.T @ (rate - counts) + precision * parameters[1:]
        ]
        value = np.sum(rate - counts * linear) + precision * np.sum(parameters[1:] ** 2) / 2
        return value, gradient

    start = np.zeros(1 + inputs.shape[1])
    actual = minimize(loss, start, jac=True, method="BFGS", options={"gtol": 1e-3}).x
    return lambda others: ((others - mean) / sd) @ actual[1:] + actual[0]


def by_block(losses, block):
    return np.array([losses[block == number].sum(axis=0) for number in np.unique(block)])
