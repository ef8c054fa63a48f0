"""Many members of one model, trained as one program where that is faster.

Seeds of a fit, surrogates of a recording, points of a sweep: every member equals the fit that
`training.train` makes of it, down to rounding. It has its own weights, order of batches, dropout,
schedule, early stop and checkpoints, so that either way of training goes on where the other was
stopped.

Alone on a CPU, STNDT takes blocks that write their gradients by hand and fill the cache with its
windows; in a program it takes plain ones, with the same random numbers. What a program saves there
is calls, so only very small ones share it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import torch
from torch import Tensor

from nwbdyn.data.pooling import PooledWindows
from nwbdyn.data.windows import Windows
from nwbdyn.errors import FitError
from nwbdyn.models.base import CO_SMOOTHING, BaseConfig, Config, Layout, Model
from nwbdyn.progress import Progress, Report, silent
from nwbdyn.training import out_of_memory
from nwbdyn.training.trainer import Trained, Trainer, isolated_rng, train
from nwbdyn.training.vmap import VmapTrainer

MOST_MEMBERS = 32  # of one program
_SMALL = 10_000  # numbers in a batch of co-smoothing windows: so few, and a CPU's time is in calls
_LARGE = 2**24  # numbers in those of a whole program on a GPU: more fill it, and its memory


@dataclass(frozen=True)
class BatchedModel:
    """One fit among several of the same model."""

    config: Config  # equal in shapes; anything else may differ, see `train_all`
    windows: Windows | PooledWindows  # shared, or its own: a surrogate, resampled blocks
    seed: int
    folder: Path | None = None  # of its checkpoints and history; None keeps nothing
    adopted: Mapping[str, Tensor] | None = None  # state of a fitted model, see `training.train`


def train_batched(
    model_class: type[Model],
    layout: Layout,
    members: Sequence[BatchedModel],
    *,
    device: torch.device,
    resume: bool = False,
    stack: bool | None = None,
    report: Report = silent,
) -> list[Trained]:
    """Train every member; the same as one `training.train` after another, only sooner.

    Members share a program where they have as many windows and agree in all options but learning
    rate, weight decay, clipping, lengths of training and what the model lists in `numbers` and
    `apart`; the others start a program of their own.

    Args:
        members: at least one.
        resume: members that left a checkpoint in their folder go on from it.
        stack: True for one program, False for one fit after another, None for what is faster.
        report: told after every epoch of a program, or of a fit.

    Returns:
        In the order of `members`. `seconds` in the history of a member of a program are its share.

    Raises:
        FitError: a member failed, named by its seed. The others have been trained to their end
            before it is raised, and those with a folder are complete there: resuming, with another
            learning rate for the one that failed, trains that one only.
        KeyboardInterrupt: as it came, once the last whole epoch of every member is saved.
    """
    outcomes = try_train_batched(
        model_class, layout, members, device=device, resume=resume, stack=stack, report=report
    )
    errors = [one for one in outcomes if isinstance(one, FitError)]
    if errors:
        more = f" {len(errors)} of {len(members)} members failed." if len(errors) > 1 else ""
        raise FitError(f"{errors[0]}{more}") from errors[0]
    return [one for one in outcomes if isinstance(one, Trained)]


def try_train_batched(
    model_class: type[Model],
    layout: Layout,
    members: Sequence[BatchedModel],
    *,
    device: torch.device,
    resume: bool = False,
    stack: bool | None = None,
    report: Report = silent,
) -> list[Trained | FitError]:
    """As `train_batched`, with the error of a member that failed instead of it."""
    results: dict[int, Trained | FitError] = {}
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        for group in _groups(model_class, layout, members, device, stack):
            part = [members[k] for k in group]
            if len(part) > 1:
                outcomes = _train_together(model_class, layout, part, device, resume, report)
            else:
                outcomes = [_train_alone(model_class, layout, part[0], device, resume, report)]
            results |= dict(zip(group, outcomes, strict=True))
    return [results[k] for k in range(len(members))]


def _train_alone(
    model_class: type[Model],
    layout: Layout,
    member: BatchedModel,
    device: torch.device,
    resume: bool,
    report: Report,
) -> Trained | FitError:
    try:
        return train(
            model_class,
            member.config,
            layout,
            member.windows,
            seed=member.seed,
            device=device,
            folder=member.folder,
            resume=resume,
            adopted=member.adopted,
            report=report,
        )
    except FitError as error:
        return error


def _train_together(
    model_class: type[Model],
    layout: Layout,
    members: Sequence[BatchedModel],
    device: torch.device,
    resume: bool,
    report: Report,
) -> list[Trained | FitError]:
    loops = [_begun(model_class, layout, member, device, resume) for member in members]
    errors: dict[int, FitError] = {}  # id of a loop -> why it stopped
    try:
        while running := [one for one in loops if not one.finished and id(one) not in errors]:
            stack = VmapTrainer(running)
            while stack.whole:
                stack.epoch()
                if any(one.history for one in loops):  # none, where all stop in their first epoch
                    report(_progress(loops))
            stack.release()
            errors |= {id(running[k]): error for k, error in stack.errors.items()}
    except KeyboardInterrupt:
        for loop in loops:
            loop.save_last_epoch()
        raise
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory.ran_out(error):
            raise
        batch_size = members[0].config.batch_size
        raise FitError(out_of_memory.advice(batch_size, together=len(members))) from error
    return [errors.get(id(one)) or one.trained() for one in loops]


def _begun(
    model_class: type[Model],
    layout: Layout,
    member: BatchedModel,
    device: torch.device,
    resume: bool,
) -> Trainer:
    """A loop as `train` starts it."""
    with isolated_rng(member.seed, device):
        loop = Trainer(
            model_class,
            member.config,
            layout,
            member.windows,
            seed=member.seed,
            device=device,
            folder=member.folder,
            adopted=member.adopted,
        )
        loop.begin(resume=resume)
        loop.random = torch.get_rng_state()  # it draws from the global generator no more
    return loop


def _progress(loops: Sequence[Trainer]) -> Progress:
    """Progress of the training: that of the model that is least far."""
    slowest = min((one for one in loops if one.history), key=lambda one: one.epoch)
    alone = slowest.progress()
    left = alone.detail["seconds left"]
    assert isinstance(left, float)
    return Progress(
        alone.stage,
        alone.done,
        alone.total,
        alone.unit,
        alone.detail | {"seconds left": left * len(loops), "members": str(len(loops))},
    )


def _groups(
    model_class: type[Model],
    layout: Layout,
    members: Sequence[BatchedModel],
    device: torch.device,
    stack: bool | None,
) -> list[list[int]]:
    """Positions of the members that train as one program each."""
    if stack is False:
        return [[k] for k in range(len(members))]
    alike: dict[object, list[int]] = {}
    for k, member in enumerate(members):
        pooled = isinstance(member.windows, PooledWindows)  # its batches are of several sessions
        alone = pooled or not model_class.supports_vmap(member.config)
        alike.setdefault(k if alone else _shape(model_class, member), []).append(k)
    groups = []
    for positions in alike.values():
        most = len(positions)
        if most > 1 and not stack:
            most = max_batch_of_models(members[positions[0]], layout, device)
        groups += [positions[k : k + most] for k in range(0, len(positions), most)]
    return groups


def max_batch_of_models(member: BatchedModel, layout: Layout, device: torch.device) -> int:
    """Number of models like this one to train as one batch; 1 if a batch gains nothing.

    On a CPU, measured by `benchmarks/stacked_seeds.py`: up to 14 tokens a program of 8 takes a
    third to three fifths of the time of 8 fits, from 50 on little less than they do. To
    co-smoothing models every bin of a window is a token: there the size of a batch counts. On a GPU
    nothing was measured; a call costs more there, so larger models are put together.
    """
    windows, cuda = member.windows, device.type == "cuda"
    assert isinstance(windows, Windows)
    if windows.target == CO_SMOOTHING:
        batch = min(member.config.batch_size, len(windows.starts("train")))
        size = batch * windows.length * layout.num_global
        if cuda:
            return min(MOST_MEMBERS, max(1, _LARGE // size))
        return MOST_MEMBERS if size <= _SMALL else 1
    tokens = layout.num_global + layout.num_covariates
    return MOST_MEMBERS if tokens <= (100 if cuda else 14) else 1


def _shape(model_class: type[Model], member: BatchedModel) -> object:
    """Equal for members that can share a program."""
    apart = {one.name for one in fields(BaseConfig)} - {"batch_size"} | {
        *model_class.vmap_ignored_options
    }
    options = []
    for one in fields(member.config):
        value = getattr(member.config, one.name)
        if one.name in model_class.numbers:
            options.append(bool(value))
        elif one.name not in apart:
            options.append(value)
    windows = member.windows
    assert isinstance(windows, Windows)
    sizes = tuple(len(windows.starts(name)) for name in ("train", "val"))
    adopts = member.adopted is not None  # and does not train what it adopts
    return (*options, *sizes, adopts, windows.session, windows.spec)
