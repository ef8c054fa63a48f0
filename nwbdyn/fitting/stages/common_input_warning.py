"""Warning of common input: what the neurons share beyond their couplings."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from nwbdyn.baselines.lagged_design import build_lagged_design
from nwbdyn.fitting.stage import FitInputs, FitState, Stage, StageResult
from nwbdyn.fitting.task import FitTask
from nwbdyn.fitting.train_models import RunContext
from nwbdyn.recording import Note
from nwbdyn.request import FitRequest
from nwbdyn.results.sections.common_input import CommonInput
from nwbdyn.statistics.common_input import MOST_NEURONS, common_input
from nwbdyn.statistics.rung_gains import climbed


@dataclass(frozen=True)
class CommonInputWarning(Stage):
    """Section "common_input" of the metrics, and a note above the limit."""

    @classmethod
    def plan(cls, request: FitRequest, task: FitTask, inputs: FitInputs) -> Self | None:
        """None for co-smoothing models, which use the other neurons of the same bin."""
        return None if task.co_smoothing else cls()

    def run(self, state: FitState, ctx: RunContext) -> StageResult:
        """Compare the residuals of M2 with independent residuals."""
        task = state.task
        if task.binned.num_neurons > MOST_NEURONS:
            return StageResult()
        binned, split, context = task.binned, task.split, task.spec.context
        if task.windows.ladder is None:
            problem, ladder = climbed(binned, split, context, 1, "M2")
        else:
            problem = build_lagged_design(binned, split, context, 1)
            ladder = task.windows.ladder
        measured = common_input(binned, problem, ladder)
        if measured is None:
            return StageResult()
        reason = measured.q_withheld_reason
        return StageResult((measured,), (Note("common-input", "edges", reason),) if reason else ())


def q_withheld_reason(metrics: Mapping[str, Any]) -> str:
    """Why the edges of a fit have no q; "" without common input, or where it was not measured.

    Args:
        metrics: with the section "common_input".
    """
    measured = CommonInput.from_metrics(metrics)
    return "" if measured is None else measured.q_withheld_reason
