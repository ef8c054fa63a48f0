"""Scores of a fit, its learning curves, and the reliability over seeds."""

import itertools
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from nwbdyn.connectivity import edge_table
from nwbdyn.errors import DataError
from nwbdyn.report import style
from nwbdyn.results.fit_results import Fit
from nwbdyn.results.sections.attention_maps import MapAblation, NeuronImportance


def scores(fit: Fit, axes: Axes | None = None) -> Axes:
    """The primary metric of the model and its baselines on test, with intervals where known."""
    metrics: dict[str, Any] = fit.metrics
    metric, split = metrics["primary"]["metric"], metrics["primary"]["split"]
    by_name = {fit.model: metrics["model"], **metrics["baselines"]}
    intervals = metrics.get("intervals", {})
    by_interval = {fit.model: intervals.get("model", {}), **intervals.get("baselines", {})}
    values = {
        name: score[split][metric]
        for name, score in by_name.items()
        if np.isfinite(score.get(split, {}).get(metric, np.nan))
    }
    order = sorted(values, key=lambda name: values[name])
    axes = style.axes_or(axes, size=(style.HALF, max(style.LEAST, 0.8 + 0.3 * len(order))))
    with style.house():
        for row, name in enumerate(order):
            colour = style.MODEL if name == fit.model else style.BASELINE
            interval = by_interval.get(name, {}).get(split, {}).get(metric)
            if interval is not None and all(end is not None for end in interval):
                axes.plot(interval, [row, row], color=colour, linewidth=2, alpha=0.5)
            axes.plot(values[name], row, "D" if name == fit.model else "o", color=colour)
        axes.set_yticks(range(len(order)), order)
        axes.set_ylim(-0.6, len(order) - 0.4)
        axes.set_xlabel(f"{metric} on {split}")
        axes.grid(axis="x", alpha=0.3)
    return axes


def horizons(fit: Fit, axes: Axes | None = None) -> Axes:
    """The primary metric on test, one bin ahead and further on, of the model and its baselines."""
    metrics: dict[str, Any] = fit.metrics
    metric, split = metrics["primary"]["metric"], metrics["primary"]["split"]
    by_name = {fit.model: metrics["model"], **metrics["baselines"]}
    axes = style.axes_or(axes)
    with style.house():
        colours = style.CATEGORIES[:1] + style.CATEGORIES[2:]
        styles = itertools.product(("o-", "s--", "^:"), colours)  # dashed once colours run out
        for name, score in by_name.items():
            ahead = _ahead(score.get(split, {}), metric, metrics["primary"]["horizon"])
            own = name == fit.model
            line, colour = ("D-", style.MODEL) if own else next(styles)
            axes.plot(
                list(ahead),
                list(ahead.values()),
                line,
                color=colour,
                markersize=5 if own else 3,
                zorder=3 if own else 2,
                label=name,
            )
        lowest = axes.get_ylim()[0]
        axes.set_ylim(max(lowest, -1.0) if lowest < -1.0 else None)
        axes.axhline(0, color=style.INK, linewidth=0.5)
        axes.set_xlabel("bins ahead")
        axes.set_ylabel(f"{metric} on {split}")
        axes.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize=8)
    return axes


def _ahead(scores: dict[str, float], metric: str, first: int) -> dict[int, float]:
    """Bins ahead -> score."""
    by_horizon = {first: scores[metric]} if metric in scores else {}
    for name, value in scores.items():
        kind, _, bins = name.partition("@")
        if kind == metric and bins:
            by_horizon[int(bins)] = value
    return by_horizon


def learning_curve(fit: Fit, axes: Axes | None = None) -> Axes:
    """Training and validation loss per epoch; the lowest validation loss chose the weights."""
    history = pd.DataFrame(fit.history)
    axes = style.axes_or(axes)
    with style.house():
        axes.plot(history["epoch"], history["loss"], color=style.QUIET, label="training")
        axes.set_xlabel("epoch")
        axes.set_ylabel("loss")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if "validation" in history:
            known = history.dropna(subset="validation")
            best = known.loc[known["validation"].idxmin()]
            axes.plot(known["epoch"], known["validation"], color=style.MODEL, label="validation")
            axes.plot(best["epoch"], best["validation"], "D", color=style.MODEL)
        axes.legend(loc="upper right")
    return axes


def necessity(fit: Fit, axes: Axes | None = None) -> Axes:
    """Loss of the test score when the model's attention maps are replaced."""
    metrics: dict[str, Any] = fit.metrics
    needed = MapAblation.from_json(metrics[MapAblation.KEY])
    loss = needed.loss
    axes = style.axes_or(axes, size=(style.HALF, max(style.LEAST, 0.8 + 0.3 * len(loss))))
    with style.house():
        axes.barh(list(loss), list(loss.values()), color=style.MODEL, height=0.6)
        axes.axvline(0, color=style.INK, linewidth=0.5)
        axes.invert_yaxis()
        axes.set_xlabel(f"loss of {needed.metric} on {needed.split}")
    return axes


def dropping(fit: Fit, axes: Axes | None = None) -> Axes:
    """Loss of the test score when the inputs of some neurons are silenced."""
    metrics: dict[str, Any] = fit.metrics
    importance = NeuronImportance.from_json(metrics[NeuronImportance.KEY])
    numbers, loss = importance.dropped, importance.loss
    mean, sd = np.array(loss["random"]), np.array(loss["random_sd"])
    orders = [name for name in loss if not name.startswith("random")]
    axes = style.axes_or(axes)
    with style.house():
        axes.fill_between(numbers, mean - sd, mean + sd, color=style.QUIET, alpha=0.3, lw=0)
        axes.plot(numbers, mean, "o-", color=style.QUIET, markersize=4, label="random")
        colours = (style.MODEL, style.BASELINE, style.CATEGORIES[2])
        for name, colour in zip(orders, colours, strict=False):
            axes.plot(numbers, loss[name], "o-", color=colour, markersize=4, label=name)
        axes.axhline(0, color=style.INK, linewidth=0.5)
        axes.set_xlabel("neurons silenced")
        axes.set_ylabel(f"loss of {importance.metric} on {importance.split}")
        axes.legend(fontsize=8)
    return axes


def seeds(fit: Fit, axes: Axes | None = None) -> Axes:
    """Share of seeds that agree on an edge's sign, by the edge's rank; edges strongest first."""
    agreement = edge_table.directed(fit.edges)["sign_agreement"].to_numpy(dtype=float)
    ranks = np.arange(1, len(agreement) + 1)
    width = max(1, len(agreement) // 50)
    smooth = pd.Series(agreement).rolling(width, min_periods=1, center=True).mean()
    axes = style.axes_or(axes)
    with style.house():
        axes.plot(ranks, smooth, color=style.MODEL)
        axes.axhline(_by_chance(fit), color=style.INK, linewidth=0.8, linestyle="--")
        axes.set_xlabel("rank of the edge by |weight|")
        axes.set_ylabel("seeds that agree on the sign")
        axes.set_ylim(None, 1.02)
    return axes


def null(fit: Fit, axes: Axes | None = None) -> Axes:
    """Distribution of the edges' p; without coupling every bar would reach the line.

    Raises:
        DataError: no edge has a p.
    """
    p = edge_table.directed(fit.edges)["p"].dropna().to_numpy(dtype=float)
    if not len(p):
        raise DataError("No directed edge has a p. Fit again with --null shift:20.")
    axes = style.axes_or(axes)
    with style.house():
        axes.hist(p, bins=20, range=(0, 1), color=style.MODEL)
        axes.axhline(len(p) / 20, color=style.INK, linewidth=0.8, linestyle="--")
        axes.set_xlabel("p against the null, pooled over edges")
        axes.set_ylabel("edges")
        axes.set_xlim(0, 1)
    return axes


def _by_chance(fit: Fit) -> float:
    """Expected share of seeds with the sign of their mean, were every weight a normal draw."""
    num_seeds = len(fit.environment.get("seeds", [fit.seed]))  # type: ignore[arg-type]
    weights = np.random.default_rng(0).normal(size=(num_seeds, 100_000))
    return float((np.sign(weights) == np.sign(weights.mean(axis=0))).mean())
