"""Scores of a model and its baselines on the same bins, with intervals: what metrics.json says.

Two tasks, two kinds of score, never mixed. A *next-bin* model is scored on every neuron: counts by
bits per spike; traces by R2, Pearson, mean squared error (in training sd) and skill against the
last frame. A *co-smoothing* model is scored on the held-out neurons alone, by co-bps; its rates for
held-in neurons are reconstructions and stay unscored. A bin counts where the model and every
baseline predict it, so all are judged on one and the same set. Baselines are ranked on validation;
the test bins decide nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nwbdyn import metrics
from nwbdyn.baselines import Baseline
from nwbdyn.binning import Binned
from nwbdyn.metrics import Score
from nwbdyn.recording import COUNTS
from nwbdyn.splits import Split

SCORED = ("train", "val", "test")
FEWEST_BLOCKS = 10  # fewer independent stretches of test data decide nothing
SLOWEST_RATES = 5.0  # seconds over which the rates of spiking neurons are taken to be related
PERSISTENCE = "persistence"  # the baseline that skill is measured against


@dataclass(frozen=True)
class Task:
    """What a model is asked for, and where."""

    binned: Binned
    split: Split
    held_out: np.ndarray  # (N,) bool; all False for a next-bin model
    horizon: int  # bins ahead; 0 for co-smoothing
    blocks: np.ndarray  # (num_bins,) int, stretches of bins that are independent of each other

    @property
    def co_smoothing(self) -> bool:
        return self.horizon == 0


@dataclass
class _Board:
    """Truth and predictions in the form in which they are scored, (num_bins, num_scored)."""

    truth: np.ndarray
    predictions: dict[str, np.ndarray]
    scores: dict[str, Score]
    bins: dict[str, np.ndarray] = field(default_factory=dict)  # split -> rows that count


def evaluate(
    task: Task, prediction: np.ndarray, baselines: Mapping[str, Baseline], *, model: str
) -> dict[str, object]:
    """Every score of a fit.

    Args:
        prediction: (num_bins, N) of the model in source units, NaN where there is none.
        baselines: name -> its prediction of the same recording.
        model: the model's name.

    Returns:
        "model" {split: {metric: value}}, "baselines" {name: the same, "chosen": …}, "intervals"
        (95 %, blocks of test bins), "primary", "beats_baseline" (None where the test data hold
        fewer than FEWEST_BLOCKS independent blocks), "num_bins" and "num_blocks".
    """
    rivals = {name: baseline.prediction for name, baseline in baselines.items()}
    board = _board(task, {model: prediction, **rivals})
    primary = next(iter(board.scores))
    table = {
        name: {split: _scores(board, name, rows) for split, rows in board.bins.items()}
        for name in board.predictions
    }
    best = _best(table, baselines, primary)
    intervals = _intervals(board, task.blocks, model, best)
    num_blocks = len(np.unique(task.blocks[board.bins["test"]]))
    difference = intervals["difference"].get("test", {}).get(primary)
    beats = None
    if best is not None and difference is not None and num_blocks >= FEWEST_BLOCKS:
        beats = bool(difference[0] > 0)
    return {
        "model": table.pop(model),
        "baselines": table,
        "chosen": {name: baseline.chosen for name, baseline in baselines.items()},
        "intervals": intervals,
        "primary": {
            "metric": primary,
            "split": "test",
            "horizon": task.horizon,
            "baseline": best,
        },
        "beats_baseline": beats,
        "num_bins": {split: int(rows.sum()) for split, rows in board.bins.items()},
        "num_blocks": {"test": num_blocks},
    }


def scores(task: Task, prediction: np.ndarray) -> dict[str, dict[str, float]]:
    """split -> metric -> value of one prediction by itself, wherever it predicts."""
    board = _board(task, {"model": prediction})
    return {split: _scores(board, "model", rows) for split, rows in board.bins.items()}


def over_folds(parts: Sequence[Mapping[str, Any]]) -> dict[str, object]:
    """Mean, standard deviation and values over folds of every test score.

    Args:
        parts: what `evaluate` returned for each fold.

    Returns:
        "num_folds", "model" {metric: {mean, sd, values}}, "baselines" {name: the same} and
        "difference" {metric: the same}, the model minus the baseline that is best on validation.
    """
    summary: dict[str, object] = {
        "num_folds": len(parts),
        "model": _spread([part["model"]["test"] for part in parts]),
        "baselines": {
            name: _spread([part["baselines"][name]["test"] for part in parts])
            for name in parts[0]["baselines"]
        },
    }
    metric, best = parts[0]["primary"]["metric"], [part["primary"]["baseline"] for part in parts]
    if None not in best:
        differences = [
            part["model"]["test"][metric] - part["baselines"][name]["test"][metric]
            for part, name in zip(parts, best, strict=True)
        ]
        summary["difference"] = _spread([{metric: value} for value in differences])
    return summary


def _spread(rows: Sequence[Mapping[str, float]]) -> dict[str, dict[str, object]]:
    table = {metric: [row[metric] for row in rows] for metric in rows[0]}
    return {
        metric: {
            "mean": float(np.mean(values)),
            "sd": float(np.std(values, ddof=1)),
            "values": values,
        }
        for metric, values in table.items()
    }


def blocks_of(binned: Binned, split: Split, *, trials: bool, context: int) -> np.ndarray:
    """(num_bins,) int: stretches of bins long enough to be independent of each other.

    One block per trial, if `trials`. Else traces take stretches of twice the time after which the
    mean autocorrelation of the training bins has fallen to 1/e. Single counts are mostly noise and
    hide how slowly rates change: they take stretches of a window, and of SLOWEST_RATES at least.
    """
    if trials and binned.trials is not None:
        return np.searchsorted(binned.trials["start_time"], binned.time, side="right")
    if binned.quantity == COUNTS:
        length = max(context, round(SLOWEST_RATES / binned.bin_width))
    else:
        length = 2 * memory(binned.values[split.bins("train")])
    return metrics.time_blocks(binned.num_bins, length)


def memory(values: np.ndarray) -> int:
    """Bins after which the mean autocorrelation of the columns has fallen to 1/e, at least 1."""
    centred = values - np.nanmean(values, axis=0)
    centred = np.nan_to_num(centred)
    power = np.square(centred).sum(axis=0)
    alive = power > 0
    if not alive.any():
        return 1
    centred, power = centred[:, alive], power[alive]
    longest = max(1, len(centred) // 4)
    for lag in range(1, longest):
        correlation = (centred[lag:] * centred[:-lag]).sum(axis=0) / power
        if correlation.mean() < np.exp(-1):
            return lag
    return longest


def _board(task: Task, predictions: Mapping[str, np.ndarray]) -> _Board:
    columns = task.held_out if task.co_smoothing else np.ones(task.binned.num_neurons, bool)
    truth = np.where(task.binned.valid[:, None], task.binned.values, np.nan)[:, columns]
    predictions = {name: values[:, columns] for name, values in predictions.items()}
    counts = task.binned.quantity == COUNTS
    if not counts:
        train = task.split.bins("train")
        mean, sd = np.nanmean(truth[train], axis=0), np.nanstd(truth[train], axis=0)
        sd = np.where(sd > 0, sd, np.nan)  # a neuron that is constant in training is not scored
        truth = (truth - mean) / sd
        predictions = {name: (values - mean) / sd for name, values in predictions.items()}
    common = np.isfinite(truth)
    for values in predictions.values():
        if np.isfinite(values).any():
            common &= np.isfinite(values)
    truth = np.where(common, truth, np.nan)
    board = _Board(truth, predictions, _scores_of(task, counts, predictions))
    seen = common.any(axis=1)
    board.bins = {split: task.split.bins(split) & seen for split in SCORED}
    return board


def _scores_of(task: Task, counts: bool, predictions: Mapping[str, np.ndarray]) -> dict[str, Score]:
    """What is computed, by the name it is shown under; the first one is the primary score."""
    if task.co_smoothing:
        return {"co_bps": metrics.bits_per_spike}
    if counts:
        return {"bits_per_spike": metrics.bits_per_spike}
    scores = {"r2": metrics.r2, "pearson": metrics.pearson, "mse": metrics.mse}
    if PERSISTENCE in predictions:
        scores["skill"] = metrics.skill
    return scores


def _arguments(board: _Board, name: str, score: Score, rows: np.ndarray) -> list[np.ndarray]:
    """The predictions that `score` is called with."""
    values = [board.predictions[name][rows]]
    if score is metrics.skill:
        values.append(board.predictions[PERSISTENCE][rows])
    return values


def _scores(board: _Board, name: str, rows: np.ndarray) -> dict[str, float]:
    truth = board.truth[rows]
    return {
        label: score(truth, *_arguments(board, name, score, rows)) if len(truth) else np.nan
        for label, score in board.scores.items()
    }


def _best(
    table: Mapping[str, Mapping[str, Mapping[str, float]]],
    baselines: Mapping[str, Baseline],
    primary: str,
) -> str | None:
    """The baseline that is best on validation."""
    scored = {name: table[name]["val"][primary] for name in baselines}
    scored = {name: value for name, value in scored.items() if np.isfinite(value)}
    return max(scored, key=scored.__getitem__) if scored else None


def _intervals(
    board: _Board, blocks: np.ndarray, model: str, best: str | None
) -> dict[str, dict[str, Any]]:
    """95 % intervals on the test bins, by drawing whole blocks."""
    rows = board.bins["test"]
    truth, drawn = board.truth[rows], blocks[rows]

    def interval(name: str) -> dict[str, list[float]]:
        return {
            label: list(
                metrics.block_interval(
                    score, truth, *_arguments(board, name, score, rows), blocks=drawn
                )
            )
            for label, score in board.scores.items()
        }

    intervals: dict[str, dict[str, Any]] = {
        "model": {"test": interval(model)},
        "baselines": {
            name: {"test": interval(name)} for name in board.predictions if name != model
        },
        "difference": {},
    }
    if best is not None:
        intervals["difference"]["test"] = {
            label: list(
                metrics.difference_interval(
                    score,
                    truth,
                    board.predictions[model][rows],
                    board.predictions[best][rows],
                    blocks=drawn,
                )
            )
            for label, score in board.scores.items()
            if score is not metrics.skill
        }
    return intervals
