"""The documentation site builds without a warning, its links lead somewhere, and it asks nobody."""

import importlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from urllib.parse import unquote

import pytest

import nwbdyn
from nwbdyn import models

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def module(monkeypatch) -> Iterator[object]:
    """Load a module of docs/site."""
    monkeypatch.syspath_prepend(str(ROOT / "docs" / "site"))

    def load(name: str) -> ModuleType:
        return importlib.import_module(name)

    yield load
    for name in ("reference", "results", "tutorials"):
        sys.modules.pop(name, None)


def test_the_reference_has_every_public_name_verb_and_model(module):
    pages = dict(module("reference").pages())
    python = pages["reference/python.md"]
    assert all(f".{name}\n" in python for name in nwbdyn.__all__)
    verbs = [path.stem.removeprefix("cmd_") for path in (ROOT / "nwbdyn/cli").glob("cmd_*.py")]
    assert all(f"## nwbdyn {verb}\n" in pages["reference/command-line.md"] for verb in verbs)
    assert all(f"## {name}\n" in pages["reference/models.md"] for name in models.names())
    assert "0x" not in pages["reference/command-line.md"]


def test_the_table_of_results_has_a_row_for_every_page(module):
    results = module("results")
    table = results.table()
    for path in results.RESULTS.glob("*.md"):
        assert f"]({path.name})" in table


def test_rows_of_a_results_page_are_counted_without_headers(module):
    text = "| a | b |\n| --- | --- |\n| 1 | 2 |\n| 3 | 4 |\n\n| c |\n| - |\n| 5 |\n"
    assert module("results").num_rows(text) == 3


def test_a_tutorial_is_split_into_cells(module):
    cells = module("tutorials").split("# %% [markdown]\n# # 1 · A\n# Text.\n\n# %%\nx = 1\n")
    assert [cell["cell_type"] for cell in cells] == ["markdown", "code"]
    assert cells[0]["source"] == "# 1 · A\nText."
    assert cells[1]["source"] == "x = 1"


def test_a_tutorial_that_ran_shows_its_time_and_its_figures(module):
    tutorials = module("tutorials")
    cells = tutorials.split("# %% [markdown]\n# # 1 · A\n\n# %%\nplot()\n")
    cells[1]["outputs"] = [
        {"data": {"image/png": "aGk=", "text/plain": "<Figure>"}},
        {"text": "r2 0.5\n"},
        {"data": {"text/html": "<p>3/3</p>", "text/plain": "<IPython.core.display.HTML object>"}},
    ]
    ran = {"seconds": 12.4, "machine": "2 CPU cores"}
    pictures: list[tuple[str, bytes]] = []
    page = tutorials.page("1_a", {"cells": cells, "metadata": {"nwbdyn": ran}}, pictures)
    assert pictures == [("tutorials/1_a_1.png", b"hi")]
    assert "Run time: 12 s, on 2 CPU cores." in page
    assert "](1_a_1.png)" in page
    assert "```text\nr2 0.5\n```" in page
    assert "](1_a.ipynb)" in page
    assert "IPython" not in page  # a progress bar


def test_outputs_of_an_earlier_tutorial_are_not_shown(module, monkeypatch, tmp_path):
    tutorials = module("tutorials")
    monkeypatch.setattr(tutorials, "NOTEBOOKS", tmp_path)
    path = tutorials.paths()[0]
    cells = tutorials.split(path.read_text("utf-8"))
    done = {"cells": cells, "metadata": {"nwbdyn": {"seconds": 1.0, "machine": "x"}}}
    (tmp_path / f"{path.stem}.ipynb").write_text(json.dumps(done))
    assert tutorials.notebook_of(path)["metadata"]
    cells[-1]["source"] += "\n# changed"
    (tmp_path / f"{path.stem}.ipynb").write_text(json.dumps(done))
    assert not tutorials.notebook_of(path)["metadata"]


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The built site."""
    pytest.importorskip("material", reason="run `pip install 'nwbdyn[docs]'`")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "-d", str(folder)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_a_page_of_the_site_asks_no_other_server(site):
    loaded = re.compile(r"""<(?:script|img|iframe|source)\b[^>]*\bsrc=["']?(https?:)?//""")
    linked = re.compile(r"""<link\b[^>]*rel=["']?(?:stylesheet|preconnect|icon|preload)[^>]*//""")
    for page in site.rglob("*.html"):
        text = page.read_text("utf-8")
        assert not loaded.search(text), page
        assert not linked.search(text), page
    for style in site.rglob("*.css"):
        assert not re.search(r"(url\(|@import )[\"']?(https?:)?//", style.read_text("utf-8"))


def test_links_of_the_site_lead_somewhere(site):
    pages = {page: page.read_text("utf-8") for page in site.rglob("*.html")}
    for page, text in pages.items():
        if page.name == "404.html":  # its links count from wherever it is shown
            continue
        for target in re.findall(r"""<(?:a|img)\b[^>]*?(?:href|src)=["']?([^"'\s>]+)""", text):
            address, _, anchor = unquote(target).partition("#")
            if "://" in address or address.startswith(("mailto:", "data:")):
                continue
            file = (page.parent / address).resolve() if address else page
            assert file.exists(), (page.name, target)
            if anchor and file in pages:
                assert re.search(rf"""\bid=["']?{re.escape(anchor)}["'\s>]""", pages[file]), target


def test_the_site_shows_docstrings_and_offers_notebooks(site):
    python = (site / "reference" / "python.html").read_text("utf-8")
    assert "Fit a model to a recording and score it beside its baselines" in python
    assert (site / "tutorials" / "1_stream_and_look.ipynb").exists()
