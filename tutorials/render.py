"""Run every tutorial and write it as a notebook with its figures: `make notebooks`.

python tutorials/render.py FOLDER [TUTORIAL.py …]

A tutorial on real recordings finds them in NWBDYN_DATA, or in ../shared/data beside the project;
where they are not there it is left out, and said to be.
"""

import os
import platform
import sys
import time
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).resolve().parent
DATA = Path(os.environ.get("NWBDYN_DATA", HERE.parents[1] / "shared" / "data"))
MOST_SECONDS = 1200  # of one cell, on a slow machine


def render(path: Path, folder: Path) -> Path:
    """The tutorial at `path`, executed, as a notebook in `folder`."""
    notebook = jupytext.read(path)
    began = time.perf_counter()
    NotebookClient(notebook, timeout=MOST_SECONDS, kernel_name="python3").execute()
    seconds = round(time.perf_counter() - began, 1)
    machine = f"{os.cpu_count()} CPU cores, Python {platform.python_version()}"
    notebook.metadata["nwbdyn"] = {"seconds": seconds, "machine": machine}  # the site shows them
    target = folder / f"{path.stem}.ipynb"
    nbformat.write(notebook, target)
    return target


def main(folder: Path, paths: list[Path]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["NWBDYN_DATA"] = str(DATA)
    for path in paths or sorted(HERE.glob("[0-9]_*.py")):
        if "NWBDYN_DATA" in path.read_text("utf-8") and not DATA.is_dir():
            print(f"{path.name} is left out: no recordings in {DATA}. Set NWBDYN_DATA.", flush=True)
        else:
            print(render(path, folder), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(path) for path in sys.argv[2:]])
