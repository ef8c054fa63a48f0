"""Arrays too large to hold twice: filled block by block, and stored on disk if memory is short."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from nwbdyn import cache
from nwbdyn.data import limits
from nwbdyn.recording import Array, LazyArray

READ = 256 * 2**20  # bytes read from a file at a time; each read is planned as a whole
WORK = 32 * 2**20  # bytes of memory worked on at a time
SHARE = 0.25  # of the memory that may be taken; a larger array lives in a file without a name


def free_disk() -> int:
    """Free bytes in the folder of arrays that do not fit into memory."""
    return shutil.disk_usage(_folder()).free


def memmap_zeros(shape: tuple[int, ...], dtype: np.dtype | type = np.float32) -> np.ndarray:
    """An array of zeros, in memory, or mapped from a file that goes when the array does."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    limit = limits.memory()
    if limit is None or size <= SHARE * limit.size:
        return np.zeros(shape, dtype)
    with tempfile.TemporaryFile(dir=_folder()) as file:
        return np.memmap(file, dtype=dtype, mode="w+", shape=shape)


def row_blocks(array: Array) -> Iterator[slice]:
    """Rows of `array` that are worked on together, in order; whole chunks of its file."""
    row = max(1, array.nbytes // max(1, len(array)))
    size, together = (READ, array.rows_together) if isinstance(array, LazyArray) else (WORK, 1)
    step = max(1, size // (row * together)) * together
    for first in range(0, len(array), step):
        yield slice(first, min(first + step, len(array)))


def take_rows(array: np.ndarray, rows: np.ndarray | slice, columns: np.ndarray) -> np.ndarray:
    """`array[rows][:, columns]`, made piece by piece; the array itself where that is all of it.

    Args:
        array: (num_rows, num_columns).
        rows: positions, or `:`.
        columns: (num_columns,) bool.
    """
    everything = isinstance(rows, slice)
    if everything and columns.all():
        return array
    positions = np.arange(len(array))[rows]
    taken = memmap_zeros((len(positions), int(columns.sum())), array.dtype)
    for piece in row_blocks(taken):
        taken[piece] = array[positions[piece]][:, columns]
    return taken


def _folder() -> Path:
    return cache.made("large")
