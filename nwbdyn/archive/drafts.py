"""The draft of a dandiset: its existence, its assets, and its relation to the source.

Everything goes through the dandi client. It sends a file in parts of 64 MB; what was stopped in the
middle of a file starts with that file's first part again, and bytes that the archive holds already
are never sent twice.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nwbdyn.archive import asset_metadata
from nwbdyn.archive.addresses import DandiAddress, parse_dandi
from nwbdyn.archive.assets import dandiset_at, source_of_row
from nwbdyn.archive.connection import Connection, connect
from nwbdyn.errors import AddressError, ArchiveError, ResultsError
from nwbdyn.progress import Progress, Report, silent
from nwbdyn.recording import Source

_DERIVED = "dcite:IsDerivedFrom"


@dataclass(frozen=True)
class Draft:
    """The draft that an upload goes to."""

    dandiset_id: str
    embargoed: bool


def draft(dandiset: str, *, instance: str | None = None) -> Draft:
    """The draft of a dandiset, known to exist.

    Args:
        dandiset: `dandi:ID` or the six digits.
        instance: archive, by name or API URL; by default DANDI_INSTANCE, else "dandi".

    Raises:
        AddressError: it names no dandiset, or there is no such one.
        ArchiveError: the archive cannot be reached, or asks for a key that is not there.
    """
    dandiset_id = _dandiset_id(dandiset)
    with connect(instance) as connection:
        remote = dandiset_at(connection, DandiAddress(dandiset_id, "draft"))
        return Draft(dandiset_id, remote.embargo_status.value != "OPEN")


def upload(
    path: Path,
    dandiset: str,
    *,
    instance: str | None = None,
    asset_path: str | None = None,
    generated_by: Sequence[Mapping[str, Any]] = (),
    replace: bool = False,
    report: Report = silent,
) -> Source:
    """Send a file to the draft of a dandiset and return it as the archive now has it.

    An NWB file gets the metadata that dandi extracts from it, any other file those of its bytes.
    Validation is the caller's. The same bytes at the same path are not sent again.

    Args:
        path: file to send.
        dandiset: `dandi:ID` or the six digits; the target is always the draft.
        instance: archive, by name or API URL; by default DANDI_INSTANCE, else "dandi".
        asset_path: path in the dandiset; by default `sub-X/<file name>`, from the file's name.
        generated_by: activities in the archive's schema, added to the asset's `wasGeneratedBy`.
        replace: put these bytes in the place of an asset of that path with others.

    Raises:
        AddressError: no such dandiset, or no asset path follows from the file's name.
        ArchiveError: no key, refused, rejected or interrupted; running it again is safe.
        ResultsError: other bytes are at that path and `replace` is not set.
    """
    dandiset_id = _dandiset_id(dandiset)
    with connect(instance) as connection:
        connection.authenticate()
        return _send(
            connection,
            Path(path),
            dandiset_id,
            asset_path or default_asset_path(Path(path)),
            generated_by,
            replace,
            report,
        )


def default_asset_path(path: Path) -> str:
    """`sub-X/<file name>`, the archive's path for a file named by its rule.

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


def relate(dandiset: str, source: Source, *, instance: str | None = None) -> bool:
    """Record in the draft's metadata that it is derived from the dandiset of `source`.

    Args:
        dandiset: `dandi:ID` or the six digits.
        source: the recording that was fitted.
        instance: archive of `dandiset`, as for `upload`.

    Returns:
        True where that was added now; False where it stands there already, or where the recording
        comes from no other dandiset.

    Raises:
        AddressError: no such dandiset.
        ArchiveError: not permitted, or unreachable.
    """
    dandiset_id = _dandiset_id(dandiset)
    with connect(instance) as connection:
        if source.dandiset_id is None or (
            source.dandiset_id == dandiset_id and source.instance == connection.name
        ):
            return False
        connection.authenticate()
        remote = dandiset_at(connection, DandiAddress(dandiset_id, "draft"))
        metadata = connection.ask(remote.get_raw_metadata)
        resource = _resource(source)
        related = list(metadata.get("relatedResource") or ())
        known = {(item.get("relation"), item.get("identifier")) for item in related}
        if (_DERIVED, resource["identifier"]) in known:
            return False
        changed = metadata | {"relatedResource": [*related, resource]}
        connection.ask(lambda: remote.set_raw_metadata(changed))
    return True


def _send(
    connection: Connection,
    path: Path,
    dandiset_id: str,
    asset_path: str,
    generated_by: Sequence[Mapping[str, Any]],
    replace: bool,
    report: Report,
) -> Source:
    from dandi.exceptions import NotFoundError
    from dandi.files import GenericAsset, NWBAsset

    draft = dandiset_at(connection, DandiAddress(dandiset_id, "draft"))
    kind = NWBAsset if path.suffix == ".nwb" else GenericAsset
    local = kind(filepath=path, path=asset_path, dandiset_path=None)
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
        if not replace:
            raise ResultsError(
                f"dandi:{dandiset_id}@draft/{asset_path} is there with other content: choose "
                "another name, or pass --replace."
            )
    metadata = asset_metadata.of_file(local, digest=digest)
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


def _dandiset_id(dandiset: str) -> str:
    address = parse_dandi(dandiset if ":" in dandiset else f"dandi:{dandiset}")
    if address is None or address.path or address.version not in (None, "draft"):
        raise AddressError(f"'{dandiset}' is no upload target; expected dandi:ID.")
    return address.dandiset_id


def _resource(source: Source) -> dict[str, str]:
    """The dandiset of a recording, as the archive's schema names what something is derived from."""
    with connect(source.instance) as connection:
        where = connection.client.dandi_instance
        dandiset, version = source.dandiset_id, source.version or "draft"
        page = f"{where.gui.rstrip('/')}/dandiset/{dandiset}/{version}" if where.gui else None
        return {
            "schemaKey": "Resource",
            "identifier": f"DANDI:{dandiset}/{version}",
            "url": page or f"{where.api.rstrip('/')}/dandisets/{dandiset}/versions/{version}/",
            "relation": _DERIVED,
            "resourceType": "dcite:Dataset",
        }
