"""The reference in docs/reference is what the code says now."""

import importlib.util
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[1] / "docs"


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    specification = importlib.util.spec_from_file_location("reference", DOCS / "make_reference.py")
    script = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(script)
    folder = tmp_path_factory.mktemp("reference")
    script.main(folder)
    return folder


@pytest.mark.parametrize("name", sorted(path.name for path in (DOCS / "reference").glob("*.md")))
def test_the_reference_is_what_the_code_says(name, written):
    committed = (DOCS / "reference" / name).read_text("utf-8")
    assert (written / name).read_text("utf-8") == committed, "run `make reference`"


def test_no_page_is_left_out(written):
    pages = {path.name for path in written.iterdir()}
    assert pages == {path.name for path in (DOCS / "reference").glob("*.md")}
