"""The documentation is true: its code runs, its links resolve."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("docs", "benchmarks")
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md")),
    *(page for folder in FOLDERS for page in sorted((ROOT / folder).glob("*.md"))),
]
MADE = [f"reference/{name}.md" for name in ("command-line", "models", "python")]  # by `make docs`


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_python_on_the_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in re.findall(r"^```python\n(.*?)^```", page.read_text("utf-8"), re.M | re.S):
        exec(compile(block, page.name, "exec"), names)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_inside_the_project_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#\s]+)", page.read_text("utf-8")):
        if "://" not in target and target not in MADE:
            assert (page.parent / target).exists(), target


def test_every_room_stands_on_the_page_of_the_architecture():
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
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


def test_every_verb_stands_on_the_page_of_recordings():
    text = (ROOT / "docs" / "recordings.md").read_text("utf-8")
    for path in (ROOT / "nwbdyn" / "cli").glob("cmd_*.py"):
        assert f"nwbdyn {path.stem.removeprefix('cmd_')} " in text


def test_the_readme_is_short():
    text = (ROOT / "README.md").read_text("utf-8")
    assert len(text.splitlines()) <= 150
    assert len(text.split()) <= 1000


def test_the_evidence_in_the_readme_is_what_the_benchmarks_left():
    text = (ROOT / "README.md").read_text("utf-8")
    rows = re.findall(r"^\| .*\]\((benchmarks/results/[^)]+)\).* \| (.*) \|$", text, re.M)
    assert len(rows) == 6
    for page, measured in rows:
        numbers = re.findall(r"\d+\.\d+", measured)
        assert numbers
        results = (ROOT / page).read_text("utf-8")
        for number in numbers:
            assert re.search(rf"(?<![\d.]){re.escape(number)}(?!\d)", results), (page, number)


def test_every_page_is_in_the_navigation_of_the_site():
    navigation = (ROOT / "mkdocs.yml").read_text("utf-8")
    for page in (ROOT / "docs").glob("*.md"):
        assert f"- {page.name}\n" in navigation, page.name


def test_no_placeholder_was_left():
    for page in PAGES:
        assert not re.search(r"^[A-Z]+_OUTPUT$|TODO", page.read_text("utf-8"), re.M)
