"""The table at the end of a fit: the model beside its baselines, and who won in a sentence."""

from collections.abc import Sequence
from typing import Any

from nwbdyn.cli import terminal
from nwbdyn.results import Fit
from nwbdyn.scaling import FITTED, Outcome

_SPLITS = ("val", "test")


def of_fit(fit: Fit) -> str:
    """Scores on validation and test, model first, then the baselines; the best on top of its kind.

    A metric the model has is shown; a baseline without it leaves the cell empty.
    """
    metrics: dict[str, Any] = fit.metrics  # type: ignore[assignment]
    scores = {fit.model: metrics["model"], **metrics["baselines"]}
    columns = [
        (split, name)
        for split in _SPLITS
        for name in metrics["model"].get(split, {})
        if _shown(name)
    ]
    header = ["", *(f"{split} {name}" for split, name in columns)]
    rows = [
        [name, *(_number(by_split.get(split, {}).get(metric)) for split, metric in columns)]
        for name, by_split in scores.items()
    ]
    lines = [terminal.table(header, rows), "", verdict(metrics, fit.model)]
    return "\n".join(lines)


def verdict(metrics: dict[str, Any], model: str) -> str:
    """One sentence: did the model beat its best baseline on the primary metric?"""
    primary = metrics["primary"]
    metric, split, baseline = primary["metric"], primary["split"], primary["baseline"]
    own = metrics["model"][split][metric]
    if baseline is None:
        return f"{model}: {metric} {own:.3f} on {split}; no baseline could be scored."
    other = metrics["baselines"][baseline][split][metric]
    scores = f"{metric} {own:.3f} against {other:.3f} of {baseline}, on {split}"
    interval = metrics.get("intervals", {}).get("difference", {}).get(split, {}).get(metric)
    if interval is not None:
        scores += f" (difference {interval[0]:+.3f} to {interval[1]:+.3f})"
    if metrics.get("beats_baseline") is None:
        return f"{model}: {scores}."
    if metrics["beats_baseline"]:
        return f"{model} beats the best baseline: {scores}."
    if interval is not None and interval[1] < 0:
        return f"{model} loses to the best baseline: {scores}."
    return f"{model} does not beat the best baseline: {scores}."


def of_outcomes(outcomes: Sequence[Outcome]) -> str:
    """One row per session, then the reasons of those that were not fitted."""
    rows = [
        [
            outcome.uri.rsplit("/", 1)[-1],
            outcome.status,
            outcome.metric,
            _number(outcome.value),
            outcome.baseline,
            _number(outcome.baseline_value),
        ]
        for outcome in outcomes
    ]
    header = ("session", "status", "metric", "model", "best baseline", "its score")
    lines = [terminal.table(header, rows)]
    lines += [
        f"{outcome.status}: {outcome.uri}: {outcome.reason}"
        for outcome in outcomes
        if outcome.status != FITTED
    ]
    return "\n".join(lines)


def _shown(metric: str) -> bool:
    return metric != "mse"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
