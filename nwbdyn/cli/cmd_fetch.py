"""`nwbdyn fetch`: from an address to files on disk."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nwbdyn.cli import documents, options, terminal
from nwbdyn.cli.plan import ask_above_limit, print_plan
from nwbdyn.printable import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nwbdyn.recording import Source
    from nwbdyn.workflows.fetch import FetchResult


EXAMPLES = """\b
Examples:
  nwbdyn fetch dandi:000140 --list --json
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
@documents.option
@options.instance
@options.quiet
def command(
    address: str,
    output: Path,
    full: bool,
    list_only: bool,
    take_all: bool,
    as_json: bool,
    instance: str | None,
    quiet: bool,
) -> None:
    """Put the recordings at ADDRESS on this disk, without their raw data.

    It writes a slim copy of each file: a valid NWB file with units, traces, behaviour and tables,
    but without the raw voltages and movies, which it lists. With --full it fetches and verifies
    the whole file. After an interruption, the same command fetches only the rest.
    """
    from nwbdyn import archive
    from nwbdyn.workflows import fetch

    sources = archive.resolve(address, instance=instance)
    print_plan(sources, quiet=as_json or (quiet and not list_only))
    if list_only:
        if as_json:
            documents.write("fetch", _document(address, sources, ()))
        return
    ask_above_limit(sources, take_all=take_all)
    fetched: list[FetchResult] = []
    with terminal.progress_display(quiet=quiet) as report:
        for source in sources:
            result = fetch.fetch(source, output, full=full, report=report)
            fetched.append(result)
            if result.left_out:
                terminal.say(_what_was_left_out(result), quiet=quiet or as_json)
            terminal.say(printable(str(result.path)), quiet=as_json)
    if as_json:
        documents.write("fetch", _document(address, sources, fetched))


def _document(
    address: str, sources: "Sequence[Source]", fetched: "Sequence[FetchResult]"
) -> dict[str, Any]:
    """Fields of the document; with --list nothing was fetched, and `path` is null."""
    from dataclasses import asdict

    files = []
    for index, source in enumerate(sources):
        result = fetched[index] if fetched else None
        files.append(
            {
                "source": source.uri,
                "source_size": source.size if result is None else result.source_size,
                "path": None if result is None else str(result.path),
                "size": None if result is None else result.size,
                "left_out": [] if result is None else [asdict(one) for one in result.left_out],
            }
        )
    return {"address": address, "files": files}


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
