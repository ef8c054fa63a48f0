"""The folder of files that can be made or fetched again."""

import os
from pathlib import Path

import platformdirs

VARIABLE = "NWBDYN_CACHE"


def folder(name: str) -> Path:
    """The folder called `name` under $NWBDYN_CACHE, or else under the user's own cache folder."""
    chosen = os.environ.get(VARIABLE)
    return (Path(chosen) if chosen else platformdirs.user_cache_path("nwbdyn")) / name
