"""The same fit again: on other test blocks, and with other neurons held out.

A fold is a fit of its own, in `fold-<k>` of the first one's run directory. A further draw of
held-out neurons, in `draw-<k>`, trains the same model with the options that the first one settled
on, and is scored beside its own baselines. No connectivity is read from it, and it chooses nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from nwbdyn.evaluation import heldout_resamples, scoring
from nwbdyn.evaluation.heldout_resamples import HeldoutResample
from nwbdyn.fitting import train_models
from nwbdyn.fitting.assemble import Scored, score_fit
from nwbdyn.fitting.task import FitTask
from nwbdyn.fitting.train_models import RunContext
from nwbdyn.progress import Progress
from nwbdyn.results import run_directory
from nwbdyn.results.fit_results import Fit

Refit = Callable[..., Fit]  # of the same recording and choices, but for the keywords it is given


def add_folds(fitted: Fit, refit: Refit, folds: int, place: RunContext) -> Fit:
    """The fit, with mean and spread of the test scores of `folds` fits on interleaved blocks."""
    parts = []
    for k in range(folds):
        place.report(Progress("folds", k, folds, "folds"))
        folder = None if place.run is None else place.run / f"fold-{k}"
        resumed = place.resume and folder is not None and run_directory.is_started(folder)
        part = refit(run=folder, resume=resumed, seed=fitted.seed, fold=(k, folds))
        parts.append(part.metrics)
        place.report(Progress("folds", k + 1, folds, "folds"))
    return replace(fitted, metrics=fitted.metrics | {"folds": scoring.over_folds(parts)})


def add_heldout_resamples(
    fitted: Fit,
    scored: Scored,
    again: Callable[..., FitTask],
    number: int,
    seeds: Sequence[int],
    place: RunContext,
) -> Fit:
    """The fit, with the mean of its test scores over draws of held-out neurons (`draws.together`).

    Whether it beats its baselines is then what that mean says.

    Args:
        scored: the scores of the fit, the first draw.
        again: poses the same problem with another `seed`.
        number: of draws, with the first one.
        seeds: of the fit; draw k has as many, from the first one after those of draw k - 1 on.
    """
    found = [
        heldout_resamples.of(scored.task, scored.mean.prediction, scored.rivals, scored.metrics)
    ]
    for k in range(1, number):
        place.report(Progress("draws", k, number, "draws of held-out neurons"))
        own = [seed + k * len(seeds) for seed in seeds]
        folder = None if place.run is None else place.run / f"draw-{k}"
        found.append(_fit_resample(again(seed=own[0]), own, replace(place, run=folder)))
    place.report(Progress("draws", number, number, "draws of held-out neurons"))
    told = heldout_resamples.together(found)
    more = {"draws": told, "beats_baseline": told["beats"]}
    return replace(fitted, metrics=fitted.metrics | more)


def _fit_resample(problem: FitTask, seeds: Sequence[int], place: RunContext) -> HeldoutResample:
    """Another draw: trained and scored, or read where that is done."""
    folder = place.run
    described = problem.described() | {"seed": seeds[0], "seeds": list(seeds)}

    def complete() -> Path | None:
        if folder is None:
            return None
        resumed = place.resume and run_directory.is_started(folder)
        return folder if run_directory.open_run(folder, described, resume=resumed) else None

    there = place.team.broadcast_from_rank0(complete)
    if there is not None:
        with np.load(there / run_directory.SUMS) as arrays:
            return HeldoutResample(run_directory.read_json(there, run_directory.METRICS), **arrays)
    trained = train_models.train_seeds(problem, seeds, place)
    scored = score_fit(problem, trained, splits=("val", "test"), report=place.report)
    draw = heldout_resamples.of(scored.task, scored.mean.prediction, scored.rivals, scored.metrics)
    if folder is not None:
        with (
            run_directory.atomic_write(folder / run_directory.SUMS) as partial,
            partial.open("wb") as file,
        ):
            np.savez(file, **draw.arrays)  # type: ignore[arg-type]  # numpy's stub means allow_pickle
        run_directory.write_json(folder, run_directory.METRICS, scored.metrics)
    return draw
