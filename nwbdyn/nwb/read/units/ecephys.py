"""Units -> spike times and a table of neurons, wherever in the file the units lie."""

from dataclasses import replace

import h5py
import numpy as np
import pandas as pd

from nwbdyn.data import observation
from nwbdyn.data.flags import flags
from nwbdyn.nwb.read import objects, tables
from nwbdyn.nwb.read.objects import NwbIndex, NwbObject, attribute, has
from nwbdyn.nwb.read.units import spike_times, unit_tables
from nwbdyn.nwb.read.units.seconds import SECONDS, seconds_in
from nwbdyn.nwb.read.units.unit_tables import UnitsTable
from nwbdyn.recording import Neurons

# read elsewhere, or one array per neuron that no fit looks at
SPIKE_COLUMNS = ("spike_times", "obs_intervals", "electrodes")
WAVEFORM_COLUMNS = ("waveform_mean", "waveform_sd", "waveforms")
ELECTRODES = "/general/extracellular_ephys/electrodes"
HELD_OUT = "heldout"  # column of the Neural Latents Benchmark


def read(contents: NwbIndex, spike_time_unit: str | None = None) -> UnitsTable | None:
    """The units with spike times of all tables, those in `/units` first; None without any.

    Raises:
        ConfigError: an unknown unit of spike times.
    """
    seconds = seconds_in(SECONDS if spike_time_unit is None else spike_time_unit)
    read_tables: list[tuple[NwbObject, UnitsTable]] = []
    for item in sorted(contents.of_type("Units"), key=lambda item: item.path != "/units"):
        spikes = spike_times.read(contents, item, seconds)
        if spikes is None:
            continue
        neurons, descriptions = _neurons(contents, item, len(spikes.index))
        read_tables.append((item, UnitsTable(neurons, descriptions, spikes)))
    if not read_tables:
        return None
    units = unit_tables.together(contents, read_tables)
    for note in observation.notes(units.spikes, units.neurons):
        contents.note(note.code, note.where, note.reason, important=note.important)
    return replace(units, neurons=_with_flags(contents, units.neurons))


def _with_flags(contents: NwbIndex, neurons: Neurons) -> Neurons:
    """The neurons with `heldout` as true or false, however the file spells it."""
    column = neurons.table.get(HELD_OUT)
    if column is None:
        return neurons
    held_out, where = flags(column), f"{neurons.table_path}/{HELD_OUT}"
    if held_out is not None and held_out.all():
        reason = "marks every unit and leaves none to predict from; a fit draws units instead"
        contents.note("unclear-flags", where, reason, important=True)
    if column.dtype == bool:
        return neurons
    if held_out is None:
        different = ", ".join(sorted({repr(value) for value in column})[:5])
        reason = f"holds {different}, neither true nor false; a fit that holds out units is refused"
        contents.note("unclear-flags", where, reason, important=True)
        return neurons
    reason = f"{int(held_out.sum())} of {len(held_out)} units are held out, from {column.dtype}"
    contents.note("read-flags", where, reason)
    return replace(neurons, table=neurons.table.assign(**{HELD_OUT: held_out}))


def _neurons(contents: NwbIndex, item: NwbObject, num_units: int) -> tuple[Neurons, dict[str, str]]:
    skip = (*SPIKE_COLUMNS, *WAVEFORM_COLUMNS)
    table = tables.read(contents, item.group, skip=skip)
    for name in WAVEFORM_COLUMNS:
        if has(item.group, name):
            contents.note("skipped-column", f"{item.path}/{name}", "waveforms are not read")
    frame = table.frame
    electrodes = _electrode_rows(contents, item, num_units)
    if electrodes is not None and "channel" not in frame:
        frame = frame.assign(channel=_channels(electrodes))
    if "location" not in frame:
        location = _locations(contents, item, frame, electrodes)
        if location is not None:
            frame = frame.assign(location=location)
    neurons = Neurons(frame, "unit", item.path, item.object_id)
    return unit_tables.with_unique_ids(contents, neurons), table.descriptions


def _electrode_rows(contents: NwbIndex, item: NwbObject, num_units: int) -> list[np.ndarray] | None:
    """Rows of the electrode table for each unit; None if they are unknown."""
    electrodes = contents.dataset(item.group, "electrodes")
    chosen = None if electrodes is None else tables.values(contents, electrodes)
    if chosen is None or chosen.ndim != 1 or chosen.dtype.kind not in "iu":
        return None
    index = np.arange(1, len(chosen) + 1)
    if has(item.group, "electrodes_index"):
        stated = tables.ends(contents, item.group, "electrodes", len(chosen))
        if stated is None:
            return None
        index = stated
    if len(index) != num_units:
        reason = f"has {len(index)} rows for {num_units} units; it was not aligned"
        contents.note("column-length", f"{item.path}/electrodes", reason)
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
    contents: NwbIndex, item: NwbObject, frame: pd.DataFrame, electrodes: list[np.ndarray] | None
) -> list[str] | None:
    """Recording location of each unit, from its electrodes, else from its electrode group."""
    if electrodes is not None:
        located = _electrode_locations(contents, item, electrodes)
        if located is not None:
            return located
    table_group = contents.group(ELECTRODES)
    if "peak_channel_id" in frame and table_group is not None:
        table = tables.read(contents, table_group, skip=("group",)).frame
        if "location" in table and not table["id"].duplicated().any():
            by_channel = table.set_index("id")["location"].reindex(frame["peak_channel_id"])
            return by_channel.fillna("").tolist()
    if "electrode_group" in frame.columns:
        references = contents.dataset(item.group, "electrode_group")
        groups = [] if references is None else list(objects.whole(references))
        return [_group_location(contents, reference) for reference in groups] or None
    return None


def _electrode_locations(
    contents: NwbIndex, item: NwbObject, electrodes: list[np.ndarray]
) -> list[str] | None:
    column = contents.dataset(item.group, "electrodes")
    group = None if column is None else contents.dereference(objects.stored(column, "table"))
    if group is None:
        group = contents.group(ELECTRODES)
    where = f"{item.path}/electrodes"
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


def _group_location(contents: NwbIndex, reference: object) -> str:
    group = contents.dereference(reference)
    return "" if group is None else attribute(group, "location") or ""
