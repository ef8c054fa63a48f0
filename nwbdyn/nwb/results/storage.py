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
from nwbdyn.recording import Neurons

CHUNK = (512, 32)  # times, columns: 64 kB, for one time and for one column alike
REGULAR = 1e-9  # seconds that a regular clock may be off

Column: TypeAlias = np.ndarray | DynamicTableRegion


def compressed(array: np.ndarray) -> np.ndarray | H5DataIO:
    """gzip and shuffle; a small array as it is, a large one in blocks (see `tell`)."""
    if array.size < 1024:  # a filter would cost more bytes than it saves
        return array
    if array.ndim <= 2:
        chunks = tuple(min(n, c) for n, c in zip(array.shape, CHUNK, strict=False))
    else:
        chunks = (1,) * (array.ndim - 2) + array.shape[-2:]  # one matrix
    data = Blocks(array, chunks) if array.nbytes > BLOCK else array
    return H5DataIO(data, compression="gzip", shuffle=True, chunks=chunks)


def report_bytes_while_writing(objects: Iterable[NWBContainer], report: Report) -> None:
    """Have `report` told while the large arrays of these objects are written, in bytes."""
    blocks = [
        value.data
        for item in objects
        for value in item.fields.values()
        if isinstance(value, H5DataIO) and isinstance(value.data, Blocks)
    ]
    written = [0] * len(blocks)
    total = sum(array.num_bytes for array in blocks)

    def told(number: int, num_bytes: int) -> None:
        written[number] = num_bytes
        report(Progress("writing", sum(written), total, "bytes"))

    for number, array in enumerate(blocks):
        array.told = partial(told, number)


def clock(time: np.ndarray) -> dict[str, Any]:
    """`starting_time` and `rate` of a regular clock, else `timestamps`."""
    time = np.asarray(time, dtype=np.float64)
    if len(time) > 1:
        interval = (time[-1] - time[0]) / (len(time) - 1)
        if np.abs(time - time[0] - interval * np.arange(len(time))).max() < REGULAR:
            return {"starting_time": float(time[0]), "rate": float(1 / interval)}
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
            data=data.tolist() if data.dtype.kind == "O" else compressed(data),
        )
        for name, data in columns.items()
    ]
    num_rows = len(next(iter(columns.values())))
    return type_of(columns=made, colnames=list(columns), id=list(range(num_rows)), **rest)


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


def measure(connectivity: Connectivity) -> dict[str, Any]:
    """What every coupling type says of its numbers."""
    return {
        "measure": connectivity.measure,
        "is_causal": bool(connectivity.causal),
        "window_start": float(connectivity.window[0]),
        "window_stop": float(connectivity.window[1]),
    }
