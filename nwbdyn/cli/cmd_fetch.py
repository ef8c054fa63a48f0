"""`nwbdyn fetch`: from an address to files on disk."""

from pathlib import Path

import click

from nwbdyn.cli import options, terminal
from nwbdyn.cli.plan import ask_above_limit, print_plan


@click.command("fetch")
@click.argument("address")
@click.option(
    "-o",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("."),
    show_default=True,
    help="Folder; files land in <dandiset>/<asset path>.",
)
@click.option("--list", "list_only", is_flag=True, help="Show what would be fetched, and stop.")
@click.option("--all", "take_all", is_flag=True, help="Do not ask above 5 files or 5 GB.")
@options.instance
@options.quiet
def command(
    address: str, output: Path, list_only: bool, take_all: bool, instance: str | None, quiet: bool
) -> None:
    """Download the NWB files at ADDRESS, verified and resumable.

    \b
    Examples:
      nwbdyn fetch dandi:000140 --list
      nwbdyn fetch "dandi:000140/sub-Jenkins/*train*" -o data
    """
    from nwbdyn import archive

    sources = archive.resolve(address, instance=instance)
    if list_only:
        print_plan(sources)
        return
    print_plan(sources, quiet=quiet)
    ask_above_limit(sources, take_all=take_all)
    with terminal.watch(quiet=quiet) as report:
        for source in sources:
            path = archive.download(source, output, report=report)
            click.echo(str(path))
