"""Access to a recording: open, embargoed, or unknown.

A dandiset is asked for its embargo, an asset without one for its own access status. A file on the
web counts as open where it can be read without a key or a signature.
"""

import re
from typing import TYPE_CHECKING, Literal

from nwbdyn.archive.connection import connect
from nwbdyn.archive.drafts import draft
from nwbdyn.errors import AddressError
from nwbdyn.recording import Source

if TYPE_CHECKING:
    from requests import PreparedRequest

Access = Literal["open", "embargoed", "unknown", "local"]

_ASSET_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_STATUS: dict[str, Access] = {
    "dandi:OpenAccess": "open",
    "dandi:EmbargoedAccess": "embargoed",
    "dandi:RestrictedAccess": "embargoed",
}
_PATIENCE = 10  # seconds


def access(source: Source) -> Access:
    """Access to a recording now; "local" for a file on this disk without a named archive.

    Raises:
        AddressError: the archive has no such dandiset or asset.
        ArchiveError: it cannot be reached, or asks for a key that is not there.
    """
    if source.dandiset_id is not None:
        embargoed = draft(source.dandiset_id, instance=source.instance).embargoed
        return "embargoed" if embargoed else "open"
    if source.asset_id is not None:
        return _of_asset(source.asset_id, source.instance)
    if source.url.lower().startswith(("http://", "https://")):
        return "open" if _is_readable_by_all(source.url) else "unknown"
    return "local" if not source.instance else "unknown"


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
    stated = metadata.get("access")
    found = {
        _STATUS.get(str(one.get("status")), "unknown") if isinstance(one, dict) else "unknown"
        for one in (stated if isinstance(stated, list) else [])
    }
    if "embargoed" in found:
        return "embargoed"
    return "open" if found == {"open"} else "unknown"


def _is_readable_by_all(url: str) -> bool:
    import requests

    try:
        with requests.get(
            url, headers={"Range": "bytes=0-0"}, timeout=_PATIENCE, stream=True, auth=_no_key
        ) as answer:
            return answer.status_code in (200, 206)
    except requests.RequestException:
        return False


def _no_key(request: "PreparedRequest") -> "PreparedRequest":
    """Leave a request as it is: without this, a key from the user's netrc would be added."""
    return request
