"""A file server as far away as the archive: latency per request and connection, bounded speed.

    python benchmarks/slow_server.py FOLDER PORT

Each request waits one round trip, each new connection two more (three in all, as with TLS), and
each connection sends at most RATE. `/stats` answers what was served since it was asked last.
"""

import json
import re
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

ROUND_TRIP = 0.04  # seconds
RATE = 50e6  # bytes per second and connection
BLOCK = 1 << 18

served = {"requests": 0, "bytes": 0}
lock = threading.Lock()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    folder: Path

    def log_message(self, *_: object) -> None:
        pass

    def setup(self) -> None:
        super().setup()
        time.sleep(2 * ROUND_TRIP)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        name = urlsplit(self.path).path.lstrip("/")
        if name == "stats":
            with lock:
                text = json.dumps(served).encode()
                served.update(requests=0, bytes=0)
            self._head(200, {"Content-Length": str(len(text))})
            self.wfile.write(text)
            return
        path = self.folder / name
        size = path.stat().st_size
        time.sleep(ROUND_TRIP)
        requested = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        start = int(requested[1]) if requested else 0
        stop = min(int(requested[2]) + 1, size) if requested and requested[2] else size
        headers = {"ETag": '"1"', "Accept-Ranges": "bytes", "Content-Length": str(stop - start)}
        if requested:
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
        self._head(206 if requested else 200, headers)
        with lock:
            served["requests"] += 1
        if self.command == "GET":
            self._send(path, start, stop)

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _send(self, path: Path, start: int, stop: int) -> None:
        began, sent = time.perf_counter(), 0
        try:
            with path.open("rb") as file:
                file.seek(start)
                while block := file.read(min(BLOCK, stop - start - sent)):
                    self.wfile.write(block)
                    sent += len(block)
                    with lock:
                        served["bytes"] += len(block)
                    time.sleep(max(0.0, sent / RATE - (time.perf_counter() - began)))
        except ConnectionError:  # a reader that throws its buffer away
            self.close_connection = True


if __name__ == "__main__":
    Handler.folder = Path(sys.argv[1])
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2])), Handler)
    server.daemon_threads = True
    server.serve_forever()
