"""Coupling that follows known signals: W + sum over k of gate_k(t) D_k, a rung above M2.

Own dynamics are gated first, in the same way: a state that only changes a neuron's mean, its memory
or the size of its noise is no change of coupling. What is left over is regressed on the products of
every gate with the last bin of every other neuron. Penalties, sparse form and whether the rung is
used are chosen on validation blocks as on every other rung.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np

from nwbdyn.baselines.ladder.coupled import sparse_step
from nwbdyn.baselines.ladder.ridge import IntrinsicRidge, SenderRidge
from nwbdyn.baselines.ladder.selection import Gain
from nwbdyn.baselines.ladder.steps import Data, best_step

OWN_LAGS = 3  # bins of own past that are gated


@dataclass(frozen=True)
class GatedCoupling:
    """The rung; its weights are 0 where validation does not support it."""

    weights: np.ndarray  # (K, N, N) [gate, post, pre] D_k, in training sd per sd
    gates: np.ndarray  # (num_bins, K) of the bin that is seen last: zero mean where known, else 0
    gain: Gain  # on validation, over own dynamics that are gated likewise
    lower: np.ndarray  # (num_bins, N) prediction with gated own dynamics, training sd
    linear: np.ndarray  # (num_bins, N) with gated coupling, too


def gated_coupling(
    data: Data, below: np.ndarray, gates: np.ndarray, known: np.ndarray
) -> GatedCoupling:
    """Fit the rung on training bins.

    Args:
        data: of traces.
        below: (num_bins, N) prediction of M2.
        gates: (num_bins, K) signals, such as indicators of states.
        known: (num_bins,) bins where the signals are known; elsewhere no gate is open.
    """
    problem, past = data.problem, data.past
    n, horizon = problem.num_neurons, problem.horizon
    seen = problem.train - horizon
    gates = np.where(known[:, None], gates - gates[seen[known[seen]]].mean(axis=0), 0.0)

    def own(rows: np.ndarray, neurons: slice) -> np.ndarray:
        gate = gates[rows - horizon]
        lags = past.lags(min(OWN_LAGS, past.context))(rows, neurons)
        lags = np.concatenate([np.ones((*lags.shape[:2], 1)), lags], axis=2)
        return (lags[..., None] * gate[None, :, None]).reshape(*lags.shape[:2], -1)

    def senders(rows: np.ndarray) -> np.ndarray:
        gate = gates[rows - horizon]
        last = past.signals[rows - horizon].astype(np.float64)
        return (gate[:, :, None] * last[:, None]).reshape(len(rows), -1)

    alone = best_step(data, "gated own dynamics", below, [partial(IntrinsicRidge, own)])
    name = "gated coupling"
    step = best_step(data, name, alone.linear, [partial(SenderRidge, senders, own)])
    step = sparse_step(data, f"{name}, sparse", alone.linear, step) or step
    weights = np.zeros((gates.shape[1], n, n))
    if step.coefficients is not None:
        sent = step.coefficients[:, : weights.shape[0] * n]
        weights = sent.reshape(n, -1, n).transpose(1, 0, 2)
    return GatedCoupling(weights, gates, step.choice.gain, alone.linear, step.linear)
