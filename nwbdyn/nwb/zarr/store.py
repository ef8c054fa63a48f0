"""The objects of a Zarr store: a local folder, or everything below one http address.

Each object is small and whole: a piece of metadata or one chunk. Several are fetched at once.
"""

import hashlib
import os
import re
import threading
import time
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import requests
import urllib3

from nwbdyn import archive
from nwbdyn.errors import AddressError, StreamError
from nwbdyn.progress import Progress, Report, silent
from nwbdyn.recording import Source
from nwbdyn.streaming.objects import DiskObjects

AT_ONCE = 8  # objects fetched or inflated at the same time
ATTEMPTS = 6  # failures in a row of one object
PAUSE = 0.25  # seconds before the second attempt; doubles with each failure
PATIENCE = (10.0, 20.0)  # seconds for a connection, and without a byte
PASSING = (408, 425, 429, 500, 502, 503, 504)  # statuses worth asking again
CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")
MD5 = re.compile(r'"([0-9a-f]{32})"')  # the ETag of an object that was sent in one part


class Store(ABC):
    """Objects by their keys, read from any number of threads; use it in a `with` block."""

    def __init__(self, name: str) -> None:
        self.name = name  # what messages call it
        self.workers = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="nwbdyn-zarr")

    @abstractmethod
    def get(self, key: str, part: slice | None = None) -> bytes | None:
        """One object, or a part of its bytes; None if it does not exist.

        Raises:
            StreamError, OSError: it is there and cannot be had.
        """

    def names(self, key: str) -> list[str] | None:
        """The names directly below a key; None where a store cannot list."""
        return None

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the threads and connections."""
        self.workers.shutdown(wait=False, cancel_futures=True)


class Folder(Store):
    """A store in a local folder."""

    def __init__(self, path: Path, name: str) -> None:
        super().__init__(name)
        self._path = path

    def get(self, key: str, part: slice | None = None) -> bytes | None:
        try:
            with (self._path / _checked(key)).open("rb") as file:
                start, stop, _ = (part or slice(None)).indices(os.fstat(file.fileno()).st_size)
                file.seek(start)
                return file.read(stop - start)
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            return None

    def names(self, key: str) -> list[str]:
        try:
            return sorted(item.name for item in (self._path / _checked(key)).iterdir())
        except (FileNotFoundError, NotADirectoryError):
            return []


class Web(Store):
    """A store below an http address.

    Args:
        url: of the store's root.
        name: what messages call it.
        kept: objects that are on disk already; None where the store's content has no digest.
        report: called with the number of bytes that have arrived.
    """

    def __init__(
        self, url: str, name: str, *, kept: DiskObjects | None = None, report: Report = silent
    ) -> None:
        super().__init__(name)
        self.transferred = 0  # bytes
        self.requests = 0
        self._url = url.rstrip("/")
        self._kept = kept
        self._report = report
        self._lock = threading.Lock()
        self._session = requests.Session()
        adapter = requests.adapters.HTTPAdapter(pool_connections=1, pool_maxsize=AT_ONCE)
        self._session.mount(f"{self._url.split('//')[0]}//", adapter)

    def get(self, key: str, part: slice | None = None) -> bytes | None:
        name = key if part is None else f"{key} {part.start}:{part.stop}"
        content = self._kept.read(name) if self._kept else None
        if content is None:
            content = self._fetch(key, part)
            if content is not None and self._kept:
                self._kept.write(name, content)
        return content

    def _fetch(self, key: str, part: slice | None) -> bytes | None:
        url = f"{self._url}/{quote(_checked(key))}"
        headers = {"Accept-Encoding": "identity"} | _ranged(part)
        reason = ""
        for attempt in range(ATTEMPTS):
            if attempt:
                time.sleep(min(PAUSE * 2 ** (attempt - 1), 8.0))
            try:
                answer = self._session.get(url, headers=headers, timeout=PATIENCE)
                body = answer.content
            except (requests.RequestException, urllib3.exceptions.HTTPError):
                reason = "no connection, or it broke"
                continue
            self._count(len(body))
            if answer.status_code == 404:
                return None
            if answer.status_code in PASSING:
                reason = f"the server answered HTTP {answer.status_code}"
                continue
            if answer.status_code == 206 and part is not None:
                if _is_part(answer.headers.get("Content-Range", ""), part, len(body)):
                    return body
                reason = "the bytes are not those that were requested"
                continue
            if answer.status_code != 200:
                raise StreamError(
                    f"{self.name}: the server answered HTTP {answer.status_code} for {key}; is the "
                    "store public, and still there?"
                )
            stated = MD5.fullmatch(answer.headers.get("ETag", ""))
            if stated and hashlib.md5(body).hexdigest() != stated[1]:
                reason = "the bytes are not those that the server names"
                continue
            return body if part is None else body[part]
        raise StreamError(f"{self.name}: {reason} ({key}); gave up after {ATTEMPTS} attempts.")

    def close(self) -> None:
        super().close()
        self._session.close()

    def _count(self, size: int) -> None:
        with self._lock:
            self.requests += 1
            self.transferred += size
            self._report(Progress("streaming", self.transferred, None, "bytes"))


def open_store(source: Source, *, report: Report = silent) -> Store:
    """The store that a Source names, to be closed by the caller.

    Raises:
        AddressError: the folder is not there.
    """
    if source.path is not None:
        if not source.path.is_dir():
            raise AddressError(f"Cannot read '{source.path}'; expected a Zarr folder.")
        return Folder(source.path, source.uri)
    kept = None if source.digest is None else DiskObjects(source.digest)
    return Web(archive.signed_url(source), source.uri, kept=kept, report=report)


def _ranged(part: slice | None) -> dict[str, str]:
    """The header that requests a part: from the start, or the last bytes."""
    if part is None:
        return {}
    if part.start < 0:
        return {"Range": f"bytes={part.start}"}
    return {"Range": f"bytes={part.start}-{'' if part.stop is None else part.stop - 1}"}


def _is_part(named: str, part: slice, length: int) -> bool:
    """True if a Content-Range names the part, and the body has its length."""
    bounds = CONTENT_RANGE.fullmatch(named)
    if bounds is None:
        return False
    start, last, size = map(int, bounds.groups())
    return part.indices(size)[:2] == (start, last + 1) and length == last + 1 - start


def _checked(key: str) -> str:
    """The key, unless it would lead out of the store."""
    if key.startswith("/") or ".." in key.split("/") or "\\" in key:
        raise OSError(f"the key {key!r} leads out of the store")
    return key
