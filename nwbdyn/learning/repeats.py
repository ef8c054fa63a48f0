"""The same fit again: on other test blocks, and with other neurons held out.

Each repetition is a run of its own, in `fold-<k>` or `draw-<k>` of the first one's run directory.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from nwbdyn.learning.members import Workplace
from nwbdyn.progress import Progress
from nwbdyn.runs import run_directory
from nwbdyn.runs.results import Fit
from nwbdyn.scoring import evaluation, held_out

Refit = Callable[..., Fit]  # of the same recording and choices, but for the keywords it is given


def with_folds(fitted: Fit, refit: Refit, folds: int, place: Workplace) -> Fit:
    """The fit, with mean and spread of the test scores of `folds` fits on interleaved blocks."""
    parts = [
        _part(refit, "folds", k, folds, place, seed=fitted.seed, fold=(k, folds))
        for k in range(folds)
    ]
    return replace(fitted, metrics=fitted.metrics | {"folds": evaluation.over_folds(parts)})


def with_draws(fitted: Fit, refit: Refit, draws: int, place: Workplace, *, step: int) -> Fit:
    """The fit, with mean and spread of the test scores over draws of held-out neurons.

    Args:
        step: distance between the seeds of two draws; the number of seeds of each.
    """
    others = [
        _part(refit, "draws", k, draws, place, seed=fitted.seed + k * step, seeds=step)
        for k in range(1, draws)
    ]
    parts = [fitted.metrics, *others]
    return replace(fitted, metrics=fitted.metrics | {"draws": held_out.over_draws(parts)})


def _part(
    refit: Refit, stage: str, number: int, total: int, place: Workplace, **choices: Any
) -> dict[str, Any]:
    """The metrics of one fit among several of a kind."""
    place.report(Progress(stage, number, total, stage))
    folder = None if place.run is None else place.run / f"{stage.removesuffix('s')}-{number}"
    resumed = place.resume and folder is not None and run_directory.is_started(folder)
    part = refit(run=folder, resume=resumed, **choices)
    place.report(Progress(stage, number + 1, total, stage))
    return part.metrics
