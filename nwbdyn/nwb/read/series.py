"""TimeSeries -> values and clock, both lazy, with conversion, offset and orientation."""

from collections.abc import Callable
from typing import Any

import h5py
import numpy as np

from nwbdyn import inside
from nwbdyn.nwb.read import ranges, tables
from nwbdyn.nwb.read.objects import (
    HDF5_ERRORS,
    NwbIndex,
    NwbObject,
    attribute,
    has,
    number,
    path_of,
    text,
    whole,
)
from nwbdyn.recording import LazyArray

OTHER_UNITS = {  # of times, as files state them -> what it is called here
    **dict.fromkeys(("ms", "msec", "msecs", "millisecond", "milliseconds"), "ms"),
    **dict.fromkeys(
        (
            "us",
            "\N{MICRO SIGN}s",
            "\N{GREEK SMALL LETTER MU}s",
            "usec",
            "usecs",
            "microsecond",
            "microseconds",
        ),
        "us",
    ),
    **dict.fromkeys(("ns", "nanosecond", "nanoseconds"), "nanoseconds"),
    **dict.fromkeys(("min", "minute", "minutes"), "minutes"),
    **dict.fromkeys(("frame", "frames"), "frames"),
    **dict.fromkeys(("sample", "samples", "tick", "ticks"), "samples"),
}


def values(
    contents: NwbIndex,
    item: NwbObject,
    *,
    name: str = "data",
    num_channels: int | None = None,
    time_axis: int | None = None,
) -> LazyArray | None:
    """(num_samples, num_channels) values in the series' stated unit, or None with a note.

    Args:
        contents: the open file; notes are added to it.
        item: the series.
        name: the dataset inside it.
        num_channels: how many channels there must be; a series stored (num_channels, num_samples)
            is turned round, and noted.
        time_axis: the axis of two that is time, where it is known.
    """
    dataset = contents.dataset(item.group, name)
    where = f"{item.path}/{name}"
    if dataset is None:
        if not has(item.group, name):
            contents.note("no-data", where, "the series has no such dataset")
        return None
    if dataset.dtype.kind not in "biuf":
        contents.note("not-numeric", where, f"holds {_kind(dataset)}, not numbers")
        return None
    if dataset.ndim not in (1, 2):
        reason = f"has {dataset.ndim} dimensions; one value or one row per time is expected"
        contents.note("bad-shape", where, reason)
        return None
    turned = False
    if dataset.ndim == 2:
        turned = time_axis == 1
        if time_axis is None:
            turned = _is_turned(contents, item, dataset, num_channels)
    if turned:
        reason = (
            f"is stored {dataset.shape[0]} x {dataset.shape[1]}, time last; it was turned round"
        )
        contents.note("transposed", where, reason)
    return _lazy(contents, dataset, turned, *_scale(contents, dataset))


def clock(
    contents: NwbIndex, item: NwbObject, num_samples: int, *, advice: str = ""
) -> LazyArray | None:
    """(num_samples,) seconds, from `timestamps`, else `starting_time` and `rate`, else None.

    Args:
        contents: the open file; notes are added to it.
        item: the series.
        num_samples: of its data.
        advice: what to do without a clock, at the end of the note.
    """
    group = item.group
    timestamps = contents.dataset(group, "timestamps")
    if timestamps is not None:
        if not tables.is_list(timestamps) or timestamps.dtype.kind not in "iuf":
            contents.note("bad-clock", path_of(timestamps), "is not a list of times")
            return None
        if timestamps.size != num_samples:
            reason = (
                f"has {timestamps.size} times for {num_samples} samples; it was not aligned{advice}"
            )
            contents.note("clock-length", item.path, reason)
            return None
        return times(contents, timestamps)
    if has(group, "timestamps"):
        return None  # broken, and noted by contents.dataset
    start = contents.dataset(group, "starting_time")
    if start is None:
        reason = f"has neither timestamps nor starting_time and rate{advice}"
        contents.note("no-clock", item.path, reason)
        return None
    rate = number(start, "rate", float("nan"))
    first = scalar_number(start)
    if first is None:
        contents.note("bad-clock", path_of(start), f"holds no number{advice}")
        return None
    if not (np.isfinite(rate) and rate > 0 and np.isfinite(first)):
        reason = f"starting_time {first:g} s at rate {rate:g} Hz is no clock{advice}"
        contents.note("bad-clock", path_of(start), reason)
        return None
    regular = _regular(first, rate, num_samples)
    return LazyArray(regular, (num_samples,), np.dtype(np.float64), stored=lambda: 0)


def note_unit(
    contents: NwbIndex, dataset: h5py.Dataset, advice: str, *, important: bool = False
) -> None:
    """Note times whose unit is stated and is not seconds; NWB times are, and are read as that.

    Args:
        contents: the open file.
        dataset: the times.
        advice: ends the note; "{unit}" in it is the unit.
        important: of the note.
    """
    unit = OTHER_UNITS.get((attribute(dataset, "unit") or "").strip().lower())
    if unit is not None:
        reason = f"states the unit {unit}, and is read as seconds, which times of NWB are"
        advice = advice.format(unit=unit)
        contents.note("stated-unit", path_of(dataset), f"{reason}; {advice}", important=important)


def unit(item: NwbObject, name: str = "data") -> str:
    """The unit of the values after conversion, as the file states it."""
    dataset = item.group.get(name) if has(item.group, name) else None
    return (attribute(dataset, "unit") if dataset is not None else None) or "n.a."


def times(contents: NwbIndex, dataset: h5py.Dataset, seconds: float = 1.0) -> LazyArray:
    """(n,) seconds, as a dataset of times that stays in the file, each of `seconds`."""

    is_flat = dataset.ndim == 1

    def read(key: Any) -> np.ndarray:
        if is_flat:
            stored = contents.part(dataset, key)
        else:  # MATLAB's row or column
            stored = contents.part(dataset, ()).reshape(-1)[key]
        stored = stored.astype(np.float64, copy=False)
        return stored if seconds == 1.0 else stored * seconds

    dtype = np.dtype(np.float64)
    return LazyArray(read, (int(dataset.size),), dtype, stored=lambda: ranges.stored(dataset))


def scalar_text(dataset: h5py.Dataset) -> str:
    """A text dataset with one value; empty when it cannot be read as one."""
    try:
        return "" if inside.lies_elsewhere(dataset) else text(whole(dataset))
    except HDF5_ERRORS:
        return ""


def all_texts(dataset: h5py.Dataset) -> tuple[str, ...]:
    """Every value of a text dataset; none when they cannot be read as texts."""
    try:
        if inside.lies_elsewhere(dataset):
            return ()
        return tuple(text(value) for value in np.atleast_1d(whole(dataset)).ravel())
    except HDF5_ERRORS:
        return ()


def scalar_number(dataset: h5py.Dataset) -> float | None:
    """A dataset with one number; None when it cannot be read as one."""
    try:
        return float(np.asarray(whole(dataset)).reshape(-1)[0])
    except (*HDF5_ERRORS, IndexError):
        return None


def _is_turned(
    contents: NwbIndex, item: NwbObject, dataset: h5py.Dataset, num_channels: int | None
) -> bool:
    num_rows, num_columns = dataset.shape
    if num_rows == num_columns:
        return False
    if num_channels:
        return num_columns != num_channels and num_rows == num_channels
    timestamps = contents.dataset(item.group, "timestamps")
    num_times = len(timestamps) if timestamps is not None and timestamps.ndim else None
    return num_times is not None and num_rows != num_times and num_columns == num_times


def _scale(contents: NwbIndex, dataset: h5py.Dataset) -> tuple[float, float]:
    conversion, offset = number(dataset, "conversion", 1.0), number(dataset, "offset", 0.0)
    if not np.isfinite(conversion) or conversion == 0 or not np.isfinite(offset):
        reason = (
            f"conversion {conversion:g} and offset {offset:g} are unusable; values are as stored"
        )
        contents.note("bad-conversion", path_of(dataset), reason)
        return 1.0, 0.0
    if (conversion, offset) != (1.0, 0.0):
        stated = attribute(dataset, "unit") or "the stated unit"
        reason = f"stored values times {conversion:g} plus {offset:g} give {stated}"
        contents.note("converted", path_of(dataset), reason)
    return conversion, offset


def _lazy(
    contents: NwbIndex, dataset: h5py.Dataset, turned: bool, conversion: float, offset: float
) -> LazyArray:
    """The values with time first and two axes; converted values are floats."""
    shape = dataset.shape if dataset.ndim == 2 else (*dataset.shape, 1)
    scaled = (conversion, offset) != (1.0, 0.0)
    dtype = dataset.dtype.newbyteorder("=")
    if dtype.kind == "b" or (scaled and (dtype.kind in "iu" or dtype.itemsize < 4)):
        dtype = np.dtype(np.float64 if scaled else np.uint8)

    def read(key: Any) -> np.ndarray:
        time, channel = _two_axes(key)
        if dataset.ndim == 1:
            stored = contents.part(dataset, time)[..., np.newaxis][..., channel]
        elif turned:
            stored = contents.part(dataset, (channel, time)).T
        else:
            stored = contents.part(dataset, (time, channel))
        stored = stored.astype(dtype, copy=False)
        return stored * dtype.type(conversion) + dtype.type(offset) if scaled else stored

    chunk = dataset.chunks[1 if turned else 0] if dataset.chunks else 1
    return LazyArray(
        read,
        shape[::-1] if turned else shape,
        dtype,
        stored=lambda: ranges.stored(dataset),
        rows_together=shape[1] if turned and dataset.chunks is None else chunk,
    )


def _two_axes(key: Any) -> tuple[Any, Any]:
    """An index as (time, channel), missing axes filled with `:`."""
    parts = list(key) if isinstance(key, tuple) else [key]
    if any(part is Ellipsis for part in parts):
        at = next(i for i, part in enumerate(parts) if part is Ellipsis)
        parts[at : at + 1] = [slice(None)] * (3 - len(parts))
    parts += [slice(None)] * (2 - len(parts))
    return parts[0], parts[1]


def _regular(first: float, rate: float, num_samples: int) -> Callable[[Any], np.ndarray]:
    def read(key: Any) -> np.ndarray:
        return first + np.arange(num_samples)[key] / rate

    return read


def _kind(dataset: h5py.Dataset) -> str:
    return "text" if h5py.check_string_dtype(dataset.dtype) is not None else str(dataset.dtype)
