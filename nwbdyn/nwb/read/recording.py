"""An NWB file -> Recording, object by object: one bad object costs itself, never the file."""

from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import pandas as pd

from nwbdyn.errors import DataError, NoActivityError, ReadError
from nwbdyn.nwb.read import behavior, cell_types, copied_from, intervals, slim_record, walk
from nwbdyn.nwb.read.imaging import frame_checks, one_series_per_neuron, ophys, roles
from nwbdyn.nwb.read.imaging.choice import OF_FRAMES
from nwbdyn.nwb.read.objects import NwbIndex, has, is_damage
from nwbdyn.nwb.read.options import QUANTITIES, ReadOptions
from nwbdyn.nwb.read.series import all_texts, scalar_text
from nwbdyn.nwb.read.units import ecephys, seconds
from nwbdyn.nwb.read.units.unit_tables import UnitsTable
from nwbdyn.recording import (
    COUNTS,
    RECORDED_BY,
    Covariate,
    Neurons,
    Recording,
    Source,
    SpikeTimes,
    Traces,
)

if TYPE_CHECKING:
    from nwbdyn.nwb.zarr import Store

_DEFAULTS = ReadOptions()


def read(file: "BinaryIO | Store", source: Source, options: ReadOptions = _DEFAULTS) -> Recording:
    """The session in an NWB file, with arrays that stay in the file until they are indexed.

    Activity that was passed over is in the notes.

    Args:
        file: seekable, or a Zarr store; it must stay open for as long as the arrays are wanted,
            and is not closed.
        source: where the file came from; its name is used in messages. A slim copy stands for
            the file it was made from: its Source is that of the original.

    Raises:
        ReadError: no NWB, or damaged; times that are not seconds.
        NoActivityError: no spike times and no ROI traces.
        ConfigError: an unknown unit of spike times.
    """
    with ExitStack() as stack:
        contents = walk.open_contents(file, source)
        stack.callback(contents.file.close)
        opened, source = source, _resolve_slim_source(contents, source)
        try:
            recording = _session(contents, source, options, stack)
            also = copied_from.sources(contents, opened, source)
        except Exception as error:
            contents.check_stream()
            if not is_damage(error):
                raise
            raise ReadError(walk.damaged(contents.file_name, error)) from error
        contents.check_stream()
        return replace(recording, copied_from=also)


def _resolve_slim_source(contents: NwbIndex, source: Source) -> Source:
    """The source itself, or the one that a slim copy was made from."""
    record = slim_record.read(contents.file)
    if record is None:
        return source
    reason = f"a slim copy of {record.source.uri}; {len(record.left_out)} arrays were left out"
    contents.note("slim-copy", f"/{slim_record.RECORD_PATH}", reason)
    return slim_record.original(record, source)


def _session(
    contents: NwbIndex,
    source: Source,
    options: ReadOptions,
    stack: ExitStack,
) -> Recording:
    subject = _subject(contents)
    neurons, activity, descriptions, origin = _activity(contents, options)
    _check_applies(contents, activity, options)
    neurons = cell_types.label(contents, neurons, descriptions, subject)
    own = _activity_series_paths(contents, activity)
    covariates, events = behavior.read(contents, without=own)
    trials, others = intervals.read(contents)
    _note_unread(contents, neurons)
    others = others | {name: frame for name, frame in events.items() if name not in others}
    if isinstance(origin, UnitsTable) and options.spike_time_unit is None:
        last = _last_time(trials, others, covariates, origin.spikes)
        seconds.check(contents, origin.path, origin.spikes, last)
    beside = frame_checks.spans(trials, others, covariates)
    if isinstance(origin, ophys.Imaging):
        ophys.check_times(contents, origin, beside, options)
    elif isinstance(activity, Traces):  # one series per neuron
        path, times = str(activity.series_path), np.asarray(activity.timestamps)
        frame_checks.check(contents, path, times, None, beside, options)
    return Recording(
        session_id=_text(contents, "general/session_id") or _text(contents, "identifier"),
        neurons=neurons,
        activity=activity,
        source=source,
        identifier=_text(contents, "identifier"),
        session_start_time=_text(contents, "session_start_time"),
        session_description=_text(contents, "session_description"),
        subject=subject,
        recorded_by=_recorded_by(contents),
        covariates=covariates,
        trials=trials,
        intervals=others,
        notes=tuple(contents.notes),
        files=stack.pop_all(),
        file=contents.file,
    )


def _check_applies(contents: NwbIndex, activity: SpikeTimes | Traces, options: ReadOptions) -> None:
    """Refuse a correction of the kind of activity that is not read.

    Raises:
        DataError: spike times are corrected and traces are read, or the other way round.
    """
    corrected, used, name = OF_FRAMES, "spike times", "ROI traces"
    if isinstance(activity, Traces):
        corrected, used, name = ("spike_time_unit",), activity.quantity, "spike times"
    for option in corrected:
        if getattr(options, option) is not None:
            raise DataError(
                f"--{option.replace('_', '-')} is for {name}, and a fit of {contents.file_name} "
                f"reads {used}. Leave it out, or choose the {name} with --quantity."
            )


def _activity(
    contents: NwbIndex, choice: ReadOptions
) -> tuple[Neurons, SpikeTimes | Traces, dict[str, str], UnitsTable | ophys.Imaging | None]:
    """The neurons and their activity: units, else ROI traces, else one series per neuron."""
    quantity = choice.quantity
    silent: UnitsTable | None = None
    if quantity == COUNTS or (quantity is None and not choice.names_traces):
        units = ecephys.read(contents, choice.spike_time_unit)
        if units is not None and quantity is None and not units.spikes.times.shape[0]:
            silent = units
        elif units is not None:
            for item in contents.of_type("RoiResponseSeries"):
                role = roles.role(item)
                if role is not None:
                    reason = f"{role}; units are used, --quantity {role} takes this"
                    contents.note("other-traces", item.path, reason)
            return units.neurons, units.spikes, units.descriptions, units
    if quantity != COUNTS:
        imaging = ophys.read(contents, choice)
        if imaging is not None:
            if silent is not None:
                reason = "no unit has a spike; the traces are used"
                contents.note("no-spikes", silent.path, reason, important=True)
            return imaging.neurons, imaging.traces, imaging.descriptions, imaging
        if quantity in (None, "fluorescence") and not choice.names_traces:
            numbered_series = one_series_per_neuron.read(
                contents, one_series_per_neuron.find(contents), choice
            )
            if numbered_series is not None:
                neurons, traces = numbered_series
                return neurons, traces, {}, None
    if silent is not None:
        return silent.neurons, silent.spikes, silent.descriptions, silent
    damaged = any(note.code == "corrupted-object" for note in contents.notes)
    raise (ReadError if damaged else NoActivityError)(_nothing_to_fit(contents, quantity))


def _nothing_to_fit(contents: NwbIndex, quantity: str | None) -> str:
    wanted = f"no {quantity}" if quantity else "neither units with spike times nor ROI traces"
    message = f"{contents.file_name} holds {wanted}"
    causes = [n for n in contents.notes if n.code != "raw-data"]
    if not contents.objects and any(n.code == "earlier-results" for n in causes):
        return (
            f"{message}: it holds results of nwbdyn alone. Open them with nwbdyn.open_results, or "
            "fit their recording again with `nwbdyn reproduce`."
        )
    if causes:
        message += "; " + "; ".join(f"{n.where} {n.reason} [{n.code}]" for n in causes[:4])
    others = [name for name in _quantities(contents) if quantity and name != quantity]
    if others:
        return f"{message}. It holds {', '.join(others)}: leave out --quantity, or name one."
    kinds = sorted({item.neurodata_type for item in contents.objects})
    listed = ", ".join(kinds[:10]) or "no typed objects"
    return f"{message}. It has: {listed}. `nwbdyn inspect` shows what can be read."


def _quantities(contents: NwbIndex) -> list[str]:
    """Kinds of activity among the file's objects, in the order of preference."""
    kinds = {roles.role(item) for item in contents.of_type("RoiResponseSeries")}
    if any(contents.of_type("Units")):
        kinds.add(COUNTS)
    return [name for name in QUANTITIES if name in kinds]


def _note_unread(contents: NwbIndex, neurons: Neurons) -> None:
    """Name every object that holds something and was not looked at."""
    folders = {item.parent.path for item in contents.objects if item.parent is not None}
    looked_at = ("TimeSeries", "Units", "TimeIntervals", "EventsTable", "ProcessingModule")
    for item in contents.objects:
        is_table = item.path in (neurons.table_path or "").split(", ")
        is_events = not item.is_a("DynamicTable") and has(item.group, "timestamps")
        is_mapped = (neurons.cell_type_source or "").startswith(item.path.lstrip("/") + "/")
        if item.path in folders or is_table or is_events or is_mapped:
            continue
        if not any(item.is_a(kind) for kind in looked_at) and len(item.group):
            reason = f"{item.neurodata_type}: nothing in it that a fit reads"
            contents.note("skipped-object", item.path, reason)


def _activity_series_paths(contents: NwbIndex, activity: SpikeTimes | Traces) -> frozenset[str]:
    """Paths of plain series that hold the activity itself, not something beside it."""
    paths = {item.path for item in one_series_per_neuron.find(contents)}
    taken = isinstance(activity, Traces) and activity.series_path in paths
    return frozenset(paths) if taken else frozenset()


def _last_time(
    trials: pd.DataFrame | None,
    others: dict[str, pd.DataFrame],
    covariates: tuple[Covariate, ...],
    spikes: SpikeTimes,
) -> float:
    """The end of everything timed in the file but the spikes, seconds; NaN when nothing is."""
    ends = [frame["stop_time"].max() for frame in (trials, *others.values()) if frame is not None]
    ends += [covariate.timestamps[-1] for covariate in covariates if len(covariate.timestamps)]
    if spikes.intervals is not None and len(spikes.intervals):
        ends.append(spikes.intervals[:, 1].max())
    finite = [float(end) for end in ends if np.isfinite(end)]
    return max(finite, default=float("nan"))


def _subject(contents: NwbIndex) -> dict[str, str]:
    """Every text or number the Subject states, as text."""
    group = contents.group("/general/subject")
    subject: dict[str, str] = {}
    for name in [] if group is None else contents.names(group):
        dataset = contents.dataset(group, name)
        if dataset is not None and dataset.shape in ((), (1,)):
            value = scalar_text(dataset)
            if value:
                subject[name] = value
    return subject


def _recorded_by(contents: NwbIndex) -> dict[str, tuple[str, ...]]:
    general, stated = contents.group("/general"), {}
    for name in RECORDED_BY if general is not None else ():
        dataset = contents.dataset(general, name)
        texts = () if dataset is None else all_texts(dataset)
        if any(texts):
            stated[name] = tuple(filter(None, texts))
    return stated


def _text(contents: NwbIndex, path: str) -> str:
    folder, _, name = path.rpartition("/")
    group = contents.group(f"/{folder}")
    dataset = None if group is None else contents.dataset(group, name)
    return "" if dataset is None else scalar_text(dataset)
