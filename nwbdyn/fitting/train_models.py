"""The models that one fit trains: the options that validation picks, one per seed, one uncoupled.

Each trains in a folder of its own inside the run, so that an interrupted fit goes on where it was.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar

import torch
from torch import Tensor

from nwbdyn.data.pooling import PooledWindows
from nwbdyn.data.windows import Windows
from nwbdyn.errors import FitError
from nwbdyn.fitting.task import FitTask
from nwbdyn.models.base import BaseConfig, Layout, Model
from nwbdyn.progress import Progress, Report, silent
from nwbdyn.recording import Note
from nwbdyn.training.distributed import SINGLE_PROCESS, ProcessGroup
from nwbdyn.training.pretrained import Pretrained
from nwbdyn.training.trainer import Trained, train


class TrainingTask(Protocol):
    """Interface of a task that can be trained: a FitTask, or a JointTask of several recordings."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def model_class(self) -> type[Model]: ...
    @property
    def config(self) -> BaseConfig: ...
    @property
    def layout(self) -> Layout: ...
    @property
    def windows(self) -> Windows | PooledWindows: ...
    @property
    def adopted(self) -> Pretrained | None: ...
    @property
    def tried(self) -> tuple[BaseConfig, ...]: ...
    @property
    def sessions(self) -> Mapping[str, FitTask]: ...
    @property
    def is_joint(self) -> bool: ...
    @property
    def joint_record(self) -> Mapping[str, Any]: ...
    @property
    def joint_notes(self) -> tuple[Note, ...]: ...
    def with_config(self, config: BaseConfig) -> Self: ...
    def described(self) -> dict[str, Any]: ...


TaskT = TypeVar("TaskT", bound=TrainingTask)


@dataclass(frozen=True)
class Candidate:
    """One training among several of a fit, in values that another process can take."""

    model_class: type[Model]
    config: BaseConfig
    layout: Layout
    windows: Windows | PooledWindows  # on the CPU
    seed: int
    folder: Path | None
    adopted: Mapping[str, Tensor] | None = None

    def train(self, report: Report = silent, *, device: torch.device | str = "cpu") -> Trained:
        """Train it, or go on with what is in its folder."""
        device = torch.device(device)
        return train(
            self.model_class,
            self.config,
            self.layout,
            self.windows.to(device),
            seed=self.seed,
            device=device,
            folder=self.folder,
            resume=True,
            adopted=self.adopted,
            report=report,
        )


@dataclass(frozen=True)
class FailedTraining:
    """Why a candidate cannot be chosen, and how far it came."""

    validation: float | None  # loss
    epoch: int | None
    reason: str


class TrainingExecutor(Protocol):
    """Interface of an executor that trains many candidates at once, elsewhere."""

    def train(
        self, candidates: Sequence[Candidate], folder: Path | None, report: Report = silent
    ) -> Mapping[int, FailedTraining]:
        """Leave each in its folder as `training.train` does; those that came to nothing, and why.

        Args:
            folder: for what the engine writes; every process can reach it.
        """
        ...


@dataclass(frozen=True)
class RunContext:
    """Context of a running fit: run directory, resume, progress report, executor, processes."""

    run: Path | None = None  # the run directory; None keeps everything in memory
    resume: bool = False
    report: Report = silent
    engine: TrainingExecutor | None = None  # None trains in this process, one after the other
    team: ProcessGroup = SINGLE_PROCESS  # the processes that train every model together

    def folder(self, name: str) -> Path | None:
        """A folder of the run, made; None without a run."""
        if self.run is None:
            return None
        (self.run / name).mkdir(exist_ok=True)
        return self.run / name


@dataclass(frozen=True)
class SelectedCandidate(Generic[TaskT]):
    """The candidate Config with the lowest validation loss."""

    problem: TaskT  # with the Config that was taken
    trained: Trained | None = None  # its model; None where there was nothing to choose from
    table: tuple[dict[str, Any], ...] = ()  # per candidate, see `choose`


def candidates(problem: TrainingTask, tried: Sequence[BaseConfig] = ()) -> tuple[BaseConfig, ...]:
    """The Configs that validation is to choose from; one where nothing is left open.

    Args:
        tried: of a sweep, each of which may leave options open itself.
    """
    num_windows = len(problem.windows.starts("train"))
    each = [
        problem.model_class.candidates(config, problem.layout, num_windows)
        for config in tried or [problem.config]
    ]
    return tuple(dict.fromkeys(config for some in each for config in some))


def open_options(problem: TrainingTask, configs: Sequence[BaseConfig]) -> list[str]:
    """Names of the Config fields that validation will select."""
    return _differing(problem.config, configs)


def _differing(from_: BaseConfig, configs: Sequence[BaseConfig]) -> list[str]:
    reference = asdict(from_)
    tried = [asdict(config) for config in configs]
    return [name for name in reference if any(one[name] != reference[name] for one in tried)]


def select_candidate(
    problem: TaskT, configs: Sequence[BaseConfig], seed: int, ctx: RunContext
) -> SelectedCandidate[TaskT]:
    """Train every candidate and take the one with the lowest validation loss; no test bin is read.

    Returns:
        The choice. Its table has one entry per candidate, in order: "options" (those that
        candidates differ in), "validation" (its loss, None where training failed), "epoch" (the
        best), "chosen" and, where training failed, "reason".

    Raises:
        FitError: every candidate failed.
    """
    if len(configs) == 1:
        return SelectedCandidate(problem.with_config(configs[0]))
    names = _differing(configs[0], configs)
    tasks = _task_of_each(problem, configs)
    ctx.report(Progress("choosing", 0, len(configs), "candidates"))
    folders = [ctx.folder(f"choice-{number}") for number in range(len(tasks))]
    outcomes = _train_all(tasks, [seed] * len(tasks), folders, ctx)
    ctx.report(Progress("choosing", len(configs), len(configs), "candidates"))
    trained = {number: one for number, one in enumerate(outcomes) if isinstance(one, Trained)}
    if not trained:
        why = next(one.reason for one in outcomes if isinstance(one, FailedTraining))
        raise FitError(f"All {len(configs)} candidates failed. The first: {why}")
    best = min(trained, key=lambda number: trained[number].best)
    table = []
    for number, (config, one) in enumerate(zip(configs, outcomes, strict=True)):
        row: dict[str, Any] = {"options": {name: getattr(config, name) for name in names}}
        if isinstance(one, FailedTraining):
            row |= asdict(one)
        else:
            row |= {"validation": one.best, "epoch": one.best_epoch}
        table.append(row | {"chosen": number == best})
    return SelectedCandidate(tasks[best], trained[best], tuple(table))


def _task_of_each(problem: TaskT, configs: Sequence[BaseConfig]) -> list[TaskT]:
    """The problem with each Config; those that cut windows alike share them."""
    by_spec: dict[Any, TaskT] = {}
    tasks = []
    for config in configs:
        spec = problem.model_class.windows(config, problem.layout)
        if spec not in by_spec:
            by_spec[spec] = problem.with_config(config)
        tasks.append(replace(by_spec[spec], config=config))
    return tasks


def train_seeds(
    problem: TrainingTask, seeds: Sequence[int], ctx: RunContext, first: Trained | None = None
) -> list[Trained]:
    """One trained model per seed; `first` is one of them, where it was trained to be chosen."""
    others = [seed for seed in seeds if first is None or seed != first.seed]
    several = len(seeds) > 1
    ctx.report(Progress("seeds", 0, len(seeds), "fits"))
    folders = [ctx.folder(f"seed-{seed}") if several else ctx.run for seed in others]
    outcomes = _train_all([problem] * len(others), others, folders, ctx)
    ctx.report(Progress("seeds", len(seeds), len(seeds), "fits"))
    trained = {} if first is None else {first.seed: first}
    for seed, one in zip(others, outcomes, strict=True):
        if isinstance(one, FailedTraining):
            raise FitError(one.reason)
        trained[seed] = one
    return [trained[seed] for seed in seeds]


def train_without_coupling(problem: TrainingTask, seed: int, ctx: RunContext) -> Trained | None:
    """The same model, seed and data, fitted with coupling off; it adopts nothing.

    None for a model that has no such option, or where it was switched off by hand.
    """
    if not getattr(problem.config, "coupling", False):
        return None
    config = replace(problem.config, coupling=False)  # type: ignore[call-arg]
    ctx.report(Progress("without coupling", 0, 1, "fits"))
    folder = ctx.folder("without-coupling")
    trained = _train(replace(problem, adopted=None), config, seed, folder, ctx)
    ctx.report(Progress("without coupling", 1, 1, "fits"))
    return trained


def _train_all(
    tasks: Sequence[TrainingTask],
    seeds: Sequence[int],
    folders: Sequence[Path | None],
    ctx: RunContext,
) -> list[Trained | FailedTraining]:
    """A model of each task, or why it failed: by the engine, or here, one after the other."""
    failed: Mapping[int, FailedTraining] = {}
    each = list(zip(tasks, seeds, folders, strict=True))
    if ctx.engine is not None and len(each) > 1:
        failed = ctx.engine.train([_picklable(*one) for one in each], ctx.run, ctx.report)
        ctx = replace(ctx, resume=True)  # all is in the folders
    outcomes: list[Trained | FailedTraining] = []
    for number, (task, seed, folder) in enumerate(each):
        if number in failed:
            outcomes.append(failed[number])
            continue
        try:
            outcomes.append(_train(task, task.config, seed, folder, ctx))
        except FitError as error:
            outcomes.append(FailedTraining(None, None, str(error)))
    return outcomes


def _picklable(task: TrainingTask, seed: int, folder: Path | None) -> Candidate:
    """A training in values that another process can take."""
    return Candidate(
        model_class=task.model_class,
        config=task.config,
        layout=task.layout,
        windows=task.windows.to("cpu"),
        seed=seed,
        folder=None if folder is None else folder.absolute(),
        adopted=None if task.adopted is None else task.adopted.state,
    )


def _train(
    problem: TrainingTask, config: BaseConfig, seed: int, folder: Path | None, ctx: RunContext
) -> Trained:
    return train(
        problem.model_class,
        config,
        problem.layout,
        problem.windows,
        seed=seed,
        device=problem.windows.device,
        folder=folder,
        resume=ctx.resume,
        adopted=None if problem.adopted is None else problem.adopted.state,
        team=ctx.team,
        report=ctx.report,
    )
