"""The closed-form core of a fit: rungs M0 to M2, fitted to the windows that a model trains on.

Windows carry the core's coefficients and its prediction of every bin: a model takes the former into
its state and is trained on what the latter leaves over.
"""

from dataclasses import dataclass, replace
from typing import overload

import numpy as np
import torch

from nwbdyn.baselines import autoregression
from nwbdyn.baselines.ladder import Ladder, climb
from nwbdyn.baselines.ladder.coefficients import coefficients
from nwbdyn.baselines.lagged_design import LaggedDesign, build_lagged_design
from nwbdyn.data.pooling import PooledWindows
from nwbdyn.data.windows import Windows
from nwbdyn.models._core import LONGEST, Core
from nwbdyn.models._core_terms import TIME_CONSTANTS, WINDOW_SHARES
from nwbdyn.models.base import BaseConfig, Batch
from nwbdyn.recording import COUNTS

COUPLING_WINDOWS = 2000  # evenly spaced, over which the derivative in a sender's input is averaged


@dataclass(frozen=True)
class LowerRungs:
    """The ladder below a model, and the regression that it solves."""

    problem: LaggedDesign
    ladder: Ladder  # up to M2


def has_core(config: BaseConfig) -> bool:
    """True for a model that is trained on what the ladder leaves over."""
    return bool(getattr(config, "core", False))


def sessions(windows: Windows | PooledWindows) -> tuple[Windows, ...]:
    """The windows of each session."""
    return windows.sessions if isinstance(windows, PooledWindows) else (windows,)


@overload
def with_core(windows: Windows, config: BaseConfig) -> Windows: ...
@overload
def with_core(windows: Windows | PooledWindows, config: BaseConfig) -> Windows | PooledWindows: ...
def with_core(windows: Windows | PooledWindows, config: BaseConfig) -> Windows | PooledWindows:
    """The windows with a core fitted to each session that has none, where the model wants one."""
    if not has_core(config) or all(part.core for part in sessions(windows)):
        return windows
    fitted = [
        part if part.core else attached(part, fit(part, like=part.ladder))
        for part in sessions(windows)
    ]
    return PooledWindows(fitted) if isinstance(windows, PooledWindows) else fitted[0]


def fit(windows: Windows, *, like: Ladder | None = None) -> LowerRungs:
    """Fit M0 to M2 on the training windows; validation windows choose.

    Args:
        like: a ladder whose penalties and rungs are taken over.
    """
    problem = design(windows)
    order = None
    if like is not None and not like.counts:
        order = int(like["M0"].chosen["order"])
    alone = autoregression.best(problem, order)
    ladder = climb(windows.binned, problem, alone, to="M2", like=like, windowed=True)
    return LowerRungs(problem, ladder)


def design(windows: Windows) -> LaggedDesign:
    """The regression of the next bin whose rows are the windows' targets."""
    context = windows.spec.context
    problem = build_lagged_design(windows.binned, windows.split, context, 1)
    targets = {name: windows.starts(name) + context for name in ("train", "val")}
    return replace(problem, train=targets["train"], val=targets["val"])


def attached(windows: Windows, rungs: LowerRungs) -> Windows:
    """The windows with a core: its state, and its prediction of every bin."""
    core = core_of(windows, rungs)
    binned, problem = windows.binned, rungs.problem
    linear = rungs.ladder.rungs[-1].linear.astype(np.float64)
    if binned.quantity == COUNTS:
        predicted = np.minimum(linear, rungs.ladder.ceiling)
    else:
        unit = core.unit.numpy().astype(np.float64)
        predicted = (linear - unit[1]) / unit[0]
    lower = np.zeros(binned.values.shape, np.float32)
    lower[problem.rows] = predicted[problem.rows]
    return windows.with_core(torch.from_numpy(lower), core.state_dict(), rungs.ladder)


def core_of(windows: Windows, rungs: LowerRungs) -> Core:
    """The coefficients as a module that sees the windows' inputs."""
    binned, problem, past = windows.binned, rungs.problem, rungs.ladder.past
    assert past is not None  # climb
    counts = binned.quantity == COUNTS
    n, context = binned.num_neurons, windows.spec.context
    core = Core(n, binned.covariates.shape[1], context=context, counts=counts)
    summed = coefficients(rungs.ladder, num_lags=min(LONGEST, context))
    state = {name: getattr(summed, name) for name in vars(summed)}
    state |= {
        "range": np.stack([past.low, past.high]),
        "ceiling": np.minimum(rungs.ladder.ceiling, np.finfo(np.float32).max),
        "unit": _unit(windows, problem, counts=counts),
        "covariate_unit": _covariate_unit(windows, problem),
        "coupling": np.zeros((n, n)),
        "scaling": np.zeros((0, 3, n)) if past.scaling is None else past.scaling,
    }
    decay, rest = _exponentials(binned.bin_width, context, problem.mean, counts=counts)
    state |= {"decay": decay, "rest": rest}
    core.load_state_dict(
        {
            name: torch.as_tensor(np.asarray(value), dtype=torch.float32)
            for name, value in state.items()
        }
    )
    core.coupling.copy_(_mean_coupling(core, windows))
    return core


def _unit(windows: Windows, problem: LaggedDesign, *, counts: bool) -> np.ndarray:
    """(2, N) factor and constant from an input to a signal in training sd, or to a count."""
    if counts:
        return np.stack([windows.sd, windows.mean])
    return np.stack([windows.sd / problem.sd, (windows.mean - problem.mean) / problem.sd])


def _covariate_unit(windows: Windows, problem: LaggedDesign) -> np.ndarray:
    """(2, C) likewise of covariates."""
    mean, sd = windows.covariate_scaling
    return np.stack(
        [sd / problem.covariate_sd, (mean - problem.covariate_mean) / problem.covariate_sd]
    )


def _exponentials(
    bin_width: float, context: int, mean: np.ndarray, *, counts: bool
) -> tuple[np.ndarray, np.ndarray]:
    """(K, T) weights of the bins of a window, oldest first; (K, N) what stands for earlier ones.

    The exponentials come first, then means over the window.
    """
    if not counts:
        return np.zeros((0, 0)), np.zeros((0, len(mean)))
    number = len(TIME_CONSTANTS) + len(WINDOW_SHARES)
    decay, rest = np.full((number, context), 1 / context), np.zeros((number, len(mean)))
    for row, constant in enumerate(TIME_CONSTANTS):
        keep = np.exp(-bin_width / constant) if constant else 0.0
        decay[row] = (1 - keep) * keep ** np.arange(context)[::-1].astype(float)
        rest[row] = keep**context * mean
    return decay, rest


def _mean_coupling(core: Core, windows: Windows) -> torch.Tensor:
    """(N, N) mean derivative of the prediction in the senders' newest inputs, over training."""
    n = core.coupling.shape[0]
    starts = torch.as_tensor(windows.starts("train"))
    chosen = torch.linspace(0, len(starts) - 1, min(len(starts), COUPLING_WINDOWS)).long()
    total, number = torch.zeros(n, n), 0
    for part in starts[chosen].split(256):
        batch: Batch = windows.gather(part, "train")
        _, kinds = core.jacobian(batch)
        total += torch.einsum("kbj,kij->ij", kinds.cpu(), core.senders)
        number += len(part)
    unit = torch.ones(n) if core.counts else 1 / core.unit[0]
    return total / number * unit[:, None] * (1 - torch.eye(n))
