"""Memory that this process may take: the machine's, its container's, or its own address space's.

A container limits memory by control groups (cgroups), of version 2 or 1; a limit holds for all
groups below it. `ulimit -v` limits addresses, of which the libraries take some gigabytes without
using them: there, what is left counts.
"""

import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

if sys.platform != "win32":  # now: where memory has run out, it cannot be imported any more
    import resource

ROOT = Path("/")
NO_LIMIT = 1 << 60  # bytes; version 1 writes a number near 2**63 for none


@dataclass(frozen=True)
class Memory:
    """Bytes that may be taken, and what sets that limit."""

    size: int  # bytes
    source: str  # of the sentence "this machine has 8 GB"
    is_remainder: bool = False  # what this process has taken already is not in it


def memory(root: Path = ROOT) -> Memory | None:
    """The least of the machine's memory, its container's and the address space; None if unknown.

    Args:
        root: where `proc` and `sys` lie.
    """
    known = [limit for limit in (installed(), container(root), address_space()) if limit]
    return min(known, key=lambda limit: limit.size, default=None)


def room(root: Path = ROOT) -> Memory | None:
    """As `memory`, less the addresses that this process has taken already."""
    known = [limit for limit in (installed(), container(root), addresses_left(root)) if limit]
    return min(known, key=lambda limit: limit.size, default=None)


def installed() -> Memory | None:
    """The machine's memory; None if the system does not report it."""
    try:
        size = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None
    return Memory(size, "this machine has")


def container(root: Path = ROOT) -> Memory | None:
    """The smallest limit of this process's control groups; None without one."""
    groups = _read(root / "proc/self/cgroup") or ""
    limits = []
    for line in groups.splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if not controllers:
            limits += _limits(root / "sys/fs/cgroup", path, "memory.max")
        elif "memory" in controllers.split(","):
            limits += _limits(root / "sys/fs/cgroup/memory", path, "memory.limit_in_bytes")
    size = min(limits, default=NO_LIMIT)
    return None if size >= NO_LIMIT else Memory(size, "this container has")


def address_space() -> Memory | None:
    """The limit on this process's address space (`ulimit -v`); None without one."""
    if sys.platform == "win32":
        return None
    size, _ = resource.getrlimit(resource.RLIMIT_AS)
    if size == resource.RLIM_INFINITY:
        return None
    return Memory(size, "the address space (ulimit -v) is")


def addresses_left(root: Path = ROOT) -> Memory | None:
    """Free bytes of the address space; None without a limit."""
    limit = address_space()
    if limit is None:
        return None
    match = re.search(r"VmSize:\s+(\d+) kB", _read(root / "proc/self/status") or "")
    taken = int(match[1]) * 1024 if match else 0
    left = max(0, limit.size - taken)
    return Memory(left, "the address space left by ulimit -v is", is_remainder=True)


def _limits(mount: Path, path: str, name: str) -> list[int]:
    """The limits of a group and of all groups above it, as far as they can be seen from here.

    A container may see its own group as the root, under a path that is only valid outside.
    """
    parts = [part for part in PurePosixPath(path).parts if part not in ("/", "..")]
    folders = [mount.joinpath(*parts[:depth]) for depth in range(len(parts) + 1)]
    texts = [_read(folder / name) for folder in folders]
    return [int(text) for text in texts if text and text.strip().isdecimal()]


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
