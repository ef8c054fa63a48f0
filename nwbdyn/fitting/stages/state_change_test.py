"""Does coupling differ between states? `--states`, beside any next-bin model.

The test is of the activity itself (see `statistics.state_change`): regressions with own dynamics in
both arms, permutations over dwell blocks, gain and pattern apart. It uses every recorded bin; the
split only decides which predictions are scored.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd

from nwbdyn.connectivity import edge_table
from nwbdyn.data.splits import GAP, SPLITS
from nwbdyn.errors import ConfigError
from nwbdyn.fitting.stage import FitInputs, FitState, Stage, StageResult
from nwbdyn.fitting.task import FitTask
from nwbdyn.fitting.train_models import RunContext
from nwbdyn.progress import Progress
from nwbdyn.recording import COUNTS, Neurons, Note
from nwbdyn.request import FitRequest
from nwbdyn.results.sections.states import StateDifferences
from nwbdyn.statistics import states
from nwbdyn.statistics.significance import LEVEL
from nwbdyn.statistics.state_change import (
    NUM_PERMUTATIONS,
    StateChange,
    dwell_blocks,
    state_change,
)

MOST_NEURONS = 200  # above, permutations take an hour
HYPOTHESIS = (
    "coupling is the same in all states, whatever the own dynamics, the mean and the size of the "
    "noise in each ({number} permutations of states over dwell blocks)"
)


@dataclass(frozen=True)
class StateChangeTest(Stage):
    """Section "states" of the metrics, and edges that change with the state."""

    choice: str  # as it was requested
    table: pd.DataFrame  # of states, see `states.of_recording`

    refused_jointly: ClassVar[Mapping[str, str]] = {
        "states": "each recording has its own; fit each recording alone with it"
    }

    @property
    def record(self) -> Mapping[str, Any]:
        """The states, as they were requested."""
        return {"states": self.choice}

    @classmethod
    def plan(cls, request: FitRequest, task: FitTask, inputs: FitInputs) -> Self | None:
        """None without states, and for a fold.

        Raises:
            ConfigError: a co-smoothing model, too many neurons, or states that cannot be read.
            DataError: no such table, or a state with too few dwell blocks or bins.
        """
        choice = request.tests.states
        if choice is None or request.data.fold is not None:
            return None
        if task.co_smoothing:
            raise ConfigError(
                f"--states tests couplings to the next bin, and {task.name} has none. Fit "
                "netformer or synapsnet."
            )
        if task.binned.num_neurons > MOST_NEURONS:
            raise ConfigError(
                f"--states: {task.binned.num_neurons} neurons are more than the {MOST_NEURONS} "
                "that can be tested. Choose neurons with --where."
            )
        table = states.of_recording(inputs.recording, choice)
        dwell_blocks(*_inputs(task, table))
        return cls(choice, table)

    def run(self, state: FitState, ctx: RunContext) -> StageResult:
        """Test for a change of pattern and of gain, and every edge."""
        ctx.report(Progress("states", 0, 1, "tests"))
        result = tested(state, self.table)
        ctx.report(Progress("states", 1, 1, "tests"))
        return result


def tested(fitted: FitState, table: pd.DataFrame) -> StageResult:
    """Differences between states, edges of change, and notes on the split.

    Args:
        table: of states, see `states.of_recording`.
    """
    task = fitted.task
    values, segment, state, names = _inputs(task, table)
    change = state_change(values, segment, state, names, seed=fitted.fit.seed)
    edges = edge_table.combined([fitted.fit.edges, *tables_of(change, task.binned.neurons)])
    summary = summary_of(change, counts=task.binned.quantity == COUNTS)
    notes = list(parts_without(state, task.split.labels, names))
    if summary.why_not:
        reason = f"differences between states are not supported: {summary.why_not}"
        notes.append(Note("states-alike", "connectivity", reason))
    return StageResult((summary,), tuple(notes), edges)


def tables_of(change: StateChange, neurons: Neurons) -> list[pd.DataFrame]:
    """One table of edges per contrast of states; none where nothing was tested.

    Of two states one contrast, the second less the first; of more, each less all others.
    """
    if change.not_tested:
        return []
    names = change.names
    contrasts = {k: f"{name} - others" for k, name in enumerate(names)}
    if len(names) == 2:
        contrasts = {1: f"{names[1]} - {names[0]}"}
    tables = []
    for k, words in contrasts.items():
        size = np.abs(change.change[k]) / change.se[k]
        post, pre = edge_table.strongest(size, edge_table.MOST_EDGES // len(contrasts))
        statistics = {name: getattr(change, name)[k][post, pre] for name in ("se", "p", "q")}
        weight = change.change[k][post, pre].astype(np.float32)
        tables.append(
            edge_table.edge_table(neurons, post, pre, weight, lag=1, state=words, **statistics)
        )
    return tables


def summary_of(change: StateChange, *, counts: bool) -> StateDifferences:
    """p of pattern and gain, what is supported, and why not.

    "p" is twice the smaller of both, at most 1. Of counts a gain is not supported: a change of the
    rates changes it, too.
    """
    p = np.nan if change.not_tested else min(1.0, 2 * min(change.pattern_p, change.gain_p))
    gain = change.gain_changes and not counts
    edges = change.q[1] if len(change.names) == 2 else change.q
    return StateDifferences(
        names=list(change.names),
        p=p,
        pattern_p=change.pattern_p,
        gain_p=change.gain_p,
        pattern=change.pattern_changes,
        gain=gain,
        supported=change.pattern_changes or gain,
        why_not=_why_not(change, counts=counts),
        level=LEVEL,
        num_permutations=NUM_PERMUTATIONS,
        num_blocks=list(change.num_blocks),
        colour_p=change.colour_p.tolist(),
        num_edges=int(np.isfinite(change.change[0]).sum() - len(change.change[0])),
        num_significant=None if change.not_tested else int((edges <= LEVEL).sum()),
        hypothesis=HYPOTHESIS.format(number=NUM_PERMUTATIONS),
    )


def parts_without(state: np.ndarray, labels: np.ndarray, names: tuple[str, ...]) -> list[Note]:
    """A note for every state that training, validation or test holds no bin of.

    Args:
        state: (num_bins,) index into `names`, -1 for none.
        labels: (num_bins,) of the split.
    """
    notes = []
    for k, name in enumerate(names):
        there = {SPLITS[part] for part in np.unique(labels[state == k]) if part != GAP}
        missing = [part for part in SPLITS[:GAP] if part not in there]
        if missing:
            reason = (
                f"the split has no bin of state {name!r} in {' and '.join(missing)}; scores say "
                "less of it, and the test of states uses all bins"
            )
            notes.append(Note("state-in-one-part", "split", reason, important=True))
    return notes


def _why_not(change: StateChange, *, counts: bool) -> str:
    """Why no difference is supported; "" where one is."""
    if change.not_tested:
        return change.not_tested
    if change.pattern_changes or (change.gain_changes and not counts):
        return ""
    both = f"pattern p = {change.pattern_p:.2g}, gain p = {change.gain_p:.2g}"
    if change.gain_changes:
        return f"{both}; of spike counts a gain changes with the rate, too"
    return both


def _inputs(
    task: FitTask, table: pd.DataFrame
) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[str, ...]]:
    """The activity, its stretches, the state of every bin and the states' names."""
    binned = task.binned
    values = np.where(binned.valid[:, None], binned.values, np.nan).astype(np.float64)
    return values, binned.segment, states.at(table, binned.time), tuple(states.names(table))
