"""Coupling between pairs of cell types, with its intervals: the table `fit.groups`."""

from dataclasses import dataclass
from typing import Self

from nwbdyn.fitting.stage import FitInputs, FitState, Stage, StageResult
from nwbdyn.fitting.stages import surrogate_data
from nwbdyn.fitting.task import FitTask
from nwbdyn.fitting.train_models import RunContext
from nwbdyn.request import FitRequest
from nwbdyn.statistics import groups


@dataclass(frozen=True)
class CellTypePairs(Stage):
    """The table of cell types; it follows the stages that test edges."""

    @classmethod
    def plan(cls, request: FitRequest, task: FitTask, inputs: FitInputs) -> Self | None:
        """None without a null.

        Raises:
            ConfigError: a null of an unknown form.
        """
        return None if surrogate_data.requested(request) is None else cls()

    def run(self, state: FitState, ctx: RunContext) -> StageResult:
        """Means over pairs of types, with and without flagged edges."""
        return StageResult(groups=groups.table_of(state.fit))
