"""HDF5 objects into another file, as they are stored: chunks unopened, references rebuilt.

What is left out is left out whole, or without its rows. Values are read in the order in which they
lie in the source, so that a remote one streams; names, attributes, layouts, filters and object ids
are those of the source.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TypeVar

import h5py
import numpy as np

from nwbdyn import inside
from nwbdyn.errors import ReadError
from nwbdyn.nwb.read.objects import (
    BEST_COMPRESSION,
    BIG,
    HDF5_ERRORS,
    NwbIndex,
    address_of,
    one_line,
    path_of,
)
from nwbdyn.progress import Progress, Report

T = TypeVar("T")

BLOCK = 8 * 2**20  # bytes of a contiguous array read at a time
ROWS = 100_000  # rows of text or references read at a time
STAGE = "copying"


@dataclass(frozen=True)
class Omissions:
    """Parts that a copy leaves out, by the address of their group."""

    emptied: Mapping[int, Collection[str]] = field(default_factory=dict)  # kept with no rows
    dropped: Mapping[int, Collection[str]] = field(default_factory=dict)  # not there at all

    def empties(self, group: int, name: str) -> bool:
        return name in self.emptied.get(group, ())

    def drops(self, group: int, name: str) -> bool:
        return name in self.dropped.get(group, ())


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of stored bytes: one chunk, or some rows of a contiguous array."""

    start: int  # where it lies in the source
    size: int  # bytes
    source: h5py.h5d.DatasetID
    target: h5py.h5d.DatasetID
    chunk: tuple[int, ...] | None = None  # position of the chunk in the array
    rows: tuple[int, int] | None = None  # first and after the last; None for everything


class Copy:
    """One file into another, in steps: `structure`, then `values`, then `attributes`.

    Args:
        contents: the source, open.
        target: the file to fill, empty and open for writing.
        omissions: what to leave out.
    """

    def __init__(self, contents: NwbIndex, target: h5py.File, omissions: Omissions) -> None:
        self.lost: dict[str, str] = {}  # path of what could not be copied -> why
        self.pieces: list[Piece] = []
        self._contents = contents
        self._source = contents.file
        self._target = target
        self._omissions = omissions
        self._made: dict[int, str] = {}  # address in the source -> path in the target
        self._emptied: dict[int, str] = {}  # the same, of what was left without rows
        self._pairs: list[tuple[h5py.HLObject, h5py.HLObject]] = []  # for the attributes
        self._words: list[tuple[h5py.Dataset, h5py.Dataset]] = []  # holding text or references
        self._soft_links: list[tuple[h5py.Group, str, str]] = []

    @property
    def num_bytes(self) -> int:
        """Bytes of the values that will be copied as they are stored."""
        return sum(piece.size for piece in self.pieces)

    def structure(self) -> None:
        """Make every group, dataset and link, without values."""
        self._made[address_of(self._source)] = "/"
        self._pairs.append((self._source, self._target))
        todo = [(self._source, self._target, "")]
        while todo:
            source, target, path = todo.pop(0)
            address = address_of(source)
            for name in self._contents.names(source):
                if self._omissions.drops(address, name):
                    continue
                made = self._member(source, target, name, f"{path}/{name}", address)
                if made is not None:
                    todo.append((*made, f"{path}/{name}"))
        for group, name, path in self._soft_links:
            self._soft_link(group, name, path)
        self.pieces.sort(key=lambda piece: piece.start)

    def values(self, report: Report) -> None:
        """Copy what the datasets hold.

        Raises:
            ReadError: the source is damaged there.
        """
        done, total = 0, self.num_bytes
        for piece in self.pieces:
            if piece.chunk is not None:
                filters, chunk = self._read(
                    piece.source, piece.source.read_direct_chunk, piece.chunk
                )
                piece.target.write_direct_chunk(piece.chunk, chunk, filters)
            else:
                self._copy_rows(piece.source, piece.target, piece.rows)
            done += piece.size
            report(Progress(STAGE, done, total, "bytes"))
        for source, target in self._words:
            for first in range(0, len(source) if source.ndim else 1, ROWS):
                rows = (first, min(first + ROWS, len(source))) if source.ndim else None
                self._copy_rows(source.id, target.id, rows, words=True)

    def attributes(self) -> None:
        """Copy the attributes of everything that was made."""
        for source, target in self._pairs:
            for name in source.attrs:
                try:
                    self._attribute(source.attrs.get_id(name), target, name)
                except HDF5_ERRORS as error:
                    self._lose(f"{path_of(target)}, attribute {name}", error)
                    if name in target.attrs:
                        del target.attrs[name]

    def _member(
        self, source: h5py.Group, target: h5py.Group, name: str, path: str, address: int
    ) -> tuple[h5py.Group, h5py.Group] | None:
        """One link of a group; the pair of groups where it leads to a new one."""
        try:
            link = source.get(name, getlink=True)
            emptied = self._omissions.empties(address, name)
            if isinstance(link, h5py.ExternalLink):
                target[name] = link
            elif isinstance(link, h5py.SoftLink) and not emptied:
                self._soft_links.append((source, name, path))
            elif emptied:
                self._empty(source[name], target, name, path)
            else:
                return self._hard_link(source, target, name, path)
        except HDF5_ERRORS as error:
            self._lose(path, error)
            if name in target:
                del target[name]
        return None

    def _hard_link(
        self, source: h5py.Group, target: h5py.Group, name: str, path: str
    ) -> tuple[h5py.Group, h5py.Group] | None:
        address = source.id.links.get_info(name.encode()).u
        if address in self._made:
            target[name] = self._target[self._made[address]]
            return None
        item = source[name]
        made = self._make(item, target, name)
        self._made[address] = path
        self._pairs.append((item, made))
        return (item, made) if isinstance(item, h5py.Group) else None

    def _make(self, item: h5py.HLObject, target: h5py.Group, name: str) -> h5py.HLObject:
        if isinstance(item, h5py.Group):
            # the source's own list would bring addresses in the source with it
            plist = h5py.h5p.create(h5py.h5p.GROUP_CREATE)
            plist.set_link_creation_order(item.id.get_create_plist().get_link_creation_order())
            h5py.h5g.create(target.id, name.encode(), gcpl=plist)
            return target[name]
        if isinstance(item, h5py.Datatype):
            item.id.copy().commit(target.id, name.encode())
            return target[name]
        if inside.lies_elsewhere(item):
            raise ValueError("its values are stored in another file")
        kind, space = _type_of(item.id), item.id.get_space()
        plist = None if item.is_virtual else item.id.get_create_plist()
        if plist is not None and not _is_plain(kind):
            plist = _without_fill_value(plist)  # which may be a reference into the source
        made = h5py.Dataset(h5py.h5d.create(target.id, name.encode(), kind, space, plist))
        declared = float(kind.get_size()) * (item.size or 0)
        if not declared:
            return made
        if not _is_plain(kind):
            self._check_declared(declared)
            self._words.append((item, made))
        elif plist is None or plist.get_layout() == h5py.h5d.COMPACT:
            self._check_declared(declared)
            self.pieces.append(Piece(0, int(declared), item.id, made.id))
        elif item.chunks is not None:
            self._plan_chunks(item.id, made.id)
        elif item.id.get_offset() is not None:
            self._plan_rows(item, made.id)
        return made

    def _check_declared(self, declared: float) -> None:
        if declared > max(BIG, BEST_COMPRESSION * self._contents.watched.size):
            raise ValueError(f"it declares {declared / 2**30:,.1f} GB, more than the file can hold")

    def _empty(self, item: h5py.Dataset, target: h5py.Group, name: str, path: str) -> None:
        """The dataset with its type and attributes, and no rows."""
        shape = (0, *item.shape[1:])
        kind, space = item.id.get_type().copy(), h5py.h5s.create_simple(shape)
        made = h5py.Dataset(h5py.h5d.create(target.id, name.encode(), kind, space))
        self._pairs.append((item, made))
        self._emptied[address_of(item)] = path

    def _soft_link(self, group: h5py.Group, name: str, path: str) -> None:
        """The same link; where it leads to rows that were left out, the rows themselves."""
        link = group.get(name, getlink=True)
        parent = self._target[str(PurePosixPath(path).parent)]
        try:
            item = group[name]
            address = address_of(item) if isinstance(item, h5py.Dataset) else -1
            if address in self._emptied and address not in self._made:
                self._made[address] = path
                self._pairs.append((item, self._make(item, parent, name)))
                return
            if address in self._emptied:
                link = h5py.SoftLink(self._made[address])
        except HDF5_ERRORS:
            self._contents.check_stream()  # a broken link stays as it is
        parent[name] = link

    def _plan_chunks(self, source: h5py.h5d.DatasetID, target: h5py.h5d.DatasetID) -> None:
        pieces: list[Piece] = []

        def plan(chunk: h5py.h5d.StoreInfo) -> None:
            pieces.append(
                Piece(chunk.byte_offset, chunk.size, source, target, chunk=chunk.chunk_offset)
            )

        source.chunk_iter(plan)
        self.pieces += pieces

    def _plan_rows(self, source: h5py.Dataset, target: h5py.h5d.DatasetID) -> None:
        start, itemsize = source.id.get_offset(), source.id.get_type().get_size()
        if not source.ndim:
            self.pieces.append(Piece(start, itemsize, source.id, target))
            return
        row = itemsize * source.size // len(source)  # bytes
        step = max(1, BLOCK // row)
        for first in range(0, len(source), step):
            after = min(first + step, len(source))
            where = (start + first * row, (after - first) * row, source.id, target)
            self.pieces.append(Piece(*where, rows=(first, after)))

    def _copy_rows(
        self,
        source: h5py.h5d.DatasetID,
        target: h5py.h5d.DatasetID,
        rows: tuple[int, int] | None,
        *,
        words: bool = False,
    ) -> None:
        """Copy some rows, or all; byte by byte, or as `words` with their meaning preserved."""
        shape, chosen = source.shape, source.get_space()
        if rows is not None:
            shape = (rows[1] - rows[0], *shape[1:])
            chosen.select_hyperslab((rows[0], *(0 for _ in shape[1:])), shape)
        held = h5py.h5s.create_simple(shape) if shape else h5py.h5s.create(h5py.h5s.SCALAR)
        kind = None if words else source.get_type()
        values = np.zeros(shape, source.dtype if kind is None else f"V{kind.get_size()}")
        self._read(source, source.read, held, chosen, values, kind)
        target.write(held, chosen, self._rebuilt(values) if words else values, kind)

    def _read(self, source: h5py.h5d.DatasetID, read: Callable[..., T], *where: object) -> T:
        try:
            return read(*where)
        except (OSError, RuntimeError) as error:
            self._contents.check_stream()
            name = path_of(h5py.Dataset(source))
            raise ReadError(
                f"{name} in {self._contents.file_name} cannot be read ({one_line(error)}). It is "
                "damaged there; fetch the file again, or all of it with --full."
            ) from error

    def _attribute(self, source: h5py.h5a.AttrID, target: h5py.HLObject, name: str) -> None:
        kind, space = _type_of(source), source.get_space()
        made = h5py.h5a.create(target.id, name.encode(), kind, space)
        if space.get_simple_extent_type() == h5py.h5s.NULL:
            return
        if _is_plain(kind):
            stored = np.zeros(source.shape, f"V{kind.get_size()}")
            source.read(stored, mtype=kind)
            made.write(stored, mtype=kind)
        else:
            values = np.zeros(source.shape, source.dtype)
            source.read(values)
            made.write(self._rebuilt(values))

    def _rebuilt(self, values: np.ndarray) -> np.ndarray:
        """The values with references that lead to the same objects in the target."""
        if values.dtype.names is not None:
            rebuilt = values.copy()
            for name in values.dtype.names:
                rebuilt[name] = self._rebuilt(values[name])
            return rebuilt
        if h5py.check_ref_dtype(values.dtype) is None:
            return values
        rebuilt = np.empty_like(values)
        for at, reference in np.ndenumerate(values):
            rebuilt[at] = self._reference(reference)
        return rebuilt

    def _reference(self, reference: object) -> h5py.Reference:
        item = self._contents.dereference(reference)
        if item is None:
            return h5py.Reference()
        address = address_of(item)
        path = self._made.get(address, self._emptied.get(address))
        return h5py.Reference() if path is None else self._target[path].ref

    def _lose(self, path: str, error: Exception) -> None:
        self._contents.check_stream()
        self.lost[path] = one_line(error)


def _is_plain(kind: h5py.h5t.TypeID) -> bool:
    """True if values of a type mean the same in another file: no text apart, no references."""
    if isinstance(kind, h5py.h5t.TypeStringID):
        return not kind.is_variable_str()
    if isinstance(kind, h5py.h5t.TypeCompoundID):
        return all(_is_plain(kind.get_member_type(n)) for n in range(kind.get_nmembers()))
    if isinstance(kind, h5py.h5t.TypeArrayID):
        return _is_plain(kind.get_super())
    return not isinstance(kind, h5py.h5t.TypeVlenID | h5py.h5t.TypeReferenceID)


def _type_of(item: h5py.h5d.DatasetID | h5py.h5a.AttrID) -> h5py.h5t.TypeID:
    """The type as stored; made anew where it holds text or references, which belong to a file."""
    kind = item.get_type()
    return kind.copy() if _is_plain(kind) else h5py.h5t.py_create(item.dtype, logical=True)


def _without_fill_value(plist: h5py.h5p.PropDCID) -> h5py.h5p.PropDCID:
    """The layout and filters alone."""
    plain = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    if plist.get_layout() == h5py.h5d.CHUNKED:
        plain.set_chunk(plist.get_chunk())
    for number in range(plist.get_nfilters()):
        code, flags, values, _ = plist.get_filter(number)
        plain.set_filter(code, flags, values)
    return plain
