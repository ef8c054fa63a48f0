"""The mean coupling matrix as a picture that every NWB viewer shows."""

import warnings
from dataclasses import dataclass
from textwrap import wrap
from typing import TYPE_CHECKING

import h5py
import numpy as np
from hdmf.backends.hdf5 import H5DataIO
from pynwb.base import Images
from pynwb.image import RGBImage

from nwbdyn.connectivity.connectivity import Connectivity
from nwbdyn.printable import printable

if TYPE_CHECKING:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

SMALLEST, LARGEST = 400, 1000  # pixels of a side
SIZE, DPI = (6.4, 5.6), 90  # of the picture, inches
LINE = 48  # letters of a line beside the colour bar
MOST_NAMES = 48  # neurons whose names fit on an axis
COLOURS, SHADES = "RdBu_r", 32
COLOURS_OF_POSITIVE = "Reds"  # of a matrix without negative weights: half of COLOURS is of no use
HDF5_IMAGE = {  # attributes of HDF5's image specification, by which its viewers know a picture
    "CLASS": "IMAGE",
    "IMAGE_VERSION": "1.2",
    "IMAGE_SUBCLASS": "IMAGE_TRUECOLOR",
    "INTERLACE_MODE": "INTERLACE_PIXEL",
}
PICTURE = "coupling"  # name of the picture in the Images object
DIAGONAL = 0.5  # grey: a neuron's own history is no coupling


@dataclass(frozen=True)
class Scale:
    """Colours of the weights of a matrix."""

    colours: str  # name of a colour map
    low: float  # weight of its first colour
    high: float  # weight of its last colour

    @property
    def words(self) -> str:
        if self.low < 0:
            return f"Red is positive, blue negative, full colour at {self.high:.3g}"
        return f"White is {self.low:.3g} and less, full colour {self.high:.3g} and more"


@dataclass(frozen=True)
class LabelledMatrix:
    """A matrix in colours, with its labels."""

    pixels: np.ndarray  # (N, N, 3), as `draw` returns it
    scale: Scale  # colours of the weights
    names: list[str]  # of the rows, written on the axes where they are few
    groups: list[str]  # label of each row, in stretches that lines separate; empty for none
    title: str
    measure: str  # of a weight, in words
    kind: str  # of a row, "unit" or "roi"


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
    scale = scale_of(matrix)
    shown = LabelledMatrix(
        draw(matrix[np.ix_(order, order)], scale),
        scale,
        names=[printable(neurons.names[row]) for row in order],
        groups=_groups(connectivity, labels[:1], order),
        title=f"Mean coupling over {averaged}",
        measure=connectivity.measure,
        kind=neurons.kind,
    )
    data = figure(shown)
    picture = RGBImage(
        name=PICTURE,
        # One chunk: the bands of a matrix repeat over the whole picture, which halves its bytes.
        data=H5DataIO(data, compression="gzip", compression_opts=9, chunks=data.shape),
        description=(
            f"Mean coupling over {averaged} ({connectivity.measure}). Rows receive, columns send; "
            + (f"both sorted by {words}. " if words else "both in the order of the recording. ")
            + f"{scale.words}; the diagonal is grey."
        ),
    )
    return Images(name=name, images=[picture], description="Pictures of a fitted model.")


def mark(module: h5py.Group, name: str) -> None:
    """Mark the picture of the Images object `name` as one by HDF5's own image specification.

    NWB has no such attributes. h5web and HDFView show an array as a picture only where they are.
    """
    picture = module.get(f"{name}/{PICTURE}")
    if picture is not None:
        for attribute, value in HDF5_IMAGE.items():
            picture.attrs[attribute] = np.bytes_(value)


def figure(shown: LabelledMatrix) -> np.ndarray:
    """(height, width, 3) uint8: the matrix with axes, names, separators and a colour bar."""
    from matplotlib import rc_context

    with rc_context({"text.parse_math": False}):  # a "$" in a name is a dollar
        canvas = _canvas(shown)
        with warnings.catch_warnings():  # a letter that the fonts of this machine lack is a box
            warnings.filterwarnings("ignore", message=r"Glyph \d+ .*missing from")
            canvas.draw()
    return np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[..., :3])


def _canvas(shown: LabelledMatrix) -> "FigureCanvasAgg":
    """The picture, not yet drawn."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

    canvas = FigureCanvasAgg(Figure(figsize=SIZE, dpi=DPI, layout="constrained"))
    axes = canvas.figure.add_subplot()
    names, groups, scale = shown.names, shown.groups, shown.scale
    edge = len(names) - 0.5
    axes.imshow(shown.pixels, extent=(-0.5, edge, edge, -0.5), interpolation="nearest")
    are_named = len(names) <= MOST_NAMES
    of = f", {shown.kind}" if are_named else ""
    axes.set_xlabel(f"sender (pre){of}")
    axes.set_ylabel(f"receiver (post){of}")
    axes.set_title(shown.title, fontsize=9)
    firsts = [row for row in range(len(groups)) if row == 0 or groups[row] != groups[row - 1]]
    for first in firsts[1:]:
        axes.axhline(first - 0.5, color="black", linewidth=0.8)
        axes.axvline(first - 0.5, color="black", linewidth=0.8)
    centres, labels = _labels(firsts, groups)
    if are_named:
        axes.set_xticks(range(len(names)), names, rotation=90, fontsize=7)
        axes.set_yticks(range(len(names)), names, fontsize=7)
        if len(firsts) > 1:
            above = axes.secondary_xaxis("top")
            above.set_xticks(centres, labels, fontsize=7)
            above.tick_params(length=0)
    else:
        axes.set_xticks(centres, labels, rotation=90, fontsize=7)
        axes.set_yticks(centres, labels, fontsize=7)
    colours = ScalarMappable(Normalize(scale.low, scale.high), scale.colours)
    bar = canvas.figure.colorbar(colours, ax=axes, shrink=0.8)
    bar.set_label("\n".join(wrap(shown.measure, LINE)), fontsize=8)
    return canvas


def _labels(firsts: list[int], groups: list[str]) -> tuple[list[int], list[str]]:
    """Middle row and label of every group that is wide enough for a name."""
    stops = [*firsts[1:], len(groups)]
    wide = [
        (first, stop)
        for first, stop in zip(firsts, stops, strict=False)
        if stop - first >= len(groups) / MOST_NAMES
    ]
    return (
        [(first + stop - 1) // 2 for first, stop in wide],
        [groups[first] or "unlabelled" for first, _ in wide],
    )


def _groups(connectivity: Connectivity, labels: list[str], order: np.ndarray) -> list[str]:
    """Label of each row in this order; empty where the recording has no labels."""
    if not labels:
        return []
    values = connectivity.neurons.table[labels[0]]
    texts = [value if isinstance(value, str) else "" for value in values.iloc[order]]
    return [printable(text) for text in texts]


def scale_of(matrix: np.ndarray) -> Scale:
    """The colours of a matrix (N, N).

    Full colour is the 99th percentile of |weight| off the diagonal, so that one strong edge does
    not turn the rest white. Without negative weights the lightest colour is the 1st percentile.
    """
    weights = matrix[~np.eye(len(matrix), dtype=bool)]
    weights = weights[np.isfinite(weights)]
    limit = float(np.percentile(np.abs(weights), 99)) if weights.size else 0.0
    if limit and weights.min() >= 0:
        low = float(np.percentile(weights, 1))
        if low < limit:
            return Scale(COLOURS_OF_POSITIVE, low, limit)
    return Scale(COLOURS, -(limit or 1.0), limit or 1.0)


def draw(matrix: np.ndarray, scale: Scale) -> np.ndarray:
    """(side, side, 3) uint8 pixels; matrices beyond LARGEST are averaged in blocks."""
    from matplotlib import colormaps

    num_neurons = len(matrix)
    weights = np.array(matrix, dtype=np.float64)
    np.fill_diagonal(weights, np.nan)
    if num_neurons > LARGEST:
        starts = np.linspace(0, num_neurons, LARGEST, endpoint=False).astype(int)
        known = np.isfinite(weights).astype(np.float64)
        total = _blocks(np.nan_to_num(weights), starts)
        weights = total / np.maximum(_blocks(known, starts), 1)
    shade = (weights - scale.low) / (scale.high - scale.low)
    shade = np.round(shade * SHADES) / SHADES  # more would only make the file larger
    colours = colormaps[scale.colours](np.clip(np.nan_to_num(shade, nan=0.5), 0, 1))[..., :3]
    colours[~np.isfinite(weights)] = DIAGONAL
    pixels = np.round(255 * colours).astype(np.uint8)
    zoom = max(1, -(-SMALLEST // len(pixels)))
    return pixels.repeat(zoom, axis=0).repeat(zoom, axis=1)


def _blocks(matrix: np.ndarray, starts: np.ndarray) -> np.ndarray:
    return np.add.reduceat(np.add.reduceat(matrix, starts, axis=0), starts, axis=1)
