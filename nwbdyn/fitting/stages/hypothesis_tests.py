"""Tests of hypotheses about the connectivity of a fit: `--null`.

Of the recording, whether coupling and a change of gain help to predict at all (`nested_tests`). Of
every edge, whether it is stronger than in recordings without coupling (`lagged_coupling`; of a
co-smoothing model, by refits: `edge_tests`); of A(t), whether it predicts better than a constant
(`static_control`); and means between cell types (`statistics.groups`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

from nwbdyn.fitting.stage import FitInputs, FitState, Stage, StageResult
from nwbdyn.fitting.stages import edge_tests, lagged_coupling, nested_tests, static_control
from nwbdyn.fitting.task import FitTask
from nwbdyn.fitting.train_models import RunContext, TrainingTask
from nwbdyn.request import FitRequest
from nwbdyn.results.sections.dynamics import CouplingChange
from nwbdyn.results.sections.edges import EdgeTests
from nwbdyn.results.sections.nested import NestedTests
from nwbdyn.statistics import groups
from nwbdyn.statistics.significance import NullSamples
from nwbdyn.statistics.surrogates import JITTER, Null
from nwbdyn.training.trainer import Trained


@dataclass(frozen=True)
class HypothesisTests(Stage):
    """Sections "edges" and "dynamics", and the table of cell types."""

    null: Null
    samples: Mapping[str, NullSamples] = field(default_factory=dict)  # session -> refits
    constant: Trained | None = None  # refit with a constant A, where the model has another

    @property
    def record(self) -> Mapping[str, Any]:
        """The null, as it was requested."""
        return {"null": str(self.null)}

    @classmethod
    def plan(cls, request: FitRequest, task: FitTask, inputs: FitInputs) -> Self | None:
        """None without a null, and for jitter (see `spike_coupling`).

        Raises:
            ConfigError: a null that this recording or model cannot have.
        """
        if request.tests.null is None:
            return None
        null = Null.parse(request.tests.null)
        if null.kind == JITTER:
            return None
        edge_tests.check(task, null)
        if not task.co_smoothing:
            lagged_coupling.check(task)
        return cls(null)

    def train(
        self,
        request: FitRequest,
        task: TrainingTask,
        trained: Sequence[Trained],
        ctx: RunContext,
    ) -> Self:
        """Refit a co-smoothing model on surrogates and halves of the data, another with constant A.

        Edges of a next-bin model need no training.
        """
        samples: Mapping[str, NullSamples] = {}
        if any(one.co_smoothing for one in task.sessions.values()):
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

    def run(self, state: FitState, ctx: RunContext) -> StageResult:
        """Test the edges and the change of coupling."""
        task, first, constant = state.task, state.trained[0], self.constant
        if task.co_smoothing:
            fit = edge_tests.with_evidence(state.fit, task, self.samples[task.windows.session])
        else:
            fit = lagged_coupling.with_lagged_couplings(state.fit, task, self.null, ctx.report)
            fit = nested_tests.with_answers(fit, task, self.null.number, ctx.report)
        fit = static_control.with_dynamics(fit, task, first, constant)
        fit = groups.with_groups(fit)
        sections = [
            kind.from_metrics(fit.metrics) for kind in (EdgeTests, NestedTests, CouplingChange)
        ]
        return StageResult(
            sections=tuple(one for one in sections if one is not None),
            notes=fit.notes[len(state.fit.notes) :],
            edges=fit.edges,
            groups=fit.groups,
        )
