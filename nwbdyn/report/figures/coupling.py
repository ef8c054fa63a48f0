"""The couplings of a fit: the mean matrix, cell types, their course over time and state."""

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.ticker import LogFormatter

from nwbdyn.connectivity import edge_table
from nwbdyn.connectivity.strongest_edges import decimals
from nwbdyn.errors import ConfigError
from nwbdyn.report import style
from nwbdyn.report.figures.activity import session_clock
from nwbdyn.results.fit_results import Fit

MOST_NEURONS = 400  # rows of a heat map; larger networks show the strongest
MOST_GROUPS = 24  # names along an axis
MOST_NAMES = 80  # rows of a heat map whose neurons are named
MATRIX_HEIGHT = 7.6  # inches of a heat map across the page
MOST_POINTS = 2000  # of one curve
MOST_COURSES = 6  # curves in one panel
MOST_PAIRS = 12  # of cell types, with intervals
LEVEL = 0.05  # edges with a smaller q are marked


def connectivity(fit: Fit, axes: Axes | None = None) -> Axes:
    """The mean matrix, rows receive, sorted by cell type and region; zero is white.

    Edges whose `q` in the edge table is below .05 carry a dot.
    """
    weight = fit.connectivity.mean().to_numpy().astype(float)
    edges = edge_table.directed(fit.edges)
    return _heat_map(fit, weight, edges[:0] if "measure" in edges.attrs else edges, axes)


def couplings_of_recording(fit: Fit, axes: Axes | None = None) -> Axes:
    """The directed edges of a fit with a null, rows receive; those with a small q carry a dot."""
    edges = edge_table.directed(fit.edges)
    return _heat_map(fit, _matrix(fit, edges), edges, axes)


def simultaneous(fit: Fit, axes: Axes | None = None) -> Axes:
    """The matrix of simultaneous couplings, symmetric; pairs with a small q carry a dot.

    Of a large network, pairs that the edge table leaves out are blank.
    """
    pairs = edge_table.simultaneous(fit.edges)
    turned = pairs.assign(pre_id=pairs["post_id"], post_id=pairs["pre_id"])
    both = pd.concat([pairs, turned], ignore_index=True)
    axes = _heat_map(fit, _matrix(fit, both), both, axes)
    axes.set_xlabel("neuron")
    axes.set_ylabel("neuron")
    return axes


def _matrix(fit: Fit, edges: pd.DataFrame) -> np.ndarray:
    """(N, N) weights of edges, NaN where there is none."""
    row = pd.Index(fit.connectivity.neurons.ids)
    weight = np.full((len(row), len(row)), np.nan)
    weight[row.get_indexer(edges["post_id"]), row.get_indexer(edges["pre_id"])] = edges["weight"]
    return weight


def matrix_at(fit: Fit, window: int, order: np.ndarray, high: float) -> Axes:
    """The matrix of one window on the scale of the mean matrix, as the page's slider starts.

    Args:
        window: index of the window.
        order: rows that are shown.
        high: weight of the full colour.
    """
    connectivity = fit.connectivity
    weight = connectivity.at(connectivity.time[window]).to_numpy().astype(float)
    return _heat_map(fit, weight, fit.edges[:0], None, order=order, high=high)


def scale(fit: Fit) -> tuple[str, float, float]:
    """Colour map of the mean matrix, and the weights of its two ends."""
    mean = fit.connectivity.mean().to_numpy().astype(float)
    order = strongest_rows(mean, fit.connectivity.sorted_rows(), MOST_NEURONS)
    return _scale(_without_diagonal(mean, order))


def _scale(matrix: np.ndarray, high: float | None = None) -> tuple[str, float, float]:
    high = style.limit(matrix) if high is None else high
    signed = bool(np.nanmin(matrix) < 0)
    return (style.SIGNED, -high, high) if signed else (style.UNSIGNED, 0.0, high)


def _without_diagonal(weight: np.ndarray, order: np.ndarray) -> np.ndarray:
    matrix = weight[np.ix_(order, order)]
    np.fill_diagonal(matrix, np.nan)
    return matrix


def _heat_map(
    fit: Fit,
    weight: np.ndarray,
    edges: pd.DataFrame,
    axes: Axes | None,
    *,
    order: np.ndarray | None = None,
    high: float | None = None,
) -> Axes:
    """A matrix of weights with a dot on every edge whose q is below LEVEL.

    A figure of its own goes across the page and names the neurons of a small network.
    """
    if order is None:
        rows = fit.connectivity.sorted_rows()
        order = strongest_rows(np.nan_to_num(weight), rows, MOST_NEURONS)
    matrix = _without_diagonal(weight, order)
    named = axes is None and len(order) <= MOST_NAMES
    axes = style.axes_or(axes, size=(style.WIDE, MATRIX_HEIGHT))
    cmap, low, high = _scale(matrix, high)
    with style.house():
        image = axes.imshow(matrix, cmap=cmap, vmin=low, vmax=high, interpolation="nearest")
        figure = axes.get_figure()
        assert figure is not None
        bar = figure.colorbar(image, ax=axes, label="weight", shrink=0.5, aspect=30)
        bar.formatter.set_powerlimits((-3, 3))  # type: ignore[attr-defined]
        bar.outline.set_visible(False)
        _dots(axes, *significant(edges, fit.connectivity.neurons.ids[order]), len(order))
        axes.set_xlabel("presynaptic (sends)")
        axes.set_ylabel("postsynaptic (receives)")
        names = [fit.connectivity.neurons.names[row] for row in order] if named else []
        _name_rows(axes, labels_of(fit)[order].tolist(), names)
        for side in axes.spines.values():
            side.set_visible(False)
    return axes


def _dots(axes: Axes, pre: np.ndarray, post: np.ndarray, number: int) -> None:
    """A dot in each of these cells of a matrix of so many neurons."""
    if not len(pre):
        return
    size = max(0.5, min(16, 16000 / number**2))
    axes.scatter(
        pre,
        post,
        s=size,
        color=style.ON_MATRIX,
        edgecolors="white",  # so that a dot shows on the darkest cells
        linewidths=min(0.6, size / 10),
        gid="significant",
    )


def significant(edges: pd.DataFrame, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions (pre, post) of the edges with q below .05 in a matrix of the neurons `ids`."""
    position = {neuron: i for i, neuron in enumerate(ids)}
    ends = (
        edges.loc[edges["q"] < LEVEL, ["pre_id", "post_id"]].map(position.get).dropna().astype(int)
    )
    return ends["pre_id"].to_numpy(), ends["post_id"].to_numpy()


def cell_types(fit: Fit, axes: Axes | None = None, *, column: str = "cell_type") -> Axes:
    """Mean weight per pair of cell types, rows receive; numbers in the cells.

    Args:
        column: of the neuron table; "location" gives regions.
    """
    mean = fit.connectivity.by_cell_type(column).mean("time")
    return _pair_matrix(mean, axes)


def cell_type_intervals(fit: Fit, axes: Axes | None = None) -> Axes:
    """Mean weight of the strongest pairs of cell types with 95 % intervals over drawn neurons.

    A fit of one recording speaks of one animal: intervals are within it. Filled: q below .05.
    """
    assert fit.groups is not None, "only a fit with a null sums up its cell types"
    table = fit.groups.rename(columns=lambda name: name.removesuffix("_within_animal"))
    table = table.dropna(subset=["weight", "low", "high"])
    strongest = table["weight"].abs().sort_values(ascending=False).index[:MOST_PAIRS]
    table = table.loc[strongest[::-1]]
    axes = style.axes_or(axes, size=(style.HALF, 0.8 + 0.25 * len(table)))
    with style.house():
        for position, pair in enumerate(table.itertuples()):
            called = pair.q < LEVEL
            axes.plot(
                [pair.low, pair.high], [position, position], color=style.MODEL, alpha=0.5, lw=2
            )
            axes.plot(
                pair.weight,
                position,
                "o",
                color=style.MODEL,
                fillstyle="full" if called else "none",
            )
        axes.axvline(0, color=style.INK, linewidth=0.5)
        axes.set_yticks(range(len(table)), table["pre"] + " → " + table["post"])
        axes.set_xlabel("mean weight")
    return axes


def cell_types_over_time(fit: Fit, axes: Axes | None = None) -> Axes:
    """The course of the six strongest pairs of cell types over the session."""
    course = fit.connectivity.by_cell_type()
    types = course["post_type"].to_numpy()
    columns = pd.MultiIndex.from_product([types, types], names=["post", "pre"])
    flat = course.to_numpy().reshape(len(course), -1)
    time, label = session_clock(course["time"].to_numpy())
    pairs = pd.DataFrame(flat, index=time, columns=columns)
    pairs = pairs.dropna(axis="columns", how="all")
    strongest = pairs.abs().mean().sort_values(ascending=False).index[:MOST_COURSES]
    step = max(1, len(pairs) // MOST_POINTS)
    axes = style.axes_or(axes, size=(style.WIDE, 2.8))
    with style.house():
        for (post, pre), colour in zip(strongest, style.CATEGORIES, strict=False):
            smooth = pairs[(post, pre)].rolling(max(1, 4 * step), min_periods=1).mean()[::step]
            axes.plot(smooth.index, smooth, color=colour, label=f"{pre} → {post}")
        axes.axhline(0, color=style.INK, linewidth=0.5)
        axes.set_xlabel(label)
        axes.set_ylabel("mean weight")
        axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return axes


def cell_types_by_state(
    fit: Fit, states: pd.DataFrame, *, column: str = "state"
) -> tuple[Axes, ...]:
    """Mean weight per pair of cell types in each behavioural state, on one colour scale.

    Args:
        states: an interval table with start_time, stop_time and the state, in `column`.

    Raises:
        ConfigError: `states` is no such table.
    """
    _check_intervals(states, column)
    names = sorted(states[column].unique())
    means = [
        fit.connectivity.by_cell_type(mask=states[states[column] == name]).mean("time")
        for name in names
    ]
    high = float(np.nanmax([np.nanmax(np.abs(mean)) for mean in means]))
    axes = style.panels(1, len(names), size=(style.HALF * len(names), 3.4))
    for panel, name, mean in zip(axes, names, means, strict=True):
        _pair_matrix(mean, panel, high=high)
        with style.house():
            panel.set_title(str(name))
    return axes


def _check_intervals(states: object, column: str) -> None:
    needed = ("start_time", "stop_time", column)
    if not isinstance(states, pd.DataFrame):
        what = f"of type {type(states).__name__}"
    elif missing := [name for name in needed if name not in states]:
        what = f"a table without {', '.join(missing)}"
    elif not all(pd.api.types.is_numeric_dtype(states[name]) for name in needed[:2]):
        what = "a table whose times are not numbers"
    elif not states[column].notna().any():
        what = "a table that names no state"
    else:
        return
    raise ConfigError(
        f"states is {what}. Pass a DataFrame with the columns {', '.join(needed)}; times are "
        "seconds of the recording."
    )


def weights(fit: Fit, axes: Axes | None = None) -> Axes:
    """The distribution of edge weights; the number of edges is on a log axis."""
    axes = style.axes_or(axes)
    with style.house():
        axes.hist(edge_table.directed(fit.edges)["weight"], bins=80, color=style.MODEL, log=True)
        axes.yaxis.set_major_formatter(LogFormatter())  # in plain letters, no mathematics
        axes.yaxis.set_minor_formatter(LogFormatter())
        axes.axvline(0, color=style.INK, linewidth=0.5)
        axes.locator_params(axis="x", nbins=6)
        axes.ticklabel_format(axis="x", scilimits=(-3, 4))  # 0.0003 beside 0.0002 would touch
        axes.set_xlabel(f"weight {scale_of_edges(fit)}".strip())
        axes.set_ylabel("edges")
    return axes


def neuron_importance(fit: Fit, axes: Axes | None = None, *, most: int = 40) -> Axes:
    """Attention that each neuron receives: the column means of the first layer's maps.

    The dashed line is the mean; held-out neurons, which are never seen, receive the rest.
    """
    received = importance(fit)
    order = received.sort_values(ascending=False).index[:most]
    axes = style.axes_or(axes, size=(style.WIDE, 2.4))
    with style.house():
        axes.bar([str(neuron) for neuron in order], received[order], color=style.MODEL, width=0.7)
        axes.axhline(received.mean(), color=style.INK, linewidth=0.8, linestyle="--")
        axes.set_xlabel("held-in neuron, by importance")
        axes.set_ylabel("attention received")
        axes.tick_params(axis="x", rotation=90, labelsize=7)
        axes.margins(x=0.01)
    return axes


def importance(fit: Fit) -> pd.Series:
    """Neuron id -> mean attention it receives in the first layer, over every window."""
    received = fit.connectivity.mean().to_numpy().mean(axis=0)
    return pd.Series(received, index=fit.connectivity.neurons.ids)


def scale_of_edges(fit: Fit) -> str:
    """Remark on the scale of the edge table's weights: those of several seeds are scaled."""
    seeds: Any = fit.environment.get("seeds", [fit.seed])
    return f"(mean of {len(seeds)} seeds, each of rms 1)" if len(seeds) > 1 else ""


def labels_of(fit: Fit) -> np.ndarray:
    """(N,) str, the most specific label of each neuron: cell type, else region, else ""."""
    table = fit.connectivity.neurons.table
    for column in ("cell_type", "location"):
        if column in table and table[column].nunique() > 1:
            return table[column].fillna("").astype(str).to_numpy()
    return np.full(len(table), "")


def strongest_rows(weight: np.ndarray, order: np.ndarray, most: int) -> np.ndarray:
    """The rows in `order`, or of a larger network the `most` with the strongest coupling."""
    if len(order) <= most:
        return order
    size = np.abs(weight).astype(float)
    np.fill_diagonal(size, 0)
    kept = np.argsort(-(size.sum(axis=0) + size.sum(axis=1)))[:most]
    return order[np.isin(order, kept)]


def _name_rows(axes: Axes, labels: list[str], names: list[str]) -> None:
    """Names of neurons along both axes, and of the runs of equal labels with lines between them.

    Args:
        labels: cell type or region of every row.
        names: of every row; empty where neurons are not named.
    """
    axes.tick_params(length=0)
    groups = style.bounds(labels)
    if names:
        small = min(8.0, 420 / len(names))
        axes.set_xticks(range(len(names)), names, rotation=90, fontsize=small)
        axes.set_yticks(range(len(names)), names, fontsize=small)
    if not 1 < len(groups) <= MOST_GROUPS:
        return
    middles = [(start + stop - 1) / 2 for _, start, stop in groups]
    types = [name or "?" for name, _, _ in groups]
    if names:
        above, beside = axes.secondary_xaxis("top"), axes.secondary_yaxis("right")
        above.set_xticks(middles, types, rotation=30, ha="left", rotation_mode="anchor")
        beside.set_yticks(middles, types)
        for one in (above, beside):
            one.tick_params(length=0)
            one.spines[:].set_visible(False)
    else:
        axes.set_xticks(middles, types, rotation=60, ha="right", rotation_mode="anchor")
        axes.set_yticks(middles, types)
    for _, start, _ in groups[1:]:
        axes.axhline(start - 0.5, color=style.ON_MATRIX, linewidth=0.4)
        axes.axvline(start - 0.5, color=style.ON_MATRIX, linewidth=0.4)


def _pair_matrix(mean: xr.DataArray, axes: Axes | None, *, high: float | None = None) -> Axes:
    matrix, types = mean.to_numpy(), mean["post_type"].to_numpy()
    side = min(1.4 + 0.5 * len(types), style.HALF)
    axes = style.axes_or(axes, size=(style.HALF, max(2.2, 0.85 * side)))
    high = high or float(np.nanmax(np.abs(matrix))) or 1.0
    digits = decimals(high, 2)
    with style.house():
        axes.imshow(matrix, cmap=style.SIGNED, vmin=-high, vmax=high, aspect="auto")
        if len(types) <= 12:
            for (row, column), value in np.ndenumerate(matrix):
                axes.text(
                    column,
                    row,
                    "" if np.isnan(value) else f"{value:.{digits}f}",
                    ha="center",
                    va="center",
                    fontsize=8,
                    color="white" if abs(value) > 0.6 * high else style.ON_MATRIX,
                )
        axes.set_xticks(range(len(types)), types, rotation=45, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(len(types)), types)
        axes.tick_params(length=0)
        axes.set_xlabel("presynaptic (sends)")
        axes.set_ylabel("postsynaptic (receives)")
        for side_ in axes.spines.values():
            side_.set_visible(False)
    return axes
