"""The results of a fit as NWB objects of the extension, for the module `population_dynamics`.

Every object is named after the fit, so that several fits live side by side in one file.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from hdmf.common import DynamicTable
from ndx_population_dynamics import (
    ModelRun,
    NeuronsTable,
    PredictedActivitySeries,
    TimeResolvedConnectivity,
)
from pynwb.base import TimeSeries
from pynwb.core import NWBContainer

from nwbdyn.connectivity import edge_table
from nwbdyn.connectivity.connectivity import Connectivity
from nwbdyn.data.splits import SPLITS
from nwbdyn.errors import ConfigError
from nwbdyn.nwb.results import components, couplings, courses, storage
from nwbdyn.nwb.results.model_run import model_run, name_of
from nwbdyn.progress import Report, silent
from nwbdyn.recording import Note
from nwbdyn.results.details import tidy
from nwbdyn.results.fit_results import Fit

MODULE = "population_dynamics"
MODULE_DESCRIPTION = "Models fitted to this recording: predicted activity and coupling over time."
OVERHEAD = 8 * 10**6  # bytes of the cached schema, the picture, texts and tables
PRECISIONS = (components.ROUNDED, "float32", "float16")
PREDICTION_BITS = 16  # per standard deviation of a neuron, see `storage.rounded`
RESERVED = (  # attributes of a table of neurons, after which no column is called
    *("", "name", "description", "colnames", "columns", "object_id", "namespace"),
    *("neurodata_type", "kind", "cell_type_source"),
    "heldout",  # none of these attributes, but too close to the column held_out
)
UNITS = {"counts": "count"}  # of predictions; every other quantity has none


@dataclass(frozen=True)
class InFile:
    """Objects of the recording's file that results in a copy of it point at."""

    neurons: DynamicTable | None = None  # the table of units or ROIs
    rows: np.ndarray | None = None  # (N,) row of each fitted neuron in it
    series: TimeSeries | None = None  # the series that was fitted


@dataclass(frozen=True)
class Detail:
    """How much is written, and how precisely."""

    dense: bool = False  # one matrix per window beside the factors
    precision: str = components.ROUNDED  # of what grows with time

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            known = ", ".join(PRECISIONS)
            raise ConfigError(f"No precision {self.precision!r}. Choose from: {known}.")


def results(
    fit: Fit,
    *,
    in_file: InFile = InFile(),
    detail: Detail = Detail(),
    notes: tuple[Note, ...] = (),
    report: Report = silent,
) -> list[NWBContainer]:
    """Every object of a fit, in an order in which each points at earlier ones only.

    `report` is called with the progress of evaluating the couplings, and then, while pynwb writes
    the objects, with the number of bytes of the large arrays that are in the file.
    """
    name = name_of(fit)
    summary = couplings.summarise(fit, dense=detail.dense, report=report)
    run = model_run(fit, notes=(*notes, *summary.notes))
    neurons = neuron_table(fit, f"{name}_neurons", in_file)
    made = [
        run,
        neurons,
        predicted_activity(fit, f"{name}_predictions", run, neurons, in_file, detail),
        *couplings.objects(fit, summary, name, run, neurons),
        connectivity(fit, f"{name}_connectivity", run, neurons, summary.matrix, detail),
    ]
    if fit.influence is not None:
        made.append(influence(fit, f"{name}_influence", run, neurons, detail))
    storage.report_bytes_while_writing(made, report)
    return made


def most_bytes(fit: Fit, detail: Detail) -> int:
    """Bytes that the results of a fit take in a file at most, before compression."""
    over_time = 4 * 3 * courses.budget(fit)
    matrices = 3 * 8 * len(fit.neurons) ** 2
    arrays = fit.predictions.values.nbytes + fit.connectivity.stored_bytes + over_time + matrices
    if detail.dense:
        arrays += fit.connectivity.dense_bytes
        arrays += 0 if fit.influence is None else fit.influence.stored_bytes
    return arrays + 400 * couplings.most_edges(fit) + 16 * len(fit.predictions.time) + OVERHEAD


def neuron_table(fit: Fit, name: str, in_file: InFile) -> NeuronsTable:
    """The fitted neurons, one row each, in the model's order."""
    known, ids = fit.neurons.table, fit.neurons.ids
    columns: dict[str, storage.Column] = {}
    columns["neuron_name"] = couplings.neuron_names(fit.neurons)
    columns["source_id"] = storage.identifiers(ids)
    if in_file.neurons is not None and in_file.rows is not None:
        columns["source_row"] = storage.region("source_row", in_file.neurons, in_file.rows)
    for label in ("cell_type", "location"):
        if label in known:
            columns[label] = storage.texts(known[label])
    axes = [axis for axis in ("x", "y", "z") if axis in known]
    if axes:
        columns["position"] = known[axes].to_numpy(dtype=np.float64)
    columns["held_out"] = np.asarray(fit.predictions.held_out, dtype=bool)
    if fit.embeddings is not None and not _is_stored(fit.embeddings, fit.connectivity):
        columns["embedding"] = np.asarray(fit.embeddings)
    predefined = {column["name"] for column in NeuronsTable.__columns__}
    for column in known:
        values = known[column]
        if column in predefined or column in ("id", *axes) or values.isna().all():
            continue
        if values.dtype.kind in "biuf":
            columns[_column_name(str(column))] = values.to_numpy()
        elif all(isinstance(value, str) for value in values.dropna()):
            columns[_column_name(str(column))] = storage.texts(values)
    source = {"cell_type_source": fit.neurons.cell_type_source}
    return storage.table(
        NeuronsTable,
        columns,
        name=name,
        description=f"The {fit.neurons.kind}s that {fit.model} was fitted to, in its order.",
        kind=fit.neurons.kind,
        **{key: value for key, value in source.items() if value},
    )


def _column_name(name: str) -> str:
    """A name that a column can have beside what the table has itself, without separators."""
    plain = name.replace("/", "_").replace(":", "_")
    return f"source_{plain}" if plain in RESERVED else plain


def predicted_activity(
    fit: Fit, name: str, run: ModelRun, neurons: NeuronsTable, in_file: InFile, detail: Detail
) -> PredictedActivitySeries:
    predictions = fit.predictions
    values: Any = predictions.values
    rounding = ""
    if detail.precision == components.ROUNDED and storage.is_rounded(values):
        values = storage.rounded(values, PREDICTION_BITS)
        rounding = f" Rounded to 2^-{PREDICTION_BITS} of the standard deviation of a neuron."
    what = (
        "Held-out neurons predicted from the others; the others are reconstructions."
        if predictions.horizon == 0
        else f"Prediction {predictions.horizon} bin(s) ahead, from what came before."
    )
    link = {} if in_file.series is None else {"source_series": in_file.series}
    return PredictedActivitySeries(
        name=name,
        description=f"{what} NaN where there is none. Fitted by {fit.model}.{rounding}",
        data=storage.compressed(values),
        unit=UNITS.get(predictions.quantity, "n.a."),
        **storage.clock(predictions.time),
        control=storage.compressed(predictions.labels.astype(np.uint8)),
        control_description=list(SPLITS),
        quantity=predictions.quantity,
        horizon=int(predictions.horizon),
        bin_width=tidy(float(predictions.bin_width)),
        neurons=storage.region("neurons", neurons, np.arange(len(predictions.neurons))),
        run=run,
        **link,
    )


def _is_stored(embeddings: np.ndarray, connectivity: Connectivity) -> bool:
    """True if the component of the connectivity holds the embeddings anyway."""
    stored = connectivity.arrays.get("embedding")
    return stored is not None and np.array_equal(np.asarray(stored), embeddings)


def connectivity(
    fit: Fit,
    name: str,
    run: ModelRun,
    neurons: NeuronsTable,
    mean: np.ndarray | None,
    detail: Detail,
) -> TimeResolvedConnectivity:
    """The couplings of the fit at every window, as components that determine them exactly."""
    observed = None
    if fit.currents is not None:
        observed = np.isfinite(np.asarray(fit.currents)).any(axis=1)
    return _time_resolved(
        fit,
        fit.connectivity,
        name,
        run,
        neurons,
        f"Coupling at every window of {fit.model}: the sum of its components.",
        mean,
        detail,
        observed,
    )


def influence(
    fit: Fit, name: str, run: ModelRun, neurons: NeuronsTable, detail: Detail
) -> TimeResolvedConnectivity:
    """The predictive influence: its mean over test windows, and with `dense` every window."""
    whole = fit.influence
    assert whole is not None
    words = f"Predictive influence in {whole.num_windows} test windows"
    if detail.dense:
        return _time_resolved(fit, whole, name, run, neurons, f"{words}.", None, detail)
    first, last = float(whole.time[0]), float(whole.time[-1])
    centre = (first + last) / 2
    mean = replace(
        whole,
        form="static",
        time=np.array([centre]),
        window=(first + whole.window[0] - centre, last + whole.window[1] - centre),
        arrays={"weight": whole.mean().to_numpy()},
        attributes={},
    )
    words = f"{words}, averaged into one matrix; --dense exports every window."
    return _time_resolved(fit, mean, name, run, neurons, words, None, detail)


def _time_resolved(
    fit: Fit,
    connectivity: Connectivity,
    name: str,
    run: ModelRun,
    neurons: NeuronsTable,
    description: str,
    mean: np.ndarray | None,
    detail: Detail,
    observed: np.ndarray | None = None,
) -> TimeResolvedConnectivity:
    parts = components.components(
        connectivity, precision=detail.precision, every_layer=detail.dense, observed=observed
    )
    summary = {} if mean is None else {"mean": storage.compressed(mean.astype(np.float32))}
    return TimeResolvedConnectivity(
        name=name,
        description=f"{description} Rows of a matrix receive, columns send.",
        kind=edge_table.DIRECTED,
        timestamps=storage.compressed(np.asarray(connectivity.time, dtype=np.float64)),
        neurons=storage.region(
            "neurons", neurons, storage.rows_of(connectivity.neurons.ids, fit.neurons)
        ),
        connectivity_components=parts,
        run=run,
        **summary,
        **storage.measure(connectivity),
    )
