"""The results of a fit as NWB objects of the extension, for the module `population_dynamics`.

Every object is named after the fit, so that several fits live side by side in one file. Series are
two-dimensional and bounded; what does not fit the bounds is left out and said so in the notes.
"""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from hdmf.backends.hdf5 import H5DataIO
from hdmf.common import DynamicTable, DynamicTableRegion, VectorData
from ndx_population_dynamics import (
    CellTypeConnectivitySeries,
    ConnectivityEdges,
    ConnectivityFactors,
    EdgeWeightSeries,
    ModelRun,
    NeuronTable,
    PredictedActivity,
)
from pynwb.base import TimeSeries
from pynwb.core import NWBContainer

from nwbdyn.connectivity import Connectivity
from nwbdyn.errors import ResultsError
from nwbdyn.nwb.heat_map import heat_map
from nwbdyn.nwb.model_run import model_run, name_of
from nwbdyn.recording import Neurons, Note
from nwbdyn.results import Fit
from nwbdyn.splits import SPLITS

MODULE = "population_dynamics"
MODULE_DESCRIPTION = "What models fitted to this recording predict, and the couplings they found."
EDGES_PER_NEURON = 10  # rows of the edge table, per neuron
OVERHEAD = 8 * 10**6  # bytes of the cached schema, the picture, texts and tables
SERIES_BYTES = 256 * 10**6  # of edge weights over time
REGULAR = 1e-9  # seconds that a regular clock may be off
CHUNK = (512, 32)  # times, columns: 64 kB, for one time and for one column alike
UNITS = {"counts": "count", "dff": "n.a.", "events": "n.a."}
STATISTICS = (  # columns of an edge table beside the weight, written where there is a value
    "se",
    "seed_sd",
    "half_split_agreement",
    "p",
    "q",
    "sign_agreement",
)


@dataclass(frozen=True)
class InFile:
    """What the recording's own file offers to point at, when results go into a copy of it."""

    neurons: DynamicTable | None = None  # the table of units or ROIs
    rows: np.ndarray | None = None  # (N,) row of each fitted neuron in it
    series: TimeSeries | None = None  # the series that was fitted


def results(
    fit: Fit, *, in_file: InFile = InFile(), notes: tuple[Note, ...] = ()
) -> list[NWBContainer]:
    """Every object of a fit, in an order in which each points at earlier ones only."""
    name = name_of(fit)
    left_out: list[Note] = []
    neurons = neuron_table(fit, f"{name}_neurons", in_file)
    matrix = _mean_matrix(fit)
    table = _strongest(fit)
    share = _kept_share(table, matrix, fit)
    weights = _weights_over_time(fit.connectivity, table, left_out)
    types = _types_over_time(fit.connectivity, left_out)
    run = model_run(fit, notes=(*notes, *left_out))
    edges = connectivity_edges(fit, f"{name}_edges", table, share, run, neurons)
    objects: list[NWBContainer] = [
        run,
        neurons,
        predicted_activity(fit, f"{name}_predictions", run, neurons, in_file),
        edges,
    ]
    if weights is not None:
        kept = share * _share(table["weight"][: weights.sizes["edge"]], table["weight"])
        objects.append(
            edge_weight_series(fit.connectivity, f"{name}_edge_weights", weights, kept, run, edges)
        )
    if types is not None:
        objects.append(cell_type_series(fit.connectivity, f"{name}_cell_types", types, run))
    objects.append(factors(fit, f"{name}_factors", run, neurons))
    objects.append(heat_map(f"{name}_figures", matrix, fit.connectivity))
    return objects


def most_bytes(fit: Fit) -> int:
    """Bytes that the results of a fit take in a file at most, before compression."""
    rows = EDGES_PER_NEURON * len(fit.neurons)
    series = min(SERIES_BYTES, 4 * rows * fit.connectivity.num_windows)
    arrays = fit.predictions.values.nbytes + fit.connectivity.stored_bytes + 2 * series
    return arrays + 200 * rows + 16 * len(fit.predictions.time) + OVERHEAD


def neuron_table(fit: Fit, name: str, in_file: InFile) -> NeuronTable:
    """The fitted neurons, one row each, in the model's order."""
    known, ids = fit.neurons.table, fit.neurons.ids
    columns: dict[str, np.ndarray | DynamicTableRegion] = {}
    columns["source_id"] = ids if ids.dtype.kind in "iuf" else _texts(known["id"])
    if in_file.neurons is not None and in_file.rows is not None:
        columns["source_row"] = _region("source_row", in_file.neurons, in_file.rows)
    for label in ("cell_type", "location"):
        if label in known:
            columns[label] = _texts(known[label])
    axes = [axis for axis in ("x", "y", "z") if axis in known]
    if axes:
        columns["position"] = known[axes].to_numpy(dtype=np.float64)
    columns["held_out"] = np.asarray(fit.predictions.held_out, dtype=bool)
    if fit.embeddings is not None:
        columns["embedding"] = np.asarray(fit.embeddings)
    predefined = {column["name"] for column in NeuronTable.__columns__}
    for column in known:
        values = known[column]
        if column in predefined or column in ("id", *axes) or values.dtype.kind not in "biuf":
            continue
        if not values.isna().all():
            columns[str(column).replace("/", "_").replace(":", "_")] = values.to_numpy()
    source = {"cell_type_source": fit.neurons.cell_type_source}
    return _table(
        NeuronTable,
        columns,
        name=name,
        description=f"The {fit.neurons.kind}s that {fit.model} was fitted to, in its order.",
        kind=fit.neurons.kind,
        **{key: value for key, value in source.items() if value},
    )


def predicted_activity(
    fit: Fit, name: str, run: ModelRun, neurons: NeuronTable, in_file: InFile
) -> PredictedActivity:
    predictions = fit.predictions
    what = (
        "Held-out neurons predicted from the others; the others are reconstructions."
        if predictions.horizon == 0
        else f"Prediction {predictions.horizon} bin(s) ahead, from what came before."
    )
    link = {} if in_file.series is None else {"source_series": in_file.series}
    return PredictedActivity(
        name=name,
        description=f"{what} NaN where there is none. Fitted by {fit.model}.",
        data=_compressed(predictions.values),
        unit=UNITS.get(predictions.quantity, "n.a."),
        **_clock(predictions.time),
        control=_compressed(predictions.labels.astype(np.uint8)),
        control_description=list(SPLITS),
        quantity=predictions.quantity,
        horizon=int(predictions.horizon),
        bin_width=float(predictions.bin_width),
        neurons=_region("neurons", neurons, np.arange(len(predictions.neurons))),
        run=run,
        **link,
    )


def connectivity_edges(
    fit: Fit, name: str, table: pd.DataFrame, share: float, run: ModelRun, neurons: NeuronTable
) -> ConnectivityEdges:
    num_neurons = len(fit.connectivity.neurons)
    columns: dict[str, np.ndarray | DynamicTableRegion] = {
        side: _region(side, neurons, _rows(table[side].to_numpy(), fit.neurons))
        for side in ("pre", "post")
    }
    columns["weight"] = table["weight"].to_numpy(dtype=np.float32)
    for column in STATISTICS:
        if column in table and table[column].notna().any():
            columns[column] = table[column].to_numpy(dtype=np.float32)
    for column in ("pre_cell_type", "post_cell_type", "flags"):
        if column in table and (_texts(table[column]) != "").any():
            columns[column] = _texts(table[column])
    return _table(
        ConnectivityEdges,
        columns,
        name=name,
        description=(
            f"The {len(table)} strongest of {num_neurons * (num_neurons - 1)} couplings between "
            "different neurons, averaged over time, strongest first."
        ),
        average=_average(fit),
        num_possible=num_neurons * (num_neurons - 1),
        kept_share=share,
        run=run,
        **_measure(fit.connectivity),
    )


def edge_weight_series(
    connectivity: Connectivity,
    name: str,
    weights: xr.DataArray,
    share: float,
    run: ModelRun,
    edges: ConnectivityEdges,
) -> EdgeWeightSeries:
    return EdgeWeightSeries(
        name=name,
        description="Weights of the strongest edges, window by window.",
        data=_compressed(weights.to_numpy()),
        unit="n.a.",
        **_clock(weights.time.to_numpy()),
        kept_share=share,
        num_averaged=1,
        edges=_region("edges", edges, np.arange(weights.sizes["edge"])),
        run=run,
        **_measure(connectivity),
    )


def cell_type_series(
    connectivity: Connectivity, name: str, means: xr.DataArray, run: ModelRun
) -> CellTypeConnectivitySeries:
    types = means.post_type.to_numpy()
    labels = _texts(connectivity.neurons.table["cell_type"])
    sizes = np.array([(labels == label).sum() for label in types])
    pairs = np.outer(sizes, sizes) - np.diag(sizes)
    return CellTypeConnectivitySeries(
        name=name,
        description="Mean coupling from neurons of one type to neurons of another.",
        data=_compressed(means.to_numpy().reshape(len(means), -1)),
        unit="n.a.",
        **_clock(means.time.to_numpy()),
        grouped_by="cell_type",
        post_type=np.repeat(types, len(types)).tolist(),
        pre_type=np.tile(types, len(types)).tolist(),
        num_edges=pairs.ravel().tolist(),
        run=run,
        **_measure(connectivity),
    )


def factors(fit: Fit, name: str, run: ModelRun, neurons: NeuronTable) -> ConnectivityFactors:
    """The arrays of the connectivity as they are: the exact matrix at any time follows."""
    connectivity = fit.connectivity
    arrays: dict[str, Any] = {}
    for key, value in connectivity.arrays.items():
        if np.ndim(value) > 0:
            stored = "weights" if (connectivity.form, key) == ("dense", "weight") else key
            arrays[stored] = _compressed(np.asarray(value))
    settings = {
        key: value.item() for key, value in connectivity.arrays.items() if np.ndim(value) == 0
    } | dict(connectivity.attributes)
    if "context" in settings:
        arrays["context"] = int(settings.pop("context"))
    if "scale" in settings:
        arrays["scale"] = float(settings.pop("scale"))
    return ConnectivityFactors(
        name=name,
        form=connectivity.form,
        timestamps=_compressed(np.asarray(connectivity.time, dtype=np.float64)),
        neurons=_region("neurons", neurons, _rows(connectivity.neurons.ids, fit.neurons)),
        details=json.dumps(settings),
        run=run,
        **_measure(connectivity),
        **arrays,
    )


def _mean_matrix(fit: Fit) -> np.ndarray:
    """(N, N) mean coupling; from the edges where they are complete, else averaged over time."""
    num_neurons = len(fit.connectivity.neurons)
    if len(fit.edges) < num_neurons * (num_neurons - 1):
        return fit.connectivity.mean().to_numpy()
    matrix = np.full((num_neurons, num_neurons), np.nan)
    post, pre = (
        _rows(fit.edges[side].to_numpy(), fit.connectivity.neurons) for side in ("post", "pre")
    )
    matrix[post, pre] = fit.edges["weight"].to_numpy()
    return matrix


def _strongest(fit: Fit) -> pd.DataFrame:
    edges = fit.edges if len(fit.edges) else fit.connectivity.edges()
    order = np.argsort(-edges["weight"].abs().to_numpy(), kind="stable")
    kept = EDGES_PER_NEURON * len(fit.connectivity.neurons)
    return edges.iloc[order[:kept]].reset_index(drop=True)


def _average(fit: Fit) -> str:
    """What the weights of the edge table average over, in words."""
    seeds = fit.environment.get("seeds")
    if isinstance(seeds, list) and len(seeds) > 1:
        return f"every window, then {len(seeds)} seeds, each scaled to unit root mean square"
    return "every window"


def _kept_share(table: pd.DataFrame, matrix: np.ndarray, fit: Fit) -> float:
    """Share of the summed |weight| that the table keeps."""
    if "kept_share" in fit.edges.attrs:
        return float(fit.edges.attrs["kept_share"]) * _share(table["weight"], fit.edges["weight"])
    return _share(table["weight"], matrix[~np.eye(len(matrix), dtype=bool)])


def _share(part: np.ndarray | pd.Series, whole: np.ndarray | pd.Series) -> float:
    kept, total = (float(np.abs(np.asarray(x, np.float64)).sum()) for x in (part, whole))
    return kept / total if total else 1.0


def _weights_over_time(
    connectivity: Connectivity, table: pd.DataFrame, left_out: list[Note]
) -> xr.DataArray | None:
    num_windows = connectivity.num_windows
    if connectivity.form == "static" or num_windows < 2:
        return None
    # As many edges as fit the bytes; and not more than windows, or time is no longer the long axis.
    kept = min(len(table), SERIES_BYTES // (4 * num_windows), num_windows)
    if kept < len(table):
        reason = f"weights over time are kept for the {kept} strongest of {len(table)} edges"
        left_out.append(Note("left-out", "edge_weights", reason))
    if not kept:
        return None
    return connectivity.over_time(pre=table["pre"][:kept], post=table["post"][:kept])


def _types_over_time(connectivity: Connectivity, left_out: list[Note]) -> xr.DataArray | None:
    neurons = connectivity.neurons.table
    if connectivity.form == "static" or connectivity.num_windows < 2 or "cell_type" not in neurons:
        return None
    num_pairs = len(set(_texts(neurons["cell_type"])) - {""}) ** 2
    if num_pairs > connectivity.num_windows:
        reason = f"{num_pairs} pairs of cell types are more than {connectivity.num_windows} windows"
        left_out.append(Note("left-out", "cell_types", reason))
        return None
    return connectivity.by_cell_type() if num_pairs else None


def _measure(connectivity: Connectivity) -> dict[str, Any]:
    return {
        "measure": connectivity.measure,
        "is_causal": bool(connectivity.causal),
        "window_start": float(connectivity.window[0]),
        "window_stop": float(connectivity.window[1]),
    }


def _clock(time: np.ndarray) -> dict[str, Any]:
    """`starting_time` and `rate` of a regular clock, else `timestamps`."""
    time = np.asarray(time, dtype=np.float64)
    if len(time) > 1:
        interval = (time[-1] - time[0]) / (len(time) - 1)
        if np.abs(time - time[0] - interval * np.arange(len(time))).max() < REGULAR:
            return {"starting_time": float(time[0]), "rate": float(1 / interval)}
    return {"timestamps": _compressed(time)}


def _region(name: str, table: DynamicTable, rows: np.ndarray) -> DynamicTableRegion:
    return DynamicTableRegion(
        name=name, data=rows.tolist(), description=f"Rows of {table.name}.", table=table
    )


def _rows(ids: np.ndarray, neurons: Neurons) -> np.ndarray:
    """Row of each id."""
    index = pd.Index(neurons.ids)
    if not index.is_unique:
        again = index[index.duplicated()][0]
        raise ResultsError(
            f"Several neurons have the id {again}: couplings between them cannot be told apart. "
            "Give the rows of the recording's table ids of their own."
        )
    rows = index.get_indexer(pd.Index(ids))
    if (rows < 0).any():
        raise ResultsError(f"Neuron {ids[rows < 0][0]} is not among the {len(index)} fitted ones.")
    return rows


def _compressed(array: np.ndarray) -> np.ndarray | H5DataIO:
    """gzip and shuffle, in chunks that serve one time and one column alike."""
    if array.size < 1024:  # a filter would cost more bytes than it saves
        return array
    if array.ndim <= 2:
        chunks = tuple(min(n, c) for n, c in zip(array.shape, CHUNK, strict=False))
    else:
        chunks = (1,) * (array.ndim - 2) + array.shape[-2:]  # one matrix
    return H5DataIO(array, compression="gzip", shuffle=True, chunks=chunks)


def _table(
    type_of: type[DynamicTable], columns: dict[str, np.ndarray | DynamicTableRegion], **rest: Any
) -> Any:
    """A table of these columns, described as the extension describes them."""
    words = {column["name"]: column["description"] for column in type_of.__columns__}
    made = [
        data
        if isinstance(data, DynamicTableRegion)
        else VectorData(
            name=name,
            description=words.get(name, f"{name}, as in the recording."),
            data=data.tolist() if data.dtype.kind == "O" else _compressed(data),
        )
        for name, data in columns.items()
    ]
    num_rows = len(next(iter(columns.values())))
    return type_of(columns=made, colnames=list(columns), id=list(range(num_rows)), **rest)


def _texts(values: pd.Series) -> np.ndarray:
    """(n,) str, "" where there is nothing."""
    return values.astype(object).where(values.notna(), "").astype(str).to_numpy(dtype=object)
