"""Terminal output: help, progress, quiet, completion, 80 columns, logs."""

import io
import json
import os
import shlex
from pathlib import Path

import click
import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner, Result
from rich.console import Console

from nwbdyn import archive, models
from nwbdyn.cli import main, terminal
from nwbdyn.cli.grouped import REST
from nwbdyn.progress import Progress
from nwbdyn.progress_bars import terminal_bars

VERBS = sorted(
    path.stem.removeprefix("cmd_") for path in Path(terminal.__file__).parent.glob("cmd_*")
)
CORTEX = "sample:cortex?neurons=8&duration=90"
QUICK = ["--model", "netformer", "--epochs", "2", "--set", "history=4", "--set", "patience=9"]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def examples(verb: str) -> list[str]:
    lines = run(verb, "--help").output.splitlines()
    return [line.strip() for line in lines if line.startswith(f"    nwbdyn {verb}")]


SESSIONS = [f"sub-mouse{k // 2:02}_ses-2024{k + 1:02}05_behavior+ophys.nwb" for k in range(10)]


@pytest.mark.parametrize("width", [12, 23, 30, 42])
def test_long_names_that_differ_look_different_in_a_table(width):
    shown = terminal.cut_alike(SESSIONS, width)
    assert len(set(shown)) == len(SESSIONS)
    assert max(map(len, shown)) <= width


@pytest.mark.parametrize(
    ("texts", "width", "shown"),
    [
        (["a_1_x", "a_2_x"], 5, ["a_1_x", "a_2_x"]),  # both fit
        (["day_one_ophys", "day_two_ophys"], 9, ["day_one…", "day_two…"]),  # end first
        (["day_one_ophys", "day_two_ophys"], 5, ["…one…", "…two…"]),
        (["abcdefghijklmnop"], 8, ["ab…lmnop"]),  # nothing to compare with
        (["run-01_a", "run-02_a", "another"], 7, ["ru…01_a", "ru…02_a", "another"]),
        (
            ["sub-1_long_end", "sub-2_long_end", "x"],
            7,
            ["sub-1…", "sub-2…", "x"],
        ),  # among themselves
    ],
)
def test_what_all_names_share_is_cut_first(texts, width, shown):
    assert terminal.cut_alike(texts, width) == shown


def test_a_table_of_long_names_keeps_to_80_columns():
    rows = [(name, "fitted", "r2", "0.812", "nonlinear VAR", "0.809") for name in SESSIONS]
    lines = terminal.table(("session", "status", "metric", "model", "best", "its"), rows)
    assert max(map(len, lines.splitlines())) <= 80
    assert len(set(lines.splitlines())) == len(SESSIONS) + 2


@pytest.mark.parametrize("verb", VERBS)
def test_help_ends_with_two_examples_that_the_command_understands(verb):
    assert len(examples(verb)) >= 2
    assert run(verb, "--help").output.rstrip().endswith(examples(verb)[-1])
    command = main.get_command(click.Context(main), verb)
    for line in examples(verb):
        arguments = shlex.split(line)[2:]
        existing = {"worms/": str(Path(__file__).parent)}  # a folder that is there
        arguments = [existing.get(argument, argument) for argument in arguments]
        parser = command.make_parser(click.Context(command))
        parser.parse_args(list(arguments))  # every option is one, every value has its option


@pytest.mark.parametrize("verb", ["", *VERBS])
def test_help_keeps_to_80_columns_and_explains_every_option(verb):
    result = run(*([verb] if verb else []), "--help")
    assert result.exit_code == 0
    assert all(len(line) <= terminal.WIDTH for line in result.output.splitlines())
    if verb:
        command = main.get_command(click.Context(main), verb)
        options = [p for p in command.params if isinstance(p, click.Option) and not p.hidden]
        assert [option.opts for option in options if not option.help] == []


def test_every_option_of_fit_is_listed_once_under_a_heading():
    command = main.get_command(click.Context(main), "fit")
    named = [name for names in command.sections.values() for name in names]
    options = [p for p in command.params if isinstance(p, click.Option) and not p.hidden]
    assert sorted(named) == sorted(p.name for p in options)
    shown = run("fit", "--help").output
    starts = [shown.index(f"\n{heading}:\n") for heading in (*command.sections, REST)]
    assert starts == sorted(starts)
    rest = shown[starts[-1] : shown.index("Examples:")].splitlines()
    assert [line.split() for line in rest if line.strip()] == [
        ["Other", "options:"],
        ["-h,", "--help", "Show", "this", "message", "and", "exit."],
    ]


@pytest.mark.parametrize("verb", ["fit", "inspect"])
def test_the_models_that_are_there_are_listed(verb):
    shown = " ".join(run(verb, "--help").output.split())
    assert f"({', '.join(models.names())})" in shown


def test_nothing_is_drawn_where_there_is_no_terminal(tmp_path):
    result = run("fit", CORTEX, *QUICK, "-o", tmp_path / "run")
    assert result.exit_code == 0, result.output
    assert result.stderr == ""


def test_quiet_prints_the_run_alone_for_one_recording_and_for_several(tmp_path):
    one = run("fit", CORTEX, *QUICK, "-q", "-o", tmp_path / "one")
    assert one.output == f"{tmp_path / 'one'}\n"
    folder = tmp_path / "recordings"
    folder.mkdir()
    for name in ("a", "b"):
        (folder / f"{name}.nwb").write_bytes(archive.resolve(CORTEX)[0].path.read_bytes())
    several = run("fit", folder, *QUICK, "-q", "-o", tmp_path / "runs")
    assert several.output == f"{tmp_path / 'runs'}\n"


def test_a_log_gets_one_json_object_per_line_and_stdout_stays_the_same(tmp_path):
    result = run("fit", CORTEX, *QUICK, "-q", "--log-format", "jsonl", "-o", tmp_path / "run")
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{tmp_path / 'run'}\n"
    lines = [json.loads(line) for line in result.stderr.splitlines()]
    assert all({"time", "stage", "done", "total", "unit"} <= set(line) for line in lines)
    training = [line for line in lines if line["stage"] == "training"]
    assert training[-1]["done"] == training[-1]["total"] == 2
    assert training[-1]["loss"] > 0


def test_a_log_has_no_line_that_json_cannot_read(capsys):
    report = terminal.JsonLines()
    report(Progress("training", 1, 1, "epochs", {"loss": float("nan"), "best": 0.5}))
    line = json.loads(capsys.readouterr().err, parse_constant=pytest.fail)
    assert line["loss"] is None
    assert line["best"] == 0.5


def test_a_log_is_told_the_beginning_and_the_end_of_a_fast_stage(capsys):
    report = terminal.JsonLines()
    for done in range(1001):
        report(Progress("exporting", done, 1000, "chunks"))
    shown = [json.loads(line)["done"] for line in capsys.readouterr().err.splitlines()]
    assert shown[0] == 0
    assert shown[-1] == 1000
    assert len(shown) < 10


def test_bars_say_everything_on_80_columns():
    detail = {"loss": 0.12345, "best": 0.12034, "validation": 0.12345, "seconds left": 1234.5}
    drawn = io.StringIO()
    console = Console(file=drawn, width=terminal.WIDTH, force_terminal=True, color_system=None)
    with terminal_bars(console) as report:
        report(Progress("training", 100, 2000, "epochs", detail))
        report(Progress("streaming", 123e6, 4567e6, "bytes"))
    assert "100/2000 epochs" in drawn.getvalue()
    assert "loss 0.123  best 0.12  val 0.123  20.6 min left" in drawn.getvalue()
    assert "123.0 MB / 4.6 GB" in drawn.getvalue()


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        (["fit", "sample:reach", "--model", "s"], {"stndt", "synapsnet"}),
        (["fit", "sample:co"], {"sample:cortex", "sample:constrained"}),
        (["in"], {"inspect"}),
    ],
)
def test_a_shell_completes_verbs_models_and_samples(typed, offered):
    *before, last = typed
    complete = ShellComplete(main, {}, "nwbdyn", "_NWBDYN_COMPLETE")
    assert offered <= {item.value for item in complete.get_completions(before, last)}


@pytest.mark.parametrize(
    ("value", "message"),
    [(0.0345, "0.035 ms"), (3.46, "3.5 ms"), (35.2, "35 ms"), (172.3, "170 ms")],
)
def test_a_short_time_is_said_in_two_digits(value, message):
    assert terminal.milliseconds(value) == message


def test_threads_do_not_spin_while_they_wait_unless_told_to(monkeypatch):
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    run("cache")
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"
    monkeypatch.delenv("OMP_WAIT_POLICY")
    run("cache")
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"
