"""Who helps predict whom, in the forms that people look at: edges, time courses, cell types.

Every one of them is bounded. What is left out for that is stated: as a share of all weight where
there is one, else as a note. The exact couplings are in the components of the connectivity.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr
from ndx_population_dynamics import (
    CellTypeConnectivitySeries,
    CellTypeConnectivityTable,
    ConnectivityEdgesTable,
    EdgeWeightSeries,
    ModelRun,
    NeuronsTable,
)
from pynwb.core import NWBContainer
from pynwb.image import ImageSeries

from nwbdyn.connectivity import edge_table
from nwbdyn.connectivity.connectivity import Connectivity
from nwbdyn.connectivity.forms import BASIS, STATES
from nwbdyn.nwb.results import storage
from nwbdyn.nwb.results.courses import Courses, budget, types_over_time, weights_over_time
from nwbdyn.nwb.results.heat_map import heat_map
from nwbdyn.progress import Progress, Report, silent
from nwbdyn.recording import Neurons, Note
from nwbdyn.results.details import tidy
from nwbdyn.results.fit_results import Fit

EDGES_PER_NEURON = 10  # directed rows of the edge table, per neuron; a pair within a bin has one
COURSE_BITS = 10  # see `storage.rounded`; the exact course follows from the components
PICTURE_WINDOWS = 2000  # that the heat map averages, where the edges do not say it
STATISTICS = (  # columns of an edge table beside the weight, written where there is a value
    "se",
    "p",
    "q",
    "peak_ms",
    "model_weight",
    "influence",
    "seed_sd",
    "half_split_agreement",
    "sign_agreement",
    "p_constant",
    "q_constant",
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
    weights: Courses | None  # of the first of those edges
    influence: Courses | None  # of the same edges, where the model has an influence
    types: Courses | None  # of pairs of cell types
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
    edges, num_values = _strongest(fit), budget(fit)
    report(Progress("evaluating", 1, 3, "steps"))
    weights = weights_over_time(connectivity, edges, num_values, notes)
    influence = None
    if fit.influence is not None and len(edges):
        influence = weights_over_time(fit.influence, edges, num_values // 6, [])
    report(Progress("evaluating", 2, 3, "steps"))
    types = types_over_time(connectivity, num_values, notes)
    report(Progress("evaluating", 3, 3, "steps"))
    return Couplings(
        matrix=matrix,
        averaged=averaged,
        edges=edges,
        kept_share=_kept_share(edges, fit, matrix),
        weights=weights,
        influence=influence,
        types=types,
        movie=movie,
        notes=tuple(notes),
    )


def objects(
    fit: Fit, couplings: Couplings, name: str, run: ModelRun, neurons: NeuronsTable
) -> list[NWBContainer]:
    """The NWB objects of `couplings`, named `<name>_…`."""
    made: list[NWBContainer] = []
    if len(couplings.edges):
        edges = connectivity_edges(fit, couplings, f"{name}_edges", run, neurons)
        made.append(edges)
        for courses, connectivity, suffix in (
            (couplings.weights, fit.connectivity, "edge_weights"),
            (couplings.influence, fit.influence, "influence_weights"),
        ):
            if courses is not None and connectivity is not None:
                made.append(
                    edge_weight_series(
                        courses,
                        _share_of_courses(couplings, courses, connectivity),
                        connectivity,
                        f"{name}_{suffix}",
                        run,
                        edges,
                        is_exact=connectivity is fit.connectivity or couplings.movie is not None,
                    )
                )
    if couplings.types is not None:
        made.append(cell_type_series(fit, couplings.types, f"{name}_cell_types", run))
    if fit.groups is not None and len(fit.groups) > 1:
        made.append(cell_type_table(fit, f"{name}_cell_type_pairs", run))
    if couplings.movie is not None:
        made.append(movie_series(fit, couplings.movie, f"{name}_movie"))
    if couplings.matrix is not None:
        made.append(
            heat_map(f"{name}_figures", couplings.matrix, fit.connectivity, couplings.averaged)
        )
    return made


def connectivity_edges(
    fit: Fit, couplings: Couplings, name: str, run: ModelRun, neurons: NeuronsTable
) -> ConnectivityEdgesTable:
    edges = couplings.edges
    num_neurons = len(fit.connectivity.neurons)
    num_directed = len(edge_table.directed(edges))
    names, ids = neuron_names(fit.neurons), fit.neurons.ids
    columns: dict[str, storage.Column] = {}
    rows = {
        side: storage.rows_of(edges[f"{side}_id"].to_numpy(), fit.neurons)
        for side in ("pre", "post")
    }
    columns |= {side: names[of_side] for side, of_side in rows.items()}
    for side, of_side in rows.items():
        columns[f"{side}_id"] = storage.identifiers(ids[of_side])
    columns |= {f"{side}_row": of_side.astype(np.int32) for side, of_side in rows.items()}
    columns["kind"] = storage.texts(edges["kind"])
    columns["lag"] = edges["lag"].to_numpy(np.int32)
    if (storage.texts(edges["state"]) != "").any():
        columns["state"] = storage.texts(edges["state"])
    columns["weight"] = edges["weight"].to_numpy(dtype=np.float32)
    for column in STATISTICS:
        if column in edges and edges[column].notna().any():
            columns[column] = edges[column].to_numpy(dtype=np.float32)
    if (storage.texts(edges["flags"]) != "").any():
        columns["flags"] = storage.texts(edges["flags"])
    return storage.table(
        ConnectivityEdgesTable,
        columns,
        name=name,
        description=(
            f"{num_directed} of {num_neurons * (num_neurons - 1)} directed couplings between "
            "different neurons, averaged over time: the strongest, and all with q up to "
            f"{LEVEL}, strongest first.{_of_other_edges(edges)}"
        ),
        average=_average(fit),
        num_possible=num_neurons * (num_neurons - 1),
        kept_share=couplings.kept_share,
        run=run,
        neurons=neurons,
        **{name: edges.attrs[name] for name in TESTED if name in edges.attrs},
        **(
            storage.measure(fit.connectivity)
            | {name: edges.attrs[name] for name in ("measure",) if name in edges.attrs}
        ),
    )


def edge_weight_series(
    courses: Courses,
    kept_share: float,  # of the summed absolute mean weight
    connectivity: Connectivity,
    name: str,
    run: ModelRun,
    edges: ConnectivityEdgesTable,
    *,
    is_exact: bool,  # whether the file holds components that give every window
) -> EdgeWeightSeries:
    num_edges = courses.values.shape[1]
    samples = "window by window"
    if courses.num_averaged > 1:
        samples = f"means over {courses.num_averaged} windows each"
    exact = ""
    if is_exact:
        exact = " Exact weights at every window follow from the components of the connectivity."
    return EdgeWeightSeries(
        name=name,
        description=(
            f"Weights ({connectivity.measure}) of the {num_edges} strongest edges, {samples}, "
            f"rounded to {COURSE_BITS} bits per standard deviation.{exact}"
        ),
        data=storage.compressed(storage.rounded(courses.values, COURSE_BITS)),
        unit="n.a.",
        **storage.clock(courses.time),
        kept_share=kept_share,
        num_averaged=courses.num_averaged,
        edges=storage.region("edges", edges, np.arange(num_edges)),
        run=run,
        **(storage.measure(connectivity) | _reach(courses)),
    )


def cell_type_series(
    fit: Fit, courses: Courses, name: str, run: ModelRun
) -> CellTypeConnectivitySeries:
    labels = storage.texts(fit.connectivity.neurons.table["cell_type"])
    types = np.array(sorted(set(labels) - {""}), dtype=str)
    sizes = np.array([(labels == label).sum() for label in types])
    pairs = np.outer(sizes, sizes) - np.diag(sizes)
    return CellTypeConnectivitySeries(
        name=name,
        description="Mean coupling from neurons of one type to neurons of another.",
        data=storage.compressed(courses.values),
        unit="n.a.",
        **storage.clock(courses.time),
        grouped_by="cell_type",
        post_type=np.repeat(types, len(types)).tolist(),
        pre_type=np.tile(types, len(types)).tolist(),
        num_edges=pairs.ravel().tolist(),
        run=run,
        **(storage.measure(fit.connectivity) | _reach(courses)),
    )


def cell_type_table(fit: Fit, name: str, run: ModelRun) -> CellTypeConnectivityTable:
    """Mean weight per pair of cell types, with its interval and test."""
    groups = fit.groups
    assert groups is not None
    within = " Intervals and p hold within this animal." if "p_within_animal" in groups else ""
    columns: dict[str, storage.Column] = {
        "pre_type": storage.texts(groups["pre"]),
        "post_type": storage.texts(groups["post"]),
        "kind": storage.texts(groups["kind"])
        if "kind" in groups
        else np.full(len(groups), edge_table.DIRECTED, object),
    }
    if "state" in groups:
        columns["state"] = storage.texts(groups["state"])
    for column in ("num_pre", "num_post"):
        if column in groups:
            columns[column] = groups[column].to_numpy(np.int32)
    for column in ("weight", "low", "high", "p", "q"):
        for name_in_fit in (column, f"{column}_within_animal"):
            if name_in_fit not in groups:
                continue
            if column == "weight" or groups[name_in_fit].notna().any():
                columns[column] = groups[name_in_fit].to_numpy(np.float32)
    return storage.table(
        CellTypeConnectivityTable,
        columns,
        name=name,
        description=f"Mean coupling from neurons of one type to neurons of another.{within}",
        grouped_by="cell_type",
        run=run,
        **storage.measure(fit.connectivity),
    )


def neuron_names(neurons: Neurons) -> np.ndarray:
    """(N,) str, unique names for people: "AVAL (12)", else "roi 12"."""
    given = zip(neurons.names, neurons.ids, strict=True)
    names = [f"{neurons.kind} {one}" if name == str(one) else name for name, one in given]
    return np.array(names, dtype=object)


def movie_series(fit: Fit, matrices: xr.DataArray, name: str) -> ImageSeries:
    """One matrix per window as a movie, for small networks and for viewers."""
    return ImageSeries(
        name=name,
        description=(
            f"Coupling ({fit.connectivity.measure}), window by window: (time, receiver, sender), "
            f"neurons in the order of {name.removesuffix('_movie')}_connectivity."
        ),
        data=storage.compressed(matrices.to_numpy().astype(np.float32)),
        unit="n.a.",
        format="raw",
        **storage.clock(matrices.time.to_numpy()),
    )


def _mean_matrix(fit: Fit) -> tuple[np.ndarray, str]:
    """(N, N) mean coupling, for the picture, and what it averages over.

    From the edges if they are complete and have the model's weights. Edges of an A(t) that follows
    states or time have the weights of the constant part. In these cases the mean is over some
    windows, because all of them would take 2 T N^2 P operations.
    """
    num_neurons, num_windows = len(fit.connectivity.neurons), fit.connectivity.num_windows
    edges = edge_table.directed(fit.edges)
    weight = "model_weight" if "model_weight" in edges else "weight"  # of couplings of spikes
    is_other = "measure" in edges.attrs and weight == "weight"
    is_other |= fit.connectivity.form in (BASIS, STATES)
    if is_other or len(edges) < num_neurons * (num_neurons - 1):
        chosen = np.linspace(0, num_windows - 1, min(num_windows, PICTURE_WINDOWS)).astype(int)
        mask = np.zeros(num_windows, bool)
        mask[chosen] = True
        words = "every window" if mask.all() else f"{mask.sum()} evenly spaced windows"
        return fit.connectivity.mean(mask).to_numpy(), words
    matrix = np.full((num_neurons, num_neurons), np.nan)
    post, pre = (
        storage.rows_of(edges[f"{side}_id"].to_numpy(), fit.connectivity.neurons)
        for side in ("post", "pre")
    )
    matrix[post, pre] = edges[weight].to_numpy()
    return matrix, _average(fit)


def _strongest(fit: Fit) -> pd.DataFrame:
    """The strongest edges of each kind and those with a small q, directed ones first."""
    number = EDGES_PER_NEURON * len(fit.connectivity.neurons)
    return edge_table.combined(
        [
            _first(edge_table.directed(fit.edges), number),
            _first(edge_table.simultaneous(fit.edges), number // 2),
            _first(edge_table.changes(fit.edges), number),
        ]
    )


def most_edges(fit: Fit) -> int:
    """Rows that the edge table has at most."""
    return EDGES_PER_NEURON * len(fit.neurons) * 5 // 2 + int((fit.edges["q"] <= LEVEL).sum())


def _first(edges: pd.DataFrame, number: int) -> pd.DataFrame:
    order = np.argsort(-edges["weight"].abs().to_numpy(), kind="stable")
    kept = np.arange(len(order)) < number
    kept |= edges["q"].to_numpy()[order] <= LEVEL
    return edges.iloc[order[kept]].reset_index(drop=True)


def _average(fit: Fit) -> str:
    """Windows and seeds that the weights of the edge table average over, in words."""
    seeds = fit.environment.get("seeds")
    if isinstance(seeds, list) and len(seeds) > 1:
        return f"every window, then {len(seeds)} seeds, each scaled to unit root mean square"
    return "every window"


def _kept_share(edges: pd.DataFrame, fit: Fit, matrix: np.ndarray | None) -> float:
    """Share of the summed |weight| of directed edges that the table keeps."""
    if matrix is None:
        return 0.0
    kept = edge_table.directed(edges)["weight"]
    if "kept_share" in fit.edges.attrs:
        whole = edge_table.directed(fit.edges)["weight"]
        return float(fit.edges.attrs["kept_share"]) * _share(kept, whole)
    return _share(kept, matrix[~np.eye(len(matrix), dtype=bool)])


def _share_of_courses(couplings: Couplings, courses: Courses, connectivity: Connectivity) -> float:
    """Share of the summed |mean weight| of a connectivity that the edges of its courses hold."""
    edges, number = edge_table.directed(couplings.edges), courses.values.shape[1]
    if courses is couplings.weights:
        return couplings.kept_share * _share(edges["weight"][:number], edges["weight"])
    mean = connectivity.mean().to_numpy()
    post, pre = (
        storage.rows_of(edges[f"{side}_id"][:number].to_numpy(), connectivity.neurons)
        for side in ("post", "pre")
    )
    return _share(mean[post, pre], mean[~np.eye(len(mean), dtype=bool)])


def _of_other_edges(edges: pd.DataFrame) -> str:
    """Sentences on edges that are no directed ones of the whole session."""
    text = ""
    if number := len(edge_table.simultaneous(edges)):
        text += f" Then {number} simultaneous couplings (partial correlations within one bin)."
    if number := len(edge_table.changes(edges)):
        text += f" Then {number} changes of directed couplings between states."
    return text


def _share(part: np.ndarray | pd.Series, whole: np.ndarray | pd.Series) -> float:
    kept, total = (float(np.abs(np.asarray(x, np.float64)).sum()) for x in (part, whole))
    return kept / total if total else 1.0


def _reach(courses: Courses) -> dict[str, float]:
    start, stop = courses.window
    return {"window_start": tidy(start), "window_stop": tidy(stop)}
