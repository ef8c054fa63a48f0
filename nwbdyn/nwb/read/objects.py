"""Index of an open NWB file: its typed groups, safe access to them, and notes.

Nothing here reads a large array. Links to other files and datasets stored outside the file are
never followed.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, BinaryIO

import h5py
import numpy as np

from nwbdyn import inside
from nwbdyn.errors import ReadError
from nwbdyn.nwb.read import filters, heaps, inheritance, ranges
from nwbdyn.recording import Note

HDF5_ERRORS = (OSError, RuntimeError, KeyError, ValueError, TypeError)  # what h5py raises on damage
BIG = 256 * 2**20  # bytes; a larger array must be backed by a file of some size
MAX_ATTRIBUTE_BYTES = 2**20  # HDF5 itself keeps attributes below 64 kB unless told otherwise
BEST_COMPRESSION = 2_000  # deflate reaches 1,032; what declares more than this is not data


class ErrorRecordingFile:
    """A binary file that remembers the first error of a read.

    HDF5 turns some errors of the file below it into "no such object"; with the memory, a lost
    connection is never taken for a damaged file. A copy of it: HDF5 keeps this object, the error
    its frames, and a property list in h5py's frames crashes the interpreter at its end.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.error: Exception | None = None
        self.size = file.seek(0, 2)  # bytes
        self.is_remote = hasattr(file, "prefetch")
        self._heaps: set[int] = set()  # addresses of those that were checked

    def read(self, size: int = -1) -> bytes:
        start = self._file.tell()
        try:
            data = self._file.read(size)
        except Exception as error:
            self.error = self.error or type(error)(*error.args)
            raise
        self._check_heaps(start, data)
        return data

    def readinto(self, buffer: bytearray) -> int:
        start = self._file.tell()
        try:
            length: int = self._file.readinto(buffer)  # type: ignore[attr-defined]
        except Exception as error:
            self.error = self.error or type(error)(*error.args)
            raise
        self._check_heaps(start, buffer)
        return length

    def _check_heaps(self, start: int, data: bytes | bytearray) -> None:
        """Raise OSError, as for any damaged address, where HDF5 would hang in a heap of texts."""
        for at in heaps.starts(data):
            address = start + at
            if address in self._heaps:
                continue
            after = self._file.tell()
            self._file.seek(address)
            length = heaps.size(self._file.read(heaps.HEADER.size).ljust(heaps.HEADER.size, b"\0"))
            self._file.seek(address)
            heap = self._file.read(min(length, self.size - address, heaps.LARGEST))
            self._file.seek(after)
            if heaps.is_endless(heap):
                raise OSError(f"the heap of texts at address {address} is damaged")
            self._heaps.add(address)

    def seek(self, offset: int, whence: int = 0) -> int:
        if whence == 0 and not 0 <= offset <= self.size:  # a damaged address, not a lost byte
            raise OSError(f"address {offset} lies outside the file's {self.size} bytes")
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def expect(self, dataset: h5py.Dataset, key: Any) -> None:
        """Let a remote file fetch together the parts that HDF5 is about to read one after the
        other.
        """
        prefetch = getattr(self._file, "prefetch", None)
        if prefetch is not None:
            prefetch(ranges.wanted(dataset, key))


@dataclass(frozen=True)
class NwbObject:
    """One typed group of the file."""

    path: str
    neurodata_type: str  # as the file states it
    core_type: str  # the nearest core ancestor, or what the group looks like
    group: h5py.Group = field(repr=False)
    parent: "NwbObject | None" = field(default=None, repr=False)

    @property
    def name(self) -> str:
        return PurePosixPath(self.path).name

    @property
    def object_id(self) -> str | None:
        return attribute(self.group, "object_id")

    def is_a(self, ancestor: str) -> bool:
        return inheritance.is_a(self.core_type, ancestor)


@dataclass
class NwbIndex:
    """An open NWB file, its typed groups, and the notes taken while reading it."""

    file: h5py.File
    file_name: str
    watched: ErrorRecordingFile
    objects: list[NwbObject] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)  # each once

    def of_type(self, ancestor: str) -> Iterator[NwbObject]:
        """The groups that are or descend from a core type, in the file's order."""
        return (item for item in self.objects if item.is_a(ancestor))

    def note(self, code: str, where: str, reason: str, *, important: bool = False) -> None:
        """Remember something skipped, changed or odd; an error of the stream wins over any note."""
        self.check_stream()
        note = Note(code, where, reason, important)
        if note not in self.notes:
            self.notes.append(note)

    def check_stream(self) -> None:
        """Raise what the file below HDF5 raised, if it did."""
        error, self.watched.error = self.watched.error, None
        if error is not None:
            raise error

    def dataset(self, group: h5py.Group, name: str) -> h5py.Dataset | None:
        """The dataset `name` in `group`; None when absent, and None with a note when unusable."""
        path = f"{path_of(group).rstrip('/')}/{name}"
        if not has(group, name):
            return None
        link = None
        try:
            link = group.get(name, getlink=True)
            if isinstance(link, h5py.ExternalLink):
                reason = (
                    f"links to another file, {link.filename!r}, which is not followed; copy the "
                    "values into this file"
                )
                self.note("external-link", path, reason)
                return None
            dataset = group[name]
            if not isinstance(dataset, h5py.Dataset):
                self.note("corrupted-object", path, "is a group where a dataset is expected")
                return None
            if inside.lies_elsewhere(dataset):
                self.note("external-data", path, "its values are stored in another file")
                return None
            missing = filters.missing(dataset)
            if missing is not None:
                self.note("missing-filter", path, missing)
                return None
            declared = float(np.prod(dataset.shape, dtype=float)) * dataset.dtype.itemsize
        except HDF5_ERRORS as error:
            if isinstance(link, h5py.SoftLink):
                self.note("broken-link", path, f"links to {link.path!r}, which cannot be opened")
            else:
                self.note("corrupted-object", path, one_line(error))
            return None
        if declared > BIG and declared > BEST_COMPRESSION * self.watched.size:
            reason = f"declares {declared / 2**30:,.1f} GB in a file of {self.watched.size:,} bytes"
            self.note("too-large", path, reason)
            return None
        return dataset

    def group(self, path: str) -> h5py.Group | None:
        """The group at a path of the file; None when absent, None with a note when unusable."""
        item: h5py.HLObject | None = self.file
        try:
            for name in filter(None, path.split("/")):
                if not isinstance(item, h5py.Group) or self.is_link_out(item, name):
                    return None
                item = item.get(name)
        except HDF5_ERRORS as error:
            self.note("corrupted-object", path, one_line(error))
            return None
        return item if isinstance(item, h5py.Group) else None

    def is_link_out(self, group: h5py.Group, name: str) -> bool:
        """True, with a note, for a name that links to another file."""
        if not has(group, name):
            return False
        link = group.get(name, getlink=True)
        if not isinstance(link, h5py.ExternalLink):
            return False
        reason = f"links to another file, {link.filename!r}; such links are not followed"
        self.note("external-link", f"{path_of(group).rstrip('/')}/{name}", reason)
        return True

    def names(self, group: h5py.Group) -> list[str]:
        """The names in a group; one that is not text is noted and left out."""
        try:
            listed = list(group)
        except HDF5_ERRORS as error:
            self.note("corrupted-object", path_of(group), one_line(error))
            return []
        for name in listed:
            if not _is_text(name):
                reason = f"holds a name that is not text: {name!r}"
                self.note("corrupted-object", path_of(group), reason)
        return [name for name in listed if _is_text(name)]

    def part(self, dataset: h5py.Dataset, key: Any, *, expect: bool = True) -> np.ndarray:
        """The part of a dataset that `key` names, in the machine's byte order.

        Args:
            dataset: of this file.
            key: as h5py takes it.
            expect: False where a remote file knows already that these values will be wanted.

        Raises:
            ReadError: HDF5 cannot give the values (a damaged chunk, a filter that is not there).
        """
        try:
            if expect:
                self.watched.expect(dataset, key)
            stored = np.asarray(whole(dataset, key))
        except HDF5_ERRORS as error:
            self.check_stream()
            where = f"{path_of(dataset)} in {self.file_name}"
            raise ReadError(
                f"{where} cannot be read ({one_line(error)}). It is damaged there, or "
                "compressed by a filter that is not here; fetch it again, or name another quantity."
            ) from error
        return stored.astype(stored.dtype.newbyteorder("="), copy=False)

    def dereference(self, reference: object) -> h5py.Group | h5py.Dataset | None:
        """The object behind an HDF5 reference, or None when it leads nowhere."""
        try:
            is_reference = isinstance(reference, h5py.Reference)
            return self.file[reference] if is_reference and reference else None
        except HDF5_ERRORS:
            self.check_stream()
            return None


def has(group: h5py.Group, name: str) -> bool:
    """True if `group` itself has a link called `name`, broken or not; a path is never a name."""
    return "/" not in name and _is_text(name) and group.id.links.exists(name.encode())


def child(group: h5py.Group, name: str) -> h5py.HLObject | None:
    """The object at `name` in a group; None if absent or unreadable."""
    try:
        return group.get(name)
    except HDF5_ERRORS:
        return None


def address_of(item: h5py.HLObject) -> int:
    """Address of an object in its file, which identifies it there."""
    own = getattr(item, "address", None)  # in a Zarr store
    return h5py.h5o.get_info(item.id).addr if own is None else own


def path_of(item: h5py.HLObject) -> str:
    """The path of an object in its file; damage can leave it without one."""
    return item.name if isinstance(item.name, str) else "/(an object without a name)"


def name_of(item: h5py.HLObject) -> str:
    """The last part of an object's path."""
    return PurePosixPath(path_of(item)).name


def _is_text(name: object) -> bool:
    """True if a name is UTF-8; h5py returns bytes, or lone surrogates, for one that is not."""
    return isinstance(name, str) and not any(
        ord(letter) < 32 or 0xD800 <= ord(letter) <= 0xDFFF for letter in name
    )


def stored(item: h5py.HLObject, name: str) -> Any | None:
    """An attribute as h5py gives it, or None when absent, unreadable or absurdly large."""
    try:
        if name not in item.attrs:
            return None
        own = item.attrs.get_id(name)
        if own.get_storage_size() > MAX_ATTRIBUTE_BYTES or _holds_lists(own):
            return None
        return item.attrs[name]
    except HDF5_ERRORS:
        return None


def whole(dataset: h5py.Dataset, key: Any = ()) -> Any:
    """Return `dataset[key]`; refuse a type of variable-length lists.

    NWB uses none. A text whose type is damaged looks like one, and crashes h5py.

    Raises:
        OSError: it holds such lists; others of HDF5_ERRORS as h5py raises them.
    """
    if _holds_lists(dataset.id):
        raise OSError("holds lists of variable length where values or text are expected")
    return dataset[key]


def _holds_lists(item: Any) -> bool:
    if not isinstance(item, h5py.h5d.DatasetID | h5py.h5a.AttrID):  # in a Zarr store
        return False
    return bool(item.get_type().detect_class(h5py.h5t.VLEN))


def attribute(item: h5py.HLObject, name: str) -> str | None:
    """A text attribute, or None when absent or unreadable."""
    value = stored(item, name)
    return None if value is None else text(value)


def number(item: h5py.HLObject, name: str, default: float) -> float:
    """A numeric attribute; `default` when absent, NaN when it is not a number."""
    value = stored(item, name)
    if value is None:
        return float("nan") if name in item.attrs else default
    try:
        return float(np.asarray(value).reshape(-1)[0])
    except (ValueError, TypeError, IndexError):
        return float("nan")


def text(value: Any) -> str:
    """One text from what HDF5 gives: str, bytes, or an array whose first element is meant."""
    if isinstance(value, np.ndarray):
        return text(value.reshape(-1)[0]) if value.size else ""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def is_damage(error: Exception) -> bool:
    """True if HDF5 raised an error, of whatever class: h5py turns its codes into many."""
    if isinstance(error, OSError | RuntimeError):
        return True
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    return frame is not None and "h5py" in frame.tb_frame.f_code.co_filename.split("/")


def one_line(error: Exception) -> str:
    """The message of an error on one line."""
    return " ".join(str(error.args[0] if error.args else error).split())
