"""Tests of hypotheses about the connectivity of a fit: `--null` and `--states`.

Of the recording, whether coupling and a change of gain help to predict at all (`nested_tests`). Of
every edge, whether it is stronger than in recordings without coupling (`edge_tests`); of A(t),
whether it predicts better than a constant (`static_control`); of behavioural states, whether
coupling differs between them (`state_test`); and means between cell types (`statistics.groups`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

import pandas as pd

from nwbdyn.fitting.stage import FitInputs, FitState, Stage
from nwbdyn.fitting.stages import edge_tests, nested_tests, state_test, static_control
from nwbdyn.fitting.task import FitTask
from nwbdyn.fitting.train_models import RunContext, TrainingTask
from nwbdyn.request import FitRequest
from nwbdyn.results.fit_results import Fit
from nwbdyn.statistics import groups
from nwbdyn.statistics import states as behaviour
from nwbdyn.statistics.significance import NullSamples
from nwbdyn.statistics.surrogates import Null
from nwbdyn.training.trainer import Trained


@dataclass(frozen=True)
class HypothesisTests(Stage):
    """Sections "edges", "dynamics" and "states", and the table of cell types."""

    null: Null
    states: str | None = None  # "TABLE:COLUMN" or "TABLE"
    intervals: pd.DataFrame | None = None  # of the states, see `states.of_recording`
    samples: Mapping[str, NullSamples] = field(default_factory=dict)  # session -> its refits
    constant: Trained | None = None  # refit with a constant A, where the model has another

    refused_jointly: ClassVar[Mapping[str, str]] = {
        "states": "each recording has its own; fit each recording alone with it"
    }

    @property
    def record(self) -> Mapping[str, Any]:
        """The null and the states, as they were requested."""
        return {"null": str(self.null)} | ({} if self.states is None else {"states": self.states})

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
        return cls(null, states, intervals)

    def train(
        self,
        request: FitRequest,
        task: TrainingTask,
        trained: Sequence[Trained],
        ctx: RunContext,
    ) -> Self:
        """Refit on surrogates, on halves of the data and with a constant A."""
        samples = edge_tests.collect_each(
            task,
            trained,
            self.null,
            ctx,
            seed=request.seeds[0],
            influence_windows=request.tests.influence_windows,
        )
        constant = static_control.train_static(task, trained[0], ctx)
        return replace(self, samples=samples, constant=constant)

    def run(self, state: FitState, ctx: RunContext) -> Fit:
        """Test the edges, the change of coupling and its states."""
        task, first, constant = state.task, state.trained[0], self.constant
        fit = edge_tests.with_evidence(state.fit, task, self.samples[task.windows.session])
        if not task.co_smoothing:
            fit = nested_tests.with_answers(fit, task, self.null.number, ctx.report)
        fit = static_control.with_dynamics(fit, task, first, constant)
        if self.intervals is not None and constant is not None:
            fit = state_test.with_states(
                fit, task, first, constant, self.intervals, ctx, number=self.null.number
            )
        return groups.with_groups(fit)
