"""Figures of a fit, one function each; every one returns the axes it drew on.

Each takes a `Fit` and, where a figure has one panel, the axes to draw on. Nothing here scores a
model: scores come from the fit's own metrics. `nwbdyn.report.sections` says which of them a fit has
something to show for.
"""

from nwbdyn.report.figures.activity import population, predictions
from nwbdyn.report.figures.arcs import strongest_arcs
from nwbdyn.report.figures.coupling import (
    cell_type_intervals,
    cell_types,
    cell_types_by_state,
    cell_types_over_time,
    connectivity,
    couplings_of_recording,
    matrix_at,
    neuron_importance,
    simultaneous,
    weights,
)
from nwbdyn.report.figures.currents import cross_correlogram, currents
from nwbdyn.report.figures.scores import (
    dropping,
    horizons,
    learning_curve,
    necessity,
    null,
    scores,
    seeds,
)
from nwbdyn.report.figures.space import degree, distance, strongest_edges
from nwbdyn.report.figures.trials import psths, rasters

__all__ = [
    "cell_type_intervals",
    "cell_types",
    "cell_types_by_state",
    "cell_types_over_time",
    "connectivity",
    "couplings_of_recording",
    "cross_correlogram",
    "currents",
    "degree",
    "distance",
    "dropping",
    "horizons",
    "learning_curve",
    "matrix_at",
    "necessity",
    "neuron_importance",
    "null",
    "population",
    "predictions",
    "psths",
    "rasters",
    "scores",
    "seeds",
    "simultaneous",
    "strongest_arcs",
    "strongest_edges",
    "weights",
]
