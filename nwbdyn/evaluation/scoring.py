"""Scores of a model and its baselines on the same bins, with intervals.

Two tasks, two kinds of score, never mixed. A *next-bin* model is scored on every neuron: counts by
bits per spike; traces by R2, Pearson, mean squared error (in training sd) and skill against the
last frame, also some bins further on ("r2@5"). A *co-smoothing* model is scored on the held-out
neurons alone, by co-bps; its rates for held-in neurons are reconstructions and stay unscored. A bin
counts where the model and every baseline predict it, so all are judged on one and the same set.
Baselines are ranked on validation; the test bins decide nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nwbdyn import metrics
from nwbdyn.baselines import Baseline
from nwbdyn.data.binning import Binned
from nwbdyn.data.splits import Split
from nwbdyn.metrics import Score
from nwbdyn.recording import COUNTS
from nwbdyn.results.sections.difference import Difference
from nwbdyn.results.sections.repeats import FoldScores

SCORED = ("train", "val", "test")
FEWEST_BLOCKS = 10  # fewer independent stretches of test data decide nothing
MOST_SIGNS, SIGN_DRAWS = 12, 10_000  # of a sign-flip test: sessions with all 2^n, draws beyond
SAME = 0.002  # two scores that differ by no more are level
PERSISTENCE = "persistence"  # the baseline that skill is measured against


@dataclass(frozen=True)
class Task:
    """The recorded activity and how it is scored."""

    binned: Binned
    split: Split
    held_out: np.ndarray  # (N,) bool; scored alone by a co-smoothing task
    counted: np.ndarray  # (num_bins,) bool, bins that may be scored; forward bins may not
    co_smoothing: bool
    blocks: np.ndarray  # (num_bins,) int, stretches of bins that are independent of each other


@dataclass(frozen=True)
class Comparison:
    """Predictions of a model and its baselines at one horizon."""

    horizon: int  # bins ahead; 0 for co-smoothing
    prediction: np.ndarray  # (num_bins, N) of the model, source units, NaN where there is none
    baselines: Mapping[str, Baseline]


def evaluate(task: Task, contests: Sequence[Comparison], *, model: str) -> dict[str, Any]:
    """Every score of a fit; the first contest is the primary one, the others add "@horizon".

    Args:
        model: the model's name.

    Returns:
        "model" {split: {metric: value}}; "baselines" {name: the same}; "chosen" {name: what a
        baseline chose on validation}; "intervals" {"model", "baselines", "difference": 95 %, drawn
        from blocks of test bins, left out with fewer than FEWEST_BLOCKS of them; the difference is
        the model minus the best baseline};
        "best_baseline" {metric: name, by validation}; "beats" {metric: True where the difference
        lies above 0, None with fewer than FEWEST_BLOCKS blocks}; "num_bins" and "num_blocks"
        {metric: number scored}; "primary" and "beats_baseline", its entry in "beats".
    """
    names = list(contests[0].baselines)
    result: dict[str, Any] = {
        "model": {split: {} for split in SCORED},
        "baselines": {name: {split: {} for split in SCORED} for name in names},
        "chosen": {name: contests[0].baselines[name].chosen for name in names},
        "intervals": {
            "model": {"test": {}},
            "baselines": {name: {"test": {}} for name in names},
            "difference": {"test": {}},
        },
        "best_baseline": {},
        "beats": {},
        "num_bins": {},
        "num_blocks": {},
    }
    for number, contest in enumerate(contests):
        _add(result, task, contest, model, "" if number == 0 else f"@{contest.horizon}")
    primary = next(iter(result["beats"]))
    result["primary"] = {
        "metric": primary,
        "split": "test",
        "horizon": contests[0].horizon,
        "baseline": result["best_baseline"][primary],
    }
    result["beats_baseline"] = result["beats"][primary]
    return result


def scores(task: Task, prediction: np.ndarray) -> dict[str, dict[str, float]]:
    """split -> metric -> value of one prediction by itself, wherever it predicts."""
    board = _Scorer(task, {"": prediction})
    return {split: board.scored("", rows) for split, rows in board.bins.items()}


def paired_difference(task: Task, prediction: np.ndarray, other: np.ndarray) -> Difference:
    """One prediction against another on test, by the primary metric, on the bins both predict.

    There is no interval with fewer than FEWEST_BLOCKS blocks.
    """
    board = _Scorer(task, {"with": prediction, "without": other})
    rows, metric = board.bins["test"], board.primary
    with_, without = (board.scored(name, rows)[metric] for name in ("with", "without"))
    interval = board.difference("with", "without", rows).get(metric)
    return Difference(metric, "test", with_, without, with_ - without, interval)


def better(task: Task, predictions: Mapping[str, np.ndarray]) -> str | None:
    """The name of the prediction with the highest primary score on validation.

    Judged on the bins that all of them predict; None where none has a score, the first on a tie.
    """
    return _Scorer(task, predictions).best(predictions)


def over_folds(parts: Sequence[Mapping[str, Any]]) -> FoldScores:
    """Mean, standard deviation and values over folds of every test score.

    Args:
        parts: what `evaluate` returned for each fold.
    """
    return FoldScores(
        num_folds=len(parts),
        model=_spread([_read_back(part["model"]) for part in parts]),
        baselines={
            name: _spread([_read_back(part["baselines"][name]) for part in parts])
            for name in parts[0]["baselines"]
        },
        difference=_spread([_differences(part) for part in parts]),
    )


def over_sessions(parts: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The primary score of every session beside its best baseline, with a test over sessions.

    Args:
        parts: session -> what `evaluate` returned for it.

    Returns:
        "metric", "split"; "sessions" {name: "model", "baseline" (its score), "baseline_name",
        "difference", "interval" (95 %, of the difference, None where it is not known), "beats"};
        "difference", see `paired`, over the sessions that have a baseline.
    """
    primary = next(iter(parts.values()))["primary"]
    metric, split = primary["metric"], primary["split"]
    sessions: dict[str, dict[str, Any]] = {}
    for name, part in parts.items():
        best = part["primary"]["baseline"]
        model = _read_back(part["model"], split)[metric]
        other = None if best is None else _read_back(part["baselines"][best], split)[metric]
        sessions[name] = {
            "model": model,
            "baseline": other,
            "baseline_name": best,
            "difference": None if other is None else model - other,
            "interval": part["intervals"]["difference"][split].get(metric),
            "beats": part["beats_baseline"],
        }
    differences = [row["difference"] for row in sessions.values() if row["difference"] is not None]
    differences = [one for one in differences if np.isfinite(one)]
    return {
        "metric": metric,
        "split": split,
        "sessions": sessions,
        "difference": sign_flip_test(differences) if differences else None,
    }


def sign_flip_test(differences: Sequence[float]) -> dict[str, Any]:
    """Sign-flip test of the differences of two scores, one per session.

    Returns:
        "mean", "sd" (None with one session), "num_sessions", "num_above" (the model scores higher,
        by more than SAME), "num_level" (the two differ by no more than that), and "p": the share of
        all assignments of signs (of SIGN_DRAWS random ones beyond MOST_SIGNS sessions) whose mean
        is at least as far from 0. With n sessions it is at least 2 / 2^n.
    """
    values = np.asarray(differences, dtype=np.float64)
    number = len(values)  # may be 1, which scipy's permutation_test refuses
    if number <= MOST_SIGNS:
        signs = 1 - 2 * ((np.arange(2**number)[:, None] >> np.arange(number)) & 1)
    else:
        signs = np.random.default_rng(0).choice([-1, 1], (SIGN_DRAWS, number))
        signs[0] = 1
    means = np.abs(signs @ values) / number
    return {
        "mean": float(values.mean()),
        "sd": float(values.std(ddof=1)) if number > 1 else None,
        "num_sessions": number,
        "num_above": int((values > SAME).sum()),
        "num_level": int((np.abs(values) <= SAME).sum()),
        "p": float((means >= abs(values.mean()) - 1e-12).mean()),
    }


def _add(result: dict[str, Any], task: Task, contest: Comparison, model: str, suffix: str) -> None:
    """Write the scores of one contest into `result`, their names ending in `suffix`."""
    predictions = {name: baseline.prediction for name, baseline in contest.baselines.items()}
    board = _Scorer(task, {model: contest.prediction, **predictions})
    for split, rows in board.bins.items():
        if not rows.any():
            continue
        for name in board.predictions:
            target = result["model"] if name == model else result["baselines"][name]
            target[split] |= _named(board.scored(name, rows), suffix)
    test = board.bins["test"]
    for name in board.predictions:
        target = result["intervals"]["model" if name == model else "baselines"]
        target = target if name == model else target[name]
        target["test"] |= _named(board.intervals(name, test), suffix)
    label = board.primary + suffix
    best = board.best(predictions)
    result["best_baseline"][label] = best
    result["num_bins"][label] = {split: int(rows.sum()) for split, rows in board.bins.items()}
    result["num_blocks"][label] = board.num_blocks(test)
    result["beats"][label] = None
    if best is None:
        return
    difference = board.difference(model, best, test)
    result["intervals"]["difference"]["test"] |= _named(difference, suffix)
    if difference:
        result["beats"][label] = bool(difference[board.primary][0] > 0)


class _Scorer:
    """Truth and predictions in the form in which they are scored.

    Args:
        predictions: name -> (num_bins, N) in source units.
    """

    def __init__(self, task: Task, predictions: Mapping[str, np.ndarray]) -> None:
        columns = task.held_out if task.co_smoothing else np.ones(task.binned.num_neurons, bool)
        counted = task.binned.valid & task.counted
        truth = np.where(counted[:, None], task.binned.values, np.nan)[:, columns]
        predictions = {name: values[:, columns] for name, values in predictions.items()}
        counts = task.binned.quantity == COUNTS
        if not counts:
            train = task.split.bins("train")
            mean, sd = np.nanmean(truth[train], axis=0), np.nanstd(truth[train], axis=0)
            sd = np.where(sd > 0, sd, np.nan)  # a neuron that is constant in training: not scored
            truth = (truth - mean) / sd
            predictions = {name: (values - mean) / sd for name, values in predictions.items()}
        common = np.isfinite(truth)
        for values in predictions.values():
            if np.isfinite(values).any():
                common &= np.isfinite(values)
        seen = common.any(axis=1)
        self.truth = np.where(common, truth, np.nan)  # (num_bins, num_scored)
        self.predictions = predictions
        self.blocks = task.blocks
        self.metrics = _metrics(task, counts=counts, skill=PERSISTENCE in predictions)
        self.primary = next(iter(self.metrics))
        self.bins = {split: task.split.bins(split) & seen for split in SCORED}

    def scored(self, name: str, rows: np.ndarray) -> dict[str, float]:
        """metric -> value of one prediction on some bins; NaN without a bin."""
        if not rows.any():
            return dict.fromkeys(self.metrics, np.nan)
        return {
            label: score(self.truth[rows], *self._arguments(name, score, rows))
            for label, score in self.metrics.items()
        }

    def intervals(self, name: str, rows: np.ndarray) -> dict[str, list[float]]:
        """metric -> 95 % interval of one prediction's score; empty with too few blocks."""
        if self.num_blocks(rows) < FEWEST_BLOCKS:
            return {}
        return {
            label: list(
                metrics.block_interval(
                    score,
                    self.truth[rows],
                    *self._arguments(name, score, rows),
                    blocks=self.blocks[rows],
                )
            )
            for label, score in self.metrics.items()
        }

    def difference(self, name: str, other: str, rows: np.ndarray) -> dict[str, list[float]]:
        """metric -> likewise, of the first prediction's score minus the second's."""
        if self.num_blocks(rows) < FEWEST_BLOCKS:
            return {}
        return {
            label: list(
                metrics.difference_interval(
                    score,
                    self.truth[rows],
                    self.predictions[name][rows],
                    self.predictions[other][rows],
                    blocks=self.blocks[rows],
                )
            )
            for label, score in self.metrics.items()
            if score is not metrics.skill
        }

    def num_blocks(self, rows: np.ndarray) -> int:
        """Number of independent blocks among some bins."""
        return len(np.unique(self.blocks[rows]))

    def best(self, names: Mapping[str, object]) -> str | None:
        """The name with the highest primary score on validation."""
        rows = self.bins["val"]
        values = {name: self.scored(name, rows)[self.primary] for name in names}
        values = {name: value for name, value in values.items() if np.isfinite(value)}
        return max(values, key=values.__getitem__) if values else None

    def _arguments(self, name: str, score: Score, rows: np.ndarray) -> list[np.ndarray]:
        """The predictions that `score` is called with."""
        values = [self.predictions[name][rows]]
        if score is metrics.skill:
            values.append(self.predictions[PERSISTENCE][rows])
        return values


def _metrics(task: Task, *, counts: bool, skill: bool) -> dict[str, Score]:
    """The computed metrics by display name; the first one is the primary score."""
    if task.co_smoothing:
        return {"co_bps": metrics.bits_per_spike}
    if counts:
        return {"bits_per_spike": metrics.bits_per_spike}
    scores = {"r2": metrics.r2, "pearson": metrics.pearson, "mse": metrics.mse}
    return scores | {"skill": metrics.skill} if skill else scores


def _named(values: Mapping[str, Any], suffix: str) -> dict[str, Any]:
    return {f"{metric}{suffix}": value for metric, value in values.items()}


def _read_back(scores: Mapping[str, Any], split: str = "test") -> dict[str, float]:
    """metric -> score; one that is not defined is null in a run directory, and NaN again here."""
    return {metric: np.nan if one is None else one for metric, one in scores[split].items()}


def _differences(part: Mapping[str, Any]) -> dict[str, float]:
    """metric -> the model's test score minus that of its best baseline."""
    return {
        metric: _read_back(part["model"])[metric] - _read_back(part["baselines"][name])[metric]
        for metric, name in part["best_baseline"].items()
        if name is not None
    }


def _spread(rows: Sequence[Mapping[str, float]]) -> dict[str, dict[str, Any]]:
    """metric -> mean, sd and values, of the metrics that every row has."""
    shared = [metric for metric in rows[0] if all(metric in row for row in rows)]
    table = {metric: [row[metric] for row in rows] for metric in shared}
    return {
        metric: {
            "mean": float(np.mean(values)),
            "sd": float(np.std(values, ddof=1)),
            "values": values,
        }
        for metric, values in table.items()
    }
