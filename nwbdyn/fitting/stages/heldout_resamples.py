"""Further sets of held-out neurons: the score of one set depends on the set as on the model.

Each set, in `draw-<k>` of the run directory, trains the same model with the options of the first
fit, as long as the first one needed for its best weights, and is scored beside its own baselines.
It starts from weights of its own: those of the first fit have seen the neurons that it now holds
out. It has no connectivity and chooses nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from nwbdyn.evaluation import heldout_resamples
from nwbdyn.evaluation.heldout_resamples import HeldoutResample
from nwbdyn.fitting import train_models
from nwbdyn.fitting.assemble import score_fit
from nwbdyn.fitting.stage import FitInputs, FitState, Stage, StageResult
from nwbdyn.fitting.task import FitTask, build_task, num_draws
from nwbdyn.fitting.train_models import RunContext
from nwbdyn.progress import Progress
from nwbdyn.recording import Note
from nwbdyn.request import FitRequest
from nwbdyn.results import run_directory

_ONE_SET = "the file says which neurons are held out, or the model holds out none"


@dataclass(frozen=True)
class HeldoutResamples(Stage):
    """Section "draws": mean test scores over sets of held-out neurons, with intervals."""

    number: int  # of sets, with that of the fit itself
    requested: int | None
    inputs: FitInputs

    refused_jointly: ClassVar[Mapping[str, str]] = {
        "heldout_resamples": "no neurons are held out of it"
    }

    @property
    def record(self) -> Mapping[str, Any]:
        """The number of sets, where there are several."""
        return {"draws": self.number} if self.number > 1 else {}

    @classmethod
    def plan(cls, request: FitRequest, task: FitTask, inputs: FitInputs) -> Self | None:
        """None if one set is all that is possible or requested."""
        requested = request.validation.heldout_resamples
        number = num_draws(requested, co_smoothing=task.co_smoothing, stated=task.held_out_stated)
        if number == 1 and (requested or 1) == 1:
            return None
        return cls(number, requested, inputs)

    def run(self, state: FitState, ctx: RunContext) -> StageResult:
        """Train and score every further set; their mean decides what beats the baselines."""
        if self.number == 1:
            reason = f"{self.requested} sets of held-out neurons were requested; {_ONE_SET}"
            note = Note("one-draw", state.fit.model, reason)
            return StageResult(notes=(note,))
        scored, seeds, data = state.scored, state.request.seeds, state.request.data
        longest = max(member.best_fraction for member in state.trained)
        sets = [
            heldout_resamples.of(
                scored.task, scored.mean.prediction, scored.baselines, scored.metrics
            )
        ]
        for k in range(1, self.number):
            ctx.report(Progress("draws", k, self.number, "sets of held-out neurons"))
            own = [seed + k * len(seeds) for seed in seeds]
            task = build_task(
                self.inputs.recording,
                state.request.model,
                seed=own[0],
                options=asdict(state.task.config) | {"stop_after": longest},
                device=state.task.windows.device,
                data=data,
            )
            folder = None if ctx.run is None else ctx.run / f"draw-{k}"
            sets.append(_fit_resample(task, own, replace(ctx, run=folder)))
        ctx.report(Progress("draws", self.number, self.number, "sets of held-out neurons"))
        return StageResult((heldout_resamples.together(sets),))


def _fit_resample(problem: FitTask, seeds: Sequence[int], ctx: RunContext) -> HeldoutResample:
    """Another draw: trained and scored, or read where that is done."""
    folder = ctx.run
    described = problem.described() | {"seed": seeds[0], "seeds": list(seeds)}

    def complete() -> Path | None:
        if folder is None:
            return None
        resumed = ctx.resume and run_directory.is_started(folder)
        return folder if run_directory.open_run(folder, described, resume=resumed) else None

    there = ctx.team.broadcast_from_rank0(complete)
    if there is not None:
        with np.load(there / run_directory.SUMS) as arrays:
            return HeldoutResample(run_directory.read_json(there, run_directory.METRICS), **arrays)
    trained = train_models.train_seeds(problem, seeds, ctx)
    scored = score_fit(problem, trained, splits=("val", "test"), report=ctx.report)
    draw = heldout_resamples.of(
        scored.task, scored.mean.prediction, scored.baselines, scored.metrics
    )
    if folder is not None:
        with (
            run_directory.atomic_write(folder / run_directory.SUMS) as partial,
            partial.open("wb") as file,
        ):
            np.savez(file, **draw.arrays)  # type: ignore[arg-type]  # numpy's stub means allow_pickle
        run_directory.write_json(folder, run_directory.METRICS, scored.metrics)
    return draw
