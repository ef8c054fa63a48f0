"""Gain from coupling: the fit compared with a model of the same bins without coupling.

For a model with a closed-form core (the default) that model is M1, a neuron's own dynamics, which
the core contains. For a published form it is the same model, trained again without coupling.
"""

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

    def run(self, state: FitState, ctx: RunContext) -> Fit:
        """Compare the first seed's prediction with the prediction without coupling."""
        if lower_rungs.has_core(state.task.config):
            ablated = state.scored.baselines[gain.OWN_DYNAMICS].prediction
            return with_ablation(state.fit, state.scored, ablated, name=gain.OWN_DYNAMICS)
        if self.ablated is None:
            return state.fit
        ablated = readout.predict(self.ablated.model, state.task.windows)
        return with_ablation(state.fit, state.scored, ablated)


def with_ablation(fit: Fit, scored: Scored, ablated: np.ndarray, *, name: str = "") -> Fit:
    """Fit with the section "coupling" in its metrics.

    Args:
        ablated: (num_bins, N) predictions without coupling.
        name: the baseline that made these predictions; "" for a refit.
    """
    compared = gain.of_coupling(scored.task, scored.predictions[0], ablated, scored.baselines)
    if name:
        compared["baseline"] = name
    if len(fit.edges):
        compared["all_zero"] = gain.all_zero(fit.edges)
    return replace(fit, metrics=fit.metrics | {"coupling": compared})
