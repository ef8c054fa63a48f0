"""Results of a fit: Fit and Predictions; saved and loaded without torch.

`Fit.save` writes a run directory (see `run_directory`), `load` reads one. Reading executes nothing:
JSON, HDF5 and safetensors only.
"""

import math
from collections.abc import Collection, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from nwbdyn import disclosure, optional
from nwbdyn.connectivity import edge_table
from nwbdyn.connectivity.connectivity import Connectivity
from nwbdyn.data.splits import SPLITS
from nwbdyn.errors import ResultsError
from nwbdyn.printable import printable
from nwbdyn.recording import Neurons, Note, Source, source_of
from nwbdyn.request import FitRequest
from nwbdyn.results import (
    damage,
    methods_text,
    other_sources,
    request_0_1,
    run_directory,
    run_lock,
    scores,
    views,
)
from nwbdyn.results.text import fit_text, predictions_text

if TYPE_CHECKING:
    import xarray


@dataclass(frozen=True)
class Predictions:
    """Predicted activity on the session clock, NaN in bins without a prediction."""

    values: np.ndarray  # (num_bins, N) in source units; spikes: expected counts per bin
    time: np.ndarray  # (num_bins,) bin centres, seconds
    bin_width: float  # seconds
    held_out: np.ndarray  # (N,) bool; co-smoothing: False = a reconstruction, never scored
    labels: np.ndarray  # (num_bins,) int8, index into splits.SPLITS
    quantity: str
    horizon: int  # bins ahead; 0 for co-smoothing
    neurons: Neurons
    recorded: np.ndarray | None = None  # (num_bins, N) what was recorded, NaN where it was not

    def __repr__(self) -> str:
        return predictions_text(
            self.quantity, self.values.shape, self.bin_width, self.held_out, self.horizon
        )

    def to_xarray(self) -> "xarray.DataArray":
        """Dims (time, neuron), with the split of each bin and what is known of each neuron."""
        import xarray

        coordinates: dict[str, Any] = {
            "time": ("time", self.time, {"units": "s"}),
            "split": ("time", np.array(SPLITS)[self.labels]),
            "neuron": ("neuron", self.neurons.ids),
            "held_out": ("neuron", self.held_out),
        }
        for name in ("cell_type", "location"):
            if name in self.neurons.table:
                column = self.neurons.table[name]
                coordinates[name] = ("neuron", column.fillna("").to_numpy(dtype=object))
        return xarray.DataArray(
            self.values,
            dims=("time", "neuron"),
            coords=coordinates,
            name=f"predicted_{self.quantity}",
            attrs={"bin_width": self.bin_width, "horizon": self.horizon},
        )

    def to_pynapple(self) -> Any:
        """A TsdFrame with one column per neuron, by name, and what is known of each as metadata.

        Names are those of `Neurons.names`: "AVAL (12)", or the id where a neuron has no name.

        Raises:
            ResultsError: pynapple, which is not a dependency, is not installed.
        """
        nap = optional.load("pynapple")
        known = self.neurons.table.assign(held_out=self.held_out)
        known.columns = known.columns.astype(str)
        known.index = self.neurons.names
        return nap.TsdFrame(
            t=self.time, d=np.asarray(self.values), columns=self.neurons.names, metadata=known
        )


@dataclass(frozen=True)
class Fit:
    """One model fitted to one recording, with everything needed to judge and to repeat it."""

    model: str
    config: dict[str, object]
    binning: dict[str, object]  # bin_width, quantity, trials table, alignment, covariates
    split: dict[str, object]  # rule, seed, bins per split, held-out neuron ids
    history: tuple[dict[str, float], ...]  # one per epoch
    metrics: dict[str, object]  # as metrics.json
    predictions: Predictions
    connectivity: Connectivity
    edges: pd.DataFrame  # every kind of coupling, see `nwbdyn.connectivity.edge_table`
    neurons: Neurons
    source: Source
    session: dict[str, object]  # session_id, identifier, session_start_time, description, subject
    versions: dict[str, str]
    seed: int
    device: str
    groups: pd.DataFrame | None = (
        None  # pairs of cell types (`nwbdyn.statistics.groups`), with a null only
    )
    embeddings: np.ndarray | None = None  # (N, E)
    currents: np.ndarray | None = None  # (num_bins, N) A x(t), x the activity the model saw
    influence: Connectivity | None = None  # C_ij(t) in test windows, alike for every model
    trials: pd.DataFrame | None = None  # of aligned windows: first_bin, and the recording's columns
    notes: tuple[Note, ...] = ()
    run: Path | None = field(default=None, compare=False)  # where it is saved
    weights: dict[str, np.ndarray] = field(default_factory=dict, repr=False)  # name -> parameter
    environment: dict[str, object] = field(default_factory=dict)  # seeds, threads, git, fitted_at …
    files: ExitStack = field(default_factory=ExitStack, repr=False, compare=False)

    def __enter__(self) -> "Fit":
        return self

    @property
    def name(self) -> str:
        """Model and recording, as in "netformer on sub-1_ophys.nwb"."""
        return f"{self.model} on {self.source.name}"

    def __repr__(self) -> str:
        """One line: model, recording, and the primary score beside that of the best baseline."""
        with damage.as_error(self.name):
            return fit_text(self.name, len(self.neurons), self.metrics, self.run)

    def _repr_html_(self) -> str:
        """HTML of a notebook: the verdict and a small picture."""
        return views.card(self)

    @property
    def plot(self) -> "views.Plots":
        """Figures of this fit: `fit.plot.connectivity()`, `fit.plot.scores()`, …"""
        return views.Plots(self)

    def summary(self) -> str:
        """The verdict and the scores beside the baselines, as text to print."""
        return views.summary(self)

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def request(self) -> FitRequest:
        """The request that was fitted, also of a fit of version 0.1."""
        stored: Any = self.environment.get("request")
        if stored is None:
            return request_0_1.request_of(self)
        return FitRequest.from_json(stored)

    def close(self) -> None:
        """Close the file behind arrays that are still lazy (of a fit from `open_results`)."""
        self.files.close()

    def save(self, path: Path | str, *, overwrite: bool = False) -> Path:
        """Write a run directory that `nwbdyn.load` and `nwbdyn export` read.

        Args:
            path: the folder; made with its parents.
            overwrite: replace an earlier run there.

        Returns:
            `path`.

        Raises:
            ResultsError: something is at `path` already, or another process writes there.
        """
        path = Path(path)
        with run_lock.run_lock(path):
            run_directory.validate_run_dir(path, overwrite=overwrite)
            write(self, path)
        return path


def write(fit: Fit, path: Path) -> None:
    """Write every file of a run into the existing folder `path`, metrics.json last."""
    from safetensors.numpy import save

    from nwbdyn.results import hdf5

    local = _local(fit)
    if local:
        run_directory.write_json(path, run_directory.LOCAL, local)
    fit = shareable(fit)
    run_directory.write_json(
        path, run_directory.CONFIG, run_directory.with_format_version(_described(fit))
    )
    run_directory.write_history(path, fit.history)
    if fit.weights:
        with run_directory.atomic_write(path / run_directory.WEIGHTS) as partial:
            partial.write_bytes(save(fit.weights))
    with run_directory.atomic_write(path / run_directory.RESULTS) as partial:
        hdf5.write(partial, _arrays(fit))
    for name, table in (
        (run_directory.EDGES_CSV, edge_table.with_values(fit.edges)),
        (run_directory.SCORES_CSV, scores.score_table(fit.metrics, fit.model)),
    ):
        with run_directory.atomic_write(path / name) as partial:
            table.apply(_cells).to_csv(partial, index=False, float_format="%.7g")
    run_directory.write_json(path, run_directory.PROVENANCE, _provenance(fit))
    run_directory.write_text(path, run_directory.METHODS, methods_text.markdown(fit))
    run_directory.write_json(path, run_directory.METRICS, fit.metrics)


def _cells(column: pd.Series) -> pd.Series:
    """A column of a CSV file; each distinct text is converted once."""
    if column.dtype.kind in "biuf":
        return column
    values = column.tolist()
    if not all(isinstance(value, str) for value in values):
        return column.map(_cell)
    cells = {value: _cell(value) for value in set(values)}
    return pd.Series([cells[value] for value in values], column.index)


def _cell(value: object) -> object:
    """A value of a CSV file: a name is no formula to a spreadsheet, and clears no terminal."""
    if not isinstance(value, str):
        return value
    text = printable(value)
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


def shareable(fit: Fit) -> Fit:
    """The fit as it may be written or shown to others: no path, user, host or signed URL in it."""
    environment, metrics = dict(fit.environment), disclosure.of_value(fit.metrics)
    for name in ("asked", "request"):
        if isinstance(kept := environment.get(name), Mapping):
            environment[name] = disclosure.of_decisions(kept)
    if isinstance(submission := metrics.get("submission"), Mapping):
        metrics["submission"] = disclosure.of_decisions(submission)
    neurons, influence = _shareable_neurons(fit.neurons), fit.influence
    return replace(
        fit,
        source=disclosure.of_source(fit.source),
        session=disclosure.of_value(fit.session),
        neurons=neurons,
        predictions=replace(fit.predictions, neurons=_shareable_neurons(fit.predictions.neurons)),
        connectivity=_shareable_coupling(fit.connectivity),
        influence=None if influence is None else _shareable_coupling(influence),
        edges=disclosure.of_table(fit.edges),
        groups=None if fit.groups is None else disclosure.of_table(fit.groups),
        trials=None if fit.trials is None else disclosure.of_table(fit.trials),
        binning=disclosure.of_binning(fit.binning),
        metrics=metrics,
        environment=environment,
        notes=tuple(replace(one, reason=disclosure.of_text(one.reason)) for one in fit.notes),
    )


def _shareable_neurons(neurons: Neurons) -> Neurons:
    labels = neurons.cell_type_source
    if labels is not None and disclosure.is_path(labels):  # a file, as earlier versions named it
        labels = disclosure.file_name(labels)
    return replace(neurons, table=disclosure.of_table(neurons.table), cell_type_source=labels)


def _shareable_coupling(coupling: Connectivity) -> Connectivity:
    tested = coupling.tested
    return replace(
        coupling,
        neurons=_shareable_neurons(coupling.neurons),
        tested=None if tested is None else disclosure.of_table(tested),
    )


def load(path: Path | str, *, recorded: bool = True) -> Fit:
    """The fit in a run directory.

    Args:
        path: the folder.
        recorded: also read the recorded activity beside the predictions, which is as large.

    Raises:
        ResultsError: there is no run, it is incomplete, damaged, or from a newer version.
    """
    path = Path(path)
    run_directory.check(path)
    config: dict[str, Any] = run_directory.read_json(path, run_directory.CONFIG)
    provenance: dict[str, Any] = run_directory.read_json(path, run_directory.PROVENANCE)
    metrics: dict[str, Any] = run_directory.read_json(path, run_directory.METRICS)
    local: dict[str, Any] = {}
    if (path / run_directory.LOCAL).exists():
        local = run_directory.read_json(path, run_directory.LOCAL)
    try:
        arrays = _read_arrays(path, () if recorded else ("/predictions/recorded",))
        return Fit(
            model=_of_type(config, "model", str),
            config=_of_type(config, "config", dict),
            binning=_binning(_of_type(config, "binning", dict), local),
            split=_of_type(config, "split", dict),
            seed=_of_type(config, "seed", int),
            history=run_directory.read_history(path),
            metrics={
                key: _numbers(key, value, _SCORES[key])
                if key in _SCORES
                else _with_intervals(key, value)
                for key, value in metrics.items()
            },
            **arrays,
            source=_source(provenance["source"], local),
            notes=tuple(Note(**note) for note in provenance["notes"]),
            session=_of_type(provenance, "session", dict),
            versions=_versions(_of_type(provenance, "versions", dict)),
            device=_of_type(provenance, "device", str),
            environment=_of_type(provenance, "environment", dict),
            run=path,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ResultsError(
            f"Run {path} is damaged ({type(error).__name__}: {error}). Fit again with --overwrite."
        ) from error


def derived_from(fit: Fit) -> tuple[Source, ...]:
    """Every recording whose data are in a fit: its own, those that it is a copy of or was trained
    with, and those of the run that its weights come from.
    """
    return (fit.source, *other_sources.stated(fit.environment))


def with_sources(fit: Fit, sources: Iterable[Source]) -> Fit:
    """The fit with further recordings whose data are in it, see `derived_from`."""
    known: Any = fit.environment.get(other_sources.DERIVED_FROM) or []
    stated = [*known]
    for source in sources:
        shown = asdict(disclosure.of_source(source))
        stated += [shown] * (shown not in stated)
    return (
        replace(fit, environment=fit.environment | {other_sources.DERIVED_FROM: stated})
        if stated
        else fit
    )


_SCORES = {  # sections of metrics.json -> depth of their tables
    **{"model": 2, "baselines": 3},  # split and metric
    "intervals": 5,  # and both ends
}


def _of_type(stored: Mapping[str, Any], name: str, kind: type) -> Any:
    """A part of a JSON file; raises TypeError where it is of another type."""
    value = stored[name]
    if not isinstance(value, kind) or isinstance(value, bool):
        raise TypeError(f"{name} is {repr(value)[:60]}")
    return value


def _versions(stored: dict[str, Any]) -> dict[str, str]:
    for name in stored:
        if name != "environment":  # of earlier versions
            _of_type(stored, name, str)
    return stored


def _numbers(name: str, value: object, depth: int) -> Any:
    """Tables of numbers, nested at most so deep, NaN for null; raises TypeError for the rest."""
    if isinstance(value, dict) and depth:
        return {key: _numbers(key, item, depth - 1) for key, item in value.items()}
    if isinstance(value, list) and depth:
        return [_numbers(name, item, depth - 1) for item in value]
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise TypeError(f"{name} is {repr(value)[:60]}")
    return math.nan if value is None else value


def _with_intervals(name: str, value: Any) -> Any:
    """A section of metrics.json; raises TypeError where an interval is not two numbers."""
    if isinstance(value, dict):
        return {key: _with_intervals(key, item) for key, item in value.items()}
    if name == "interval" and value is not None:
        if not isinstance(value, list) or len(value) != 2:
            raise TypeError(f"interval is {repr(value)[:60]}")
        for bound in value:
            if bound is not None and not isinstance(bound, int | float):
                raise TypeError(f"interval is {repr(value)[:60]}")
    return value


def _local(fit: Fit) -> dict[str, Any]:
    """Paths on this disk: the content of local.json, and of no other file."""
    paths: dict[str, Any] = {}
    if fit.source.path is not None:
        paths["source"] = {"uri": fit.source.uri, "url": fit.source.url}
    chosen: Any = fit.binning.get("chosen") or {}
    if "cell_types" in chosen:
        paths["cell_types"] = chosen["cell_types"]
    return paths


def _source(stated: dict[str, Any], local: dict[str, Any]) -> Source:
    """The source as provenance.json has it, and where it lies on this disk, where that is known."""
    source = source_of(stated)
    if source.url or "source" not in local:
        return source
    uri, url = (str(local["source"][name]) for name in ("uri", "url"))
    return replace(source, uri=uri, url=url)


def _binning(stated: dict[str, Any], local: dict[str, Any]) -> dict[str, Any]:
    """The record of the binning, with where the file of cell types lies on this disk."""
    chosen = stated.get("chosen") or {}
    if "cell_types" not in chosen or "cell_types" not in local:
        return stated
    return {**stated, "chosen": {**chosen, "cell_types": str(local["cell_types"])}}


def _described(fit: Fit) -> dict[str, object]:
    return {
        "model": fit.model,
        "config": fit.config,
        "binning": fit.binning,
        "split": fit.split,
        "source": {"uri": fit.source.uri, "digest": fit.source.digest},
        "request": fit.environment.get("request"),
        "seed": fit.seed,
        "seeds": fit.environment.get("seeds", [fit.seed]),
        "folds": fit.environment.get("folds"),
        **fit.environment.get("asked", {}),  # type: ignore[dict-item]
    }


def _provenance(fit: Fit) -> dict[str, object]:
    return {
        "source": asdict(fit.source),
        "session": fit.session,
        "versions": fit.versions,
        "device": fit.device,
        "environment": fit.environment,
        "notes": [asdict(note) for note in fit.notes],
    }


def _arrays(fit: Fit) -> dict[str, object]:
    tree: dict[str, object] = {
        "neurons": _present(fit.neurons),
        "edges": fit.edges,
        "predictions": {
            name: value for name, value in _present(fit.predictions).items() if name != "neurons"
        },
        "connectivity": _coupling_arrays(fit.connectivity),
    }
    if fit.influence is not None:
        tree["influence"] = _coupling_arrays(fit.influence)
    if fit.groups is not None:
        tree["groups"] = fit.groups
    if fit.embeddings is not None:
        tree["embeddings"] = fit.embeddings
    if fit.currents is not None:
        tree["currents"] = fit.currents
    if fit.trials is not None:
        tree["trials"] = fit.trials
    return tree


def _coupling_arrays(connectivity: Connectivity) -> dict[str, Any]:
    return _present(replace(connectivity, tested=None)) | {
        "window": np.array(connectivity.window, dtype=np.float64),
        "neurons": _present(connectivity.neurons),
    }


def _coupling(tree: dict[str, Any], tested: pd.DataFrame | None = None) -> Connectivity:
    neurons, window = Neurons(**tree.pop("neurons")), tuple(tree.pop("window").tolist())
    return Connectivity(**tree, neurons=neurons, window=window, tested=tested)


def _read_arrays(path: Path, without: Collection[str]) -> dict[str, Any]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    from nwbdyn.results import hdf5

    try:
        tree = hdf5.read(path / run_directory.RESULTS, without=without)
        weights_file = path / run_directory.WEIGHTS
        weights = load_file(weights_file) if weights_file.exists() else {}
    except (OSError, SafetensorError) as error:
        raise ResultsError(f"Run {path} is damaged ({error}). Fit again.") from error
    neurons = Neurons(**tree["neurons"])
    edges = edge_table.named(tree["edges"], neurons)
    return {
        "neurons": neurons,
        "edges": edges,
        "predictions": Predictions(neurons=neurons, **tree["predictions"]),
        "connectivity": _coupling(tree["connectivity"], edges),
        "influence": _coupling(tree["influence"]) if "influence" in tree else None,
        "groups": tree.get("groups"),
        "embeddings": tree.get("embeddings"),
        "currents": tree.get("currents"),
        "trials": tree.get("trials"),
        "weights": weights,
    }


def _present(record: Predictions | Connectivity | Neurons) -> dict[str, Any]:
    """The fields of a dataclass that are set."""
    values = {item.name: getattr(record, item.name) for item in fields(record)}
    return {name: value for name, value in values.items() if value is not None}
