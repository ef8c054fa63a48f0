"""The contrastive loss of STNDT, from inner products of the views instead of from the views."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F


def embedded_products(counts: Tensor, weight: Tensor, bias: Tensor, rows: int) -> Tensor:
    """(V, V) inner products of the flattened embeddings of V views.

    A row x becomes W x + b, so two rows have the product x' G z + u'(x + z) + b'b with G = W'W and
    u = W'b: nothing of the size of an embedding is made, and rows or columns that are 0 in every
    view are left out of `counts` and `weight`.

    Args:
        counts: (V, R, K) rows of the views.
        weight: (M, K) of the embedding. bias: (M,).
        rows: number of rows an embedding has, those that are 0 in every view included.
    """
    padding = -counts.shape[2] % 8  # rows at aligned addresses multiply faster
    if padding:
        counts, weight = F.pad(counts, (0, padding)), F.pad(weight, (0, padding))
    flat = counts.flatten(1)  # (V, R K)
    mapped = (counts.flatten(0, 1) @ (weight.T @ weight)).view_as(flat)
    share = counts.sum(1) @ (weight.T @ bias)  # (V,)
    return mapped @ flat.T + share + share[:, None] + rows * bias @ bias


def contrast(products: Tensor, temperature: float) -> Tensor:
    """NT-Xent: the loss of finding a window's other view among all views.

    Args:
        products: (2B, 2B) inner products of the features, first views then second views of the
            same B windows.
    """
    norm = products.diagonal().clamp(min=1e-12).sqrt()
    similarity = products / (temperature * norm[:, None] * norm)
    itself = torch.eye(len(products), dtype=torch.bool, device=products.device)
    partner = torch.arange(len(products), device=products.device).roll(len(products) // 2)
    return F.cross_entropy(similarity.masked_fill(itself, -math.inf), partner)
