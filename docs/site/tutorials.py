"""Pages of the tutorials: text, code and, where they were run, figures and run times.

`make notebooks` runs them and leaves notebooks in `build/notebooks`. A tutorial that was not run is
shown without outputs, and says so. Every page offers its notebook.
"""

import base64
import json
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = ROOT / "build" / "notebooks"
MOST_CHARACTERS = 4000  # of one output
PROGRESS = "<IPython.core.display."  # a progress bar as text
Cell = dict[str, Any]


def paths() -> list[Path]:
    """Text notebooks, in order."""
    return sorted((ROOT / "tutorials").glob("[0-9]_*.py"))


def files() -> list[tuple[str, str | bytes]]:
    """(name, content) of every page, picture and notebook, and of the list of tutorials."""
    result: list[tuple[str, str | bytes]] = [("tutorials/index.md", _index())]
    for path in paths():
        notebook = notebook_of(path)
        pictures: list[tuple[str, bytes]] = []
        result.append((f"tutorials/{path.stem}.md", page(path.stem, notebook, pictures)))
        result += pictures
        result.append((f"tutorials/{path.stem}.ipynb", json.dumps(notebook, indent=1)))
    return result


def notebook_of(path: Path) -> dict[str, Any]:
    """The notebook that was run, if its cells are those of the tutorial now; else a new one."""
    cells = split(path.read_text("utf-8"))
    done = NOTEBOOKS / f"{path.stem}.ipynb"
    if done.exists():
        notebook: dict[str, Any] = json.loads(done.read_text("utf-8"))
        if [_text(cell) for cell in notebook["cells"]] == [_text(cell) for cell in cells]:
            return notebook
    return {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}


def split(text: str) -> list[Cell]:
    """Cells of a text notebook in the percent format."""
    cells: list[Cell] = []
    for part in re.split(r"^# %%", text, flags=re.M)[1:]:
        head, _, body = part.partition("\n")
        number = f"cell-{len(cells)}"
        if "[markdown]" in head:
            lines = [line.removeprefix("#").removeprefix(" ") for line in body.strip().splitlines()]
            cells.append(
                {"cell_type": "markdown", "id": number, "metadata": {}, "source": "\n".join(lines)}
            )
        else:
            cells.append(
                {
                    "cell_type": "code",
                    "execution_count": None,
                    "id": number,
                    "metadata": {},
                    "outputs": [],
                    "source": body.strip(),
                }
            )
    return cells


def page(name: str, notebook: dict[str, Any], pictures: list[tuple[str, bytes]]) -> str:
    """Markdown of a notebook; its pictures are appended to `pictures` as (name, PNG)."""
    seconds = notebook["metadata"].get("nwbdyn", {}).get("seconds")
    if seconds is None:
        state = "Shown without outputs; `make notebooks` runs it."
    else:
        state = f"Run time: {_duration(seconds)}, on {notebook['metadata']['nwbdyn']['machine']}."
    first, *rest = notebook["cells"]
    title, _, text = _text(first).partition("\n")
    parts = [title, f"[Download this tutorial as a notebook]({name}.ipynb). {state}", text]
    for cell in rest:
        if cell["cell_type"] == "markdown":
            parts.append(_text(cell))
        else:
            parts.append(f"```python\n{_text(cell)}\n```")
            parts += [_output(one, name, pictures) for one in cell["outputs"]]
    return "\n\n".join(part for part in parts if part) + "\n"


def _output(output: Cell, name: str, pictures: list[tuple[str, bytes]]) -> str:
    data = output.get("data", {})
    if "image/png" in data:
        file = f"{name}_{len(pictures) + 1}.png"
        pictures.append((f"tutorials/{file}", base64.b64decode("".join(data["image/png"]))))
        return f"![Figure {len(pictures)} of this tutorial]({file})"
    text = "".join(output.get("text") or data.get("text/plain") or "")
    if not text.strip() or text.startswith(PROGRESS):
        return ""
    shown = text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]}…"
    return f"```text\n{shown.rstrip()}\n```"


def _index() -> str:
    lines = ["# Tutorials", "", "Text notebooks; `make notebooks` runs them all.", ""]
    for path in paths():
        first = _text(split(path.read_text("utf-8"))[0]).splitlines()
        lead = " ".join(first[1:]).strip().split(". ")[0].rstrip(".")
        lines.append(f"- [{first[0].removeprefix('# ')}]({path.stem}.md): {lead}.")
    return "\n".join(lines) + "\n"


def _text(cell: Cell) -> str:
    return "".join(cell["source"]).strip()


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.1f} min"
