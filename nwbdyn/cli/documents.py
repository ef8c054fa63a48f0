"""JSON documents: with `--json`, stdout holds one, of the results or of the error.

Every document starts with `schema`, such as "nwbdyn/inspect/1"; the schemas are in
`nwbdyn/cli/schemas`, and docs/json.md is made of them. A schema's number is raised when a key
changes its meaning or goes; new keys may come at any time.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import click

from nwbdyn.cli import terminal

VERSION = 1
_REQUESTED = "nwbdyn.json"  # keys of click's context
_WRITTEN = "nwbdyn.json.written"

option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")


def notice(context: click.Context, arguments: Sequence[str]) -> None:
    """Remember `--json` before the arguments are parsed, so that a wrong one is a document, too."""
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    context.meta[_REQUESTED] = "--json" in options


def write(verb: str, content: Mapping[str, Any]) -> None:
    """Print the document of a verb; NaN and infinities become null."""
    from nwbdyn.results.run_directory import plain

    document = plain({"schema": f"nwbdyn/{verb}/{VERSION}", **content})
    terminal.echo(json.dumps(document, indent=2, allow_nan=False))
    context = click.get_current_context(silent=True)
    if context is not None:
        context.meta[_WRITTEN] = True


def write_error(context: click.Context, kind: str, message: str, exit_code: int) -> None:
    """Print the document of an error, where `--json` was given and no document was printed."""
    if context.meta.get(_REQUESTED) and not context.meta.get(_WRITTEN):
        content = {"error": kind, "message": message, "exit_code": exit_code}
        write("error", content)
        context.meta[_WRITTEN] = True
