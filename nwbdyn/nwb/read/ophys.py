"""ROI response series -> traces and a table of neurons; several planes become one recording.

What a series holds is in its name, not in its type: `Deconvolved`, `Neuropil` and `dff_events` lie
inside `Fluorescence` as often as fluorescence does.
"""

import re
from dataclasses import dataclass

import h5py
import numpy as np
import pandas as pd

from nwbdyn.data.clock import increasing
from nwbdyn.errors import NoActivityError
from nwbdyn.nwb.read import objects, planes, roi_table, series, tables
from nwbdyn.nwb.read.objects import NwbIndex, NwbObject, attribute, has, path_of
from nwbdyn.recording import TRACE_QUANTITIES, LazyArray, Neurons, Traces

NOT_NEURONS = re.compile(
    r"neuropil|npil|background|baseline|surround|residual|(?<!de)noise|motion|\bf0\b"
)
CORRECTED = re.compile(r"subtract|correct|minus|demix")
ROLES = (  # the first that matches a name decides
    ("events", re.compile(r"event")),
    ("deconvolved", re.compile(r"deconv|spike|spks|oasis|cascade|infer")),
    ("dff", re.compile(r"d_?f_?f|df_?over_?f|delta_?f|d_?f_f_?0")),
    (
        "fluorescence",
        re.compile(r"fluo|raw|ratio|roi_?response|corrected|demix|subtract|^f$|gcamp"),
    ),
)


@dataclass(frozen=True)
class Plane:
    """One series with its ROIs: a whole recording, or one imaging plane of several."""

    found: NwbObject
    quantity: str
    data: LazyArray  # (num_frames, num_rois)
    timestamps: np.ndarray  # (num_frames,) seconds, as stored
    rows: np.ndarray  # (num_rois,) rows of the ROI table
    neurons: Neurons
    descriptions: dict[str, str]  # of the columns of the ROI table


def role(found: NwbObject) -> str | None:
    """What the values of a series are; None for neuropil, baselines and the like.

    The series' own name decides, then its container's name and type, then its module's name.
    """
    own = found.name.lower()
    if NOT_NEURONS.search(own) and not CORRECTED.search(own):
        return None
    quantity = _named(own)
    # `RoiResponseSeries` and the like say nothing; the container does
    plain = quantity == "fluorescence" and re.search(r"roi_?response", own)
    if quantity is not None and not plain:
        return quantity
    container = found.parent
    while container is not None:
        name = container.name.lower()
        if container.neurodata_type == "DfOverF":
            return "dff"
        if NOT_NEURONS.search(name) and not CORRECTED.search(name):
            return None
        inherited = _named(name)
        if inherited is not None:
            return inherited
        container = container.parent
    return quantity or "fluorescence"


def read(
    contents: NwbIndex, quantity: str | None, plane: str | None = None
) -> tuple[Neurons, Traces, dict[str, str]] | None:
    """The ROIs and traces of the asked or most preferred quantity; None when there is none.

    Args:
        contents: the open file; what is passed over is noted.
        quantity: one of `TRACE_QUANTITIES`, or None for the first of them that is there.
        plane: name of one ROI table, or None for all.

    Raises:
        NoActivityError: there is no such plane; it names those that are there.
    """
    by_quantity: dict[str, list[NwbObject]] = {name: [] for name in TRACE_QUANTITIES}
    for found in contents.of_type("RoiResponseSeries"):
        found_role = role(found)
        if found_role is None:
            contents.note("not-activity", found.path, "by its name this is not neuronal activity")
        else:
            by_quantity[found_role].append(found)
    for name in [quantity] if quantity else TRACE_QUANTITIES:
        chosen = _planes(contents, by_quantity[name], name)
        if chosen:
            _note_others(contents, by_quantity, name)
            return _recording(contents, _of_plane(contents, chosen, plane))
    return None


def _named(name: str) -> str | None:
    return next((quantity for quantity, pattern in ROLES if pattern.search(name)), None)


def _note_others(contents: NwbIndex, by_quantity: dict[str, list[NwbObject]], chosen: str) -> None:
    for quantity, others in by_quantity.items():
        for found in others if quantity != chosen else ():
            reason = f"{quantity}; {chosen} is used, --quantity {quantity} takes this"
            contents.note("other-traces", found.path, reason)


def _planes(contents: NwbIndex, candidates: list[NwbObject], quantity: str) -> list[Plane]:
    """One readable series per ROI table, the corrected one before the raw one."""
    chosen: list[Plane] = []
    for found in sorted(candidates, key=_rawness):
        plane = _plane(contents, found, quantity)
        if plane is None:
            continue
        twin = next((other for other in chosen if _share_rois(plane, other)), None)
        if twin is None:
            chosen.append(plane)
        else:
            reason = f"the same ROIs as {twin.found.path}, which is used"
            contents.note("other-traces", found.path, reason)
    return sorted(chosen, key=lambda plane: plane.found.path)


def _of_plane(contents: NwbIndex, chosen: list[Plane], name: str | None) -> list[Plane]:
    """The plane called `name` alone, or all of them."""
    if name is None:
        return chosen
    names = [planes.name_of(plane.found, plane.neurons) for plane in chosen]
    if name not in names:
        raise NoActivityError(
            f"{contents.file_name} has no plane named {name!r}; it has: {', '.join(names)}."
        )
    return [plane for plane, own in zip(chosen, names, strict=True) if own == name]


def _share_rois(plane: Plane, other: Plane) -> bool:
    """Whether two series are of the same ROIs; without a table, those of one shape are."""
    table, other_table = plane.neurons.table_path, other.neurons.table_path
    if table is None or other_table is None:
        return plane.data.shape == other.data.shape
    return table == other_table and len(np.intersect1d(plane.rows, other.rows)) > 0


def _rawness(found: NwbObject) -> tuple[int, str]:
    name = found.name.lower()
    if CORRECTED.search(name):
        return 0, found.path
    return (2 if "raw" in name else 1), found.path


def _plane(contents: NwbIndex, found: NwbObject, quantity: str) -> Plane | None:
    segmentation, rows = _regions(contents, found)
    num_rois = None if rows is None else len(rows)
    data = series.values(contents, found, num_channels=num_rois)
    if data is None:
        return None
    if num_rois is not None and data.shape[1] != num_rois:
        shape = " x ".join(map(str, data.shape))
        reason = f"is {shape} for {num_rois} rois; which axis is the neurons cannot be told"
        contents.note("roi-count", found.path, reason)
        return None
    clock = series.clock(contents, found, data.shape[0])
    timestamps = None if clock is None else _frame_times(contents, found, clock)
    if timestamps is None:
        return None
    neurons, descriptions = _neurons(contents, found, segmentation, rows, data.shape[1])
    if rows is None:
        rows = np.arange(data.shape[1])
    return Plane(found, quantity, data, timestamps, rows, neurons, descriptions)


def _frame_times(contents: NwbIndex, found: NwbObject, clock: LazyArray) -> np.ndarray | None:
    """The frames' times as stored; what does not increase is noted here and dropped by binning."""
    if len(clock) < 2:
        contents.note("bad-clock", found.path, "has fewer than two frames")
        return None
    timestamps = clock[()]
    num_bad = int((~increasing(timestamps)).sum())
    if num_bad >= len(timestamps) - 1:
        contents.note("bad-clock", found.path, "its times do not increase")
        return None
    if num_bad:
        reason = f"{num_bad} of {len(timestamps)} times are NaN or do not come after those before"
        contents.note("odd-clock", found.path, reason)
    return timestamps


def _regions(contents: NwbIndex, found: NwbObject) -> tuple[h5py.Group | None, np.ndarray | None]:
    """The ROI table of a series and the rows that its channels are; None where not stated."""
    dataset = contents.dataset(found.group, "rois")
    if dataset is None:
        if not has(found.group, "rois"):
            contents.note("no-rois", found.path, "names no ROIs; neurons are numbered from 0")
        return None, None
    table = contents.dereference(objects.stored(dataset, "table"))
    if not isinstance(table, h5py.Group):
        reason = "its ROI table is not in the file; neurons are numbered from 0"
        contents.note("broken-reference", f"{found.path}/rois", reason)
        table = None
    rows = tables.values(contents, dataset)
    if rows is None or rows.ndim != 1 or rows.dtype.kind not in "iu":
        return table, None
    if len(rows) == 0:
        return table, _all_rows(contents, found, table)
    rows = rows.astype(np.int64)
    if table is not None:
        num_rows = tables.count_rows(contents, table)
        if rows.min() < 0 or rows.max() >= num_rows:
            reason = f"points to row {int(rows.max())} of {num_rows} ROIs; numbered from 0 instead"
            contents.note("broken-reference", f"{found.path}/rois", reason)
            return None, np.arange(len(rows))
    return table, rows


def _all_rows(contents: NwbIndex, found: NwbObject, table: h5py.Group | None) -> np.ndarray | None:
    """Every row of the table, for a series whose `rois` is empty."""
    if table is None:
        return None
    num_rows = tables.count_rows(contents, table)
    data = contents.dataset(found.group, "data")
    if data is None or num_rows not in data.shape:
        reason = f"is empty, and the table's {num_rows} rows are not as many as the traces"
        contents.note("empty-rois", f"{found.path}/rois", reason)
        return None
    reason = f"is empty; all {num_rows} rows of the table are taken, in their order"
    contents.note("empty-rois", f"{found.path}/rois", reason)
    return np.arange(num_rows)


def _neurons(
    contents: NwbIndex,
    found: NwbObject,
    segmentation: h5py.Group | None,
    rows: np.ndarray | None,
    num_rois: int,
) -> tuple[Neurons, dict[str, str]]:
    if segmentation is None or rows is None:
        return Neurons(pd.DataFrame({"id": np.arange(num_rois)}), "roi"), {}
    path = path_of(segmentation)
    table = roi_table.read(contents, segmentation)
    neurons = Neurons(
        table.frame,
        "roi",
        path,
        attribute(segmentation, "object_id"),
        overlaps=table.overlaps,
        micrometres=table.micrometres,
    ).take(rows)
    if neurons.table["id"].duplicated().any():
        contents.note("duplicate-ids", f"{path}/id", "several ROIs share an id")
    return neurons, table.descriptions


def _recording(contents: NwbIndex, chosen: list[Plane]) -> tuple[Neurons, Traces, dict[str, str]]:
    first = chosen[0]
    descriptions: dict[str, str] = {}
    for plane in chosen:
        descriptions |= plane.descriptions
    if len(chosen) == 1:
        neurons, data, timestamps = first.neurons, first.data, first.timestamps
    else:
        neurons = planes.stack_neurons([(p.found, p.neurons) for p in chosen])
        data, timestamps, reason = planes.merge([(p.data, p.timestamps) for p in chosen])
        paths = ", ".join(plane.found.path for plane in chosen)
        contents.note("merged-planes", paths, reason)
    traces = Traces(
        data=data,
        timestamps=timestamps,
        quantity=first.quantity,
        unit=series.unit(first.found),
        series_path=first.found.path,
        series_object_id=first.found.object_id,
    )
    return neurons, traces, descriptions
