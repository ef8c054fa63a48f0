"""A fit's record, as the extension's ModelRun: options, source, scores, history, notes."""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict

import numpy as np
from ndx_population_dynamics import ModelRun, RunSource
from pynwb.epoch import TimeIntervals

from nwbdyn import disclosure
from nwbdyn.data.splits import SPLITS
from nwbdyn.nwb.results import run_tables
from nwbdyn.recording import Note, Source
from nwbdyn.results import fit_results
from nwbdyn.results.details import tidy
from nwbdyn.results.fit_results import Fit, Predictions
from nwbdyn.results.scores import score_of


def name_of(fit: Fit) -> str:
    """The model's name and 8 hex digits that differ between fits; names every object of a fit."""
    source, binning = disclosure.of_source(fit.source), disclosure.of_binning(fit.binning)
    digest = hashlib.sha256(
        _json([fit.model, fit.config, binning, fit.split, fit.seed, asdict(source)]).encode()
    )
    digest.update(np.ascontiguousarray(fit.predictions.values).data)
    return f"{fit.model}-{digest.hexdigest()[:8]}"


def model_run(fit: Fit, *, notes: tuple[Note, ...] = ()) -> ModelRun:
    """The ModelRun of a fit, called `name_of(fit)`.

    Args:
        notes: what the export left out or filled in, beside the fit's own notes.
    """
    notes = (*fit.notes, *notes)
    fit = fit_results.shareable(fit)
    optional = {
        "fit_time": fit.environment.get("fitted_at"),
        "checkpoint_digest": _digest(fit.weights),
        "quantity": fit.predictions.quantity,
        "bin_width": tidy(float(fit.predictions.bin_width)),
        "num_bins": len(fit.predictions.time),
        "num_neurons": len(fit.neurons),
        "split_rule": fit.split.get("rule"),
        "primary_metric": _mapping(fit.metrics.get("primary")).get("metric"),
        "metrics": run_tables.metrics(fit),
        "training_history": run_tables.training_history(fit),
        "run_notes": run_tables.run_notes(notes),
    }
    return ModelRun(
        name=name_of(fit),
        description=description(fit),
        model=fit.model,
        software="nwbdyn",
        software_version=fit.versions.get("nwbdyn", ""),
        seed=int(fit.seed),
        device=fit.device,
        run_sources=[run_source(fit.source, fit)],
        splits=splits(fit.predictions),
        details=run_tables.details(fit, notes),
        **{name: value for name, value in optional.items() if value is not None},
    )


def description(fit: Fit) -> str:
    """Model, recording and score in two sentences."""
    predictions = fit.predictions
    fitted = (
        f"{fit.model} fitted to {len(fit.neurons)} {fit.neurons.kind}s of {fit.source.name} "
        f"({predictions.quantity}, bins of {predictions.bin_width:.4g} s)."
    )
    primary = _mapping(fit.metrics.get("primary"))
    metric, split, best = (str(primary.get(key)) for key in ("metric", "split", "baseline"))
    score = score_of(fit.metrics.get("model"), split, metric)
    if score is None:
        return fitted
    baselines = _mapping(fit.metrics.get("baselines"))
    other = score_of(baselines.get(best), split, metric)
    beside = "" if other is None else f"; {best}, the best baseline, {other:.3f}"
    return f"{fitted} {metric} on {split}: {score:.3f}{beside}."


def run_source(source: Source, fit: Fit) -> RunSource:
    """Source of the recording, and the object of it that was fitted."""
    known = {
        "url": source.url or None,
        "instance": source.instance,
        "dandiset_id": source.dandiset_id,
        "dandiset_version": source.version,
        "asset_path": source.asset_path,
        "asset_id": source.asset_id,
        "digest": source.digest,
        "size": source.size,
        "neurons_path": fit.neurons.table_path,
        "neurons_object_id": fit.neurons.table_object_id,
        "series_path": fit.binning.get("series_path"),
        "series_object_id": fit.binning.get("series_object_id"),
    }
    return RunSource(
        name="source",
        description=f"The recording that {fit.model} was fitted to.",
        uri=source.uri,
        **{k: v for k, v in known.items() if v is not None},
    )


def splits(predictions: Predictions) -> TimeIntervals:
    """Stretches of bins with one label, in time order."""
    table = TimeIntervals(name="splits", description="Split of each interval of the session.")
    table.add_column(name="label", description=f"One of {', '.join(SPLITS)}.")
    time, labels, half = predictions.time, predictions.labels, predictions.bin_width / 2
    breaks = (np.diff(labels) != 0) | (np.diff(time) > 1.5 * predictions.bin_width)
    firsts = np.r_[0, np.flatnonzero(breaks) + 1]
    lasts = np.r_[firsts[1:] - 1, len(time) - 1]
    for i, (first, last) in enumerate(zip(firsts, lasts, strict=True)):
        start, stop = time[first] - half, time[last] + half
        if i + 1 < len(firsts):  # frames of an irregular clock are not all of one width
            stop = min(stop, time[firsts[i + 1]] - half)
        if time[first] >= 0:  # nothing was recorded before the session's clock began
            start = max(start, 0.0)
        table.add_interval(
            start_time=tidy(float(start)), stop_time=tidy(float(stop)), label=SPLITS[labels[first]]
        )
    return table


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _digest(weights: Mapping[str, np.ndarray]) -> str | None:
    """Digest of the parameters by name, whatever file they lie in."""
    if not weights:
        return None
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(weights[name]).data)
    return f"sha256:{digest.hexdigest()}"


def _json(value: object) -> str:
    return json.dumps(_plain(value), allow_nan=False, ensure_ascii=False)


def _plain(value: object) -> object:
    """Plain JSON values; numbers that are not finite become null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset | np.ndarray):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, bool | int | float | str | None) else str(value)
