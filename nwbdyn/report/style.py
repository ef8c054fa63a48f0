"""Style of every figure: quiet lines, colours that colour-blind readers can distinguish.

Colours are the Okabe-Ito set; signed weights use a blue-white-red map centred on zero. Text and
axes are drawn in `INK`, which the HTML page replaces by the colour of its own text, so figures read
in light and dark mode alike.
"""

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from numbers import Integral
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.text import Text

from nwbdyn.errors import ConfigError

INK = "#3a3a3b"  # text, axes, recorded activity
ON_MATRIX = "#222222"  # lines and dots on a heat map, which is light in dark mode, too
MODEL = "#d55e00"  # vermilion: the model
BASELINE = "#0072b2"  # blue: baselines
QUIET = "#999999"  # spikes, training loss: what stands behind
CATEGORIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#a39a00")
SIGNED = "RdBu_r"  # zero-centred weights
UNSIGNED = "Reds"  # its upper half, for weights that are never negative
POSITIVE, NEGATIVE = "#b2182b", "#2166ac"  # its ends, for lines
WIDE, HALF = 9.4, 4.6  # inches, figures across the page and across one of its two columns
LEAST = 2.8  # inches, height of a figure beside another

_RC: Any = {
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "figure.constrained_layout.use": True,
    "figure.dpi": 120,
    "font.family": "sans-serif",
    "font.size": 9,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "lines.linewidth": 1.2,
    "savefig.transparent": True,
    "svg.fonttype": "none",
    "svg.hashsalt": "nwbdyn",
    "text.color": INK,
    "text.parse_math": False,  # a "$" in a name is a dollar
    "xtick.color": INK,
    "ytick.color": INK,
}


@contextmanager
def house() -> Iterator[None]:
    """The house style, as a context for drawing.

    Other settings are left alone: `rc_context` would undo what a notebook sets at its first figure.
    """
    before = {name: mpl.rcParams[name] for name in _RC}
    mpl.rcParams.update(_RC)
    try:
        yield
    finally:
        mpl.rcParams.update(before)


def panels(
    rows: int = 1,
    columns: int = 1,
    *,
    size: tuple[float, float] = (HALF, LEAST),
    share_x: bool = False,
    share_y: bool = False,
) -> tuple[Axes, ...]:
    """New axes in the house style, row by row; `size` is of the whole figure, in inches.

    Args:
        share_x: one horizontal axis for all.
        share_y: one vertical axis for every row.
    """
    with house():
        _, axes = plt.subplots(
            rows,
            columns,
            figsize=size,
            squeeze=False,
            sharex=share_x,
            sharey="row" if share_y else False,
        )
    return tuple(axes.ravel())


def axes_or(axes: Axes | None, *, size: tuple[float, float] = (HALF, LEAST)) -> Axes:
    """The given axes, with literal texts, or new axes of this size.

    Raises:
        ConfigError: `axes` is something else.
    """
    if axes is None:
        return panels(size=size)[0]
    if not isinstance(axes, Axes):
        raise ConfigError(
            f"axes is of type {type(axes).__name__}. Pass one matplotlib Axes, as plt.subplots() "
            "returns it, or leave it out."
        )
    for text in axes.findobj(Text):
        text.set_parse_math(False)
    return axes


def check_count(name: str, value: object) -> None:
    """Refuse a number of objects to draw that is below 1 or not whole.

    Raises:
        ConfigError: it is not.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise ConfigError(f"{name} is {value!r}. Pass a whole number of 1 or more.")


def limit(values: np.ndarray) -> float:
    """A symmetric colour limit: the 99th percentile of the magnitudes, never zero."""
    finite = np.abs(values[np.isfinite(values)])
    return float(np.percentile(finite, 99)) or 1.0 if finite.size else 1.0


def bounds(labels: Sequence[str]) -> list[tuple[str, int, int]]:
    """Runs of equal labels in a sorted list: (label, first, one past the last)."""
    edges = [0, *(i for i in range(1, len(labels)) if labels[i] != labels[i - 1]), len(labels)]
    return [
        (labels[start], start, stop) for start, stop in itertools.pairwise(edges) if stop > start
    ]


def around(share: float) -> tuple[float, float, float, float]:
    """A colour for something cyclic, such as an angle; `share` of the whole turn, 0 to 1."""
    return mpl.colormaps["twilight"](0.15 + 0.7 * share)
