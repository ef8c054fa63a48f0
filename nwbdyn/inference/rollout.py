"""Several bins ahead: a next-bin model that goes on from its own predictions.

For traces only. A model of counts predicts a rate, and what it would see next is not a rate but
spikes drawn from it.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from nwbdyn.data.splits import SPLITS
from nwbdyn.data.windows import Windows
from nwbdyn.models.base import NEXT, Batch, Model
from nwbdyn.recording import COUNTS

HORIZONS = (5, 10, 32)  # bins ahead, besides the next


def applies(model_class: type[Model], windows: Windows) -> bool:
    """True for a next-bin model whose prediction can be its next input."""
    return model_class.target == NEXT and windows.binned.quantity != COUNTS


def roll_out(
    model: Model, windows: Windows, *, horizons: Sequence[int], splits: Sequence[str]
) -> dict[int, np.ndarray]:
    """Predictions some bins ahead, each from data that end that many bins before.

    After the first step the newest input is the model's own prediction, kept inside the range each
    neuron had in training and in the window (a nonlinear model may leave it and never come back; a
    neuron that has drifted out of the training range is still followed); covariates stay at their
    last value, for their future is not known either.

    Returns:
        horizon -> (num_bins, N) in source units, NaN where the bin, or one on the way to it, lies
        outside its split or across a gap.
    """
    values = {h: np.full(windows.binned.values.shape, np.nan, np.float32) for h in horizons}
    low, high = _training_range(windows)
    for split in splits:
        for batch in windows.batches(split, model.config.batch_size):
            first = batch.start_bin.cpu().numpy() + windows.spec.context
            for step, prediction in enumerate(
                _steps(model, batch, max(horizons), low, high), start=1
            ):
                if step in values:
                    bins, kept = _reached(windows, first, step, split)
                    source = prediction.cpu().numpy()[kept] * windows.sd + windows.mean
                    values[step][bins[kept]] = source
    return values


def _training_range(windows: Windows) -> tuple[torch.Tensor, torch.Tensor]:
    """(N,) least and largest training value of each neuron, in input units."""
    binned = windows.binned
    train = binned.values[windows.split.bins("train") & binned.valid]
    scaled = (np.stack([train.min(axis=0), train.max(axis=0)]) - windows.mean) / windows.sd
    low, high = torch.as_tensor(scaled, dtype=torch.float32, device=windows.device)
    return low, high


def _steps(
    model: Model, batch: Batch, num_steps: int, low: torch.Tensor, high: torch.Tensor
) -> list[torch.Tensor]:
    """(B, N) predictions of the next, the second, … bin, in input units."""
    predictions = []
    seen = batch.activity  # (B, T, N)
    low = torch.minimum(low, seen.amin(dim=1))[:, None]  # (B, 1, N)
    high = torch.maximum(high, seen.amax(dim=1))[:, None]
    with torch.no_grad():
        for _ in range(num_steps):
            predicted = model(batch).prediction.clamp(low, high)  # (B, 1, N)
            predictions.append(predicted[:, 0])
            held = batch.covariates[:, -1:]
            batch = replace(
                batch,
                activity=torch.cat([batch.activity[:, 1:], predicted], dim=1),
                covariates=torch.cat([batch.covariates[:, 1:], held], dim=1),
                start_bin=batch.start_bin + 1,
                lower=None,
            )
    return predictions


def _reached(
    windows: Windows, first: np.ndarray, step: int, split: str
) -> tuple[np.ndarray, np.ndarray]:
    """Target bins of step number `step`, and which of them belong to the stretch of the first."""
    binned, labels = windows.binned, windows.split.labels
    bins = first + step - 1
    inside = bins < binned.num_bins
    bins = np.minimum(bins, binned.num_bins - 1)
    kept = inside & (labels[bins] == SPLITS.index(split)) & binned.valid[bins]
    # A segment ends at a gap and at a bin that was not observed, so one number means no break.
    return bins, kept & (binned.segment[bins] == binned.segment[first])
