"""ROI response series -> traces and a table of neurons; several series and planes become one."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from nwbdyn.errors import NoActivityError
from nwbdyn.nwb.read import series
from nwbdyn.nwb.read.imaging import (
    frame_checks,
    frame_times,
    one_series,
    planes,
    regions,
    roi_table,
    roles,
    same_rois,
)
from nwbdyn.nwb.read.imaging.choice import TraceChoice
from nwbdyn.nwb.read.imaging.responses import Response
from nwbdyn.nwb.read.objects import NwbIndex, NwbObject, attribute, name_of, path_of
from nwbdyn.recording import TRACE_QUANTITIES, Neurons, Traces

NO_CELLS = {  # columns of ROI tables -> the value of an ROI that is no cell
    **dict.fromkeys(("iscell", "is_cell", "accepted", "valid_roi", "included"), False),
    **dict.fromkeys(("rejected", "is_background", "background"), True),
}


@dataclass(frozen=True)
class Imaging:
    """The traces of a file, with the neurons whose they are and the series they come from."""

    neurons: Neurons
    traces: Traces
    descriptions: dict[str, str]  # of the columns of the ROI tables
    planes: tuple[Response, ...]


def read(contents: NwbIndex, choice: TraceChoice) -> Imaging | None:
    """The ROIs and traces of the preferred quantity; None without any.

    Args:
        contents: the open file; what is passed over is noted.
        choice: a quantity, plane or series, and how to read times and axes stated wrongly.

    Raises:
        NoActivityError: there is no such plane or series; or series contradict each other. It
            names those that are there.
    """
    by_quantity = _of_neurons(contents, choice)
    for name in [choice.quantity] if choice.quantity else TRACE_QUANTITIES:
        readable = [one_series.read(contents, series, choice) for series in by_quantity[name]]
        candidates = [response for response in readable if response is not None]
        if not candidates:
            continue
        _note_others(contents, by_quantity, name, candidates)
        chosen = _combined(contents, _of_plane(contents, candidates, choice.plane))
        return _imaging(contents, chosen, name, choice)
    return None


def check_times(
    contents: NwbIndex,
    imaging: Imaging,
    beside: Sequence[frame_checks.Span],
    choice: TraceChoice,
) -> None:
    """Note where frames' times contradict imaging planes, trials or behaviour."""
    seen: set[tuple[float, float]] = set()
    for plane in imaging.planes:
        ends = (plane.start, plane.stop)
        if ends not in seen:
            rate = plane.plane_rate
            path = plane.series.path
            times = frame_times.begun(contents, path, plane.timestamps, choice)
            frame_checks.check(contents, path, times, rate, beside, choice)
        seen.add(ends)


def _of_neurons(contents: NwbIndex, choice: TraceChoice) -> dict[str, list[NwbObject]]:
    """The series that hold neuronal activity by quantity, the rest noted."""
    by_quantity: dict[str, list[NwbObject]] = {name: [] for name in TRACE_QUANTITIES}
    if choice.series is not None:
        for series in _named(contents, choice.series):
            by_quantity[choice.quantity or roles.role(series) or "fluorescence"].append(series)
        return by_quantity
    neuronal: list[tuple[str, NwbObject, str | None]] = []
    for series in contents.of_type("RoiResponseSeries"):
        table = regions.table_of(contents, series)
        role = roles.role(series)
        if role is not None and table is not None:
            role = None if roles.is_background(name_of(table)) else role
        if role is None:
            contents.note("not-activity", series.path, "by its name this is not neuronal activity")
        else:
            neuronal.append((role, series, roles.channel(contents, series, table)))
    only = all(channel == roles.REFERENCE for _, _, channel in neuronal)
    for role, series, channel in neuronal:
        if channel == roles.REFERENCE and not only:
            reason = f"by its names a reference channel; --series {series.name} takes it"
            contents.note("other-channel", series.path, reason)
            continue
        if channel == roles.REFERENCE:
            reason = "by its names a reference channel, and the only one"
            contents.note("other-channel", series.path, reason, important=True)
        by_quantity[role].append(series)
    return by_quantity


def _named(contents: NwbIndex, name: str) -> list[NwbObject]:
    """The series called `name`, or whose path ends with it."""
    listed = list(contents.of_type("RoiResponseSeries"))
    wanted = "/" + name.strip("/")
    matching = [series for series in listed if series.path.endswith(wanted)]
    if not matching:
        names = ", ".join(series.path for series in listed) or "none"
        raise NoActivityError(
            f"{contents.file_name} has no series of ROI responses named {name!r}; it has: {names}."
        )
    return matching


def _note_others(
    contents: NwbIndex,
    by_quantity: dict[str, list[NwbObject]],
    chosen: str,
    candidates: list[Response],
) -> None:
    """Note the series of other quantities, and whether they hold ROIs that the chosen one lacks."""
    known: dict[str, set[int]] = {}
    for response in candidates:
        known.setdefault(response.table_path or "", set()).update(response.rows.tolist())
    for quantity, others in by_quantity.items():
        for item in others if quantity != chosen else ():
            reason = f"{quantity}; {chosen} is used, --quantity {quantity} takes this"
            region = regions.read(contents, item)
            num_more = 0
            if region.table is not None and region.rows is not None:
                here = known.get(path_of(region.table), set())
                num_more = len(set(region.rows.tolist()) - here)
            if num_more:
                reason += f", with {num_more} ROIs that {chosen} does not have"
            contents.note("other-traces", item.path, reason, important=num_more > 0)


def _of_plane(contents: NwbIndex, candidates: list[Response], name: str | None) -> list[Response]:
    """The series of the plane called `name` alone, or all of them."""
    if name is None:
        return candidates
    wanted = "/" + name.strip("/")
    chosen = [one for one in candidates if (one.table_path or one.series.path).endswith(wanted)]
    if not chosen:
        names = ", ".join(sorted(set(planes.unique_names(candidates))))
        raise NoActivityError(f"{contents.file_name} has no plane named {name!r}; it has: {names}.")
    return chosen


def _combined(contents: NwbIndex, candidates: list[Response]) -> list[Response]:
    """One response per plane: the series of each ROI table put together."""
    by_table: dict[str | None, list[Response]] = {}
    for response in _of_first_channel(contents, candidates):
        by_table.setdefault(response.table_path, []).append(response)
    chosen = [one for group in by_table.values() for one in same_rois.combine(contents, group)]
    return sorted(chosen, key=lambda response: response.series.path)


def _of_first_channel(contents: NwbIndex, candidates: list[Response]) -> list[Response]:
    """Without the ROI tables that are named like another one but for a higher channel number."""
    named = [roles.numbered_channel(response.name) for response in candidates]
    first = [
        min(other for rest, other in named if rest == own and other is not None)
        if number is not None
        else None
        for own, number in named
    ]
    kept = []
    for response, (_, channel), lowest in zip(candidates, named, first, strict=True):
        if channel == lowest:
            kept.append(response)
            continue
        reason = (
            f"of channel {channel}, taken as the reference of channel {lowest}; "
            f"--plane {response.name} takes it"
        )
        contents.note("other-channel", response.series.path, reason, important=True)
    return kept


def _imaging(
    contents: NwbIndex, chosen: list[Response], quantity: str, choice: TraceChoice
) -> Imaging:
    first = chosen[0]
    described = [_neurons(contents, response) for response in chosen]
    descriptions: dict[str, str] = {}
    for _, more in described:
        descriptions |= more
    if len(chosen) == 1:
        neurons, data, timestamps = described[0][0], first.data, first.timestamps
    else:
        each = [(plane, neurons) for plane, (neurons, _) in zip(chosen, described, strict=True)]
        neurons = planes.stack_neurons(each)
        data, timestamps = planes.merge(contents, chosen)
    timestamps = frame_times.begun(contents, first.series.path, timestamps, choice)
    traces = Traces(
        data=data,
        timestamps=timestamps,
        quantity=quantity,
        unit=series.unit(first.series),
        series_path=", ".join(first.paths),
        series_object_id=first.series.object_id,
    )
    _note_no_cells(contents, neurons)
    return Imaging(neurons, traces, descriptions, tuple(chosen))


def _neurons(contents: NwbIndex, response: Response) -> tuple[Neurons, dict[str, str]]:
    if response.table is None:
        return Neurons(pd.DataFrame({"id": np.arange(len(response.rows))}), "roi"), {}
    path = response.table_path
    table = roi_table.read(contents, response.table)
    neurons = Neurons(
        table.frame,
        "roi",
        path,
        attribute(response.table, "object_id"),
        overlaps=table.overlaps,
        micrometres=table.micrometres,
    ).take(response.rows)
    if neurons.table["id"].duplicated().any():
        contents.note("duplicate-ids", f"{path}/id", "several ROIs share an id")
    return neurons, table.descriptions


def _note_no_cells(contents: NwbIndex, neurons: Neurons) -> None:
    """Note how many ROIs a column of their table marks as no cells."""
    for column in neurons.table.columns:
        no_cell = NO_CELLS.get(str(column).lower())
        values = neurons.table[column]
        if no_cell is None or values.dtype.kind not in "bui":
            continue
        flagged = values.astype(bool) == no_cell
        if flagged.any() and not flagged.all():
            keeps = f"not {column}" if no_cell else str(column)
            reason = (
                f"marks {int(flagged.sum())} of {len(neurons)} ROIs as no cells; they are read, "
                f"and --where {keeps!r} leaves them out"
            )
            contents.note("no-cells", f"{neurons.table_path}/{column}", reason, important=True)
            return
