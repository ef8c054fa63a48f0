"""A large array that is written a block at a time and reports the bytes that are written."""

from collections.abc import Callable
from typing import Any

import numpy as np
from hdmf.data_utils import AbstractDataChunkIterator, DataChunk

BLOCK = 16 * 2**20  # bytes, about


class Blocks(AbstractDataChunkIterator):
    """An array as hdmf takes it, once: in blocks of whole chunks along its first axis."""

    def __init__(self, array: Any, chunks: tuple[int, ...]) -> None:
        """The blocks of `array` (NumPy, or alike), stored in chunks of the shape `chunks`."""
        self._array, self._chunks = array, chunks
        self._row_bytes = array[:1].nbytes
        self._rows = max(1, BLOCK // (self._row_bytes * chunks[0])) * chunks[0]
        self._start = 0
        self.report: Callable[[int], None] = lambda num_bytes: None  # how many bytes are written

    @property
    def num_bytes(self) -> int:
        return self._array.nbytes

    def __iter__(self) -> "Blocks":
        return self

    def __next__(self) -> DataChunk:
        # hdmf asks for the next block when the one before is in the file
        self.report(self._row_bytes * self._start)
        if self._start >= len(self._array):
            raise StopIteration
        stop = min(self._start + self._rows, len(self._array))
        selection = (slice(self._start, stop), *(slice(0, n) for n in self._array.shape[1:]))
        self._start = stop
        return DataChunk(self._array[selection], selection=selection)

    def recommended_chunk_shape(self) -> tuple[int, ...]:
        return self._chunks

    def recommended_data_shape(self) -> tuple[int, ...]:
        return self._array.shape

    @property
    def dtype(self) -> np.dtype:
        return self._array.dtype

    @property
    def maxshape(self) -> tuple[int, ...]:
        return self._array.shape
