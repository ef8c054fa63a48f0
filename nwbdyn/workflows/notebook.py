"""An executed notebook about one recording, with a small fit.

The recording is opened once to decide what the notebook shows and how many updates its fit has.
Then a kernel of this Python runs the notebook, in the folder of the notebook.
"""

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from nwbdyn import models, opening, optional, scratch
from nwbdyn.archive import addresses
from nwbdyn.errors import ConfigError, DataError, FitError, ResultsError
from nwbdyn.models.base import CO_SMOOTHING
from nwbdyn.progress import Progress, Report, silent
from nwbdyn.readable import size
from nwbdyn.recording import COUNTS, Recording
from nwbdyn.results.run_directory import atomic_write
from nwbdyn.statistics import states
from nwbdyn.workflows.notebook_cells import CODE, Cell, Plan, cells

EXTRA = "tutorials"  # of the package, with what runs a notebook
SECONDS = 60  # that the trainings of the fit may take here
MOST_UPDATES, FEWEST_UPDATES = 300, 20
_TEMPORARY = ("TMPDIR", "TEMP", "TMP")  # where the notebook's own files go, and go with it
_PAGES = {"dandi": "https://dandiarchive.org"}


@dataclass(frozen=True)
class Notebook:
    """A notebook that was written."""

    path: Path
    plan: Plan
    num_cells: int
    num_figures: int


def write(
    address: str,
    path: Path,
    *,
    model: str = "netformer",
    updates: int | None = None,
    opened: dict[str, Any] | None = None,
    overwrite: bool = False,
    report: Report = silent,
) -> Notebook:
    """Write an executed notebook about the recording at an address.

    Args:
        address: as `nwbdyn.open` takes it, naming one file.
        path: of the notebook.
        model: what is fitted.
        updates: number of updates of the fit; by default those of about a minute, at most
            MOST_UPDATES.
        opened: further arguments of `nwbdyn.open`.
        overwrite: replace a notebook that is there.
        report: called with the number of cells that are done.

    Raises:
        ConfigError: no such model, or what runs notebooks is not installed.
        ResultsError: a file is there already, or its folder is not.
        FitError: a cell of the notebook failed.
    """
    models.check_name(model)
    for package in ("nbformat", "nbclient", "ipykernel"):
        optional.engine(package, EXTRA)
    if path.exists() and not overwrite:
        raise ResultsError(f"{path} exists. Pass --overwrite, or -o with another name.")
    if not path.parent.is_dir():
        raise ResultsError(f"{path.parent} is no folder. Make it first, or pass -o with another.")
    opened = {name: value for name, value in (opened or {}).items() if value is not None}
    with opening.open(address, report=report, **opened) as recording:
        plan = _plan(recording, address, path, model, updates, opened)
    notebook = _executed(list(cells(plan)), path.resolve().parent, report)
    import nbformat

    with atomic_write(path) as partial:
        partial.write_text(nbformat.writes(notebook), encoding="utf-8")
    return Notebook(path, plan, len(notebook.cells), num_figures(notebook))


def num_figures(notebook: Any) -> int:
    """Number of pictures among the outputs."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    return sum("image/png" in output.get("data", {}) for output in outputs)


def _plan(
    recording: Recording,
    address: str,
    path: Path,
    model: str,
    updates: int | None,
    opened: dict[str, Any],
) -> Plan:
    from nwbdyn.nwb.read.summary import summarise

    contents: dict[str, Any] = summarise(recording)
    source = recording.source
    co_smoothing = models.load(model).target == CO_SMOOTHING
    name = PurePosixPath(source.asset_path or source.uri).name.removesuffix(".nwb")
    of = f"DANDI:{source.dandiset_id}, {name}" if source.dandiset_id else name
    page = _PAGES.get(source.instance or "")
    link = f"{page}/dandiset/{source.dandiset_id}/{source.version}" if page else None
    return Plan(
        address=_as_opened(recording, address, path),
        title=f"Functional connectivity of {of}",
        model=model,
        updates=updates or _affordable(recording, model),
        is_spikes=contents["activity"]["quantity"] == COUNTS,
        opened={name: _in_folder(value, path) for name, value in opened.items()},
        states=None if co_smoothing else _states_of(recording),
        link=link if source.dandiset_id else None,
        size=size(contents["bytes_to_fit"]),
    )


def _as_opened(recording: Recording, address: str, path: Path) -> str:
    """The address with its version; a local file as seen from the notebook's folder."""
    local = recording.source.path
    if addresses.is_sample(address) or recording.source.dandiset_id:
        return recording.source.uri
    if local is None:
        return address
    return str(_in_folder(local, path))


def _in_folder(value: object, path: Path) -> object:
    """A path as seen from the notebook's folder; any other value as it is."""
    if not isinstance(value, Path):
        return value
    try:
        return Path(os.path.relpath(value, path.resolve().parent)).as_posix()
    except ValueError:  # on another drive
        return str(value.resolve())


def _affordable(recording: Recording, model: str) -> int:
    """Number of updates that take SECONDS here, in all trainings of a fit."""
    from nwbdyn.fitting import cost

    expected = cost.estimate(recording, model, draws=1)
    affordable = int(SECONDS / (expected.seconds_per_update * expected.trainings))
    return max(FEWEST_UPDATES, min(MOST_UPDATES, expected.updates, affordable))


def _states_of(recording: Recording) -> str | None:
    """The first interval table that names at least two states."""
    names = [*recording.intervals, *(["trials"] if recording.trials is not None else [])]
    for name in names:
        try:
            table = states.of_recording(recording, name)
        except (ConfigError, DataError):
            continue
        if len(states.names(table)) > 1:
            return name
    return None


def _executed(planned: list[Cell], folder: Path, report: Report) -> Any:
    """The notebook with its outputs.

    Raises:
        FitError: a cell failed.
    """
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, DeadKernelError
    from traitlets.config import Config

    made = []
    for number, (kind, text) in enumerate(planned):
        new = nbformat.v4.new_code_cell if kind == CODE else nbformat.v4.new_markdown_cell
        made.append(new(text, id=f"cell-{number}"))
    notebook = nbformat.v4.new_notebook(cells=made)
    inline = {"MPLBACKEND": "module://matplotlib_inline.backend_inline"}
    with scratch.folder() as temporary:
        environment = {**os.environ, **inline, **dict.fromkeys(_TEMPORARY, str(temporary))}
        client = NotebookClient(
            notebook,
            config=Config({"KernelManager": _transport(temporary)}),
            timeout=None,
            record_timing=False,
            shutdown_kernel="immediate",
            kernel_name="python3",
            extra_arguments=["--InteractiveShellApp.ignore_cwd=True"],  # no module beside the data
            resources={"metadata": {"path": str(folder)}},
            on_cell_start=lambda cell, cell_index: report(
                Progress("notebook", cell_index, len(made), "cells")
            ),
        )
        try:
            _run(client, environment)
        except CellExecutionError as error:
            message = f"A cell of the notebook failed: {error.ename}: {error.evalue}"
            raise FitError(message) from error
        except DeadKernelError as error:
            raise FitError("The notebook's kernel died, as it does without memory.") from error
    report(Progress("notebook", len(made), len(made), "cells"))
    return notebook


def _run(client: Any, environment: dict[str, str]) -> None:
    """Execute a notebook; Ctrl-C ends its kernel.

    It runs in a thread of its own, because nbclient takes Ctrl-C of the main thread for itself and
    ends with another error.
    """
    running: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[None]]] = []

    async def execute() -> None:
        task = asyncio.current_task()
        assert task is not None
        running.append((asyncio.get_running_loop(), task))
        await client.async_execute(env=environment)

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(lambda: asyncio.run(execute()))
        try:
            future.result()
        except KeyboardInterrupt:
            for loop, task in running:
                loop.call_soon_threadsafe(task.cancel)
            raise


def _transport(folder: Path) -> dict[str, str]:
    """Configuration of the kernel's sockets: files of this user, where the system has such."""
    return {} if os.name == "nt" else {"transport": "ipc", "ip": str(folder / "kernel")}
