"""`nwbdyn export FOLDER --upload dandi:ID`: every run in a folder as assets of one dandiset."""

import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nwbdyn.cli import documents, terminal
from nwbdyn.printable import printable

if TYPE_CHECKING:
    from nwbdyn.workflows.archive_share import Shared, SharedRun, Target


def share(
    runs: Sequence[Path],
    upload: str,
    sending: Mapping[str, Any],
    writing: Mapping[str, Any],
    *,
    quiet: bool,
    as_json: bool,
) -> dict[str, Any]:
    """Share every run and print the table; return the fields of the document.

    Args:
        upload: dandi:ID.
        sending: options that go with `--upload`.
        writing: how the files are written; arguments of `export`.
    """
    from nwbdyn.workflows import archive_share

    choices = dict(sending)
    send = not choices.pop("dry_run")
    target = archive_share.Target(upload, **choices)
    try:
        with terminal.warnings_on_stderr(), terminal.progress_display(quiet=quiet) as report:
            shared = archive_share.share(runs, target, send=send, report=report, **writing)
    except KeyboardInterrupt:
        stopped = (
            "Stopped. Run the same command again to go on; what has arrived is not sent again."
        )
        terminal.echo(f"\n{stopped}", err=True)
        documents.write_error(click.get_current_context(), "Interrupted", stopped, 130)
        sys.exit(130)
    if not as_json:
        terminal.echo(_page(target, shared, quiet=quiet))
    return {
        "file": None,
        "files": [_row(row) for row in shared.runs],
        "upload": None,
        "dandiset": upload,
        "readme": shared.readme,
        "remarks": list(shared.remarks),
    }


def _page(target: "Target", shared: "Shared", *, quiet: bool) -> str:
    """A table of the runs, the reasons of those that failed, and a summary; quiet: paths only."""
    from nwbdyn.workflows.archive_share import PROBLEMS

    if quiet:
        good = (row for row in shared.runs if row.status not in PROBLEMS)
        return "\n".join(printable(row.asset_path) for row in good)
    header = ["run", "file", "size", "status"]
    rows = [[row.run.name, row.asset_path, _size(row), row.status] for row in shared.runs]
    if shared.readme:
        rows.append(["", "README.md", "", shared.readme])
    lines = [terminal.table(header, terminal.narrowed(header, rows, {0: 12, 1: 24}), wide=1), ""]
    for row in shared.runs:
        if row.reason:
            lines += _wrapped(f"{row.run.name}: {row.reason}")
    for remark in shared.remarks:
        lines += _wrapped(remark)
    return "\n".join([*lines, *_wrapped(_summary(target, shared))])


def _size(row: "SharedRun") -> str:
    return terminal.size(row.size) if row.file is not None else ""


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(
        printable(text), terminal.WIDTH, subsequent_indent="  ", break_on_hyphens=False
    )


def _summary(target: "Target", shared: "Shared") -> str:
    """Numbers of runs that were sent, or in a dry run would be; and the next step."""
    from nwbdyn.workflows import archive_share

    of: dict[str, list[SharedRun]] = {}
    for row in shared.runs:
        of.setdefault(row.status, []).append(row)
    problems = sum(len(of.get(status, ())) for status in archive_share.PROBLEMS)
    failed = f" {problems} of {len(shared.runs)} not shared." if problems else ""
    due = [*of.get(archive_share.NEW, ()), *of.get(archive_share.REPLACE, ())]
    there = f" {len(of[archive_share.THERE])} there already." if archive_share.THERE in of else ""
    if due:
        size = terminal.size(sum(row.size for row in due))
        return (
            f"Would send {_files(len(due))} ({size}) to {target.dandiset}.{there}{failed} "
            "Add --send to send them."
        )
    waits = sum(row.pending for row in shared.runs)
    pending = f" The archive's validation of {waits} is pending." if waits else ""
    sent = f"Sent {_files(len(of.get(archive_share.SENT, ())))} to {target.dandiset}."
    return f"{sent}{there}{failed}{pending}"


def _row(row: "SharedRun") -> dict[str, Any]:
    return {
        "run": str(row.run),
        "status": row.status,
        "recording": row.recording,
        "file": None if row.file is None else str(row.file),
        "asset_path": row.asset_path,
        "size": row.size,
        "asset": None if row.asset is None else row.asset.uri,
        "reason": row.reason or None,
        "pending": row.pending,
    }


def _files(count: int) -> str:
    return f"{count} file{'' if count == 1 else 's'}"
