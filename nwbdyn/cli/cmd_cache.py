"""`nwbdyn cache`: what streaming keeps on disk."""

from typing import TYPE_CHECKING, Any

import click

from nwbdyn.cli import documents, terminal

if TYPE_CHECKING:
    from nwbdyn.streaming.disk import Usage

EXAMPLES = """\b
Examples:
  nwbdyn cache
  nwbdyn cache --clear
"""


@click.command("cache", epilog=EXAMPLES, short_help="What streaming keeps on this disk.")
@click.option("--clear", is_flag=True, help="Remove what streaming keeps.")
@documents.option
def command(clear: bool, as_json: bool) -> None:
    """Show the folder, size and limit of the cache of streamed files.

    NWBDYN_CACHE names another folder, NWBDYN_CACHE_SIZE another limit ("20 GB"; 0 keeps nothing).
    """
    from nwbdyn.streaming import disk

    before = disk.usage()
    if clear:
        disk.clear()
    if as_json:
        documents.write("cache", _document(before, disk.usage()))
        return
    if clear:
        terminal.echo(f"Removed {terminal.size(before.size)} from {before.folder}")
        return
    rows = [
        ("folder", str(before.folder)),
        ("streamed files", str(before.files)),
        ("size", terminal.size(before.size)),
        ("limit", terminal.size(before.limit)),
    ]
    for name, value in rows:
        terminal.echo(f"{name:<16}{value}")


def _document(before: "Usage", after: "Usage") -> dict[str, Any]:
    return {
        "folder": str(after.folder),
        "num_files": after.files,
        "size": after.size,
        "limit": after.limit,
        "removed": before.size - after.size,
    }
