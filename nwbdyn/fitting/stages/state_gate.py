"""A(t) that follows the states: `--states`, where a fit is its closed-form core alone.

The test of states (`state_change_test`) says whether coupling differs, from permutations of the
states over dwell blocks. Here the difference is fitted on training bins as a rung above M2 (see
`baselines.ladder.gated`). A(t) has one matrix per state where that test supports a difference and
the rung also gains on validation. The predictions that are scored stay those of the fit.
"""

from dataclasses import asdict, dataclass, replace
from typing import Self

import numpy as np
import pandas as pd

from nwbdyn.baselines.ladder import Gain, is_above
from nwbdyn.baselines.ladder.climbing import data_of
from nwbdyn.baselines.ladder.gated import GatedCoupling, gated_coupling
from nwbdyn.baselines.ladder.selection import blocks, by_block
from nwbdyn.baselines.lagged_design import LaggedDesign
from nwbdyn.connectivity.connectivity import Connectivity
from nwbdyn.connectivity.forms import STATE_NAMES, STATES
from nwbdyn.data.windows import Windows
from nwbdyn.fitting.stage import FitInputs, FitState, Stage, StageResult
from nwbdyn.fitting.task import FitTask
from nwbdyn.fitting.train_models import RunContext
from nwbdyn.recording import COUNTS
from nwbdyn.request import FitRequest
from nwbdyn.results.sections.ladder import RungGain
from nwbdyn.results.sections.state_gate import StateMatrices
from nwbdyn.results.sections.states import StateDifferences
from nwbdyn.statistics import states
from nwbdyn.training import lower_rungs

NO_STATE = "no state"
MEASURE = (
    "mean change of the receiver's next value per unit of the sender's (input units), one matrix "
    "per state"
)


@dataclass(frozen=True)
class StateGate(Stage):
    """Section "state_gate" of the metrics, and A(t) with one matrix per state."""

    table: pd.DataFrame  # of states, see `states.of_recording`

    @classmethod
    def plan(cls, request: FitRequest, task: FitTask, inputs: FitInputs) -> Self | None:
        """None without states, for counts, and for a model without a core."""
        choice = request.tests.states
        if choice is None or request.data.fold is not None or task.is_joint:
            return None
        if task.binned.quantity == COUNTS or not lower_rungs.has_core(task.config):
            return None
        return cls(states.of_recording(inputs.recording, choice))

    def run(self, state: FitState, ctx: RunContext) -> StageResult:
        """Fit the difference between states, and decide whether A(t) follows them."""
        fit, windows = state.fit, state.task.windows
        names = tuple(states.names(self.table))
        of_bin = states.at(self.table, windows.binned.time)
        problem, gated = _fitted(windows, of_bin, len(names))
        tested = StateDifferences.from_metrics(fit.metrics)
        assert tested is not None  # StateChangeTest ran before
        reason = why_not(
            supported=tested.supported,
            above=gated.gain.above,
            constant=fit.connectivity.form == "static",
        )
        gains = (gated.gain, _gain_on_test(windows, problem, gated))
        section = StateMatrices(not reason, reason, *(RungGain(**asdict(one)) for one in gains))
        if reason:
            return StageResult((section,))
        followed = _following(fit.connectivity, windows, gated, of_bin, names)
        return StageResult((section,), connectivity=followed)


def why_not(*, supported: bool, above: bool, constant: bool) -> str:
    """Why A(t) does not follow the states; "" where it does."""
    if not constant:
        return "the model's own part is kept, which follows the activity"
    if not supported:
        return "the test of states supports no difference"
    return "" if above else "a difference between states does not gain on validation"


def _fitted(
    windows: Windows, of_bin: np.ndarray, num_states: int
) -> tuple[LaggedDesign, GatedCoupling]:
    """The rung of gated coupling on the windows' own bins.

    Args:
        of_bin: (num_bins,) number of the state, -1 for none.
    """
    problem = lower_rungs.design(windows)
    data = data_of(windows.binned, problem, None, windowed=False)
    first = 1 if num_states == 2 else 0  # of two states one is the other's opposite
    gates = (of_bin[:, None] == np.arange(first, num_states)).astype(float)
    below = windows.ladder["M2"].linear.astype(np.float64)
    return problem, gated_coupling(data, below, gates, of_bin >= 0)


def _gain_on_test(windows: Windows, problem: LaggedDesign, gated: GatedCoupling) -> Gain:
    """Decrease of the squared error on test by gated coupling, as a share of that without."""
    rows = windows.starts("test") + windows.spec.context
    observed = problem.targets(rows)
    below, above = ((observed - one[rows]) ** 2 for one in (gated.lower, gated.linear))
    gains = by_block(below - above, blocks(rows, 1)).sum(axis=1)
    return is_above(gains, scale=float(below.sum()))


def _following(
    constant: Connectivity,
    windows: Windows,
    gated: GatedCoupling,
    of_bin: np.ndarray,
    names: tuple[str, ...],
) -> Connectivity:
    """A(t) with one matrix per state; windows in no state have the constant matrix of the fit."""
    weight = np.asarray(constant.arrays["weight"], dtype=np.float64)
    assert windows.ladder is not None  # plan
    unit = windows.sd / lower_rungs.design(windows).sd
    last = np.asarray(constant.arrays["last"])
    changes = gated.weights * unit / unit[:, None]
    matrices = []
    for k in range(len(names)):
        (first, *_) = np.flatnonzero(of_bin == k)
        matrices.append(weight + np.tensordot(gated.gates[first], changes, axes=1))
    state = of_bin[last]
    if (state < 0).any():
        state = np.where(state < 0, len(names), state)
        matrices.append(weight)
        names = (*names, NO_STATE)
    arrays = {"weight": np.stack(matrices).astype(np.float32), "state": state.astype(np.int32)}
    return replace(
        constant,
        form=STATES,
        measure=MEASURE,
        arrays=arrays,
        attributes=constant.attributes | {STATE_NAMES: "\n".join(names)},
    )
