"""Units -> spike times and a table of neurons, wherever in the file the units lie."""

from dataclasses import dataclass

import h5py
import numpy as np
import pandas as pd

from nwbdyn.errors import ReadError
from nwbdyn.nwb import objects, series, tables
from nwbdyn.nwb.objects import Contents, Found, attribute, has, number, path_of
from nwbdyn.recording import Neurons, SpikeTimes

# read elsewhere, or one array per neuron that no fit looks at
SPIKE_COLUMNS = ("spike_times", "obs_intervals", "electrodes")
WAVEFORM_COLUMNS = ("waveform_mean", "waveform_sd", "waveforms")
ELECTRODES = "/general/extracellular_ephys/electrodes"
SAMPLED_SPIKES = 2_000  # looked at, at each end, to see whether the times are seconds
FAR_BEYOND = 50.0  # times the recorded span; milliseconds are 1,000 and samples 20,000 times
LONG_GAP = 2.0  # seconds between a unit's spikes; in milliseconds they are hundreds
HUGE_GAP, LONG_SPAN = 50.0, 300_000.0  # seconds; where nothing else tells the recording's length


@dataclass(frozen=True)
class UnitsTable:
    """One Units table of the file."""

    found: Found
    neurons: Neurons
    descriptions: dict[str, str]  # of the table's columns
    spikes: SpikeTimes


def read(contents: Contents) -> UnitsTable | None:
    """The units with spike times: `/units` first, else the first table elsewhere; None if none."""
    candidates = sorted(contents.of_type("Units"), key=lambda found: found.path != "/units")
    chosen: UnitsTable | None = None
    for found in candidates:
        if chosen is not None:
            reason = f"a second table of units; those in {chosen.found.path} are used"
            contents.note("more-units", found.path, reason)
            continue
        spikes = _spike_times(contents, found)
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
        ReadError: the times are whole numbers (samples), or lie far beyond the recording.
    """
    times = units.spikes.times
    where = f"{units.found.path}/spike_times in {contents.file_name}"
    seen = np.concatenate([times[:SAMPLED_SPIKES], times[-SAMPLED_SPIKES:]])
    seen = seen[np.isfinite(seen)]
    if len(seen) < 20:
        return
    fix = (
        "NWB times are seconds: divide by the sampling rate (samples) or by 1,000 (milliseconds) "
        "and write the file again."
    )
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
    if not np.isfinite(last_time) and gap > HUGE_GAP and span > LONG_SPAN:
        raise ReadError(
            f"{where} spans {span:,.0f} with a typical interval of {gap:,.0f} between spikes, so "
            f"they are not seconds. {fix}"
        )


def _spike_times(contents: Contents, found: Found) -> SpikeTimes | None:
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
    return SpikeTimes(
        times=series.times(contents, times),
        index=index,
        intervals=_observed(contents, found, num_units),
        resolution=resolution if np.isfinite(resolution) and resolution > 0 else None,
    )


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
        groups = [] if references is None else list(references[()])
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
