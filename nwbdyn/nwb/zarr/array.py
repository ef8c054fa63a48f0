"""A Zarr array that is read part by part: only the chunks that an index touches are fetched."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

import numcodecs  # type: ignore[import-untyped]
import numpy as np

from nwbdyn.nwb.zarr import pickled
from nwbdyn.nwb.zarr.store import Store

Decode = Callable[[Any], Any]
V3_TEXT = ("string", "bytes", "variable_length_utf8", "variable_length_bytes")


@dataclass(frozen=True)
class Array:
    """An array in a store; indexing gives NumPy, as h5py's datasets do."""

    store: Store
    path: str  # key prefix, without slashes at its ends
    shape: tuple[int, ...]
    dtype: np.dtype  # "O" for text and for values of any other kind
    chunks: tuple[int, ...]
    key_of: Callable[[tuple[int, ...]], str]  # of a chunk, below `path`
    steps: tuple[Decode, ...]  # from the stored bytes to the chunk, in order
    fill: Any  # of a chunk that is not there; None when every chunk must be
    order: str = "C"

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __getitem__(self, key: Any) -> np.ndarray:
        """The part that `key` names: integers, slices, `...`, and one list or mask at most.

        Raises:
            OSError: a chunk is damaged or missing, or compressed by a codec that is not there.
        """
        axes = [
            _axis(part, n) for part, n in zip(_all_axes(key, self.ndim), self.shape, strict=True)
        ]
        if sum(isinstance(rest, np.ndarray) for _, rest in axes) > 1:
            raise TypeError("an index takes one list or mask")
        box = self._box([bounds for bounds, _ in axes])
        return box[tuple(rest for _, rest in axes)]

    def _box(self, bounds: list[tuple[int, int]]) -> np.ndarray:
        """Everything between the bounds of each axis."""
        filled = np.empty([stop - start for start, stop in bounds], self.dtype)
        if not filled.size:
            return filled
        grid = [
            range(start // chunk, -(-stop // chunk))
            for (start, stop), chunk in zip(bounds, self.chunks, strict=True)
        ]
        where: Iterator[tuple[int, ...]] = product(*grid)
        keys = (f"{self.path}/{self.key_of(index)}".lstrip("/") for index in product(*grid))
        for index, chunk in zip(where, self.store.each(self._chunk, keys), strict=True):
            inside, outside = [], []
            for (start, stop), length, at in zip(bounds, self.chunks, index, strict=True):
                first, last = max(start, at * length), min(stop, (at + 1) * length)
                inside.append(slice(first - at * length, last - at * length))
                outside.append(slice(first - start, last - start))
            filled[tuple(outside)] = chunk[tuple(inside)]
        return filled

    def _chunk(self, key: str) -> np.ndarray:
        stored = self.store.get(key)
        if stored is None:
            if self.fill is None:
                raise OSError(f"the chunk {key} is missing: the copy is incomplete")
            return np.full(self.chunks, self.fill, self.dtype)
        try:
            values: Any = stored
            for step in self.steps:
                values = step(values)
            if self.dtype.hasobject:
                values = np.asarray(values, self.dtype).reshape(-1)
            else:
                values = np.frombuffer(values, self.dtype)
        except (RuntimeError, ValueError, TypeError, LookupError, EOFError) as error:
            raise OSError(f"the chunk {key} cannot be decoded: {error}") from error
        if values.size != prod(self.chunks):
            raise OSError(f"the chunk {key} holds {values.size} values, not {prod(self.chunks)}")
        return values.reshape(self.chunks, order=self.order)


def array_v2(store: Store, path: str, document: Mapping[str, Any]) -> Array:
    """The array of a `.zarray`. Its chunks are all there: NWB's writers write empty ones too."""
    stored = document["dtype"]
    dtype = np.dtype([tuple(item) for item in stored] if isinstance(stored, list) else stored)
    separator = document.get("dimension_separator", ".")
    codecs = [document["compressor"], *reversed(document["filters"] or [])]
    return Array(
        store=store,
        path=path,
        shape=tuple(document["shape"]),
        dtype=dtype,
        chunks=tuple(document["chunks"]),
        key_of=lambda index: separator.join(map(str, index)) or "0",
        steps=tuple(_codec(codec) for codec in codecs if codec is not None),
        fill=None,
        order=document["order"],
    )


def array_v3(store: Store, path: str, document: Mapping[str, Any]) -> Array:
    """The array of a version 3 `zarr.json`; a chunk that is not there holds the fill value."""
    dtype = _dtype_v3(document["data_type"])
    grid = document["chunk_grid"]
    if grid["name"] != "regular":
        raise ValueError(f"chunk grid {grid['name']!r} is not known")
    order, steps = "C", []
    num_axes = len(document["shape"])
    for codec in document["codecs"]:
        name, options = codec["name"], codec.get("configuration") or {}
        if name == "transpose":
            if list(options["order"]) not in (list(range(num_axes)), [*range(num_axes)][::-1]):
                raise ValueError(f"axes in the order {options['order']} are not known")
            order = "F" if options["order"][0] else "C"
        elif name == "bytes":
            if options.get("endian") == "big":
                dtype = dtype.newbyteorder(">")
        else:
            steps.append(_codec({"id": name.removeprefix("numcodecs."), **options}))
    return Array(
        store=store,
        path=path,
        shape=tuple(document["shape"]),
        dtype=dtype,
        chunks=tuple(grid["configuration"]["chunk_shape"]),
        key_of=_key_of_v3(document["chunk_key_encoding"]),
        steps=tuple(reversed(steps)),
        fill=_fill_v3(document["fill_value"], dtype),
        order=order,
    )


def _key_of_v3(encoding: Mapping[str, Any]) -> Callable[[tuple[int, ...]], str]:
    is_default = encoding["name"] == "default"
    separator = (encoding.get("configuration") or {}).get("separator", "/" if is_default else ".")
    if is_default:
        return lambda index: separator.join(["c", *map(str, index)])
    return lambda index: separator.join(map(str, index)) or "0"


def _dtype_v3(stated: Any) -> np.dtype:
    """NumPy's name for a version 3 data type; text of any length is "O"."""
    name = stated if isinstance(stated, str) else stated["name"]
    options = {} if isinstance(stated, str) else stated["configuration"]
    if name in V3_TEXT:
        return np.dtype("O")
    if name == "fixed_length_utf32":
        return np.dtype(f"<U{options['length_bytes'] // 4}")
    if name == "null_terminated_bytes":
        return np.dtype(f"S{options['length_bytes']}")
    if name == "structured":
        return np.dtype([(field, _dtype_v3(kind)) for field, kind in options["fields"]])
    return np.dtype(name)


def _fill_v3(stated: Any, dtype: np.dtype) -> Any:
    if isinstance(stated, str) and stated.startswith("0x"):
        return np.frombuffer(bytes.fromhex(stated[2:])[::-1], dtype)[0]
    if dtype.names is not None:
        return np.zeros((), dtype)[()]
    return float(stated) if isinstance(stated, str) and dtype.kind == "f" else stated


def _codec(stated: Mapping[str, Any]) -> Decode:
    """The step that undoes a codec.

    Raises:
        ValueError: it is not known here.
    """
    codec = numcodecs.get_codec(dict(stated))
    return pickled.loads if isinstance(codec, numcodecs.Pickle) else codec.decode


def _all_axes(key: Any, num_axes: int) -> list[Any]:
    """One index per axis, `...` and missing ones filled with `:`."""
    parts = list(key) if isinstance(key, tuple) else [key]
    at = next((i for i, part in enumerate(parts) if part is Ellipsis), len(parts))
    given = len(parts) - (at < len(parts))
    if given > num_axes:
        raise IndexError(f"{given} indices for {num_axes} axes")
    parts[at : at + 1] = [slice(None)] * (num_axes - given)
    return parts


def _axis(part: Any, length: int) -> tuple[tuple[int, int], Any]:
    """The bounds of what an index touches, and the index within these bounds."""
    if isinstance(part, slice):
        positions = range(length)[part]
        if not positions:
            return (0, 0), slice(None)
        first, last = min(positions[0], positions[-1]), max(positions[0], positions[-1])
        return (first, last + 1), slice(None, None, positions.step)
    if isinstance(part, (int, np.integer)):
        position = range(length)[int(part)]  # raises IndexError beyond the end
        return (position, position + 1), 0
    chosen = np.asarray(part)
    chosen = np.flatnonzero(chosen) if chosen.dtype == bool else chosen.astype(np.int64)
    chosen = np.where(chosen < 0, chosen + length, chosen)
    if not len(chosen):
        return (0, 0), chosen
    if chosen.min() < 0 or chosen.max() >= length:
        raise IndexError(f"index {chosen.max()} of {length}")
    return (int(chosen.min()), int(chosen.max()) + 1), chosen - chosen.min()
