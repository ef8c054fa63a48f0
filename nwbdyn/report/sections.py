"""Sections of a report: figures, each only if the fit has data for it.

A figure comes with a title, a caption that is also its alternative text, and the condition under
which there is anything in it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from nwbdyn.connectivity import edge_table
from nwbdyn.recording import COUNTS
from nwbdyn.report import figures, words
from nwbdyn.report.figures import arcs
from nwbdyn.report.figures.space import has_positions
from nwbdyn.report.figures.trials import condition_columns, conditions
from nwbdyn.results.fit_results import Fit
from nwbdyn.results.sections.attention_maps import MapAblation, NeuronImportance
from nwbdyn.results.sections.dynamics import UNTESTED_CHANGE, CouplingChange
from nwbdyn.results.sections.edges import EdgeTests
from nwbdyn.results.sections.states import StateDifferences

MATRIX = "Mean matrix"  # the slider comes after it
Draw = Callable[[Fit], Axes | tuple[Axes, ...]]


@dataclass(frozen=True)
class Picture:
    """A figure that is worth showing."""

    title: str
    caption: str  # also the alternative text
    draw: Draw
    wide: bool = False  # across the page


@dataclass(frozen=True)
class Section:
    """A heading with its figures."""

    title: str
    pictures: tuple[Picture, ...]


def of_fit(
    fit: Fit,
    states: pd.DataFrame | None = None,
    by: Sequence[str] | None = None,
) -> tuple[Section, ...]:
    """The sections of a fit's report that are not empty, in reading order.

    Args:
        states: start_time, stop_time and state of intervals, to show cell types in each state.
        by: columns of the trials that make a condition. Default: those that are known.
    """
    planned = (
        Section("Scores", tuple(_scores(fit))),
        Section("Activity", tuple(_activity(fit, by))),
        Section("Connectivity", tuple(_connectivity(fit))),
        Section("Simultaneous coupling", tuple(_simultaneous(fit))),
        Section("Cell types", tuple(_cell_types(fit, states))),
        Section("Neurons in space", tuple(_space(fit))),
        Section("How far to trust it", tuple(_trust(fit))),
    )
    return tuple(section for section in planned if section.pictures)


def change_caption(fit: Fit) -> str:
    """Caption on differences over time."""
    change = CouplingChange.from_metrics(fit.metrics)
    return UNTESTED_CHANGE if change is None else change.caption()


def of_states(fit: Fit, table: pd.DataFrame) -> str:
    """Caption on differences between the states in a table."""
    tested = StateDifferences.from_metrics(fit.metrics)
    if tested is not None and list(tested.names) == sorted(table["state"].unique()):
        return " ".join(tested.sentences())
    untested = "Not tested against a constant coupling (fit --states)."
    return f"{untested} {change_caption(fit)}"


def _scores(fit: Fit) -> list[Picture]:
    metrics: dict[str, Any] = fit.metrics
    intervals = metrics.get("intervals", {}).get("model", {}).get("test")
    pictures = []
    if metrics["baselines"]:
        pictures.append(
            Picture(
                "Who predicts best",
                f"{metrics['primary']['metric']} on {metrics['primary']['split']} of the model "
                "(orange diamond) and of each baseline (blue)"
                + ("; bars are 95 % block-bootstrap intervals." if intervals else "."),
                figures.scores,
            )
        )
    if any("@" in name for name in metrics["model"].get("test", {})):
        pictures.append(
            Picture(
                "Further ahead",
                "The same score when each method feeds on its own predictions. Below 0 the mean of "
                "the recording predicts better; the axis stops at -1.",
                figures.horizons,
            )
        )
    if len(fit.history) > 1:
        pictures.append(
            Picture(
                "Learning curve",
                "Training loss per epoch (grey) and validation loss (orange) on one scale; the "
                "diamond marks the epoch whose weights were kept.",
                figures.learning_curve,
            )
        )
    return pictures


def _activity(fit: Fit, by: Sequence[str] | None) -> list[Picture]:
    counts = fit.predictions.quantity == COUNTS
    whose = "held-out neuron" if fit.predictions.held_out.any() else "neuron"
    pictures = []
    if fit.trials is not None:
        pictures.append(
            Picture(
                "Test trials",
                f"Above, spikes of the best, the median and the worst {whose} in every test trial; "
                "below, their mean over these trials (neutral) and the mean predicted rate "
                "(orange), both smoothed by 50 ms. Grey: bins that the model did not see.",
                figures.rasters,
                wide=True,
            )
        )
    if conditions(fit, by):

        def psths(fit: Fit) -> tuple[Axes, ...]:
            return figures.psths(fit, columns=by)

        pictures.append(
            Picture(
                "Mean rates by condition",
                f"The best, the median and the worst {whose} in the conditions "
                f"({', '.join(by or condition_columns(fit))}) with most test trials: recorded over "
                "all trials (neutral, with one standard error to each side) and predicted in the "
                "test trials alone (orange), both smoothed by 50 ms.",
                psths,
                wide=True,
            )
        )
    shown = (
        "spikes as ticks, their rate smoothed by 50 ms (neutral)"
        if counts
        else "recorded (neutral)"
    )
    pictures.append(
        Picture(
            "Predicted against recorded",
            f"The best, the median and the worst {whose} at the start of the test data: {shown} "
            "and predicted (orange).",
            figures.predictions,
            wide=True,
        )
    )
    pictures.append(
        Picture(
            "Population",
            "The strongest principal components of the recorded training activity, followed "
            "through test: recorded (neutral) and predicted (orange), with the share of variance "
            "each has.",
            figures.population,
            wide=True,
        )
    )
    return pictures


def _connectivity(fit: Fit) -> list[Picture]:
    connectivity = fit.connectivity
    if not len(fit.edges):
        return []
    own = _couplings_of_recording(fit)
    dots = "" if own else _dots(edge_table.directed(fit.edges))
    pictures = [
        *own,
        Picture(
            MATRIX,
            f"Mean over time of: {connectivity.measure}. Rows receive, columns send, sorted by "
            f"cell type and region; {words.colours(fit)}; the diagonal is left out.{dots}",
            figures.connectivity,
            wide=True,
        ),
        *_strongest(fit),
        Picture(
            "Weights",
            "How the mean weights of all edges are distributed; the count is logarithmic.",
            figures.weights,
        ),
        Picture(
            "Input and output",
            "Each dot is a neuron: the summed size of the weights it sends and receives.",
            figures.degree,
        ),
    ]
    if connectivity.form == "attention":
        pictures.append(
            Picture(
                "Neuron importance",
                "Attention that each held-in neuron receives in the first layer, mean over windows "
                "and receivers; the dashed line is their mean.",
                figures.neuron_importance,
                wide=True,
            )
        )
    if fit.currents is not None:
        pictures += [
            Picture(
                "Input currents",
                "Input current (green) and recorded activity (neutral) of three neurons on test, "
                "both z-scored.",
                figures.currents,
                wide=True,
            ),
            Picture(
                "Do currents run ahead?",
                "Correlation of each neuron's current with its own activity some bins later: "
                "median and quartiles over neurons. A current that drives is more like the next "
                "bin (+1) than like the bin before (-1).",
                figures.cross_correlogram,
            ),
        ]
    return pictures


def _strongest(fit: Fit) -> list[Picture]:
    edges = arcs.shown(fit)
    number = len(edges)
    if not number:
        return []
    signed = "red positive, blue negative" if (edges["weight"] < 0).any() else "all are positive"
    return [
        Picture(
            "The strongest edges",
            f"The {number} strongest directed edges. The arrowhead is at the neuron that receives; "
            f"wider arcs are stronger; {signed}. Neurons are sorted by cell "
            "type and region.",
            figures.strongest_arcs,
            wide=True,
        )
    ]


def _dots(edges: pd.DataFrame) -> str:
    """Legend for the dots of a heat map; "" where no edge has a small q."""
    return " Dots: q < .05 against the null." if (edges["q"] < 0.05).any() else ""


def _couplings_of_recording(fit: Fit) -> list[Picture]:
    """Directed edges of a fit with a null, where they are not the weights of the model."""
    if "measure" not in fit.edges.attrs:
        return []
    title, grid = "Couplings over lags", "from every recorded bin"
    if "peak_ms" in fit.edges:
        title, grid = "Couplings of spikes", "from spike times on a grid of 1 ms"
    measure = fit.edges.attrs["measure"]
    return [
        Picture(
            title,
            f"{measure[0].upper()}{measure[1:]}, {grid}. Rows receive, columns send; red positive, "
            f"blue negative.{_dots(edge_table.directed(fit.edges))}",
            figures.couplings_of_recording,
            wide=True,
        )
    ]


def _simultaneous(fit: Fit) -> list[Picture]:
    edges = edge_table.simultaneous(fit.edges)
    if not len(edges):
        return []
    return [
        Picture(
            "Within one bin",
            "Partial correlation of what each neuron's past leaves over, in the same bin and given "
            "all other neurons. Undirected, and apart from the directed matrix above; red "
            f"positive, blue negative.{_dots(edges)}",
            figures.simultaneous,
            wide=True,
        )
    ]


def _cell_types(fit: Fit, states: pd.DataFrame | None) -> list[Picture]:
    typed = fit.connectivity.neurons.table.get("cell_type")
    if typed is None or typed.fillna("").astype(str).replace("", np.nan).nunique() < 1:
        return []
    pictures = [
        Picture(
            "Mean weight per pair of types",
            "Mean weight from each presynaptic to each postsynaptic cell type, over time and over "
            "pairs of different neurons.",
            figures.cell_types,
        )
    ]
    if fit.groups is not None and fit.groups["weight"].notna().any():
        pictures.append(
            Picture(
                "Pairs of types with intervals",
                "Mean weight with 95 % intervals over drawn neurons, of this recording alone; "
                "filled dots: q < .05 over pairs.",
                figures.cell_type_intervals,
            )
        )
    if fit.connectivity.num_windows > 1 and fit.connectivity.form != "static":
        pictures.append(
            Picture(
                "Over time",
                "The strongest pairs of cell types over the session, smoothed. "
                f"{change_caption(fit)}",
                figures.cell_types_over_time,
                wide=True,
            )
        )
    if states is not None and fit.connectivity.num_windows > 1:

        def by_state(fit: Fit) -> tuple[Axes, ...]:
            return figures.cell_types_by_state(fit, states)

        pictures.append(
            Picture(
                "By state",
                "Mean weight per pair of cell types in each state, over windows that lie inside it "
                f"as a whole, on one colour scale. {of_states(fit, states)}",
                by_state,
                wide=True,
            )
        )
    return pictures


def _space(fit: Fit) -> list[Picture]:
    if not has_positions(fit) or not len(fit.edges):
        return []
    return [
        Picture(
            "Distance",
            "Size of the weights against the distance between the two neurons: medians and "
            "quartiles of equally many edges.",
            figures.distance,
        ),
    ]


def _trust(fit: Fit) -> list[Picture]:
    pictures = []
    edges = edge_table.directed(fit.edges)
    if "sign_agreement" in edges and edges["sign_agreement"].notna().any():
        pictures.append(
            Picture(
                "Do seeds agree?",
                "Share of seeds with the same sign of an edge, strongest edges on the left; the "
                "dashed line is what random weights would give. Seeds agree more than data do: "
                "this is noise of the optimisation only.",
                figures.seeds,
            )
        )
    tested = EdgeTests.from_metrics(fit.metrics)
    if tested is not None and edges["p"].notna().any():
        pictures.append(Picture("Against the null", tested.caption(), figures.null))
    needed = MapAblation.from_metrics(fit.metrics)
    if needed is not None and any(needed.loss.values()):  # all 0 where the fit is its baseline
        pictures.append(
            Picture(
                "Are the maps needed?",
                "What the score on test loses when the learned attention maps are replaced. Near 0 "
                "the maps say little about coupling.",
                figures.necessity,
            )
        )
    importance = NeuronImportance.from_metrics(fit.metrics)
    if importance is not None:
        pictures.append(
            Picture(
                "Are the neurons needed that attention falls on?",
                "What the score on test loses when the inputs of some neurons are silenced: the "
                "most and the least attended, the most active, and random ones (grey, mean and "
                f"sd). {importance.sentence()}",
                figures.dropping,
            )
        )
    return pictures
