"""Build the web viewer and serve an exported file to it: what Neurosift really shows.

    NEUROSIFT=FOLDER python benchmarks/neurosift.py FILE.nwb [--port PORT]

FOLDER is a checkout of the viewer's sources with its Node packages installed. The script builds the
viewer, serves the build and the file from one loopback address, and prints the address to open in
a browser. No check decides whether a picture is right: a person looks, as docs/viewers.md states.
"""

import argparse
import os
import shutil
import subprocess
import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

BUILDS = ("dist", "build")  # folders that the viewer's build tools write to


class Ranged(SimpleHTTPRequestHandler):
    """Files with byte ranges, which the viewer reads a recording by."""

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        requested = self.headers.get("Range", "")
        if not requested.startswith("bytes=") or not path.is_file():
            super().do_GET()
            return
        size = path.stat().st_size
        first, _, last = requested.removeprefix("bytes=").partition("-")
        start = int(first) if first else size - int(last)
        stop = min(int(last) + 1, size) if first and last else size
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{size}")
        self.send_header("Content-Length", str(stop - start))
        self.end_headers()
        with path.open("rb") as file:
            file.seek(start)
            self.wfile.write(file.read(stop - start))

    def end_headers(self) -> None:
        self.send_header("Access-Control-Allow-Origin", "*")
        self.send_header("Accept-Ranges", "bytes")
        super().end_headers()


def build(sources: Path) -> Path:
    """The folder of the built viewer."""
    if shutil.which("npm") is None:
        sys.exit("No npm here, which builds the viewer. Install Node.js.")
    subprocess.run(["npm", "run", "build"], cwd=sources, check=True)
    for name in BUILDS:
        if (sources / name / "index.html").exists():
            return sources / name
    sys.exit(f"The build left no index.html in {' or '.join(BUILDS)} of {sources}.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path, help="an exported file")
    parser.add_argument("--port", type=int, default=8123)
    arguments = parser.parse_args()
    folder = os.environ.get("NEUROSIFT")
    if not folder:
        sys.exit("Set NEUROSIFT to a checkout of the viewer's sources.")
    built = build(Path(folder))
    with TemporaryDirectory() as served:
        site = Path(served) / "site"
        shutil.copytree(built, site)
        shutil.copy(arguments.file, site / "file.nwb")
        handler = partial(Ranged, directory=str(site))
        address = f"http://127.0.0.1:{arguments.port}"
        file = quote(f"{address}/file.nwb", safe="")
        print(f"Open {address}/?p=/nwb&url={file} (stop with Ctrl-C).", flush=True)
        ThreadingHTTPServer(("127.0.0.1", arguments.port), handler).serve_forever()


if __name__ == "__main__":
    main()
