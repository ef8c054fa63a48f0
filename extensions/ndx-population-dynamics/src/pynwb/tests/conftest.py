"""Shared fixtures: files of every version of the extension."""

from pathlib import Path

import older_files
import pytest


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files of every version."""
    return older_files.unpack(tmp_path_factory.mktemp("files"))
