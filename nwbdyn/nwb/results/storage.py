"""How arrays, clocks, tables and pointers are laid down in an exported file."""

from collections.abc import Iterable
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from hdmf.backends.hdf5 import H5DataIO
from hdmf.common import DynamicTable, DynamicTableRegion, VectorData
from pynwb.core import NWBContainer

from nwbdyn.connectivity.connectivity import Connectivity
from nwbdyn.errors import ResultsError
from nwbdyn.nwb.results.blocks import BLOCK, Blocks
from nwbdyn.progress import Progress, Report
from nwbdyn.recording import Array, Neurons
from nwbdyn.results.details import tidy

CHUNK = (4096, 32)  # times, columns: 512 kB, for one time and for one column alike
TEXTS_TOGETHER = 2048  # rows of a column of texts in one chunk
ONE_CHUNK = 2**19  # bytes of an array up to which it is one chunk, which compresses best
ROUNDED_FROM = 2**17  # bytes from which an array that grows with time is rounded
LEVEL = 6  # of gzip
SMALLEST_COMPRESSED = 1024  # values; a filter of fewer costs more bytes than it saves
REGULAR = 1e-9  # seconds that a regular clock may be off

Column: TypeAlias = np.ndarray | DynamicTableRegion


class Rounded:
    """A large array whose numbers are rounded when they are read; see `rounded`."""

    def __init__(self, array: Array, step: np.ndarray) -> None:
        self._array, self._step = array, step
        self.shape, self.dtype = tuple(array.shape), np.dtype(np.float32)
        self.ndim, self.size = len(self.shape), int(np.prod(self.shape))
        self.nbytes = 4 * self.size

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> np.ndarray:
        return _to_step(np.asarray(self._array[rows]), self._step)


def is_rounded(array: Array) -> bool:
    """True if an array is large enough that `rounded` rounds it."""
    return array.nbytes >= ROUNDED_FROM


def rounded(array: Array, bits: int) -> np.ndarray | Rounded:
    """(num_times, num_columns) with about `bits` bits per standard deviation of a column.

    Each column is rounded to a multiple of a power of two, at most 2**-bits of its standard
    deviation: noise below that costs half of a file. NaN stays NaN, and a small array as it is.
    """
    if not is_rounded(array):
        return np.asarray(array)
    step = _steps(array, bits)
    if array.nbytes > BLOCK:
        return Rounded(array, step)
    return _to_step(np.asarray(array), step)


def _steps(array: Array, bits: int) -> np.ndarray:
    """(num_columns,) float64; 0 where a column is constant or not finite."""
    count, total, square = (np.zeros(array.shape[1]) for _ in range(3))
    rows = max(1, BLOCK // (8 * array.shape[1]))
    first = np.asarray(array[:1], dtype=np.float64)[0]
    origin = np.where(np.isfinite(first), first, 0)  # large means would hide small deviations
    for start in range(0, len(array), rows):
        block = np.asarray(array[start : start + rows], dtype=np.float64) - origin
        known = np.isfinite(block)
        block = np.where(known, block, 0)
        count += known.sum(axis=0)
        total += block.sum(axis=0)
        square += np.square(block).sum(axis=0)
    many = np.maximum(count, 1)
    sd = np.sqrt(np.maximum(square / many - np.square(total / many), 0))
    exponent = np.floor(np.log2(np.where(sd > 0, sd, 1))) - bits
    return np.where(sd > 0, np.exp2(exponent), 0)


def _to_step(values: np.ndarray, step: np.ndarray) -> np.ndarray:
    multiples = np.round(values.astype(np.float64) / np.where(step > 0, step, 1)) * step
    return np.where(step > 0, multiples, values).astype(np.float32)


def narrowed(values: Array, precision: str) -> Array:
    """The array in half precision for "float16", else single, or as it is where that is less."""
    dtype = np.dtype(np.float16 if precision == "float16" else np.float32)
    if values.dtype.kind != "f" or values.dtype.itemsize <= dtype.itemsize:
        return values
    return np.asarray(values).astype(dtype, copy=False)


def compressed(array: Array | Rounded) -> np.ndarray | H5DataIO:
    """gzip and shuffle; a small array as it is, a large one in blocks (see `tell`)."""
    if not isinstance(array, Rounded):
        array = np.asarray(array)
    if array.size < SMALLEST_COMPRESSED:
        return array
    if array.ndim <= 2 and array.nbytes <= ONE_CHUNK:
        chunks = array.shape
    elif array.ndim <= 2:
        chunks = tuple(min(n, c) for n, c in zip(array.shape, CHUNK, strict=False))
    else:
        chunks = (1,) * (array.ndim - 2) + array.shape[-2:]  # one matrix
    data = Blocks(array, chunks) if array.nbytes > BLOCK else array
    return H5DataIO(data, compression="gzip", compression_opts=LEVEL, shuffle=True, chunks=chunks)


def report_bytes_while_writing(objects: Iterable[NWBContainer], report: Report) -> None:
    """Report bytes written while the large arrays of these objects are saved."""
    blocks = [
        value.data
        for item in objects
        for part in (item, *item.children)
        for value in part.fields.values()
        if isinstance(value, H5DataIO) and isinstance(value.data, Blocks)
    ]
    written = [0] * len(blocks)
    total = sum(array.num_bytes for array in blocks)

    def report_bytes(number: int, num_bytes: int) -> None:
        written[number] = num_bytes
        report(Progress("writing", sum(written), total, "bytes"))

    for number, array in enumerate(blocks):
        array.report = partial(report_bytes, number)


def clock(time: np.ndarray) -> dict[str, Any]:
    """`starting_time` and `rate` of a regular clock, else `timestamps`."""
    time = np.asarray(time, dtype=np.float64)
    if len(time) > 1:
        interval = (time[-1] - time[0]) / (len(time) - 1)
        if np.abs(time - time[0] - interval * np.arange(len(time))).max() < REGULAR:
            rate = tidy(1 / interval)
            if abs(1 / rate - interval) * len(time) > REGULAR:
                rate = float(1 / interval)
            return {"starting_time": tidy(float(time[0])), "rate": rate}
    return {"timestamps": compressed(time)}


def table(type_of: type[DynamicTable], columns: dict[str, Column], **rest: Any) -> Any:
    """A table of these columns, described as the extension describes them."""
    words = {column["name"]: column["description"] for column in type_of.__columns__}
    made = [
        data
        if isinstance(data, DynamicTableRegion)
        else VectorData(
            name=name,
            description=words.get(name, f"{name}, as in the recording."),
            data=_listed(data) if data.dtype.kind == "O" else compressed(data),
        )
        for name, data in columns.items()
    ]
    num_rows = len(next(iter(columns.values())))
    return type_of(columns=made, colnames=list(columns), id=compressed(np.arange(num_rows)), **rest)


def _listed(texts: np.ndarray) -> list[str] | H5DataIO:
    """A column of texts; of a long one the 16 bytes by which HDF5 finds a text are compressed."""
    if len(texts) < SMALLEST_COMPRESSED:
        return texts.tolist()
    chunks = (min(len(texts), TEXTS_TOGETHER),)
    return H5DataIO(
        texts.tolist(), compression="gzip", compression_opts=LEVEL, shuffle=True, chunks=chunks
    )


def region(name: str, of: DynamicTable, rows: np.ndarray) -> DynamicTableRegion:
    """A column that points at rows of another table."""
    return DynamicTableRegion(
        name=name, data=rows.tolist(), description=f"Rows of {of.name}.", table=of
    )


def rows_of(ids: np.ndarray, neurons: Neurons) -> np.ndarray:
    """Row of each id.

    Raises:
        ResultsError: an id that no neuron has, or that several have.
    """
    index = pd.Index(neurons.ids)
    if not index.is_unique:
        again = index[index.duplicated()][0]
        raise ResultsError(
            f"Several neurons have the id {again}: couplings between them cannot be told apart. "
            "Give the rows of the recording's table ids of their own."
        )
    rows = index.get_indexer(pd.Index(ids))
    if (rows < 0).any():
        raise ResultsError(f"Neuron {ids[rows < 0][0]} is not among the {len(index)} fitted ones.")
    return rows


def texts(values: pd.Series) -> np.ndarray:
    """(n,) str, "" where there is nothing."""
    return values.astype(object).where(values.notna(), "").astype(str).to_numpy(dtype=object)


def identifiers(ids: np.ndarray) -> np.ndarray:
    """Ids of neurons as a column has them: numbers, else text."""
    return ids if ids.dtype.kind in "iuf" else np.array([str(one) for one in ids], dtype=object)


def measure(connectivity: Connectivity) -> dict[str, Any]:
    """Description of the numbers of a coupling type."""
    return {
        "measure": connectivity.measure,
        "is_causal": bool(connectivity.causal),
        "window_start": tidy(float(connectivity.window[0])),
        "window_stop": tidy(float(connectivity.window[1])),
    }
