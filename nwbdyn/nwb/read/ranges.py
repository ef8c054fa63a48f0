"""Byte ranges of a dataset's values, so that a remote file can fetch them together.

HDF5 asks for one chunk after the other and waits for each. Told beforehand, the streaming file has
the next ones on their way while this one is inflated.
"""

from typing import Any

import h5py
import numpy as np

SMALLEST = 1 << 20  # bytes; a smaller part is one or two requests anyway
MOST_CHUNKS = 50_000  # of a dataset; beyond, walking its index costs more than it saves


def wanted(dataset: h5py.Dataset, key: Any) -> list[tuple[int, int]]:
    """(start, stop) bytes of the file that hold `dataset[key]`, in the order HDF5 reads them.

    Only whole rows are told apart (the first axis). Empty where planning does not pay or cannot be
    done: small parts, values kept in the object's header, variable length, other files.
    """
    if dataset.ndim == 0 or dataset.external or dataset.is_virtual or dataset.dtype.hasobject:
        return []
    first, after = _rows(key, dataset.shape[0])
    row_bytes = dataset.nbytes // max(dataset.shape[0], 1)
    if (after - first) * row_bytes < SMALLEST:
        return []
    if dataset.chunks is None:
        offset = dataset.id.get_offset()
        return [] if offset is None else [(offset + first * row_bytes, offset + after * row_bytes)]
    if np.prod([-(-length // chunk) for length, chunk in _axes(dataset)]) > MOST_CHUNKS:
        return []
    ranges: list[tuple[int, int]] = []

    def look(chunk: Any) -> None:
        row = chunk.chunk_offset[0]
        if row < after and row + dataset.chunks[0] > first:
            ranges.append((chunk.byte_offset, chunk.byte_offset + chunk.size))

    dataset.id.chunk_iter(look)
    return ranges


def stored(dataset: h5py.Dataset) -> int | None:
    """Bytes that the values take in the file; None where that costs too much or is damaged."""
    if dataset.id is None or dataset.external or dataset.is_virtual or dataset.dtype.hasobject:
        return None  # in a Zarr store, elsewhere, or of variable length
    if dataset.chunks is None:
        return dataset.nbytes
    if np.prod([-(-length // chunk) for length, chunk in _axes(dataset)]) > MOST_CHUNKS:
        return None
    try:
        return dataset.id.get_storage_size()
    except RuntimeError:  # its chunk index is damaged
        return None


def _axes(dataset: h5py.Dataset) -> list[tuple[int, int]]:
    return list(zip(dataset.shape, dataset.chunks, strict=True))


def _rows(key: Any, length: int) -> tuple[int, int]:
    """The rows from the first to after the last that `key` names."""
    if isinstance(key, tuple):
        key = key[0] if key else slice(None)
    if key is Ellipsis:
        return 0, length
    if isinstance(key, slice):
        rows = range(length)[key]
        return (min(rows[0], rows[-1]), max(rows[0], rows[-1]) + 1) if rows else (0, 0)
    positions = np.atleast_1d(np.asarray(key))
    if positions.dtype == bool:
        positions = np.flatnonzero(positions)
    if positions.size == 0:
        return 0, 0
    return int(positions.min()) % length, int(positions.max()) % length + 1
