"""Every tutorial runs from top to bottom, shrunken, and draws figures with something in them."""

import re
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import pytest

TUTORIALS = sorted((Path(__file__).resolve().parents[1] / "tutorials").glob("[0-9]_*.py"))


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_a_tutorial_runs_and_shows_figures(path, tmp_path, monkeypatch, request, capsys):
    text = path.read_text("utf-8")
    if "NWBDYN_DATA" in text:
        monkeypatch.setenv("NWBDYN_DATA", str(request.getfixturevalue("data")))
    monkeypatch.setenv("NWBDYN_QUICK", "1")
    monkeypatch.chdir(tmp_path)
    plt.close("all")
    with matplotlib.rc_context({"backend": "agg", "figure.max_open_warning": 0}):
        exec(compile(text, path.name, "exec"), {"__name__": "__main__"})
        figures = [plt.figure(number) for number in plt.get_fignums()]
        assert len(figures) >= 2
        for figure in figures:
            assert any(axes.has_data() for axes in figure.axes)
        plt.close("all")


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_a_tutorial_is_a_text_notebook_that_begins_with_its_number(path):
    text = path.read_text("utf-8")
    assert text.startswith(f"# %% [markdown]\n# # {path.stem[0]} · ")
    assert not re.search(r"^#(?! |$)", text, re.M)
    assert text.count('QUICK = "NWBDYN_QUICK" in os.environ') == 1
