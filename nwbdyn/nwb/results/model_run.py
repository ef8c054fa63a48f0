"""A fit's record, as the extension's ModelRun: what was asked, of which bytes, how it scored."""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict

import numpy as np
from ndx_population_dynamics import ModelRun, RunMetrics, RunSource
from pynwb.epoch import TimeIntervals

from nwbdyn import disclosure
from nwbdyn.data.splits import SPLITS
from nwbdyn.recording import Note, Source
from nwbdyn.results import fit_results
from nwbdyn.results.fit_results import Fit, Predictions


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
    optional = {
        "fit_time": fit.environment.get("fitted_at"),
        "checkpoint_digest": _digest(fit.weights),
    }
    fit = fit_results.shareable(fit)
    scores = metrics(fit)
    return ModelRun(
        name=name_of(fit),
        model=fit.model,
        software="nwbdyn",
        software_version=fit.versions.get("nwbdyn", ""),
        seed=int(fit.seed),
        device=fit.device,
        config=_json(fit.config),
        binning=_json(fit.binning),
        split=_json(fit.split),
        versions=_json({**fit.versions, "environment": fit.environment}),
        history=_json(fit.history),
        scores=_json(fit.metrics),
        notes=_json([asdict(note) for note in (*fit.notes, *notes)]),
        run_sources=[run_source(fit.source, fit)],
        splits=splits(fit.predictions),
        **({"metrics": scores} if scores is not None else {}),
        **{name: value for name, value in optional.items() if value},
    )


def run_source(source: Source, fit: Fit) -> RunSource:
    """Where the recording came from, and which of its objects was fitted."""
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
        name="source", uri=source.uri, **{k: v for k, v in known.items() if v is not None}
    )


def metrics(fit: Fit) -> RunMetrics | None:
    """Scores of the model, then of every baseline; None when nothing was scored."""
    rows = list(_scores(fit))
    if not rows:
        return None
    table = RunMetrics(
        name="metrics", description="Scores of the model beside the baselines, same bins."
    )
    with_intervals = any("low" in row for row in rows)
    for row in rows:
        ends = {"low": math.nan, "high": math.nan} if with_intervals else {}
        table.add_row(**{**ends, **row})
    return table


def splits(predictions: Predictions) -> TimeIntervals:
    """Stretches of bins with one label, in time order."""
    table = TimeIntervals(name="splits", description="What each stretch of the session was for.")
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
            start_time=float(start), stop_time=float(stop), label=SPLITS[labels[first]]
        )
    return table


def _scores(fit: Fit) -> Iterator[dict[str, str | float]]:
    intervals = _mapping(fit.metrics.get("intervals"))
    methods = {
        "model": _mapping(fit.metrics.get("model")),
        **_mapping(fit.metrics.get("baselines")),
    }
    for method, by_split in methods.items():
        for split, scores in _mapping(by_split).items():
            for metric, value in _mapping(scores).items():
                if not isinstance(value, int | float):
                    continue
                row: dict[str, str | float] = {
                    "method": fit.model if method == "model" else method,
                    "split": split,
                    "metric": metric,
                    "value": float(value),
                }
                ends = _mapping(_mapping(intervals.get(method)).get(split)).get(metric)
                if isinstance(ends, list | tuple) and None not in ends:
                    row["low"], row["high"] = (float(end) for end in ends)
                yield row


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
