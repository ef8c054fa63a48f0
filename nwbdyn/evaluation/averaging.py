"""Several fits of one model and one recording -> one prediction.

Co-smoothing models: the fits are ranked by their validation score, and the rates of the best n are
averaged, n being the number that scores best on validation; test bins are only scored (Le and
Shlizerman 2022 choose among candidates like this). Next-bin models: the plain mean over all seeds.
They differ by their random start alone, and the mean of such fits never has a larger squared error
than the fits have on average, whichever bins are asked: there is nothing to choose.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nwbdyn.evaluation import scoring
from nwbdyn.evaluation.scoring import Task
from nwbdyn.results.sections.seed_mean import SeedMean


@dataclass(frozen=True)
class Average:
    """The mean prediction of some fits."""

    prediction: np.ndarray  # (num_bins, N) source units, NaN where there is none
    members: tuple[int, ...]  # positions of the fits that it averages, best first
    selection: SeedMean | None = None  # how they were chosen; None: all, unchosen


def average(task: Task, predictions: Sequence[np.ndarray], seeds: Sequence[int]) -> Average:
    """The mean over all fits, or over those that validation chose for a co-smoothing task."""
    if task.co_smoothing and len(predictions) > 1:
        return best(task, predictions, seeds)
    return Average(np.mean(predictions, axis=0), tuple(range(len(predictions))))


def best(task: Task, predictions: Sequence[np.ndarray], seeds: Sequence[int]) -> Average:
    """The mean over the best n fits, n by validation.

    Args:
        predictions: (num_bins, N) of each fit.
        seeds: of each fit.
    """
    alone = [_validation(task, prediction) for prediction in predictions]
    order = np.argsort([-score for _, score in alone], kind="stable")
    growing = [np.mean([predictions[k] for k in order[:n]], axis=0) for n in _sizes(order)]
    scores = [_validation(task, mean)[1] for mean in growing]
    size = int(np.nanargmax(scores)) + 1
    chosen, single = growing[size - 1], predictions[order[0]]
    ranking = [seeds[k] for k in order]
    compared = scoring.paired_difference(task, chosen, single)
    return Average(
        prediction=chosen,
        members=tuple(order[:size].tolist()),
        selection=SeedMean(
            metric=alone[0][0],
            ranking=ranking,
            validation=scores,
            seeds=ranking[:size],
            split=compared.split,
            ensemble=compared.with_,
            single=compared.without,
            adds=compared.adds,
            interval=compared.interval,
        ),
    )


def _sizes(order: np.ndarray) -> range:
    return range(1, len(order) + 1)


def _validation(task: Task, prediction: np.ndarray) -> tuple[str, float]:
    """Name and value of the primary score on validation."""
    return next(iter(scoring.scores(task, prediction)["val"].items()))
