"""Few-shot score: how far a model's held-in rates carry to neurons that it never saw."""

from dataclasses import dataclass
from typing import Self

from nwbdyn.evaluation import held_out_neurons
from nwbdyn.fitting.stage import FitInputs, FitState, Stage, StageResult
from nwbdyn.fitting.task import FitTask
from nwbdyn.fitting.train_models import RunContext
from nwbdyn.request import FitRequest


@dataclass(frozen=True)
class FewShot(Stage):
    """Section "few_shot" of a model of held-out neurons."""

    @classmethod
    def plan(cls, request: FitRequest, task: FitTask, inputs: FitInputs) -> Self | None:
        """None for a model of the next bin."""
        return cls() if task.co_smoothing else None

    def run(self, state: FitState, ctx: RunContext) -> StageResult:
        """Fit a regression from the predicted rates to each held-out neuron, and score it."""
        scored = state.scored
        section = held_out_neurons.few_shot(
            scored.task, state.task.windows, scored.mean.prediction, scored.baselines
        )
        return StageResult(() if section is None else (section,))
