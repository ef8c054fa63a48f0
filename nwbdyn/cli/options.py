"""Options that several verbs share, and how their values are read."""

import json
from collections.abc import Iterable
from pathlib import Path

import click

instance = click.option(
    "--instance",
    metavar="NAME|URL",
    help="DANDI instance, by name or API address.  [default: dandi]",
)
quiet = click.option("-q", "--quiet", is_flag=True, help="Print the result only.")
quantity = click.option(
    "--quantity",
    metavar="NAME",
    help="Read these ROI traces: events, dff, deconvolved or fluorescence.",
)


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
    text = path.read_text(encoding="utf-8")
    try:
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
