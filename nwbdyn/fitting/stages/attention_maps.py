"""Ablation and importance of attention maps, for models that mix neurons through such maps."""

from dataclasses import dataclass
from typing import Self

from nwbdyn.evaluation import map_ablation, scoring
from nwbdyn.evaluation.scoring import Task
from nwbdyn.fitting.stage import FitInputs, FitState, Stage, StageResult
from nwbdyn.fitting.task import FitTask
from nwbdyn.fitting.train_models import RunContext
from nwbdyn.inference import readout
from nwbdyn.request import FitRequest
from nwbdyn.results.sections.attention_maps import MapAblation
from nwbdyn.training.trainer import Trained


@dataclass(frozen=True)
class AttentionMaps(Stage):
    """Sections "necessity" and "importance": the test loss without the learned maps."""

    @classmethod
    def plan(cls, request: FitRequest, task: FitTask, inputs: FitInputs) -> Self | None:
        """None for a model without attention maps that can be replaced."""
        return cls() if task.model_class.ablations else None

    def run(self, state: FitState, ctx: RunContext) -> StageResult:
        """Score the seed with the best validation loss with its maps replaced and silenced."""
        best = min(state.trained, key=lambda member: member.best)
        needed = _loss_without_maps(state.task, best, state.scored.task)
        importance = map_ablation.scores(best.model, state.task.windows, state.scored.task)
        return StageResult((needed, importance))


def _loss_without_maps(problem: FitTask, trained: Trained, task: Task) -> MapAblation:
    """Loss of the test score for each replacement of the maps."""

    def score(maps: str | None = None) -> tuple[str, float]:
        prediction = readout.predict(trained.model, problem.windows, splits=["test"], maps=maps)
        return next(iter(scoring.scores(task, prediction)["test"].items()))

    metric, learned = score()
    several = len(problem.windows.starts("test")) > 1
    replacements = [m for m in problem.model_class.ablations if several or m != "shuffled"]
    loss = {maps: learned - score(maps)[1] for maps in replacements}
    return MapAblation(metric, "test", loss)
