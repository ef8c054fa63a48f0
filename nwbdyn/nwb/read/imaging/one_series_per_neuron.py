"""One plain time series per neuron, as some labs write calcium imaging without ROIs.

Recognised by name only: at least `MIN_SERIES` series in one group that differ in a number and speak
of neurons in their name or description, with one channel each and one clock.
"""

import re
from collections import defaultdict
from typing import Any

import numpy as np
import pandas as pd

from nwbdyn.nwb.read import series
from nwbdyn.nwb.read.imaging import frame_times
from nwbdyn.nwb.read.imaging.choice import TraceChoice
from nwbdyn.nwb.read.imaging.responses import stored_in_all
from nwbdyn.nwb.read.objects import NwbIndex, NwbObject, attribute
from nwbdyn.recording import LazyArray, Neurons, Traces

MIN_SERIES = 4
NEURONAL = re.compile(r"neuron|cell|roi|activity|calcium|gcamp|trace|fluo", re.IGNORECASE)
NUMBERED = re.compile(r"^(.*?)[_ \-]?(\d+)$")


def find(contents: NwbIndex) -> list[NwbObject]:
    """The largest set of numbered series, in the order of their numbers; empty if none."""
    sets: dict[tuple[str, str], list[tuple[int, NwbObject]]] = defaultdict(list)
    for item in contents.of_type("TimeSeries"):
        match = NUMBERED.match(item.name)
        words = f"{item.name} {attribute(item.group, 'description') or ''}"
        if match and item.neurodata_type == "TimeSeries" and NEURONAL.search(words):
            folder = item.path.rsplit("/", 1)[0]
            sets[folder, match[1]].append((int(match[2]), item))
    largest = max(sets.values(), key=len, default=[])
    ordered = [item for _, item in sorted(largest, key=lambda pair: pair[0])]
    return ordered if len(ordered) >= MIN_SERIES else []


def read(
    contents: NwbIndex, members: list[NwbObject], choice: TraceChoice
) -> tuple[Neurons, Traces] | None:
    """The series as the columns of one recording; None with a note when their clocks differ."""
    columns = [series.values(contents, item) for item in members]
    usable = [
        (item, column)
        for item, column in zip(members, columns, strict=True)
        if column is not None and column.shape[1] == 1
    ]
    if len(usable) < MIN_SERIES:
        return None
    first, reference = usable[0]
    timestamps = frame_times.read(contents, first, reference.shape[0], choice, None)
    if timestamps is None:
        return None
    kept: list[tuple[NwbObject, LazyArray]] = []
    for item, column in usable:
        if _on_clock(contents, item, column.shape[0], first, len(timestamps), choice):
            kept.append((item, column))
        else:
            reason = f"its clock is not that of {first.path}; the neuron was left out"
            contents.note("unequal-clock", item.path, reason)
    if len(kept) < MIN_SERIES:
        return None
    paths = f"{kept[0][0].path} … {kept[-1][0].name}"
    reason = f"{len(kept)} series, one per neuron, without ROIs; taken as fluorescence"
    contents.note("series-per-neuron", paths, reason)
    frame = pd.DataFrame({"id": np.arange(len(kept)), "series": [item.name for item, _ in kept]})
    data = _side_by_side([column for _, column in kept])
    timestamps = frame_times.begun(contents, first.path, timestamps, choice)
    traces = Traces(data, timestamps, "fluorescence", series.unit(first), first.path)
    return Neurons(frame, "roi", first.path.rsplit("/", 1)[0]), traces


def _on_clock(
    contents: NwbIndex,
    item: NwbObject,
    num_samples: int,
    first: NwbObject,
    num_frames: int,
    choice: TraceChoice,
) -> bool:
    """True if a series has the first one's stored times, or with a rate as many samples."""
    if num_samples != num_frames or choice.frame_rate is not None:
        return num_samples == num_frames
    own = series.clock(contents, item, num_samples)
    other = series.clock(contents, first, num_frames)
    return (
        own is not None and other is not None and np.array_equal(own[()], other[()], equal_nan=True)
    )


def _side_by_side(columns: list[LazyArray]) -> LazyArray:
    def read(key: Any) -> np.ndarray:
        time, channel = key if isinstance(key, tuple) and len(key) == 2 else (key, slice(None))
        if isinstance(time, tuple):
            time = slice(None)
        wanted = np.arange(len(columns))[channel]
        if wanted.ndim == 0:
            return columns[int(wanted)][time, 0]
        return np.stack([columns[i][time, 0] for i in wanted], axis=-1)

    shape = (columns[0].shape[0], len(columns))
    dtype = np.result_type(*[column.dtype for column in columns])
    return LazyArray(
        read,
        shape,
        dtype,
        stored=lambda: stored_in_all(columns),
        rows_together=max(c.rows_together for c in columns),
    )
