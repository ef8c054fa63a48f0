"""The mean coupling matrix as a picture that every NWB viewer shows."""

from textwrap import wrap

import numpy as np
from hdmf.backends.hdf5 import H5DataIO
from pynwb.base import Images
from pynwb.image import RGBImage

from nwbdyn.connectivity.connectivity import Connectivity

SMALLEST, LARGEST = 400, 1000  # pixels of a side
SIZE, DPI = (6.4, 5.6), 90  # of the picture, inches
LINE = 48  # letters of a line beside the colour bar
MOST_NAMES = 48  # neurons whose names fit on an axis
COLOURS, SHADES = "RdBu_r", 32
DIAGONAL = 0.5  # grey: a neuron's own history is no coupling


def heat_map(name: str, matrix: np.ndarray, connectivity: Connectivity, averaged: str) -> Images:
    """Images with one picture: diverging colours around zero, sorted by cell type and region.

    Args:
        name: of the Images object.
        matrix: (N, N) [post, pre].
        connectivity: couplings that the matrix averages, for the order and names of its rows.
        averaged: windows and seeds that it averages over, in words.
    """
    order = connectivity.sorted_rows()
    neurons = connectivity.neurons
    labels = [label for label in ("cell_type", "location") if label in neurons.table]
    words = " and ".join(labels).replace("_", " ")
    pixels, limit = draw(matrix[np.ix_(order, order)])
    picture = RGBImage(
        name="coupling",
        data=H5DataIO(
            figure(
                pixels,
                limit,
                names=[neurons.names[row] for row in order],
                groups=_groups(connectivity, labels[:1], order),
                title=f"Mean coupling over {averaged}",
                measure=connectivity.measure,
            ),
            compression="gzip",
            shuffle=True,
        ),
        description=(
            f"Mean coupling over {averaged} ({connectivity.measure}). Rows receive, columns send; "
            + (f"both sorted by {words}. " if words else "both in the order of the recording. ")
            + f"Red is positive, blue negative, full colour at {limit:.3g}; the diagonal is grey."
        ),
    )
    return Images(name=name, images=[picture], description="Pictures of a fitted model.")


def figure(
    pixels: np.ndarray,
    limit: float,
    *,
    names: list[str],
    groups: list[str],
    title: str,
    measure: str,
) -> np.ndarray:
    """(height, width, 3) uint8: the matrix with axes, names, separators and a colour bar.

    Args:
        pixels: the matrix in colours, as `draw` gives it.
        limit: weight of full colour.
        names: of the rows, written on the axes where they are few.
        groups: label of each row, in stretches that lines separate; empty for none.
        title, measure: in words.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

    canvas = FigureCanvasAgg(Figure(figsize=SIZE, dpi=DPI, layout="constrained"))
    axes = canvas.figure.add_subplot()
    edge = len(names) - 0.5
    axes.imshow(pixels, extent=(-0.5, edge, edge, -0.5), interpolation="nearest")
    axes.set_xlabel("sender (pre)")
    axes.set_ylabel("receiver (post)")
    axes.set_title(title, fontsize=9)
    firsts = [row for row in range(len(groups)) if row == 0 or groups[row] != groups[row - 1]]
    for first in firsts[1:]:
        axes.axhline(first - 0.5, color="black", linewidth=0.8)
        axes.axvline(first - 0.5, color="black", linewidth=0.8)
    ticks, shown = list(range(len(names))), names
    if len(names) > MOST_NAMES:
        ticks, shown = [], []
        stops = [*firsts[1:], len(groups)] if groups else []
        for first, stop in zip(firsts, stops, strict=True):
            if stop - first >= len(names) / MOST_NAMES:  # narrower groups have no room for a name
                ticks.append((first + stop - 1) // 2)
                shown.append(groups[first] or "unlabelled")
    if ticks:
        axes.set_xticks(ticks, shown, rotation=90, fontsize=7)
        axes.set_yticks(ticks, shown, fontsize=7)
    scale = ScalarMappable(Normalize(-limit or -1, limit or 1), COLOURS)
    bar = canvas.figure.colorbar(scale, ax=axes, shrink=0.8)
    bar.set_label("\n".join(wrap(measure, LINE)), fontsize=8)
    canvas.draw()
    return np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[..., :3])


def _groups(connectivity: Connectivity, labels: list[str], order: np.ndarray) -> list[str]:
    """Label of each row in this order; empty where the recording has no labels."""
    if not labels:
        return []
    values = connectivity.neurons.table[labels[0]]
    return [value if isinstance(value, str) else "" for value in values.iloc[order]]


def draw(matrix: np.ndarray) -> tuple[np.ndarray, float]:
    """(side, side, 3) uint8 pixels, and the weight of full colour.

    Full colour is the 99th percentile of |weight| off the diagonal, so that one strong edge does
    not turn the rest white. Matrices beyond LARGEST are averaged in blocks.
    """
    from matplotlib import colormaps

    num_neurons = len(matrix)
    weights = np.array(matrix, dtype=np.float64)
    off_diagonal = np.abs(weights[~np.eye(num_neurons, dtype=bool)])
    limit = float(np.nanpercentile(off_diagonal, 99)) if off_diagonal.size else 0.0
    np.fill_diagonal(weights, np.nan)
    if num_neurons > LARGEST:
        starts = np.linspace(0, num_neurons, LARGEST, endpoint=False).astype(int)
        known = np.isfinite(weights).astype(np.float64)
        total = _blocks(np.nan_to_num(weights), starts)
        weights = total / np.maximum(_blocks(known, starts), 1)
    shade = weights / limit / 2 + 0.5 if limit else np.where(np.isfinite(weights), 0.5, np.nan)
    shade = np.round(shade * SHADES) / SHADES  # more would only make the file larger
    colours = colormaps[COLOURS](np.clip(np.nan_to_num(shade, nan=0.5), 0, 1))[..., :3]
    colours[~np.isfinite(weights)] = DIAGONAL
    pixels = np.round(255 * colours).astype(np.uint8)
    zoom = max(1, -(-SMALLEST // len(pixels)))
    return pixels.repeat(zoom, axis=0).repeat(zoom, axis=1), limit


def _blocks(matrix: np.ndarray, starts: np.ndarray) -> np.ndarray:
    return np.add.reduceat(np.add.reduceat(matrix, starts, axis=0), starts, axis=1)
