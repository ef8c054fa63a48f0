"""CPU time and peak memory of whole commands at their defaults, one thread, imports included.

    python benchmarks/commands.py [--rows TEXT …]

Each command is a process of its own. "beyond imports" is its peak less that of a process that only
imports what a fit imports, in multiples of the fitted activity as float32. The large recording is
fitted without training (`--set own_part=false`): what remains is the core, baselines, scores and
tests. Samples are simulated before the clock starts. Rows that are not run stay on the page.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from machine import forget_peak, kept, publish, table

import nwbdyn
from nwbdyn import archive

DATA = Path(os.environ.get("NWBDYN_DATA", "../shared/data"))
WORM = str(DATA / "ophys" / "celegans_dag2023_2022-07-26-31.nwb")
LARGE = "sample:cortex?neurons=1000&duration=500"
IMPORTS = [sys.executable, "-c", "import nwbdyn.fitting.fit, nwbdyn.cli.cmd_fit, nwbdyn.opening"]
PAGE = "commands"
HEADER = ("command", "CPU s", "peak MB", "beyond imports, x activity")


@dataclass(frozen=True)
class Command:
    """A row: what is run in `folder`, and the run whose activity its memory is compared with."""

    name: str
    words: tuple[str, ...]
    run: str | None = None  # folder of the run that a fit writes


COMMANDS = (
    Command(
        "fit of `sample:cortex`, 50 x 6,000, SynapsNet",
        ("fit", "sample:cortex", "--model", "synapsnet", "-o", "cortex"),
        "cortex",
    ),
    Command(
        "fit of a worm, 146 x 800, NetFormer",
        ("fit", WORM, "--model", "netformer", "-o", "worm"),
        "worm",
    ),
    Command(
        "fit of 1,000 x 5,000, SynapsNet, no training",
        ("fit", LARGE, "--model", "synapsnet", "--set", "own_part=false", "-o", "large"),
        "large",
    ),
    Command("report of that fit", ("report", "large")),
    Command("export of that fit", ("export", "large", "-o", "large.nwb")),
)


def measured(command: Sequence[str], folder: Path) -> tuple[float, float]:
    """CPU seconds and peak MB of a command."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    forget_peak()  # a child starts at the peak of its parent
    child = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {child.returncode}")
    return used.ru_utime + used.ru_stime, used.ru_maxrss * 1024 / 1e6


def activity_megabytes(run: Path) -> float:
    """MB of the fitted activity as float32."""
    return nwbdyn.load(run).predictions.values.size * 4 / 1e6


def row(command: Command, folder: Path, imports: float) -> list[str]:
    program = [sys.executable, "-m", "nwbdyn", *command.words]
    seconds, memory = measured(program, folder)
    times = ""
    if command.run is not None:
        times = f"{(memory - imports) / activity_megabytes(folder / command.run):.1f}"
    return [command.name, f"{seconds:.1f}", f"{memory:.0f}", times]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", nargs="*", help="only rows with one of these texts in their name")
    chosen = parser.parse_args().rows
    commands = [one for one in COMMANDS if not chosen or any(text in one.name for text in chosen)]
    for command in commands:
        for word in command.words:
            if word.startswith("sample:"):
                archive.resolve(word)
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        seconds, imports = measured(IMPORTS, folder)
        rows = {cells[0]: cells for cells in kept(PAGE, HEADER)}
        rows["imports"] = ["imports", f"{seconds:.1f}", f"{imports:.0f}", ""]
        rows |= {command.name: row(command, folder, imports) for command in commands}
    text = "Whole commands at their defaults, one thread, other programs running."
    publish(PAGE, f"{text}\n\n{table(HEADER, list(rows.values()))}")


if __name__ == "__main__":
    main()
