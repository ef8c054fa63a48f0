"""From an address to Sources: the files that it names, their location, and their exact version.

`resolve` reads every form of address; `download` and `upload` move whole files; `draft` is where
the latter go. The dandi client, the simulator and HTTP are imported only by what needs them.
"""

import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import PurePosixPath

from nwbdyn.archive import addresses, assets, local
from nwbdyn.archive.access import Access, access
from nwbdyn.archive.addresses import is_address, is_remote
from nwbdyn.archive.assets import content_url
from nwbdyn.archive.draft_assets import DraftAsset, draft_assets
from nwbdyn.archive.drafts import Draft, default_asset_path, draft, relate, upload
from nwbdyn.archive.local import sha256, signed_url
from nwbdyn.archive.transfer import download, etag, target_of
from nwbdyn.archive.validation import wait as wait_for_validation
from nwbdyn.errors import AddressError
from nwbdyn.recording import Source

__all__ = [
    "Access",
    "Draft",
    "DraftAsset",
    "access",
    "content_url",
    "default_asset_path",
    "download",
    "draft",
    "draft_assets",
    "etag",
    "is_address",
    "is_remote",
    "relate",
    "renewal_of",
    "resolve",
    "sessions",
    "sha256",
    "signed_url",
    "target_of",
    "upload",
    "wait_for_validation",
]

_HALF = re.compile(r"(?P<before>.*?)_desc-(?P<half>train|test)(?=[_.])")


def resolve(address: str, *, instance: str | None = None) -> list[Source]:
    """The NWB files that an address names, each pinned so that it finds the same bytes again.

    Args:
        address: `dandi:ID`, `dandi:ID@VERSION`, either with `/path`, `/folder` or `/glob` behind it
            (without a version: the newest published one, else draft), a link to an archive's page
            or API, the https URL of a file, a local file or folder, or `sample:NAME`.
        instance: archive to ask, by name or by the URL of its API; it wins over the name in a
            `dandi:` address, while a link keeps its own host. By default DANDI_INSTANCE, else
            "dandi".

    Returns:
        One Source per NWB file, sorted by path, never empty.

    Raises:
        AddressError: it names nothing; the message lists what is closest.
        ArchiveError: the archive cannot be reached or refuses.
    """
    text = address.strip()
    if not text:
        raise AddressError(f"The address is empty; expected {addresses.FORMS}.")
    if addresses.is_sample(text):
        return [local.of_sample(text)]
    if (dandi := addresses.parse_dandi(text)) is not None:
        return assets.of_address(dandi, instance)
    if addresses.is_url(text):
        return assets.of_link(text) if addresses.is_archive_link(text) else [local.of_url(text)]
    return local.of_path(text)


def renewal_of(source: Source) -> Callable[[], str]:
    """Function that returns a URL from which the bytes of `source` can be read now.

    The function raises ArchiveError for an embargoed asset without a key that opens it.
    """
    return partial(signed_url if source.asset_id is None else content_url, source)


def sessions(sources: Sequence[Source]) -> list[tuple[Source, ...]]:
    """Sources that belong to one session together, in the order of their first files.

    The Neural Latents Benchmark splits a session into `…_desc-train_…` and `…_desc-test_…`; such a
    pair comes as (train, test). Every other file is a session of its own.
    """
    groups: dict[tuple[str | None, ...], list[tuple[str, Source]]] = {}
    for number, source in enumerate(sources):
        path = PurePosixPath(source.asset_path or source.url)
        half = _HALF.match(path.name)
        folder = source.url.rpartition("/")[0] if source.path else str(path.parent)
        key = (
            (source.dandiset_id, source.version, folder, half["before"])
            if half
            else (f"file {number}",)
        )
        groups.setdefault(key, []).append((half["half"] if half else "", source))
    listed: list[tuple[Source, ...]] = []
    for members in groups.values():
        halves = sorted(members, key=lambda member: member[0] != "train")
        if [half for half, _ in halves] == ["train", "test"]:
            listed.append(tuple(source for _, source in halves))
        else:
            listed.extend((source,) for _, source in members)
    return listed
