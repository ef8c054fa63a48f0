"""The storage behind the archive: one file by byte ranges, with faults on request."""

import random
import re
import threading
from collections.abc import Iterable
from http.server import BaseHTTPRequestHandler
from pathlib import Path

FAULTS = (
    "drop",  # the connection closes in the middle of the body
    "truncate",  # the body is shorter than the range, and says so
    "stall",  # the body stops and the connection stays open
    "trickle",  # a byte now and then
    "forbid",  # 403, and signed URLs handed out before are void
    "busy",  # 429
    "unavailable",  # 503
    "whole",  # 200 and the whole file
    "mislabelled",  # 200 over the bytes of the range
    "shifted",  # Content-Range names other bytes
    "resized",  # Content-Range names another total
    "replaced",  # other bytes under another ETag
    "anonymous",  # no ETag
    "uncounted",  # Content-Range names no total
    "garbage",  # not HTTP
    "page",  # 200 and a page of HTML
)


class Faults:
    """Which request fails, and how: drawn from a seed, one draw per request.

    Args:
        kinds: names out of FAULTS.
        rate: share of the requests that fail.
        seed: of the draws.
        spare: so many requests succeed first.
        limit: so many fail, and no more.
    """

    def __init__(
        self,
        kinds: Iterable[str] = FAULTS,
        *,
        rate: float = 1.0,
        seed: int = 0,
        spare: int = 0,
        limit: int | None = None,
    ) -> None:
        self.kinds = tuple(kinds)
        self.rate = rate
        self.made = 0
        self._random = random.Random(seed)
        self._spare = spare
        self._limit = limit
        self._lock = threading.Lock()

    def draw(self) -> str | None:
        """The fault of the next request, if it has one."""
        with self._lock:
            if self._spare:
                self._spare -= 1
                return None
            if self._limit is not None and self.made >= self._limit:
                return None
            if self._random.random() >= self.rate:
                return None
            self.made += 1
            return self._random.choice(self.kinds)


def serve(
    handler: BaseHTTPRequestHandler, path: Path, etag: str, fault: str | None, over: threading.Event
) -> None:
    """Answer a GET for `path`, honouring Range, in the way `fault` says."""
    data = path.read_bytes()
    if fault == "replaced":
        data, etag = data.translate(bytes(range(255, -1, -1))), "0" * 32 + "-1"
    size = len(data)
    if fault == "garbage":
        handler.wfile.write(random.Random(size).randbytes(200))
        handler.close_connection = True
        return
    if fault in ("forbid", "busy", "unavailable"):
        status = {"forbid": 403, "busy": 429, "unavailable": 503}[fault]
        _head(handler, status, {"Content-Length": "0", "Retry-After": "0"})
        return
    if fault == "page":
        page = b"<html>Please log in to this network.</html>"
        _head(handler, 200, {"Content-Length": str(len(page)), "Content-Type": "text/html"})
        handler.wfile.write(page)
        return
    headers = {"Accept-Ranges": "bytes"} | ({} if fault == "anonymous" else {"ETag": f'"{etag}"'})
    start, stop = _range(handler.headers.get("Range", ""), size)
    if start >= stop and "Range" in handler.headers:
        _head(handler, 416, {"Content-Range": f"bytes */{size}", "Content-Length": "0"})
        return
    whole = "Range" not in handler.headers or fault == "whole"
    body = data if whole else data[start:stop]
    if fault == "truncate":
        body = body[: len(body) // 2]
    headers["Content-Length"] = str(len(body))
    if not whole:
        shift, growth = (fault == "shifted") * 7, (fault == "resized") * 7
        total = "*" if fault == "uncounted" else size + growth
        headers["Content-Range"] = f"bytes {start + shift}-{stop - 1 + shift}/{total}"
    _head(handler, 200 if whole or fault == "mislabelled" else 206, headers)
    if fault in ("drop", "stall", "trickle"):
        handler.wfile.write(body[: len(body) // 2])
        handler.wfile.flush()
        if fault == "stall":
            over.wait(30)
        for at in range(len(body) // 2, len(body)) if fault == "trickle" else ():
            if over.wait(0.05):
                break
            handler.wfile.write(body[at : at + 1])
        handler.close_connection = True
        return
    handler.wfile.write(body)


def _head(handler: BaseHTTPRequestHandler, status: int, headers: dict[str, str]) -> None:
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.end_headers()


def _range(text: str, size: int) -> tuple[int, int]:
    """Start and stop of the requested range; the whole file without one."""
    actual = re.fullmatch(r"bytes=(\d*)-(\d*)", text)
    if not actual:
        return 0, size
    first, last = actual.groups()
    if not first:
        return max(0, size - int(last)), size
    return int(first), min(int(last) + 1, size) if last else size
