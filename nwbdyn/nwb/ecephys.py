"""Units -> spike times and a table of neurons, wherever in the file the units lie."""

from dataclasses import dataclass

import h5py
import numpy as np
import pandas as pd

from nwbdyn.errors import ConfigError, ReadError
from nwbdyn.nwb import objects, series, tables
from nwbdyn.nwb.objects import Contents, Found, attribute, has, number, path_of
from nwbdyn.recording import LazyArray, Neurons, SpikeTimes

# read elsewhere, or one array per neuron that no fit looks at
SPIKE_COLUMNS = ("spike_times", "obs_intervals", "electrodes")
WAVEFORM_COLUMNS = ("waveform_mean", "waveform_sd", "waveforms")
ELECTRODES = "/general/extracellular_ephys/electrodes"
SECONDS, MILLISECONDS = "s", "ms"  # a sampling rate in Hz is the third unit of spike times
SAMPLED_SPIKES = 2_000  # looked at, at each end, to see whether the times are seconds
FAR_BEYOND = 50.0  # times the recorded span; milliseconds are 1,000 and samples 20,000 times
LONG_GAP = 2.0  # seconds between a unit's spikes; in milliseconds they are hundreds
# Units that fire so rarely for so long are units whose times are milliseconds, more likely than not
SLOW_RATE, LONG_SPAN = 0.05, 36_000.0  # Hz per unit that fires, seconds


@dataclass(frozen=True)
class UnitsTable:
    """One Units table of the file."""

    found: Found
    neurons: Neurons
    descriptions: dict[str, str]  # of the table's columns
    spikes: SpikeTimes


def seconds_in(unit: str) -> float:
    """Seconds in one unit of spike times: "s", "ms", or a sampling rate in Hz ("30000").

    Raises:
        ConfigError: it is none of these.
    """
    if unit in (SECONDS, MILLISECONDS):
        return 1.0 if unit == SECONDS else 1e-3
    try:
        rate = float(unit)
    except ValueError:
        rate = 0.0
    if not (np.isfinite(rate) and rate > 0):
        raise ConfigError(
            f"Spike times cannot be in {unit!r}. Choose from: s, ms, or the sampling rate in Hz, "
            "such as 30000."
        )
    return 1 / rate


def read(contents: Contents, spike_time_unit: str | None = None) -> UnitsTable | None:
    """The units with spike times: `/units` first, else the first table elsewhere; None if none.

    Raises:
        ConfigError: an unknown unit of spike times.
    """
    seconds = seconds_in(SECONDS if spike_time_unit is None else spike_time_unit)
    candidates = sorted(contents.of_type("Units"), key=lambda found: found.path != "/units")
    chosen: UnitsTable | None = None
    for found in candidates:
        if chosen is not None:
            reason = f"a second table of units; those in {chosen.found.path} are used"
            contents.note("more-units", found.path, reason)
            continue
        spikes = _spike_times(contents, found, seconds)
        if spikes is not None:
            table = _neurons(contents, found, len(spikes.index))
            chosen = UnitsTable(found, *table, spikes)
    return chosen


def check_seconds(contents: Contents, units: UnitsTable, last_time: float) -> None:
    """Refuse spike times that are not seconds, from a look at both ends of the array.

    Args:
        contents: the open file.
        units: the table to check.
        last_time: the end of everything else in the file, seconds; NaN when nothing else is timed.

    Raises:
        ReadError: the times are whole numbers (samples), lie far beyond the recording, or would be
            too rare for seconds.
    """
    times = units.spikes.times
    where = f"{units.found.path}/spike_times in {contents.file_name}"
    looked_at = np.concatenate([times[:SAMPLED_SPIKES], times[-SAMPLED_SPIKES:]])
    seen = looked_at[np.isfinite(looked_at)]
    if len(seen) < len(looked_at):
        reason = f"{len(looked_at) - len(seen)} of {len(looked_at)} times looked at are not numbers"
        contents.note("nan-spikes", f"{units.found.path}/spike_times", reason)
    if len(seen) < 20:
        return
    resolution = units.spikes.resolution
    rate = f"{1 / resolution:g}" if resolution is not None else "the sampling rate in Hz"
    fix = f"Pass --spike-time-unit: ms, {rate} (samples), or s if they are seconds all the same."
    latest = float(seen.max())
    if np.all(seen == np.round(seen)) and len(np.unique(seen)) > 10:
        raise ReadError(
            f"{where} holds whole numbers only (up to {latest:,.0f}), so they are samples or "
            f"milliseconds. {fix}"
        )
    gaps = np.diff(seen)
    gap = float(np.median(gaps[gaps > 0])) if np.any(gaps > 0) else 0.0  # < 0 from unit to unit
    if np.isfinite(last_time) and latest > FAR_BEYOND * max(last_time, 0) and gap > LONG_GAP:
        raise ReadError(
            f"{where} reaches {latest:,.0f}, but everything else in the file ends by "
            f"{last_time:,.1f} s, so they are not seconds. {fix}"
        )
    span = latest - float(seen.min())
    firing = int(np.count_nonzero(np.diff(units.spikes.index, prepend=0)))
    per_unit = len(times) / firing
    if span > LONG_SPAN and per_unit < SLOW_RATE * span:
        raise ReadError(
            f"{where} spans {span:,.0f}, with {per_unit:,.0f} spikes per unit: as seconds these "
            f"are {span / 3600:,.0f} hours at {per_unit / span:.2g} Hz, so they are milliseconds "
            f"or samples. {fix}"
        )


def _spike_times(contents: Contents, found: Found, seconds: float) -> SpikeTimes | None:
    group = found.group
    times = contents.dataset(group, "spike_times")
    if times is None:
        contents.note("no-spike-times", found.path, "the table of units has no spike_times")
        return None
    if times.ndim != 1 or times.dtype.kind not in "iuf":
        contents.note("bad-spike-times", path_of(times), "is not a list of times")
        return None
    if not has(group, "spike_times_index"):
        reason = "has no spike_times_index, so its spikes cannot be told apart by unit"
        contents.note("no-spike-index", found.path, reason)
        return None
    index = tables.ends(contents, group, "spike_times", len(times))
    if index is None:
        return None
    num_units = tables.count_rows(contents, group)
    if len(index) != num_units:
        reason = f"ends {len(index)} units, but the table has {num_units} rows; it was not aligned"
        contents.note("column-length", f"{found.path}/spike_times_index", reason)
        return None
    empty = np.flatnonzero(np.diff(index, prepend=0) == 0)
    if len(empty):
        rows = ", ".join(map(str, empty[:10])) + (", …" if len(empty) > 10 else "")
        reason = f"{len(empty)} of {num_units} units have no spikes: rows {rows}"
        contents.note("empty-units", found.path, reason)
    resolution = number(times, "resolution", float("nan"))
    in_seconds = series.times(contents, times, seconds)
    intervals = _observed(contents, found, num_units)
    if seconds != 1.0:
        reason = f"are multiplied by {seconds:g}, as asked"
        if intervals is not None and _in_unit_of_spikes(intervals, in_seconds):
            intervals, reason = intervals * seconds, f"{reason}, and so are obs_intervals"
        contents.note("spike-time-unit", path_of(times), reason)
    return SpikeTimes(
        times=in_seconds,
        index=index,
        intervals=intervals,
        resolution=resolution if np.isfinite(resolution) and resolution > 0 else None,
    )


def _in_unit_of_spikes(intervals: np.ndarray, in_seconds: LazyArray) -> bool:
    """Whether stored intervals end so far beyond the spikes that they are no seconds either."""
    seen = in_seconds[-SAMPLED_SPIKES:]
    latest = float(np.max(seen, where=np.isfinite(seen), initial=0.0))
    return len(intervals) > 0 and float(intervals.max()) > FAR_BEYOND * latest


def _observed(contents: Contents, found: Found, num_units: int) -> np.ndarray | None:
    """(num_intervals, 2) seconds in which every unit was observed; None where nothing is stated."""
    dataset = contents.dataset(found.group, "obs_intervals")
    if dataset is None:
        return None
    where = path_of(dataset)
    index = tables.ends(contents, found.group, "obs_intervals", len(dataset) if dataset.ndim else 0)
    if dataset.ndim != 2 or dataset.shape[1] != 2 or index is None or len(index) != num_units:
        reason = f"{dataset.shape} with its index is not start and stop times of {num_units} units"
        contents.note("bad-intervals", where, reason)
        return None
    stored = tables.values(contents, dataset)
    if stored is None:
        return None
    if not np.all(stored[:, 0] <= stored[:, 1]):
        contents.note("bad-intervals", where, "some intervals are NaN or stop before they start")
        return None
    per_unit = [intervals for intervals in tables.rows(stored, index) if len(intervals)]
    if len(per_unit) < num_units:
        reason = f"{num_units - len(per_unit)} of {num_units} units state no interval of their own"
        contents.note("unstated-intervals", where, reason)
    if not per_unit:
        return None
    if all(np.array_equal(intervals, per_unit[0]) for intervals in per_unit):
        return _united(per_unit[0])
    common = intersection([_united(intervals) for intervals in per_unit])
    reason = f"units were observed at different times; the {len(common)} intervals common to all"
    contents.note("unequal-intervals", where, f"{reason} are used")
    return common


def intersection(many: list[np.ndarray]) -> np.ndarray:
    """(num_intervals, 2) the times that lie in an interval of each of `many` sets of intervals."""
    starts = np.sort(np.concatenate([intervals[:, 0] for intervals in many]))
    stops = np.sort(np.concatenate([intervals[:, 1] for intervals in many]))
    # all sets are open from the last missing start to the first stop after it
    edges = np.concatenate([starts, stops])
    steps = np.concatenate([np.ones(len(starts)), -np.ones(len(stops))])
    order = np.lexsort((steps, edges))  # at equal times a stop comes before a start
    num_open = np.cumsum(steps[order])
    inside = np.flatnonzero(num_open == len(many))
    return np.stack([edges[order][inside], edges[order][inside + 1]], axis=1)


def _united(intervals: np.ndarray) -> np.ndarray:
    """Intervals in time order, those that overlap made one (touching ones stay two)."""
    ordered = intervals[np.argsort(intervals[:, 0], kind="stable")].astype(np.float64)
    kept: list[np.ndarray] = []
    for interval in ordered:
        if kept and interval[0] < kept[-1][1]:
            kept[-1][1] = max(kept[-1][1], interval[1])
        else:
            kept.append(interval.copy())
    return np.array(kept).reshape(-1, 2)


def _neurons(contents: Contents, found: Found, num_units: int) -> tuple[Neurons, dict[str, str]]:
    skip = (*SPIKE_COLUMNS, *WAVEFORM_COLUMNS)
    table = tables.read(contents, found.group, skip=skip)
    for name in WAVEFORM_COLUMNS:
        if has(found.group, name):
            contents.note("skipped-column", f"{found.path}/{name}", "waveforms are not read")
    frame = table.frame
    if frame["id"].duplicated().any():
        contents.note("duplicate-ids", f"{found.path}/id", "several units share an id")
    electrodes = _electrode_rows(contents, found, num_units)
    if electrodes is not None and "channel" not in frame:
        frame = frame.assign(channel=_channels(electrodes))
    if "location" not in frame:
        location = _locations(contents, found, frame, electrodes)
        if location is not None:
            frame = frame.assign(location=location)
    neurons = Neurons(frame, "unit", found.path, found.object_id)
    return neurons, table.descriptions


def _electrode_rows(contents: Contents, found: Found, num_units: int) -> list[np.ndarray] | None:
    """Rows of the electrode table for each unit; None where they cannot be told."""
    electrodes = contents.dataset(found.group, "electrodes")
    chosen = None if electrodes is None else tables.values(contents, electrodes)
    if chosen is None or chosen.ndim != 1 or chosen.dtype.kind not in "iu":
        return None
    index = np.arange(1, len(chosen) + 1)
    if has(found.group, "electrodes_index"):
        stated = tables.ends(contents, found.group, "electrodes", len(chosen))
        if stated is None:
            return None
        index = stated
    if len(index) != num_units:
        reason = f"has {len(index)} rows for {num_units} units; it was not aligned"
        contents.note("column-length", f"{found.path}/electrodes", reason)
        return None
    return list(tables.rows(chosen.astype(np.int64), index))


def _channels(electrodes: list[np.ndarray]) -> np.ndarray:
    """(num_units,) the same number = electrodes in common, directly or through another unit.

    The number is the lowest of these rows; -1 for a unit without electrodes.
    """
    known, row = np.unique(np.concatenate([*electrodes, [0]]), return_inverse=True)
    of_unit = np.split(row[:-1], np.cumsum([len(rows) for rows in electrodes])[:-1])
    lowest = np.arange(len(known))
    for rows in of_unit:
        joined = np.isin(lowest, lowest[rows])
        lowest[joined] = lowest[joined].min(initial=len(known))
    return np.array([int(known[lowest[rows[0]]]) if len(rows) else -1 for rows in of_unit])


def _locations(
    contents: Contents, found: Found, frame: pd.DataFrame, electrodes: list[np.ndarray] | None
) -> list[str] | None:
    """Where each unit was recorded, from its electrodes, else from its electrode group."""
    if electrodes is not None:
        located = _electrode_locations(contents, found, electrodes)
        if located is not None:
            return located
    table_group = contents.group(ELECTRODES)
    if "peak_channel_id" in frame and table_group is not None:
        table = tables.read(contents, table_group, skip=("group",)).frame
        if "location" in table and not table["id"].duplicated().any():
            by_channel = table.set_index("id")["location"].reindex(frame["peak_channel_id"])
            return by_channel.fillna("").tolist()
    if "electrode_group" in frame.columns:
        references = contents.dataset(found.group, "electrode_group")
        groups = [] if references is None else list(objects.whole(references))
        return [_group_location(contents, reference) for reference in groups] or None
    return None


def _electrode_locations(
    contents: Contents, found: Found, electrodes: list[np.ndarray]
) -> list[str] | None:
    column = contents.dataset(found.group, "electrodes")
    group = None if column is None else contents.dereference(objects.stored(column, "table"))
    if group is None:
        group = contents.group(ELECTRODES)
    where = f"{found.path}/electrodes"
    if not isinstance(group, h5py.Group):
        contents.note("broken-reference", where, "its electrode table is not in the file")
        return None
    dataset = contents.dataset(group, "location")
    location = tables.values(contents, dataset) if dataset is not None else None
    if location is None:
        return None
    chosen = np.concatenate([*electrodes, np.zeros(0, dtype=np.int64)])
    if len(chosen) and (chosen.min() < 0 or chosen.max() >= len(location)):
        reason = f"points to row {int(chosen.max())} of {len(location)} electrodes"
        contents.note("broken-reference", where, reason)
        return None
    return ["; ".join(dict.fromkeys(map(str, location[rows]))) for rows in electrodes]


def _group_location(contents: Contents, reference: object) -> str:
    group = contents.dereference(reference)
    return "" if group is None else attribute(group, "location") or ""
