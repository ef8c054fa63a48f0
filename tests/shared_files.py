"""Paths of the real recordings that some tests use."""

import os
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]


def shared_data() -> Path | None:
    """The folder of real recordings: NWBDYN_DATA, or ../shared/data beside the project."""
    folder = Path(os.environ.get("NWBDYN_DATA", REPOSITORY.parent / "shared" / "data"))
    return folder if (folder / "MANIFEST.md").exists() else None
