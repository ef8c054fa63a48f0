"""Tests of hypotheses about the connectivity of a fit: `--null` and `--states`.

Of the recording, whether coupling and a change of gain help to predict at all (`nested_tests`). Of
every edge, whether it is stronger than in recordings without coupling (`edge_tests`); of A(t),
whether it predicts better than a constant (`static_control`); of behavioural states, whether
coupling differs between them (`state_test`); and means between cell types (`statistics.groups`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import pandas as pd

from nwbdyn.fitting.stage import FitInputs, FitState
from nwbdyn.fitting.stages import edge_tests, nested_tests, state_test, static_control
from nwbdyn.fitting.task import FitTask
from nwbdyn.fitting.train_models import RunContext
from nwbdyn.request import FitRequest
from nwbdyn.results.fit_results import Fit
from nwbdyn.statistics import groups
from nwbdyn.statistics import states as behaviour
from nwbdyn.statistics.surrogates import Null


@dataclass(frozen=True)
class HypothesisTests:
    """Sections "edges", "dynamics" and "states", and the table of cell types."""

    null: Null
    intervals: pd.DataFrame | None  # of the states, see `states.of_recording`
    record: Mapping[str, Any]

    @classmethod
    def plan(cls, request: FitRequest, task: FitTask, inputs: FitInputs) -> Self | None:
        """None without a null.

        Raises:
            ConfigError: a null or a table of states that this recording or model cannot have.
        """
        if request.tests.null is None:
            return None
        null, states = Null.parse(request.tests.null), request.tests.states
        intervals = None if states is None else behaviour.of_recording(inputs.recording, states)
        edge_tests.check(task, null)
        if intervals is not None:
            state_test.check(task, intervals, null.number)
        record = {"null": str(null)} | ({} if states is None else {"states": states})
        return cls(null, intervals, record)

    def run(self, state: FitState, ctx: RunContext) -> Fit:
        """Refit on surrogates, on halves of the data and with a constant A, and test."""
        task, first = state.task, state.trained[0]
        fit = edge_tests.with_edge_statistics(
            state.fit,
            task,
            state.trained,
            self.null,
            ctx,
            influence_windows=state.request.tests.influence_windows,
        )
        if not task.co_smoothing:
            fit = nested_tests.with_answers(fit, task, self.null.number, ctx.report)
        constant = static_control.train_static(task, first, ctx)
        fit = static_control.with_dynamics(fit, task, first, constant)
        if self.intervals is not None and constant is not None:
            fit = state_test.with_states(
                fit, task, first, constant, self.intervals, ctx, number=self.null.number
            )
        return groups.with_groups(fit)
