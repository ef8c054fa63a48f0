"""From an address to a Recording: resolve it, open its bytes, read what the file holds.

Nothing but metadata is read until an array is asked for; closing the Recording closes the file.
"""

from contextlib import ExitStack
from dataclasses import replace

from nwbdyn import archive, streaming
from nwbdyn.errors import AddressError
from nwbdyn.progress import Report, silent
from nwbdyn.recording import Recording, Source

DIGEST_LIMIT = 1 << 30  # bytes; local files up to this size are digested when they are opened
_LISTED = 5


def open(
    address: str,
    *,
    instance: str | None = None,
    quantity: str | None = None,
    report: Report = silent,
) -> Recording:
    """The one recording that `address` names.

    Args:
        address: as `archive.resolve` takes it, naming exactly one NWB file.
        instance: archive to ask, by name or API URL.
        quantity: which ROI traces to take, where a file has several; by default the best.
        report: told how many bytes have arrived.

    Raises:
        AddressError: it names no file, or several.
        ArchiveError, StreamError: the bytes cannot be had.
        ReadError: the file is not NWB, or holds no activity.
    """
    sources = archive.resolve(address, instance=instance)
    if len(sources) > 1:
        listed = ", ".join(source.asset_path or source.uri for source in sources[:_LISTED])
        more = f" and {len(sources) - _LISTED} more" if len(sources) > _LISTED else ""
        raise AddressError(
            f"'{address}' names {len(sources)} files: {listed}{more}. Add a path that names one, "
            "or fit them all with: nwbdyn fit."
        )
    return open_source(sources[0], quantity=quantity, report=report)


def open_source(
    source: Source, *, quantity: str | None = None, report: Report = silent
) -> Recording:
    """The recording in one resolved file; raises what `open` raises, except for the address."""
    from nwbdyn.nwb.read import read

    with ExitStack() as files:
        file = files.enter_context(streaming.open_file(source, report=report))
        recording = read(file, with_digest(source), quantity=quantity)
        files.enter_context(recording.files)  # closed first: it holds what reads from `file`
        return replace(recording, files=files.pop_all())


def with_digest(source: Source) -> Source:
    """A local file's Source with its SHA-256, unless the file is too large to read for that."""
    path = source.path
    if path is None or source.digest is not None or path.stat().st_size > DIGEST_LIMIT:
        return source
    return replace(source, digest=f"sha256:{archive.sha256(path)}")
