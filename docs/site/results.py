"""Pages of the benchmarks: one per file of `benchmarks/results`, and one table of all.

No number is typed here: commands, dates, machines and tables are those of the files.
"""

import re
from pathlib import Path

RESULTS = Path(__file__).resolve().parents[2] / "benchmarks" / "results"
_COMMAND = re.compile(r"^`(python benchmarks/[^`]+)`", re.M)
_MACHINE = re.compile(r"^(\d{4}-\d\d-\d\d), (.+)$", re.M)


def pages() -> list[tuple[str, str]]:
    """(page, Markdown) of every file of results."""
    return [
        (f"benchmarks/results/{path.name}", _with_title(path))
        for path in sorted(RESULTS.glob("*.md"))
    ]


def table() -> str:
    """One row per benchmark: what is compared, the command, the day and the machine."""
    rows = [
        "# Every result",
        "",
        "Each row is a page that a script of `benchmarks/` wrote. The command makes it again.",
        "",
        "| result | rows | command | day | machine |",
        "| --- | ---: | --- | --- | --- |",
    ]
    for path in sorted(RESULTS.glob("*.md")):
        text = path.read_text("utf-8")
        days = _MACHINE.findall(text)
        day, machine = days[-1] if days else ("", "")
        commands = "<br>".join(f"`{command}`" for command in _COMMAND.findall(text))
        rows.append(
            f"| [{_title(path)}]({path.name}) | {num_rows(text)} | {commands} | {day} | {machine} |"
        )
    return "\n".join(rows) + "\n"


def num_rows(text: str) -> int:
    """Rows of numbers in the tables of a page, their headers left out."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    headers = sum(set(line) <= set("|-: ") for line in lines)
    return len(lines) - 2 * headers


def _title(path: Path) -> str:
    return path.stem.replace("_", " ")


def _with_title(path: Path) -> str:
    text = path.read_text("utf-8")
    return text if text.startswith("# ") else f"# {_title(path)}\n\n{text}"
