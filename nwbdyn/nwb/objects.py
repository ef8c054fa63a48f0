"""What lies in an NWB file: walked once, by neurodata type, without opening any array.

The walk is a plain recursion over link names. It sees broken links, which h5py's own visitor skips,
and reads only group headers, where the visitor walks through every chunk index. Links to other
files and datasets stored outside the file are never followed.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, BinaryIO
from urllib.parse import unquote, urlsplit

import h5py
import numpy as np

from nwbdyn.errors import ReadError
from nwbdyn.nwb import inheritance
from nwbdyn.recording import Note, Source

HDF5_ERRORS = (OSError, RuntimeError, KeyError, ValueError, TypeError)  # what h5py raises on damage
MAX_DEPTH = 32  # groups within groups; a deeper file is damaged or hostile
NOT_WALKED = ("general", "specifications")  # read by name where needed


class WatchedFile:
    """A binary file that remembers the first error of a read.

    HDF5 turns some errors of the file below it into "no such object"; with the memory, a lost
    connection is never taken for a damaged file.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.error: Exception | None = None

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
    notes: list[Note] = field(default_factory=list)

    def of_type(self, ancestor: str) -> Iterator[Found]:
        """The groups that are or descend from a core type, in the file's order."""
        return (found for found in self.found if found.is_a(ancestor))

    def note(self, code: str, where: str, reason: str) -> None:
        """Remember something skipped, changed or odd; an error of the stream wins over any note."""
        self.check_stream()
        self.notes.append(Note(code, where, reason))

    def check_stream(self) -> None:
        """Raise what the file below HDF5 raised, if it did."""
        if self.watched.error is not None:
            raise self.watched.error

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
        except HDF5_ERRORS as error:
            if isinstance(link, h5py.SoftLink):
                self.note("broken-link", path, f"links to {link.path!r}, which cannot be opened")
            else:
                self.note("corrupted-object", path, one_line(error))
            return None
        return dataset

    def dereference(self, reference: object) -> h5py.Group | h5py.Dataset | None:
        """The object behind an HDF5 reference, or None when it leads nowhere."""
        try:
            return self.file[reference] if reference else None
        except HDF5_ERRORS:
            self.check_stream()
            return None


def open_contents(file: BinaryIO, source: Source) -> Contents:
    """Open `file` as NWB and list its typed groups.

    Raises:
        ReadError: the file is not HDF5, or HDF5 but not NWB 2.
    """
    path = source.asset_path or unquote(urlsplit(source.url).path)
    file_name = PurePosixPath(path).name or source.uri
    watched = WatchedFile(file)
    try:
        handle = h5py.File(watched, "r")
    except OSError as error:
        if watched.error is not None:
            raise watched.error from None
        raise ReadError(
            f"{file_name} cannot be read as an HDF5 file ({one_line(error)}). An NWB file is HDF5; "
            "check that it is complete, and fetch it again if not."
        ) from error
    contents = Contents(handle, file_name, watched)
    try:
        _check_is_nwb(contents)
        _Walk(contents).run()
    except BaseException:
        handle.close()
        raise
    return contents


def _check_is_nwb(contents: Contents) -> None:
    root_type = attribute(contents.file, "neurodata_type")
    version = attribute(contents.file, "nwb_version")
    if version is None and "nwb_version" in contents.file:
        version = text(contents.file["nwb_version"][()])
    if version is not None and version.removeprefix("NWB-").startswith(("0.", "1.")):
        raise ReadError(
            f"{contents.file_name} is NWB {version}; nwbdyn reads NWB 2. "
            "Convert it first, for example with MatNWB or the lab's own converter."
        )
    if root_type is None and version is None:
        names = ", ".join(list(contents.file.keys())[:8]) or "nothing"
        raise ReadError(
            f"{contents.file_name} is HDF5 but not NWB: its root has neither neurodata_type nor "
            f"nwb_version; it holds: {names}."
        )


class _Walk:
    """One pass over the groups; soft links last, so that an object is listed at its home."""

    def __init__(self, contents: Contents) -> None:
        self.contents = contents
        self.seen: set[tuple[int, int]] = set()
        self.soft_links: list[tuple[h5py.Group, str, str, Found | None]] = []
        self.cached_parents: dict[str, str] | None = None

    def run(self) -> None:
        root = self.contents.file
        for name in root:
            if name not in NOT_WALKED:
                self.visit_link(root, name, f"/{name}", None, 1)
        while self.soft_links:
            group, name, path, parent = self.soft_links.pop(0)
            target = group.get(name, getlink=True).path
            self.visit(group, name, path, parent, path.count("/"), f"links to {target!r}, which ")

    def visit_link(
        self, group: h5py.Group, name: str, path: str, parent: Found | None, depth: int
    ) -> None:
        link = group.get(name, getlink=True)
        if isinstance(link, h5py.ExternalLink):
            reason = (
                f"links to another file, {link.filename!r}; links out of a file are not followed"
            )
            self.contents.note("external-link", path, reason)
        elif isinstance(link, h5py.SoftLink):
            self.soft_links.append((group, name, path, parent))
        else:
            self.visit(group, name, path, parent, depth)

    def visit(
        self,
        group: h5py.Group,
        name: str,
        path: str,
        parent: Found | None,
        depth: int,
        via: str = "",
    ) -> None:
        try:
            item = group[name]
            info = h5py.h5o.get_info(item.id)
        except HDF5_ERRORS as error:
            code = "broken-link" if via else "corrupted-object"
            self.contents.note(code, path, f"{via}cannot be opened: {one_line(error)}")
            return
        key = (info.fileno, info.addr)
        if not isinstance(item, h5py.Group) or key in self.seen:
            return
        self.seen.add(key)
        if depth > MAX_DEPTH:
            reason = f"lies more than {MAX_DEPTH} groups deep and was not entered"
            self.contents.note("too-deep", path, reason)
            return
        try:
            found = self.identify(item, path, parent)
            names = list(item.keys()) if found is None or _is_folder(found) else []
        except HDF5_ERRORS as error:
            self.contents.note("corrupted-object", path, one_line(error))
            return
        if found is not None:
            self.contents.found.append(found)
        for child in names:
            self.visit_link(item, child, f"{path}/{child}", found or parent, depth + 1)

    def identify(self, group: h5py.Group, path: str, parent: Found | None) -> Found | None:
        neurodata_type = attribute(group, "neurodata_type")
        if neurodata_type is None:
            return None
        core_type: str | None = neurodata_type
        if neurodata_type not in inheritance.CORE_PARENTS:
            core_type = inheritance.core_ancestor(neurodata_type, self.parents())
            if core_type is None:
                core_type = inheritance.guess(group) or "Container"
                self.contents.note(
                    "unknown-type",
                    path,
                    f"type {neurodata_type!r} has no specification in the file; it was read by its "
                    f"shape as {core_type}",
                )
        return Found(path, neurodata_type, core_type or "Container", group, parent)

    def parents(self) -> dict[str, str]:
        """The file's cached types, read only when a type is met that is not core."""
        if self.cached_parents is None:
            self.cached_parents = {}
            try:
                if "specifications" in self.contents.file:
                    cached = self.contents.file["specifications"]
                    self.cached_parents = inheritance.cached_parents(cached)
            except (*HDF5_ERRORS, AttributeError) as error:
                self.contents.note("corrupted-object", "/specifications", one_line(error))
        return self.cached_parents


def _is_folder(found: Found) -> bool:
    """Whether other typed groups may lie inside: series and tables hold only their own arrays."""
    return not (found.is_a("TimeSeries") or found.is_a("DynamicTable") or found.is_a("Images"))


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
