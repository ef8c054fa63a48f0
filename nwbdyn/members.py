"""The models that one fit trains: the options that validation picks, one per seed, one uncoupled.

Each trains in a folder of its own inside the run, so that an interrupted fit goes on where it was.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import numpy as np
import torch
from nwbdyn.adopting import Adopted
from nwbdyn.distributed import ALONE, Team
from nwbdyn.errors import FitError
from nwbdyn.models.base import BaseConfig, Layout, Model
from nwbdyn.pooling import PooledWindows
from nwbdyn.problem import Problem
from nwbdyn.progress import Progress, Report, silent
from nwbdyn.training import Trained, train
from nwbdyn.windows import Windows
from torch import Tensor

from nwbdyn import readout


class Posed(Protocol):
    """What is trained here: one recording's `Problem`, or several recordings' `Joint`."""

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
    def adopted(self) -> Adopted | None: ...


AnyPosed = TypeVar("AnyPosed", bound=Posed)


@dataclass(frozen=True)
class Candidate:
    """One training among several of a fit, in values that another process can take."""

    model_class: type[Model]
    config: BaseConfig
    layout: Layout
    windows: Windows  # on the CPU
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
class GivenUp:
    """Why a candidate cannot be chosen, and how far it came."""

    validation: float | None  # loss
    epoch: int | None
    reason: str


class Engine(Protocol):
    """What trains many candidates at once, elsewhere."""

    def train(
        self, candidates: Sequence[Candidate], folder: Path | None, report: Report = silent
    ) -> Mapping[int, GivenUp]:
        """Leave each in its folder as `training.train` does; those that came to nothing, and why.

        Args:
            folder: for what the engine writes; every process can reach it.
        """
        ...


@dataclass(frozen=True)
class Workplace:
    """Where a fit keeps what it trains, whether it goes on with what is there, and who watches."""

    run: Path | None = None  # the run directory; None keeps everything in memory
    resume: bool = False
    report: Report = silent
    engine: Engine | None = None  # None trains in this process, one after the other
    team: Team = ALONE  # the processes that train every model together

    def folder(self, name: str) -> Path | None:
        """A folder of the run, made; None without a run."""
        if self.run is None:
            return None
        (self.run / name).mkdir(exist_ok=True)
        return self.run / name


@dataclass(frozen=True)
class Choice(Generic[AnyPosed]):
    """What validation took among several Configs."""

    problem: AnyPosed  # with the Config that was taken
    trained: Trained | None = None  # its model; None where there was nothing to choose from
    table: tuple[dict[str, Any], ...] = ()  # per candidate, see `choose`


def candidates(problem: Posed, tried: Sequence[BaseConfig] = ()) -> tuple[BaseConfig, ...]:
    """The Configs that validation is to choose from; one where nothing is left open.

    Args:
        tried: of a sweep, each of which may leave options open itself.
    """
    num_windows = len(problem.windows.starts("train"))
    each = [
        problem.model_class.candidates(config, num_windows) for config in tried or [problem.config]
    ]
    return tuple(dict.fromkeys(config for some in each for config in some))


def left_open(problem: Posed, configs: Sequence[BaseConfig]) -> list[str]:
    """Names of the options in which the candidates differ from what was asked."""
    asked = asdict(problem.config)
    tried = [asdict(config) for config in configs]
    return [name for name in asked if any(config[name] != asked[name] for config in tried)]


def settle(
    problem: AnyPosed, configs: Sequence[BaseConfig], seed: int, place: Workplace
) -> AnyPosed:
    """The problem with the candidate that does best on validation."""
    return choose(problem, configs, seed, place).problem


def choose(
    problem: AnyPosed, configs: Sequence[BaseConfig], seed: int, place: Workplace
) -> Choice[AnyPosed]:
    """Train every candidate and take the one with the lowest validation loss; no test bin is read.

    Returns:
        The choice. Its table has one entry per candidate, in order: "options" (those that
        candidates differ in), "validation" (its loss, None where training failed), "epoch" (the
        best), "chosen" and, where training failed, "reason".

    Raises:
        FitError: every candidate failed.
    """
    if len(configs) == 1:
        return Choice(_posed(problem, configs[0]))
    names = left_open(problem, configs)
    posed = _each_posed(problem, configs)
    out, place = _elsewhere(
        [(one, seed, place.folder(f"choice-{number}")) for number, one in enumerate(posed)], place
    )
    best: Trained | None = None
    best_number, table = -1, []
    error: FitError | None = None
    for number, config in enumerate(configs):
        place.report(Progress("choosing", number, len(configs), "candidates"))
        row: dict[str, Any] = {"options": {name: getattr(config, name) for name in names}}
        if number in out:
            table.append(row | asdict(out[number]))
            continue
        try:
            folder = place.folder(f"choice-{number}")
            trained = _train(posed[number], config, seed, folder, place)
        except FitError as failed:
            error = error or failed
            table.append(row | {"validation": None, "epoch": None, "reason": str(failed)})
            continue
        table.append(row | {"validation": trained.best, "epoch": trained.best_epoch})
        if best is None or trained.best < best.best:
            best, best_number = trained, number
    place.report(Progress("choosing", len(configs), len(configs), "candidates"))
    if best is None:
        why = error or out[0].reason
        raise FitError(f"All {len(configs)} candidates failed. The first: {why}") from error
    rows = tuple(row | {"chosen": number == best_number} for number, row in enumerate(table))
    return Choice(posed[best_number], best, rows)


def _each_posed(problem: AnyPosed, configs: Sequence[BaseConfig]) -> list[AnyPosed]:
    """The problem with each Config; those that cut windows alike share them."""
    by_spec: dict[Any, AnyPosed] = {}
    posed = []
    for config in configs:
        spec = problem.model_class.windows(config, problem.layout)
        if spec not in by_spec:
            by_spec[spec] = _posed(problem, config)
        posed.append(replace(by_spec[spec], config=config))
    return posed


def _posed(problem: AnyPosed, config: BaseConfig) -> AnyPosed:
    """The problem with another Config."""
    if isinstance(problem, Problem):
        return problem.with_config(config)  # type: ignore[return-value]
    return replace(problem, config=config)


def train_each(
    problem: Posed, seeds: Sequence[int], place: Workplace, first: Trained | None = None
) -> list[Trained]:
    """One trained model per seed; `first` is one of them, where it was trained to be chosen."""
    trained = []
    if len(seeds) > 1:
        others = [seed for seed in seeds if first is None or seed != first.seed]
        out, place = _elsewhere([(problem, s, place.folder(f"seed-{s}")) for s in others], place)
        if out:
            number, gone = next(iter(out.items()))
            raise FitError(f"Seed {others[number]}: {gone.reason}")
    for number, seed in enumerate(seeds):
        folder = place.run
        if len(seeds) > 1:
            place.report(Progress("seeds", number, len(seeds), "fits", {"seed": seed}))
        if first is not None and seed == first.seed:
            trained.append(first)
            continue
        if len(seeds) > 1:
            folder = place.folder(f"seed-{seed}")
        trained.append(_train(problem, problem.config, seed, folder, place))
    return trained


def predict_uncoupled(problem: Problem, seed: int, place: Workplace) -> np.ndarray | None:
    """(num_bins, N) predictions of the model that `train_uncoupled` trains; None without one."""
    trained = train_uncoupled(problem, seed, place)
    return None if trained is None else readout.predict(trained.model, problem.windows)


def train_uncoupled(problem: Posed, seed: int, place: Workplace) -> Trained | None:
    """The same model, seed and data, fitted with coupling off; it adopts nothing.

    None for a model that has no such option, or where it was switched off by hand.
    """
    if not getattr(problem.config, "coupling", False):
        return None
    config = replace(problem.config, coupling=False)  # type: ignore[call-arg]
    place.report(Progress("without coupling", 0, 1, "fits"))
    folder = place.folder("without-coupling")
    trained = _train(replace(problem, adopted=None), config, seed, folder, place)
    place.report(Progress("without coupling", 1, 1, "fits"))
    return trained


def _elsewhere(
    trainings: Sequence[tuple[Posed, int, Path | None]], place: Workplace
) -> tuple[Mapping[int, GivenUp], Workplace]:
    """Let the engine, if there is one, train these first; then all is in their folders."""
    if place.engine is None or not trainings:
        return {}, place
    candidates = []
    for problem, seed, folder in trainings:
        assert isinstance(problem.windows, Windows)  # joint fits take no engine
        candidates.append(
            Candidate(
                model_class=problem.model_class,
                config=problem.config,
                layout=problem.layout,
                windows=problem.windows.to("cpu"),
                seed=seed,
                folder=None if folder is None else folder.absolute(),
                adopted=None if problem.adopted is None else problem.adopted.state,
            )
        )
    out = place.engine.train(candidates, place.run, place.report)
    return out, replace(place, resume=True)


def _train(
    problem: Posed, config: BaseConfig, seed: int, folder: Path | None, place: Workplace
) -> Trained:
    return train(
        problem.model_class,
        config,
        problem.layout,
        problem.windows,
        seed=seed,
        device=problem.windows.device,
        folder=folder,
        resume=place.resume,
        adopted=None if problem.adopted is None else problem.adopted.state,
        team=place.team,
        report=place.report,
    )
