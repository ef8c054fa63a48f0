"""Models that start from a baseline: its fit before the training, and whether to leave it after.

What is trained on top of a baseline is kept where it predicts validation better than the baseline
alone, by more than one standard error of the paired gain over blocks of windows. Otherwise the
model is its baseline.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch

from nwbdyn.baselines import co_smoothing_of
from nwbdyn.baselines.baseline import Baseline
from nwbdyn.baselines.ladder import Gain, is_above
from nwbdyn.data.pooling import PooledWindows
from nwbdyn.data.windows import Windows
from nwbdyn.models.base import Model

NUM_BLOCKS = 30  # of validation windows, at most
SHARES = np.linspace(0, 1, 11)  # of the model's own part, on top of the baseline


@runtime_checkable
class OnBaseline(Protocol):
    """A model whose log rates of held-out neurons start from a Poisson regression."""

    share: float  # of what is trained, in evaluation; 0 leaves the baseline

    @property
    def on_baseline(self) -> bool: ...
    def start_from(self, regression: dict[str, torch.Tensor]) -> None: ...


@dataclass(frozen=True)
class BaselineVerdict:
    """Gain of training over the baseline below it, on validation."""

    baseline: str  # its name
    gain: Gain  # bits per spike, of the weighted average over the baseline
    weight: float  # of the trained model in the average of log rates with the baseline
    kept: bool  # otherwise the model is its baseline

    @property
    def share(self) -> float:
        return self.weight if self.kept else 0.0


def start_on_baseline(model: Model, windows: Windows | PooledWindows) -> None:
    """Fit the baseline of a model that is to start from one."""
    if isinstance(model, OnBaseline) and model.on_baseline and isinstance(windows, Windows):
        regression = best_baseline(windows).regression
        assert regression is not None
        device = windows.device
        model.start_from(
            {
                one.name: torch.as_tensor(
                    getattr(regression, one.name), dtype=torch.float32, device=device
                )
                for one in fields(regression)
            }
        )


def best_baseline(windows: Windows) -> Baseline:
    """The baseline with the lowest loss on validation."""
    fitted = co_smoothing_of(windows).values()
    return min(fitted, key=lambda one: np.inf if one.validation is None else one.validation)


def judge(model: Model, windows: Windows | PooledWindows) -> BaselineVerdict | None:
    """Keep or drop what was trained on top of a baseline; None for a model without one.

    The weight of the average is chosen on every other block and its gain taken on the others, and
    the other way round; the weight that is used is chosen on all.
    """
    if not (isinstance(model, OnBaseline) and model.on_baseline and isinstance(windows, Windows)):
        return None
    model.share = 1.0
    losses, num_spikes = _losses(model, windows)
    losses = np.stack(
        [part.sum(0) for part in np.array_split(losses, min(len(losses), NUM_BLOCKS))]
    )
    odd = np.arange(len(losses)) % 2 == 1
    gains = np.zeros(len(losses))
    for scored in (odd, ~odd):
        chosen = losses[~scored].sum(0).argmin()
        gains[scored] = losses[scored, 0] - losses[scored, chosen]
    gain = is_above(gains, scale=float(num_spikes * np.log(2)))
    weight = float(SHARES[losses.sum(0).argmin()])
    kept = gain.above and weight > 0
    verdict = BaselineVerdict(best_baseline(windows).name, gain, weight, kept)
    model.share = verdict.share
    return verdict


def keep_share(model: Model, judged: Model) -> None:
    """Give a refit, which has no validation windows, the share of the model that had some."""
    if isinstance(model, OnBaseline) and isinstance(judged, OnBaseline) and model.on_baseline:
        model.share = judged.share


@contextmanager
def shared(model: Any, share: float) -> Iterator[None]:
    """Give what was trained another share inside the block."""
    before = model.share
    model.share = share
    try:
        yield
    finally:
        model.share = before


@torch.no_grad()
def _losses(model: Any, windows: Windows) -> tuple[np.ndarray, float]:
    """(num_windows, num_shares) validation loss of held-out neurons, and their spikes."""
    model.eval()
    losses, num_spikes = [], 0.0
    context = windows.spec.context
    held_out = torch.as_tensor(~windows.split.held_in, device=windows.device)
    for batch in windows.batches("val", model.config.batch_size):
        rates = []
        for share in (0.0, 1.0):
            with shared(model, share):
                rates.append(model(batch).log_rate[:, :context, held_out].double())
        below, whole = rates
        counts = batch.target[:, :context, held_out]
        valid = batch.valid[:, :context, held_out]
        by_share = []
        for share in SHARES:
            log_rate = below + share * (whole - below)
            loss = torch.where(valid, log_rate.exp() - counts * log_rate, 0.0)
            by_share.append(loss.sum((1, 2)))
        losses.append(torch.stack(by_share, 1).cpu())
        num_spikes += float((counts * valid).sum())
    return torch.cat(losses).numpy(), num_spikes
