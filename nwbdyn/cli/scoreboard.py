"""The table at the end of a fit: the model beside its baselines, and who won in a sentence."""

import textwrap
from collections.abc import Sequence
from typing import Any

from nwbdyn.cli import terminal
from nwbdyn.results import Fit
from nwbdyn.scaling import FITTED, Outcome

_MOST_SECONDARY = 4  # columns beside the primary metric that fit on a terminal


def of_fit(fit: Fit) -> str:
    """The primary metric on validation and test with its interval, other metrics on test.

    The model stands first, then its baselines; a baseline without a score leaves the cell empty.
    """
    metrics: dict[str, Any] = fit.metrics
    metric, split = metrics["primary"]["metric"], metrics["primary"]["split"]
    scores = {fit.model: metrics["model"], **metrics["baselines"]}
    intervals = metrics.get("intervals", {})
    by_interval = {fit.model: intervals.get("model", {}), **intervals.get("baselines", {})}
    others = _secondary(metrics["model"].get(split, {}), metric)
    header = ["", f"{metric} val", f"{metric} {split}", "95 % interval", *others]
    rows = [
        [
            name,
            _number(by_split.get("val", {}).get(metric)),
            _number(by_split.get(split, {}).get(metric)),
            _interval(by_interval.get(name, {}).get(split, {}).get(metric)),
            *(_number(by_split.get(split, {}).get(other)) for other in others),
        ]
        for name, by_split in scores.items()
    ]
    sentences = [
        verdict(metrics, fit.model),
        *_coupling(metrics.get("coupling")),
        *_held_out(metrics.get("held_out"), metrics.get("draws")),
    ]
    wrapped = [textwrap.fill(sentence, terminal.WIDTH) for sentence in sentences]
    table = terminal.table(header, rows)
    return "\n".join([table, "", *wrapped, *of_benchmark(metrics, fit.model)])


def of_benchmark(metrics: dict[str, Any], model: str) -> list[str]:
    """The Neural Latents Benchmark's scores on the test trials of this fit, and of a submission."""
    found, submitted = metrics.get("benchmark"), metrics.get("submission")
    lines = []
    if found is not None:
        scores = {model: found["model"], **found["baselines"]}
        names = list(found["model"]["test"])
        rows = [
            [name, *(_number(by_split["test"].get(metric)) for metric in names)]
            for name, by_split in scores.items()
        ]
        lines += [
            "",
            f"As the Neural Latents Benchmark scores {found['data_set']}, on "
            f"{found['num_trials']['test']} test trials:",
            terminal.table(["", *names], rows),
            f"{found['milliseconds_per_trial']:.2g} ms per trial at inference.",
        ]
    if submitted is not None:
        scored = submitted["scores"]
        said = f"Rates for the {submitted['phase']} phase are in {submitted['file']}"
        if scored is not None:
            values = ", ".join(f"{name} {_number(value)}" for name, value in scored.items())
            said += f"; against {submitted['targets']}: {values}"
        lines += ["", textwrap.fill(f"{said}.", terminal.WIDTH)]
    return lines


def verdict(metrics: dict[str, Any], model: str) -> str:
    """One sentence: did the model beat its best baseline on the primary metric?"""
    primary = metrics["primary"]
    metric, split, baseline = primary["metric"], primary["split"], primary["baseline"]
    own = metrics["model"][split][metric]
    if baseline is None:
        return f"{model}: {metric} {own:.3f} on {split}; no baseline could be scored."
    other = metrics["baselines"][baseline][split][metric]
    scores = f"{metric} {own:.3f} against {other:.3f} of {baseline} on {split}"
    interval = metrics.get("intervals", {}).get("difference", {}).get(split, {}).get(metric)
    known = interval is not None and all(end is not None for end in interval)
    if known:
        scores += f", difference {interval[0]:+.3f} to {interval[1]:+.3f}"
    if metrics.get("beats_baseline") is None:
        return f"{model}: {scores}."
    if metrics["beats_baseline"]:
        return f"{model} beats the best baseline: {scores}."
    if known and interval[1] < 0:
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


def _secondary(scores: dict[str, float | None], primary: str) -> list[str]:
    """The primary metric at other horizons first, then other kinds of score; errors last."""
    horizons = [name for name in scores if name.startswith(f"{primary}@")]
    kinds = [name for name in scores if name not in (primary, "mse") and "@" not in name]
    return (horizons + kinds)[:_MOST_SECONDARY]


def _coupling(coupling: dict[str, Any] | None) -> list[str]:
    if coupling is None or coupling.get("adds") is None:
        return []
    interval = coupling.get("interval")
    span = (
        f" ({interval[0]:+.3f} to {interval[1]:+.3f})" if interval and None not in interval else ""
    )
    return [
        f"Coupling adds {coupling['adds']:+.3f}{span} of {coupling['metric']} on "
        f"{coupling['split']} to a refit without it."
    ]


def _held_out(found: dict[str, Any] | None, draws: dict[str, Any] | None) -> list[str]:
    """How far the held-out neurons' score would move with other trials and other neurons."""
    if found is None:
        return []
    span = _interval(found["intervals"]["model"])
    held = f"{found['num_neurons']} neurons held out"
    lines = [f"{found['metric']} over trials and {held}: {span}."] if span else []
    if draws is not None:
        spread = draws["model"][found["metric"]]
        lines.append(
            f"Over {draws['num_draws']} draws of held-out neurons: {spread['mean']:.3f} +- "
            f"{spread['sd']:.3f} (sd)."
        )
    return lines


def _interval(interval: Sequence[float | None] | None) -> str:
    if interval is None or any(end is None or end != end for end in interval):
        return ""
    return f"{interval[0]:.3f} to {interval[1]:.3f}"


def _number(value: float | None) -> str:
    return "" if value is None or value != value else f"{value:.3f}"
