"""Views of a fit: `fit.plot`, `fit.summary()` and its picture in a notebook.

What draws and prints lies in rooms above this one, which need matplotlib, click and scipy. They are
imported by name when a view is wanted, so that reading a run stays light. `fit` is a
`nwbdyn.results.fit_results.Fit` throughout.
"""

from html import escape
from importlib import import_module
from typing import TYPE_CHECKING, Any

from nwbdyn.errors import ResultsError
from nwbdyn.results import damage
from nwbdyn.spelling import in_python

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

FIGURES, TERMINAL, NOTEBOOK = "nwbdyn.report.figures", "nwbdyn.cli.scoreboard", "nwbdyn.report.card"


def summary(fit: Any) -> str:
    """The verdict and the scores beside the baselines, as text.

    Raises:
        ResultsError: results of other software, which names no primary metric.
    """
    if not _has_verdict(fit):
        raise ResultsError(
            f"There is no verdict on {fit.model}: the file names no primary metric, as other "
            "software writes it. Use fit.edges, fit.connectivity and fit.predictions."
        )
    return in_python(import_module(TERMINAL).of_fit(fit))


def card(fit: Any) -> str:
    """The fit as a notebook shows it: HTML with a small picture, where there is a verdict."""
    if not _has_verdict(fit):
        return escape(repr(fit))
    with damage.as_error(fit.name):
        return import_module(NOTEBOOK).card(fit)


def _has_verdict(fit: Any) -> bool:
    return "primary" in fit.metrics


class Plots:
    """Figures of one fit, each on matplotlib axes: `fit.plot.connectivity()`.

    They are those of the report. A figure with one panel takes `axes` to draw on, and returns them.
    """

    def __init__(self, fit: Any) -> None:
        self._fit = fit

    def __repr__(self) -> str:
        names = ", ".join(name for name in vars(Plots) if not name.startswith("_"))
        return f"Plots of {self._fit!r}: {names}"

    def connectivity(self, axes: "Axes | None" = None) -> "Axes":
        """Mean matrix of couplings; rows receive, columns send."""
        return self._draw("connectivity", axes=axes)

    def scores(self, axes: "Axes | None" = None) -> "Axes":
        """Primary score on test of the model and of every baseline, with intervals."""
        return self._draw("scores", axes=axes)

    def learning_curves(self, axes: "Axes | None" = None) -> "Axes":
        """Training and validation loss of every epoch."""
        return self._draw("learning_curve", axes=axes)

    def horizons(self, axes: "Axes | None" = None) -> "Axes":
        """Primary score on test one bin ahead and further ahead."""
        return self._draw("horizons", axes=axes)

    def predictions(self) -> "tuple[Axes, ...]":
        """Recorded and predicted activity of the best, the median and the worst neuron."""
        return self._draw("predictions")

    def population(self) -> "tuple[Axes, ...]":
        """Recorded and predicted activity on its strongest principal components."""
        return self._draw("population")

    def weights(self, axes: "Axes | None" = None) -> "Axes":
        """Distribution of the edges' weights."""
        return self._draw("weights", axes=axes)

    def strongest_arcs(self, axes: "Axes | None" = None, *, num_edges: int = 30) -> "Axes":
        """The strongest directed edges as arcs with arrowheads."""
        return self._draw("strongest_arcs", axes=axes, num_edges=num_edges)

    def edge_map(self, *, num_edges: int = 60) -> "Axes":
        """The strongest directed edges between the positions of the neurons, in 2 or 3 dimensions.

        Raises:
            DataError: the recording has no positions.
        """
        return self._draw("strongest_edges", num_edges=num_edges)

    def cell_types(self, axes: "Axes | None" = None, *, column: str = "cell_type") -> "Axes":
        """Mean weight per pair of cell types; `column` names another label of neurons."""
        return self._draw("cell_types", axes=axes, column=column)

    def cell_types_over_time(self, axes: "Axes | None" = None) -> "Axes":
        """Mean weight of the strongest pairs of cell types over the session."""
        return self._draw("cell_types_over_time", axes=axes)

    def cell_types_by_state(self, states: "pd.DataFrame") -> "tuple[Axes, ...]":
        """Mean weight per pair of cell types in each state of an interval table.

        Args:
            states: start_time and stop_time in seconds, and state.
        """
        return self._draw("cell_types_by_state", states=states)

    def null(self, axes: "Axes | None" = None) -> "Axes":
        """Distribution of the edges' p against the null.

        Raises:
            DataError: no edge has a p.
        """
        return self._draw("null", axes=axes)

    def _draw(self, name: str, **arguments: Any) -> Any:
        with damage.as_error(self._fit.name):
            return getattr(import_module(FIGURES), name)(self._fit, **arguments)
