"""Result pages of benchmarks: a table, the machine, a file.

With NWBDYN_RESUME=FOLDER a benchmark keeps there what it has finished, and goes on from it when it
is started again. Use a new folder after a change of code.
"""

import datetime
import os
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

RESULTS = Path(__file__).parent / "results"


def banner() -> str:
    """For example: `2026-01-31, AMD EPYC, 2 cores, 24 GB, Python 3.11.7, torch 2.13.0, …`."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "numpy"))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return (
        f"{datetime.date.today()}, {_processor()}, {os.cpu_count()} cores, {memory:.0f} GB, "
        f"Python {platform.python_version()}, {packages}"
    )


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table, ready for the README."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def publish(name: str, text: str) -> None:
    """Print the result and keep it in `benchmarks/results/<name>.md`."""
    given = ["FOLDER" if Path(word).is_absolute() else word for word in sys.argv[1:]]
    command = " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *given])
    page = f"{text}\n\n`{command}`\n\n{banner()}\n"
    print(page)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.md").write_text(page, encoding="utf-8")


def kept(name: str, header: Sequence[str]) -> list[list[str]]:
    """Rows of the table that stands in `benchmarks/results/<name>.md`; none without a page."""
    page = RESULTS / f"{name}.md"
    lines = page.read_text("utf-8").splitlines() if page.exists() else []
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    rows = [cells for cells in rows if len(cells) == len(header)]
    return rows[2:]  # without the header and its line


def finished(
    part: str, compute: Callable[..., Mapping[str, Any]], *arguments: Any
) -> dict[str, Any]:
    """Return the result of `compute`, or its stored result of an earlier run.

    Args:
        part: a file's name that holds everything the part depends on.
        compute: gives numbers, texts and arrays by name.
    """
    folder = os.environ.get("NWBDYN_RESUME")
    if not folder:
        return dict(compute(*arguments))
    file = Path(folder) / f"{Path(sys.argv[0]).stem}-{part}.npz"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_suffix(".partial")
        with partial.open("wb") as stream:
            np.savez(stream, **compute(*arguments))
        partial.rename(file)
    with np.load(file, allow_pickle=False) as arrays:
        return {name: array if array.ndim else array.item() for name, array in arrays.items()}


def _processor() -> str:
    if Path("/proc/cpuinfo").exists():
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def forget_peak() -> float:
    """MB this process holds now; `peak` counts from here. A child starts at its parent's peak."""
    Path("/proc/self/clear_refs").write_text("5")
    return peak()


def peak() -> float:
    """MB this process has held at most (Linux)."""
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024 / 1e6
