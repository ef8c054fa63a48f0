"""Walking an NWB file once, by neurodata type, without opening any array.

The walk is a plain recursion over link names. It sees broken links, which h5py's own visitor skips,
and reads only group headers, where the visitor goes through every chunk index.
"""

import atexit
import re
import weakref
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, BinaryIO, cast
from urllib.parse import unquote, urlsplit

import h5py

from nwbdyn.errors import ReadError
from nwbdyn.nwb.read import inheritance
from nwbdyn.nwb.read.objects import (
    HDF5_ERRORS,
    ErrorRecordingFile,
    NwbIndex,
    NwbObject,
    address_of,
    attribute,
    is_damage,
    one_line,
    text,
    whole,
)
from nwbdyn.recording import Source

if TYPE_CHECKING:
    from nwbdyn.nwb.zarr import Store

MAX_DEPTH = 32  # groups within groups; a deeper file is damaged or hostile
NOT_WALKED = ("general", "specifications")  # read by name where needed
_TRUNCATED = re.compile(r"truncated file: eof = (\d+).*stored_eof = (\d+)")  # HDF5's own words
EARLIER_RESULTS = "/processing/population_dynamics"  # what nwbdyn itself adds to a copy

# HDF5 crashes at the end of Python when a file that it reads through a Python object is still open.
# By id(): h5py cannot hash a file whose root is damaged.
_open_files: "weakref.WeakValueDictionary[int, h5py.File]" = weakref.WeakValueDictionary()


@atexit.register
def _close_open_files() -> None:
    for file in list(_open_files.values()):
        file.close()


def open_contents(file: "BinaryIO | Store", source: Source) -> NwbIndex:
    """Open `file` as NWB and list its typed groups.

    Raises:
        ReadError: neither HDF5 nor a Zarr store, or not NWB 2.
    """
    path = source.asset_path or unquote(urlsplit(source.url).path)
    file_name = PurePosixPath(path).name or source.uri
    if source.is_zarr:
        return _open_zarr(cast("Store", file), source, file_name)
    watched = ErrorRecordingFile(cast(BinaryIO, file))
    try:
        handle = h5py.File(watched, "r")
    except HDF5_ERRORS as error:
        lost, watched.error = watched.error, None
        if lost is not None:
            raise lost from None
        raise ReadError(damaged(file_name, error)) from error
    _open_files[id(handle)] = handle
    contents = NwbIndex(handle, file_name, watched)
    try:
        _check_is_nwb(contents)
        _Walk(contents).run()
    except Exception as error:
        handle.close()
        contents.check_stream()
        if not is_damage(error):
            raise
        raise ReadError(damaged(file_name, error)) from error
    except BaseException:
        handle.close()
        raise
    return contents


def _open_zarr(store: "Store", source: Source, file_name: str) -> NwbIndex:
    from nwbdyn.nwb.read.zarr_view import NullWatch, ZarrFile

    watched = NullWatch(source.size, is_remote=source.path is None)
    contents = NwbIndex(ZarrFile(store), file_name, watched)
    _check_is_nwb(contents)
    _Walk(contents).run()
    return contents


def damaged(file_name: str, error: Exception) -> str:
    """Message for a file that HDF5 cannot read."""
    cannot = f"{file_name} cannot be read as an HDF5 file"
    if cut := _TRUNCATED.search(str(error)):
        there, whole_size = (f"{int(number):,}" for number in cut.groups())
        return f"{cannot}: it is truncated, {there} of {whole_size} bytes. Copy or fetch it again."
    if "file signature not found" in str(error):
        return (
            f"{cannot}: it is empty or of another format. An NWB file is HDF5, or a Zarr folder; "
            "check the name, or fetch it again."
        )
    return (
        f"{file_name} cannot be read as an HDF5 file ({one_line(error)}). An NWB file is HDF5; "
        "check that it is complete, and fetch it again if not."
    )


def _check_is_nwb(contents: NwbIndex) -> None:
    root_type = attribute(contents.file, "neurodata_type")
    version = attribute(contents.file, "nwb_version")
    if version is None and isinstance(contents.file.get("nwb_version"), h5py.Dataset):
        version = text(whole(contents.file["nwb_version"]))  # NWB 1
    version = None if version is None else version.removeprefix("NWB-")
    if version is not None and version.startswith(("0.", "1.")):
        raise ReadError(
            f"{contents.file_name} is NWB {version}; nwbdyn reads NWB 2. "
            "Convert it first, for example with MatNWB or the lab's own converter."
        )
    if root_type is None and version is None:
        names = ", ".join(contents.names(contents.file)[:8]) or "nothing"
        raise ReadError(
            f"{contents.file_name} is HDF5 but not NWB: its root has neither neurodata_type nor "
            f"nwb_version; it holds: {names}."
        )


class _Walk:
    """One pass over the groups; soft links last, so that an object is listed at its home."""

    def __init__(self, contents: NwbIndex) -> None:
        self.contents = contents
        self.seen: set[int] = set()  # addresses of groups in the file
        self.soft_links: list[tuple[h5py.Group, str, str, NwbObject | None]] = []
        self.cached_parents: dict[str, str] | None = None

    def run(self) -> None:
        root = self.contents.file
        for name in self.contents.names(root):
            if name not in NOT_WALKED:
                self.visit_link(root, name, f"/{name}", None, 1)
            else:
                self.contents.is_link_out(root, name)
        while self.soft_links:
            self.visit_soft_link(*self.soft_links.pop(0))

    def visit_link(
        self, group: h5py.Group, name: str, path: str, parent: NwbObject | None, depth: int
    ) -> None:
        try:
            link = group.get(name, getlink=True)
        except HDF5_ERRORS as error:
            self.contents.note("corrupted-object", path, one_line(error))
            return
        if isinstance(link, h5py.ExternalLink):
            reason = f"links to another file, {link.filename!r}; such links are not followed"
            self.contents.note("external-link", path, reason)
        elif isinstance(link, h5py.SoftLink):
            self.soft_links.append((group, name, path, parent))
        else:
            try:
                # from the link itself: asking the object walks through its chunk index
                address = group.id.links.get_info(name.encode()).u
                item = group[name]
            except HDF5_ERRORS as error:
                self.contents.note("corrupted-object", path, one_line(error))
                return
            self.visit(item, address, path, parent, depth)

    def visit_soft_link(
        self, group: h5py.Group, name: str, path: str, parent: NwbObject | None
    ) -> None:
        target = group.get(name, getlink=True).path
        try:
            item = group[name]
            if isinstance(item, h5py.Group):
                self.visit(item, address_of(item), path, parent, path.count("/"))
        except HDF5_ERRORS as error:
            reason = f"links to {target!r}, which cannot be opened: {one_line(error)}"
            self.contents.note("broken-link", path, reason)

    def visit(
        self, item: h5py.HLObject, address: int, path: str, parent: NwbObject | None, depth: int
    ) -> None:
        if not isinstance(item, h5py.Group) or address in self.seen:
            return
        self.seen.add(address)
        if depth > MAX_DEPTH:
            reason = f"lies more than {MAX_DEPTH} groups deep and was not entered"
            self.contents.note("too-deep", path, reason)
            return
        try:
            identified = self.identify(item, path, parent)
            names = (
                self.contents.names(item) if identified is None or _is_folder(identified) else []
            )
        except HDF5_ERRORS as error:
            self.contents.note("corrupted-object", path, one_line(error))
            return
        if path == EARLIER_RESULTS:
            reason = f"results of earlier fits ({', '.join(names)}); not part of the recording"
            self.contents.note("earlier-results", path, reason)
            return
        if identified is not None:
            self.contents.objects.append(identified)
        for child in names:
            self.visit_link(item, child, f"{path}/{child}", identified or parent, depth + 1)

    def identify(self, group: h5py.Group, path: str, parent: NwbObject | None) -> NwbObject | None:
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
        return NwbObject(path, neurodata_type, core_type or "Container", group, parent)

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


def _is_folder(item: NwbObject) -> bool:
    """True if other typed groups may lie inside: series and tables hold only their own arrays."""
    return not (item.is_a("TimeSeries") or item.is_a("DynamicTable") or item.is_a("Images"))
