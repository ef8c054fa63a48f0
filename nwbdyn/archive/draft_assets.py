"""Assets of a draft: their paths, digests, and the activities that made them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from nwbdyn.archive.addresses import DandiAddress
from nwbdyn.archive.assets import dandiset_at, rows_of
from nwbdyn.archive.connection import connect


@dataclass(frozen=True)
class DraftAsset:
    """A file or store in a draft, as its metadata describe it."""

    path: str
    digest: str  # dandi-etag; empty where the archive states none
    activities: Mapping[str, str] = field(default_factory=dict)  # name -> description


def draft_assets(dandiset_id: str, *, instance: str | None = None) -> dict[str, DraftAsset]:
    """Path -> asset, for everything in the draft of a dandiset; one request per 1,000 assets.

    Args:
        dandiset_id: six digits, from `draft`.
        instance: archive, by name or API URL.

    Raises:
        AddressError: no such dandiset.
        ArchiveError: the archive cannot be reached, or asks for a key that is not there.
    """
    with connect(instance) as connection:
        remote = dandiset_at(connection, DandiAddress(dandiset_id, "draft"))
        assets = [_asset(row) for row in rows_of(connection, remote.version_api_path)]
    return {asset.path: asset for asset in assets}


def _asset(row: Mapping) -> DraftAsset:
    metadata = row.get("metadata") or {}
    generated = metadata.get("wasGeneratedBy")
    stated = generated if isinstance(generated, list) else []  # anything, of an invalid asset
    activities = {
        str(one["name"]): str(one.get("description") or "")
        for one in stated
        if isinstance(one, dict) and one.get("name")
    }
    digest = (metadata.get("digest") or {}).get("dandi:dandi-etag") or ""
    return DraftAsset(str(row["path"]), str(digest), activities)
