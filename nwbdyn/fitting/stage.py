"""The contract between the pipeline of a fit and its stages.

A stage adds one result to a fit after training: a control, a test, a repetition. The pipeline asks
every stage whether it applies before anything is trained, has each train its control models on all
recordings of the fit at once, and runs it on the fit of every recording.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import pandas as pd

from nwbdyn.connectivity.connectivity import Connectivity
from nwbdyn.fitting.assemble import Scored
from nwbdyn.fitting.task import FitTask
from nwbdyn.fitting.train_models import RunContext, TrainingTask
from nwbdyn.recording import Note, Recording, Source
from nwbdyn.request import FitRequest
from nwbdyn.results import fit_results
from nwbdyn.results.fit_results import Fit
from nwbdyn.results.sections.section import Section
from nwbdyn.training.trainer import Trained

Refit = Callable[[FitRequest], Mapping[str, Fit]]  # session -> Fit of the same recordings


@dataclass(frozen=True)
class FitInputs:
    """The open recording of one session of a fit, and the way to fit all of them again."""

    recording: Recording
    refit: Refit
    test_recording: Recording | None = None  # the test file of a benchmark pair


@dataclass(frozen=True)
class StageResult:
    """Result of one stage: sections of the metrics, notes and tables."""

    sections: tuple[Section, ...] = ()  # of metrics.json
    notes: tuple[Note, ...] = ()
    edges: pd.DataFrame | None = None  # the whole edge table; None: as it was
    groups: pd.DataFrame | None = None  # the table of cell types; None: as it was
    connectivity: Connectivity | None = None  # None: as it was
    sources: tuple[Source, ...] = ()  # further recordings whose data are in the fit

    @property
    def metrics(self) -> dict[str, Any]:
        """The sections as metrics.json holds them."""
        return {key: value for one in self.sections for key, value in one.metrics().items()}

    def added_to(self, fit: Fit) -> Fit:
        """The fit with this result."""
        metrics, notes = fit.metrics | self.metrics, (*fit.notes, *self.notes)
        fit = replace(fit, metrics=metrics, notes=notes)
        fit = fit_results.with_sources(fit, self.sources) if self.sources else fit
        if self.connectivity is not None:
            fit = replace(fit, connectivity=self.connectivity)
        if self.groups is not None:
            fit = replace(fit, groups=self.groups)
        if self.edges is None:
            return fit
        connectivity = replace(fit.connectivity, tested=self.edges)
        return replace(fit, edges=self.edges, connectivity=connectivity)


@dataclass(frozen=True)
class FitState:
    """The fit of one session on its way through the stages."""

    request: FitRequest
    task: FitTask
    trained: tuple[Trained, ...]  # one model per seed
    scored: Scored
    fit: Fit


class Stage(ABC):
    """One result that a fit may have beside its scores."""

    refused_jointly: ClassVar[Mapping[str, str]] = {}  # option -> why a joint fit cannot have it

    @property
    def record(self) -> Mapping[str, Any]:
        """Plain values that identify this stage in config.json; empty where nothing was chosen."""
        return {}

    @classmethod
    @abstractmethod
    def plan(cls, request: FitRequest, task: FitTask, inputs: FitInputs) -> Self | None:
        """The stage for this session, or None where it does not apply.

        Raises:
            ConfigError, DataError, ResultsError: the request cannot be met; nothing was trained.
        """

    def train(
        self,
        request: FitRequest,
        task: TrainingTask,
        trained: Sequence[Trained],
        ctx: RunContext,
    ) -> Self:
        """Train control models on all sessions of the task; return the stage that holds them.

        Every process of a team takes part. By default there is nothing to train.
        """
        return self

    @abstractmethod
    def run(self, state: FitState, ctx: RunContext) -> StageResult:
        """Compute the stage's sections of the metrics, its notes and its tables."""
