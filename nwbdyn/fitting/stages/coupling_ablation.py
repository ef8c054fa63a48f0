"""Ablation of the coupling: the same model and data, fitted without coupling, on the same bins."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from nwbdyn.evaluation import gain
from nwbdyn.fitting import train_models
from nwbdyn.fitting.assemble import Scored
from nwbdyn.fitting.stage import FitInputs, FitState, Stage
from nwbdyn.fitting.task import FitTask
from nwbdyn.fitting.train_models import RunContext, TrainingTask
from nwbdyn.inference import readout
from nwbdyn.request import FitRequest
from nwbdyn.results.fit_results import Fit
from nwbdyn.training import lower_rungs
from nwbdyn.training.trainer import Trained


@dataclass(frozen=True)
class CouplingAblation(Stage):
    """Section "coupling": what coupling adds to the score on test."""

    ablated: Trained | None = None  # the first seed's model fitted without coupling

    @classmethod
    def plan(cls, request: FitRequest, task: FitTask, inputs: FitInputs) -> Self | None:
        """None for a model without the option `coupling`, where it is off, or on a core."""
        if lower_rungs.has_core(task.config):
            return None
        return cls() if getattr(task.config, "coupling", False) else None

    def train(
        self,
        request: FitRequest,
        task: TrainingTask,
        trained: Sequence[Trained],
        ctx: RunContext,
    ) -> Self:
        """Train the ablated model with the first seed."""
        return replace(
            self, ablated=train_models.train_without_coupling(task, request.seeds[0], ctx)
        )

    def run(self, state: FitState, ctx: RunContext) -> Fit:
        """Compare the first seed's prediction with that of the ablated model."""
        if self.ablated is None:
            return state.fit
        ablated = readout.predict(self.ablated.model, state.task.windows)
        return with_ablation(state.fit, state.scored, ablated)


def with_ablation(fit: Fit, scored: Scored, ablated: np.ndarray) -> Fit:
    """The fit with metrics["coupling"].

    Args:
        ablated: (num_bins, N) predictions of the first seed's model fitted without coupling.
    """
    compared = gain.of_coupling(scored.task, scored.predictions[0], ablated, scored.baselines)
    if len(fit.edges):
        compared["all_zero"] = gain.all_zero(fit.edges)
    return replace(fit, metrics=fit.metrics | {"coupling": compared})
