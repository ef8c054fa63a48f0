"""Summary of a recording in words and numbers, without reading its large arrays."""

from dataclasses import asdict

import numpy as np
import pandas as pd

from nwbdyn.data import spike_trains
from nwbdyn.data.clock import frame_interval, increasing
from nwbdyn.recording import Array, Covariate, LazyArray, Note, Recording, SpikeTimes, Traces

PLACES = ("id", "cell_type", "location", "plane", "x", "y", "z", "series")  # not a quality
MOST_WORDS = 8  # different values of a column that are counted one by one
BUSIEST = 8  # units whose first and last spikes are looked at for the session's clock


def summarise(recording: Recording) -> dict[str, object]:
    """A JSON-serialisable account of a recording, as `nwbdyn inspect` prints it.

    Timestamps of behaviour are looked at in three places (start, middle, end); spike times at the
    ends of a few units; ROI traces not at all.
    """
    activity = recording.activity
    is_spikes = isinstance(activity, SpikeTimes)
    return {
        "session_id": recording.session_id,
        "identifier": recording.identifier,
        "session_description": recording.session_description,
        "session_start_time": recording.session_start_time,
        "subject": recording.subject,
        "source": {"uri": recording.source.uri, "size": recording.source.size},
        "chosen": recording.chosen,
        "modality": "spikes" if is_spikes else "calcium imaging",
        "neurons": _neurons(recording),
        "activity": _spikes(activity) if isinstance(activity, SpikeTimes) else _traces(activity),
        "clock": _clock(activity, recording.notes),
        "trials": None if recording.trials is None else _table(recording.trials),
        "intervals": {name: _table(frame) for name, frame in recording.intervals.items()},
        "behaviour": [_covariate(covariate) for covariate in recording.covariates],
        "notes": [asdict(note) for note in recording.notes],
        "bytes_to_fit": _nbytes(activity),  # activity and its clock, decompressed
        "bytes_stored": _stored(activity),  # the same as the file holds it; null where not known
        "is_remote": recording.source.path is None,
        "bytes_behaviour": sum(c.data.nbytes + c.timestamps.nbytes for c in recording.covariates),
    }


def _neurons(recording: Recording) -> dict[str, object]:
    neurons = recording.neurons
    table = neurons.table
    described: dict[str, object] = {
        "count": len(neurons),
        "kind": neurons.kind,
        "table": neurons.table_path,
        "columns": [str(name) for name in table.columns],
        "cell_types": None,
        "cell_type_source": neurons.cell_type_source,
        "locations": None,
        "quality": {
            str(name): _column(table[name]) for name in table.columns if name not in PLACES
        },
    }
    for column, key in (("cell_type", "cell_types"), ("location", "locations")):
        if column in table:
            described[key] = {str(k): int(n) for k, n in table[column].value_counts().items()}
    return described


def _column(column: pd.Series) -> dict[str, object]:
    """Values for a condition on a column: its range, or its words and their counts."""
    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
        known = column[np.isfinite(column.to_numpy(float))]
        if not len(known):
            return {"unknown": len(column)}
        described: dict[str, object] = {
            "min": float(known.min()),
            "median": float(known.median()),
            "max": float(known.max()),
        }
        missing = len(column) - len(known)
        return described | ({"unknown": missing} if missing else {})
    counts = column.astype(str).value_counts()
    if len(counts) > MOST_WORDS:
        return {"different": len(counts.drop("", errors="ignore"))}
    return {"values": {str(word): int(count) for word, count in counts.items()}}


def _spikes(spikes: SpikeTimes) -> dict[str, object]:
    counts = np.diff(spikes.index, prepend=0)
    observed = None
    if spikes.intervals is not None:
        observed = float(np.sum(spikes.intervals[:, 1] - spikes.intervals[:, 0]))
    return {
        "quantity": "counts",
        "num_spikes": int(counts.sum()),
        "median_spikes_per_unit": float(np.median(counts)) if len(counts) else 0.0,
        "empty_units": int((counts == 0).sum()),
        "num_observed_intervals": None if spikes.intervals is None else len(spikes.intervals),
        "observed_seconds": observed,
        "resolution": spikes.resolution,
    }


def _traces(traces: Traces) -> dict[str, object]:
    return {
        "quantity": traces.quantity,
        "unit": traces.unit,
        "series": traces.series_path,
        "shape": list(traces.data.shape),
        "dtype": str(traces.data.dtype),
    }


def _clock(activity: SpikeTimes | Traces, notes: tuple[Note, ...]) -> dict[str, float | None]:
    """Seconds on the session's clock; for spikes, where nothing is stated, of the busiest units."""
    start = stop = rate = None
    if isinstance(activity, Traces):
        timestamps = np.asarray(activity.timestamps)
        timestamps = timestamps[np.isfinite(timestamps)]
        start, stop = float(timestamps.min()), float(timestamps.max())
        rate = 1 / frame_interval(timestamps[increasing(timestamps)])
    elif activity.intervals is not None and len(activity.intervals):
        start, stop = float(activity.intervals.min()), float(activity.intervals.max())
    elif known := spike_trains.stated_extent(activity, notes):
        start, stop = known
    elif len(activity.times):
        ends = np.concatenate([[0], activity.index])
        busiest = np.argsort(-np.diff(ends), kind="stable")[:BUSIEST]
        busiest = busiest[np.diff(ends)[busiest] > 0]
        start = float(min(activity.times[int(ends[unit])] for unit in busiest))
        stop = float(max(activity.times[int(ends[unit + 1]) - 1] for unit in busiest))
    duration = None if start is None or stop is None else stop - start
    return {"start": start, "stop": stop, "duration": duration, "median_rate": rate}


def _table(frame: pd.DataFrame) -> dict[str, object]:
    return {"rows": len(frame), "columns": [str(name) for name in frame.columns]}


def _covariate(covariate: Covariate) -> dict[str, object]:
    timestamps = covariate.timestamps
    num_samples = len(timestamps)
    start = stop = rate = None
    if num_samples:
        ends = [float(t) for t in (timestamps[0], timestamps[-1])]
        start, stop = (t if np.isfinite(t) else None for t in ends)
        middle = max(0, num_samples // 2 - 50)
        steps = np.diff(timestamps[middle : middle + 100])
        steps = steps[steps > 0]
        rate = float(1 / np.median(steps)) if len(steps) else None
    return {
        "name": covariate.name,
        "shape": list(covariate.data.shape),
        "unit": covariate.unit,
        "channels": list(covariate.channels),
        "start": start,
        "stop": stop,
        "median_rate": rate,
    }


def _arrays(activity: SpikeTimes | Traces) -> list[Array]:
    if isinstance(activity, SpikeTimes):
        return [activity.times, activity.index]
    return [activity.data, activity.timestamps]


def _nbytes(activity: SpikeTimes | Traces) -> int:
    return sum(array.nbytes for array in _arrays(activity))


def _stored(activity: SpikeTimes | Traces) -> int | None:
    """Bytes that are still in the file; arrays that are here already count nothing."""
    sizes = [array.stored_bytes for array in _arrays(activity) if isinstance(array, LazyArray)]
    known = [size for size in sizes if size is not None]
    return sum(known) if len(known) == len(sizes) else None
