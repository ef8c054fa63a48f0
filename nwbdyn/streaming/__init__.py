"""From a Source to a seekable file, local or remote, that h5py can read.

`open_file` is all there is to call. A remote file reads by byte ranges, several at once, and has
`prefetch`, `transferred`, `requests`, `size` and `etag` beside the methods of any file.
"""

from collections.abc import Callable
from typing import BinaryIO, cast

from nwbdyn.errors import AddressError
from nwbdyn.progress import Report, silent
from nwbdyn.recording import Source
from nwbdyn.streaming.disk import DiskBlocks
from nwbdyn.streaming.file import HEAD, RangedFile, check_unchanged
from nwbdyn.streaming.remote import PATIENCE, Patience, Remote

__all__ = ["Patience", "RangedFile", "check_unchanged", "open_file"]


def open_file(
    source: Source,
    *,
    renew: Callable[[], str] | None = None,
    report: Report = silent,
    patience: Patience = PATIENCE,
) -> BinaryIO:
    """The bytes of `source` as a seekable, read-only file; use it in a `with` block.

    Args:
        source: from `archive.resolve`.
        renew: returns a URL that can be read now, as `archive.renewal_of` makes it; called at the
            start and after a signed URL expired. Default: `source.url`.
        report: called with the number of bytes that have arrived.
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
    remote = _remote(source, renew or (lambda: source.url), patience)
    first = remote.get(0, HEAD) if remote.size is None else (0, b"")
    identity = source.digest
    if identity is None and remote.etag and remote.etag.startswith('"'):
        identity = f"{source.url} {remote.etag} {remote.size}"
    disk = DiskBlocks(identity) if identity else None
    return cast(BinaryIO, RangedFile(remote, first=first, disk=disk, report=report))


def _remote(source: Source, renew: Callable[[], str], patience: Patience) -> Remote:
    # The URL of an archive's public asset never expires. That of an embargoed asset ends in
    # /download and redirects to a signed URL, which is requested at once.
    is_public_asset = source.asset_id is not None and not source.url.rstrip("/").endswith(
        "/download"
    )
    return Remote(
        source.uri,
        source.url if is_public_asset else renew(),
        renew=renew,
        size=source.size if source.asset_id is not None else None,
        patience=patience,
    )
