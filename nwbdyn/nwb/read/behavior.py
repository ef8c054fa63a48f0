"""Everything measured beside the neurons -> covariates and events.

Any one- or two-dimensional numeric time series is a covariate, wherever in the file it lies. Raw
recordings and images are named in the notes and never touched.
"""

import re

import numpy as np
import pandas as pd

from nwbdyn.data import events as event_times
from nwbdyn.nwb.read import objects, series, tables
from nwbdyn.nwb.read.intervals import unique_names
from nwbdyn.nwb.read.objects import NwbIndex, NwbObject, attribute, has, number, text
from nwbdyn.recording import Covariate

RAW = ("ElectricalSeries", "ImageSeries", "PatchClampSeries", "DecompositionSeries", "IndexSeries")
TEMPLATES = "/stimulus/templates/"
TEXT = ("AnnotationSeries",)
COLUMNS = re.compile(r"columns\s*=\s*[\[(](.*?)[\])]", re.DOTALL)
AXES = ("x", "y", "z")
SHORTEST_SIGNAL = 1.0  # seconds
MANY_TIMES = 100  # more columns than rows, where rows are channels


def read(
    contents: NwbIndex, *, without: frozenset[str] = frozenset()
) -> tuple[tuple[Covariate, ...], dict[str, pd.DataFrame]]:
    """The covariates, and event series as tables with start_time, stop_time and value.

    Args:
        contents: the open file; notes are added to it.
        without: paths of series that hold the neurons' activity.
    """
    covariates: dict[str, Covariate] = {}
    events: dict[str, pd.DataFrame] = {}
    for one in contents.of_type("TimeSeries"):
        if one.path in without or one.is_a("RoiResponseSeries"):
            continue
        if one.path.startswith(TEMPLATES):
            reason = "a template of a stimulus, not on the session's clock"
            contents.note("stimulus-template", one.path, reason)
            continue
        if any(one.is_a(raw) for raw in RAW):
            contents.note("raw-data", one.path, f"{one.neurodata_type}: raw data are not read")
        elif any(one.is_a(kind) for kind in TEXT):
            contents.note("text-series", one.path, "a series of words, not of numbers")
        elif one.is_a("IntervalSeries"):
            _keep(contents, events, one.path, _epochs(contents, one))
        elif _is_times_only(one):
            reason = "has times and no values; read as events"
            contents.note("times-only", one.path, reason)
            _keep(contents, events, one.path, _labelled_events(contents, one))
        elif one.parent is not None and one.parent.neurodata_type == "BehavioralEvents":
            _keep(contents, events, one.path, _events(contents, one))
        else:
            covariates |= _covariates(contents, one)
    for one in contents.of_type("EventsTable"):
        _keep(contents, events, one.path, _events_table(contents, one))
    for one in contents.of_type("NWBDataInterface"):
        if not one.is_a("TimeSeries") and has(one.group, "timestamps"):
            _keep(contents, events, one.path, _labelled_events(contents, one))
    named = unique_names(covariates)
    return (
        tuple(
            Covariate(name, item.data, item.timestamps, item.unit, item.channels)
            for name, item in named.items()
        ),
        unique_names(events),
    )


def _covariates(contents: NwbIndex, item: NwbObject) -> dict[str, Covariate]:
    """The series by its path, and, for a fitted ellipse, its area and angle beside its centre."""
    data = series.values(contents, item, num_channels=_num_channels(contents, item))
    timestamps = None if data is None else series.clock(contents, item, data.shape[0])
    if data is None or timestamps is None:
        return {}
    for name in ("timestamps", "starting_time"):
        stored = contents.dataset(item.group, name)
        if stored is not None:
            series.note_unit(contents, stored, "correct it in the file if they are {unit}")
    channels = _channels(contents, item, data.shape[1])
    unit = series.unit(item)
    read = {item.path: Covariate(item.name, data, timestamps, unit, channels)}
    for name in _ellipse_parts(item):
        part = series.values(contents, item, name=name)
        if part is not None and part.shape == (data.shape[0], 1):
            path = f"{item.path}_{name}"
            read[path] = Covariate(path, part, timestamps, series.unit(item, name))
    return read


def _is_times_only(item: NwbObject) -> bool:
    return has(item.group, "timestamps") and not has(item.group, "data")


def _num_channels(contents: NwbIndex, item: NwbObject) -> int | None:
    """Number of channels a signal must have, if only one orientation is possible; else None.

    MATLAB writers store channels first. With timestamps these decide. With a rate alone it is the
    names of the channels, the axes of space, or that one orientation lasts no second while the
    other has a hundred times as many samples.
    """
    dataset = contents.dataset(item.group, "data")
    if dataset is None or dataset.ndim != 2:
        return None
    rows, columns = dataset.shape
    timestamps = contents.dataset(item.group, "timestamps")
    if timestamps is not None:
        return rows if columns == timestamps.size != rows else None
    if columns <= rows:
        return None
    named = _stated_channels(contents, item)
    if named:
        return len(named) if len(named) in (rows, columns) else None
    if item.is_a("SpatialSeries"):
        return rows if rows <= len(AXES) < columns else None
    start = contents.dataset(item.group, "starting_time")
    rate = float("nan") if start is None else number(start, "rate", float("nan"))
    brief = rate > 0 and rows / rate < SHORTEST_SIGNAL
    return rows if brief and columns >= MANY_TIMES * rows else None


def _ellipse_parts(item: NwbObject) -> list[str]:
    if item.neurodata_type != "EllipseSeries" and not has(item.group, "area"):
        return []
    return [name for name in ("area", "angle", "width", "height") if has(item.group, name)]


def _channels(contents: NwbIndex, item: NwbObject, num_channels: int) -> tuple[str, ...]:
    """Names of the columns: from the comments, from `features`, or the axes of space."""
    names = _stated_channels(contents, item)
    if names and len(names) != num_channels:
        reason = f"names {len(names)} columns ({', '.join(names)}), but has {num_channels}"
        contents.note("channel-names", item.path, reason)
        return ()
    if not names and item.is_a("SpatialSeries") and 1 < num_channels <= len(AXES):
        return AXES[:num_channels]
    return tuple(names)


def _stated_channels(contents: NwbIndex, item: NwbObject) -> list[str]:
    """The channels' names in the comments, else in `features`."""
    stated = COLUMNS.search(attribute(item.group, "comments") or "")
    if stated:
        return [name.strip(" \t\n'\"") for name in stated.group(1).split(",")]
    features = contents.dataset(item.group, "features")
    listed = None if features is None else tables.values(contents, features)
    return [] if listed is None else [str(name) for name in listed.reshape(-1)]


def _events(contents: NwbIndex, item: NwbObject) -> pd.DataFrame | None:
    """Points in time: a table in which every row starts and stops at once."""
    data = series.values(contents, item)
    times = None if data is None else series.clock(contents, item, data.shape[0])
    if data is None or times is None:
        return None
    seconds, values = times[()], data[()]
    frame = pd.DataFrame({"start_time": seconds, "stop_time": seconds})
    for channel in range(values.shape[1]):
        frame["value" if values.shape[1] == 1 else f"value_{channel}"] = values[:, channel]
    return frame


def _labelled_events(contents: NwbIndex, item: NwbObject) -> pd.DataFrame | None:
    """Times with an optional label each (ndx-events); rows start and stop at once."""
    dataset = contents.dataset(item.group, "timestamps")
    if dataset is None or dataset.ndim != 1 or dataset.dtype.kind not in "iuf":
        contents.note("bad-clock", f"{item.path}/timestamps", "is not a list of times")
        return None
    times = contents.part(dataset, ()).astype(np.float64)
    frame = pd.DataFrame({"start_time": times, "stop_time": times})
    codes = contents.dataset(item.group, "data")
    stored = None if codes is None else tables.values(contents, codes)
    if codes is None or stored is None or stored.shape != times.shape:
        return frame
    labels = objects.stored(codes, "labels")
    words = [] if labels is None else [text(label) for label in np.atleast_1d(labels)]
    if (
        words
        and stored.dtype.kind in "iu"
        and 0 <= stored.min(initial=0) <= stored.max() < len(words)
    ):
        return frame.assign(value=[words[code] for code in stored])
    return frame.assign(value=stored)


def _epochs(contents: NwbIndex, item: NwbObject) -> pd.DataFrame | None:
    """An IntervalSeries: a positive value opens an interval of that kind, a negative closes it."""
    data = series.values(contents, item)
    times = None if data is None else series.clock(contents, item, data.shape[0])
    if data is None or times is None or data.shape[1] != 1:
        return None
    rows: list[tuple[float, float, int]] = []
    opened: dict[int, float] = {}
    for time, value in zip(times[()], data[()][:, 0].astype(np.int64), strict=True):
        if value > 0:
            opened[int(value)] = float(time)
        elif -int(value) in opened:
            rows.append((opened.pop(-int(value)), float(time), -int(value)))
    if opened:
        reason = f"{len(opened)} intervals are opened and never closed; they were left out"
        contents.note("nan-interval", item.path, reason)
    return pd.DataFrame(rows, columns=["start_time", "stop_time", "value"])


def _events_table(contents: NwbIndex, item: NwbObject) -> pd.DataFrame | None:
    frame = tables.read(contents, item.group, ragged=True).frame
    if "timestamp" not in frame:
        contents.note("no-interval-times", item.path, "the table of events has no `timestamp`")
        return None
    duration = frame["duration"].fillna(0.0) if "duration" in frame else 0.0
    frame.insert(1, "start_time", frame["timestamp"])
    frame.insert(2, "stop_time", frame["timestamp"] + duration)
    return frame


def _keep(
    contents: NwbIndex, frames: dict[str, pd.DataFrame], path: str, frame: pd.DataFrame | None
) -> None:
    """Keep a table of events; those at the time of a marker have no time."""
    if frame is None:
        return
    times = frame["start_time"].to_numpy(np.float64)
    if (value := event_times.marker(times)) is not None:
        contents.note("invalid-events", path, event_times.marked(times, value))
        known = np.where(times == value, np.nan, times)
        frame = frame.assign(start_time=known, stop_time=frame["stop_time"] + 0 * known)
    frames[path] = frame
