"""Decision whether a model keeps its own part on top of its closed-form core.

The mean prediction of all seeds is compared with that of the core, bin by bin, over blocks of
validation bins. The own part is kept where the gain exceeds one standard error, and more than that
where several settings were tried. Otherwise the fit is the core. The decision is the same for all
seeds.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Generic

import numpy as np

from nwbdyn.baselines.ladder import Gain, Ladder, is_above
from nwbdyn.baselines.ladder.rung import RUNGS
from nwbdyn.baselines.ladder.selection import blocks, by_block
from nwbdyn.data.pooling import PooledWindows
from nwbdyn.data.windows import Windows
from nwbdyn.fitting.train_models import TaskT, TrainingTask
from nwbdyn.inference import readout
from nwbdyn.models.base import BaseConfig
from nwbdyn.recording import COUNTS
from nwbdyn.results.sections.ladder import KeptRung, Rung, RungGain
from nwbdyn.training import lower_rungs
from nwbdyn.training.trainer import Trained

OPTION = "own_part"  # of the Config
SMALLEST_RATE = 1e-9  # expected counts per bin


@dataclass(frozen=True)
class Decision(Generic[TaskT]):
    """Rung of the final fit."""

    task: TaskT  # without the own part where it was dropped
    trained: tuple[Trained, ...]
    gain: Gain | None  # of the own part on validation; None without a core, or without such a part


def is_open(config: BaseConfig) -> bool:
    """True where validation decides whether the own part is kept."""
    return lower_rungs.has_core(config) and bool(getattr(config, OPTION, False))


def with_core(task: TaskT) -> TaskT:
    """Task with a core fitted to the windows of each session, where the model uses one."""
    if not lower_rungs.has_core(task.config):
        return task
    if not task.is_joint:
        return replace(task, windows=lower_rungs.with_core(task.windows, task.config))
    sessions = {name: with_core(one) for name, one in task.sessions.items()}
    windows = PooledWindows([one.windows for one in sessions.values()])
    return replace(task, sessions=sessions, windows=windows)


def decide(task: TaskT, trained: Sequence[Trained], *, num_candidates: int) -> Decision[TaskT]:
    """Keep the own part, or drop it from every seed.

    Args:
        task: holds a core, where the model has one.
        trained: one model per seed.
        num_candidates: number of settings among which validation chose.
    """
    if not is_open(task.config):
        return Decision(task, tuple(trained), None)
    gain = validation_gain(task, trained, num_candidates=num_candidates)
    if all(member.best_epoch == 0 for member in trained):  # exactly 0; the gain is rounding
        gain = replace(gain, mean=0.0, error=0.0, above=False)
    if gain.above:
        return Decision(task, tuple(trained), gain)
    alone = tuple(core_alone(task, member) for member in trained)
    return Decision(task.with_config(alone[0].model.config), alone, gain)


def validation_gain(task: TrainingTask, trained: Sequence[Trained], *, num_candidates: int) -> Gain:
    """Decrease of the loss on validation by the own part, paired over blocks of every session.

    For traces the squared error of a neuron is divided by its variance in validation, as in the
    reported R2. Otherwise a few neurons that vary more than in training would decide.
    """
    gains: list[np.ndarray] = []
    scale = 0.0
    for one in task.sessions.values():
        windows = one.windows
        rows = windows.starts("val") + windows.spec.context
        predictions = [readout.predict(m.model, windows, splits=("val",)) for m in trained]
        mean = np.mean(predictions, axis=0)[rows]
        lower = losses(windows, lower_prediction(windows)[rows], rows)
        upper = losses(windows, mean, rows)
        weight = _weights(windows, rows)
        gains.append(by_block((lower - upper) * weight, blocks(rows, 1)).sum(axis=1))
        spikes = windows.binned.quantity == COUNTS
        scale += _bits(windows, rows) if spikes else float((lower * weight).sum())
    every = np.concatenate(gains)
    if not np.isfinite(every).all():  # it exploded
        return Gain(float("nan"), float("nan"), len(every), False)
    return is_above(every, scale=scale, num_candidates=num_candidates)


def _weights(windows: Windows, rows: np.ndarray) -> np.ndarray:
    """Weight of each neuron's loss, (N,); 0 for a neuron that is constant in validation."""
    observed = windows.binned.values[rows].astype(np.float64)
    if windows.binned.quantity == COUNTS:
        return np.ones(observed.shape[1])
    seen = np.isfinite(observed)
    number = np.maximum(seen.sum(axis=0), 1)
    mean = np.where(seen, observed, 0).sum(axis=0) / number
    variance = np.square(np.where(seen, observed - mean, 0)).sum(axis=0) / windows.sd**2
    varies = variance > 0
    return np.where(varies, 1 / np.where(varies, variance, 1), 0)


def _bits(windows: Windows, rows: np.ndarray) -> float:
    """Number of spikes in these bins, times the nats of one bit."""
    return float(np.nan_to_num(windows.binned.values[rows]).sum() * np.log(2))


def lower_prediction(windows: Windows) -> np.ndarray:
    """Prediction of the core, (num_bins, N), in source units; bins without a window are not set."""
    assert windows.lower is not None
    lower = windows.lower.cpu().numpy().astype(np.float64)
    if windows.binned.quantity == COUNTS:
        return np.exp(lower)
    return lower * windows.sd + windows.mean


def losses(windows: Windows, prediction: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Squared error in training sd, or negative log likelihood of counts, (n, N).

    Args:
        prediction: (n, N) in source units.
    """
    observed = windows.binned.values[rows].astype(np.float64)
    if windows.binned.quantity == COUNTS:
        rates = np.maximum(prediction.astype(np.float64), SMALLEST_RATE)
        return rates - np.nan_to_num(observed) * np.log(rates)
    return np.nan_to_num(((observed - prediction) / windows.sd) ** 2)


def kept_rung(ladder: Ladder, gain: Gain | None) -> KeptRung:
    """Rungs, the decision of validation about each, and the rung of the final fit."""
    kept = "M5" if gain is not None and gain.above else ladder.best.name
    rungs = {
        rung.name: Rung(RUNGS[rung.name], rung.used, _recorded(rung.gain), rung.chosen)
        for rung in ladder.rungs
    }
    unit = "bits per spike" if ladder.counts else "of the squared error"
    return KeptRung(kept, rungs, _recorded(gain), unit)


def _recorded(gain: Gain | None) -> RungGain | None:
    return None if gain is None else RungGain(**asdict(gain))


def core_alone(task: TrainingTask, member: Trained) -> Trained:
    """Trained model without its own part."""
    config = replace(task.config, own_part=False)  # type: ignore[call-arg]
    model = task.model_class(config, task.layout).to(task.windows.device)
    own = member.model.state_dict()
    model.load_state_dict({name: own[name] for name in model.state_dict()})
    return replace(member, model=model.eval())
