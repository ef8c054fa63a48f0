"""NetFormer's dynamic part on top of a closed-form core.

    D_ij(t) = s (q_i(t) - mean q_i) . k_j(t)        j != i
    added to the core: sum over j != i of s (q_i(t) - mean q_i) . (k_j(t) x_j(t) - mean k_j x_j)

Means are over training windows. Without the mean of k_j x_j, the sum over many neurons is close to
a constant, and q_i makes an own nonlinearity of neuron i of it; without the mean of q_i, it holds
an additive coupling. What is left is an interaction of receiver and senders. In training the means
are those of the batch.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Means:
    """Means over training windows, one row per neuron."""

    query: Tensor  # (N, p) of q_i
    sent: Tensor  # (N, p) of k_j x_j


def of_batch(queries: Tensor, keys: Tensor, values: Tensor) -> Means:
    """Means over the windows of a batch; queries, keys (B, N, p), values (B, N)."""
    return Means(queries.mean(0), (keys * values[..., None]).mean(0))


def received(queries: Tensor, keys: Tensor, values: Tensor, means: Means) -> Tensor:
    """(B, N): what the dynamic part adds, without the factor s."""
    centred = queries - means.query
    sent = keys * values[..., None] - means.sent
    others = sent.sum(dim=1, keepdim=True) - sent
    return (centred * others).sum(-1)


def size(queries: Tensor, keys: Tensor, means: Means) -> Tensor:
    """Mean over windows and receivers of the sum of D_ij^2 over senders j != i, without s^2.

    sum (q_i . k_j)^2 = tr[(sum q q^T)(sum k k^T)].
    """
    centred = queries - means.query
    squares = ((centred.mT @ centred) * (keys.mT @ keys)).sum(dim=(1, 2))
    itself = (centred * keys).sum(-1)
    return (squares - (itself**2).sum(-1)).mean() / queries.shape[1]


def jacobian(
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    means: Means,
    steps: tuple[Tensor, Tensor, Tensor],
) -> Tensor:
    """(B, post, pre) derivatives of `received` in the newest inputs.

    Args:
        steps: change of queries (B, N, p), keys (B, N, p) and values (B, N) per unit of input.
    """
    query_step, key_step, value_step = steps
    centred = queries - means.query
    sent_step = key_step * values[..., None] + keys * value_step[..., None]
    between = centred @ sent_step.mT
    between = between - torch.diag_embed(between.diagonal(dim1=1, dim2=2))
    sent = keys * values[..., None] - means.sent
    others = sent.sum(dim=1, keepdim=True) - sent
    return between + torch.diag_embed((query_step * others).sum(-1))
