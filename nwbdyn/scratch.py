"""Folders for files on the way, which go when they are done with, or with the next run.

A process that is killed cannot take its folder away. The folder's name says whose it is, so that
the next run removes what a process that is no more has left.
"""

import os
import re
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

_NAME = re.compile(r"\.nwbdyn-(?P<host>[0-9a-f]{8})-(?P<process>\d+)-\w+")


@contextmanager
def folder(parent: Path | None = None) -> Iterator[Path]:
    """A new folder in `parent`, or where the system keeps such things, until the block ends.

    Raises:
        OSError: it cannot be made.
    """
    where = Path(tempfile.gettempdir()) if parent is None else parent
    sweep(where)
    prefix = f".nwbdyn-{_host()}-{os.getpid()}-"
    with tempfile.TemporaryDirectory(dir=where, prefix=prefix) as path:
        yield Path(path)


def sweep(parent: Path) -> None:
    """Remove the folders in `parent` that processes of this machine left when they were killed."""
    for path in parent.glob(".nwbdyn-*"):
        match = _NAME.fullmatch(path.name)
        if match and match["host"] == _host() and not _is_alive(int(match["process"])):
            shutil.rmtree(path, ignore_errors=True)


def _host() -> str:
    return sha256(socket.gethostname().encode()).hexdigest()[:8]


def _is_alive(process: int) -> bool:
    if os.name != "posix":  # there, asking would end the process
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
