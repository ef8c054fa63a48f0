"""Names from files reach a terminal, a log and a page as letters, never as commands to them."""

import io
import json
import logging
import re
import shutil
import unicodedata
import warnings
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import h5py
import lab_files
import matplotlib.pyplot as plt
import pandas as pd
import pytest
from click.testing import CliRunner, Result
from rich.console import Console

import nwbdyn
from nwbdyn import archive
from nwbdyn.cli import main, terminal
from nwbdyn.cli.cmd_inspect import page as inspect_page
from nwbdyn.printable import printable
from nwbdyn.progress import Progress
from nwbdyn.progress_bars import terminal_bars
from nwbdyn.recording import Note
from nwbdyn.report import figures, page

CLEAR, TITLE, C1, TURNED = "\x1b[2J", "\x1b]0;own\x07", "\x9b31m", "\u202etxt.exe\u2066"
HOSTILE = f"a{CLEAR}b{TITLE}c{C1}d{TURNED}e\nf\rg"
DOLLARS, LETTERS, EMOJI = "cost $a_{b$", "神経細胞", "🧠 cell"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain name_1 (2) µm é", "plain name_1 (2) µm é"),
        (LETTERS + EMOJI, LETTERS + EMOJI),
        ("👩\u200d🔬", "👩\u200d🔬"),
        (CLEAR, r"\x1b[2J"),
        (TITLE, r"\x1b]0;own\x07"),
        (C1, r"\x9b31m"),
        (TURNED, r"\u202etxt.exe\u2066"),
        ("a\nb\r\tc\x00\x7f", r"a\nb\r\tc\x00\x7f"),
        ("\u200e\u200f\u061c\u2028\u2029\u00ad\ufeff", None),
        ("\U000e0041", r"\U000e0041"),
        ("\ud800", r"\ud800"),
    ],
)
def test_control_characters_are_written_out_and_letters_stay(text, shown):
    actual = printable(text)
    assert shown is None or actual == shown
    assert not commands_in(actual)


def test_the_ends_of_lines_stay_where_lines_are_meant():
    assert printable("a\nb\x1bc\n", lines=True) == "a\nb\\x1bc\n"


def commands_in(text: str) -> set[str]:
    """Control characters of a text that a terminal would obey, but for the ends of lines."""
    return {
        letter
        for letter in text
        if letter not in "\n\u200d\u200c"
        and unicodedata.category(letter) in ("Cc", "Cf", "Cs", "Zl", "Zp")
    }


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def hostile(tmp_path_factory) -> Path:
    """A recording in which what is read has hostile names, and what is skipped for its name."""
    (source,) = archive.resolve("sample:cortex?neurons=8&duration=90")
    path = tmp_path_factory.mktemp("hostile") / f"{CLEAR}sub.nwb"
    shutil.copy(source.path, path)
    with h5py.File(path, "a") as file:
        kinds = [HOSTILE, DOLLARS, LETTERS, EMOJI] * 2
        file["processing/ophys/ImageSegmentation/cells/cell_type"][:] = kinds
        for name in ("session_id", "subject/subject_id", "subject/sex", "subject/species"):
            file[f"general/{name}"][()] = HOSTILE
        file["session_description"][()] = HOSTILE
        file["identifier"][()] = HOSTILE
        file["general/optophysiology/plane/location"][()] = HOSTILE
        file["intervals/behavioral_state/state"][:] = [HOSTILE, DOLLARS] * 2 + [HOSTILE]
        file.move("intervals/behavioral_state", f"intervals/states{HOSTILE}")
        behaviour = file["processing/behavior"]
        behaviour.move("running_speed", f"speed{HOSTILE}")
        del behaviour["pupil_diameter/data"]  # a note names it
        behaviour.move("pupil_diameter", f"pupil{HOSTILE}")
    return path


@pytest.fixture(scope="module")
def fitted(hostile, tmp_path_factory) -> tuple[Path, Result]:
    folder = tmp_path_factory.mktemp("fitted") / "run"
    quick = ["--epochs", "2", "--set", "history=4", "--set", "batch_size=256"]
    done = run("fit", hostile, "--model", "netformer", *quick, "-o", folder)
    assert done.exit_code == 0, done.output
    return folder, done


def test_inspect_prints_no_control_character(hostile):
    shown = run("inspect", hostile)
    assert shown.exit_code == 0, shown.output
    assert not commands_in(shown.stdout + shown.stderr)
    assert r"a\x1b[2Jb\x1b]0;own\x07c" in shown.stdout
    assert LETTERS in shown.stdout
    as_json = run("inspect", hostile, "--json")
    assert not commands_in(as_json.stdout)
    assert json.loads(as_json.stdout)["recordings"][0]["session_id"] == HOSTILE


def test_the_proposed_command_stays_on_one_line(hostile):
    lines = run("inspect", hostile, "--where", "cell_type != 'a\tb'").stdout.splitlines()
    assert lines[-2] == "Fit it:"
    assert lines[-1].startswith("  nwbdyn fit ")


def test_a_page_keeps_every_name_on_its_lines(hostile):
    with nwbdyn.open(str(hostile)) as recording:
        from nwbdyn.nwb.read.summary import summarise

        text = inspect_page(summarise(recording) | {"fit": None})
    assert not any(line.startswith("f\\rg") for line in text.splitlines())


def test_fit_export_and_report_print_no_control_character(fitted):
    folder, done = fitted
    assert not commands_in(done.stdout + done.stderr)
    for verb in ("export", "report"):
        shown = run(verb, folder)
        assert shown.exit_code == 0, shown.output
        assert not commands_in(shown.stdout + shown.stderr)
    (exported,) = folder.glob("*.nwb")
    assert not commands_in(exported.name)


@pytest.mark.parametrize(
    "more",
    [
        ["--plane", f"no{HOSTILE}"],
        ["--where", f"`no{HOSTILE}` > 1"],
        ["--where", "no > 1"],
        ["--where", HOSTILE],
        ["--cell-type-column", HOSTILE],
        ["--quantity", HOSTILE],
        ["--instance", HOSTILE],
        [HOSTILE],
        ["--model", HOSTILE],
    ],
)
def test_an_error_is_one_line_without_control_characters(hostile, more):
    failed = run("inspect", hostile, *more)
    assert failed.exit_code in (0, 1, 2)  # --instance has no meaning for a local file
    assert not commands_in(failed.stdout + failed.stderr)
    ours = [line for line in failed.stderr.splitlines() if line.startswith("nwbdyn: ")]
    assert len(ours) <= 1
    assert not ours or failed.stderr.count("\n") == 1


def test_an_error_about_a_fit_is_one_line(fitted, hostile):
    failed = run("fit", hostile, "--model", "netformer", "--trials", HOSTILE, "-o", fitted[0] / "x")
    assert failed.exit_code == 1
    assert not commands_in(failed.stderr)
    assert failed.stderr.startswith("nwbdyn: ")
    assert failed.stderr.count("\n") == 1


def test_a_folder_of_hostile_files_is_one_row_each(hostile, tmp_path):
    shutil.copy(hostile, tmp_path / "one\n\x1b[2J.nwb")
    (tmp_path / "two\x9b.nwb").write_bytes(b"no HDF5")
    shown = run("inspect", tmp_path)
    assert not commands_in(shown.output)
    assert r"one\n\x1b[2J.nwb" in shown.stdout
    listed = run("fetch", tmp_path, "--list")
    assert not commands_in(listed.output)
    assert len(listed.stdout.splitlines()) == 5


def test_progress_shows_names_without_markup_or_commands():
    drawn = io.StringIO()
    console = Console(file=drawn, force_terminal=True, width=200, color_system=None)
    with terminal_bars(console) as report:
        report(Progress(f"fitting [red]{CLEAR}[/nothing]", 1, 2, "fits", {"of": f"[b]{TITLE}"}))
    assert r"fitting [red]\x1b[2J[/nothing]" in drawn.getvalue()
    assert r"[b]\x1b]0;own\x07" in drawn.getvalue()


def test_logs_and_warnings_write_control_characters_out(capsys):
    terminal.guard()
    record = logging.LogRecord("nwbdyn", logging.WARNING, "", 0, "cannot read %s", (HOSTILE,), None)
    logging.lastResort.handle(record)
    shown = capsys.readouterr().err
    assert r"cannot read a\x1b[2Jb" in shown
    assert not commands_in(shown)
    assert not commands_in(warnings.formatwarning(f"odd {HOSTILE}", UserWarning, "file", 1))


NAMES = [DOLLARS, "$x$", r"\$5", LETTERS, EMOJI, HOSTILE, "a_b^{c", "<b>&"]


def test_a_page_is_made_whatever_cell_types_and_states_are_called(fitted):
    states = pd.DataFrame(
        {"start_time": [0.0, 45.0], "stop_time": [45.0, 90.0], "state": [DOLLARS, HOSTILE]}
    )
    html = page.render(named(nwbdyn.load(fitted[0]), NAMES), states=states)
    assert not commands_in(html.replace("\t", " "))
    for name in NAMES:
        shown = printable(name).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        assert shown in re.sub(r"\s+", " ", html)


MARKUP = [
    "<script>alert(1)</script>",
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '" onmouseover="alert(1)',
    "{{ 7 * 7 }}{% raw %}",
    "]]><svg onload=alert(1)>",
    "--><b>",
    "' onclick='alert(1)",
]


class Elements(HTMLParser):
    """The elements of a page: their tags, and the names of all attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}


def test_names_are_no_markup_in_a_page(fitted):
    fit = nwbdyn.load(fitted[0])
    plain = Elements(page.render(fit))
    fit = named(fit, MARKUP)
    every = " ".join(MARKUP)
    fit = replace(
        fit,
        neurons=replace(fit.neurons, cell_type_source=every),
        session={**fit.session, "session_id": every, "subject": {"subject_id": every}},
        source=replace(fit.source, uri=f"dandi:000001/{every}"),
        notes=(Note(every, every, every),),
    )
    html = page.render(fit)
    actual = Elements(html)
    assert not {name for name in actual.attributes if name.startswith("on")}
    for tag in ("script", "img", "b", "iframe", "object", "embed", "link"):
        assert actual.tags.count(tag) == plain.tags.count(tag)
    assert "{{ 7 * 7 }}" in html.partition("What was skipped")[2]


def named(fit, kinds: list[str]):
    """The fit with these as the cell types of its neurons."""
    neurons = replace(fit.neurons, table=fit.neurons.table.assign(cell_type=kinds))
    return replace(
        fit,
        neurons=neurons,
        connectivity=replace(fit.connectivity, neurons=neurons),
        predictions=replace(fit.predictions, neurons=neurons),
    )


def test_labels_are_literal_on_axes_of_others(source):
    fit = lab_files.fit_of(source)
    table = fit.neurons.table.assign(cell_type=["$x$", "Sst", "$x$", "Sst", "Sst"])
    neurons = replace(fit.neurons, table=table)
    fit = replace(fit, connectivity=replace(fit.connectivity, neurons=neurons))
    figure, axes = plt.subplots()
    figures.cell_types(fit, axes)
    figure.canvas.draw()
    texts = axes.get_xticklabels() + axes.get_yticklabels()
    assert "$x$" in [text.get_text() for text in texts]
    assert not any(text.get_parse_math() for text in texts)
    plt.close(figure)


def test_a_logarithmic_axis_has_numbers_and_no_mathematics(source):
    axes = figures.weights(lab_files.fit_of(source))
    axes.figure.canvas.draw()
    texts = [text.get_text() for text in axes.get_yticklabels(which="both")]
    assert any(texts)
    assert not any("$" in text for text in texts)
    plt.close(axes.figure)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("=HYPERLINK(A1)", "'=HYPERLINK(A1)"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM", "'@SUM"),
        (CLEAR, r"\x1b[2J"),
        ("a=b", "a=b"),
        ("a,b\nc", r"a,b\nc"),
    ],
)
def test_a_name_in_a_table_for_spreadsheets_is_no_formula_and_no_command(tmp_path, name, shown):
    fit = lab_files.fit_of(lab_files.write_imaging(tmp_path / "lab.nwb"))
    fit = replace(fit, edges=fit.edges.assign(state=name))
    table = pd.read_csv(fit.save(tmp_path / "run") / "edges.csv", dtype=str)
    assert set(table["state"]) == {shown}
    assert nwbdyn.load(tmp_path / "run").edges["state"].iloc[0] == name
