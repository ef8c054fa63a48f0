"""Blocks of remote files cached on disk, so that a second open of the same bytes fetches nothing.

    <cache folder>/streams/<key>/<number>      one segment: SEGMENT blocks of one remote file

A segment starts with one entry per block, its CRC-32 and length, and leaves holes for blocks that
are not there. A block is written before its entry and compared with it whenever it is read, so a
crash, a full disk or a second process that writes the same segment costs a block, never its truth.
The key comes from a digest of the content. Segments used longest ago go first when the size limit
is reached.
"""

import hashlib
import logging
import os
import re
import shutil
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from nwbdyn import cache
from nwbdyn.errors import ConfigError

BLOCK = 64 << 10  # bytes; the grid of everything that is fetched and kept
SEGMENT = 64  # blocks per file on disk
LIMIT = 10 << 30  # bytes on disk, unless LIMIT_VARIABLE says otherwise
LIMIT_VARIABLE = "NWBDYN_CACHE_SIZE"  # "20 GB", "500 MB", bytes; 0 keeps nothing
_CHECK_AFTER = 64 << 20  # most bytes written before the limit is looked at again
_PAGE = 4096  # bytes; what a file system gives at least
_ENTRY = struct.Struct("<II")  # CRC-32, bytes; a length of 0 says that there is no block
_ENTRIES = SEGMENT * _ENTRY.size
_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Usage:
    """Contents and size of the cache."""

    folder: Path
    files: int  # remote files of which it holds something
    size: int  # bytes on disk
    limit: int  # bytes


def usage() -> Usage:
    """Number of files and bytes in the cache."""
    root = cache.folder("streams")
    segments = list(_segments(root))
    files = {path.parent for path, _, _ in segments}
    return Usage(root, len(files), sum(size for _, size, _ in segments), limit())


def clear() -> None:
    """Remove every block; files that are open go on without them."""
    shutil.rmtree(cache.folder("streams"), ignore_errors=True)


def limit() -> int:
    """Most bytes to keep on disk.

    Raises:
        ConfigError: the environment variable holds no size.
    """
    text = os.environ.get(LIMIT_VARIABLE)
    if text is None:
        return LIMIT
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?b?)\s*", text.lower())
    unit = match and _UNITS.get(match[2] if match[2] in ("", "b") else match[2].rstrip("b") + "b")
    if not match or unit is None:
        raise ConfigError(f"{LIMIT_VARIABLE} is '{text}'; expected a size such as 20 GB, or 0.")
    return int(float(match[1]) * unit)


def trim(root: Path, most: int) -> None:
    """Remove the segments used longest ago until no more than `most` bytes are left."""
    segments = sorted(_segments(root), key=lambda segment: segment[2])
    excess = sum(size for _, size, _ in segments) - most
    for path, size, _ in segments:
        if excess <= 0:
            break
        path.unlink(missing_ok=True)
        excess -= size


def name_of(identity: str) -> str:
    """Name of a content in the cache."""
    return hashlib.sha256(identity.encode()).hexdigest()[:32]


def make_room(root: Path, most: int, written: int, coming: int) -> int:
    """Trim the cache where bytes that come would make it larger than `most`, now and then.

    Args:
        root: of the cache.
        most: bytes that it may hold.
        written: bytes since it was last looked at; `most` at first, as others write there too.
        coming: bytes that are about to be written.

    Returns:
        `written` with them.
    """
    step = min(_CHECK_AFTER, most // 8)
    if written + coming <= step:
        return written + coming
    trim(root, most - step - coming)
    return coming


def on_disk(size: int) -> int:
    """Bytes that some bytes take with the lists and pages of their segments, at most."""
    return size + (size // (SEGMENT * BLOCK) + 2) * 2 * _PAGE


class DiskBlocks:
    """The blocks of one remote file that are on disk; any thread, any number of processes.

    Args:
        identity: names the content and nothing else: a digest, or address, ETag and size.
    """

    def __init__(self, identity: str) -> None:
        self._limit = limit()
        self._root = cache.folder("streams")
        self._folder = self._root / name_of(identity)
        self._works = self._limit > 0
        self._written = self._limit  # bytes since the limit was last looked at
        self._touched: set[int] = set()  # segments marked as used

    def read(self, first: int, after: int) -> dict[int, bytes]:
        """Those of the blocks from `first` to before `after` that are on disk and sound."""
        blocks: dict[int, bytes] = {}
        for segment in range(first // SEGMENT, -(-after // SEGMENT)) if self._works else ():
            base = segment * SEGMENT
            wanted = range(max(first, base), min(after, base + SEGMENT))
            try:
                with open(self._folder / str(segment), "rb") as file:
                    blocks |= _sound_blocks(file, base, wanted)
                self._touch(segment)
            except FileNotFoundError:
                continue
            except OSError as error:
                self._give_up(error)
        return blocks

    def write(self, offset: int, data: bytes) -> None:
        """Keep the whole blocks of `data`, which starts at byte `offset` of the file."""
        coming = on_disk(len(data))
        if not self._works or coming > self._limit:
            return
        try:
            self._written = make_room(self._root, self._limit, self._written, coming)
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            for at in range(0, len(data), BLOCK):
                self._write_block((offset + at) // BLOCK, data[at : at + BLOCK])
        except OSError as error:
            self._give_up(error)

    def _write_block(self, number: int, block: bytes) -> None:
        segment, position = divmod(number, SEGMENT)
        flags = (
            os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0)
        )  # neither truncated nor appended
        with os.fdopen(os.open(self._folder / str(segment), flags, 0o600), "r+b") as file:
            file.seek(_ENTRIES + position * BLOCK)
            file.write(block)
            file.flush()
            file.seek(position * _ENTRY.size)
            file.write(_ENTRY.pack(zlib.crc32(block), len(block)))

    def _touch(self, segment: int) -> None:
        if segment not in self._touched:
            self._touched.add(segment)
            os.utime(self._folder / str(segment))

    def _give_up(self, error: OSError) -> None:
        if self._works:
            self._works = False
            _log.warning("Streaming goes on without the cache in %s: %s", self._root, error)


def _sound_blocks(file: BinaryIO, base: int, wanted: range) -> dict[int, bytes]:
    entries = file.read(_ENTRIES)
    blocks = {}
    for number in wanted:
        position = number - base
        if len(entries) < (position + 1) * _ENTRY.size:
            continue
        checksum, length = _ENTRY.unpack_from(entries, position * _ENTRY.size)
        if 0 < length <= BLOCK:
            file.seek(_ENTRIES + position * BLOCK)
            block = file.read(length)
            if len(block) == length and zlib.crc32(block) == checksum:
                blocks[number] = block
    return blocks


def _segments(root: Path) -> Iterator[tuple[Path, int, float]]:
    """Path, bytes on disk and time of last use of every segment."""
    try:
        folders = [entry for entry in os.scandir(root) if entry.is_dir()]
    except FileNotFoundError:
        return
    for folder in folders:
        for entry in os.scandir(folder):
            try:
                status = entry.stat()
            except FileNotFoundError:  # another process removed it
                continue
            on_disk = getattr(status, "st_blocks", 0) * 512 or status.st_size
            yield Path(entry.path), on_disk, status.st_mtime
