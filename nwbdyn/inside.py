"""Check that values of an HDF5 file lie in that file, not elsewhere on this machine.

A link, a virtual dataset or external storage can name any file that the reader may open, so a file
from elsewhere could make private bytes of this machine look like its own values.
"""

from collections.abc import Iterable

import h5py

from nwbdyn.errors import ResultsError

DEEPEST = 32  # groups within groups


def lies_elsewhere(dataset: h5py.Dataset) -> bool:
    """True if the values of a dataset are stored in another file.

    So are those of a virtual dataset whose sources are not plain datasets of this file: a source
    can itself be stored elsewhere, or lead there by a link, and HDF5 crashes if such a link is
    refused or if sources lead in a circle.
    """
    if dataset.external:
        return True
    return dataset.is_virtual and not all(
        part.file_name == "." and _is_plain(dataset.file, part.dset_name)
        for part in dataset.virtual_sources()
    )


def _is_plain(file: h5py.File, path: str) -> bool:
    """True if hard links lead to a dataset whose values are stored in this file."""
    item: h5py.HLObject = file
    for name in path.split("/"):
        if not name:
            continue
        if not isinstance(item, h5py.Group) or not isinstance(
            item.get(name, getlink=True), h5py.HardLink
        ):
            return False
        item = item[name]
    return isinstance(item, h5py.Dataset) and not item.external and not item.is_virtual


def check(file: h5py.File, paths: Iterable[str] = ("/",)) -> None:
    """Make sure that everything below these paths is in the file itself.

    Raises:
        ResultsError: a link leads to another file, or values are stored in one; or groups are
            nested without end.
    """
    for path in paths:
        names = [name for name in path.split("/") if name]
        group: h5py.Group = file
        for depth, name in enumerate(names):
            _check_link(file, group, name)
            item = group.get(name)
            if item is None:
                break
            if depth + 1 < len(names) and isinstance(item, h5py.Group):
                group = item
                continue
            _check_below(file, item, 0)
        if not names:
            _check_below(file, file, 0)


def _check_below(file: h5py.File, item: object, depth: int) -> None:
    if isinstance(item, h5py.Dataset) and lies_elsewhere(item):
        raise ResultsError(_refusal(file, str(item.name), "is stored in another file"))
    if not isinstance(item, h5py.Group):
        return
    if depth > DEEPEST:
        raise ResultsError(_refusal(file, str(item.name), f"is over {DEEPEST} groups deep"))
    for name in item:
        _check_link(file, item, name)
        if isinstance(item.get(name, getlink=True), h5py.HardLink):
            _check_below(file, item[name], depth + 1)


def _check_link(file: h5py.File, group: h5py.Group, name: str) -> None:
    link = group.get(name, getlink=True) if name in group.keys() else None  # noqa: SIM118
    if isinstance(link, h5py.ExternalLink):
        raise ResultsError(_refusal(file, f"{group.name}/{name}", "links to another file"))
    if isinstance(link, h5py.SoftLink):
        item = group.get(name)
        if item is not None and item.file.id != file.id:
            raise ResultsError(_refusal(file, f"{group.name}/{name}", "leads to another file"))
        if isinstance(item, h5py.Dataset) and lies_elsewhere(item):
            raise ResultsError(_refusal(file, f"{group.name}/{name}", "is stored in another file"))


def _refusal(file: h5py.File, path: str, what: str) -> str:
    return (
        f"{file.filename} is not read: {path} {what}, and results hold all of their values. Get "
        "the results from whoever made them."
    )
