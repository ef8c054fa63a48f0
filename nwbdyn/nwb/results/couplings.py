"""Who helps predict whom, in the forms that people look at: edges, time courses, cell types.

Every one of them is bounded. What is left out for that is stated: as a share of all weight where
there is one, else as a note.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr
from ndx_population_dynamics import (
    CellTypeConnectivitySeries,
    ConnectivityEdges,
    EdgeWeightSeries,
    ModelRun,
    NeuronTable,
)
from pynwb.core import NWBContainer
from pynwb.image import ImageSeries

from nwbdyn.connectivity.connectivity import Connectivity
from nwbdyn.nwb.results import storage
from nwbdyn.nwb.results.heat_map import heat_map
from nwbdyn.progress import Progress, Report, silent
from nwbdyn.recording import Note
from nwbdyn.results.fit_results import Fit

EDGES_PER_NEURON = 10  # rows of the edge table, per neuron
SERIES_BYTES = 256 * 10**6  # of edge weights over time
PICTURE_WINDOWS = 2000  # that the heat map averages, where the edges do not say it
STATISTICS = (  # columns of an edge table beside the weight, written where there is a value
    "influence",
    "se",
    "seed_sd",
    "half_split_agreement",
    "p",
    "q",
    "sign_agreement",
)
LEVEL = 0.05  # of q, at which an edge is written however weak it is
TESTED = ("null_hypothesis", "smallest_p")  # of the whole table, where a null was run


@dataclass(frozen=True)
class Couplings:
    """The connectivity of a fit, summed up before anything is written."""

    matrix: np.ndarray | None  # (N, N) mean; None where the network is too large for one
    averaged: str  # what the matrix averages over, in words
    edges: pd.DataFrame  # the strongest, strongest first
    kept_share: float  # of the summed |weight|, by those edges
    weights: xr.DataArray | None  # (time, edge) of the first of those edges
    types: xr.DataArray | None  # (time, post_type, pre_type)
    movie: xr.DataArray | None  # (time, post, pre)
    notes: tuple[Note, ...]  # what was left out


def summarise(fit: Fit, *, dense: bool, report: Report = silent) -> Couplings:
    """Evaluate what will be written, telling `report` which step is next.

    Raises:
        ResultsError: `dense`, and the matrices would be too large.
    """
    connectivity, notes = fit.connectivity, list[Note]()
    report(Progress("evaluating", 0, 3, "steps"))
    movie = connectivity.to_xarray() if dense else None
    matrix, averaged = _mean_matrix(fit) if len(fit.edges) else (None, "")
    edges = _strongest(fit)
    report(Progress("evaluating", 1, 3, "steps"))
    weights = _weights_over_time(connectivity, edges, notes)
    report(Progress("evaluating", 2, 3, "steps"))
    types = _types_over_time(connectivity, notes)
    report(Progress("evaluating", 3, 3, "steps"))
    return Couplings(
        matrix=matrix,
        averaged=averaged,
        edges=edges,
        kept_share=_kept_share(edges, fit, matrix),
        weights=weights,
        types=types,
        movie=movie,
        notes=tuple(notes),
    )


def objects(
    fit: Fit, couplings: Couplings, name: str, run: ModelRun, neurons: NeuronTable
) -> list[NWBContainer]:
    """The NWB objects of `couplings`, named `<name>_…`."""
    made: list[NWBContainer] = []
    if len(couplings.edges):
        edges = connectivity_edges(fit, couplings, f"{name}_edges", run, neurons)
        made.append(edges)
        if couplings.weights is not None:
            made.append(edge_weight_series(fit, couplings, f"{name}_edge_weights", run, edges))
    if couplings.types is not None:
        made.append(cell_type_series(fit, couplings.types, f"{name}_cell_types", run))
    if couplings.movie is not None:
        made.append(movie_series(fit, couplings.movie, f"{name}_movie"))
    if couplings.matrix is not None:
        made.append(
            heat_map(f"{name}_figures", couplings.matrix, fit.connectivity, couplings.averaged)
        )
    return made


def connectivity_edges(
    fit: Fit, couplings: Couplings, name: str, run: ModelRun, neurons: NeuronTable
) -> ConnectivityEdges:
    edges = couplings.edges
    num_neurons = len(fit.connectivity.neurons)
    columns: dict[str, storage.Column] = {
        side: storage.region(side, neurons, storage.rows_of(edges[side].to_numpy(), fit.neurons))
        for side in ("pre", "post")
    }
    columns["weight"] = edges["weight"].to_numpy(dtype=np.float32)
    for column in STATISTICS:
        if column in edges and edges[column].notna().any():
            columns[column] = edges[column].to_numpy(dtype=np.float32)
    for column in ("pre_cell_type", "post_cell_type", "flags"):
        if column in edges and (storage.texts(edges[column]) != "").any():
            columns[column] = storage.texts(edges[column])
    return storage.table(
        ConnectivityEdges,
        columns,
        name=name,
        description=(
            f"{len(edges)} of {num_neurons * (num_neurons - 1)} couplings between different "
            "neurons, averaged over time: the strongest, and all with q up to "
            f"{LEVEL}, strongest first."
        ),
        average=_average(fit),
        num_possible=num_neurons * (num_neurons - 1),
        kept_share=couplings.kept_share,
        run=run,
        **{name: edges.attrs[name] for name in TESTED if name in edges.attrs},
        **storage.measure(fit.connectivity),
    )


def edge_weight_series(
    fit: Fit, couplings: Couplings, name: str, run: ModelRun, edges: ConnectivityEdges
) -> EdgeWeightSeries:
    weights = couplings.weights
    assert weights is not None
    num_edges = weights.sizes["edge"]
    kept = _share(couplings.edges["weight"][:num_edges], couplings.edges["weight"])
    return EdgeWeightSeries(
        name=name,
        description="Weights of the strongest edges, window by window.",
        data=storage.compressed(weights.to_numpy()),
        unit="n.a.",
        **storage.clock(weights.time.to_numpy()),
        kept_share=couplings.kept_share * kept,
        num_averaged=1,
        edges=storage.region("edges", edges, np.arange(num_edges)),
        run=run,
        **storage.measure(fit.connectivity),
    )


def cell_type_series(
    fit: Fit, means: xr.DataArray, name: str, run: ModelRun
) -> CellTypeConnectivitySeries:
    types = means.post_type.to_numpy()
    labels = storage.texts(fit.connectivity.neurons.table["cell_type"])
    sizes = np.array([(labels == label).sum() for label in types])
    pairs = np.outer(sizes, sizes) - np.diag(sizes)
    return CellTypeConnectivitySeries(
        name=name,
        description="Mean coupling from neurons of one type to neurons of another.",
        data=storage.compressed(means.to_numpy().reshape(len(means), -1)),
        unit="n.a.",
        **storage.clock(means.time.to_numpy()),
        grouped_by="cell_type",
        post_type=np.repeat(types, len(types)).tolist(),
        pre_type=np.tile(types, len(types)).tolist(),
        num_edges=pairs.ravel().tolist(),
        run=run,
        **storage.measure(fit.connectivity),
    )


def movie_series(fit: Fit, matrices: xr.DataArray, name: str) -> ImageSeries:
    """One matrix per window as a movie, for small networks and whoever has only a viewer."""
    return ImageSeries(
        name=name,
        description=(
            f"Coupling ({fit.connectivity.measure}), window by window: (time, receiver, sender), "
            f"neurons in the order of the rows of {name.removesuffix('_movie')}_factors."
        ),
        data=storage.compressed(matrices.to_numpy().astype(np.float32)),
        unit="n.a.",
        format="raw",
        **storage.clock(matrices.time.to_numpy()),
    )


def _mean_matrix(fit: Fit) -> tuple[np.ndarray, str]:
    """(N, N) mean coupling, for the picture, and what it averages over.

    From the edges where they are complete. Else some windows will do: a mean over all of them
    costs 2 T N^2 P operations.
    """
    num_neurons, num_windows = len(fit.connectivity.neurons), fit.connectivity.num_windows
    if len(fit.edges) < num_neurons * (num_neurons - 1):
        chosen = np.linspace(0, num_windows - 1, min(num_windows, PICTURE_WINDOWS)).astype(int)
        mask = np.zeros(num_windows, bool)
        mask[chosen] = True
        words = "every window" if mask.all() else f"{mask.sum()} evenly spaced windows"
        return fit.connectivity.mean(mask).to_numpy(), words
    matrix = np.full((num_neurons, num_neurons), np.nan)
    post, pre = (
        storage.rows_of(fit.edges[side].to_numpy(), fit.connectivity.neurons)
        for side in ("post", "pre")
    )
    matrix[post, pre] = fit.edges["weight"].to_numpy()
    return matrix, _average(fit)


def _strongest(fit: Fit) -> pd.DataFrame:
    order = np.argsort(-fit.edges["weight"].abs().to_numpy(), kind="stable")
    kept = np.arange(len(order)) < EDGES_PER_NEURON * len(fit.connectivity.neurons)
    if "q" in fit.edges:
        kept |= fit.edges["q"].to_numpy()[order] <= LEVEL
    return fit.edges.iloc[order[kept]].reset_index(drop=True)


def _average(fit: Fit) -> str:
    """What the weights of the edge table average over, in words."""
    seeds = fit.environment.get("seeds")
    if isinstance(seeds, list) and len(seeds) > 1:
        return f"every window, then {len(seeds)} seeds, each scaled to unit root mean square"
    return "every window"


def _kept_share(edges: pd.DataFrame, fit: Fit, matrix: np.ndarray | None) -> float:
    """Share of the summed |weight| that the table keeps."""
    if matrix is None:
        return 0.0
    if "kept_share" in fit.edges.attrs:
        return float(fit.edges.attrs["kept_share"]) * _share(edges["weight"], fit.edges["weight"])
    return _share(edges["weight"], matrix[~np.eye(len(matrix), dtype=bool)])


def _share(part: np.ndarray | pd.Series, whole: np.ndarray | pd.Series) -> float:
    kept, total = (float(np.abs(np.asarray(x, np.float64)).sum()) for x in (part, whole))
    return kept / total if total else 1.0


def _weights_over_time(
    connectivity: Connectivity, edges: pd.DataFrame, notes: list[Note]
) -> xr.DataArray | None:
    num_windows = connectivity.num_windows
    if connectivity.form == "static" or num_windows < 2:
        return None
    # As many edges as fit the bytes; and not more than windows, or time is no longer the long axis.
    kept = min(len(edges), SERIES_BYTES // (4 * num_windows), num_windows)
    if kept < len(edges):
        reason = f"weights over time are kept for the {kept} strongest of {len(edges)} edges"
        notes.append(Note("left-out", "edge_weights", reason))
    if not kept:
        return None
    return connectivity.over_time(pre=edges["pre"][:kept], post=edges["post"][:kept])


def _types_over_time(connectivity: Connectivity, notes: list[Note]) -> xr.DataArray | None:
    neurons = connectivity.neurons.table
    if connectivity.form == "static" or connectivity.num_windows < 2 or "cell_type" not in neurons:
        return None
    num_pairs = len(set(storage.texts(neurons["cell_type"])) - {""}) ** 2
    if num_pairs > connectivity.num_windows:
        reason = f"{num_pairs} pairs of cell types are more than {connectivity.num_windows} windows"
        notes.append(Note("left-out", "cell_types", reason))
        return None
    return connectivity.by_cell_type() if num_pairs else None
