"""Control with a constant coupling: whether A(t) predicts better than a refit with a constant A.

A_t x_t is constrained by the data and A_t is not: any B_t with B_t x_t = 0 may be added. A constant
coupling under a drive that varies can look as if it changed, and freezing the mean of A is no test,
because the model was trained to use what is then taken away. So the same architecture is trained
again with an A that cannot see the activity, and both predict the test blocks. Unless A(t) is
better there, and better than the best baseline, differences over time and state are not supported.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import pandas as pd

from nwbdyn.connectivity import edge_table
from nwbdyn.connectivity.connectivity import Connectivity
from nwbdyn.evaluation import scoring
from nwbdyn.fitting import own_part
from nwbdyn.fitting.assemble import task_of
from nwbdyn.fitting.stage import FitInputs, FitState, Stage, StageResult
from nwbdyn.fitting.stages import surrogate_data
from nwbdyn.fitting.task import FitTask
from nwbdyn.fitting.train_models import RunContext, TrainingTask
from nwbdyn.inference import readout
from nwbdyn.progress import Progress
from nwbdyn.recording import Note
from nwbdyn.request import FitRequest
from nwbdyn.results.fit_results import Fit
from nwbdyn.results.sections.difference import Difference
from nwbdyn.results.sections.dynamics import CouplingChange
from nwbdyn.training import lower_rungs
from nwbdyn.training.trainer import Trained, train

MOST_WINDOWS = 500  # evenly spaced, over which the variance of edges is taken
MOST_NUMBERS = 2**24  # weights that are held at once


@dataclass(frozen=True)
class StaticControl(Stage):
    """Section "dynamics": A(t) against a refit with a constant A, where there is a null."""

    refit: Trained | None = None  # None for a model whose A is constant

    @classmethod
    def plan(cls, request: FitRequest, task: FitTask, inputs: FitInputs) -> Self | None:
        """None without a null.

        Raises:
            ConfigError: a null of an unknown form.
        """
        return None if surrogate_data.requested(request) is None else cls()

    def train(
        self,
        request: FitRequest,
        task: TrainingTask,
        trained: Sequence[Trained],
        ctx: RunContext,
    ) -> Self:
        """Train the refit, from the seed of the first model."""
        return replace(self, refit=train_static(task, trained[0], ctx))

    def run(self, state: FitState, ctx: RunContext) -> StageResult:
        """Compare the two on test."""
        return result_of(state.fit, state.task, state.trained[0], self.refit)


def result_of(fitted: Fit, problem: FitTask, own: Trained, refit: Trained | None) -> StageResult:
    """The section, and a note where differences over time are not supported.

    Args:
        own: the model of the first seed.
        refit: the same with a constant A, as `train_static` gives it.
    """
    edges = edge_table.directed(fitted.edges)
    share = static_share(fitted.connectivity, edges)
    static = None if refit is None else against_static(problem, own, refit)
    metrics: dict[str, Any] = fitted.metrics
    beats: bool | None = metrics["beats_baseline"]
    section = CouplingChange(
        static_share=share,
        state_share=None if share is None else 1 - share,
        static=static,
        baseline=metrics["primary"]["baseline"],
        against_baseline=against_baseline(metrics),
        beats_baseline=beats,
        supported=supported(static, beats),
        stable_over_seeds=_stable(edges, "sign_agreement"),
        stable_over_halves=_stable(edges, "half_split_agreement"),
    )
    if section.supported is not False:
        return StageResult((section,))
    reason = f"differences over time and state are not supported: {section.failed_criteria()}"
    return StageResult((section,), (Note("static-suffices", "connectivity", reason),))


def supported(static: Difference | None, beats: bool | None) -> bool | None:
    """True if a change of coupling may be reported: A(t) beats the constant refit and the baseline.

    Args:
        static: what A(t) adds to the refit; None where there is no refit.
        beats: whether the fit beats its best baseline, None where that is not decided.
    """
    return None if static is None else bool(static.above_zero and beats)


def against_baseline(metrics: Mapping[str, Any]) -> Difference | None:
    """Gain of a fit over its best baseline on test."""
    primary = metrics["primary"]
    metric, split, name = primary["metric"], primary["split"], primary["baseline"]
    if name is None:
        return None
    own, other = metrics["model"][split][metric], metrics["baselines"][name][split][metric]
    interval = metrics["intervals"]["difference"].get(split, {}).get(metric)
    return Difference(metric, split, own, other, own - other, interval)


def static_share(connectivity: Connectivity, edges: pd.DataFrame) -> float | None:
    """Sum over edges of mean(A)^2 over that of mean(A^2), over windows; None without a weight.

    Args:
        edges: those that count, see `connectivity.edge_table`.
    """
    windows = np.linspace(0, connectivity.num_windows - 1, MOST_WINDOWS).astype(int)
    mask = np.isin(np.arange(connectivity.num_windows), windows)
    step = max(1, MOST_NUMBERS // int(mask.sum()))
    constant = whole = 0.0
    for first in range(0, len(edges), step):
        part = edges.iloc[first : first + step]
        weights = connectivity.over_time(part["pre_id"], part["post_id"], mask=mask).to_numpy()
        weights = weights.astype(np.float64)  # (windows, edges)
        constant += float(np.square(weights.mean(axis=0)).sum())
        whole += float(np.square(weights).mean(axis=0).sum())
    return constant / whole if whole > 0 else None


def train_static(problem: TrainingTask, own: Trained, ctx: RunContext) -> Trained | None:
    """The same model, seed and data, with a constant A; on a core, the core alone.

    None for a model whose A is constant anyway, or that was fitted without coupling.
    """
    config = problem.config
    if not getattr(config, "own_part", True):
        return None
    if getattr(config, "static", True) or not getattr(config, "coupling", True):
        return None
    if lower_rungs.has_core(config):
        return own_part.core_alone(problem, own)
    ctx.report(Progress("constant coupling", 0, 1, "fits"))
    refit = train(
        problem.model_class,
        replace(config, static=True),  # type: ignore[call-arg]
        problem.layout,
        problem.windows,
        seed=own.seed,
        device=problem.windows.device,
        folder=ctx.folder("static"),
        resume=ctx.resume,
        report=ctx.report,
    )
    ctx.report(Progress("constant coupling", 1, 1, "fits"))
    return refit


def against_static(problem: FitTask, own: Trained, refit: Trained) -> Difference:
    """Gain of A(t) over the refit with a constant A on test."""
    ours, theirs = (readout.predict(one.model, problem.windows) for one in (own, refit))
    return scoring.paired_difference(task_of(problem), ours, theirs)


def _stable(edges: pd.DataFrame, column: str) -> float | None:
    """Share of edges for which everybody agrees on the sign."""
    if column not in edges or edges[column].isna().all():
        return None
    return float((edges[column] == 1).mean())
