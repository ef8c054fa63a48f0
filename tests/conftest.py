"""Shared fixtures: the real recordings, a cache that is nobody's own, a lab's files."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from shared_files import shared_data

from nwbdyn import spelling


@pytest.fixture(scope="session")
def data() -> Path:
    """The real recordings; tests that use them skip, with the reason, where they are absent."""
    folder = shared_data()
    if folder is None:
        pytest.skip("real recordings not found: set NWBDYN_DATA or put them in ../shared/data")
    return folder


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory) -> Iterator[Path]:
    """A cache folder for this test run; the person's own is left alone."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NWBDYN_CACHE", str(folder))
        yield folder


@pytest.fixture(autouse=True)
def command_line_spelling() -> Iterator[None]:
    """Messages as the command line spells them; `test_spelling.py` has those of Python."""
    with spelling.on_command_line():
        yield


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A lab's imaging session."""
    import lab_files

    return lab_files.write_imaging(tmp_path / "lab.nwb")


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """A lab's recording of spikes."""
    import lab_files

    return lab_files.write_units(tmp_path / "units.nwb")
