"""An exported file -> the Fit in it, lazily: arrays stay in the file until somebody asks.

The way back from `write.export`. The file is read with h5py, object by object, so that it opens
whatever else is in it and wherever pynwb stumbles.
"""

import json
import math
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd

from nwbdyn import inside
from nwbdyn.connectivity import edge_table
from nwbdyn.connectivity.connectivity import Connectivity
from nwbdyn.errors import ResultsError
from nwbdyn.nwb.results import components, older_results
from nwbdyn.recording import LABELS, RECORDED_BY, LazyArray, Neurons, Note, Source
from nwbdyn.results.details import Detail, nested
from nwbdyn.results.fit_results import Fit, Predictions
from nwbdyn.results.scores import Score, with_scores

MODULE = "processing/population_dynamics"
READ = (MODULE, "general", "identifier", "session_start_time", "session_description")
SECTIONS = (  # of the details of a run
    "config",
    "binning",
    "split",
    "versions",
    "environment",
    "scores",
    "connectivity",
    "influence",
    "history",
    "notes",
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
    run, table = module[name], module[f"{name}_neurons"]
    older = older_results.is_older(module, name)
    record = older_results.record(run) if older else _record(run)
    neurons = _neurons(table, run)
    edges = _edges(module.get(f"{name}_edges"), neurons, record["scores"].get("edges"))
    coupling = module[f"{name}_factors" if older else f"{name}_connectivity"]
    connectivity = _connectivity(coupling, neurons, edges, record.get("connectivity", {}))
    influence = module.get(f"{name}_influence")
    return Fit(
        model=run.attrs["model"],
        config=record["config"],
        binning=record["binning"],
        split=record["split"],
        history=record["history"],
        metrics=record["scores"],
        predictions=_predictions(module[f"{name}_predictions"], neurons, table),
        connectivity=connectivity,
        edges=edges,
        neurons=neurons,
        source=_source(run),
        session=_session(file, name),
        environment=record["environment"],
        versions=record["versions"],
        seed=int(run.attrs["seed"]),
        device=run.attrs.get("device", ""),
        embeddings=_embeddings(table, connectivity),
        currents=_currents(module, name, connectivity, coupling),
        influence=(
            _connectivity(influence, neurons, None, record.get("influence", {}))
            if influence is not None
            else None
        ),
        notes=tuple(Note(**note) for note in record["notes"]),
        files=files,
    )


def _record(run: h5py.Group) -> dict[str, Any]:
    """Options, splits, versions, scores, epochs and notes of a run."""
    table = run["details"]
    columns = [_column(table[name]) for name in ("section", "key", "value", "value_type")]
    details = [Detail(*row) for row in zip(*columns, strict=True)]
    sections = {
        name: nested([detail for detail in details if detail.section == name]) for name in SECTIONS
    }
    return {
        **sections,
        "scores": with_scores(sections["scores"], _scores(run)),
        "history": (*sections["history"].values(), *_epochs(run.get("training_history"))),
        "notes": [*sections["notes"].values(), *_notes(run.get("run_notes"))],
    }


def _scores(run: h5py.Group) -> Iterator[Score]:
    table = run.get("metrics")
    if table is None:
        return
    columns = {name: _column(table[name]).tolist() for name in _column_names(table)}
    for row in range(len(columns["value"])):
        method = columns["method"][row]
        low, high = (columns[end][row] if end in columns else math.nan for end in ("low", "high"))
        yield Score(
            None if method == run.attrs["model"] else method,
            columns["split"][row],
            columns["metric"][row],
            columns["value"][row],
            None if math.isnan(low) or math.isnan(high) else (low, high),
        )


def _epochs(table: h5py.Group | None) -> list[dict[str, Any]]:
    if table is None:
        return []
    columns = {name: _column(table[name]).tolist() for name in _column_names(table)}
    for name, values in columns.items():
        if values and isinstance(values[0], str):
            columns[name] = [json.loads(value) for value in values]
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _notes(table: h5py.Group | None) -> list[dict[str, str]]:
    if table is None:
        return []
    columns = [_column(table[name]).tolist() for name in ("code", "location", "reason")]
    return [
        dict(zip(("code", "where", "reason"), row, strict=True))
        for row in zip(*columns, strict=True)
    ]


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
    ids, kind = _column(table["source_id"]), table.attrs["kind"]
    columns: dict[str, np.ndarray | list[str]] = {"id": ids}
    for name in _column_names(table):
        if name == "position":
            axes = table[name][()].T
            columns |= dict(zip(("x", "y", "z"), axes, strict=False))
        elif name not in ("neuron_name", "source_id", "source_row", "held_out", "embedding"):
            columns[name] = _column(table[name])
    labels = _labels(table, ids, kind)
    if any(labels) and not any(name in columns for name in LABELS):
        columns["neuron_name"] = labels  # of a file without the column that names come from
    frame = pd.DataFrame(columns)
    for label in frame.columns.difference(["id"]):
        if all(isinstance(value, str) for value in frame[label]):
            frame[label] = [value or None for value in frame[label]]
    attributes = record["source"].attrs
    return Neurons(
        frame,
        kind,
        attributes.get("neurons_path"),
        attributes.get("neurons_object_id"),
        table.attrs.get("cell_type_source"),
    )


def _labels(table: h5py.Group, ids: np.ndarray, kind: str) -> list[str]:
    """Name of each neuron without its id, as the recording had it; "" where it had none."""
    if "neuron_name" not in table:  # of another version
        return []
    names = [str(name) for name in _column(table["neuron_name"])]
    return [
        "" if name in (str(one), f"{kind} {one}") else name.removesuffix(f" ({one})")
        for name, one in zip(names, ids, strict=True)
    ]


def _predictions(series: h5py.Group, neurons: Neurons, table: h5py.Group) -> Predictions:
    return Predictions(
        values=_array(series["data"]),  # type: ignore[arg-type]  # lazy where they are large
        time=_clock(series),
        bin_width=float(series.attrs["bin_width"]),
        held_out=(
            table["held_out"][()].astype(bool)
            if "held_out" in table
            else np.zeros(len(neurons), bool)
        ),
        labels=series["control"][()].astype(np.int8),
        quantity=series.attrs["quantity"],
        horizon=int(series.attrs["horizon"]),
        neurons=neurons,
    )


def _connectivity(
    group: h5py.Group,
    neurons: Neurons,
    edges: pd.DataFrame | None,
    more: dict[str, Any],
) -> Connectivity:
    """A connectivity of either version; `more` are attributes that no component has a field for."""
    if "form" in group.attrs:
        form, arrays, attributes = older_results.factors(group, _array)
    else:
        form, arrays, attributes = components.read(group, _array)
    return Connectivity(
        form=form,
        time=group["timestamps"][()],
        window=(float(group.attrs["window_start"]), float(group.attrs["window_stop"])),
        neurons=neurons.take(group["neurons"][()]),
        measure=group.attrs["measure"],
        causal=bool(group.attrs["is_causal"]),
        arrays=arrays,  # lazy where they are large
        attributes=attributes | more,
        tested=edges,
    )


def _embeddings(table: h5py.Group, connectivity: Connectivity) -> np.ndarray | None:
    """(N, E) of the neuron table, or of the connectivity where that holds the same."""
    if "embedding" in table:
        return table["embedding"][()]
    stored = connectivity.arrays.get("embedding")
    return None if stored is None else np.asarray(stored)


def _currents(
    module: h5py.Group, name: str, connectivity: Connectivity, coupling: h5py.Group
) -> np.ndarray | None:
    """(num_bins, N) input currents: stored in older files, else I(t) = A x(t) from the component.

    NaN in bins that were not observed.
    """
    if f"{name}_currents" in module:
        return _array(module[f"{name}_currents"]["data"])  # type: ignore[return-value]  # lazy
    observed = components.observed(coupling)
    if connectivity.form != "gain" or "activity" not in connectivity.arrays:
        return None
    adjacency = np.asarray(connectivity.arrays["A"], dtype=np.float32)
    activity = connectivity.arrays["activity"]

    def read(key: Any) -> np.ndarray:
        whole = (slice(None), slice(None))
        rows, columns = (*(key if isinstance(key, tuple) else (key,)), *whole)[:2]
        values = np.asarray(activity[rows], dtype=np.float32) @ adjacency.T
        if observed is not None:
            values[~observed[rows]] = np.nan
        return values[..., columns]

    if isinstance(activity, np.ndarray):
        return read(slice(None))
    return LazyArray(read, activity.shape, np.dtype(np.float32))


_ENDS = tuple(f"{side}{what}" for side in ("pre", "post") for what in ("", "_id", "_row"))


def _edges(table: h5py.Group | None, neurons: Neurons, tests: Any) -> pd.DataFrame:
    """The edge table; `tests` is what the fit's metrics say of its edges, None without a null."""
    nothing = np.zeros(0, int)
    if table is None:  # of a network too large for an edge table
        return edge_table.edge_table(neurons, nothing, nothing, np.zeros(0))
    names = _column_names(table)
    if "pre_row" in names:
        post, pre = (table[f"{side}_row"][()] for side in ("post", "pre"))
    else:
        post, pre = older_results.edge_rows(table)
    columns = {name: _column(table[name]) for name in names if name not in _ENDS}
    edges = edge_table.edge_table(neurons, post, pre, columns["weight"]).assign(**columns)
    edges.attrs = {
        "num_pairs": int(table.attrs["num_possible"]),
        "kept_share": float(table.attrs["kept_share"]),
    }
    if tests is not None:
        edges.attrs |= {
            "null_hypothesis": table.attrs["null_hypothesis"],
            "smallest_p": float(table.attrs["smallest_p"]),
            "withheld": tests["withheld"],
        }
        if "measure" in tests:
            edges.attrs["measure"] = tests["measure"]
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
        **{
            field: np.atleast_1d(file[f"general/{field}"].asstr()[()]).tolist()
            for field in RECORDED_BY
            if f"general/{field}" in file
        },
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
