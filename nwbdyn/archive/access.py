"""Access to a recording: open, embargoed, or unknown.

A dandiset is asked for its embargo, an asset without one for its own access status. A file on the
web counts as open where its bytes come without a key, a signature or any query, from a host that
everybody reaches; a Zarr store where the document at its root does.
"""

import ipaddress
import json
import os
import re
import socket
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit, urlunsplit

from nwbdyn.archive import origin
from nwbdyn.archive.addresses import is_remote, is_url
from nwbdyn.archive.connection import DEFAULT_INSTANCE, connect
from nwbdyn.archive.drafts import draft
from nwbdyn.errors import AddressError
from nwbdyn.recording import Source

if TYPE_CHECKING:
    from requests import PreparedRequest, Response

Access = Literal["open", "embargoed", "unknown", "local"]

_ASSET_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_STATUS: dict[str, Access] = {
    "dandi:OpenAccess": "open",
    "dandi:EmbargoedAccess": "embargoed",
    "dandi:RestrictedAccess": "embargoed",
}
_FIRST_BYTE = re.compile(r"bytes 0-0/(\d+|\*)")  # Content-Range
_HDF5 = b"\x89HDF\r\n\x1a\n"  # first bytes of a file
_ROOTS = (".zgroup", "zarr.json")  # documents at the root of a Zarr store, of versions 2 and 3
_LONGEST_ROOT = 2**26  # bytes; a document of version 3 may hold those of the whole store
_PATIENCE = 10  # seconds


def access(source: Source) -> Access:
    """Access to a recording now; "local" for a file on this disk without a named archive.

    A dandiset or an asset without an archive is one of the main archive. If DANDI_INSTANCE names
    another one, it is unknown which of the two is meant.

    Raises:
        AddressError: the archive has no such dandiset or asset.
        ArchiveError: it cannot be reached, or asks for a key that is not there.
    """
    if source.dandiset_id is not None or source.asset_id is not None:
        named = os.environ.get("DANDI_INSTANCE") or DEFAULT_INSTANCE
        if not source.instance and origin.archive_name(named) != DEFAULT_INSTANCE:
            return "unknown"
    if source.dandiset_id is not None:
        embargoed = draft(source.dandiset_id, instance=source.instance).embargoed
        return "embargoed" if embargoed else "open"
    if source.asset_id is not None:
        return _of_asset(source.asset_id, source.instance)
    if is_url(source.url):
        return "open" if _is_readable_by_all(source) else "unknown"
    is_elsewhere = is_remote(source.url) or (not source.url and is_remote(source.uri))
    return "unknown" if source.instance or is_elsewhere else "local"


def _of_asset(asset_id: str, instance: str | None) -> Access:
    """Access status of an asset as the archive states it; "unknown" if it states none."""
    from dandi.exceptions import NotFoundError

    if not _ASSET_ID.fullmatch(asset_id):
        return "unknown"
    with connect(instance) as connection:
        try:
            asset = connection.ask(lambda: connection.client.get_asset(asset_id))
        except NotFoundError:
            raise AddressError(
                f"The archive '{connection.name}' has no asset '{asset_id}'."
            ) from None
        metadata = connection.ask(asset.get_raw_metadata)
    stated = metadata.get("access") if isinstance(metadata, dict) else None
    fields = {
        _STATUS.get(str(one.get("status")), "unknown") if isinstance(one, dict) else "unknown"
        for one in (stated if isinstance(stated, list) else [])
    }
    if "embargoed" in fields:
        return "embargoed"
    return "open" if fields == {"open"} else "unknown"


def _is_readable_by_all(source: Source) -> bool:
    """True if anybody may read bytes of the recording; a page to log in is no byte of it.

    The URL's query is left out: a parameter of any name may be the key.
    """
    try:
        parts = urlsplit(source.url)
        bare = urlunsplit(
            parts._replace(query="", fragment="", netloc=parts.netloc.rpartition("@")[2])
        )
        if not _is_public(bare):
            return False
        if source.is_zarr:
            return any(_is_root(f"{bare.rstrip('/')}/{name}") for name in _ROOTS)
        with _answer_of(bare, Range="bytes=0-0") as answer:
            return _is_public(answer.url) and _is_the_file(answer, source.size)
    except (OSError, ValueError):  # what requests raises is an OSError
        return False


def _answer_of(url: str, **headers: str) -> "Response":
    """The answer to a request without a key, its body not yet read."""
    import requests

    return requests.get(
        url,
        headers={"Accept-Encoding": "identity", **headers},
        timeout=_PATIENCE,
        stream=True,
        auth=_no_key,
    )


def _is_root(url: str) -> bool:
    """True for the document that makes a folder a Zarr store."""
    with _answer_of(url) as answer:
        if answer.status_code != 200 or not _is_public(answer.url):
            return False
        start = next(answer.iter_content(_LONGEST_ROOT), b"")
    if len(start) >= _LONGEST_ROOT:
        return False
    document = json.loads(start)
    return isinstance(document, dict) and "zarr_format" in document


def _is_public(url: str) -> bool:
    """True if the host of a URL is one of the internet, none of this machine or its network."""
    addresses = socket.getaddrinfo(urlsplit(url).hostname, None)
    hosts = [str(address[0]).partition("%")[0] for *_, address in addresses]
    return all(ipaddress.ip_address(host).is_global for host in hosts)


def _is_the_file(answer: "Response", size: int | None) -> bool:
    """True for the requested byte, or for a whole HDF5 file of that size."""
    if "html" in answer.headers.get("Content-Type", "").lower():
        return False
    if answer.status_code == 206:
        match = _FIRST_BYTE.fullmatch(answer.headers.get("Content-Range", ""))
        return match is not None and (size is None or match[1] in ("*", str(size)))
    if answer.status_code != 200 or size is None:
        return False
    if answer.headers.get("Content-Length") != str(size):
        return False
    return next(answer.iter_content(len(_HDF5)), b"") == _HDF5


def _no_key(request: "PreparedRequest") -> "PreparedRequest":
    """Leave a request as it is: without this, a key from the user's netrc would be added."""
    return request
