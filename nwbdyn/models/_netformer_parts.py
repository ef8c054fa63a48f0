"""NetFormer's A from histories alone, for networks smaller than their tokens are wide.

The embedding in a token is the same in every window, so that products with it need not be made
window by window. With x_i the history and e_i the embedding of neuron i, both about their means,
and d the difference of these means, its centred token is [x_i ; e_i] + d_i u for a constant u, and
after the layer norm, with gain g, bias b and sd r_i,

    z_i = G s_i + c_i g e_i        s_i = [x_i / r_i, d_i / r_i, 1]        c_i = 1 / r_i

where G is one matrix for all. A_ij = z_i M z_j, M = s Wq^T Wk, then takes products of width H + 2
per window instead of H + E. Without a layer norm, s_i = x_i and c_i = 1.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class Parts:
    """Tokens of B windows, taken apart. Row n of A is neuron n, and neurons are first in tokens."""

    moving: Tensor  # (B, M, h) s
    size: Tensor | None  # (B, M, 1) c; None: 1
    basis: Tensor  # (H + E, h) G
    fixed: Tensor  # (M, E) g e

    def values(self, history: int) -> Tensor:
        """(B, M, H) the first H entries of z."""
        return rows(self.moving, self.basis[:history])

    def attention(self, mixing: Tensor, num_neurons: int) -> Tensor:
        """(B, N, M) A.

        Args:
            mixing: (H + E, H + E) M.
        """
        own = F.pad(self.fixed, (len(self.basis) - self.fixed.shape[1], 0))  # (M, H + E)
        received = mixing @ torch.cat([self.basis, own.T], dim=1)  # M z, for unit s and unit c
        moving, fixed = self.basis.shape[1], own[:num_neurons]
        queries = self.moving[:, :num_neurons]
        known = rows(queries, (self.basis.T @ received).T)  # (B, N, h + M)
        by_fixed = fixed @ received  # (N, h + M)
        if self.size is None:
            known = known + by_fixed
            constant = known[..., moving:]
        else:
            known = torch.addcmul(known, self.size[:, :num_neurons], by_fixed)
            constant = known[..., moving:] * self.size.mT
        return torch.baddbmm(constant, known[..., :moving], self.moving.mT)


def parts(history: Tensor, embedding: Tensor, norm: nn.LayerNorm | None) -> Parts:
    """Tokens [history ; embedding] after the layer norm.

    Args:
        history: (B, M, H).
        embedding: (M, E).
    """
    num_bins, width = history.shape[2], embedding.shape[1]
    total = num_bins + width
    identity = torch.eye(total, num_bins, dtype=history.dtype, device=history.device)
    if norm is None:
        return Parts(history, None, identity, embedding)
    mean, own_mean = history.mean(-1, keepdim=True), embedding.mean(-1, keepdim=True)
    history, embedding = history - mean, embedding - own_mean
    apart = mean - own_mean  # (B, M, 1) d
    spread = (history**2).sum(-1, keepdim=True) + (embedding**2).sum(-1, keepdim=True)
    variance = (spread + apart**2 * (num_bins * width / total)) / total
    size = torch.rsqrt(variance + norm.eps)
    along = torch.full_like(norm.weight, -num_bins / total)  # u
    along[:num_bins] += 1
    basis = torch.cat([identity, along[:, None]], dim=1) * norm.weight[:, None]
    moving = [history * size, apart * size, torch.ones_like(size)]
    return Parts(
        torch.cat(moving, dim=-1),
        size,
        torch.cat([basis, norm.bias[:, None]], dim=1),
        embedding * norm.weight[num_bins:],
    )


def rows(x: Tensor, weight: Tensor) -> Tensor:
    """(B, M, p): W x for every row of x (B, M, d), as one product in a stack of models too."""
    return (x.flatten(0, 1) @ weight.T).unflatten(0, x.shape[:2])
