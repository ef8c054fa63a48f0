"""Options that several verbs share, and how their values are read."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from nwbdyn import models
from nwbdyn.cli.terminal import LOG_FORMAT

instance = click.option(
    "--instance",
    metavar="NAME|URL",
    help="DANDI instance, by name or API address.  [default: dandi]",
)


def _remember(context: click.Context, parameter: click.Parameter, value: str) -> None:
    context.meta[LOG_FORMAT] = value


def quiet(command: Callable[..., object]) -> Callable[..., object]:
    """Add --quiet and --log-format."""
    command = click.option(
        "--log-format",
        type=click.Choice(["bars", "jsonl"]),
        default="bars",
        expose_value=False,
        callback=_remember,
        help="Progress as bars on a terminal, or as JSON lines on stderr.",
    )(command)
    return click.option("-q", "--quiet", is_flag=True, help="Print the result only.")(command)


def _complete_model(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[str]:
    return [name for name in models.names() if name.startswith(incomplete)]


class _ModelName(click.types.StringParamType):
    """A parameter type for a model's name; a missing name lists the models."""

    def get_missing_message(self, param: click.Parameter, ctx: click.Context | None) -> str:
        return f"Choose from: {', '.join(models.names())}."


def model(*, help: str, required: bool = False) -> Callable[..., Callable[..., object]]:
    """Add --model; its help lists the installed models."""
    return click.option(
        "--model",
        type=_ModelName(),
        required=required,
        metavar="NAME",
        shell_complete=_complete_model,
        help=f"{help} ({', '.join(models.names())})",
    )


def _complete_address(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    if incomplete.startswith("sample:"):
        from nwbdyn.simulate.address import SAMPLES

        names = [f"sample:{name}" for name in SAMPLES]
        return [CompletionItem(name) for name in names if name.startswith(incomplete)]
    return [CompletionItem(incomplete, type="file")]


address = click.argument("address", shell_complete=_complete_address)
_OPENING = (  # what to take from a file; named as in `nwbdyn.open`
    click.option(
        "--quantity",
        metavar="NAME",
        help="Read these ROI traces: events, dff, deconvolved or fluorescence.",
    ),
    click.option("--plane", metavar="NAME", help="Read this ROI table only."),
    click.option(
        "--spike-time-unit",
        metavar="UNIT",
        help="Unit of spike times other than seconds: ms, or the sampling rate in Hz.",
    ),
    click.option("--series", metavar="NAME", help="The series of ROI traces, by name or path."),
    click.option(
        "--time-axis",
        type=click.Choice(["0", "1"]),
        callback=lambda context, parameter, value: None if value is None else int(value),
        help="Time axis of stored traces, where the file does not show it.",
    ),
    click.option(
        "--frame-rate", type=float, metavar="HZ", help="Use this rate, not the stated frame times."
    ),
    click.option(
        "--frame-start", type=float, metavar="S", help="Use this time of the first frame."
    ),
    click.option(
        "--frame-time-unit",
        type=click.Choice(["s", "ms", "us"]),
        help="Unit of frame times other than seconds.",
    ),
    click.option("--where", metavar="CONDITION", help="Keep neurons: \"quality == 'good'\"."),
    click.option(
        "--cell-types",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="CSV file with columns id, cell_type.",
    ),
    click.option("--cell-type-column", metavar="NAME", help="Column that holds cell types."),
)


def opening(command: Callable[..., object]) -> Callable[..., object]:
    """Add the options that select what is read from a file."""
    for option in reversed(_OPENING):
        command = option(command)
    return command


def split_opening(given: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The options of `opening` as arguments of `nwbdyn.open`, and all others."""
    names = (
        *("quantity", "plane", "series", "time_axis", "frame_rate", "frame_start"),
        *("frame_time_unit", "spike_time_unit", "where", "cell_types", "cell_type_column"),
    )
    return {name: given[name] for name in names}, {
        name: value for name, value in given.items() if name not in names
    }


def pairs(values: Iterable[str], option: str) -> dict[str, object]:
    """`key=value` strings as a dict; values are read as JSON where they are JSON.

    Raises:
        click.UsageError: a string without "=".
    """
    read: dict[str, object] = {}
    for text in values:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise click.UsageError(f"{option} takes key=value, not '{text}'.")
        read[key.strip()] = _value(value.strip())
    return read


def config_file(path: Path | None) -> dict[str, object]:
    """The options in a JSON or TOML file, an empty dict without one.

    Raises:
        click.UsageError: not JSON or TOML, or not a table of options.
    """
    if path is None:
        return {}
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".toml":
            import tomllib

            return tomllib.loads(text)
        options = json.loads(text)
    except ValueError as error:
        raise click.UsageError(f"--config {path}: {error}. Write JSON or TOML.") from error
    if not isinstance(options, dict):
        raise click.UsageError(f"--config {path}: expected a table of options.")
    return options


def _value(text: str) -> object:
    try:
        return json.loads({"True": "true", "False": "false", "None": "null"}.get(text, text))
    except ValueError:
        return text
