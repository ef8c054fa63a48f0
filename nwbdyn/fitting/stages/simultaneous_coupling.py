"""Simultaneous couplings beside the directed ones: which pairs act within one bin.

Most imaging is slower than synapses, so a next-bin model misses couplings that act within a frame.
They are undirected, a kind of their own in the edge table, and use every recorded bin: nothing of
them is scored on test. With a null of 10 surrogates or more they have a null and q of their own.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd

from nwbdyn.connectivity import edge_table
from nwbdyn.errors import DataError
from nwbdyn.fitting.stage import FitInputs, FitState, Stage, StageResult
from nwbdyn.fitting.task import FitTask
from nwbdyn.fitting.train_models import RunContext
from nwbdyn.progress import Progress
from nwbdyn.recording import COUNTS, Neurons, Note
from nwbdyn.request import FitRequest
from nwbdyn.results.sections.simultaneous import SimultaneousPairs
from nwbdyn.statistics import artefacts
from nwbdyn.statistics.significance import LEVEL
from nwbdyn.statistics.simultaneous import (
    FEWEST_SURROGATES,
    SimultaneousCouplings,
    simultaneous_couplings,
)
from nwbdyn.statistics.surrogates import Null

MOST_NEURONS = 400  # above, choosing the signal takes minutes


@dataclass(frozen=True)
class SimultaneousCoupling(Stage):
    """Edges of the kind "simultaneous", and section "simultaneous" of the metrics."""

    num_surrogates: int  # 0: no test

    @classmethod
    def plan(cls, request: FitRequest, task: FitTask, inputs: FitInputs) -> Self | None:
        """None for co-smoothing models, whose bins see themselves, and for a fold."""
        if task.co_smoothing or request.data.fold is not None:
            return None
        return cls(num_surrogates(request.tests.null))

    def run(self, state: FitState, ctx: RunContext) -> StageResult:
        """Estimate the couplings, and test them where there is a null."""
        ctx.report(Progress("simultaneous coupling", 0, 1, "fits"))
        result = estimated(state, self.num_surrogates)
        ctx.report(Progress("simultaneous coupling", 1, 1, "fits"))
        return result


def num_surrogates(null: str | None) -> int:
    """The surrogates of a null, where they are enough for a test; else 0."""
    number = 0 if null is None else Null.parse(null).number
    return number if number >= FEWEST_SURROGATES else 0


def estimated(state: FitState, num_surrogates: int) -> StageResult:
    """Simultaneous edges of a recording; a note instead where there can be none."""
    binned = state.task.binned
    if binned.num_neurons > MOST_NEURONS:
        return _without(
            f"{binned.num_neurons} neurons are more than the {MOST_NEURONS} whose simultaneous "
            "couplings are computed; choose neurons with --where",
        )
    values = np.where(binned.valid[:, None], binned.values, np.nan).astype(np.float64)
    try:
        fitted = simultaneous_couplings(
            values,
            binned.segment,
            num_surrogates=num_surrogates,
            thresholded=False if binned.quantity == COUNTS else None,
            seed=state.fit.seed,
        )
    except DataError as error:
        return _without(f"no simultaneous couplings: {error}")
    edges = edge_table.combined([state.fit.edges, table_of(fitted, binned.neurons)])
    return StageResult((summary_of(fitted),), edges=edges)


def table_of(fitted: SimultaneousCouplings, neurons: Neurons) -> pd.DataFrame:
    """One row per pair, the neuron that comes first in the recording as `pre`."""
    upper = np.triu(np.ones(fitted.weight.shape, dtype=bool), 1)
    pre, post = edge_table.strongest(np.where(upper, np.abs(fitted.weight), -1.0), upper.sum())
    pre, post = pre[: edge_table.MOST_EDGES], post[: edge_table.MOST_EDGES]
    flags, _ = artefacts.flags(neurons, None)  # coincidence is the signal here
    return edge_table.edge_table(
        neurons,
        post,
        pre,
        fitted.weight[post, pre].astype(np.float32),
        kind=edge_table.SIMULTANEOUS,
        lag=edge_table.WITHIN_BIN,
        **{
            name: getattr(fitted, name)[post, pre].astype(np.float32 if name == "se" else float)
            for name in ("se", "p", "q")
        },
        flags=flags[post, pre],
    )


def summary_of(fitted: SimultaneousCouplings) -> SimultaneousPairs:
    """The signal that was chosen, the null and how many pairs pass it."""
    q, tested = fitted.q[np.triu_indices(len(fitted.q), 1)], bool(fitted.num_surrogates)
    return SimultaneousPairs(
        num_pairs=len(q),
        num_significant=int((q <= LEVEL).sum()) if tested else None,
        level=LEVEL,
        num_surrogates=fitted.num_surrogates,
        hypothesis=fitted.hypothesis if tested else "",
        signal=fitted.chosen,
    )


def _without(reason: str) -> StageResult:
    return StageResult(notes=(Note("no-simultaneous", "edges", reason),))
