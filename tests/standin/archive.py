"""The archive's API: what the dandi client asks while it lists, downloads and uploads."""

import contextlib
import hashlib
import json
import os
import re
import threading
import time
import uuid
from collections.abc import Collection, Mapping, Sequence
from fnmatch import fnmatch
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from dandischema.consts import DANDI_SCHEMA_VERSION
from dandischema.digests.dandietag import DandiETag

from standin.storage import Faults, serve

KEY = "a-key-for-tests"
_MOMENT = "2024-01-02T03:04:05.678900Z"
_COMPUTED = (  # the archive sets these itself, whatever was sent
    *("id", "identifier", "contentUrl", "contentSize", "digest", "blobDateModified"),
    *("datePublished", "publishedBy", "access"),
)
_ROUTES: list[tuple[str, re.Pattern[str], str]] = []


def _zarr_checksum(path: Path) -> str:
    from dandi.support.digests import get_zarr_checksum

    return get_zarr_checksum(path)


class StandIn:
    """Serves `folder` until the end of the `with` block.

    Args:
        folder: one folder per dandiset, named by its six digits.
        published: versions of a dandiset beside its draft, oldest first; all hold the same files.
        embargoed: dandisets that need the key.
        page_size: most assets in one page of a listing.
        faults: what goes wrong in storage; may be replaced at any time.
        latency: seconds before each answer.
    """

    def __init__(
        self,
        folder: Path,
        *,
        published: Mapping[str, Sequence[str]] | None = None,
        embargoed: Collection[str] = (),
        page_size: int = 1000,
        faults: Faults | None = None,
        latency: float = 0.0,
    ) -> None:
        self.folder = folder
        self.published = dict(published or {})
        self.embargoed = set(embargoed)
        self.page_size = page_size
        self.faults = faults
        self.latency = latency
        self.requested: list[str] = []  # "GET /api/info/", in order
        self.keys: list[str] = []  # Authorization headers seen, wherever they were sent
        self.metadata: dict[str, dict[str, Any]] = {}  # of uploaded assets, by asset id
        self.signature = 0  # signed URLs carry it; another one is refused
        self.uploads: dict[str, dict[str, Any]] = {}
        self.blobs: dict[str, Path] = {}  # received, not yet part of a dandiset; by etag
        self.refused: dict[str, tuple[int, str]] = {}  # "POST .*/assets/" -> status and detail
        self.silent: set[str] = set()  # requests that get no answer, in the same form
        self.dandisets: dict[str, dict[str, Any]] = {}  # metadata that somebody changed
        self.invalid: dict[str, str] = {}  # asset path -> what the archive's validation says
        self.validation_takes = 0  # looks at a draft until its new assets are validated
        self.names_path_in_field = False  # of assets that wait, as older servers do
        self.waiting: dict[str, int] = {}  # path of a new asset -> looks left
        self.generations: dict[str, int] = {}  # path below `folder` -> times it was replaced
        self.over = threading.Event()
        self._actual: dict[str, Path] = {}  # assets by their ids

    def __enter__(self) -> "StandIn":
        handler = type("Bound", (_Handler,), {"standin": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None  # a client that hangs up is no news
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self.api = f"{self.url}/api"
        # Storage is another host, as in the real archive: a key sent to one must not reach it.
        self.storage = f"http://localhost:{self._server.server_port}"
        # A proxy of the machine that runs the tests must not be asked for loopback.
        self._environment = {name: os.environ.get(name) for name in ("NO_PROXY", "no_proxy")}
        os.environ.update(dict.fromkeys(self._environment, "127.0.0.1,localhost"))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.over.set()
        for name, value in self._environment.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def paths(self, dandiset: str) -> list[Path]:
        root = self.folder / dandiset
        stores = [path for path in root.rglob("*.zarr") if path.is_dir()]
        files = (
            path
            for path in root.rglob("*")
            if path.is_file() and not any(store in path.parents for store in stores)
        )
        return sorted([*stores, *(path for path in files if path.name != "dandiset.yaml")])

    def versions(self, dandiset: str) -> list[str]:
        return [*self.published.get(dandiset, ()), "draft"]

    def asset_id(self, path: Path) -> str:
        name = path.relative_to(self.folder).as_posix()
        generation = self.generations.get(name)  # an asset that is replaced gets another id
        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{name}#{generation}" if generation else name))

    def find(self, asset_id: str) -> Path | None:
        if asset_id not in self._actual or not self._actual[asset_id].exists():
            folders = [folder.name for folder in self.folder.iterdir()]
            paths = [path for name in folders for path in self.paths(name)]
            self._actual = {self.asset_id(path): path for path in paths}
        return self._actual.get(asset_id)

    def row(self, path: Path) -> dict[str, Any]:
        """An asset as listings show it."""
        asset_id = self.asset_id(path)
        return {
            "asset_id": asset_id,
            "blob": None if path.is_dir() else asset_id,
            "zarr": asset_id if path.is_dir() else None,
            "path": path.relative_to(self.folder).as_posix().partition("/")[2],
            "size": sum(item.stat().st_size for item in [path, *path.rglob("*")] if item.is_file()),
            "created": _MOMENT,
            "modified": _MOMENT,
        }

    def metadata_of(self, path: Path) -> dict[str, Any]:
        row, dandiset = self.row(path), path.relative_to(self.folder).parts[0]
        status = "Embargoed" if dandiset in self.embargoed else "Open"
        return {
            "schemaVersion": DANDI_SCHEMA_VERSION,
            "schemaKey": "Asset",
            "id": f"dandiasset:{row['asset_id']}",
            "identifier": row["asset_id"],
            "path": row["path"],
            "contentSize": row["size"],
            "encodingFormat": "application/x-nwb",
            "access": [{"schemaKey": "AccessRequirements", "status": f"dandi:{status}Access"}],
            **self.metadata.get(row["asset_id"], {}),
            "blobDateModified": _MOMENT,
            "digest": {"dandi:dandi-etag": etag_of(path)}
            if row["blob"]
            else {"dandi:dandi-zarr-checksum": _zarr_checksum(path)},
            "contentUrl": [
                f"{self.api}/assets/{row['asset_id']}/download/",
                f"{self.storage}/{'blobs' if row['blob'] else 'zarr'}/{row['asset_id']}"
                + ("" if row["blob"] else "/"),
            ],
        }

    def name_of(self, dandiset: str) -> str:
        return self.dandisets.get(dandiset, {}).get("name", f"Stand-in {dandiset}")

    def summary_of(self, dandiset: str) -> dict[str, Any]:
        """Summary of the assets' metadata, as the archive computes it."""
        rows = [self.row(path) for path in self.paths(dandiset)]
        stated = [self.metadata.get(row["asset_id"], {}) for row in rows]
        people = [one for metadata in stated for one in metadata.get("wasAttributedTo", ())]
        species = {one["species"]["name"]: one["species"] for one in people if "species" in one}
        variables = {
            one["value"] for metadata in stated for one in metadata.get("variableMeasured", ())
        }
        return {
            "schemaKey": "AssetsSummary",
            "numberOfBytes": sum(row["size"] for row in rows),
            "numberOfFiles": len(rows),
            "numberOfSubjects": len({one["identifier"] for one in people}),
            "species": list(species.values()),
            "variableMeasured": sorted(variables),
        }


def etag_of(path: Path) -> str:
    """The archive's digest of a file."""
    return _etag(path, path.stat().st_mtime_ns)


@cache
def _etag(path: Path, _modified: int) -> str:
    return DandiETag.from_file(path).as_str()


def route(method: str, pattern: str) -> Any:
    """Register a method of the handler for a path."""

    def register(function: Any) -> Any:
        _ROUTES.append((method, re.compile(pattern), function.__name__))
        return function

    return register


class _Handler(BaseHTTPRequestHandler):
    standin: StandIn
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self._dispatch("GET")

    def do_HEAD(self) -> None:
        self._dispatch("HEAD")

    def do_POST(self) -> None:
        self._dispatch("POST")

    def do_PUT(self) -> None:
        self._dispatch("PUT")

    def _dispatch(self, method: str) -> None:
        parts = urlsplit(self.path)
        self.query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.standin.requested.append(f"{method} {self.path}")
        if key := self.headers.get("Authorization"):
            self.standin.keys.append(f"{key} {parts.path}")
        time.sleep(self.standin.latency)
        if any(
            re.fullmatch(requested, f"{method} {parts.path}") for requested in self.standin.silent
        ):
            self.standin.over.wait(30)
            self.close_connection = True
            return None
        for requested, (status, detail) in self.standin.refused.items():
            if re.fullmatch(requested, f"{method} {parts.path}"):
                return self.answer(status, {"detail": detail})
        for known, pattern, name in _ROUTES:
            if known in (method, "GET" if method == "HEAD" else "") and (
                actual := pattern.fullmatch(parts.path)
            ):
                with contextlib.suppress(ConnectionError):
                    getattr(self, name)(**actual.groupdict())
                return None
        return self.answer(404, {"detail": "Not found."})

    def answer(self, status: int, content: Any = None, headers: Mapping[str, str] = {}) -> None:
        text = b"" if content is None else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    def page(self, results: list[Any]) -> None:
        """One page of a listing; only the first one counts."""
        number = int(self.query.get("page", 1))
        size = min(int(self.query.get("page_size", 100)), self.standin.page_size)
        after = number * size
        url = f"{self.standin.url}{self.path}"
        following = None
        if after < len(results):
            bare = re.sub(r"([?&])page=\d+&?", r"\1", url).rstrip("?&")
            following = f"{bare}{'&' if '?' in bare else '?'}page={number + 1}"
        self.answer(
            200,
            {
                "count": len(results) if number == 1 else None,
                "next": following,
                "previous": None,
                "results": results[after - size : after],
            },
        )

    def allowed(self, dandiset: str) -> bool:
        """True, or the refusal is already sent: no such dandiset, or no key for it."""
        if not (self.standin.folder / dandiset).is_dir():
            self.answer(404, {"detail": "Not found."})
            return False
        if dandiset in self.standin.embargoed and not self.keyed():
            self.answer(401, {"detail": "Authentication credentials were not provided."})
            return False
        return True

    def keyed(self) -> bool:
        return self.headers.get("Authorization") == f"token {KEY}"

    @route("GET", r"/api/info/")
    def info(self) -> None:
        self.answer(
            200,
            {
                "schema_version": DANDI_SCHEMA_VERSION,
                "version": "0.0.0",
                "services": {"api": {"url": self.standin.api}},
                "cli-minimal-version": "0.0.0",
                "cli-bad-versions": [],
            },
        )

    @route("GET", r"/api/auth/token/?")
    def token(self) -> None:
        self.answer(*((200, {"token": KEY}) if self.keyed() else (401, {"detail": "Invalid."})))

    def version(self, dandiset: str, name: str) -> dict[str, Any]:
        paths = self.standin.paths(dandiset)
        return {
            "version": name,
            "name": self.standin.name_of(dandiset),
            "asset_count": len(paths),
            "size": sum(path.stat().st_size for path in paths),
            "created": _MOMENT,
            "modified": _MOMENT,
            "status": "Pending" if self.standin.waiting else "Valid",
            "asset_validation_errors": self.validation_errors() if name == "draft" else [],
            "version_validation_errors": [],
        }

    def validation_errors(self) -> list[dict[str, str]]:
        """Validation errors per asset; an asset that waits for validation is one of them."""
        errors = []
        for path, left in list(self.standin.waiting.items()):
            if not left:
                del self.standin.waiting[path]
                continue
            self.standin.waiting[path] = left - 1
            message = "asset is currently being validated, please wait."
            if self.standin.names_path_in_field:
                errors.append({"field": path, "message": message})
            else:
                errors.append({"field": "", "message": message, "path": path})
        errors += [
            {"path": path, "field": "species", "message": message}
            for path, message in self.standin.invalid.items()
            if path not in self.standin.waiting
        ]
        return errors

    @route("GET", r"/api/dandisets/")
    def dandiset_list(self) -> None:
        """Open dandisets, and with a key embargoed ones; parameters as the archive takes them."""
        wanted = {name: self.query.get(name) for name in ("draft", "empty", "embargoed")}
        if wanted["embargoed"] == "true" and not self.keyed():
            return self.answer(401, {"detail": "Authentication credentials were not provided."})
        rows = []
        for folder in sorted(self.standin.folder.iterdir()):
            name = folder.name
            if not re.fullmatch(r"\d{6}", name):
                continue
            if name in self.standin.embargoed and wanted["embargoed"] != "true":
                continue
            row = self.dandiset_row(name)
            if wanted["draft"] == "false" and row["most_recent_published_version"] is None:
                continue
            if wanted["empty"] == "false" and not row["draft_version"]["asset_count"]:
                continue
            text = json.dumps(self.version_document(name, "draft")).lower()
            if all(word in text for word in self.query.get("search", "").lower().split()):
                rows.append(row)
        ordering = self.query.get("ordering", "id")
        key = {"id": "identifier", "name": "name", "modified": "modified", "size": "size"}
        field = key[ordering.removeprefix("-")]
        rows.sort(
            key=lambda row: row[field] if field in row else row["draft_version"][field],
            reverse=ordering.startswith("-"),
        )
        return self.page(rows)

    @route("GET", r"/api/dandisets/(?P<dandiset>\d{6})/")
    def dandiset(self, dandiset: str) -> None:
        if self.allowed(dandiset):
            self.answer(200, self.dandiset_row(dandiset))

    def dandiset_row(self, dandiset: str) -> dict[str, Any]:
        published = self.standin.published.get(dandiset, ())
        embargoed = dandiset in self.standin.embargoed
        newest = self.version(dandiset, published[-1]) if published else None
        return {
            "identifier": dandiset,
            "created": _MOMENT,
            "modified": _MOMENT,
            "contact_person": "Nobody",
            "embargo_status": "EMBARGOED" if embargoed else "OPEN",
            "most_recent_published_version": newest,
            "draft_version": self.version(dandiset, "draft"),
        }

    @route("GET", r"/api/dandisets/(?P<dandiset>\d{6})/versions/")
    def versions(self, dandiset: str) -> None:
        if self.allowed(dandiset):
            self.page([self.version(dandiset, name) for name in self.standin.versions(dandiset)])

    def known(self, dandiset: str, version: str) -> bool:
        if not self.allowed(dandiset):
            return False
        if version not in self.standin.versions(dandiset):
            self.answer(404, {"detail": "Not found."})
            return False
        return True

    @route("GET", r"/api/dandisets/(?P<dandiset>\d{6})/versions/(?P<version>[^/]+)/info/")
    def version_info(self, dandiset: str, version: str) -> None:
        if self.known(dandiset, version):
            self.answer(200, self.version(dandiset, version))

    @route("GET", r"/api/dandisets/(?P<dandiset>\d{6})/versions/(?P<version>[^/]+)/")
    def version_metadata(self, dandiset: str, version: str) -> None:
        if self.known(dandiset, version):
            self.answer(200, self.version_document(dandiset, version))

    def version_document(self, dandiset: str, version: str) -> dict[str, Any]:
        return {
            "schemaKey": "Dandiset",
            "identifier": f"DANDI:{dandiset}",
            "name": self.standin.name_of(dandiset),
            "version": version,
            **self.standin.dandisets.get(dandiset, {}),
            "assetsSummary": self.standin.summary_of(dandiset),
        }

    @route("PUT", r"/api/dandisets/(?P<dandiset>\d{6})/versions/draft/")
    def change_metadata(self, dandiset: str) -> None:
        if not self.keyed():
            return self.answer(401, {"detail": "Authentication credentials were not provided."})
        self.standin.dandisets[dandiset] = json.loads(self.body)["metadata"]
        return self.answer(200, self.version(dandiset, "draft"))

    @route("GET", r"/api/dandisets/(?P<dandiset>\d{6})/versions/(?P<version>[^/]+)/assets/")
    def assets(self, dandiset: str, version: str) -> None:
        if not self.known(dandiset, version):
            return
        rows = []
        for path in self.standin.paths(dandiset):
            row = self.standin.row(path)
            if not row["path"].lower().startswith(self.query.get("path", "").lower()):
                continue
            if not fnmatch(row["path"].lower(), self.query.get("glob", "*").lower()):
                continue
            if self.query.get("metadata") == "true":
                row["metadata"] = self.standin.metadata_of(path)
            rows.append(row)
        self.page(rows)

    def asset_path(self, asset: str) -> Path | None:
        """The file of an asset, or the refusal is already sent."""
        path = self.standin.find(asset)
        dandiset = None if path is None else path.relative_to(self.standin.folder).parts[0]
        below = re.match(r"/api/dandisets/(\d{6})/", self.path)  # whose asset it has to be
        if path is None or dandiset is None or (below and below[1] != dandiset):
            self.answer(404, {"detail": "Not found."})
            return None
        return path if self.allowed(dandiset) else None

    @route("GET", r"(/api/dandisets/\d{6}/versions/[^/]+|/api)/assets/(?P<asset>[0-9a-f-]{36})/")
    def asset(self, asset: str) -> None:
        if path := self.asset_path(asset):
            self.answer(200, self.standin.metadata_of(path))

    @route(
        "GET", r"(/api/dandisets/\d{6}/versions/[^/]+|/api)/assets/(?P<asset>[0-9a-f-]{36})/info/"
    )
    def asset_info(self, asset: str) -> None:
        if path := self.asset_path(asset):
            metadata = self.standin.metadata_of(path)
            self.answer(200, self.standin.row(path) | {"metadata": metadata})

    @route("GET", r"/api/assets/(?P<asset>[0-9a-f-]{36})/download/")
    def download(self, asset: str) -> None:
        if self.asset_path(asset):
            signed = f"{self.standin.storage}/blobs/{asset}?signature={self.standin.signature}"
            self.answer(302, None, {"Location": signed})

    @route("GET", r"/blobs/(?P<asset>[0-9a-f-]{36})")
    def blob(self, asset: str) -> None:
        path = self.standin.find(asset)
        if path is None:
            return self.answer(404, {"detail": "Not found."})
        signature, valid = self.query.get("signature"), str(self.standin.signature)
        embargoed = path.relative_to(self.standin.folder).parts[0] in self.standin.embargoed
        if self.command == "HEAD" or ((embargoed or signature is not None) and signature != valid):
            return self.answer(403, {"detail": "Signature does not match."})
        fault = self.standin.faults.draw() if self.standin.faults else None
        if fault == "forbid":
            self.standin.signature += 1
        return serve(self, path, etag_of(path), fault, self.standin.over)

    @route("GET", r"/zarr/(?P<asset>[0-9a-f-]{36})/(?P<key>.+)")
    def zarr_object(self, asset: str, key: str) -> None:
        store = self.standin.find(asset)
        if store is None or not (store / key).is_file():
            return self.answer(404, {"detail": "Not found."})
        fault = self.standin.faults.draw() if self.standin.faults else None
        etag = hashlib.md5((store / key).read_bytes()).hexdigest()
        return serve(self, store / key, etag, fault, self.standin.over)

    @route("GET", r"/api/zarr/(?P<asset>[0-9a-f-]{36})/files/?")
    def zarr_objects(self, asset: str) -> None:
        store = self.standin.find(asset)
        if store is None:
            return self.answer(404, {"detail": "Not found."})
        prefix = self.query.get("prefix", "")
        if self.query.get("download") == "true":
            location = f"{self.standin.storage}/zarr/{asset}/{prefix}"
            return self.answer(302, None, {"Location": location})
        actual = [path for path in sorted(store.rglob("*")) if path.is_file()]
        keys = [(path, path.relative_to(store).as_posix()) for path in actual]
        rows = [
            {
                "Key": key,
                "LastModified": _MOMENT,
                "ETag": hashlib.md5(path.read_bytes()).hexdigest(),
                "Size": path.stat().st_size,
            }
            for path, key in keys
            if key.startswith(prefix)
        ]
        return self.page(rows)

    @route("POST", r"/api/uploads/initialize/")
    def upload_begins(self) -> None:
        if not self.keyed():
            return self.answer(401, {"detail": "Authentication credentials were not provided."})
        wanted = json.loads(self.body)
        etag, size = wanted["digest"]["value"], wanted["contentSize"]
        if etag in self.standin.blobs:
            return self.answer(409, {"detail": "Blob already exists."}, {"Location": etag})
        upload = uuid.uuid4().hex
        self.standin.uploads[upload] = {"etag": etag, "parts": {}}
        parts = [
            {
                "part_number": part.number,
                "size": part.size,
                "upload_url": f"{self.standin.storage}/parts/{upload}/{part.number}",
            }
            for part in DandiETag(size).get_parts()
        ]
        return self.answer(200, {"upload_id": upload, "parts": parts})

    @route("PUT", r"/parts/(?P<upload>\w+)/(?P<number>\d+)")
    def part(self, upload: str, number: str) -> None:
        self.standin.uploads[upload]["parts"][int(number)] = self.body
        self.answer(200, None, {"ETag": f'"{hashlib.md5(self.body).hexdigest()}"'})

    @route("POST", r"/api/uploads/(?P<upload>\w+)/complete/")
    def upload_ends(self, upload: str) -> None:
        self.answer(
            200, {"complete_url": f"{self.standin.storage}/joined/{upload}", "body": "<x/>"}
        )

    @route("POST", r"/joined/(?P<upload>\w+)")
    def join(self, upload: str) -> None:
        actual = self.standin.uploads[upload]
        text = f'<R><ETag>"{actual["etag"]}"</ETag></R>'.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    @route("POST", r"/api/uploads/(?P<upload>\w+)/validate/")
    def validate(self, upload: str) -> None:
        actual = self.standin.uploads[upload]
        blob = self.standin.folder / f".{upload}"
        blob.write_bytes(b"".join(actual["parts"][number] for number in sorted(actual["parts"])))
        if etag_of(blob) != actual["etag"]:
            return self.answer(400, {"detail": "The digest does not match."})
        self.standin.blobs[actual["etag"]] = blob
        return self.answer(200, {"blob_id": actual["etag"], "etag": actual["etag"]})

    @route("POST", r"/api/dandisets/(?P<dandiset>\d{6})/versions/draft/assets/")
    def add_asset(self, dandiset: str) -> None:
        self.put_asset(dandiset, None)

    @route(
        "PUT", r"/api/dandisets/(?P<dandiset>\d{6})/versions/draft/assets/(?P<asset>[0-9a-f-]{36})/"
    )
    def replace_asset(self, dandiset: str, asset: str) -> None:
        self.put_asset(dandiset, asset)

    def put_asset(self, dandiset: str, replaced: str | None) -> None:
        if not self.keyed():
            return self.answer(401, {"detail": "Authentication credentials were not provided."})
        sent = json.loads(self.body)
        metadata = sent["metadata"]
        for needed in ("path", "schemaVersion", "encodingFormat"):
            if not metadata.get(needed):
                return self.answer(400, {"metadata": [f"Missing {needed}."]})
        path = self.standin.folder / dandiset / metadata["path"]
        if path.exists() and self.standin.asset_id(path) != replaced:
            return self.answer(409, "An asset with that path already exists")
        name = path.relative_to(self.standin.folder).as_posix()
        if replaced is not None:
            self.standin.metadata.pop(replaced, None)
            self.standin.generations[name] = self.standin.generations.get(name, 0) + 1
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.standin.blobs[sent["blob_id"]].read_bytes())
        self.standin.metadata[self.standin.asset_id(path)] = {
            key: value for key, value in metadata.items() if key not in _COMPUTED
        }
        if self.standin.validation_takes:
            self.standin.waiting[metadata["path"]] = self.standin.validation_takes
        return self.answer(200, self.standin.row(path))
