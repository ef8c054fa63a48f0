"""An exported file -> the Fit in it, lazily: arrays stay in the file until somebody asks.

The way back from `write.export`. The file is read with h5py, object by object, so that it opens
whatever else is in it and wherever pynwb stumbles.
"""

import json
import math
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd

from nwbdyn import inside
from nwbdyn.connectivity.connectivity import Connectivity
from nwbdyn.errors import ResultsError
from nwbdyn.recording import LazyArray, Neurons, Note, Source
from nwbdyn.results.fit_results import Fit, Predictions

MODULE = "processing/population_dynamics"
READ = (MODULE, "general", "identifier", "session_start_time", "session_description")
FACTORS = (  # arrays of ConnectivityFactors, as `Connectivity.arrays` calls them
    "activity",
    "last",
    "embedding",
    "query",
    "key",
    "norm_gain",
    "norm_bias",
    "A",
    "g",
    "maps",
    "y",
    "owner",
    "weight",
    "weights",
)
LARGE = 2**20  # bytes from which an array stays in the file


def open_results(path: Path | str, run: str | None = None) -> Fit:
    """The fit in a file that `export` wrote.

    Use it in a `with` block, or call `close()`: large arrays stay in the file until they are
    indexed, and are gone afterwards.

    Args:
        path: a stand-alone derivative or an enriched copy.
        run: name of the ModelRun, where the file holds several.

    Returns:
        A Fit without `weights`; `metrics` and everything that says how to repeat it are there.

    Raises:
        ResultsError: no such file, no results in it, no such run, several and none named, or
            results of a form that this version does not know.
    """
    path = Path(path)
    with ExitStack() as stack:
        try:
            file = stack.enter_context(h5py.File(path, "r"))
        except FileNotFoundError:
            raise ResultsError(f"No file {path}. `nwbdyn export RUN` writes one.") from None
        except OSError as error:
            raise ResultsError(f"Cannot open {path} as NWB: {error}.") from error
        inside.check(file, READ)
        name = _choose(file, path, run)
        try:
            return _fit(file, name, stack.pop_all())
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ResultsError(
                f"The results {name} in {path} are incomplete ({error}). Export them again."
            ) from error


def run_names(path: Path | str) -> tuple[str, ...]:
    """Names of the runs whose results a file holds."""
    with h5py.File(path, "r") as file:
        return _runs(file)


def _choose(file: h5py.File, path: Path, run: str | None) -> str:
    names = _runs(file)
    if not names:
        raise ResultsError(f"{path} holds no results of a model. `nwbdyn export` writes some.")
    if run is None and len(names) > 1:
        raise ResultsError(f"{path} holds several results; name one: {', '.join(names)}.")
    if run is not None and run not in names:
        raise ResultsError(f"{path} holds no results {run!r}; it has: {', '.join(names)}.")
    return run or names[0]


def _runs(file: h5py.File) -> tuple[str, ...]:
    module = file.get(MODULE)
    if not isinstance(module, h5py.Group):
        return ()
    return tuple(
        name for name, item in module.items() if item.attrs.get("neurodata_type") == "ModelRun"
    )


def _fit(file: h5py.File, name: str, files: ExitStack) -> Fit:
    module = file[MODULE]
    record = module[name]
    table = module[f"{name}_neurons"]
    source = _source(record)
    neurons = _neurons(table, record)
    metrics = _metrics(_json(record, "scores"))
    edges = _edges(module.get(f"{name}_edges"), neurons, metrics.get("edges"))
    versions = _json(record, "versions")
    return Fit(
        model=record.attrs["model"],
        config=_json(record, "config"),
        binning=_json(record, "binning"),
        split=_json(record, "split"),
        history=tuple(_nan_for_null(_json(record, "history"))),
        metrics=metrics,
        predictions=_predictions(module[f"{name}_predictions"], neurons, table),
        connectivity=_connectivity(module[f"{name}_factors"], neurons, edges),
        edges=edges,
        neurons=neurons,
        source=source,
        session=_session(file, name),
        environment=versions.pop("environment", {}),
        versions=versions,
        seed=int(record.attrs["seed"]),
        device=record.attrs.get("device", ""),
        embeddings=table["embedding"][()] if "embedding" in table else None,
        currents=(
            _array(module[f"{name}_currents"]["data"])  # type: ignore[arg-type]  # lazy if large
            if f"{name}_currents" in module
            else None
        ),
        influence=(
            _connectivity(module[f"{name}_influence"], neurons, None)
            if f"{name}_influence" in module
            else None
        ),
        notes=tuple(Note(**note) for note in _json(record, "notes")),
        files=files,
    )


def _source(record: h5py.Group) -> Source:
    attributes = record["source"].attrs
    names = ("uri", "dandiset_id", "asset_path", "asset_id", "digest", "instance")
    known = {name: attributes[name] for name in names if name in attributes}
    return Source(
        **known,
        url=attributes.get("url", ""),
        version=attributes.get("dandiset_version"),
        size=int(attributes["size"]) if "size" in attributes else None,
    )


def _neurons(table: h5py.Group, record: h5py.Group) -> Neurons:
    columns: dict[str, np.ndarray | list[str]] = {"id": _column(table["source_id"])}
    for name in _column_names(table):
        if name == "position":
            axes = table[name][()].T
            columns |= dict(zip(("x", "y", "z"), axes, strict=False))
        elif name not in ("source_id", "source_row", "held_out", "embedding"):
            columns[name] = _column(table[name])
    frame = pd.DataFrame(columns)
    for label in ("cell_type", "location"):
        if label in frame:
            frame[label] = [value or None for value in frame[label]]
    attributes = record["source"].attrs
    return Neurons(
        frame,
        table.attrs["kind"],
        attributes.get("neurons_path"),
        attributes.get("neurons_object_id"),
        table.attrs.get("cell_type_source"),
    )


def _predictions(series: h5py.Group, neurons: Neurons, table: h5py.Group) -> Predictions:
    return Predictions(
        values=_array(series["data"]),  # type: ignore[arg-type]  # lazy where they are large
        time=_clock(series),
        bin_width=float(series.attrs["bin_width"]),
        held_out=table["held_out"][()].astype(bool),
        labels=series["control"][()].astype(np.int8),
        quantity=series.attrs["quantity"],
        horizon=int(series.attrs["horizon"]),
        neurons=neurons,
    )


def _connectivity(
    factors: h5py.Group, neurons: Neurons, edges: pd.DataFrame | None
) -> Connectivity:
    attributes = _json(factors, "details")
    for name, kind in (("context", int), ("scale", float)):
        if name in factors.attrs:
            attributes[name] = kind(factors.attrs[name])
    arrays = {name: _array(factors[name]) for name in FACTORS if name in factors}
    return Connectivity(
        form=factors.attrs["form"],
        time=factors["timestamps"][()],
        window=(float(factors.attrs["window_start"]), float(factors.attrs["window_stop"])),
        neurons=neurons.take(factors["neurons"][()]),
        measure=factors.attrs["measure"],
        causal=bool(factors.attrs["is_causal"]),
        arrays=arrays,  # type: ignore[arg-type]  # lazy where they are large
        attributes=attributes,
        tested=edges,
    )


def _edges(table: h5py.Group | None, neurons: Neurons, tests: Any) -> pd.DataFrame:
    """The edge table; `tests` is what the fit's metrics say of its edges, None without a null."""
    if table is None:  # of a network too large for an edge table
        return pd.DataFrame({"pre": [], "post": [], "weight": [], "sign": []})
    columns = {
        name: neurons.ids[table[name][()]] if name in ("pre", "post") else _column(table[name])
        for name in _column_names(table)
    }
    edges = pd.DataFrame(columns)
    edges["sign"] = np.sign(edges["weight"]).astype(np.int8)
    edges.attrs = {
        "num_pairs": int(table.attrs["num_possible"]),
        "kept_share": float(table.attrs["kept_share"]),
    }
    if tests is not None:
        edges["flags"] = edges.get("flags", "")
        edges.attrs |= {
            "null_hypothesis": table.attrs["null_hypothesis"],
            "smallest_p": float(table.attrs["smallest_p"]),
            "withheld": tests["withheld"],
        }
    return edges


def _session(file: h5py.File, name: str) -> dict[str, object]:
    def text(path: str) -> str:
        return file[path].asstr()[()] if path in file else ""

    subject = file.get("general/subject")
    fields = subject if isinstance(subject, h5py.Group) else {}
    return {
        "session_id": text("general/session_id"),
        "identifier": text("identifier").removesuffix(f"_{name}"),
        "session_start_time": text("session_start_time"),
        "session_description": text("session_description"),
        "subject": {key: str(item.asstr()[()]) for key, item in fields.items()},
    }


def _clock(series: h5py.Group) -> np.ndarray:
    if "timestamps" in series:
        return series["timestamps"][()]
    start = series["starting_time"]
    return start[()] + np.arange(len(series["data"])) / start.attrs["rate"]


def _array(dataset: h5py.Dataset) -> np.ndarray | LazyArray:
    if dataset.nbytes < LARGE:
        return dataset[()]
    where = f"{dataset.file.filename}{dataset.name}"

    def read(key: object) -> np.ndarray:
        if not dataset:
            raise ResultsError(f"{where} was closed before it was read. Open the results again.")
        return dataset[key]

    return LazyArray(read, dataset.shape, dataset.dtype)


def _column_names(table: h5py.Group) -> list[str]:
    """Names of a table's columns; in files of NWB before 2.2 they are bytes."""
    names = table.attrs["colnames"]
    return [name.decode() if isinstance(name, bytes) else str(name) for name in names]


def _column(dataset: h5py.Dataset) -> np.ndarray:
    if h5py.check_string_dtype(dataset.dtype):
        return np.asarray(dataset.asstr()[()], dtype=object)
    return dataset[()]


def _json(group: h5py.Group, name: str) -> Any:
    return json.loads(group[name].asstr()[()])


def _metrics(scores: dict[str, object]) -> dict[str, object]:
    """Scores that were not finite were stored as null; everything else stays as it is."""
    kept = ("model", "baselines", "intervals")
    return {key: _nan_for_null(value) if key in kept else value for key, value in scores.items()}


def _nan_for_null(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _nan_for_null(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_nan_for_null(item) for item in value]
    return math.nan if value is None else value
