"""Gain from coupling: the fit compared with a model of the same bins without coupling.

For a model with a closed-form core (the default) that model is M1, a neuron's own dynamics, which
the core contains. For a published form it is the same model, trained again without coupling.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

from nwbdyn.evaluation import gain
from nwbdyn.fitting import train_models
from nwbdyn.fitting.stage import FitInputs, FitState, Stage, StageResult
from nwbdyn.fitting.task import FitTask
from nwbdyn.fitting.train_models import RunContext, TrainingTask
from nwbdyn.inference import readout
from nwbdyn.request import FitRequest
from nwbdyn.training import lower_rungs
from nwbdyn.training.trainer import Trained


@dataclass(frozen=True)
class CouplingAblation(Stage):
    """Section "coupling": what coupling adds to the score on test."""

    ablated: Trained | None = None  # the first seed's model fitted without coupling; core: None

    @classmethod
    def plan(cls, request: FitRequest, task: FitTask, inputs: FitInputs) -> Self | None:
        """None for a model without the option `coupling`, or where it is off."""
        return cls() if getattr(task.config, "coupling", False) else None

    def train(
        self,
        request: FitRequest,
        task: TrainingTask,
        trained: Sequence[Trained],
        ctx: RunContext,
    ) -> Self:
        """Train the ablated model with the first seed; a model with a core needs no training."""
        if lower_rungs.has_core(task.config):
            return self
        return replace(
            self, ablated=train_models.train_without_coupling(task, request.seeds[0], ctx)
        )

    def run(self, state: FitState, ctx: RunContext) -> StageResult:
        """Compare the first seed's prediction with the prediction without coupling."""
        if lower_rungs.has_core(state.task.config):
            name: str | None = gain.OWN_DYNAMICS
            ablated = state.scored.baselines[gain.OWN_DYNAMICS].prediction
        else:
            assert self.ablated is not None  # train
            name, ablated = None, readout.predict(self.ablated.model, state.task.windows)
        scored, edges = state.scored, state.fit.edges
        prediction = scored.predictions[0]
        compared = gain.of_coupling(
            scored.task, prediction, ablated, scored.baselines, name=name, edges=edges
        )
        return StageResult((compared,))
