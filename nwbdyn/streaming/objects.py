"""Whole objects of remote stores cached on disk, beside the blocks of remote files.

    <cache folder>/streams/<key>/<name>        one object: CRC-32 and length, then its bytes

An object is written beside its place and moved there, and compared with its CRC-32 whenever it is
read. Limit, clearing and what goes first are those of `disk`.
"""

import logging
import os
import struct
import tempfile
import zlib
from pathlib import Path

from nwbdyn import cache
from nwbdyn.streaming import disk

_HEAD = struct.Struct("<IQ")  # CRC-32, bytes

_log = logging.getLogger(__name__)


class DiskObjects:
    """The objects of one remote store that are on disk; any thread, any number of processes.

    Args:
        identity: names the content of the whole store and nothing else: its digest.
    """

    def __init__(self, identity: str) -> None:
        self._limit = disk.limit()
        self._root = cache.folder("streams")
        self._folder = self._root / disk.name_of(identity)
        self._works = self._limit > 0
        self._written = self._limit  # bytes since the limit was last looked at

    def read(self, key: str) -> bytes | None:
        """An object; None where it is not here, or damaged."""
        if not self._works:
            return None
        path = self._path(key)
        try:
            content = path.read_bytes()
            os.utime(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            self._give_up(error)
            return None
        if len(content) < _HEAD.size:
            return None
        (checksum, length), body = _HEAD.unpack_from(content), content[_HEAD.size :]
        return body if len(body) == length and zlib.crc32(body) == checksum else None

    def write(self, key: str, body: bytes) -> None:
        """Keep an object."""
        coming = disk.on_disk(_HEAD.size + len(body))
        if not self._works or coming > self._limit:
            return
        try:
            self._written = disk.make_room(self._root, self._limit, self._written, coming)
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with tempfile.NamedTemporaryFile(dir=self._folder, delete=False) as file:
                file.write(_HEAD.pack(zlib.crc32(body), len(body)) + body)
            os.replace(file.name, self._path(key))
        except OSError as error:
            self._give_up(error)

    def _path(self, key: str) -> Path:
        return self._folder / disk.name_of(key)

    def _give_up(self, error: OSError) -> None:
        if self._works:
            self._works = False
            _log.warning("Streaming goes on without the cache in %s: %s", self._root, error)
