"""The validation loss that stops a training and selects its weights."""

import torch
from torch import Tensor

from nwbdyn.data.pooling import PooledWindows
from nwbdyn.data.windows import Windows
from nwbdyn.models.base import CO_SMOOTHING, Batch, Model, Output

_SMALLEST_RATE = 1e-9  # expected counts per bin; a rate of 0 would cost an infinite loss


def validation_loss(model: Model, windows: Windows | PooledWindows, batch_size: int) -> float:
    """Lower is better.

    Mean Poisson loss of counts or mean squared error of traces over the validation windows: of
    every neuron's next bin, or of the held-out neurons in the observed bins. A co-smoothing model
    without held-out neurons is judged by its own loss.
    """
    model.eval()
    total = torch.zeros(2, dtype=torch.float64)
    with torch.no_grad():
        for batch in windows.batches("val", batch_size):
            total += torch.stack(batch_loss(model, batch, model(batch), windows.spec.context)).cpu()
    return float(total[0] / total[1])


def batch_loss(model: Model, batch: Batch, output: Output, context: int) -> tuple[Tensor, Tensor]:
    """Sum of the validation loss over a batch, and how many targets (or windows) are in it."""
    if model.target == CO_SMOOTHING and bool(batch.held_in.all()):
        loss = model.loss(batch, output).double()
        return loss * batch.num_windows, torch.full_like(loss, batch.num_windows)
    # A model may leave neurons out: their predictions are NaN.
    scored = _scored(model, batch, context) & ~output.prediction.isnan()
    error = _pointwise(output, batch, counts=model.layout.counts)
    return torch.where(scored, error, 0.0).double().sum(), scored.sum().double()


def _scored(model: Model, batch: Batch, context: int) -> Tensor:
    """(B, S, N) bool, the targets that count in validation."""
    if model.target != CO_SMOOTHING:
        return batch.valid
    scored = batch.valid & ~batch.held_in
    scored[:, context:] = False
    return scored


def _pointwise(output: Output, batch: Batch, *, counts: bool) -> Tensor:
    """(B, S, N) loss of each target."""
    if not counts:
        return (output.prediction - batch.target) ** 2
    rate = output.prediction.clamp(min=_SMALLEST_RATE)
    return rate - batch.target * rate.log()
