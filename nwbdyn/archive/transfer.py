"""Whole files, down and up: resumed, verified, and never half-written under their final name.

Downloads grow in a `.part` file beside the target whose name carries the identity of the bytes, so
that a second run goes on where the first one stopped and never mixes two versions.
"""

import hashlib
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any

from nwbdyn.archive.addresses import DandiAddress, file_name, parse_dandi
from nwbdyn.archive.assets import dandiset_at, source_of_row
from nwbdyn.archive.connection import Connection, connect
from nwbdyn.archive.local import sha256
from nwbdyn.errors import AddressError, ArchiveError, ResultsError
from nwbdyn.progress import Progress, Report, silent
from nwbdyn.recording import Source

_BLOCK = 1 << 20  # bytes written at a time
_ATTEMPTS = 5  # failures in a row, without a byte between them, before giving up


def download(source: Source, folder: Path, *, report: Report = silent) -> Path:
    """Put the whole file under `folder` and return its path.

    An archive's asset lands in `<folder>/<dandiset>/<asset path>`, as `dandi download` would put
    it, any other file in `<folder>/<file name>`. A file already there is kept when it is the same.

    Raises:
        ResultsError: another file of that name is there.
        ArchiveError: the archive refuses, the bytes stop coming or do not match their digest; what
            arrived stays in the `.part` file, unless it was wrong, and the next call resumes.
        StreamError: the same for a file at an https URL.
    """
    target = target_of(source, Path(folder))
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
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.path is not None:
        _copy(source.path, target, report)
    elif source.asset_id is not None:
        with connect(source.instance) as connection:
            _from_archive(connection, source, target, report)
    else:
        _from_web(source, target, report)
    return target


def target_of(source: Source, folder: Path) -> Path:
    """Where a file lands under `folder`: `<dandiset>/<asset path>`, else its own name.

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


def _same(path: Path, source: Source) -> bool:
    """Whether the file at `path` holds the bytes of `source`."""
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
        from dandischema.digests.dandietag import DandiETag

        return f"{algorithm}:{DandiETag.from_file(path).as_str()}"
    if algorithm == "sha256":
        return f"{algorithm}:{sha256(path)}"
    raise ArchiveError(f"Digest '{like}' cannot be checked; expected dandi-etag: or sha256:.")


def _copy(source: Path, target: Path, report: Report) -> None:
    size = source.stat().st_size
    part = target.with_name(f"{target.name}.part")
    with source.open("rb") as reading, part.open("wb") as writing:
        while block := reading.read(_BLOCK):
            writing.write(block)
            report(Progress("downloading", writing.tell(), size, "bytes"))
    os.replace(part, target)


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
    from nwbdyn.streaming import open_file

    with open_file(source) as reading:
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
    found = _digest(part, digest)
    if found != digest:
        part.unlink()
        raise ArchiveError(
            f"{source.uri} arrived with digest {found}, expected {digest}: it was discarded, run "
            "the same command again."
        )
    os.replace(part, target)


def upload(
    path: Path,
    dandiset: str,
    *,
    instance: str | None = None,
    asset_path: str | None = None,
    generated_by: Sequence[Mapping[str, Any]] = (),
    overwrite: bool = False,
    report: Report = silent,
) -> Source:
    """Send an NWB file to the draft of a dandiset and return it as the archive now has it.

    Validation is the caller's. The same bytes at the same path are not sent again.

    Args:
        path: file to send.
        dandiset: `dandi:ID` or the six digits; the target is always the draft.
        instance: archive, by name or API URL; by default DANDI_INSTANCE, else "dandi".
        asset_path: path in the dandiset; by default `sub-X/<file name>`, from the file's name.
        generated_by: activities in the archive's schema, added to the asset's `wasGeneratedBy`.
        overwrite: replace an asset of that path with other bytes.

    Raises:
        AddressError: no such dandiset, or no asset path follows from the file's name.
        ArchiveError: no key, refused, rejected or interrupted; running it again is safe.
        ResultsError: other bytes are at that path and `overwrite` is not set.
    """
    with connect(instance) as connection:
        address = parse_dandi(dandiset if ":" in dandiset else f"dandi:{dandiset}")
        if address is None or address.path or address.version not in (None, "draft"):
            raise AddressError(f"'{dandiset}' is no upload target; expected dandi:ID.")
        connection.authenticate()
        return _send(
            connection,
            Path(path),
            address.dandiset_id,
            asset_path or default_asset_path(Path(path)),
            generated_by,
            overwrite,
            report,
        )


def default_asset_path(path: Path) -> str:
    """`sub-X/<file name>`, the archive's place for a file named by its rule.

    Raises:
        AddressError: the name does not start with a subject.
    """
    subject = path.name.partition("_")[0].removesuffix(".nwb")
    if not subject.startswith("sub-") or subject == "sub-":
        raise AddressError(
            f"'{path.name}' names no subject; expected sub-X_….nwb, or give the path in the "
            "dandiset."
        )
    return f"{subject}/{path.name}"


def _send(
    connection: Connection,
    path: Path,
    dandiset_id: str,
    asset_path: str,
    generated_by: Sequence[Mapping[str, Any]],
    overwrite: bool,
    report: Report,
) -> Source:
    from dandi.exceptions import NotFoundError
    from dandi.files import NWBAsset

    draft = dandiset_at(connection, DandiAddress(dandiset_id, "draft"))
    local = NWBAsset(filepath=path, path=asset_path, dandiset_path=None)
    digest = local.get_digest()
    try:
        there = connection.ask(lambda: draft.get_asset_by_path(asset_path))
    except NotFoundError:
        there = None
    if there is not None:
        metadata = connection.ask(there.get_raw_metadata)
        if metadata["digest"].get("dandi:dandi-etag") == digest.value:
            row = there.json_dict() | {"metadata": metadata}
            return source_of_row(connection, dandiset_id, "draft", row)
        if not overwrite:
            raise ResultsError(
                f"dandi:{dandiset_id}@draft/{asset_path} is there with other content: choose "
                "another name, or overwrite it."
            )
    metadata = local.get_metadata(digest=digest, ignore_errors=False).model_dump(
        mode="json", exclude_none=True
    )
    metadata["wasGeneratedBy"] = [*metadata.get("wasGeneratedBy", ()), *map(dict, generated_by)]
    size = path.stat().st_size

    def send() -> Any:
        for status in local.iter_upload(draft, metadata, replacing=there):
            if status["status"] == "uploading":
                report(Progress("uploading", float(status["current"]), size, "bytes"))
        return status["asset"]

    try:
        asset = connection.ask(send)
    except RuntimeError as error:
        raise ArchiveError(f"The upload of '{path}' failed: {error}; run it again.") from None
    row = asset.json_dict() | {"metadata": connection.ask(asset.get_raw_metadata)}
    return source_of_row(connection, dandiset_id, "draft", row)
