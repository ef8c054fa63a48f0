"""The objects of a Zarr store: a local folder, or everything below one http address.

Each object is small and whole: a piece of metadata or one chunk. Several are fetched at once.
"""

import hashlib
import re
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

import requests
import urllib3

from nwbdyn import archive
from nwbdyn.errors import AddressError, StreamError
from nwbdyn.progress import Progress, Report, silent
from nwbdyn.recording import Source
from nwbdyn.streaming.objects import DiskObjects

T = TypeVar("T")

AT_ONCE = 8  # objects fetched or inflated at the same time
ATTEMPTS = 6  # failures in a row of one object
PAUSE = 0.25  # seconds before the second attempt; doubles with each failure
PATIENCE = (10.0, 20.0)  # seconds for a connection, and without a byte
PASSING = (408, 425, 429, 500, 502, 503, 504)  # statuses worth asking again
MD5 = re.compile(r'"([0-9a-f]{32})"')  # the ETag of an object that was sent in one part


class Store(ABC):
    """Objects by their keys, read from any number of threads; use it in a `with` block."""

    def __init__(self, name: str) -> None:
        self.name = name  # what messages call it
        self._workers = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="nwbdyn-zarr")

    @abstractmethod
    def get(self, key: str) -> bytes | None:
        """One object; None if it does not exist.

        Raises:
            StreamError, OSError: it is there and cannot be had.
        """

    def names(self, key: str) -> list[str] | None:
        """The names directly below a key; None where a store cannot list."""
        return None

    def each(self, work: Callable[[str], T], keys: Iterable[str]) -> Iterator[T]:
        """`work` done on every key, several at once, in order; at most a few are held."""
        remaining = iter(keys)
        while batch := list(islice(remaining, 4 * AT_ONCE)):
            yield from self._workers.map(work, batch)

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the threads and connections."""
        self._workers.shutdown(wait=False, cancel_futures=True)


class Folder(Store):
    """A store in a local folder."""

    def __init__(self, path: Path, name: str) -> None:
        super().__init__(name)
        self._path = path

    def get(self, key: str) -> bytes | None:
        try:
            return (self._path / _checked(key)).read_bytes()
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
        report: told how many bytes have arrived.
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

    def get(self, key: str) -> bytes | None:
        content = self._kept.read(key) if self._kept else None
        if content is None:
            content = self._fetch(key)
            if content is not None and self._kept:
                self._kept.write(key, content)
        return content

    def _fetch(self, key: str) -> bytes | None:
        url = f"{self._url}/{quote(_checked(key))}"
        reason = ""
        for attempt in range(ATTEMPTS):
            if attempt:
                time.sleep(min(PAUSE * 2 ** (attempt - 1), 8.0))
            try:
                answer = self._session.get(
                    url, headers={"Accept-Encoding": "identity"}, timeout=PATIENCE
                )
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
            if answer.status_code != 200:
                raise StreamError(
                    f"{self.name}: the server answered HTTP {answer.status_code} for {key}; is the "
                    "store public, and still there?"
                )
            stated = MD5.fullmatch(answer.headers.get("ETag", ""))
            if stated and hashlib.md5(body).hexdigest() != stated[1]:
                reason = "the bytes are not those that the server names"
                continue
            return body
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


def _checked(key: str) -> str:
    """The key, unless it would lead out of the store."""
    if key.startswith("/") or ".." in key.split("/") or "\\" in key:
        raise OSError(f"the key {key!r} leads out of the store")
    return key
