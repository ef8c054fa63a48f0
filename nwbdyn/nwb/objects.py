"""What lies in an open NWB file: its typed groups, safe ways to reach them, and the notes taken.

Nothing here reads a large array. Links to other files and datasets stored outside the file are
never followed.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, BinaryIO

import h5py
import numpy as np

from nwbdyn.errors import ReadError
from nwbdyn.nwb import inheritance
from nwbdyn.recording import Note

HDF5_ERRORS = (OSError, RuntimeError, KeyError, ValueError, TypeError)  # what h5py raises on damage
BIG = 256 * 2**20  # bytes; a larger array must be backed by a file of some size
BEST_COMPRESSION = 2_000  # deflate reaches 1,032; what declares more than this is not data


class WatchedFile:
    """A binary file that remembers the first error of a read.

    HDF5 turns some errors of the file below it into "no such object"; with the memory, a lost
    connection is never taken for a damaged file.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.error: Exception | None = None
        self.size = file.seek(0, 2)  # bytes

    def read(self, size: int = -1) -> bytes:
        try:
            return self._file.read(size)
        except Exception as error:
            self.error = self.error or error
            raise

    def readinto(self, buffer: bytearray) -> int:
        try:
            return self._file.readinto(buffer)  # type: ignore[attr-defined]
        except Exception as error:
            self.error = self.error or error
            raise

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


@dataclass(frozen=True)
class Found:
    """One typed group of the file."""

    path: str
    neurodata_type: str  # as the file states it
    core_type: str  # the nearest core ancestor, or what the group looks like
    group: h5py.Group = field(repr=False)
    parent: "Found | None" = field(default=None, repr=False)

    @property
    def name(self) -> str:
        return PurePosixPath(self.path).name

    @property
    def object_id(self) -> str | None:
        return attribute(self.group, "object_id")

    def is_a(self, ancestor: str) -> bool:
        return inheritance.is_a(self.core_type, ancestor)


@dataclass
class Contents:
    """An open NWB file, its typed groups, and the notes taken while reading it."""

    file: h5py.File
    file_name: str
    watched: WatchedFile
    found: list[Found] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)  # each once

    def of_type(self, ancestor: str) -> Iterator[Found]:
        """The groups that are or descend from a core type, in the file's order."""
        return (found for found in self.found if found.is_a(ancestor))

    def note(self, code: str, where: str, reason: str) -> None:
        """Remember something skipped, changed or odd; an error of the stream wins over any note."""
        self.check_stream()
        note = Note(code, where, reason)
        if note not in self.notes:
            self.notes.append(note)

    def check_stream(self) -> None:
        """Raise what the file below HDF5 raised, if it did."""
        error, self.watched.error = self.watched.error, None
        if error is not None:
            raise error

    def dataset(self, group: h5py.Group, name: str) -> h5py.Dataset | None:
        """The dataset `name` in `group`; None when absent, and None with a note when unusable."""
        path = f"{group.name.rstrip('/')}/{name}"
        if not has(group, name):
            return None
        link = group.get(name, getlink=True)
        if isinstance(link, h5py.ExternalLink):
            self.note("external-link", path, f"links to another file, {link.filename!r}")
            return None
        try:
            dataset = group[name]
            if not isinstance(dataset, h5py.Dataset):
                self.note("corrupted-object", path, "is a group where a dataset is expected")
                return None
            if dataset.external or _is_virtual_elsewhere(dataset):
                self.note("external-data", path, "its values are stored in another file")
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

    def part(self, dataset: h5py.Dataset, key: Any) -> np.ndarray:
        """The part of a dataset that `key` names, in the machine's byte order.

        Raises:
            ReadError: HDF5 cannot give the values (a damaged chunk, a filter that is not there).
        """
        try:
            stored = np.asarray(dataset[key])
        except (OSError, RuntimeError) as error:
            self.check_stream()
            raise ReadError(
                f"{dataset.name} in {self.file_name} cannot be read ({one_line(error)}). The file "
                "is damaged there, or compressed by a filter this HDF5 lacks; fetch it again, or "
                "choose another quantity."
            ) from error
        return stored.astype(stored.dtype.newbyteorder("="), copy=False)

    def dereference(self, reference: object) -> h5py.Group | h5py.Dataset | None:
        """The object behind an HDF5 reference, or None when it leads nowhere."""
        try:
            return self.file[reference] if reference else None
        except HDF5_ERRORS:
            self.check_stream()
            return None


def _is_virtual_elsewhere(dataset: h5py.Dataset) -> bool:
    return dataset.is_virtual and any(part.file_name != "." for part in dataset.virtual_sources())


def has(group: h5py.Group, name: str) -> bool:
    """Whether `group` itself has a link called `name`, broken or not; a path is never a name."""
    return "/" not in name and group.id.links.exists(name.encode())


def attribute(item: h5py.HLObject, name: str) -> str | None:
    """A text attribute, or None when absent or unreadable."""
    try:
        value = item.attrs.get(name)
    except HDF5_ERRORS:
        return None
    return None if value is None else text(value)


def number(item: h5py.HLObject, name: str, default: float) -> float:
    """A numeric attribute; `default` when absent, NaN when it is not a number."""
    try:
        value = item.attrs.get(name, default)
        return float(np.asarray(value).reshape(-1)[0])
    except (*HDF5_ERRORS, IndexError):
        return float("nan")


def text(value: Any) -> str:
    """One text from what HDF5 gives: str, bytes, or an array whose first element is meant."""
    if isinstance(value, np.ndarray):
        return text(value.reshape(-1)[0]) if value.size else ""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def one_line(error: Exception) -> str:
    """The message of an error on one line."""
    return " ".join(str(error.args[0] if error.args else error).split())
