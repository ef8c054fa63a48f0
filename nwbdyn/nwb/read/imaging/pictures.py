"""Masks that are pictures, one per ROI, as the points that lie in them.

Such masks are nearly all zeros: what takes a megabyte in the file would take gigabytes in memory.
They are read a tile of whole chunks at a time, and only what is not zero is kept.
"""

import itertools
from collections.abc import Iterator

import h5py
import numpy as np

from nwbdyn.nwb.read.objects import NwbIndex

TILE = 16 * 2**20  # bytes that are unpacked at a time, about
MOST_CHUNK = 256 * 2**20  # bytes of one chunk, which HDF5 unpacks as a whole
MOST_UNPACKED = 8 * 2**30  # bytes in all; a second of CPU unpacks some 400 MB
MOST_POINTS = 5_000_000  # of all masks together


def why_not(dataset: h5py.Dataset) -> str:
    """Why pictures are not to be unpacked, "" where they may be."""
    unpacked = int(np.prod(dataset.shape, dtype=float)) * dataset.dtype.itemsize
    if unpacked > MOST_UNPACKED:
        return f"take {unpacked / 2**30:,.0f} GB unpacked, {MOST_UNPACKED // 2**30} at most"
    chunk = int(np.prod(dataset.chunks or (1,), dtype=float)) * dataset.dtype.itemsize
    if chunk > MOST_CHUNK:
        return f"are stored in pieces of {chunk / 2**20:,.0f} MB, {MOST_CHUNK // 2**20} at most"
    return ""


def points(
    contents: NwbIndex, dataset: h5py.Dataset
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Everything above zero: (P,) int ROI, in order; (P, 2 or 3) pixel; (P,) float64 weight.

    None for more than MOST_POINTS.

    Args:
        dataset: (N, x, y) or (N, x, y, z), in the order of NWB's schema.

    Raises:
        ReadError: HDF5 cannot give the values.
    """
    contents.watched.expect(dataset, ())
    pixels: list[np.ndarray] = []  # (p, 3 or 4) ROI and place
    weights: list[np.ndarray] = []
    total = 0
    for tile in tiles(dataset.shape, dataset.chunks, dataset.dtype.itemsize):
        values = contents.part(dataset, tile, expect=False)
        inside = np.flatnonzero(values > 0)
        if not len(inside):
            continue
        total += len(inside)
        if total > MOST_POINTS:
            return None
        corner = np.array([axis.start for axis in tile])
        pixels.append(np.column_stack(np.unravel_index(inside, values.shape)) + corner)
        weights.append(values.reshape(-1)[inside].astype(np.float64))
    if not pixels:
        return np.zeros(0, int), np.zeros((0, dataset.ndim - 1), int), np.zeros(0)
    places, weight = np.concatenate(pixels), np.concatenate(weights)
    order = np.argsort(places[:, 0], kind="stable")
    return places[order, 0], places[order, 1:], weight[order]


def tiles(
    shape: tuple[int, ...], chunks: tuple[int, ...] | None, itemsize: int
) -> Iterator[tuple[slice, ...]]:
    """Parts that cover an array: whole chunks, and together no more than TILE where one is not.

    Args:
        chunks: their shape, None for an array that is stored in one piece.
        itemsize: bytes of a value.
    """
    if 0 in shape:
        return
    size = list(chunks or (1,) * len(shape))
    for axis in reversed(range(len(shape))):
        room = TILE // (int(np.prod(size)) * itemsize)
        size[axis] = min(shape[axis], size[axis] * max(1, room))
    firsts = (range(0, length, step) for length, step in zip(shape, size, strict=True))
    for corner in itertools.product(*firsts):
        yield tuple(
            slice(first, min(first + step, length))
            for first, step, length in zip(corner, size, shape, strict=True)
        )
