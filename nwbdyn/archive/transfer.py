"""Whole files from an archive or the web: resumed, verified, never half-written under their name.

Downloads grow in a `.part` file beside the target whose name carries the identity of the bytes, so
that a second run goes on where the first one stopped and never mixes two versions.
"""

import errno
import hashlib
import os
import shutil
import time
from contextlib import suppress
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from nwbdyn.archive import origin
from nwbdyn.archive.addresses import file_name
from nwbdyn.archive.connection import Connection, connect
from nwbdyn.archive.local import sha256, signed_url
from nwbdyn.archive.stores import download_store
from nwbdyn.errors import AddressError, ArchiveError, ResultsError
from nwbdyn.progress import Progress, Report, silent
from nwbdyn.recording import Source

_OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS)
_BLOCK = 1 << 20  # bytes written at a time
_ATTEMPTS = 5  # failures in a row, without a byte between them, before giving up


def download(source: Source, folder: Path, *, report: Report = silent) -> Path:
    """Put the whole file under `folder` and return its path.

    An archive's asset lands in `<folder>/<dandiset>/<asset path>`, as `dandi download` would put
    it, any other file in `<folder>/<file name>`. A file already there is kept when it is the same.
    A record keeps where it comes from, and so that it is embargoed (`archive.origin`). It is there
    before the bytes are.

    Raises:
        ResultsError: another file of that name is there.
        ArchiveError: the archive refuses, the bytes stop coming or do not match their digest; what
            arrived stays in the `.part` file, unless it was wrong, and the next call resumes.
        StreamError: the same for a file at an https URL.
    """
    folder = Path(folder)
    target = target_of(source, folder)
    is_itself = source.path is not None and target.exists() and target.samefile(source.path)
    if not target.exists():
        origin.record(source, target, folder)
    path = _download(source, target, report)
    if not is_itself:
        origin.record(source, target, folder)
    return path


def _download(source: Source, target: Path, report: Report) -> Path:
    if source.is_zarr:
        download_store(source, target, report=report)
        return target
    if target.exists():
        if source.path is not None and target.samefile(source.path):
            return target
        if _same(target, source):
            report(Progress("downloading", target.stat().st_size, source.size, "bytes"))
            return target
        raise ResultsError(
            f"'{target}' is there and differs from {source.uri}: move it away, or choose another "
            "folder."
        )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(target, error) from error
    if source.path is not None:
        _copy(source.path, target, report)
        return target
    try:
        if source.asset_id is not None:
            with connect(source.instance) as connection:
                _from_archive(connection, source, target, report)
        else:
            _from_web(source, target, report)
    except OSError as error:
        if error.errno is None or error.errno not in _OF_THE_DISK:
            raise
        raise _unwritable(target, error) from error
    return target


def target_of(source: Source, folder: Path) -> Path:
    """Target path under `folder`: `<dandiset>/<asset path>`, else the file's own name.

    Raises:
        AddressError: its path leads out of the folder.
    """
    name = source.asset_path or file_name(source.url)
    if source.path is not None and source.dandiset_id is None:
        name = source.path.name
    inside = PurePosixPath(source.dandiset_id or "") / name
    if inside.is_absolute() or ".." in inside.parts or not name or "\\" in name or ":" in name:
        raise AddressError(f"{source.uri} has the path '{name}', which leads out of the folder.")
    return folder / inside


def etag(path: Path) -> str:
    """The archive's digest of a file, dandi-etag."""
    from dandischema.digests.dandietag import DandiETag

    return str(DandiETag.from_file(path).as_str())


def _same(path: Path, source: Source) -> bool:
    """True if the file at `path` holds the bytes of `source`."""
    if source.size is not None and path.stat().st_size != source.size:
        return False
    if source.digest is not None:
        return _digest(path, source.digest) == source.digest
    if source.path is not None:
        return sha256(path) == sha256(source.path)
    return False


def _digest(path: Path, like: str) -> str:
    """The digest of a file by the algorithm of `like`, with the algorithm's name in front."""
    algorithm = like.partition(":")[0]
    if algorithm == "dandi-etag":
        return f"{algorithm}:{etag(path)}"
    if algorithm == "sha256":
        return f"{algorithm}:{sha256(path)}"
    raise ArchiveError(f"Digest '{like}' cannot be checked; expected dandi-etag: or sha256:.")


def _copy(source: Path, target: Path, report: Report) -> None:
    size = source.stat().st_size
    part = target.with_name(f"{target.name}.part")
    done = 0
    try:
        with source.open("rb") as reading, part.open("wb") as writing:
            while block := reading.read(_BLOCK):
                writing.write(block)
                done += len(block)
                report(Progress("downloading", done, size, "bytes"))
        os.replace(part, target)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise _unwritable(target, error) from error


def _from_archive(connection: Connection, source: Source, target: Path, report: Report) -> None:
    """Through the dandi client: its requests, its key, its digest."""
    import requests
    from dandi.exceptions import NotFoundError

    try:
        asset = connection.ask(lambda: connection.client.get_asset(source.asset_id or ""))
    except NotFoundError:
        raise AddressError(
            f"{source.uri} is no longer in the archive '{connection.name}': resolve it again."
        ) from None
    chunks = asset.get_download_file_iter(_BLOCK)
    digest = source.digest or f"dandi-etag:{connection.ask(asset.get_raw_digest)}"
    part = _part(target, digest)
    _check_space(part, asset.size)

    def attempt(writing: Any) -> None:
        try:
            for block in chunks(writing.tell()):
                writing.write(block)
                report(Progress("downloading", writing.tell(), asset.size, "bytes"))
        except requests.HTTPError as error:
            if error.response is not None and error.response.status_code in (401, 403):
                connection.authenticate()
            raise

    failures = 0
    with part.open("ab") as writing:
        while (done := writing.tell()) < asset.size:
            with suppress(requests.RequestException):
                attempt(writing)
            failures = 0 if writing.tell() > done else failures + 1
            if failures == _ATTEMPTS:
                raise ArchiveError(
                    f"{source.uri} stopped after {writing.tell():,} of {asset.size:,} bytes: "
                    "check the network and run the same command again; it resumes."
                )
            time.sleep(min(0.25 * 2**failures, 8) if failures else 0)
        writing.flush()
        os.fsync(writing.fileno())
    _accept(part, target, digest, source)


def _from_web(source: Source, target: Path, report: Report) -> None:
    from nwbdyn.streaming import open_file  # brings requests

    with open_file(source, renew=partial(signed_url, source)) as reading:
        size, etag = reading.size, reading.etag  # type: ignore[attr-defined]
        part = _part(target, etag) if etag else target.with_name(f"{target.name}.part")
        if not etag:
            part.unlink(missing_ok=True)  # nothing tells whether the old part is of the same file
        _check_space(part, size)
        with part.open("ab") as writing:
            reading.seek(writing.tell())
            while block := reading.read(_BLOCK):
                writing.write(block)
                report(Progress("downloading", writing.tell(), size, "bytes"))
            writing.flush()
            os.fsync(writing.fileno())
    if part.stat().st_size != size:
        part.unlink()
        raise ArchiveError(f"{source.uri} came with the wrong size: run the same command again.")
    os.replace(part, target)


def _unwritable(target: Path, error: OSError) -> ResultsError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        why = "the disk is full. Free some room there"
    else:
        why = f"{error.strerror}. Make the folder one that can be written to"
    return ResultsError(f"Cannot write {target}: {why}, or pass -o with another folder.")


def _part(target: Path, identity: str) -> Path:
    short = hashlib.sha256(identity.encode()).hexdigest()[:12]
    return target.with_name(f"{target.name}.{short}.part")


def _check_space(part: Path, size: int) -> None:
    there = part.stat().st_size if part.exists() else 0
    free = shutil.disk_usage(part.parent).free
    if free < size - there:
        raise ResultsError(
            f"'{part.parent}' has {free:,} bytes free and {size - there:,} are needed: make room "
            "or choose another folder."
        )


def _accept(part: Path, target: Path, digest: str, source: Source) -> None:
    received = _digest(part, digest)
    if received != digest:
        part.unlink()
        raise ArchiveError(
            f"{source.uri} arrived with digest {received}, expected {digest}: it was discarded, "
            "run the same command again."
        )
    os.replace(part, target)
