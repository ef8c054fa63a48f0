"""Progress bars: on a terminal, in a notebook, and nowhere else.

A public function of the package takes `report`. With True, its default, a bar is drawn where
somebody can see one: in a notebook, or where stderr is a terminal. False draws none. A script whose
output goes to a file or a log prints nothing.
"""

import html
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from nwbdyn.printable import printable
from nwbdyn.progress import Progress, Report, silent
from nwbdyn.readable import duration, size

if TYPE_CHECKING:
    from rich.console import Console

SECONDS_BETWEEN = 0.2  # drawings of one bar in a notebook


@contextmanager
def progress_bars(report: Report | bool) -> Iterator[Report]:
    """The `report` that a public function passes on to its steps.

    Args:
        report: True for bars where somebody can see them, False for none, or a function that is
            called with every `Progress`.
    """
    if callable(report):
        yield report
    elif report and _in_notebook():
        with notebook_bars() as drawn:
            yield drawn
    elif report and sys.stderr is not None and sys.stderr.isatty():
        from rich.console import Console

        with terminal_bars(Console(stderr=True)) as drawn:
            yield drawn
    else:
        yield silent


def _in_notebook() -> bool:
    """True inside a Jupyter kernel; IPython on a terminal is a terminal."""
    ipython = sys.modules.get("IPython")
    shell: Any = ipython.get_ipython() if ipython is not None else None
    return shell is not None and hasattr(shell, "kernel")


@contextmanager
def notebook_bars() -> Iterator[Report]:
    """A `report` that draws one bar per stage below a notebook's cell, and removes them at the end.

    Plain HTML, without ipywidgets.
    """
    from IPython.display import HTML, display

    handle: Any = None
    stages: dict[str, Progress] = {}
    last = 0.0

    def report(progress: Progress) -> None:
        nonlocal handle, last
        stages[progress.stage] = progress
        now = time.monotonic()
        if handle is not None and now - last < SECONDS_BETWEEN:
            return
        last = now
        page = HTML("<br>".join(_row(one) for one in stages.values()))
        if handle is None:
            handle = display(page, display_id=True)
        else:
            handle.update(page)

    try:
        yield report
    finally:
        if handle is not None:
            handle.update(HTML(""))


def _row(progress: Progress) -> str:
    """One bar as HTML, with texts escaped."""
    share = "" if not progress.total else f' value="{progress.done / progress.total:.4f}"'
    words = " ".join((printable(progress.stage), _amount(progress), _detail(progress)))
    return f"<progress{share}></progress> {html.escape(words)}"


@contextmanager
def terminal_bars(console: "Console") -> Iterator[Report]:
    """A `report` that draws one bar per stage and takes them away at the end."""
    from rich.progress import BarColumn, SpinnerColumn, TextColumn
    from rich.progress import Progress as Bars

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=8),
        TextColumn("{task.fields[amount]}", markup=False),
        TextColumn("{task.fields[detail]}", style="dim", markup=False),
    )
    with Bars(*columns, console=console, transient=True) as drawn:
        tasks: dict[str, object] = {}

        def report(progress: Progress) -> None:
            task = tasks.get(progress.stage)
            if task is None:
                task = drawn.add_task(printable(progress.stage), amount="", detail="")
                tasks[progress.stage] = task
            drawn.update(
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
    return "  ".join(_message(name, value) for name, value in progress.detail.items())


def _message(name: str, value: float | str) -> str:
    if name == "seconds left" and isinstance(value, float):
        return f"{duration(value)} left"
    name = {"validation": "val"}.get(name, name)
    return printable(f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}")
