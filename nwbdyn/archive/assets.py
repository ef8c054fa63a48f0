"""Assets of an archive as Sources: list, pick by path or glob, pin the version.

One request of the listing brings path, size, digest and storage address together. A public asset's
Source points at the storage itself, an embargoed one's at the archive's download address, which
`content_url` turns into a presigned URL at the moment of reading.
"""

import difflib
import fnmatch
import re
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from nwbdyn.archive.addresses import DandiAddress, page_link
from nwbdyn.archive.connection import DEFAULT_INSTANCE, Connection, connect
from nwbdyn.errors import AddressError, ArchiveError
from nwbdyn.recording import Source

if TYPE_CHECKING:
    from dandi.dandiapi import RemoteDandiset
    from dandi.dandiarchive import ParsedDandiURL

_PAGE = {"page_size": 1000}
_MOST_CANDIDATES = 5000  # paths looked at to propose the closest ones


def of_address(address: DandiAddress, instance: str | None) -> list[Source]:
    """The NWB files that `address` names, sorted by path.

    Raises:
        AddressError: no such dandiset, version or path, or no NWB file among them.
        ArchiveError: unreachable or refused.
    """
    with connect(instance or address.instance) as connection:
        return _sources(connection, address)


def of_link(url: str) -> list[Source]:
    """The NWB files that a page or API address of an archive names."""
    from dandi import dandiarchive

    url = page_link(re.sub(r"(?i)^(https?://)gui\.", r"\1", url))
    with connect(_instance_of(url)) as connection:
        parsed = connection.ask(lambda: _parse(url))
        match parsed:
            case dandiarchive.BaseAssetIDURL() | dandiarchive.AssetIDURL():
                return [_by_asset_id(connection, parsed, url)]
            case dandiarchive.AssetZarrEntryURL():
                path = parsed.asset_path
            case dandiarchive.AssetPathPrefixURL():
                path = f"{parsed.path}*"
            case _:
                path = getattr(parsed, "path", "")
        assert parsed.dandiset_id is not None
        return _sources(connection, DandiAddress(parsed.dandiset_id, parsed.version_id, path))


def content_url(source: Source) -> str:
    """URL from which the bytes of an asset can be read now; may be presigned, so never store it.

    Raises:
        ArchiveError: unreachable, or the asset is embargoed and there is no key for it.
    """
    with connect(source.instance) as connection:
        address = connection.client.get_url(f"/assets/{source.asset_id}/download/")
        answer = connection.ask(
            lambda: connection.client.request(
                "HEAD", address, json_resp=False, allow_redirects=False
            )
        )
        return str(answer.headers.get("Location", address))


def _instance_of(url: str) -> str:
    """The URL of the instance that an archive link belongs to."""
    from dandi.consts import known_instances
    from yarl import URL

    link = URL(url)
    host = link.host or ""
    if host.endswith(".netlify.app"):
        return DEFAULT_INSTANCE
    for known in known_instances.values():
        if any(URL(address).authority == link.authority for address in known.urls()):
            return known.name
    return str(link.origin())


def _parse(url: str) -> "ParsedDandiURL":
    from dandi.dandiarchive import parse_dandi_url
    from dandi.exceptions import FailedToConnectError, NotFoundError, UnknownURLError

    try:
        return parse_dandi_url(url, glob="*" in url)
    except (UnknownURLError, NotFoundError, FailedToConnectError, RuntimeError):
        raise AddressError(
            f"'{url}' is on an archive but names no dandiset or asset; "
            "expected a link to one, or dandi:ID[@VERSION][/path]."
        ) from None


def _by_asset_id(connection: Connection, parsed: Any, url: str) -> Source:
    from dandi.exceptions import NotFoundError

    client, asset_id = connection.client, parsed.asset_id
    try:
        if parsed.dandiset_id is None:
            asset = connection.ask(lambda: client.get_asset(asset_id))
            metadata = connection.ask(asset.get_raw_metadata)
            return source_of_row(connection, None, None, asset.json_dict() | {"metadata": metadata})
        dandiset = dandiset_at(connection, DandiAddress(parsed.dandiset_id, parsed.version_id))
        remote = connection.ask(lambda: dandiset.get_asset(asset_id))
        metadata = connection.ask(remote.get_raw_metadata)
    except NotFoundError:
        raise AddressError(
            f"The archive '{connection.name}' has no asset '{asset_id}' ({url}); "
            "use dandi:ID/path, which also lists what there is."
        ) from None
    row = remote.json_dict() | {"metadata": metadata}
    return source_of_row(connection, dandiset.identifier, dandiset.version_id, row)


def _sources(connection: Connection, address: DandiAddress) -> list[Source]:
    dandiset = dandiset_at(connection, address)
    where = f"DANDI:{dandiset.identifier}@{dandiset.version_id}"
    rows = _rows(connection, dandiset, address)
    if not rows:
        raise AddressError(_nothing_matches(connection, dandiset, where, address))
    nwb = [row for row in rows if row["path"].lower().endswith((".nwb", ".nwb.zarr"))]
    nwb = [row for row in nwb if row.get("blob") or row.get("zarr")]
    if not nwb:
        kinds = sorted({_suffix(row["path"]) for row in rows})
        raise AddressError(
            f"{where} has no NWB file at '{address.path or '/'}': {len(rows)} assets of kind "
            f"{', '.join(kinds)}; nwbdyn reads .nwb and .nwb.zarr."
        )
    return [
        source_of_row(connection, dandiset.identifier, dandiset.version_id, row)
        for row in sorted(nwb, key=lambda row: row["path"])
    ]


def dandiset_at(connection: Connection, address: DandiAddress) -> "RemoteDandiset":
    """The dandiset at the requested version, both known to exist."""
    from dandi.exceptions import NotFoundError

    client, identifier = connection.client, address.dandiset_id
    try:
        dandiset = connection.ask(lambda: client.get_dandiset(identifier, lazy=False))
    except NotFoundError:
        raise AddressError(
            f"The archive '{connection.name}' has no dandiset '{identifier}' (HTTP 404): "
            "check the six digits, or name another archive with --instance."
        ) from None
    if address.version in (None, dandiset.version_id):
        return dandiset
    versions = connection.ask(lambda: [str(version) for version in dandiset.get_versions()])
    if address.version not in versions:
        newest_first = sorted(set(versions) - {"draft"}, reverse=True)
        listed = ", ".join(["draft"] * ("draft" in versions) + newest_first)
        raise AddressError(
            f"DANDI:{identifier} has no version '{address.version}'; it has: {listed}."
        )
    return connection.ask(lambda: dandiset.for_version(address.version))


def _rows(
    connection: Connection, dandiset: "RemoteDandiset", address: DandiAddress
) -> list[dict[str, Any]]:
    """The archive's rows of the assets at `address.path`: an exact path, a folder or a glob."""
    path = address.path
    if not path:
        return rows_of(connection, dandiset.version_api_path)
    if address.is_glob:
        # The archive knows only `*`, which there also crosses slashes, and ignores case.
        wide = re.sub(r"\*+", "*", re.sub(r"\?|\[[^\]]*\]", "*", path))
        pattern = re.compile(fnmatch.translate(re.sub(r"\*+", "*", path)), re.IGNORECASE)
        rows = rows_of(connection, dandiset.version_api_path, glob=wide)
        named = [row for row in rows if row["path"] == path]  # brackets of its own
        if matching := named or [row for row in rows if pattern.match(row["path"])]:
            return matching
    rows = rows_of(connection, dandiset.version_api_path, path=path)
    exact = [row for row in rows if row["path"] == path]
    return exact or [row for row in rows if row["path"].startswith(path.rstrip("/") + "/")]


def rows_of(connection: Connection, version_path: str, **filters: str) -> list[dict[str, Any]]:
    """Every row of a version's listing."""
    return [row for rows, _ in pages_of(connection, version_path, **filters) for row in rows]


def pages_of(
    connection: Connection, version_path: str, **filters: str
) -> Iterator[tuple[list[dict[str, Any]], bool]]:
    """Rows of a version's listing, page after page, and True with the last page.

    A server may cap the size of a page.
    """
    client = connection.client
    parameters: dict[str, Any] | None = {"metadata": "true", "order": "path", **filters}
    address: str | None = f"{version_path}assets/"
    while address:
        request = partial(client.get, address, params=parameters and parameters | _PAGE)
        page = connection.ask(request)
        address, parameters = page.get("next"), None
        yield page["results"], address is None


def _nothing_matches(
    connection: Connection, dandiset: "RemoteDandiset", where: str, address: DandiAddress
) -> str:
    paths = connection.ask(
        lambda: [asset.path for asset in islice(dandiset.get_assets("path"), _MOST_CANDIDATES)]
    )
    if not paths:
        return f"{where} holds no assets; choose another version or dandiset."
    kind = "nothing that matches" if address.is_glob else "no asset or folder"
    return (
        f"{where} has {kind} '{address.path}'; closest: {', '.join(closest(address.path, paths))}."
        f" See all with: nwbdyn fetch dandi:{dandiset.identifier}@{dandiset.version_id} --list"
        + (f" --instance {connection.name}" if connection.name != "dandi" else "")
    )


def closest(wanted: str, there: Sequence[str]) -> list[str]:
    """Up to three of `there`, the most similar to `wanted` first; the first ones if none is."""
    return difflib.get_close_matches(wanted, there, n=3, cutoff=0.4) or list(there[:3])


def source_of_row(
    connection: Connection, dandiset_id: str | None, version: str | None, row: dict[str, Any]
) -> Source:
    """A row of the archive's listing as a Source pinned to its version."""
    metadata, path, asset_id = row.get("metadata") or {}, str(row["path"]), str(row["asset_id"])
    download = connection.client.get_url(f"/assets/{asset_id}/download/")
    api = connection.client.api_url.rstrip("/")
    storage = [url for url in metadata.get("contentUrl", ()) if not url.startswith(api)]
    is_zarr = bool(row.get("zarr"))  # has no download address
    if is_zarr and not storage:
        raise ArchiveError(f"The archive gives no address of the Zarr store {path}; is it public?")
    url = storage[0] if storage and (is_zarr or not connection.keyed) else download
    if not url.startswith(("http://", "https://")):
        raise ArchiveError(f"The archive gave '{url}' as address of {path}: expected an https URL.")
    kind = "dandi-zarr-checksum" if is_zarr else "dandi-etag"
    digest = (metadata.get("digest") or {}).get(f"dandi:{kind}")
    if dandiset_id is None:
        uri = connection.client.get_url(f"/assets/{asset_id}/")
    elif connection.client.dandi_instance.name == DEFAULT_INSTANCE or "/" in connection.name:
        uri = f"dandi:{dandiset_id}@{version}/{path}"
    else:
        uri = f"dandi://{connection.name}/{dandiset_id}@{version}/{path}"
    return Source(
        uri=uri,
        url=url,
        dandiset_id=dandiset_id,
        version=version,
        asset_path=path,
        asset_id=asset_id,
        digest=f"{kind}:{digest}" if digest else None,
        size=int(row["size"]),
        instance=connection.name,
    )


def _suffix(path: str) -> str:
    name = path.rsplit("/", 1)[-1]
    return "." + name.rsplit(".", 1)[-1] if "." in name else "(none)"
