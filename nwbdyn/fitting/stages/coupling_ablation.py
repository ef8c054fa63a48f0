"""Ablation of the coupling: the same model and data, fitted without coupling, on the same bins."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from nwbdyn.evaluation import gain
from nwbdyn.fitting import train_models
from nwbdyn.fitting.assemble import Scored
from nwbdyn.fitting.stage import FitInputs, FitState
from nwbdyn.fitting.task import FitTask
from nwbdyn.fitting.train_models import RunContext
from nwbdyn.request import FitRequest
from nwbdyn.results.fit_results import Fit


@dataclass(frozen=True)
class CouplingAblation:
    """Section "coupling": what coupling adds to the score on test."""

    record: Mapping[str, Any]

    @classmethod
    def plan(cls, request: FitRequest, task: FitTask, inputs: FitInputs) -> Self | None:
        """None for a model without the option `coupling`, or where it is switched off."""
        return cls({}) if getattr(task.config, "coupling", False) else None

    def run(self, state: FitState, ctx: RunContext) -> Fit:
        """Train the ablated model with the first seed, and compare."""
        ablated = train_models.predict_without_coupling(state.task, state.request.seeds[0], ctx)
        return with_ablation(state.fit, state.scored, ablated)


def with_ablation(fit: Fit, scored: Scored, ablated: np.ndarray | None) -> Fit:
    """The fit with metrics["coupling"]; unchanged where `ablated` is None.

    Args:
        ablated: (num_bins, N) predictions of the first seed's model fitted without coupling.
    """
    if ablated is None:
        return fit
    compared = gain.of_coupling(scored.task, scored.predictions[0], ablated, scored.rivals)
    if len(fit.edges):
        compared["all_zero"] = gain.all_zero(fit.edges)
    return replace(fit, metrics=fit.metrics | {"coupling": compared})
