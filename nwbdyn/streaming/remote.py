"""One byte range of a remote object: exactly the requested bytes, or an error.

Every answer is checked against what the first one said: where the range starts and ends, the total
size, the ETag. An answer that could be a passing fault is asked for again, from the byte where it
broke off; one that says the object changed ends the reading at once. What headers cannot betray (a
storage that sends wrong bytes under right headers) is left to the digest of a whole download.
"""

import email.utils
import http.client
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import requests
import urllib3

from nwbdyn.errors import NwbdynError, StreamError

WHOLE_LIMIT = 64 << 20  # bytes accepted from a server that sends the whole file for a range
_STEP = 256 << 10  # most bytes taken from the socket at once
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")
_PASSING = (408, 425, 429, 500, 502, 503, 504)  # statuses worth asking again
_LONGEST_PAUSE = 30.0  # seconds; a server that asks for more is given up on


@dataclass(frozen=True)
class Patience:
    """Time limits for bytes to arrive, in seconds."""

    connect: float = 10.0  # for a connection
    silence: float = 20.0  # without a single byte, or with fewer than `slowest` bytes per second
    total: float = 300.0  # for one range, retries and pauses included
    attempts: int = 6  # failures in a row without a byte between them
    pause: float = 0.25  # before the second attempt; doubles with each failure
    slowest: float = 2000.0  # bytes per second below which another connection is tried


PATIENCE = Patience()


class _TryAgainError(Exception):
    """A response that may be a passing fault: retry once."""

    def __init__(self, reason: str, pause: float | None = None) -> None:
        super().__init__(reason)
        self.pause = pause  # seconds that the server asked for


class Remote:
    """A remote object, read by ranges from any number of threads.

    Args:
        name: what messages call it; never the URL, which may carry a signature.
        url: where to read first.
        renew: a fresh URL, after the server refused the last one; None when there is no other.
        size: bytes, where known beforehand; else the first answer tells.
        patience: limits on waiting.
    """

    def __init__(
        self,
        name: str,
        url: str,
        *,
        renew: Callable[[], str] | None = None,
        size: int | None = None,
        patience: Patience = PATIENCE,
    ) -> None:
        self.name = name
        self.size = size
        self.etag: str | None = None
        self.transferred = 0  # bytes of content received, thrown-away ones included
        self.requests = 0  # HTTP requests made
        self._url = url
        self._renew = renew
        self._renewed = 0  # how often the URL was renewed
        self._patience = patience
        self._answered = False  # whether the server ever answered
        self._seen = False  # whether an answer has fixed the ETag
        self._idle: list[requests.Session] = []  # connections kept alive, hottest last
        self._lock = threading.Lock()
        self._closed = threading.Event()

    def get(self, start: int, stop: int) -> tuple[int, bytes]:
        """The bytes from `start` to `stop`, or fewer where the object ends before.

        Returns:
            The offset of the first byte and the bytes. A server that ignores ranges may be answered
            for with the whole object: offset 0.

        Raises:
            StreamError: they do not arrive within the limits, or are not those of the first answer.
        """
        deadline = time.monotonic() + self._patience.total
        got = bytearray()
        failures = 0
        while True:
            before = len(got)
            url, generation = self._url, self._renewed
            try:
                if self._ask(url, start, stop, got, deadline):
                    return 0, bytes(got)
                return start, bytes(got)
            except _TryAgainError as fault:
                failures = 1 if len(got) > before else failures + 1
                reason, pause = str(fault), fault.pause
            except PermissionError as refusal:
                failures += 1
                reason, pause = str(refusal), 0.0
                self._renew_url(generation, reason)
            # What never answered is not there, more likely than not.
            if failures >= (self._patience.attempts if self._answered else 3):
                raise StreamError(f"{self.name}: {reason}; gave up after {failures} attempts.")
            if pause is None:
                pause = min(self._patience.pause * 2 ** (failures - 1), 8.0)
            if pause > _LONGEST_PAUSE or time.monotonic() + pause > deadline:
                raise StreamError(f"{self.name}: {reason}; try again later.")
            if self._closed.wait(pause):
                raise StreamError(f"{self.name}: closed while bytes were on their way.")

    @property
    def is_unversioned(self) -> bool:
        """True where the server answered and named neither ETag nor time of change."""
        return self._seen and self.etag is None

    def close(self) -> None:
        """Close the connections; ranges on their way end in an error."""
        self._closed.set()
        with self._lock:
            idle, self._idle = self._idle, []
        for session in idle:
            session.close()

    def _ask(self, url: str, start: int, stop: int, got: bytearray, deadline: float) -> bool:
        """One request for what is still missing, appended to `got`; True if `got` is the whole."""
        session = self._take_session()
        headers = {"Range": f"bytes={start + len(got)}-{stop - 1}", "Accept-Encoding": "identity"}
        limits = (self._patience.connect, self._patience.silence)
        try:
            with self._lock:
                self.requests += 1
            with session.get(url, headers=headers, stream=True, timeout=limits) as answer:
                self._answered = True
                whole, length = self._judge(answer, start + len(got), stop)
                if whole:
                    got.clear()
                self._receive(answer, got, length, deadline)
                if answer.history and self._url == url:
                    self._url = answer.url  # spare the redirect from now on
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            session.close()
            raise _TryAgainError(_in_words(error)) from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            session.close()
            if isinstance(error, PermissionError):
                raise
            raise _TryAgainError(_in_words(error)) from None
        except BaseException:
            session.close()
            raise
        with self._lock:
            if not self._closed.is_set():
                self._idle.append(session)
                return whole
        session.close()
        return whole

    def _receive(
        self, answer: requests.Response, got: bytearray, length: int, deadline: float
    ) -> None:
        """Append exactly `length` bytes of the answer's body."""
        missing = length
        since, lately = time.monotonic(), 0
        while missing:
            block = answer.raw.read1(min(missing, _STEP), decode_content=False)
            if not block:
                raise _TryAgainError(f"the answer broke off {missing:,} bytes before its end")
            got += block
            missing -= len(block)
            lately += len(block)
            with self._lock:
                self.transferred += len(block)
            now = time.monotonic()
            if now > deadline:
                raise StreamError(
                    f"{self.name}: {length:,} bytes took longer than {self._patience.total:.0f} s; "
                    "the connection is too slow, try again later."
                )
            if now - since > self._patience.silence:
                if lately < self._patience.slowest * (now - since):
                    raise _TryAgainError("the server became too slow")
                since, lately = now, 0
            if self._closed.is_set():
                raise StreamError(f"{self.name}: closed while bytes were on their way.")
        if answer.raw.read1(1, decode_content=False):
            del got[len(got) - length :]
            raise _TryAgainError("the answer went on after its end")

    def _judge(self, answer: requests.Response, start: int, stop: int) -> tuple[bool, int]:
        """True if the response is the whole object instead of the range, and the bytes it must
        have.

        Raises `_TryAgainError`, StreamError, or PermissionError when the URL is refused.
        """
        status = answer.status_code
        if status in (401, 403):
            raise PermissionError(f"access refused (HTTP {status})")
        if status in _PASSING:
            raise _TryAgainError(f"the server answered HTTP {status}", _retry_after(answer))
        if status == 416 and self.size is None and start == 0:
            raise StreamError(f"{self.name}: the file is empty; expected an NWB file.")
        if status == 416:
            self._changed("is shorter now")
        if status not in (200, 206):
            raise StreamError(f"{self.name}: the server answered HTTP {status}; is it still there?")
        if answer.headers.get("Content-Encoding", "identity") != "identity":
            raise _TryAgainError("the server sent a compressed answer")
        if status == 206:
            match = _CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", ""))
            if not match:
                raise _TryAgainError("the server did not say which bytes it sent")
            first, last = int(match[1]), int(match[2])
            total = self._total(answer.url) if match[3] == "*" else int(match[3])
            if first != start or last != min(stop, total) - 1 or last < first:
                raise _TryAgainError("the server sent other bytes than it was asked for")
            self._compare(total, answer)
            return False, last + 1 - first
        total = int(answer.headers.get("Content-Length", -1))
        if total < 0 or (self.size is None and total == stop - start):
            raise _TryAgainError("the server ignored the byte range")
        if total > WHOLE_LIMIT or (self.size is not None and total != self.size):
            raise _TryAgainError(
                "the server ignores byte ranges, so the file cannot be streamed: download it and "
                "give the local path"
            )
        self._compare(total, answer)
        return True, total

    def _total(self, url: str) -> int:
        """Size of the object in bytes, from the response if its ranges do not state it."""
        if self.size is not None:
            return self.size
        limits = (self._patience.connect, self._patience.silence)
        with self._lock:
            self.requests += 1
        headers = {"Accept-Encoding": "identity"}
        with requests.get(url, headers=headers, stream=True, timeout=limits) as answer:
            length = answer.headers.get("Content-Length", "")
            if answer.status_code == 200 and length.isdecimal():
                return int(length)
        raise StreamError(
            f"{self.name}: the server does not say how large the file is, so it cannot be "
            "streamed: download it and give the local path."
        )

    def _compare(self, total: int, answer: requests.Response) -> None:
        """Hold the answer's size and ETag against the first answer's."""
        etag = answer.headers.get("ETag") or answer.headers.get("Last-Modified")
        with self._lock:
            if self.size is None:
                self.size = total
            if not self._seen:
                self._seen, self.etag = True, etag
        if total != self.size:
            self._changed(f"has {total:,} bytes instead of {self.size:,}")
        if self.etag is not None and etag is None:
            raise _TryAgainError("the server left out the ETag")
        if etag != self.etag:
            self._changed("has another ETag")

    def _changed(self, how: str) -> None:
        raise StreamError(
            f"{self.name}: the remote file {how}; it was replaced while it was read, open it again."
        )

    def _renew_url(self, generation: int, reason: str) -> None:
        """Request a fresh URL, once for all threads whose URL was refused."""
        with self._lock:
            if self._renewed > generation:
                return
            if self._renew is None:
                raise StreamError(
                    f"{self.name}: {reason}; expected a public file, or an address with a valid "
                    "signature."
                )
            try:
                self._url = self._renew()
            except NwbdynError as error:
                raise StreamError(f"{self.name}: {reason}. {error}") from None
            self._renewed += 1

    def _take_session(self) -> requests.Session:
        with self._lock:
            if self._idle:
                return self._idle.pop()
        return requests.Session()


def _retry_after(answer: requests.Response) -> float | None:
    """Seconds in the server's Retry-After header, if there is one."""
    value = answer.headers.get("Retry-After", "").strip()
    if value.isdecimal():
        return float(value)
    moment = email.utils.parsedate_tz(value) if value else None
    return max(0.0, email.utils.mktime_tz(moment) - time.time()) if moment else None


def _in_words(error: Exception) -> str:
    """The reason of a failure, without the URL that the library's own text repeats."""
    if isinstance(error, requests.exceptions.SSLError):
        return "its certificate is not trusted"
    if "NameResolution" in str(error):
        return "its host is not known; check the address and the network"
    if isinstance(error, requests.ConnectTimeout):
        return "no connection; check the network"
    if isinstance(error, requests.Timeout | urllib3.exceptions.TimeoutError | TimeoutError):
        return "the server fell silent"
    if isinstance(error, requests.ConnectionError):
        return "no connection, or it broke; check the network"
    return "the connection broke"
