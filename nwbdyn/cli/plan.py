"""The plan of a command: files, cost, and the question above a limit."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from nwbdyn.cli import terminal

if TYPE_CHECKING:
    from nwbdyn.recording import Source

LIMIT_FILES = 5
LIMIT_BYTES = 5e9


def print_plan(sources: Sequence["Source"], *, quiet: bool = False) -> None:
    """One row per file and a total."""
    rows = [(source.asset_path or source.uri, terminal.size(source.size)) for source in sources]
    terminal.say(terminal.table(("file", "size"), rows), quiet=quiet)
    plural = "" if len(sources) == 1 else "s"
    terminal.say(f"{len(sources)} file{plural}, {terminal.size(_total(sources))}", quiet=quiet)


def ask_above_limit(sources: Sequence["Source"], *, take_all: bool) -> None:
    """Return silently for a small plan; above 5 files or 5 GB ask, or stop without a terminal.

    Raises:
        click.UsageError: above the limit, nobody to ask, and no --all.
        click.Abort: the answer was no.
    """
    if take_all or (len(sources) <= LIMIT_FILES and _total(sources) <= LIMIT_BYTES):
        return
    what = f"{len(sources)} files, {terminal.size(_total(sources))}"
    if not sys.stdin.isatty():
        raise click.UsageError(
            f"{what}: more than {LIMIT_FILES} files or {terminal.size(LIMIT_BYTES)}. "
            "Pass --all, or narrow the address with a path or a glob."
        )
    click.confirm(f"{what}: go on?", abort=True, err=True)


def _total(sources: Sequence["Source"]) -> float:
    return float(sum(source.size or 0 for source in sources))
