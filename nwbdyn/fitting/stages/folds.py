"""Cross-validation: the same fit on other test blocks, one run directory each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from nwbdyn.evaluation import scoring
from nwbdyn.fitting.stage import FitInputs, FitState, Refit, Stage, StageResult
from nwbdyn.fitting.task import FitTask
from nwbdyn.fitting.train_models import RunContext, TrainingTask
from nwbdyn.progress import Progress
from nwbdyn.request import FitRequest
from nwbdyn.results import run_directory
from nwbdyn.training.trainer import Trained


@dataclass(frozen=True)
class Folds(Stage):
    """Section "folds": mean and spread of the test scores of fits on interleaved blocks."""

    number: int
    refit: Refit
    parts: tuple[Mapping[str, Mapping[str, Any]], ...] = ()  # of each fold: session -> metrics

    @property
    def record(self) -> Mapping[str, Any]:
        """The number of folds."""
        return {"folds": self.number}

    @classmethod
    def plan(cls, request: FitRequest, task: FitTask, inputs: FitInputs) -> Self | None:
        """None where no folds are requested."""
        number = request.validation.folds
        return None if number is None else cls(number, inputs.refit)

    def train(
        self,
        request: FitRequest,
        task: TrainingTask,
        trained: Sequence[Trained],
        ctx: RunContext,
    ) -> Self:
        """Fit every fold with the first seed, in `fold-<k>` of the run directory."""
        parts = []
        for k in range(self.number):
            ctx.report(Progress("folds", k, self.number, "folds"))
            folder = None if ctx.run is None else ctx.run / f"fold-{k}"
            resumed = ctx.resume and folder is not None and run_directory.is_started(folder)
            fold = request.with_keywords(
                fold=(k, self.number),
                folds=None,
                seeds=1,
                heldout_resamples=None if task.is_joint else 1,
                null=None,
                states=None,
                targets=None,
                run=folder,
                resume=resumed,
                overwrite=False,
            )
            fits = self.refit(fold)
            parts.append({name: fit.metrics for name, fit in fits.items()})
            ctx.report(Progress("folds", k + 1, self.number, "folds"))
        return replace(self, parts=tuple(parts))

    def run(self, state: FitState, ctx: RunContext) -> StageResult:
        """Summarise the test scores of the session's folds."""
        session = state.task.windows.session
        return StageResult((scoring.over_folds([part[session] for part in self.parts]),))
