"""The folder of files that can be made or fetched again."""

import atexit
import logging
import os
from contextlib import ExitStack
from pathlib import Path

import platformdirs

from nwbdyn import scratch
from nwbdyn.errors import ResultsError

VARIABLE = "NWBDYN_CACHE"
_OF_OTHERS = ("XDG_CACHE_HOME", "MPLCONFIGDIR")  # where pynwb, dandi and matplotlib keep theirs

_log = logging.getLogger(__name__)


def folder(name: str) -> Path:
    """The folder called `name` under $NWBDYN_CACHE, or else under the user's own cache folder."""
    chosen = os.environ.get(VARIABLE)
    return (Path(chosen) if chosen else platformdirs.user_cache_path("nwbdyn")) / name


def made(name: str) -> Path:
    """The folder called `name`, made where it is not there.

    Raises:
        ResultsError: it cannot be made; with the variable that chooses another.
    """
    path = folder(name)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResultsError(
            f"Cannot write to {path} ({error.strerror}). Set {VARIABLE} to a folder that can be "
            "written."
        ) from error
    return path


def replace_unwritable() -> None:
    """Give this process a temporary cache folder where the user's own cannot be written.

    pynwb and matplotlib write there as they are imported, so this comes first.

    Raises:
        ResultsError: there is no temporary folder either.
    """
    own = platformdirs.user_cache_path()
    if _can_be_written(own):
        return
    files = ExitStack()
    try:
        instead = str(files.enter_context(scratch.folder()))
    except OSError as error:
        raise ResultsError(
            f"Neither {own} nor a temporary folder can be written ({error.strerror}). Set "
            "XDG_CACHE_HOME, or TMPDIR, to a folder that can be written."
        ) from error
    atexit.register(files.close)
    _log.warning(
        "%s cannot be written, so nothing is kept there for the next run. Set XDG_CACHE_HOME to a "
        "folder that can be written.",
        own,
    )
    os.environ[_OF_OTHERS[0]] = instead
    for name in (VARIABLE, *_OF_OTHERS[1:]):
        os.environ.setdefault(name, instead)


def _can_be_written(path: Path) -> bool:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(path, os.W_OK | os.X_OK)
