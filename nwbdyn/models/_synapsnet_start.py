"""Start of SynapsNet's adjacency: a ridge regression of the next bin on the last one."""

import torch
from torch import Tensor


class Moments:
    """Sums over windows that a regression of the next bin on the last one needs."""

    def __init__(self) -> None:
        self.count = 0
        self.sums: list[Tensor] = []  # x, y, x x^T, x y^T, y^2

    def add(self, x: Tensor, y: Tensor) -> None:
        """x, y: (B, N) float64."""
        new = [x.sum(0), y.sum(0), x.T @ x, x.T @ y, (y**2).sum(0)]
        self.sums = [a + b for a, b in zip(self.sums, new, strict=True)] if self.sums else new
        self.count += len(x)

    @property
    def mean_target(self) -> Tensor:
        return self.sums[1] / self.count

    def ridge(self) -> Tensor:
        """(N, N) coefficients [post, pre] of standardised targets, one penalty for all of them.

        The penalty minimises RSS / (n - df)^2 over a grid relative to the largest eigenvalue.
        """
        x, y, xx, xy, yy = self.sums
        xx = xx - torch.outer(x, x) / self.count
        spread = (yy - y**2 / self.count).clamp(min=1e-12)
        xy = (xy - torch.outer(x, y) / self.count) / (spread / self.count).sqrt()
        eigenvalues, vectors = torch.linalg.eigh(xx)
        eigenvalues = eigenvalues.clamp(min=0)
        turned = vectors.T @ xy
        best, weight = float("inf"), torch.zeros_like(xy)
        for penalty in (eigenvalues.max() * torch.logspace(-6, 1, 29)).tolist():
            shrunk = 1 / (eigenvalues + penalty)
            explained = turned**2 * (shrunk * (2 - eigenvalues * shrunk))[:, None]
            freedom = self.count - (eigenvalues * shrunk).sum()
            residual = self.count * len(x) - explained.sum()
            score = float(residual / freedom**2)
            if score < best and freedom > 0:
                best, weight = score, (vectors @ (turned * shrunk[:, None])).T
        return weight
