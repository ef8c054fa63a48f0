"""Terminal output: progress on stderr, tables on stdout.

Every text for a terminal is printed here, with control characters in names escaped.
"""

import json
import logging
import math
import shlex
import sys
import textwrap
import time
import traceback
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import takewhile
from types import TracebackType
from typing import TYPE_CHECKING, Any

import click

from nwbdyn.printable import printable
from nwbdyn.progress import Progress, Report, silent
from nwbdyn.progress_bars import terminal_bars
from nwbdyn.readable import duration as duration
from nwbdyn.readable import milliseconds as milliseconds
from nwbdyn.readable import size as size

if TYPE_CHECKING:
    from nwbdyn.recording import Note

WIDTH = 80  # columns; tables fit an ordinary terminal and a log file alike
LOG_FORMAT = "nwbdyn.log_format"  # where the choice of `--log-format` lies in click's context
SECONDS_BETWEEN = 1.0  # lines of one stage in a log, but for its end


def echo(text: str, *, err: bool = False) -> None:
    """Lines on stdout, or on stderr; control characters other than their ends are written out."""
    click.echo(printable(text, lines=True), err=err)


def line(text: object, *, err: bool = False) -> None:
    """One line, whatever is in the text."""
    click.echo(printable(str(text)), err=err)


def say(text: str = "", *, quiet: bool = False) -> None:
    """Print lines on stdout, unless the output is quiet."""
    if not quiet:
        echo(text)


class _Log(logging.Handler):
    """Handler for log messages that no other handler takes."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            echo(self.format(record), err=True)
        except Exception:  # logging.Handler.emit never raises: a bad record must not end a fit
            self.handleError(record)


def guard() -> None:
    """Write out control characters in logs, warnings and tracebacks of this process, too."""
    if isinstance(logging.lastResort, _Log):
        return
    logging.lastResort = _Log(logging.WARNING)
    shown = warnings.formatwarning

    def one_warning(*what: Any, **more: Any) -> str:
        return printable(shown(*what, **more), lines=True)

    def one_traceback(
        kind: type[BaseException], error: BaseException, frames: TracebackType | None
    ) -> None:
        echo("".join(traceback.format_exception(kind, error, frames)).rstrip("\n"), err=True)

    warnings.formatwarning = one_warning
    sys.excepthook = one_traceback


def table(header: Sequence[str], rows: Iterable[Sequence[str]], *, wide: int = 0) -> str:
    """A plain table; the column at position `wide` is cut where the line would not fit.

    The first column is aligned left, columns of numbers right.
    """
    cells = [[printable(text) for text in row] for row in (header, *rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    spare = WIDTH - sum(widths) - 2 * (len(widths) - 1)
    if spare < 0:
        widths[wide] = max(8, widths[wide] + spare)
        shown = cut_alike([row[wide] for row in cells[1:]], widths[wide])
        for row, text in zip(cells, [_cut(cells[0][wide], widths[wide]), *shown], strict=True):
            row[wide] = text
    numeric = [i > 0 and all(_number(row[i]) for row in cells[1:]) for i in range(len(header))]
    lines = []
    for row in cells:
        fields = [
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(row, widths, numeric, strict=True)
        ]
        lines.append("  ".join(fields).rstrip())
    lines.insert(1, "-" * max(len(line) for line in lines))
    return "\n".join(lines)


def command(words: Sequence[str]) -> str:
    r"""A command to type again, indented; a long one goes on after ` \` at the end of a line."""
    lines, line = [], " "
    for word in map(shlex.quote, words):
        if line.strip() and len(line) + 1 + len(word) > WIDTH - 2:
            lines.append(f"{line} \\")
            line = "   "
        line += f" {word}"
    return "\n".join([*lines, line])


def narrowed(
    header: Sequence[str], rows: Iterable[Sequence[str]], least: Mapping[int, int]
) -> list[list[str]]:
    """The rows with long texts cut, so that a table of them fits the terminal.

    Args:
        least: position of a column that may be cut -> its least width, the first to be cut first.
    """
    cells = [[printable(text) for text in row] for row in rows]
    widths = [max(len(row[i]) for row in (header, *cells)) for i in range(len(header))]
    excess = sum(widths) + 2 * (len(widths) - 1) - WIDTH
    for column, width in least.items():
        if column < len(widths) and excess > 0:
            cut = min(excess, max(0, widths[column] - width))
            widths[column], excess = widths[column] - cut, excess - cut
    columns = zip(*cells, strict=True)
    shown = [cut_alike(column, width) for column, width in zip(columns, widths, strict=True)]
    return [list(row) for row in zip(*shown, strict=True)]


def cut_alike(texts: Sequence[str], width: int) -> list[str]:
    """The texts of a column, shortened to a width so that the parts in which they differ stay.

    Words that all texts share are removed, first at the end and then at the start. If some of the
    shortened texts are equal, these are shortened again as a group.
    """
    shown = _without_shared(texts, width)
    alike: dict[str, list[int]] = {}
    for row, text in enumerate(shown):
        alike.setdefault(text, []).append(row)
    for rows in alike.values():
        group = [texts[row] for row in rows]
        if 1 < len(set(group)) < len(set(texts)):
            for row, text in zip(rows, cut_alike(group, width), strict=True):
                shown[row] = text
    return shown


def _without_shared(texts: Sequence[str], width: int) -> list[str]:
    if all(len(text) <= width for text in texts):
        return list(texts)
    different = sorted(set(texts))
    start, end = _shared(different) if len(different) > 1 else (0, 0)
    longest = max(map(len, texts))
    end = end if longest > width else 0
    start = start if longest - max(0, end - 1) > width else 0  # each cut leaves an ellipsis
    rest = [
        ("…" if start > 1 else text[:start])
        + text[start : len(text) - end]
        + ("…" if end > 1 else text[len(text) - end :])
        for text in texts
    ]
    return [_cut(text, width) for text in rest]


def _shared(texts: Sequence[str]) -> tuple[int, int]:
    """Number of characters at the start and at the end that all share, in whole words."""
    start, end = (_equal(some) for some in (texts, [text[::-1] for text in texts]))
    end = min(end, min(map(len, texts)) - start)
    first = texts[0]
    while start and first[start - 1].isalnum():
        start -= 1
    while end and first[len(first) - end].isalnum():
        end -= 1
    return start, end


def _equal(texts: Sequence[str]) -> int:
    """Number of characters at the start in which all agree."""
    return sum(1 for _ in takewhile(lambda some: len(set(some)) == 1, zip(*texts, strict=False)))


def _cut(text: str, width: int) -> str:
    """The text without its middle."""
    if len(text) <= width:
        return text
    kept = width - 1
    return f"{text[: kept // 3]}…{text[kept // 3 - kept :]}"


def _number(text: str) -> bool:
    return not text or text[0] in "0123456789+-.–" or text == "nan"


@contextmanager
def progress_display(*, quiet: bool = False) -> Iterator[Report]:
    """A `report` that draws bars on a terminal or writes JSON lines; silent otherwise.

    Both go to stderr, so that stdout holds results only.
    """
    context = click.get_current_context(silent=True)
    if context is not None and context.meta.get(LOG_FORMAT) == "jsonl":
        yield JsonLines()
    elif quiet or not sys.stderr.isatty():
        yield silent
    else:
        from rich.console import Console

        with terminal_bars(Console(stderr=True)) as report:
            yield report


class JsonLines:
    """A `report` that writes one JSON object per line on stderr.

    Keys: time (UTC), stage, done, total, unit, and what the step says of itself, such as loss. A
    stage is reported once a second at most, and always at its end.
    """

    def __init__(self) -> None:
        self._reported: dict[str, float] = {}

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        ended = progress.total is not None and progress.done >= progress.total
        if not ended and now - self._reported.get(progress.stage, -math.inf) < SECONDS_BETWEEN:
            return
        self._reported[progress.stage] = now
        line = {
            "time": _now(),
            "stage": progress.stage,
            "done": progress.done,
            "total": progress.total,
            "unit": progress.unit,
            **progress.detail,
        }
        known = {key: None if _no_number(value) else value for key, value in line.items()}
        click.echo(json.dumps(known), err=True)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _no_number(value: object) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def attention(notes: "Iterable[Note]") -> list[str]:
    """The important notes under a heading; no line without any."""
    important = [note for note in notes if note.important]
    lines = ["Attention:"] if important else []
    for one in important:
        lines += note_lines(one)
    return [*lines, ""] if lines else []


def note_lines(note: "Note") -> list[str]:
    """A note, indented and wrapped."""
    return textwrap.wrap(
        printable(str(note)),
        WIDTH,
        initial_indent="  ",
        subsequent_indent="    ",
        break_on_hyphens=False,
    )


class _Warnings(logging.Handler):
    """Warnings of the library on stderr, wrapped; as JSON lines where progress is JSON, too."""

    def __init__(self, *, as_json: bool) -> None:
        super().__init__(logging.WARNING)
        self._as_json = as_json

    def emit(self, record: logging.LogRecord) -> None:
        text = printable(record.getMessage())
        if self._as_json:
            echo(json.dumps({"time": _now(), "warning": text}), err=True)
        else:
            echo(textwrap.fill(text, WIDTH, break_on_hyphens=False), err=True)


@contextmanager
def warnings_on_stderr() -> Iterator[None]:
    """Show what the library logs as a warning while a verb works, with --quiet, too."""
    context = click.get_current_context(silent=True)
    as_json = context is not None and context.meta.get(LOG_FORMAT) == "jsonl"
    log, handler = logging.getLogger("nwbdyn"), _Warnings(as_json=as_json)
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
