"""Penalties in NetFormer's loss: size of A, and distance from the mean per pair of types."""

import torch
from torch import Tensor
from torch.nn import functional as F

from nwbdyn.models._netformer_parts import rows

MOST_ENTRIES = 30_000  # of A, up to which the ridge sees all windows of a batch


def size_of_attention(attention: Tensor) -> Tensor:
    """Mean over windows and receivers of the sum of A_ij^2 over senders j != i.

    The loss adds `ridge` times this over the number of training windows: in a linear model with one
    constant A, that is ridge regression with this penalty.

    Args:
        attention: (B, N, M) A.
    """
    itself = attention.diagonal(dim1=1, dim2=2)
    squares = (attention**2).sum(dim=(1, 2)) - (itself**2).sum(-1)
    return squares.mean() / attention.shape[1]


def size_through_tokens(seen: Tensor, num_neurons: int, mixing: Tensor) -> Tensor:
    """The same without A = Z M Z^T: sum A^2 = tr[(Z M)^T (Z M) Z^T Z].

    From MOST_ENTRIES of A on, where this costs more than everything else, every fourth window
    stands for all.

    Args:
        seen: (B, M, d) Z, neurons first.
        mixing: (d, d) M.
    """
    if num_neurons * seen.shape[1] >= MOST_ENTRIES:
        seen = seen[::4]
    neurons = seen[:, :num_neurons]
    mixed = rows(neurons, mixing.T)
    itself = (mixed * neurons).sum(-1)
    squares = ((mixed.mT @ mixed) * (seen.mT @ seen)).sum(dim=(1, 2))
    return (squares - (itself**2).sum(-1)).mean() / num_neurons


def type_penalty(
    queries: Tensor, keys: Tensor, types: Tensor, mean: Tensor, log_variance: Tensor
) -> Tensor:
    """Mean of GaussianNLL(A_ij | C, sigma^2 of their types) over windows and pairs i != j.

    Sums of A and of A^2 over a pair of types need sums over neurons only:
    sum A = (sum q)(sum k), sum A^2 = tr[(sum q q^T)(sum k k^T)].

    Args:
        queries, keys: (B, N, p), whose products are A.
        types: (N,) of K types; below 0 unknown.
        mean, log_variance: (K, K) C and log sigma^2.
    """
    member = F.one_hot(types.clamp(min=0), len(mean)) * (types >= 0)[:, None]
    member = member.to(queries)  # (N, K)
    itself = (queries * keys).sum(-1)  # (B, N) the diagonal of A, left out below
    total = (member.T @ queries) @ (member.T @ keys).mT  # (B, K, K)
    total = total - torch.diag_embed(itself @ member)
    spread = [torch.einsum("nk,bnp,bnr->bkpr", member, x, x) for x in (queries, keys)]
    squares = torch.einsum("bkpr,blpr->bkl", *spread)
    squares = squares - torch.diag_embed(itself**2 @ member)
    size = member.sum(0)
    pairs = torch.outer(size, size) - torch.diag(size)
    error = squares - 2 * mean * total + mean**2 * pairs
    nll = 0.5 * (log_variance * pairs + error * torch.exp(-log_variance))
    return nll.sum() / (len(queries) * pairs.sum())
