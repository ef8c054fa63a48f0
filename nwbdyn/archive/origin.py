"""Origin of a file on this disk: the archive, or the host on the web, that it is a copy of.

A folder's `dandiset.yaml` names the dandiset of the files below it. What came without a dandiset,
by the link of an asset or from the web, has a record beside it, `FILE.source.json`. A record that
cannot be read stands for an archive that nobody knows, never for a file of the user's own. Records
beside and above a symbolic link count as those of the file itself do.
"""

import json
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from nwbdyn.errors import ResultsError
from nwbdyn.recording import UNKNOWN_ARCHIVE, Source

_YAML = "dandiset.yaml"
_INSTANCE = "nwbdyn_instance"  # line of it with the archive's name or the address of its API
_BESIDE = ".source.json"
_MAIN_HOSTS = ("dandiarchive.org", "gui.dandiarchive.org", "api.dandiarchive.org")
_MAIN = "dandi"  # name of the archive on them


@dataclass(frozen=True)
class Origin:
    """Origin of a file; every field is None for a file of the user."""

    dandiset_id: str | None = None
    version: str | None = None
    asset_path: str | None = None
    asset_id: str | None = None
    instance: str | None = None  # of a file from the web: its host


def of_file(path: Path) -> Origin:
    """The origin of a file: from the record beside it, else from a `dandiset.yaml` above it.

    Args:
        path: a file; of a symbolic link also the file that it leads to has an origin. An archive
            that nobody knows stands for two that differ.
    """
    linked, itself = _of_path(Path(os.path.abspath(path))), _of_path(path.resolve())
    if Origin() in (linked, itself):
        return itself if linked == Origin() else linked
    same = replace(linked, asset_path=None) == replace(itself, asset_path=None)
    return linked if same else Origin(instance=UNKNOWN_ARCHIVE)


def _of_path(path: Path) -> Origin:
    beside = path.with_name(f"{path.name}{_BESIDE}")
    if os.path.lexists(beside):
        return _of_record(beside)
    for folder in path.parents:
        if os.path.lexists(folder / _YAML):
            return _of_yaml(folder / _YAML, path.relative_to(folder).as_posix())
    return Origin()


def record(source: Source, target: Path, folder: Path) -> None:
    """Write the origin of a copy of `source` to disk, unless it is a file of the user.

    Args:
        target: the copy.
        folder: that holds the folders of dandisets.

    Raises:
        ResultsError: the record cannot be written, or another one is there.
    """
    try:
        if source.dandiset_id is not None:
            _record_dandiset(source, folder / source.dandiset_id)
        elif source.asset_id is not None or source.instance is not None or source.path is None:
            _record_beside(source, target)
    except OSError as error:
        raise ResultsError(
            f"Cannot write the origin of '{target}': {error}. Choose a folder that can be written "
            "to."
        ) from error


def _record_dandiset(source: Source, folder: Path) -> None:
    path = folder / _YAML
    if os.path.lexists(path):
        there = _of_yaml(path, "")
        same = there.dandiset_id == source.dandiset_id
        if not same or archive_name(there.instance) != archive_name(source.instance):
            raise ResultsError(
                f"'{path}' names dandiset {there.dandiset_id} of the archive "
                f"'{archive_name(there.instance)}', and {source.uri} is of "
                f"'{archive_name(source.instance)}': choose another folder."
            )
        return
    lines = [f"identifier: DANDI:{source.dandiset_id}", f"version: {source.version or 'draft'}"]
    if source.instance is not None:
        lines.append(f"{_INSTANCE}: {source.instance}")
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([*lines, ""]), encoding="utf-8")


def _record_beside(source: Source, target: Path) -> None:
    parts = urlsplit(source.url)
    instance = source.instance or f"{parts.scheme}://{parts.hostname}"
    known = {"asset_id": source.asset_id, "instance": instance, "digest": source.digest}
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f"{target.name}{_BESIDE}")
    part = beside.with_name(f"{beside.name}.part")
    part.unlink(missing_ok=True)
    part.write_text(json.dumps(known, indent=2) + "\n", encoding="utf-8")
    os.replace(part, beside)  # what is there may be a link


def _of_record(path: Path) -> Origin:
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        asset_id, instance = known["asset_id"], known["instance"]
        if isinstance(instance, str) and isinstance(asset_id, str | None):
            return Origin(asset_id=asset_id, instance=instance)
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return Origin(instance=UNKNOWN_ARCHIVE)


def _of_yaml(path: Path, asset_path: str) -> Origin:
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return Origin(instance=UNKNOWN_ARCHIVE)
    prefix_and_number = r"['\"]?(?:([A-Za-z][\w-]*):)?(\d{6})\b"
    identifier = re.search(rf"(?m)^identifier:\s*{prefix_and_number}", text)
    if identifier is None:
        return Origin(instance=UNKNOWN_ARCHIVE)
    version = re.search(r"(?m)^version:\s*['\"]?([\w.]+)", text)
    return Origin(
        dandiset_id=identifier[2],
        version=version[1] if version else None,
        asset_path=asset_path,
        instance=_instance_of_yaml(text, identifier[1] or _MAIN),
    )


def _instance_of_yaml(text: str, prefix: str) -> str | None:
    """The archive: as `record` wrote it, else by the dandiset's address, else by its identifier."""
    if stated := re.search(rf"(?m)^{_INSTANCE}:\s*(\S+)\s*$", text):
        return stated[1]
    if address := re.search(r"(?m)^url:\s*['\"]?(https?)://([^/\s'\"]+)", text):
        return _MAIN if address[2].lower() in _MAIN_HOSTS else f"{address[1]}://{address[2]}"
    return None if prefix.lower() == _MAIN else prefix.lower()


def archive_name(instance: str | None) -> str:
    """One name for an archive that is known by a name and by addresses."""
    from dandi.consts import known_instances_rev

    text = (instance or _MAIN).rstrip("/")
    return known_instances_rev.get(text, text.lower())
