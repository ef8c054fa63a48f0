"""What a person sees while waiting and at the end: progress on stderr, tables on stdout."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import click

from nwbdyn.progress import Progress, Report, silent

WIDTH = 80  # columns; tables fit an ordinary terminal and a log file alike
_BYTES = ("B", "KB", "MB", "GB", "TB")


def size(num_bytes: float | None) -> str:
    """A size to read: 1.5 MB; "?" when it is not known."""
    if num_bytes is None:
        return "?"
    for unit in _BYTES:
        if num_bytes < 1000 or unit == _BYTES[-1]:
            return f"{num_bytes:.0f} {unit}" if unit == "B" else f"{num_bytes:.1f} {unit}"
        num_bytes /= 1000
    raise AssertionError("unreachable")


def duration(seconds: float) -> str:
    """A duration to read: 45 s, 12.3 min, 1.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def table(header: Sequence[str], rows: Iterable[Sequence[str]], *, wide: int = 0) -> str:
    """A plain table; the column at position `wide` is cut with … where the line would not fit.

    The first column is aligned left, columns of numbers right.
    """
    cells = [list(header), *(list(row) for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    spare = WIDTH - sum(widths) - 2 * (len(widths) - 1)
    if spare < 0:
        widths[wide] = max(8, widths[wide] + spare)
    numeric = [i > 0 and all(_number(row[i]) for row in cells[1:]) for i in range(len(header))]
    lines = []
    for row in cells:
        fields = [
            _cut(text, width).rjust(width) if right else _cut(text, width).ljust(width)
            for text, width, right in zip(row, widths, numeric, strict=True)
        ]
        lines.append("  ".join(fields).rstrip())
    lines.insert(1, "-" * max(len(line) for line in lines))
    return "\n".join(lines)


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def _number(text: str) -> bool:
    return not text or text[0] in "0123456789+-.–" or text == "nan"


@contextmanager
def watch(*, quiet: bool = False) -> Iterator[Report]:
    """A `report` that draws progress bars on a terminal and stays silent elsewhere."""
    if quiet or not sys.stderr.isatty():
        yield silent
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
    )
    from rich.progress import Progress as Bars

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description:<12}"),
        BarColumn(bar_width=20),
        TextColumn("{task.fields[amount]}"),
        TextColumn("[dim]{task.fields[detail]}"),
        TimeElapsedColumn(),
    )
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks: dict[str, object] = {}

        def report(progress: Progress) -> None:
            task = tasks.get(progress.stage)
            if task is None:
                task = bars.add_task(progress.stage, amount="", detail="")
                tasks[progress.stage] = task
            bars.update(
                task,  # type: ignore[arg-type]
                completed=progress.done,
                total=progress.total,
                amount=_amount(progress),
                detail=_detail(progress),
            )

        yield report


def _amount(progress: Progress) -> str:
    if progress.unit == "bytes":
        return " / ".join(size(n) for n in (progress.done, progress.total) if n is not None)
    total = "" if progress.total is None else f"/{progress.total:.0f}"
    return f"{progress.done:.0f}{total} {progress.unit}"


def _detail(progress: Progress) -> str:
    return "  ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in progress.detail.items()
    )


def say(text: str = "", *, quiet: bool = False) -> None:
    """A line on stdout, unless the person asked for quiet."""
    if not quiet:
        click.echo(text)
