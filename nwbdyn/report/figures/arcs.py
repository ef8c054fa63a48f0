"""The strongest edges as arcs between neurons on a line, with arrowheads at the receivers."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch
from matplotlib.path import Path

from nwbdyn.connectivity import edge_table
from nwbdyn.connectivity.strongest_edges import ranked
from nwbdyn.report import style
from nwbdyn.report.figures.coupling import labels_of
from nwbdyn.results.fit_results import Fit

MOST_EDGES = 30
FLATTER = 0.8  # height of an arc to the left, of one to the right
LEAST_WIDTH, MOST_WIDTH = 0.6, 2.4  # points


def strongest_arcs(fit: Fit, axes: Axes | None = None, *, num_edges: int = MOST_EDGES) -> Axes:
    """The strongest directed edges as arcs; the arrowhead is at the neuron that receives.

    Neurons with one of these edges stand on a line, sorted by cell type or region. Arcs to the
    left are flatter than arcs to the right, so that both arcs of a pair are seen.
    """
    style.check_count("num_edges", num_edges)
    edges = shown(fit, num_edges)
    neurons = fit.connectivity.neurons
    ends = set(edges["pre_id"]) | set(edges["post_id"])
    order = [row for row in fit.connectivity.sorted_rows() if neurons.ids[row] in ends]
    position = {neurons.ids[row]: x for x, row in enumerate(order)}
    largest = float(edges["weight"].abs().max())
    axes = style.axes_or(axes, size=(style.WIDE, 3.6))
    reach = 1.0
    with style.house():
        for edge in edges.itertuples():
            start, end = position[edge.pre_id], position[edge.post_id]
            reach = max(reach, abs(end - start))
            size = abs(edge.weight) / largest
            axes.add_patch(
                FancyArrowPatch(
                    path=_arc(start, end),
                    arrowstyle="-|>",
                    mutation_scale=9,
                    color=style.POSITIVE if edge.weight > 0 else style.NEGATIVE,
                    linewidth=LEAST_WIDTH + (MOST_WIDTH - LEAST_WIDTH) * size,
                    alpha=0.85,
                )
            )
        axes.plot(range(len(order)), np.zeros(len(order)), "o", color=style.INK, markersize=3)
        axes.set_xlim(-0.7, len(order) - 0.3)
        axes.set_ylim(-0.02 * reach, 0.52 * reach)
        axes.set_yticks([])
        names = [neurons.names[row] for row in order]
        axes.set_xticks(range(len(order)), names, rotation=90, fontsize=8)
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        _name_types(axes, labels_of(fit)[order].tolist())
    return axes


def _arc(start: float, end: float) -> Path:
    """A curve above the line, half as high as it is long; to the left it is flatter."""
    height = abs(end - start) * (1.0 if end > start else FLATTER)
    control = ((start + end) / 2, height)
    return Path([(start, 0.0), control, (end, 0.0)], [Path.MOVETO, Path.CURVE3, Path.CURVE3])


def shown(fit: Fit, num_edges: int = MOST_EDGES) -> pd.DataFrame:
    """The directed edges that are drawn: the smallest q first, then the strongest."""
    edges = edge_table.directed(fit.edges)
    return ranked(edges[edges["weight"] != 0])[:num_edges]


def _name_types(axes: Axes, labels: list[str]) -> None:
    """Names of cell types above their neurons, with lines between them."""
    groups = style.bounds(labels)
    if len(groups) < 2:
        return
    above = axes.secondary_xaxis("top")
    above.set_xticks([(start + stop - 1) / 2 for _, start, stop in groups])
    above.set_xticklabels([name or "?" for name, _, _ in groups])
    above.tick_params(length=0)
    above.spines[:].set_visible(False)
    for _, start, _ in groups[1:]:
        axes.axvline(start - 0.5, color=style.QUIET, linewidth=0.6, linestyle=":")
