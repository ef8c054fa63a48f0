"""Derivatives of a layer norm, for NetFormer's exact Jacobian."""

import torch
from torch import Tensor, nn


def through(norm: nn.LayerNorm, x: Tensor, step: Tensor) -> Tensor:
    """Change of a layer norm's output at x when x moves by `step`."""
    normed, deviation = _normed(norm, x[:, : step.shape[1]])
    along = (normed * step).mean(-1, keepdim=True)
    return norm.weight * (step - step.mean(-1, keepdim=True) - normed * along) / deviation


def back_through(norm: nn.LayerNorm, x: Tensor, gradient: Tensor) -> Tensor:
    """The gradient in x, given the gradient in the output of a layer norm at x."""
    normed, deviation = _normed(norm, x)
    gradient = norm.weight * gradient
    along = (normed * gradient).mean(-1, keepdim=True)
    return (gradient - gradient.mean(-1, keepdim=True) - normed * along) / deviation


def _normed(norm: nn.LayerNorm, x: Tensor) -> tuple[Tensor, Tensor]:
    deviation = torch.sqrt(x.var(-1, unbiased=False, keepdim=True) + norm.eps)
    return (x - x.mean(-1, keepdim=True)) / deviation, deviation
