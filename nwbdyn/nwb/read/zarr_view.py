"""A Zarr store as hdmf-zarr lays NWB out, with h5py's face: the readers of NWB do not see a
difference.

Zarr has neither links nor references. hdmf-zarr stores links in an attribute of their group
(`_LINKS`, before 0.14 `zarr_link`), and the type of an array in `_DTYPE` and `_REFERENCE_FIELDS`
(before: `zarr_dtype`, and scalars as arrays of one value). References are paths, or mappings with a
path. Only the part of h5py that the readers use is implemented.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import h5py
import numpy as np

from nwbdyn.nwb import zarr
from nwbdyn.nwb.read import zarr_values
from nwbdyn.nwb.read.objects import ErrorRecordingFile
from nwbdyn.nwb.read.zarr_values import ZarrReference
from nwbdyn.nwb.zarr import Node, Store

OWN = (  # attributes of the format, not of the file
    *("zarr_dtype", "zarr_link"),
    *("_DTYPE", "_LINKS", "_REFERENCE_FIELDS", "_ARRAY_DIMENSIONS"),
)
UNKNOWN_SIZE = 2**40  # bytes; of a store that nobody has added up


class NullWatch(ErrorRecordingFile):
    """Stand-in for a watched file: a store raises its errors itself."""

    def __init__(self, size: int | None, *, is_remote: bool) -> None:
        self.error = None
        self.size = size if size is not None else UNKNOWN_SIZE
        self.is_remote = is_remote

    def expect(self, dataset: h5py.Dataset, key: Any) -> None:
        """Nothing: an index fetches all its chunks together."""


@dataclass(frozen=True)
class _LinkInfo:
    u: int  # tells one object from another


class _Identity:
    """An object's id in h5py's terms, as far as links are concerned."""

    def __init__(self, group: "ZarrGroup") -> None:
        self._group = group
        self.links = self

    def exists(self, name: bytes) -> bool:
        return name.decode() in self._group.members

    def get_info(self, name: bytes) -> _LinkInfo:
        return _LinkInfo(self._group[name.decode()].address)


class _Attributes(Mapping):
    """The attributes of the file, references made references and lists made arrays."""

    def __init__(self, stored: Mapping[str, Any], store: str) -> None:
        self._store = store
        self._stored = {name: value for name, value in stored.items() if name not in OWN}

    def __getitem__(self, name: str) -> Any:
        return zarr_values.attribute(self._stored[name], self._store)

    def __iter__(self) -> Iterator[str]:
        return iter(self._stored)

    def __len__(self) -> int:
        return len(self._stored)

    def get_id(self, name: str) -> "_Attributes":
        return self

    def get_storage_size(self) -> int:
        return 0  # all of them are in memory already


class _Stored:
    """Common part of groups and arrays of a store: they are equal if their node is the same."""

    _node: Node

    @property
    def address(self) -> int:
        return id(self._node)

    @property
    def name(self) -> str:
        return self._node.path

    def __bool__(self) -> bool:
        return True

    def __hash__(self) -> int:
        return self.address

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Stored) and other.address == self.address

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"


class ZarrGroup(_Stored, h5py.Group):
    """A group of the store."""

    def __init__(
        self, nodes: Mapping[str, Node], node: Node, root: "ZarrFile | None" = None
    ) -> None:
        self._nodes = nodes
        self._node = node
        self._root = root if root is not None else self
        links = node.attributes.get("_LINKS") or node.attributes.get("zarr_link") or ()
        self._links = {link["name"]: link for link in links}
        self.members = sorted({*node.members, *self._links})

    @property
    def id(self) -> _Identity:
        return _Identity(self)

    @property
    def file(self) -> "ZarrFile":
        return self._root

    @property
    def attrs(self) -> _Attributes:
        return _Attributes(self._node.attributes, self._root.store_name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.members)

    def __len__(self) -> int:
        return len(self.members)

    def __contains__(self, name: object) -> bool:
        return self.get(str(name)) is not None

    def __getitem__(self, key: Any) -> "ZarrGroup | ZarrDataset":
        if isinstance(key, ZarrReference):
            return self._root[key.path]
        item: ZarrGroup | ZarrDataset = self._root if key.startswith("/") else self
        for part in PurePosixPath(key.lstrip("/")).parts:
            if not isinstance(item, ZarrGroup):
                raise KeyError(f"{item.name} is no group")
            item = item._member(part)
        return item

    def get(self, name: str, default: Any = None, getlink: bool = False) -> Any:
        if getlink:
            return self._link(name)
        try:
            return self[name]
        except KeyError:
            return default

    def _member(self, name: str, depth: int = 0) -> "ZarrGroup | ZarrDataset":
        link = self._link(name)
        if isinstance(link, h5py.ExternalLink):
            raise KeyError(f"{name} links to another store")
        if isinstance(link, h5py.SoftLink):
            return self._followed(link.path, depth)
        node = self._nodes[f"{self.name.rstrip('/')}/{name}"]
        if node.array is not None:
            return ZarrDataset(node, self._root)
        return ZarrGroup(self._nodes, node, self._root)

    def _followed(self, path: str, depth: int) -> "ZarrGroup | ZarrDataset":
        if depth > len(self._nodes):
            raise KeyError(f"the links around {path} lead in a circle")
        item: ZarrGroup | ZarrDataset = self._root
        for part in PurePosixPath(path.lstrip("/")).parts:
            if not isinstance(item, ZarrGroup):
                raise KeyError(f"{item.name} is no group")
            item = item._member(part, depth + 1)
        return item

    def _link(self, name: str) -> h5py.HardLink | h5py.SoftLink | h5py.ExternalLink:
        if name not in self._links:
            if name not in self.members:
                raise KeyError(f"{self.name} has no {name!r}")
            return h5py.HardLink()
        link = self._links[name]
        if zarr_values.is_here(link.get("source"), self._root.store_name):
            return h5py.SoftLink(link["path"])
        return h5py.ExternalLink(str(link["source"]), link["path"])


class ZarrFile(ZarrGroup):
    """The root of a store."""

    def __init__(self, store: Store) -> None:
        self.store_name = store.name.rstrip("/")
        nodes = zarr.read_tree(store)
        super().__init__(nodes, nodes["/"])

    def close(self) -> None:
        """Do nothing: the opener of the store closes it."""


class ZarrDataset(_Stored, h5py.Dataset):
    """An array of the store; a scalar where it was one."""

    external = None
    is_virtual = False

    def __init__(self, node: Node, root: ZarrGroup) -> None:
        assert node.array is not None
        self._node = node
        self._array = node.array
        self._root = root
        kind = node.attributes.get("zarr_dtype")
        self._is_scalar = kind == "scalar"
        self._is_reference = kind == "object" or node.attributes.get("_DTYPE") == "object_reference"
        self._reference_fields = set(node.attributes.get("_REFERENCE_FIELDS") or ())
        if isinstance(kind, list):
            self._reference_fields |= {one["name"] for one in kind if one["dtype"] == "object"}

    @property
    def id(self) -> None:
        return None  # of HDF5's there is none

    @property
    def file(self) -> ZarrGroup:
        return self._root

    @property
    def attrs(self) -> _Attributes:
        return _Attributes(self._node.attributes, self._root.store_name)

    @property
    def shape(self) -> tuple[int, ...]:
        return () if self._is_scalar else self._array.shape

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return int(np.prod(self.shape))

    @property
    def chunks(self) -> tuple[int, ...]:
        return self._array.chunks

    @property
    def dtype(self) -> np.dtype:
        if self._is_reference:
            return h5py.ref_dtype
        if self._array.dtype.names is None:
            return self._of(self._array.dtype)
        return np.dtype([(name, self._of_field(name)) for name in self._array.dtype.names])

    def _of_field(self, name: str) -> np.dtype:
        is_reference = name in self._reference_fields
        return h5py.ref_dtype if is_reference else self._of(self._array.dtype[name])

    def _of(self, stored: np.dtype) -> np.dtype:
        return zarr_values.TEXT if stored.kind in "OSU" else stored

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any, new_dtype: Any = None) -> Any:
        stored = self._array[0] if self._is_scalar else self._array[key]
        if self._is_reference:
            return zarr_values.references(stored, self._root.store_name)
        if self._array.dtype.names is not None:
            return self._rows(stored)
        return zarr_values.text(stored)

    def asstr(self, encoding: str | None = None, errors: str = "strict") -> "ZarrDataset":
        return self  # text comes decoded

    def _rows(self, stored: np.ndarray) -> np.ndarray:
        rows = np.empty(stored.shape, self.dtype)
        for name in stored.dtype.names or ():
            if name in self._reference_fields:
                rows[name] = zarr_values.references(stored[name], self._root.store_name)
            else:
                rows[name] = zarr_values.text(stored[name])
        return rows
