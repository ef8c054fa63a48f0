"""The results of a fit as NWB objects of the extension, for the module `population_dynamics`.

Every object is named after the fit, so that several fits live side by side in one file.
"""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from hdmf.common import DynamicTable
from ndx_population_dynamics import ConnectivityFactors, ModelRun, NeuronTable, PredictedActivity
from pynwb.base import TimeSeries
from pynwb.core import NWBContainer

from nwbdyn.connectivity.connectivity import Connectivity
from nwbdyn.data.splits import SPLITS
from nwbdyn.errors import ConfigError
from nwbdyn.nwb.results import couplings, storage
from nwbdyn.nwb.results.model_run import model_run, name_of
from nwbdyn.progress import Report, silent
from nwbdyn.recording import Note
from nwbdyn.results.fit_results import Fit

MODULE = "population_dynamics"
MODULE_DESCRIPTION = "What models fitted to this recording predict, and the couplings they found."
OVERHEAD = 8 * 10**6  # bytes of the cached schema, the picture, texts and tables
PRECISIONS = ("float32", "float16")
RESERVED = (  # attributes of a table of neurons, after which no column can be called
    *("", "name", "description", "colnames", "columns", "object_id", "namespace"),
    *("neurodata_type", "kind", "cell_type_source"),
)
UNITS = {"counts": "count"}  # of predictions; every other quantity has none


@dataclass(frozen=True)
class InFile:
    """What the recording's own file offers to point at, when results go into a copy of it."""

    neurons: DynamicTable | None = None  # the table of units or ROIs
    rows: np.ndarray | None = None  # (N,) row of each fitted neuron in it
    series: TimeSeries | None = None  # the series that was fitted


@dataclass(frozen=True)
class Detail:
    """How much is written, and how precisely."""

    dense: bool = False  # one matrix per window beside the factors
    precision: str = "float32"  # of the factors and currents, which grow with time

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

    `report` is told how far the couplings are evaluated, and then, while pynwb writes what is
    returned, how many bytes of the large arrays are in the file.
    """
    name = name_of(fit)
    summary = couplings.summarise(fit, dense=detail.dense, report=report)
    run = model_run(fit, notes=(*notes, *summary.notes))
    neurons = neuron_table(fit, f"{name}_neurons", in_file)
    made = [
        run,
        neurons,
        predicted_activity(fit, f"{name}_predictions", run, neurons, in_file),
        *couplings.objects(fit, summary, name, run, neurons),
        *input_currents(fit, f"{name}_currents", neurons, detail.precision),
        factors(fit, fit.connectivity, f"{name}_factors", run, neurons, detail.precision),
    ]
    if fit.influence is not None:
        made.append(
            factors(fit, fit.influence, f"{name}_influence", run, neurons, detail.precision)
        )
    storage.report_bytes_while_writing(made, report)
    return made


def most_bytes(fit: Fit, detail: Detail) -> int:
    """Bytes that the results of a fit take in a file at most, before compression."""
    rows = couplings.EDGES_PER_NEURON * len(fit.neurons)
    series = min(couplings.SERIES_BYTES, 4 * rows * fit.connectivity.num_windows)
    arrays = fit.predictions.values.nbytes + fit.connectivity.stored_bytes + 2 * series
    arrays += 0 if fit.currents is None else fit.currents.nbytes
    arrays += 0 if fit.influence is None else fit.influence.stored_bytes
    movie = fit.connectivity.dense_bytes if detail.dense else 0
    return arrays + movie + 200 * rows + 16 * len(fit.predictions.time) + OVERHEAD


def neuron_table(fit: Fit, name: str, in_file: InFile) -> NeuronTable:
    """The fitted neurons, one row each, in the model's order."""
    known, ids = fit.neurons.table, fit.neurons.ids
    columns: dict[str, storage.Column] = {}
    columns["source_id"] = ids if ids.dtype.kind in "iuf" else storage.texts(known["id"])
    if in_file.neurons is not None and in_file.rows is not None:
        columns["source_row"] = storage.region("source_row", in_file.neurons, in_file.rows)
    for label in ("cell_type", "location"):
        if label in known:
            columns[label] = storage.texts(known[label])
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
            columns[_column_name(str(column))] = values.to_numpy()
    source = {"cell_type_source": fit.neurons.cell_type_source}
    return storage.table(
        NeuronTable,
        columns,
        name=name,
        description=f"The {fit.neurons.kind}s that {fit.model} was fitted to, in its order.",
        kind=fit.neurons.kind,
        **{key: value for key, value in source.items() if value},
    )


def _column_name(name: str) -> str:
    """A name that an NWB table can give to a column: none of its own attributes, no separators."""
    plain = name.replace("/", "_").replace(":", "_")
    return f"source_{plain}" if plain in RESERVED else plain


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
        data=storage.compressed(np.asarray(predictions.values)),
        unit=UNITS.get(predictions.quantity, "n.a."),
        **storage.clock(predictions.time),
        control=storage.compressed(predictions.labels.astype(np.uint8)),
        control_description=list(SPLITS),
        quantity=predictions.quantity,
        horizon=int(predictions.horizon),
        bin_width=float(predictions.bin_width),
        neurons=storage.region("neurons", neurons, np.arange(len(predictions.neurons))),
        run=run,
        **link,
    )


def input_currents(
    fit: Fit, name: str, neurons: NeuronTable, precision: str
) -> tuple[TimeSeries, ...]:
    """What each neuron receives from the others; nothing for a model without an adjacency."""
    if fit.currents is None:
        return ()
    series = TimeSeries(
        name=name,
        description=(
            f"Input current of each row of {neurons.name}: I(t) = A x(t), the sum over the other "
            "neurons of adjacency times activity as the model saw it. The unit is that of A "
            "times that of x; the scale of A, and so of the current, means nothing by itself."
        ),
        data=storage.compressed(_narrowed(fit.currents, precision)),
        unit="n.a.",
        **storage.clock(fit.predictions.time),
    )
    return (series,)


def factors(
    fit: Fit,
    connectivity: Connectivity,
    name: str,
    run: ModelRun,
    neurons: NeuronTable,
    precision: str,
) -> ConnectivityFactors:
    """The arrays of a connectivity of the fit: the exact matrix at any time follows."""
    arrays: dict[str, Any] = {}
    for key, value in connectivity.arrays.items():
        growing = key in ("activity", "g", "maps", "y", "weights")
        array = _narrowed(value, precision) if growing else np.asarray(value)
        arrays[key] = storage.compressed(array)
    settings = dict(connectivity.attributes)
    if "context" in settings:
        arrays["context"] = int(settings.pop("context"))
    if "scale" in settings:
        arrays["scale"] = float(settings.pop("scale"))
    return ConnectivityFactors(
        name=name,
        form=connectivity.form,
        timestamps=storage.compressed(np.asarray(connectivity.time, dtype=np.float64)),
        neurons=storage.region(
            "neurons", neurons, storage.rows_of(connectivity.neurons.ids, fit.neurons)
        ),
        details=json.dumps(settings),
        run=run,
        **storage.measure(connectivity),
        **arrays,
    )


def _narrowed(values: np.ndarray, precision: str) -> np.ndarray:
    """The array at this precision, or as it is where it holds no more than that."""
    array = np.asarray(values)
    if array.dtype.kind != "f":
        return array
    return array.astype(min(np.dtype(precision), array.dtype), copy=False)
