"""One table: every recording with every model that can fit it, no option set.

    python benchmarks/recordings.py [FOLDER] [--only TEXT …] [--models NAME …]

FOLDER holds ophys/ and ecephys/. Every row is one run of `nwbdyn fit FILE --model NAME`. If only
some rows are run again, the other rows of the page stay.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from machine import finished, kept, publish, table

import nwbdyn
from nwbdyn.results.sections.difference import span

SAMPLES = ("sample:cortex", "sample:reach")
MODELS = ("netformer", "synapsnet", "stndt")
PAGE = "recordings"
HEADER = (
    *("recording", "model", "metric", "model's score", "rung", "M1", "M2"),
    *("best baseline", "its score", "difference", "common input", "CPU s"),
)
PROGRAM = "from nwbdyn.cli import main; main(prog_name='nwbdyn')"


def fit(address: str, model: str) -> dict[str, str]:
    """Cells of one row, or the error of a fit that was refused."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", PROGRAM, "fit", address, "--model", model, "-o", "run"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode:
            return {"refused": done.stderr.strip().splitlines()[-1]}
        cells = of_run(Path(folder) / "run")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return cells | {"seconds": f"{seconds:.0f}"}


def of_run(run: Path) -> dict[str, str]:
    """Scores of a fit on test, and of its best baseline on validation."""
    metrics = nwbdyn.load(run).metrics
    primary = metrics["primary"]
    name, split, best = primary["metric"], primary["split"], primary["baseline"]
    baselines = metrics["baselines"]
    interval = metrics["intervals"]["difference"].get(split, {}).get(name)
    own, other = metrics["model"][split][name], baselines[best][split][name]
    difference = f"{own - other:+.3f}"
    if span(interval):
        difference += f" ({interval[0]:+.3f} to {interval[1]:+.3f})"
    rungs = {
        rung: f"{baselines[row][split][name]:.3f}" if row in baselines else ""
        for rung, row in (("M1", "nonlinear AR"), ("M2", "nonlinear VAR"))
    }
    shared = metrics.get("common_input")
    return rungs | {
        "metric": name,
        "score": f"{own:.3f}",
        "rung": metrics.get("ladder", {}).get("kept", ""),
        "best": best,
        "other": f"{other:.3f}",
        "difference": difference,
        "shared": f"{shared['excess']:.3f}" if shared else "",
    }


def row(address: str, model: str) -> list[str]:
    """One line of the page."""
    name = Path(address).stem if address not in SAMPLES else address
    part = f"{name}-{model}".replace(":", "_")
    cells = finished(part, fit, address, model)
    if "refused" in cells:
        reason = cells["refused"].replace("|", "/").replace(str(Path(address).parent) + "/", "")
        return [name, model, f"refused: {reason}", *[""] * (len(HEADER) - 3)]
    keys = ("metric", "score", "rung", "M1", "M2", "best", "other", "difference", "shared")
    return [name, model, *(cells[key] for key in keys), cells["seconds"]]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    default = Path(os.environ.get("NWBDYN_DATA", "../shared/data"))
    parser.add_argument("folder", nargs="?", type=Path, default=default)
    parser.add_argument("--only", nargs="+", default=[""], help="parts of addresses")
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=MODELS)
    chosen = parser.parse_args()
    files = sorted(str(path.resolve()) for path in chosen.folder.glob("*phys/*.nwb"))
    rows = {(cells[0], cells[1]): cells for cells in kept(PAGE, HEADER)}
    for address in (*SAMPLES, *files):
        if not any(text in address for text in chosen.only):
            continue
        for model in chosen.models:
            cells = row(address, model)
            rows[cells[0], cells[1]] = cells
            publish(
                PAGE,
                '`nwbdyn fit RECORDING --model MODEL`, no option set, scores on test. "rung": what '
                "validation kept (M5: with the model's own part). The best baseline is that on "
                "validation; intervals need ten blocks of test bins.\n\n"
                + table(HEADER, list(rows.values())),
            )


if __name__ == "__main__":
    main()
