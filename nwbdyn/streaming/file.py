"""A remote object as a seekable file: blocks in memory, fetched in parallel before they are needed.

h5py reads a little here and there (metadata), then a lot in one place (data). So both ends of the
file come first, a missed block brings its surroundings, a reader that moves on is read ahead for, a
small file that is read here and there comes whole, and ranges known beforehand (`prefetch`) are
merged and fetched together, while the caller is busy with the parts that have arrived.
"""

import io
import logging
import os
import threading
import weakref
from collections import OrderedDict, deque
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from nwbdyn.errors import StreamError
from nwbdyn.progress import Progress, Report, silent
from nwbdyn.streaming import collector
from nwbdyn.streaming.disk import BLOCK, DiskBlocks
from nwbdyn.streaming.remote import Remote

HEAD = 512 << 10  # bytes fetched at the start of the file when it is opened
TAIL = 1 << 20  # bytes fetched at its end
NEAR = 512 << 10  # bytes fetched after a miss
BEFORE = 2  # blocks fetched before it: HDF5 often goes on a little below
AHEAD = 8 << 20  # most bytes fetched ahead of a reader that moves on
SMALL, SCATTERED = 16 << 20, 4  # bytes of a file that comes whole after so many misses
GAP = 256 << 10  # ranges closer than this are fetched as one
SMALLEST_PART, LARGEST_PART = 2 << 20, 8 << 20  # bytes per request of a large read
CONNECTIONS = 8
MEMORY = 256 << 20  # bytes kept
WINDOW = 32 << 20  # bytes of one large read that are on their way together

_log = logging.getLogger(__name__)
_unversioned: "weakref.WeakValueDictionary[int, RangedFile]" = weakref.WeakValueDictionary()


def check_unchanged() -> None:
    """Look at both ends of every open file whose server does not name its version.

    Raises:
        StreamError: one of them was replaced while it was read.
    """
    for file in list(_unversioned.values()):
        file.check_unchanged()


class RangedFile(io.RawIOBase):
    """A remote object opened for reading; safe to share between threads, except the position.

    Args:
        remote: the object, of known size.
        first: offset and bytes of the answer that told the size, if one was asked for it.
        disk: where blocks are kept from one opening to the next.
        memory: most bytes kept in memory.
        report: called with the number of bytes that have arrived, from the reading thread.
    """

    def __init__(
        self,
        remote: Remote,
        *,
        first: tuple[int, bytes] = (0, b""),
        disk: DiskBlocks | None = None,
        memory: int = MEMORY,
        report: Report = silent,
    ) -> None:
        super().__init__()
        self._remote = remote
        self._disk = disk
        self._memory = max(memory, 4 * WINDOW)
        self._report = report
        self._position = 0
        self._blocks: OrderedDict[int, bytes] = OrderedDict()  # least recently used first
        self._held = 0  # bytes in _blocks
        self._pending: set[int] = set()  # blocks on their way
        self._failed: dict[int, str] = {}  # block -> why it did not come
        self._bug: BaseException | None = None  # what a worker died of
        self._planned: deque[tuple[int, int]] = deque()  # parts to fetch as room allows
        self._planned_on_their_way = 0
        self._unread: set[int] = set()  # prefetched blocks that nobody has read yet
        self._end_of_last_miss = -1
        self._misses = 0
        self._ends: dict[int, bytes] = {}  # offset -> bytes of the beginning, to compare with
        self._ahead = NEAR
        self._arrived = threading.Condition()
        self._workers = ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="nwbdyn-stream")
        try:
            self._publish(*first)
            self._open_both_ends()
            if remote.is_unversioned:
                self._remember_both_ends()
        except BaseException:
            self.close()
            raise

    @property
    def name(self) -> str:
        """The file's name in messages."""
        return self._remote.name

    @property
    def size(self) -> int:
        """Bytes."""
        assert self._remote.size is not None
        return self._remote.size

    @property
    def etag(self) -> str | None:
        """The server's ETag of this version of the file, if it sends one."""
        return self._remote.etag

    @property
    def transferred(self) -> int:
        """Bytes received so far."""
        return self._remote.transferred

    @property
    def requests(self) -> int:
        """HTTP requests made so far."""
        return self._remote.requests

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.size}[whence]
        if base + offset < 0:
            raise ValueError(f"cannot seek to {base + offset}")
        self._position = base + offset
        return self._position

    def readinto(self, buffer: "memoryview | bytearray") -> int:  # type: ignore[override]
        """Fill `buffer` from the position on; fewer bytes only at the end of the file.

        Raises:
            StreamError: the bytes did not arrive, or are no longer those of the file opened.
        """
        if self.closed:
            raise ValueError("read of a closed file")
        target = memoryview(buffer).cast("B")
        start = self._position
        stop = min(start + len(target), self.size)
        if start >= stop:
            return 0
        windows = [(at, min(at + WINDOW, stop)) for at in range(start, stop, WINDOW)]
        for number, (begin, end) in enumerate(windows):
            self._want(begin, windows[min(number + 1, len(windows) - 1)][1])
            self._copy(begin, end, target[begin - start : end - start])
            self._report(Progress("streaming", self.transferred, None, "bytes"))
        self._position = stop
        return stop - start

    def read(self, size: int | None = -1) -> bytes:
        """Up to `size` bytes from the position on; all that are left for None or -1."""
        left = max(0, self.size - self._position)
        buffer = bytearray(left if size is None or size < 0 else min(size, left))
        return bytes(memoryview(buffer)[: self.readinto(buffer)])

    def prefetch(self, ranges: Iterable[tuple[int, int]]) -> None:
        """Start fetching byte ranges that will be read soon, in this order, and return at once.

        Args:
            ranges: (start, stop) pairs of bytes. Neighbours are merged, and come when the first of
                them is due; what is here or on its way is left out. No more is fetched than fits in
                memory until some of it is read.
        """
        inside = ((max(0, start), min(stop, self.size)) for start, stop in ranges)
        due = sorted((start, stop, position) for position, (start, stop) in enumerate(inside))
        merged: list[list[int]] = []  # place in the order, start, stop
        for start, stop, position in due:
            if start >= stop:
                continue
            if merged and start - merged[-1][2] <= GAP:
                first, begin, end = merged[-1]
                merged[-1] = [min(first, position), begin, max(end, stop)]
            else:
                merged.append([position, start, stop])
        with self._arrived:
            for _, start, stop in sorted(merged):
                self._planned.extend(self._missing_parts(start, stop))
            self._start_planned()

    def check_unchanged(self) -> None:
        """Compare size and both ends with those of the beginning, unless the server names versions.

        Raises:
            StreamError: the file was replaced while it was read.
        """
        for offset, before in self._ends.items():
            start, now = self._remote.get(offset, offset + len(before))
            if now[offset - start : offset - start + len(before)] != before:
                raise StreamError(
                    f"{self.name}: the remote file has other content now; it was replaced while it "
                    "was read, open it again."
                )

    def __exit__(self, *exc: object) -> None:
        """Close the file; without an error on the way, once it is known to be unchanged."""
        try:
            if exc[0] is None and not self.closed:
                self.check_unchanged()
        finally:
            self.close()

    def _remember_both_ends(self) -> None:
        _log.warning(
            "%s: its server sends neither ETag nor Last-Modified; whether the file changes while "
            "it is read is judged by its size and its first and last bytes.",
            self.name,
        )
        last = (self.size - 1) // BLOCK
        self._ends = {number * BLOCK: bytes(self._take(number)) for number in (0, last)}
        _unversioned[id(self)] = self

    def close(self) -> None:
        """Let go of the connections; parts on their way are given up."""
        if self.closed:
            return
        super().close()
        self._remote.close()
        self._workers.shutdown(wait=False, cancel_futures=True)
        with self._arrived:
            self._blocks.clear()
            self._planned.clear()
            self._pending.clear()
            self._arrived.notify_all()

    def _open_both_ends(self) -> None:
        if self.size == 0:
            raise StreamError(f"{self.name}: the file is empty; expected an NWB file.")
        with self._arrived:
            for start, stop in ((0, HEAD), (self.size - TAIL, self.size)):
                for part in self._missing_parts(max(0, start), min(stop, self.size)):
                    self._submit(*part)
        self._take(0)

    def _want(self, start: int, stop: int) -> None:
        """Have the bytes from `start` to `stop` on their way, and more where that is likely."""
        with self._arrived:
            parts = self._missing_parts(start, stop)
            if not parts:
                return
            first = parts[0][0] * BLOCK
            if first == self._end_of_last_miss:
                self._ahead = min(2 * self._ahead, AHEAD)
            else:
                self._ahead = NEAR
                start = max(0, first - BEFORE * BLOCK)
            stop = min(max(stop, first + self._ahead), self.size)
            for part in self._missing_parts(start, stop):
                self._submit(*part)
                self._end_of_last_miss = part[1] * BLOCK
            self._misses += 1
            if self._misses == SCATTERED and self.size <= SMALL:
                self.prefetch([(0, self.size)])

    def _missing_parts(self, start: int, stop: int) -> list[tuple[int, int]]:
        """Block ranges of requests for what of `start` to `stop` is neither here nor coming."""
        blocks = range(start // BLOCK, -(-stop // BLOCK))
        runs = _runs(n for n in blocks if n not in self._blocks and n not in self._pending)
        missing = sum(after - first for first, after in runs) * BLOCK
        size = min(max(missing // CONNECTIONS, SMALLEST_PART), LARGEST_PART) // BLOCK
        return [
            (at, min(at + size, after)) for first, after in runs for at in range(first, after, size)
        ]

    def _submit(self, first: int, after: int, *, planned: bool = False) -> None:
        blocks = range(first, after)
        self._pending.update(blocks)
        for block in blocks:
            self._failed.pop(block, None)
        collector.hold()
        try:
            job = self._workers.submit(self._load, first, after, planned)
        except RuntimeError:  # closed by another thread
            self._pending.difference_update(blocks)
            collector.release()
            raise ValueError("read of a closed file") from None
        job.add_done_callback(lambda _: collector.release())

    def _load(self, first: int, after: int, planned: bool) -> None:
        """Fetch one part, in a worker; the outcome is published before the worker is done."""
        failure = ""
        try:
            self._fetch(first, after)
        except StreamError as error:
            # Only the words are kept: an exception that lives on keeps its callers' frames, and
            # h5py's among them crash the interpreter when they are freed at its end.
            failure = str(error)
        except BaseException as error:  # the reader has to wake up to a bug all the same
            self._bug = error
        with self._arrived:
            self._pending.difference_update(range(first, after))
            if failure:
                self._failed.update(dict.fromkeys(range(first, after), failure))
                self._unread.difference_update(range(first, after))
            self._planned_on_their_way -= planned
            self._arrived.notify_all()
            if not self.closed:
                self._start_planned()

    def _fetch(self, first: int, after: int) -> None:
        """Publish the blocks of one part, from disk where they are there."""
        here = self._disk.read(first, after) if self._disk else {}
        for number, block in here.items():
            self._publish(number * BLOCK, block)
        for begin, end in _runs(number for number in range(first, after) if number not in here):
            arrived = self._remote.get(begin * BLOCK, min(end * BLOCK, self.size))
            if self._disk:  # first, so that whatever a reader has seen is there the next time
                self._disk.write(*arrived)
            self._publish(*arrived)

    def _publish(self, offset: int, data: bytes) -> None:
        with self._arrived:
            for at in range(0, len(data), BLOCK):
                number, block = (offset + at) // BLOCK, data[at : at + BLOCK]
                if number not in self._blocks:
                    self._blocks[number] = block
                    self._held += len(block)
            while self._held > self._memory:
                number, block = self._blocks.popitem(last=False)
                self._held -= len(block)
                self._unread.discard(number)
            self._arrived.notify_all()

    def _copy(self, start: int, stop: int, target: memoryview) -> None:
        for block in range(start // BLOCK, -(-stop // BLOCK)):
            data = memoryview(self._take(block))
            begin, end = max(start, block * BLOCK), min(stop, block * BLOCK + len(data))
            target[begin - start : end - start] = data[begin - block * BLOCK : end - block * BLOCK]

    def _take(self, block: int) -> bytes:
        """One block, waited for."""
        with self._arrived:
            while True:
                if (data := self._blocks.get(block)) is not None:
                    self._blocks.move_to_end(block)
                    if block in self._unread:
                        self._unread.discard(block)
                        self._start_planned()
                    return data
                if failure := self._failed.pop(block, ""):
                    raise StreamError(failure)
                if self._bug is not None:
                    raise self._bug
                if self.closed:
                    raise ValueError("read of a closed file")
                if block not in self._pending:
                    self._submit(block, block + 1)
                self._arrived.wait()

    def _start_planned(self) -> None:
        """Send for planned parts, leaving room for what was planned and not read yet."""
        while self._planned and self._planned_on_their_way < CONNECTIONS - 1:
            first, after = self._planned[0]
            coming = (len(self._unread) + after - first) * BLOCK
            if self._unread and coming > self._memory // 2:
                return
            self._planned.popleft()
            for part in self._missing_parts(first * BLOCK, min(after * BLOCK, self.size)):
                self._unread.update(range(*part))
                self._planned_on_their_way += 1
                self._submit(*part, planned=True)


def _runs(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """(first, after) of each run of consecutive numbers."""
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and runs[-1][1] == number:
            runs[-1] = (runs[-1][0], number + 1)
        else:
            runs.append((number, number + 1))
    return runs
