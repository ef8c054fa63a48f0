"""`nwbdyn fetch`: from an address to files on disk."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from nwbdyn.cli import options, terminal
from nwbdyn.cli.plan import ask_above_limit, print_plan

if TYPE_CHECKING:
    from nwbdyn.workflows.fetch import FetchResult


EXAMPLES = """\b
Examples:
  nwbdyn fetch dandi:000140 --list
  nwbdyn fetch "dandi:000140/sub-Jenkins/*train*" -o data
"""


@click.command(
    "fetch", epilog=EXAMPLES, short_help="Put recordings on this disk, without their raw data."
)
@options.address
@click.option(
    "-o",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("."),
    show_default=True,
    help="Folder; files land in <dandiset>/<asset path>.",
)
@click.option("--full", is_flag=True, help="Every byte, raw recordings and movies included.")
@click.option("--list", "list_only", is_flag=True, help="Show what would be fetched, and stop.")
@click.option("--all", "take_all", is_flag=True, help="Do not ask above 5 files or 5 GB.")
@options.instance
@options.quiet
def command(
    address: str,
    output: Path,
    full: bool,
    list_only: bool,
    take_all: bool,
    instance: str | None,
    quiet: bool,
) -> None:
    """Put the recordings at ADDRESS on this disk, without their raw data.

    A file comes as a slim copy: a valid NWB file with units, traces, behaviour and tables, and
    without the voltages and movies behind them, which are listed. With --full it comes whole and
    verified. Interrupted, the same command goes on: what arrived of a remote file is kept.
    """
    from nwbdyn import archive
    from nwbdyn.workflows import fetch

    sources = archive.resolve(address, instance=instance)
    if list_only:
        print_plan(sources)
        return
    print_plan(sources, quiet=quiet)
    ask_above_limit(sources, take_all=take_all)
    with terminal.progress_display(quiet=quiet) as report:
        for source in sources:
            fetched = fetch.fetch(source, output, full=full, report=report)
            if fetched.left_out:
                terminal.say(_what_was_left_out(fetched), quiet=quiet)
            terminal.line(fetched.path)


def _what_was_left_out(fetched: "FetchResult") -> str:
    rows = [
        (item.path, " x ".join(map(str, item.shape)), item.dtype, terminal.size(item.bytes))
        if item.shape
        else (item.path, item.reason, "", "")
        for item in fetched.left_out
    ]
    sizes = f"{terminal.size(fetched.source_size)} -> {terminal.size(fetched.size)}"
    return "\n".join(
        [
            terminal.table(("left out", "shape", "values", "size"), rows),
            f"{sizes}; --full fetches all of it",
        ]
    )
