"""A(t) that follows slow change with time, where a fit is its closed-form core alone.

First, a test of training bins decides whether coupling is constant (`statistics.constancy`). If the
test rejects, a coupling that follows time is fitted as a rung above M2 (see
`baselines.ladder.following`). It is used where it gains in left-out parts of training. A(t) is then
estimated from all bins, because coupling at one time can only be estimated from the bins around it.
The predictions that are scored do not change.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Self

import numpy as np

from nwbdyn.baselines.ladder import is_above
from nwbdyn.baselines.ladder.climbing import data_of
from nwbdyn.baselines.ladder.following import (
    Form,
    Stretches,
    coupled_senders,
    course,
    follow,
    hats,
    knots_of,
    stretches,
)
from nwbdyn.baselines.ladder.selection import NUM_BLOCKS, by_block
from nwbdyn.baselines.ladder.steps import Data
from nwbdyn.connectivity.connectivity import Connectivity
from nwbdyn.connectivity.forms import BANDWIDTH, BASIS
from nwbdyn.data.windows import Windows
from nwbdyn.fitting.stage import FitInputs, FitState, Stage, StageResult
from nwbdyn.fitting.task import FitTask
from nwbdyn.fitting.train_models import RunContext
from nwbdyn.recording import COUNTS
from nwbdyn.request import FitRequest
from nwbdyn.results.sections.ladder import RungGain
from nwbdyn.results.sections.time_following import TimeFollowing
from nwbdyn.statistics.constancy import constancy
from nwbdyn.training import lower_rungs

MOST_NEURONS = 200  # above, moments of stretches need more memory than the recording
LEAST_STRETCHES = 24  # of training; below, no kernel can be chosen
MEASURE = (
    "mean change of the receiver's next value per unit of the sender's (input units), following "
    "slow change with time"
)


@dataclass(frozen=True)
class FollowTime(Stage):
    """Section "time_following" of the metrics, and A(t) as a sum over basis functions of time."""

    @classmethod
    def plan(cls, request: FitRequest, task: FitTask, inputs: FitInputs) -> Self | None:
        """None for a fold, a joint fit, counts, and a model without a core."""
        if request.data.fold is not None or task.is_joint:
            return None
        if task.binned.quantity == COUNTS or not lower_rungs.has_core(task.config):
            return None
        return cls()

    def run(self, state: FitState, ctx: RunContext) -> StageResult:
        """Test whether coupling is constant, and decide whether A(t) follows time."""
        fit, windows = state.fit, state.task.windows
        so_far = _Properties(fit.connectivity.form == "static", len(fit.connectivity.neurons))
        if reason := why_not(so_far):
            return StageResult((TimeFollowing(used=False, why_not=reason, changes=False),))
        problem = lower_rungs.design(windows)
        data = data_of(windows.binned, problem, None, windowed=False)
        one = _moments(windows, data, problem.train).centred()
        if reason := why_not(replace(so_far, num_stretches=len(one))):
            return StageResult((TimeFollowing(used=False, why_not=reason, changes=False),))
        tested = constancy(one, seed=fit.seed)
        if reason := why_not(replace(so_far, changes=tested.changes)):
            return StageResult(
                (TimeFollowing(used=False, why_not=reason, changes=False, p=tested.p),)
            )
        weights = windows.ladder["M2"].coupling
        senders = None if weights is None else coupled_senders(weights, one)
        chosen = follow(one, senders)
        reason = why_not(replace(so_far, above=chosen.gain.above))
        test = windows.starts("test") + windows.spec.context
        section = TimeFollowing(
            used=not reason,
            why_not=reason,
            changes=True,
            p=tested.p,
            bandwidth=chosen.form.width,
            gain=RungGain(**asdict(chosen.gain)),
            test_gain=_held_gain(one, _moments(windows, data, test), chosen.form, senders),
        )
        if reason:
            return StageResult((section,))
        every = _moments(windows, data, problem.rows)
        followed = _following(fit.connectivity, windows, every, chosen.form, senders)
        return StageResult((section,), connectivity=followed)


@dataclass(frozen=True)
class _Properties:
    """Properties of a fit that decide; None before they are computed."""

    constant: bool  # A(t) of the fit is constant
    num_neurons: int
    num_stretches: int | None = None  # of training
    changes: bool | None = None  # the test rejects a constant coupling
    above: bool | None = None  # coupling that follows time gains in left-out parts of training


def why_not(of: _Properties) -> str:
    """Why A(t) does not follow time; "" where it does, or where this is not known yet."""
    if not of.constant:
        return "A(t) follows the activity or the states"
    if of.num_neurons > MOST_NEURONS:
        return f"more than {MOST_NEURONS} neurons"
    if of.num_stretches is not None and of.num_stretches < LEAST_STRETCHES:
        return f"fewer than {LEAST_STRETCHES} stretches of training, each as many bins as neurons"
    if of.changes is False:
        return "the test does not reject a constant coupling"
    if of.above is False:
        return "D(t) gains nothing in left-out parts of training"
    return ""


def _moments(windows: Windows, data: Data, rows: np.ndarray) -> Stretches:
    """Moments of M2's residuals at some bins."""
    below = windows.ladder["M2"].linear.astype(np.float64)
    return stretches(data, below, rows, windows.binned.time)


def _held_gain(
    one: Stretches, test: Stretches, form: Form, senders: Sequence[np.ndarray] | None
) -> RungGain:
    """Gain on test of the coupling of the nearest training bins.

    Args:
        one: of training bins.
        test: of test bins; own terms follow time there, too.
    """
    knots = knots_of(one, form.width)
    changes = course(one, form, senders, knots).swapaxes(1, 2)
    gains = test.gains(np.tensordot(hats(test.centre, knots), changes, axes=1)) / one.noise
    number = min(NUM_BLOCKS, len(test))
    gained = by_block(gains, np.arange(len(test)) * number // len(test))
    scale = float((test.power / one.noise).sum())
    return RungGain(**asdict(is_above(gained.sum(axis=1), scale=scale)))


def _following(
    constant: Connectivity,
    windows: Windows,
    every: Stretches,
    form: Form,
    senders: Sequence[np.ndarray] | None,
) -> Connectivity:
    """A(t) as a sum over basis functions of time, each 1 at a knot and 0 at the others.

    Args:
        every: of all bins.
    """
    weight = np.asarray(constant.arrays["weight"], dtype=np.float64)
    unit = windows.sd / lower_rungs.design(windows).sd
    knots = knots_of(every, form.width)
    changes = course(every, form, senders, knots) * unit / unit[:, None]
    arrays = {
        "weight": (weight + changes).astype(np.float32),
        "basis": hats(constant.time, knots).astype(np.float32),
        "knots": knots,
    }
    return replace(
        constant,
        form=BASIS,
        measure=MEASURE,
        arrays=arrays,
        attributes=constant.attributes | {BANDWIDTH: form.width},
    )
