"""`nwbdyn notebook`: an executed notebook, made from a recording in an archive."""

import json
import os
import shutil
import signal
import sys
import threading
import time

import pytest
from click.testing import CliRunner, Result
from lab_files import write_units
from standin import StandIn
from test_json import checked, error_of

import nwbdyn
from nwbdyn.cli import main
from nwbdyn.workflows import notebook_cells
from nwbdyn.workflows.notebook_cells import CODE, MARKDOWN, Plan

SECTIONS = ("Stream", "Look", "Fit", "Scores", "Connectivity", "States", "Export")


@pytest.fixture
def kernel() -> None:
    """Skip without the packages that run a notebook; the extra `test` has them."""
    for package in ("nbformat", "nbclient", "ipykernel"):
        pytest.importorskip(package)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["notebook", *map(str, arguments)])


def plan(**changes: object) -> Plan:
    choices = {"address": "a.nwb", "title": "a", "model": "netformer", "updates": 2}
    return Plan(**{**choices, "is_spikes": True, **changes})


def headings(cells: list[tuple[str, str]]) -> list[str]:
    lines = [text.splitlines()[0] for kind, text in cells if kind == MARKDOWN]
    return [line.partition(". ")[2].split()[0] for line in lines if line.startswith("## ")]


def outputs(notebook: dict, kind: str) -> list:
    actual = [output for cell in notebook["cells"] for output in cell.get("outputs", ())]
    return ["".join(one["data"][kind]) for one in actual if kind in one.get("data", {})]


def test_a_dandiset_becomes_an_executed_notebook(kernel, tmp_path):
    folder = tmp_path / "archive" / "000011" / "sub-m1"
    folder.mkdir(parents=True)
    with nwbdyn.open("sample:cortex?neurons=8&duration=90") as recording:
        shutil.copy(recording.source.path, folder / "sub-m1_ophys.nwb")
    path = tmp_path / "m1.ipynb"
    beside = tmp_path / "matplotlib.py"  # a kernel imports no module of the folder that it is in
    beside.write_text("raise SystemExit('a file beside the data was run')")
    with StandIn(tmp_path / "archive") as standin:
        words = ["--updates", "2", "--instance", standin.api, "--json"]
        result = run("dandi:000011", "-o", path, *words)
    assert result.exit_code == 0, result.output
    document = checked(result.stdout, "notebook")
    assert document["address"] == "dandi:000011@draft/sub-m1/sub-m1_ophys.nwb"
    assert document["states"] == "behavioral_state"
    assert document["num_figures"] == 5
    notebook = json.loads(path.read_text("utf-8"))
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    assert not [o for c in code for o in c["outputs"] if o["output_type"] == "error"]
    assert len(outputs(notebook, "image/png")) == 5
    assert any("8 ROIs, dff, 900 frames" in text for text in outputs(notebook, "text/plain"))
    assert sorted(item.name for item in tmp_path.iterdir()) == [
        "archive",
        "m1.ipynb",
        "matplotlib.py",
    ]


@pytest.mark.slow
def test_spikes_are_shown_and_attention_has_no_states(kernel, tmp_path):
    words = ["--updates", 5, "--model", "stndt", "--json"]
    result = run("sample:reach", "-o", tmp_path / "a.ipynb", *words)
    assert result.exit_code == 0, result.output
    document = checked(result.stdout, "notebook")
    assert document["states"] is None
    assert document["num_figures"] == 4


def test_sections_are_in_the_order_of_the_archives_examples():
    with_states = list(notebook_cells.cells(plan(states="epochs")))
    assert tuple(headings(with_states)) == SECTIONS
    without = list(notebook_cells.cells(plan()))
    assert "States" not in headings(without)
    numbers = [text for kind, text in without if kind == MARKDOWN and text.startswith("## ")]
    assert [text[3] for text in numbers] == list("123456")


@pytest.mark.parametrize("is_spikes", [True, False])
def test_every_code_cell_is_python_of_at_most_100_columns(is_spikes):
    opened = {"where": "quality == 'good'", "frame_rate": 5.0}
    for kind, text in notebook_cells.cells(
        plan(is_spikes=is_spikes, states="epochs", opened=opened)
    ):
        if kind == CODE:
            compile(text, "cell", "exec")
            assert max(map(len, text.splitlines())) <= 100


def test_names_of_a_file_are_text_and_never_code():
    hostile = 'x"""\nimport os  # `<script>`'
    cells = list(notebook_cells.cells(plan(states=hostile, title=hostile, address=hostile)))
    for kind, text in cells:
        if kind == CODE:
            assert "\nimport os  #" not in text
            compile(text, "cell", "exec")
        else:
            assert "<script>" not in text
            assert not any(line.startswith("import os") for line in text.splitlines())


def test_a_cell_that_fails_leaves_no_notebook(kernel, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "nwbdyn.workflows.notebook.cells", lambda _: iter([(CODE, "raise ValueError('no')")])
    )
    path = tmp_path / "a.ipynb"
    words = ["--updates", "2", "--json"]
    document = error_of(run("sample:cortex?neurons=4&duration=60", "-o", path, *words), code=1)
    assert document["error"] == "FitError"
    assert "ValueError: no" in document["message"]
    assert not list(tmp_path.iterdir())


def test_ctrl_c_ends_the_kernel_and_leaves_no_notebook(kernel, tmp_path, monkeypatch):
    mark = tmp_path / "kernel"
    text = f"""import os, time
open({str(mark)!r} + ".new", "w").write(str(os.getpid()))
os.rename({str(mark)!r} + ".new", {str(mark)!r})
time.sleep(600)"""
    monkeypatch.setattr("nwbdyn.workflows.notebook.cells", lambda _: iter([(CODE, text)]))

    def press() -> None:
        for _ in range(3000):
            if mark.exists():
                break
            time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGINT)

    presser = threading.Thread(target=press)
    presser.start()
    path = tmp_path / "a.ipynb"
    words = ["--updates", "2", "--json"]
    result = run("sample:cortex?neurons=4&duration=60", "-o", path, *words)
    presser.join()
    assert error_of(result, code=130)["error"] == "Interrupted"
    assert not path.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(int(mark.read_text()), 0)


def test_a_notebook_that_is_there_stays(kernel, tmp_path):
    path = tmp_path / "a.ipynb"
    path.write_text("mine")
    result = run("sample:cortex", "-o", path)
    assert result.exit_code == 1
    assert "Pass --overwrite" in result.stderr
    assert path.read_text() == "mine"
    assert "is no folder" in run("sample:cortex", "-o", tmp_path / "b" / "a.ipynb").stderr


def test_without_the_extra_the_next_step_is_named(kernel, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "nbclient", None)
    result = run("sample:cortex", "-o", tmp_path / "a.ipynb")
    assert result.exit_code == 2
    assert "pip install 'nwbdyn[tutorials]'" in result.stderr


def test_a_local_file_is_opened_as_seen_from_the_notebook(tmp_path, monkeypatch):
    from nwbdyn import opening
    from nwbdyn.workflows import notebook

    write_units(tmp_path / "units.nwb")
    (tmp_path / "notes").mkdir()
    with opening.open(str(tmp_path / "units.nwb")) as recording:
        made = notebook._plan(
            recording, "units.nwb", tmp_path / "notes" / "a.ipynb", "netformer", 2,
            {"cell_types": tmp_path / "types.csv"},
        )  # fmt: skip
    assert made.address == "../units.nwb"
    assert made.opened == {"cell_types": "../types.csv"}
    assert made.is_spikes
