"""The same fit again: on other test blocks, and with other neurons held out.

A fold is a fit of its own, in `fold-<k>` of the first one's run directory. A further draw of
held-out neurons, in `draw-<k>`, trains the same model with the options that the first one settled
on, and is scored beside its own baselines. No connectivity is read from it, and it chooses nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from nwbdyn.learning import members
from nwbdyn.learning.members import Workplace
from nwbdyn.learning.problem import Problem
from nwbdyn.progress import Progress
from nwbdyn.runs import run_directory
from nwbdyn.runs.results import Fit
from nwbdyn.scoring import draws, evaluation
from nwbdyn.scoring.draws import Draw
from nwbdyn.scoring.summary import Scored, score

Refit = Callable[..., Fit]  # of the same recording and choices, but for the keywords it is given


def with_folds(fitted: Fit, refit: Refit, folds: int, place: Workplace) -> Fit:
    """The fit, with mean and spread of the test scores of `folds` fits on interleaved blocks."""
    parts = []
    for k in range(folds):
        place.report(Progress("folds", k, folds, "folds"))
        folder = None if place.run is None else place.run / f"fold-{k}"
        resumed = place.resume and folder is not None and run_directory.is_started(folder)
        part = refit(run=folder, resume=resumed, seed=fitted.seed, fold=(k, folds))
        parts.append(part.metrics)
        place.report(Progress("folds", k + 1, folds, "folds"))
    return replace(fitted, metrics=fitted.metrics | {"folds": evaluation.over_folds(parts)})


def with_draws(
    fitted: Fit,
    scored: Scored,
    again: Callable[..., Problem],
    number: int,
    seeds: Sequence[int],
    place: Workplace,
) -> Fit:
    """The fit, with the mean of its test scores over draws of held-out neurons (`draws.together`).

    Whether it beats its baselines is then what that mean says.

    Args:
        scored: the scores of the fit, the first draw.
        again: poses the same problem with another `seed`.
        number: of draws, with the first one.
        seeds: of the fit; draw k has as many, from the first one after those of draw k - 1 on.
    """
    found = [draws.of(scored.task, scored.mean.prediction, scored.rivals, scored.metrics)]
    for k in range(1, number):
        place.report(Progress("draws", k, number, "draws of held-out neurons"))
        own = [seed + k * len(seeds) for seed in seeds]
        folder = None if place.run is None else place.run / f"draw-{k}"
        found.append(_draw(again(seed=own[0]), own, replace(place, run=folder)))
    place.report(Progress("draws", number, number, "draws of held-out neurons"))
    told = draws.together(found)
    more = {"draws": told, "beats_baseline": told["beats"]}
    return replace(fitted, metrics=fitted.metrics | more)


def _draw(problem: Problem, seeds: Sequence[int], place: Workplace) -> Draw:
    """Another draw: trained and scored, or read where that is done."""
    folder = place.run
    described = problem.described() | {"seed": seeds[0], "seeds": list(seeds)}

    def complete() -> Path | None:
        if folder is None:
            return None
        resumed = place.resume and run_directory.is_started(folder)
        return folder if run_directory.begin(folder, described, resume=resumed) else None

    there = place.team.agree(complete)
    if there is not None:
        with np.load(there / run_directory.SUMS) as arrays:
            return Draw(run_directory.read_json(there, run_directory.METRICS), **arrays)
    trained = members.train_each(problem, seeds, place)
    scored = score(problem, trained, splits=("val", "test"), report=place.report)
    draw = draws.of(scored.task, scored.mean.prediction, scored.rivals, scored.metrics)
    if folder is not None:
        with (
            run_directory.replacing(folder / run_directory.SUMS) as partial,
            partial.open("wb") as file,
        ):
            np.savez(file, **draw.arrays)  # type: ignore[arg-type]  # numpy's stub means allow_pickle
        run_directory.write_json(folder, run_directory.METRICS, scored.metrics)
    return draw
