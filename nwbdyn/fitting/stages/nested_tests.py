"""Nested questions of a recording: does coupling help to predict, does the gain change?

Each question compares two rungs of the `baselines.ladder` on test bins: additive coupling is M2
against M1, a change of gain M4 against M3. The gain has to exceed two standard errors over blocks.
If it does, the same two rungs are fitted to rotated recordings, in which every neuron is shifted in
time by itself: what is found there is no coupling. Only a gain above all rotations is supported. A
block test alone finds "coupling" between independent neurons.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from nwbdyn.baselines.ladder import Gain
from nwbdyn.data.binning import Binned
from nwbdyn.data.splits import Split
from nwbdyn.errors import DataError
from nwbdyn.fitting.stage import FitInputs, FitState, Stage, StageResult
from nwbdyn.fitting.stages import surrogate_data
from nwbdyn.fitting.task import FitTask
from nwbdyn.fitting.train_models import RunContext
from nwbdyn.progress import Progress, Report, silent
from nwbdyn.recording import COUNTS
from nwbdyn.request import FitRequest
from nwbdyn.results.sections.nested import NestedTest, NestedTests, Sensitivity
from nwbdyn.statistics import surrogates
from nwbdyn.statistics.rung_gains import (
    QUESTIONS,
    REQUIRED_ERRORS,
    climbed,
    gain_on_test,
    sensitivity,
)

ROTATIONS = 19  # exceeding all of them has a chance of .05 without coupling


@dataclass(frozen=True)
class NestedQuestions(Stage):
    """Section "nested" of a next-bin model."""

    num_rotations: int

    @classmethod
    def plan(cls, request: FitRequest, task: FitTask, inputs: FitInputs) -> Self | None:
        """None without a null, and for co-smoothing models.

        Raises:
            ConfigError: a null of an unknown form.
        """
        null = surrogate_data.requested(request)
        return None if null is None or task.co_smoothing else cls(null.number)

    def run(self, state: FitState, ctx: RunContext) -> StageResult:
        """Answer every question on test bins."""
        task = state.task
        result = answers(
            task.binned,
            task.split,
            context=task.spec.context,
            num_rotations=self.num_rotations,
            report=ctx.report,
        )
        return StageResult((section_of(result, counts=task.binned.quantity == COUNTS),))


@dataclass(frozen=True)
class Answer:
    """One question, answered on test bins."""

    question: str  # "coupling" or "gain"
    rungs: tuple[str, str]  # the rung, and the one it has to improve on
    gain: Gain | None  # on test; None where no test bin is predicted
    rotations: tuple[float, ...]  # mean gain in each rotated recording; empty: not needed
    supported: bool
    reason: str  # why it is not supported; "" where it is
    sensitivity: Sensitivity | None = None  # of coupling, where the block test passes


def answers(
    binned: Binned,
    split: Split,
    *,
    context: int,
    horizon: int = 1,
    num_rotations: int = ROTATIONS,
    seed: int = 0,
    report: Report = silent,
) -> dict[str, Answer]:
    """Answer every question of `QUESTIONS`.

    Args:
        context: bins of history.
        horizon: bins ahead.
        num_rotations: 19 or more for a level of .05.
        seed: of the rotations.

    Raises:
        DataError: no training or no validation bin has such a history.
    """
    problem, ladder = climbed(binned, split, context, horizon, "M4")
    observed = {name: gain_on_test(binned, split, problem, ladder, name) for name in QUESTIONS}
    tested = {name for name, gain in observed.items() if gain is not None and gain.above}
    rotations: dict[str, list[float]] = {name: [] for name in QUESTIONS}
    refused = ""
    for number in range(num_rotations if tested else 0):
        report(Progress("rotations", number, num_rotations, "fits"))
        try:
            other = rotated(binned, split, seed + number, least=context + horizon)
            again, rungs = climbed(
                other, split, context, horizon, "M4" if "gain" in tested else "M2"
            )
        except DataError as error:
            refused = f"no rotation could be made: {error}"
            break
        for name in tested:
            gain = gain_on_test(other, split, again, rungs, name)
            rotations[name].append(0.0 if gain is None else gain.mean)
    result = {
        name: answer(name, observed[name], tuple(rotations[name]), refused=refused)
        for name in QUESTIONS
    }
    if "coupling" in tested:
        beside = sensitivity(binned, split, problem, ladder, context=context, horizon=horizon)
        result["coupling"] = replace(result["coupling"], sensitivity=beside)
    return result


def answer(
    question: str, gain: Gain | None, rotations: tuple[float, ...], *, refused: str = ""
) -> Answer:
    """Decide one question from its gain and those of rotated recordings."""
    rungs = QUESTIONS[question]
    if gain is None:
        reason = "no test bin is predicted"
    elif gain.num_blocks < 2:
        reason = "the test bins are too few for a standard error"
    elif not gain.above:
        reason = (
            f"{rungs[0]} improves on {rungs[1]} by {gain.mean:+.4f} +- {gain.error:.4f}, "
            f"not by {REQUIRED_ERRORS:g} standard errors"
        )
    elif refused or not rotations:
        reason = refused or "no rotated recording was fitted"
    elif gain.mean <= max(rotations):
        higher = sum(one >= gain.mean for one in rotations)
        reason = f"{higher} of {len(rotations)} rotated recordings gain as much"
    elif len(rotations) < ROTATIONS:
        reason = (
            f"{len(rotations)} rotated recordings were fitted; a level of .05 takes {ROTATIONS}"
        )
    else:
        reason = ""
    return Answer(question, rungs, gain, rotations, not reason, reason)


def rotated(binned: Binned, split: Split, seed: int, *, least: int = 1) -> Binned:
    """The recording with every neuron shifted in time by itself, inside each part of the split.

    Args:
        least: bins between a neuron's new and old time.

    Raises:
        DataError: a split has no unbroken stretch of 2 * least bins.
    """
    return surrogates.shift(binned, split, least=least, random=np.random.default_rng(seed))


def section_of(result: Mapping[str, Answer], *, counts: bool) -> NestedTests:
    """Answers as the section "nested" of the metrics."""
    return NestedTests(**{name: _section_of(one, counts=counts) for name, one in result.items()})


def _section_of(one: Answer, *, counts: bool) -> NestedTest:
    return NestedTest(
        rungs=one.rungs,
        gain=None if one.gain is None else one.gain.mean,
        error=None if one.gain is None else one.gain.error,
        unit="bits per spike" if counts else "of the squared error",
        num_blocks=0 if one.gain is None else one.gain.num_blocks,
        rotations=one.rotations,
        supported=one.supported,
        reason=one.reason,
        sensitivity=one.sensitivity,
    )
