"""Small NWB files made object by object, so that a test can leave out or break any part."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from nwbdyn.nwb.read.options import ReadOptions
from nwbdyn.nwb.read.recording import read
from nwbdyn.recording import Recording, Source

NUM_FRAMES, NUM_ROIS = 40, 5
SPIKES = ([0.1, 0.25, 1.5], [0.3], [0.2, 0.9, 2.0, 3.75])  # seconds, per unit
TEXT = h5py.string_dtype()


def nwb(path: Path) -> h5py.File:
    """A new file with what every NWB 2 file has at its root."""
    file = h5py.File(path, "w")
    file.attrs.update(neurodata_type="NWBFile", namespace="core", nwb_version="2.7.0")
    file["identifier"] = "made-by-a-test"
    file["session_description"] = "a test"
    file["session_start_time"] = "2024-01-01T00:00:00+00:00"
    for name in ("acquisition", "processing", "intervals", "general/subject", "stimulus"):
        file.create_group(name)
    file["general/session_id"] = "s1"
    file["general/subject/species"] = "Mus musculus"
    return file


def typed(parent: h5py.Group, name: str, neurodata_type: str, **attributes) -> h5py.Group:
    """A group with a neurodata type."""
    group = parent.create_group(name)
    group.attrs.update(
        neurodata_type=neurodata_type, namespace="core", object_id=f"id of {name}", **attributes
    )
    return group


def behaviour(file: h5py.File) -> h5py.Group:
    """The processing module of behaviour."""
    return typed(file["processing"], "behavior", "ProcessingModule")


def table(parent: h5py.Group, name: str, neurodata_type: str, /, **columns) -> h5py.Group:
    """A DynamicTable; a column given as a list of lists becomes ragged."""
    group = typed(parent, name, neurodata_type, colnames=np.array(list(columns), dtype=TEXT))
    num_rows = len(next(iter(columns.values())))
    group["id"] = np.arange(num_rows)
    for column, values in columns.items():
        add_column(group, column, values)
    return group


def add_column(group: h5py.Group, name: str, values, description: str = "") -> None:
    """A column; text, numbers, or a list of lists."""
    if isinstance(values[0], (list, tuple)):
        flat = [value for row in values for value in row]
        ends = np.cumsum([len(row) for row in values])
        group[f"{name}_index"] = ends.astype(np.min_scalar_type(ends[-1]))  # as small as NWB's
        group[name] = np.array(flat, dtype=TEXT if isinstance(flat[0], str) else None)
    elif isinstance(values[0], str):
        group[name] = np.array(values, dtype=TEXT)
    else:
        group[name] = values
    group[name].attrs["description"] = description


def series(parent: h5py.Group, name: str, data, /, kind: str = "TimeSeries", **clock) -> h5py.Group:
    """A time series with `rate` (and `start`) or `timestamps`; `unit`, `conversion`, `offset`."""
    group = typed(parent, name, kind)
    group["data"] = data
    group["data"].attrs["unit"] = clock.pop("unit", "a.u.")
    for attribute in ("conversion", "offset"):
        if attribute in clock:
            group["data"].attrs[attribute] = clock.pop(attribute)
    if "timestamps" in clock:
        group["timestamps"] = clock["timestamps"]
    if "rate" in clock:
        group["starting_time"] = float(clock.get("start", 0.0))
        group["starting_time"].attrs["rate"] = float(clock["rate"])
    return group


def units(file: h5py.File, path: str = "units", spikes=SPIKES, **columns) -> h5py.Group:
    """A Units table at any path."""
    parent, _, name = path.rpartition("/")
    where = file.require_group(parent) if parent else file
    return table(where, name, "Units", spike_times=[list(times) for times in spikes], **columns)


def rois(file: h5py.File, name: str = "cells", num_rois: int = NUM_ROIS, **columns) -> h5py.Group:
    """A PlaneSegmentation with one-pixel masks."""
    segmentation = file.require_group("processing/ophys/ImageSegmentation")
    columns = columns or {"quality": np.linspace(0, 1, num_rois)}
    return table(segmentation, name, "PlaneSegmentation", **columns)


def imaging_plane(cells: h5py.Group, *, rate: float | None = None, indicator: str = "") -> None:
    """Link an ROI table to an imaging plane."""
    name = f"general/optophysiology/plane of {cells.name.rsplit('/', 1)[-1]}"
    plane = cells.file.create_group(name)
    if rate is not None:
        plane["imaging_rate"] = rate
    if indicator:
        plane["indicator"] = indicator
    cells["imaging_plane"] = h5py.SoftLink(f"/{name}")


def trials(file: h5py.File, *, stop: float, number: int = 15) -> None:
    """Trials that follow one another until `stop`, in seconds."""
    starts = np.arange(number) * stop / number
    columns = {"start_time": starts, "stop_time": starts + stop / number / 2}
    table(file["intervals"], "trials", "TimeIntervals", **columns)


def traces(
    file: h5py.File,
    name: str = "RoiResponseSeries",
    *,
    container: str = "DfOverF",
    rois: h5py.Group | None = None,
    data: np.ndarray | None = None,
    rows: np.ndarray | None = None,
    **clock,
) -> h5py.Group:
    """A RoiResponseSeries in /processing/ophys/<container>, on a 10 Hz clock by default."""
    where = file.require_group("processing/ophys")
    folder = where[container] if container in where else typed(where, container, container)
    values = made(NUM_FRAMES, NUM_ROIS) if data is None else data
    clock = clock or {"rate": 10.0}
    group = series(folder, name, values, kind="RoiResponseSeries", **clock)
    if rois is not None:
        region = np.arange(len(rois["id"])) if rows is None else rows
        group["rois"] = region
        group["rois"].attrs["table"] = rois.ref
    return group


def made(num_frames: int, num_channels: int) -> np.ndarray:
    """Values that say where they come from: frame + channel / 100."""
    return np.arange(num_frames)[:, None] + np.arange(num_channels) / 100


@contextmanager
def opened(path: Path, **options) -> Iterator[Recording]:
    """The recording in a local file."""
    source = Source(str(path), path.as_uri())
    with path.open("rb") as file, read(file, source, ReadOptions(**options)) as it:
        yield it


def important(recording: Recording) -> dict[str, str]:
    """Code -> reason of the notes that change what the numbers mean."""
    return {note.code: note.reason for note in recording.notes if note.important}


def noted(recording: Recording) -> dict[str, str]:
    """Code of each note -> the object it names (the last one of that code)."""
    return {note.code: note.where for note in recording.notes}
