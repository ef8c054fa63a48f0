"""Whole Zarr stores: a folder copied, or an archive's asset fetched object by object and verified.

Objects arrive in a `.part` folder beside the target whose name carries the identity of the store; a
second run keeps what is there already and right, so it goes on where the first one stopped.
"""

import hashlib
import os
import shutil
import time
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from nwbdyn.archive.connection import connect
from nwbdyn.errors import AddressError, ArchiveError, ReadError, ResultsError
from nwbdyn.progress import Progress, Report
from nwbdyn.recording import Source

if TYPE_CHECKING:
    from dandi.dandiapi import RemoteZarrEntry

_ATTEMPTS = 5  # per object
_PAUSE = 0.25  # seconds before the second attempt; doubles with each failure
_BLOCK = 1 << 20  # bytes taken at a time
_CHECKSUM = "dandi-zarr-checksum:"


def download_store(source: Source, target: Path, *, report: Report) -> None:
    """Put a store at `target`, or keep what is there if it is the same.

    Raises:
        ResultsError: another store is there, or it cannot be written.
        ArchiveError: the archive refuses, or objects do not arrive or are not what they should be.
        AddressError: an object's key leads out of the store.
        ReadError: a store at an https address, where nothing says which objects there are.
    """
    if source.path is None and source.asset_id is None:
        raise ReadError(
            f"{source.uri} is a Zarr store at an address that cannot list its objects, so it is "
            "not fetched: fit it where it is."
        )
    if target.exists():
        if source.digest is not None and checksum(target) == source.digest:
            return
        raise ResultsError(
            f"'{target}' is there and differs from {source.uri}: move it away, or choose another "
            "folder."
        )
    name = hashlib.sha256((source.digest or source.uri).encode()).hexdigest()[:12]
    part = target.with_name(f"{target.name}.{name}.part")
    try:
        part.mkdir(parents=True, exist_ok=True)
        if source.path is not None:
            shutil.copytree(source.path, part, dirs_exist_ok=True)
        else:
            _from_archive(source, part, report)
        os.replace(part, target)
    except OSError as error:
        raise ResultsError(f"Cannot write '{target}': {error}.") from error


def checksum(folder: Path) -> str:
    """The archive's digest of a store in a folder, with the algorithm's name in front."""
    from dandi.support.digests import get_zarr_checksum

    return f"{_CHECKSUM}{get_zarr_checksum(folder)}"


def _from_archive(source: Source, part: Path, report: Report) -> None:
    """Through the dandi client: its listing, its key, its digests."""
    from dandi.dandiapi import BaseRemoteZarrAsset

    with connect(source.instance) as connection:
        asset = connection.ask(lambda: connection.client.get_asset(source.asset_id or ""))
        assert isinstance(asset, BaseRemoteZarrAsset)
        entries = connection.ask(lambda: list(asset.iterfiles()))
        done, size = 0, sum(entry.size for entry in entries)
        for entry in entries:
            target = _inside(part, entry, source)
            if not _is_whole(target, entry):
                connection.ask(lambda e=entry, p=target: _fetch(e, p, source))  # type: ignore[misc]
            done += entry.size
            report(Progress("downloading", done, size, "bytes"))
    wanted = {_inside(part, entry, source) for entry in entries}
    for path in part.rglob("*"):
        if path.is_file() and path not in wanted:
            path.unlink()
    if source.digest is not None and (digest := checksum(part)) != source.digest:
        raise ArchiveError(
            f"{source.uri} arrived with digest {digest}, expected {source.digest}: resolve it "
            "again and run the same command."
        )


def _inside(part: Path, entry: "RemoteZarrEntry", source: Source) -> Path:
    key = PurePosixPath(str(entry))
    if key.is_absolute() or ".." in key.parts or "\\" in str(entry) or ":" in str(entry):
        raise AddressError(f"{source.uri} has an object '{entry}', which leads out of the store.")
    return part / key


def _is_whole(path: Path, entry: "RemoteZarrEntry") -> bool:
    return (
        path.is_file()
        and path.stat().st_size == entry.size
        and hashlib.md5(path.read_bytes()).hexdigest() == entry.digest.value
    )


def _fetch(entry: "RemoteZarrEntry", path: Path, source: Source) -> None:
    import requests

    path.parent.mkdir(parents=True, exist_ok=True)
    for attempt in range(_ATTEMPTS):
        time.sleep(_PAUSE * 2 ** (attempt - 1) if attempt else 0)
        with suppress(requests.RequestException):
            with path.open("wb") as file:
                for block in entry.get_download_file_iter(_BLOCK)():
                    file.write(block)
            if _is_whole(path, entry):
                return
    path.unlink(missing_ok=True)
    raise ArchiveError(
        f"{source.uri}: {entry} did not arrive as the archive describes it. Check the network and "
        "run the same command again; it resumes."
    )
