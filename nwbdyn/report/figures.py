"""Figures of a fit, one function each; every one returns the axes it drew on.

Each takes a `Fit` and, where a figure has one panel, the axes to draw on. Nothing here computes a
score: numbers come from the fit's own metrics.
"""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from nwbdyn.report import style
from nwbdyn.results import Fit
from nwbdyn.splits import TEST, TRAIN

MOST_POINTS = 2000  # of one curve; longer ones are shown in part
MOST_NEURONS = 400  # rows of a heat map; larger networks show the strongest


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
        if score.get(split, {}).get(metric) is not None
    }
    order = sorted(values, key=lambda name: values[name])
    axes = axes or style.panels(size=(6.4, 0.6 + 0.32 * len(order)))[0]
    with style.house():
        for row, name in enumerate(order):
            colour = style.MODEL if name == fit.model else style.BASELINE
            interval = by_interval.get(name, {}).get(split, {}).get(metric)
            if interval is not None and all(end is not None for end in interval):
                axes.plot(interval, [row, row], color=colour, linewidth=2, alpha=0.5)
            axes.plot(values[name], row, "o", color=colour)
        axes.set_yticks(range(len(order)), order)
        axes.set_ylim(-0.6, len(order) - 0.4)
        axes.set_xlabel(f"{metric} on {split}")
        axes.grid(axis="x", alpha=0.3)
    return axes


def learning_curve(fit: Fit, axes: Axes | None = None) -> Axes:
    """Training loss per epoch and the validation score that chose the weights."""
    history = pd.DataFrame(fit.history)
    axes = axes or style.panels()[0]
    with style.house():
        axes.plot(history["epoch"], history["loss"], color=style.TRAIN, label="training loss")
        axes.set_xlabel("epoch")
        axes.set_ylabel("training loss")
        if "validation" in history:
            validated = history.dropna(subset="validation")
            right = axes.twinx()
            right.plot(
                validated["epoch"], validated["validation"], color=style.MODEL, label="validation"
            )
            right.set_ylabel("validation score", color=style.MODEL)
            right.spines["right"].set_visible(True)
    return axes


def predictions(fit: Fit) -> tuple[Axes, ...]:
    """Recorded and predicted activity of the best, the median and the worst neuron on test."""
    predicted, recorded = fit.predictions, _recorded(fit)
    scored = _scored_neurons(fit)
    fits = np.array([_correlation(fit, neuron) for neuron in scored])
    order = np.argsort(np.nan_to_num(fits, nan=-np.inf))
    chosen = {"best": order[-1], "median": order[len(order) // 2], "worst": order[0]}
    bins = _shown_bins(fit)
    axes = style.panels(3, 1, size=(6.4, 4.2))
    with style.house():
        for panel, (word, position) in zip(axes, chosen.items(), strict=True):
            neuron = scored[position]
            time = predicted.time[bins]
            if predicted.quantity == "counts":
                panel.bar(
                    time,
                    recorded[bins, neuron],
                    width=predicted.bin_width,
                    color=style.TRAIN,
                    label="spikes per bin",
                )
            else:
                panel.plot(time, recorded[bins, neuron], color=style.INK, label="recorded")
            panel.plot(time, predicted.values[bins, neuron], color=style.MODEL, label="predicted")
            identity = fit.neurons.ids[neuron]
            panel.set_title(f"{word}: neuron {identity}, r = {fits[position]:.2f}")
        axes[0].legend(loc="upper right", ncols=2)
        axes[-1].set_xlabel("time (s)")
    return axes


def population(fit: Fit) -> tuple[Axes, ...]:
    """The first three principal components of the recorded activity, and of the prediction."""
    recorded, scored = _recorded(fit), _scored_neurons(fit)
    values = fit.predictions.values
    train = (fit.predictions.labels == TRAIN) & np.isfinite(recorded[:, scored]).all(axis=1)
    centre = recorded[train][:, scored].mean(axis=0)
    spread = recorded[train][:, scored].std(axis=0)
    spread[spread == 0] = 1
    _, _, basis = np.linalg.svd((recorded[train][:, scored] - centre) / spread, full_matrices=False)
    bins = _shown_bins(fit)
    count = min(3, len(scored))
    axes = style.panels(count, 1, size=(6.4, 1.3 * count + 0.3))
    with style.house():
        for k, panel in enumerate(axes):
            for source, colour, label in (
                (recorded, style.INK, "recorded"),
                (values, style.MODEL, "predicted"),
            ):
                component = ((source[bins][:, scored] - centre) / spread) @ basis[k]
                panel.plot(fit.predictions.time[bins], component, color=colour, label=label)
            panel.set_ylabel(f"PC {k + 1}")
        axes[0].legend(loc="upper right", ncols=2)
        axes[-1].set_xlabel("time (s)")
    return axes


def connectivity(fit: Fit, axes: Axes | None = None) -> Axes:
    """The mean matrix, rows receive, sorted by cell type and region; zero is white."""
    weight = fit.connectivity.mean()
    table = fit.connectivity.neurons.table
    order = _sorted_rows(table)
    if len(order) > MOST_NEURONS:
        strength = np.abs(weight.to_numpy()).sum(axis=0) + np.abs(weight.to_numpy()).sum(axis=1)
        strongest = set(np.argsort(-strength)[:MOST_NEURONS])
        order = np.array([row for row in order if row in strongest])
    matrix = weight.to_numpy()[np.ix_(order, order)].copy()
    np.fill_diagonal(matrix, np.nan)
    axes = axes or style.panels(size=(5.2, 4.4))[0]
    high = style.limit(matrix)
    with style.house():
        image = axes.imshow(
            matrix, cmap=style.SIGNED, vmin=-high, vmax=high, interpolation="nearest"
        )
        figure = axes.get_figure()
        assert figure is not None
        figure.colorbar(image, ax=axes, label="weight", shrink=0.8)
        axes.set_xlabel("presynaptic")
        axes.set_ylabel("postsynaptic")
        groups = style.bounds(_labels(table)[order].tolist())
        if 1 < len(groups) <= 24:
            middles = [(start + stop - 1) / 2 for _, start, stop in groups]
            names = [name or "?" for name, _, _ in groups]
            axes.set_xticks(middles, names, rotation=60, ha="right")
            axes.set_yticks(middles, names)
            for _, start, _ in groups[1:]:
                axes.axhline(start - 0.5, color=style.INK, linewidth=0.4)
                axes.axvline(start - 0.5, color=style.INK, linewidth=0.4)
        for side in axes.spines.values():
            side.set_visible(False)
    return axes


def cell_types(fit: Fit, axes: Axes | None = None) -> Axes:
    """Mean weight per pair of cell types, rows receive; numbers in the cells."""
    course = fit.connectivity.by_cell_type()
    matrix = course.mean("time").to_numpy()
    types = course["post_type"].to_numpy()
    axes = axes or style.panels(size=(1.6 + 0.6 * len(types), 1.2 + 0.5 * len(types)))[0]
    high = float(np.nanmax(np.abs(matrix))) or 1.0
    with style.house():
        axes.imshow(matrix, cmap=style.SIGNED, vmin=-high, vmax=high)
        for (row, column), value in np.ndenumerate(matrix):
            dark = abs(value) > 0.6 * high
            axes.text(
                column,
                row,
                "" if np.isnan(value) else f"{value:.2g}",
                ha="center",
                va="center",
                color="white" if dark else "#222222",
            )
        axes.set_xticks(range(len(types)), types, rotation=45, ha="right")
        axes.set_yticks(range(len(types)), types)
        axes.set_xlabel("presynaptic")
        axes.set_ylabel("postsynaptic")
    return axes


def cell_types_over_time(fit: Fit, axes: Axes | None = None) -> Axes:
    """The course of the six strongest pairs of cell types over the session."""
    course = fit.connectivity.by_cell_type()
    types = course["post_type"].to_numpy()
    columns = pd.MultiIndex.from_product([types, types], names=["post", "pre"])
    flat = course.to_numpy().reshape(len(course), -1)
    pairs = pd.DataFrame(flat, index=course["time"].to_numpy(), columns=columns)
    pairs = pairs.dropna(axis="columns", how="all")
    strongest = pairs.abs().mean().sort_values(ascending=False).index[:6]
    step = max(1, len(pairs) // MOST_POINTS)
    axes = axes or style.panels()[0]
    with style.house():
        for (post, pre), colour in zip(strongest, style.CATEGORIES, strict=False):
            smooth = pairs[(post, pre)].rolling(max(1, 4 * step), min_periods=1).mean()[::step]
            axes.plot(smooth.index, smooth, color=colour, label=f"{pre} → {post}")
        axes.axhline(0, color=style.INK, linewidth=0.5)
        axes.set_xlabel("time (s)")
        axes.set_ylabel("mean weight")
        axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return axes


def weights(fit: Fit, axes: Axes | None = None) -> Axes:
    """The distribution of edge weights; the share of edges is on a log axis."""
    axes = axes or style.panels()[0]
    with style.house():
        axes.hist(fit.edges["weight"], bins=80, color=style.MODEL, log=True)
        axes.axvline(0, color=style.INK, linewidth=0.5)
        axes.set_xlabel("weight")
        axes.set_ylabel("edges")
    return axes


def distance(fit: Fit, axes: Axes | None = None) -> Axes:
    """Weight against the distance between the two neurons, where positions are known."""
    position = _positions(fit)
    row = {identity: i for i, identity in enumerate(fit.connectivity.neurons.ids)}
    pre, post = (fit.edges[end].map(row).to_numpy() for end in ("pre", "post"))
    apart = np.linalg.norm(position[pre] - position[post], axis=1)
    magnitude = fit.edges["weight"].abs().to_numpy()
    bins = pd.qcut(pd.Series(apart), min(20, len(apart)), duplicates="drop")
    grouped = pd.DataFrame({"apart": apart, "weight": magnitude}).groupby(bins, observed=True)
    middle, spread = grouped.median(), grouped["weight"].quantile([0.25, 0.75]).unstack()
    axes = axes or style.panels()[0]
    with style.house():
        axes.fill_between(
            middle["apart"], spread[0.25], spread[0.75], color=style.MODEL, alpha=0.25, linewidth=0
        )
        axes.plot(middle["apart"], middle["weight"], "o-", color=style.MODEL)
        axes.set_xlabel("distance (units of the file)")
        axes.set_ylabel("|weight|, median and quartiles")
    return axes


def degree(fit: Fit, axes: Axes | None = None) -> Axes:
    """Total input against total output of each neuron."""
    matrix = np.abs(fit.connectivity.mean().to_numpy()).copy()
    np.fill_diagonal(matrix, 0)
    labels = _labels(fit.connectivity.neurons.table)
    axes = axes or style.panels(size=(4.2, 3.2))[0]
    with style.house():
        for label, colour in zip(sorted(set(labels)), style.CATEGORIES * 8, strict=False):
            chosen = labels == label
            axes.plot(
                matrix.sum(axis=0)[chosen],
                matrix.sum(axis=1)[chosen],
                ".",
                color=colour,
                label=label or "unlabelled",
            )
        axes.set_xlabel("output: sum of |weight| it sends")
        axes.set_ylabel("input: sum of |weight| it receives")
        if 1 < len(set(labels)) <= len(style.CATEGORIES):
            axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return axes


def strongest_map(fit: Fit, *, num_edges: int = 60) -> Axes:
    """The strongest edges between the neurons' places, in two or three dimensions."""
    import matplotlib.pyplot as plt

    position = _positions(fit)
    solid = position.shape[1] == 3 and np.ptp(position[:, 2]) > 0
    row = {identity: i for i, identity in enumerate(fit.connectivity.neurons.ids)}
    with style.house():
        figure = plt.figure(figsize=(5.2, 4.4))
        axes = figure.add_subplot(projection="3d" if solid else None)
        shown = position if solid else position[:, :2]
        axes.plot(*shown.T, ".", markersize=4, color=style.INK, alpha=0.6)
        for edge in fit.edges.head(num_edges).itertuples():
            ends = shown[[row[edge.pre], row[edge.post]]]
            colour = "#b2182b" if edge.weight > 0 else "#2166ac"
            axes.plot(*ends.T, color=colour, linewidth=1, alpha=0.7)
        for name in "xyz"[: shown.shape[1]]:
            getattr(axes, f"set_{name}label")(name)
    return axes


def _recorded(fit: Fit) -> np.ndarray:
    recorded = fit.predictions.recorded
    assert recorded is not None, "a saved fit keeps what was recorded"
    return recorded


def _scored_neurons(fit: Fit) -> np.ndarray:
    """Rows whose predictions are predictions: the held-out ones, or all of a next-bin model."""
    held_out = np.flatnonzero(fit.predictions.held_out)
    return held_out if held_out.size else np.arange(len(fit.neurons))


def _correlation(fit: Fit, neuron: int) -> float:
    test = fit.predictions.labels == TEST
    true, predicted = _recorded(fit)[test, neuron], fit.predictions.values[test, neuron]
    both = np.isfinite(true) & np.isfinite(predicted)
    if both.sum() < 2 or not true[both].std() or not predicted[both].std():
        return float("nan")
    return float(np.corrcoef(true[both], predicted[both])[0, 1])


def _shown_bins(fit: Fit) -> np.ndarray:
    """The first test bins with a prediction, as many as a figure can show."""
    scored = _scored_neurons(fit)
    known = np.isfinite(fit.predictions.values[:, scored]).any(axis=1)
    bins = np.flatnonzero((fit.predictions.labels == TEST) & known)
    most = 600 if fit.predictions.quantity == "counts" else MOST_POINTS
    return bins[:most]


def _labels(table: pd.DataFrame) -> np.ndarray:
    for column in ("cell_type", "location"):
        if column in table and table[column].nunique() > 1:
            return table[column].fillna("").astype(str).to_numpy()
    return np.full(len(table), "")


def _sorted_rows(table: pd.DataFrame) -> np.ndarray:
    columns = [
        table[column].fillna("").astype(str).to_numpy()
        for column in ("location", "cell_type")
        if column in table
    ]
    return np.lexsort(columns) if columns else np.arange(len(table))


def has_positions(fit: Fit) -> bool:
    """True where the neuron table places every neuron, not all in one spot."""
    table = fit.connectivity.neurons.table
    if not {"x", "y"} <= set(table.columns):
        return False
    places = table[["x", "y"]].to_numpy(dtype=float)
    return bool(np.isfinite(places).all() and np.ptp(places, axis=0).max() > 0)


def _positions(fit: Fit) -> np.ndarray:
    table = fit.connectivity.neurons.table
    columns = [column for column in ("x", "y", "z") if column in table]
    return table[columns].to_numpy(dtype=float)
