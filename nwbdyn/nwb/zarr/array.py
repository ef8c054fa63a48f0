"""A Zarr array, read by zarr-python from a Store: only what an index touches is fetched.

Versions 2 and 3, shards included. Three things differ from zarr-python: objects come from a Store,
with its retries and its cache; a pickle is rebuilt without running it; and a missing chunk of
version 2 is an error, because NWB's writers also write empty ones.
"""

import asyncio
import base64
import warnings
from collections.abc import Mapping
from typing import Any

import numcodecs  # type: ignore[import-untyped]
import numpy as np
from zarr import Array as ZarrArray
from zarr import AsyncArray
from zarr.abc.store import OffsetByteRequest, RangeByteRequest, SuffixByteRequest
from zarr.core.metadata.v2 import ArrayV2Metadata
from zarr.dtype import VariableLengthBytes, parse_dtype
from zarr.storage import MemoryStore, StorePath

from nwbdyn.errors import NwbdynError
from nwbdyn.nwb.zarr import pickled
from nwbdyn.nwb.zarr.store import Store

TEXT = np.dtype("O")


class Array:
    """An array in a store; indexing gives NumPy, as h5py's datasets do."""

    def __init__(self, array: ZarrArray, path: str) -> None:
        self._array = array
        self._path = path
        self.shape: tuple[int, ...] = array.shape
        self.chunks: tuple[int, ...] = array.chunks  # of a shard: its parts
        self.dtype: np.dtype = TEXT if array.dtype.kind == "T" else array.dtype

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __getitem__(self, key: Any) -> Any:
        """The part that `key` names: integers, slices, `...`, and one list or mask at most.

        Raises:
            OSError: a chunk is damaged or missing.
        """
        try:
            values = self._array[_of_all_axes(key, self.ndim)]
        except (NwbdynError, OSError, IndexError):
            raise
        except Exception as error:  # whatever a codec raises
            raise OSError(f"a chunk of {self._path} cannot be decoded: {error}") from error
        return np.asarray(values, self.dtype)[()] if self.dtype is TEXT else values


class _Objects(MemoryStore):
    """The objects of a Store, as zarr-python requests them."""

    def __init__(self, store: Store, *, complete: bool) -> None:
        super().__init__(read_only=True)
        self._store = store
        self._complete = complete  # no object may be missing

    async def get(self, key: str, prototype: Any = None, byte_range: Any = None) -> Any:
        part = None
        if isinstance(byte_range, RangeByteRequest):
            part = slice(byte_range.start, byte_range.end)
        elif isinstance(byte_range, OffsetByteRequest):
            part = slice(byte_range.offset, None)
        elif isinstance(byte_range, SuffixByteRequest):
            part = slice(-byte_range.suffix, None)
        loop = asyncio.get_running_loop()
        stored = await loop.run_in_executor(self._store.workers, self._store.get, key, part)
        if stored is None:
            if self._complete:
                raise OSError(f"the chunk {key} is missing: the copy is incomplete")
            return None
        return prototype.buffer.from_bytes(stored)


class _Pickle(numcodecs.Pickle):
    """Pickled values, rebuilt without running anything."""

    def decode(self, buf: Any, out: Any = None) -> np.ndarray:
        return np.asarray(pickled.loads(buf), object)


def array_v2(store: Store, path: str, document: Mapping[str, Any]) -> Array:
    """The array of a `.zarray`."""
    stored = document["dtype"]
    dtype = np.dtype([tuple(item) for item in stored] if isinstance(stored, list) else stored)
    metadata = ArrayV2Metadata(
        shape=tuple(document["shape"]),
        chunks=tuple(document["chunks"]),
        dtype=VariableLengthBytes() if dtype.hasobject else parse_dtype(dtype, zarr_format=2),
        fill_value=None,
        order=document["order"],
        dimension_separator=document.get("dimension_separator", "."),
        compressor=_codec(document["compressor"]),
        filters=[_codec(codec) for codec in document["filters"] or ()] or None,
    )
    return _array(store, path, metadata, complete=True)


def array_v3(store: Store, path: str, document: Mapping[str, Any]) -> Array:
    """The array of a version 3 `zarr.json`; a chunk that is not there holds the fill value."""
    data_type, fill = _structured(document["data_type"]), document["fill_value"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on types that the specification does not have yet
        if isinstance(fill, Mapping):  # by field
            value = np.zeros((), parse_dtype(data_type, zarr_format=3).to_native_dtype())
            for name, part in fill.items():
                value[name] = part
            fill = base64.b64encode(value.tobytes()).decode()
        whole = {**document, "data_type": data_type, "fill_value": fill, "attributes": {}}
        return _array(store, path, whole, complete=False)


def _array(store: Store, path: str, metadata: Any, *, complete: bool) -> Array:
    where = StorePath(_Objects(store, complete=complete), path)
    return Array(ZarrArray(AsyncArray(metadata, where)), f"/{path}")


def _of_all_axes(key: Any, num_axes: int) -> Any:
    """An index with a list or mask as one with a part per axis, which zarr-python takes by axis."""
    parts = list(key) if isinstance(key, tuple) else [key]
    parts = [
        np.asarray(one, None if one else np.intp) if type(one) is list else one for one in parts
    ]
    if not any(isinstance(one, np.ndarray) and one.ndim == 1 for one in parts):
        return key
    at = next((i for i, one in enumerate(parts) if one is Ellipsis), len(parts))
    named = len(parts) - (at < len(parts))
    parts[at : at + 1] = [slice(None)] * (num_axes - named)
    return tuple(parts)


def _codec(stated: Mapping[str, Any] | None) -> Any:
    codec = None if stated is None else numcodecs.get_codec(dict(stated))
    return _Pickle() if isinstance(codec, numcodecs.Pickle) else codec


def _structured(data_type: Any) -> Any:
    """A `struct` under its older name, which every zarr-python 3 reads."""
    if not isinstance(data_type, Mapping) or data_type["name"] != "struct":
        return data_type
    fields = data_type["configuration"]["fields"]
    named = [[field["name"], _structured(field["data_type"])] for field in fields]
    return {"name": "structured", "configuration": {"fields": named}}
