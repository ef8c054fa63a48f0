"""Interval tables -> pandas: trials, epochs, and every other table of start and stop times."""

from typing import TypeVar

import numpy as np
import pandas as pd

from nwbdyn.nwb.read import tables
from nwbdyn.nwb.read.objects import NwbIndex, NwbObject, has

T = TypeVar("T")

SKIPPED = ("timeseries",)  # references to samples of series; start and stop say the same
TRIALS = "/intervals/trials"


def read(contents: NwbIndex) -> tuple[pd.DataFrame | None, dict[str, pd.DataFrame]]:
    """The trials table, and every other interval table by its name.

    Each has `id`, `start_time`, `stop_time` (seconds) and its other columns; a column with several
    values per row holds lists.
    """
    frames: dict[str, pd.DataFrame] = {}
    for item in contents.of_type("TimeIntervals"):
        frame = _frame(contents, item)
        if frame is not None:
            frames[item.path] = frame
    named = unique_names(frames)
    if TRIALS not in frames and "trials" in named:
        path = next(path for path in frames if path.endswith("/trials"))
        contents.note("trials-elsewhere", path, f"taken as the trials; there is no {TRIALS}")
    return named.pop("trials", None), named


def _frame(contents: NwbIndex, item: NwbObject) -> pd.DataFrame | None:
    frame = tables.read(contents, item.group, skip=SKIPPED, ragged=True).frame
    if has(item.group, "timeseries"):
        reason = "references to time series are not read; start_time and stop_time say the same"
        contents.note("skipped-column", f"{item.path}/timeseries", reason)
    missing = [name for name in ("start_time", "stop_time") if name not in frame]
    if missing:
        listed = ", ".join(map(str, frame.columns))
        reason = f"has no usable {' and '.join(missing)}; it has: {listed}"
        contents.note("no-interval-times", item.path, reason)
        return None
    columns = frame[["start_time", "stop_time"]]
    if not all(pd.api.types.is_numeric_dtype(column) for _, column in columns.items()):
        contents.note("no-interval-times", item.path, "its start and stop times are not numbers")
        return None
    times = columns.to_numpy(dtype=np.float64)
    num_unknown = int(np.isnan(times).any(axis=1).sum())
    if num_unknown:
        reason = f"{num_unknown} of {len(frame)} rows have no start or stop time (NaN)"
        contents.note("nan-interval", item.path, reason)
    num_reversed = int((times[:, 1] < times[:, 0]).sum())
    if num_reversed:
        reason = f"{num_reversed} of {len(frame)} rows stop before they start"
        contents.note("reversed-interval", item.path, reason)
    return frame


def unique_names(by_path: dict[str, T]) -> dict[str, T]:
    """The same values under their objects' names; where names repeat, under their paths."""
    names = [path.rsplit("/", 1)[-1] for path in by_path]
    return {
        name if names.count(name) == 1 or path == TRIALS else path.lstrip("/"): value
        for name, (path, value) in zip(names, by_path.items(), strict=True)
    }
