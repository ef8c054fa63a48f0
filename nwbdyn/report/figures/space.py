"""Positions of coupled neurons, and the input and output strength of each."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from nwbdyn.connectivity import edge_table
from nwbdyn.errors import DataError
from nwbdyn.report import style
from nwbdyn.report.figures.coupling import labels_of, scale_of_edges
from nwbdyn.results.fit_results import Fit


def has_positions(fit: Fit) -> bool:
    """True where the neuron table places at least half of the neurons, not all in one spot."""
    table = fit.connectivity.neurons.table
    if not {"x", "y"} <= set(table.columns):
        return False
    places = table[["x", "y"]].to_numpy(dtype=float)
    places = places[np.isfinite(places).all(axis=1)]
    return len(places) >= max(2, len(table) / 2) and bool(np.ptp(places, axis=0).max() > 0)


def distance(fit: Fit, axes: Axes | None = None) -> Axes:
    """Size of the weights against the distance between the two neurons: median and quartiles."""
    position, edges = _placed(fit)
    apart = np.linalg.norm(
        position.loc[edges["pre_id"]].to_numpy() - position.loc[edges["post_id"]].to_numpy(), axis=1
    )
    magnitude = edges["weight"].abs().to_numpy()
    bins = pd.qcut(pd.Series(apart), min(20, len(apart)), duplicates="drop")
    grouped = pd.DataFrame({"apart": apart, "weight": magnitude}).groupby(bins, observed=True)
    middle, spread = grouped.median(), grouped["weight"].quantile([0.25, 0.75]).unstack()
    axes = style.axes_or(axes)
    with style.house():
        axes.fill_between(
            middle["apart"], spread[0.25], spread[0.75], color=style.MODEL, alpha=0.25, linewidth=0
        )
        axes.plot(middle["apart"], middle["weight"], "o-", color=style.MODEL, markersize=4)
        axes.set_ylim(0)
        axes.set_xlabel("distance (the file's unit)")
        axes.set_ylabel(f"|weight|\n{scale_of_edges(fit)}".strip())
    return axes


def degree(fit: Fit, axes: Axes | None = None) -> Axes:
    """Total input against total output of each neuron, coloured by cell type or region."""
    matrix = np.abs(fit.connectivity.mean().to_numpy()).astype(float)
    np.fill_diagonal(matrix, 0)
    labels = labels_of(fit)
    names = sorted(set(labels))
    several = 1 < len(names) <= len(style.CATEGORIES)
    axes = style.axes_or(axes, size=(style.HALF, 3.0))
    with style.house():
        for label, colour in zip(names, style.CATEGORIES * (len(names) or 1), strict=False):
            members = labels == label
            axes.plot(
                matrix.sum(axis=0)[members],
                matrix.sum(axis=1)[members],
                "o",
                markersize=4,
                alpha=0.8,
                color=colour if several else style.BASELINE,
                label=label or "unlabelled",
            )
        axes.set_xlabel("output: sum of |weight| it sends")
        axes.set_ylabel("input: sum it receives")
        if several:
            axes.legend(loc="upper left", bbox_to_anchor=(1, 1), handletextpad=0.1)
    return axes


def strongest_edges(fit: Fit, *, num_edges: int = 60) -> Axes:
    """The strongest edges between the neurons' places, in three dimensions or two.

    Lines grow thicker towards the neuron that receives.
    """
    import matplotlib.pyplot as plt

    style.check_count("num_edges", num_edges)
    position, edges = _placed(fit)
    solid = "z" in position and np.ptp(position["z"]) > 0
    shown = position if solid else position[["x", "y"]]
    with style.house():
        figure = plt.figure(figsize=(style.HALF, 3.8))
        axes = figure.add_subplot(projection="3d" if solid else None)
        axes.plot(*shown.to_numpy().T, "o", markersize=3, color=style.INK, alpha=0.6, linewidth=0)
        for edge in edges.head(num_edges).itertuples():
            start, end = shown.loc[edge.pre_id].to_numpy(), shown.loc[edge.post_id].to_numpy()
            middle = (start + end) / 2
            colour = style.POSITIVE if edge.weight > 0 else style.NEGATIVE
            axes.plot(*np.array([start, middle]).T, color=colour, linewidth=0.6, alpha=0.6)
            axes.plot(*np.array([middle, end]).T, color=colour, linewidth=1.5, alpha=0.6)
        for name in shown.columns:
            getattr(axes, f"set_{name}label")(name)
        if solid:
            for name in "xyz":
                getattr(axes, f"{name}axis").set_pane_color((0, 0, 0, 0))
        else:
            axes.set_aspect("equal")
    return axes


def _placed(fit: Fit) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Positions by neuron id of the neurons that have one, and the edges between these.

    Raises:
        DataError: the recording has no positions.
    """
    if not has_positions(fit):
        raise DataError(
            "The recording states no positions of its neurons (x, y), so there is no map of them. "
            "Draw fit.plot.strongest_arcs() instead."
        )
    table = fit.connectivity.neurons.table.set_index("id")
    known = table[[column for column in ("x", "y", "z") if column in table]].astype(float).dropna()
    edges = edge_table.directed(fit.edges)
    ends = edges["pre_id"].isin(known.index) & edges["post_id"].isin(known.index)
    return known, edges[ends]
