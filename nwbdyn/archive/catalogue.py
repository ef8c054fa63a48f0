"""Dandisets and assets of an archive, with what their metadata states about recordings.

One request brings up to 100 dandisets, one more the metadata of a dandiset's version, which sums
up its assets, and one brings up to 1,000 assets with their metadata. No file is opened.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from nwbdyn.archive.addresses import DandiAddress
from nwbdyn.archive.assets import dandiset_at, pages_of, source_of_row
from nwbdyn.archive.connection import Connection, connect
from nwbdyn.recording import Source

RESULTS = "nwbdyn fit"  # name of the activity in the metadata of assets that nwbdyn wrote
_PAGE_SIZE = 100  # dandisets


@dataclass(frozen=True)
class Dandiset:
    """A dandiset at its newest published version, else its draft."""

    dandiset_id: str
    version: str
    name: str
    num_assets: int


@dataclass(frozen=True)
class Summary:
    """Statements of a version's metadata; an empty set where nothing is stated."""

    variables: frozenset[str]  # names of NWB types in its assets: "Units", "PlaneSegmentation", …
    species: frozenset[str]  # "Mus musculus - House mouse"
    anatomy: tuple[str, ...]  # names of structures that the dandiset is about
    texts: tuple[str, ...]  # name, description, keywords


@dataclass(frozen=True)
class Asset:
    """An NWB file, and statements of its metadata; empty where nothing is stated."""

    source: Source
    variables: frozenset[str]
    species: frozenset[str]
    anatomy: tuple[str, ...]  # of its samples
    subject: str | None
    is_result: bool  # written by nwbdyn


class Catalogue:
    """Listings of one archive; use `open_catalogue`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @property
    def name(self) -> str:
        """Name of the archive, or the URL of its API."""
        return self._connection.name

    def dandisets(self, text: str | None = None) -> tuple[int, Iterator[Dandiset]]:
        """Number of the open dandisets with assets, and each, the last modified first.

        Args:
            text: words that the archive looks for in the metadata of dandisets.
        """
        parameters = {"empty": "false", "embargoed": "false", "ordering": "-modified"}
        if text:
            parameters["search"] = text
        first = self._get("/dandisets/", parameters | {"page_size": str(_PAGE_SIZE)})
        return int(first["count"]), self._dandisets(first)

    def _dandisets(self, page: dict[str, Any]) -> Iterator[Dandiset]:
        while True:
            for row in page["results"]:
                version = row.get("most_recent_published_version") or row.get("draft_version")
                if version:
                    yield Dandiset(
                        str(row["identifier"]),
                        str(version["version"]),
                        str(version["name"]),
                        int(version["asset_count"]),
                    )
            if not page.get("next"):
                return
            page = self._get(page["next"])

    def dandiset(self, address: DandiAddress) -> Dandiset:
        """The dandiset that an address names.

        Raises:
            AddressError: no such dandiset or version.
        """
        remote = dandiset_at(self._connection, address)
        version = self._connection.ask(lambda: remote.version)
        return Dandiset(
            remote.identifier, version.identifier, version.name, int(version.asset_count)
        )

    def summary(self, dandiset: Dandiset) -> Summary:
        """Statements about a dandiset as a whole."""
        stated = self._get(_path(dandiset))
        assets = stated.get("assetsSummary") or {}
        about = [one for one in _list(stated, "about") if one.get("schemaKey") == "Anatomy"]
        keywords = [word for word in stated.get("keywords") or [] if isinstance(word, str)]
        texts = (dandiset.name, str(stated.get("description") or ""), *keywords)
        return Summary(
            variables=frozenset(map(str, assets.get("variableMeasured") or ())),
            species=_names(_list(assets, "species")),
            anatomy=tuple(sorted(_names(about))),
            texts=texts,
        )

    def files(self, dandiset: Dandiset, most: int | None = None) -> tuple[list[Asset], bool]:
        """NWB files of a dandiset, sorted by path, and True if these are all.

        Args:
            most: after so many no further page is requested; None for every page.
        """
        rows: list[dict[str, Any]] = []
        complete = True
        for page, is_last in pages_of(self._connection, _path(dandiset), glob="*.nwb*"):
            rows, complete = rows + page, is_last
            if most is not None and len(rows) >= most:
                break
        rows = [row for row in rows if row["path"].lower().endswith((".nwb", ".nwb.zarr"))]
        files = [
            self._asset(dandiset, row)
            for row in sorted(rows, key=lambda row: row["path"])
            if row.get("blob") or row.get("zarr")
        ]
        return files, complete

    def _asset(self, dandiset: Dandiset, row: dict[str, Any]) -> Asset:
        metadata = row.get("metadata") or {}
        participants = _list(metadata, "wasAttributedTo")
        samples = _list(metadata, "wasDerivedFrom")
        variables = [one.get("value") for one in _list(metadata, "variableMeasured")]
        variables += [one for one in metadata.get("variableMeasured") or () if isinstance(one, str)]
        subjects = [one["identifier"] for one in participants if one.get("identifier")]
        return Asset(
            source=source_of_row(self._connection, dandiset.dandiset_id, dandiset.version, row),
            variables=frozenset(str(name) for name in variables if name),
            species=_names(one["species"] for one in participants if one.get("species")),
            anatomy=tuple(sorted(_names(a for one in samples for a in _list(one, "anatomy")))),
            subject=str(subjects[0]) if subjects else None,
            is_result=RESULTS in _names(_list(metadata, "wasGeneratedBy")),
        )

    def _get(self, path: str, parameters: dict[str, str] | None = None) -> dict[str, Any]:
        request = partial(self._connection.client.get, path, params=parameters)
        return self._connection.ask(request)


@contextmanager
def open_catalogue(instance: str | None = None) -> Iterator[Catalogue]:
    """The catalogue of an archive, by name or API URL.

    Raises:
        ConfigError: no archive of that name.
        ArchiveError: it cannot be reached, or is no DANDI archive.
    """
    with connect(instance) as connection:
        yield Catalogue(connection)


def _path(dandiset: Dandiset) -> str:
    return f"/dandisets/{dandiset.dandiset_id}/versions/{dandiset.version}/"


def _list(metadata: dict[str, Any], key: str) -> list[dict[str, Any]]:
    """The objects of a field; metadata of an invalid asset may hold anything."""
    field = metadata.get(key)
    return [one for one in field if isinstance(one, dict)] if isinstance(field, list) else []


def _names(objects: Any) -> frozenset[str]:
    return frozenset(str(o["name"]) for o in objects if isinstance(o, dict) and o.get("name"))
