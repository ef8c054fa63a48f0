"""Lock on a run directory: one writing process at a time, also on a shared file system.

The lock is a small file, made by an exclusive create, that names host and process. It needs no lock
of the system's, which network file systems may lack. Its owner touches it every few seconds; so a
lock of this host is judged by its process, and one of another host by watching whether it is still
touched, by no clock of either. What a dead process left is taken over.
"""

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

from nwbdyn.errors import ResultsError
from nwbdyn.progress import Progress, Report, silent
from nwbdyn.results import run_directory

TOUCHED_EVERY = 10.0  # seconds
WATCHED_FOR = 6 * TOUCHED_EVERY  # seconds; a busy process may be late
_LOOK_EVERY = 1.0  # seconds
_Seen = tuple[str, int]  # content of a lock, and when it was touched, in the file system's time


@contextmanager
def run_lock(
    run: Path,
    *,
    resume: bool = False,
    watched_for: float = WATCHED_FOR,
    report: Report = silent,
) -> Iterator[None]:
    """Keep other processes out of `run` while the block lasts; the folder is made where it is not.

    Args:
        resume: the folder is there; see `run_directory.make`.
        watched_for: seconds that another host's lock may stay untouched until its owner is dead.
        report: called while such a lock is watched.

    Raises:
        ResultsError: another process writes there, or the folder cannot be made or written to.
        FitError: there is nothing to resume.
    """
    made = not run.exists()
    run_directory.ensure_dir(run, resume=resume)
    lock, own = run / run_directory.LOCK, _owner(os.getpid())
    while not _created(lock, own):
        _take_over(lock, watched_for, report)
    ended = Event()
    Thread(target=_touch, args=(lock, ended), name="nwbdyn-lock", daemon=True).start()
    try:
        yield
    finally:
        ended.set()
        if (seen := _read(lock)) is not None and seen[0] == own:
            lock.unlink(missing_ok=True)
        if made and run.is_dir() and not any(run.iterdir()):
            run.rmdir()


def _owner(process: int) -> str:
    """A process of this host, so that no later one of the same number is taken for it."""
    owner = {"host": socket.gethostname(), "process": process, "begun": _begun(process)}
    return json.dumps(owner)


def _begun(process: int) -> str:
    """Start time of a process in the system's own count; "" if the system does not report it."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""


def _created(lock: Path, own: str) -> bool:
    """Create the lock; False if there is one already."""
    try:
        file = os.open(lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    except FileExistsError:
        return False
    try:
        with run_directory.disk_full_as_error(lock), open(file, "w", encoding="utf-8") as opened:
            opened.write(own)
    except BaseException:
        lock.unlink(missing_ok=True)
        raise
    return True


def _touch(lock: Path, ended: Event) -> None:
    while not ended.wait(TOUCHED_EVERY):
        try:
            os.utime(lock)
        except OSError:  # the folder was taken away; whoever writes there will say so
            return


def _take_over(lock: Path, watched_for: float, report: Report) -> None:
    """Remove the lock that is there, if its process is dead.

    Raises:
        ResultsError: it is alive.
    """
    seen = _read(lock)
    if seen is None:
        return
    owner = _parsed(seen[0])
    if owner is None:  # it is just being written, or its process died at that moment
        if _changes(lock, seen, _LOOK_EVERY, silent):
            return
    elif _is_alive(owner, lock, seen, watched_for, report):
        raise ResultsError(
            f"Process {owner['process']} on {owner['host']} is writing to {lock.parent}. Wait for "
            "its end, or pass -o with another folder."
        )
    aside = lock.with_name(f"{lock.name}.{socket.gethostname()}-{os.getpid()}")
    try:
        lock.rename(aside)  # of several processes one succeeds
    except FileNotFoundError:
        return
    if aside.read_text(encoding="utf-8") == seen[0]:
        aside.unlink()
    else:  # somebody was faster, and this is their lock
        aside.rename(lock)


def _parsed(text: str) -> dict[str, object] | None:
    try:
        owner = json.loads(text)
    except ValueError:
        return None
    known = isinstance(owner, dict) and "host" in owner and isinstance(owner.get("process"), int)
    return owner if known else None


def _is_alive(
    owner: dict[str, object], lock: Path, seen: _Seen, watched_for: float, report: Report
) -> bool:
    process = owner["process"]
    if owner["host"] != socket.gethostname() or os.name != "posix":
        return _changes(lock, seen, watched_for, report)
    assert isinstance(process, int)
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # somebody else's, so it is there
        pass
    return owner.get("begun") == _begun(process)


def _changes(lock: Path, seen: _Seen, watched_for: float, report: Report) -> bool:
    """True if a process touches or writes the lock while it is watched; False if the lock goes
    away.
    """
    begun = time.monotonic()
    while (passed := time.monotonic() - begun) < watched_for:
        report(Progress(f"watching {lock.name}", passed, watched_for, "seconds"))
        time.sleep(min(_LOOK_EVERY, watched_for))
        now = _read(lock)
        if now != seen:
            return now is not None
    report(Progress(f"watching {lock.name}", watched_for, watched_for, "seconds"))
    return False


def _read(lock: Path) -> _Seen | None:
    """The lock as it is now, not as it was cached; None without one."""
    try:
        with lock.open(encoding="utf-8") as file:
            return file.read(), os.fstat(file.fileno()).st_mtime_ns
    except FileNotFoundError:
        return None
