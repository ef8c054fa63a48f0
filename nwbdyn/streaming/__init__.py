"""From a Source to a seekable file, local or remote, that h5py can read.

`open_file` is all there is to call. A remote file reads by byte ranges, several at once, and has
`prefetch`, `transferred`, `requests`, `size` and `etag` beside the methods of any file.
"""

from typing import BinaryIO, cast

from nwbdyn import archive
from nwbdyn.errors import AddressError
from nwbdyn.progress import Report, silent
from nwbdyn.recording import Source
from nwbdyn.streaming.disk import DiskBlocks
from nwbdyn.streaming.file import HEAD, RangedFile, check_unchanged
from nwbdyn.streaming.remote import PATIENCE, Patience, Remote

__all__ = ["Patience", "RangedFile", "check_unchanged", "open_file"]


def open_file(
    source: Source, *, report: Report = silent, patience: Patience = PATIENCE
) -> BinaryIO:
    """The bytes of `source` as a seekable, read-only file; use it in a `with` block.

    Args:
        source: from `archive.resolve`.
        report: told how many bytes have arrived.
        patience: limits on waiting for a remote file.

    Raises:
        AddressError: the local file is not there.
        ArchiveError: an embargoed asset without a key that opens it.
        StreamError: the remote file is not there, refused, or does not answer.
    """
    if source.path is not None:
        try:
            return source.path.open("rb")
        except OSError as error:
            raise AddressError(
                f"Cannot read '{source.path}' ({error.strerror}); expected a file you may read."
            ) from None
    remote = _remote(source, patience)
    first = remote.get(0, HEAD) if remote.size is None else (0, b"")
    identity = source.digest
    if identity is None and remote.etag and remote.etag.startswith('"'):
        identity = f"{source.url} {remote.etag} {remote.size}"
    disk = DiskBlocks(identity) if identity else None
    return cast(BinaryIO, RangedFile(remote, first=first, disk=disk, report=report))


def _remote(source: Source, patience: Patience) -> Remote:
    if source.asset_id is None:
        url = archive.signed_url(source)
        return Remote(source.uri, url, renew=lambda: url, patience=patience)
    # Embargoed assets are read through the archive's address, which hands out a signed one.
    embargoed = source.url.rstrip("/").endswith("/download")
    return Remote(
        source.uri,
        archive.content_url(source) if embargoed else source.url,
        renew=lambda: archive.content_url(source),
        size=source.size,
        patience=patience,
    )
