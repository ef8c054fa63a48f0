"""Pages of the reference: the command line, the public names, the models' options.

Docstrings are read by mkdocstrings; here stands which names a page shows. Help texts are those of
the command line itself.
"""

import dataclasses
import inspect
from importlib import import_module

import click

import nwbdyn
from nwbdyn import models
from nwbdyn.cli import main as command_line
from nwbdyn.cli.terminal import WIDTH

ROOMS = {  # public names beyond `nwbdyn` itself, by the room they are in
    "nwbdyn.request": ("FitRequest",),
    "nwbdyn.recording": ("Neurons", "SpikeTimes", "Traces", "Covariate", "Note"),
    "nwbdyn.data.binning": ("bin_recording", "Binned"),
    "nwbdyn.data.splits": ("make", "Split"),
    "nwbdyn.simulate": ("sample", "Truth"),
    "nwbdyn.statistics.groups": ("cell_type_contrast",),
    "nwbdyn.evaluation.connectome_comparison": ("Validation",),
    "nwbdyn.workflows.reproduce": ("Reproduction",),
    "nwbdyn.workflows.batch": ("fit_each", "SessionResult"),
    "nwbdyn.metrics": ("agreement", "r2", "bits_per_spike", "auroc", "block_interval"),
    "nwbdyn.models.base": ("Model", "Config", "Layout", "WindowSpec", "Batch", "Output"),
    "nwbdyn.results.views": ("Plots",),
    "nwbdyn.report.figures": (),  # all of them
    "nwbdyn.report.page": ("write", "render"),
}


def pages() -> list[tuple[str, str]]:
    """(page, Markdown) of the reference."""
    return [
        ("reference/command-line.md", command_page()),
        ("reference/python.md", python_page()),
        ("reference/models.md", models_page()),
    ]


def command_page() -> str:
    """Every command's help, as a terminal of 80 columns shows it."""
    parts = ["# Command line\n"]
    context = click.Context(command_line, info_name="nwbdyn", terminal_width=WIDTH)
    parts.append(f"```text\n$ nwbdyn --help\n{command_line.get_help(context)}\n```\n")
    for verb in command_line.list_commands(context):
        command = command_line.get_command(context, verb)
        assert command is not None
        inner = click.Context(command, info_name=verb, parent=context, terminal_width=WIDTH)
        parts.append(f"## nwbdyn {verb}\n")
        parts.append(f"```text\n$ nwbdyn {verb} --help\n{command.get_help(inner)}\n```\n")
    return "\n".join(parts)


def python_page() -> str:
    """The public names of the package and of the rooms that users meet."""
    parts = ["# Python\n", "## nwbdyn\n"]
    for name in nwbdyn.__all__:
        parts += _entry(getattr(nwbdyn, name), f"nwbdyn.{name}")
    for room, names in ROOMS.items():
        module = import_module(room)
        lead = (inspect.getdoc(module) or "").partition("\n\n")[0]
        parts.append(f"## {room}\n\n{lead}\n")
        for name in names or module.__all__:
            parts += _entry(getattr(module, name), f"{room}.{name}")
    return "\n".join(parts)


def _entry(item: object, path: str) -> list[str]:
    """One name: its docstring, and of a dataclass the fields with their shapes and units."""
    parts = [f"::: {_home(item, path)}\n"]
    if isinstance(item, type) and dataclasses.is_dataclass(item):
        parts.append(f"Fields of `{item.__name__}`:\n\n```python\n{_fields(item)}\n```\n")
    return parts


def _home(item: object, otherwise: str = "") -> str:
    """File and line of a class or function; `otherwise` where there is none."""
    module, name = getattr(item, "__module__", None), getattr(item, "__qualname__", None)
    return f"{module}.{name}" if module and name and "<" not in name else otherwise


def models_page() -> str:
    """Every model: paper, what it takes and predicts, its options with defaults, its presets."""
    parts = ["# Models and their options\n"]
    parts.append(
        "`--set NAME=VALUE`, `--config FILE`, or `options={…}` in Python. [Options of every "
        "model](#options-of-every-model), such as `updates` and `learning_rate`, are at the end.\n"
    )
    for name in models.names():
        model = models.load(name)
        parts.append(f"## {name}\n")
        parts.append(f"{model.paper}\n")
        parts.append(f"Takes {', '.join(sorted(model.quantities))}; predicts: {model.target}.\n")
        parts.append(f"```python\n{_fields(model.Config)}\n```\n")
        parts += _presets(model.presets)
    parts.append("## Options of every model\n")
    parts.append(f"```python\n{_fields(import_module('nwbdyn.models.base').Config)}\n```\n")
    return "\n".join(parts)


def _presets(presets: dict[str, dict[str, object]]) -> list[str]:
    """Presets by name, where a model has them, with the options that they set."""
    meaning = {"ladder": "the default", "paper": "the published form"}
    named = [f"`{name}` is {text}" for name, text in meaning.items() if name in presets]
    parts = [f"`--set preset=NAME`: {', '.join(named)}.\n"] if named else []
    text = "\n".join(
        f"{name}: " + ", ".join(f"{option}={_short(value)}" for option, value in options.items())
        for name, options in presets.items()
        if options
    )
    if text:
        title = "Published settings, `--set preset=NAME`; other options win over them"
        parts.append(f"{title}:\n\n```text\n{text}\n```\n")
    return parts


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _fields(item: type) -> str:
    """The fields of a dataclass as they are written, with what stands behind them."""
    body = inspect.getsource(item).partition(":\n")[2]
    if body.lstrip().startswith('"""'):
        body = body.split('"""', 2)[2]
    lines = []
    for line in body.splitlines():
        if line.startswith(("    def ", "    @", "    async ")):
            break
        lines.append(line[4:] if line.startswith("    ") else line)
    return "\n".join(lines).strip("\n")
