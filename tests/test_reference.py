"""The reference in docs/reference is what the code says now."""

import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[1] / "docs"


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    """The pages, from a process of its own: what other tests import may change click's help."""
    folder = tmp_path_factory.mktemp("reference")
    script = DOCS / "make_reference.py"
    subprocess.run([sys.executable, str(script), str(folder)], check=True)
    return folder


@pytest.mark.parametrize("name", sorted(path.name for path in (DOCS / "reference").glob("*.md")))
def test_the_reference_is_what_the_code_says(name, written):
    committed = (DOCS / "reference" / name).read_text("utf-8")
    assert (written / name).read_text("utf-8") == committed, "run `make reference`"


def test_no_page_is_left_out(written):
    pages = {path.name for path in written.iterdir()}
    assert pages == {path.name for path in (DOCS / "reference").glob("*.md")}
