"""What the documentation says is true: its code runs, its links lead somewhere."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("docs", "benchmarks")
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md")),
    *(page for folder in FOLDERS for page in sorted((ROOT / folder).glob("*.md"))),
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_python_on_the_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in re.findall(r"^```python\n(.*?)^```", page.read_text("utf-8"), re.M | re.S):
        exec(compile(block, page.name, "exec"), names)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_inside_the_project_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#\s]+)", page.read_text("utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_every_room_stands_in_the_readme():
    text = (ROOT / "README.md").read_text("utf-8")
    rooms = {
        path.stem if path.is_file() else f"{path.name}/"
        for path in (ROOT / "nwbdyn").iterdir()
        if path.name not in ("__init__.py", "__pycache__")
        if path.suffix in ("", ".py") and not path.name.startswith(".")
    }
    missing = {
        room for room in rooms if f"`{room}`" not in text and f"`{room.strip('/')}`" not in text
    }
    assert not missing


def test_every_verb_stands_in_the_readme():
    text = (ROOT / "README.md").read_text("utf-8")
    for path in (ROOT / "nwbdyn" / "cli").glob("cmd_*.py"):
        assert f"nwbdyn {path.stem.removeprefix('cmd_')} " in text


def test_no_placeholder_was_left():
    for page in PAGES:
        assert not re.search(r"^[A-Z]+_OUTPUT$|TODO", page.read_text("utf-8"), re.M)
