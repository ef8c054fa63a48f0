"""Values of a Zarr store in h5py's terms: references that lead somewhere, text as str."""

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

import h5py
import numpy as np

TEXT = h5py.string_dtype()


class ZarrReference(h5py.Reference):
    """A reference to the object at a path."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __bool__(self) -> bool:
        return bool(self.path)


def attribute(value: Any, store: str) -> Any:
    """An attribute: a mapping that stands for a reference made one, a list made an array."""
    if isinstance(value, dict) and "_REFERENCE" in value:
        return _reference(value["_REFERENCE"], store)
    if isinstance(value, dict) and value.get("zarr_dtype") == "object":
        inside = value["value"]
        return references(np.array(inside, object) if isinstance(inside, list) else inside, store)
    if isinstance(value, list):
        is_text = any(isinstance(item, str) for item in value)
        return np.array(value, dtype=TEXT if is_text else None)
    return value


def references(stored: Any, store: str) -> Any:
    """The references that mappings stand for, alone or in an array; empty out of the store."""
    if not isinstance(stored, np.ndarray) or not stored.ndim:
        return _reference(stored[()] if isinstance(stored, np.ndarray) else stored, store)
    made = np.empty(stored.shape, h5py.ref_dtype)
    for at, item in np.ndenumerate(stored):
        made[at] = _reference(item, store)
    return made


def is_here(source: object, store: str) -> bool:
    """True if the `source` of a link or reference is the store called `store` itself."""
    name = PurePosixPath(str(source or ".")).name
    return name in ("", PurePosixPath(store).name)


def _reference(stored: Any, store: str) -> ZarrReference:
    if isinstance(stored, str):  # a path in this store
        return ZarrReference(stored)
    if not isinstance(stored, Mapping) or not is_here(stored.get("source"), store):
        return ZarrReference("")
    return ZarrReference(str(stored.get("path") or ""))


def text(stored: Any) -> Any:
    """Text as str, alone or in an array; numbers as they are."""
    if isinstance(stored, bytes):
        return stored.decode("utf-8", "replace")
    if not isinstance(stored, np.ndarray) or stored.dtype.kind not in "OSU":
        return stored
    decoded = np.empty(stored.shape, TEXT)
    for at, item in np.ndenumerate(stored):
        decoded[at] = text(item)
    return decoded
