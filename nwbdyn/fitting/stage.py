"""The contract between the pipeline of a fit and its stages.

A stage adds one result to a fit after training: a control, a test, a repetition. The pipeline asks
every stage whether it applies before anything is trained, and runs those that do in their order.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, Self

from nwbdyn.fitting.assemble import Scored
from nwbdyn.fitting.task import FitTask
from nwbdyn.fitting.train_models import RunContext
from nwbdyn.recording import Recording
from nwbdyn.request import FitRequest
from nwbdyn.results.fit_results import Fit
from nwbdyn.training.trainer import Trained

Refit = Callable[[FitRequest], Fit]  # the same recording, fitted to another request


@dataclass(frozen=True)
class FitInputs:
    """Open recordings of a fit, and the way to fit them again."""

    recording: Recording
    refit: Refit
    test_recording: Recording | None = None  # the test file of a benchmark pair


@dataclass(frozen=True)
class FitState:
    """A trained fit on its way through the stages."""

    request: FitRequest
    task: FitTask
    trained: tuple[Trained, ...]  # one model per seed
    scored: Scored
    fit: Fit


class Stage(Protocol):
    """One result that a fit may have beside its scores."""

    @property
    def record(self) -> Mapping[str, Any]:
        """Plain values that identify this stage in config.json; empty where nothing was chosen."""

    @classmethod
    def plan(cls, request: FitRequest, task: FitTask, inputs: FitInputs) -> Self | None:
        """The stage for this fit, or None where it does not apply.

        Raises:
            ConfigError, DataError, ResultsError: the request cannot be met; nothing was trained.
        """

    def run(self, state: FitState, ctx: RunContext) -> Fit:
        """Return the fit with this stage's section of the metrics, its notes and its tables."""
