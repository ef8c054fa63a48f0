"""Shared fixtures: where the real recordings are."""

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


def shared_data() -> Path | None:
    """The folder of real recordings: NWBDYN_DATA, or ../shared/data beside the project."""
    folder = Path(os.environ.get("NWBDYN_DATA", REPOSITORY.parent / "shared" / "data"))
    return folder if (folder / "MANIFEST.md").exists() else None


@pytest.fixture(scope="session")
def data() -> Path:
    """The real recordings; tests that use them skip, with the reason, where they are absent."""
    folder = shared_data()
    if folder is None:
        pytest.skip("real recordings not found: set NWBDYN_DATA or put them in ../shared/data")
    return folder
