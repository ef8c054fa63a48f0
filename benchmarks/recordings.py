"""The fits of real recordings that the README prints, and two that a check of the data asks for.

    python benchmarks/recordings.py [FOLDER] [--only NAME …] [--options KEY=VALUE …]

FOLDER holds ophys/ and ecephys/. Every line is the command line as a user types it, with its output
as it came, single runs. The human recording is fitted with fewer layers and updates than the
default. The four units of the thalamus recording are too few to hold any out, and the fit has to
say so.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from machine import finished, publish

COMMANDS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "zebrafish": ("ophys/zebrafish_tectum_triplett2018_f1.nwb", "netformer", ()),
    "worm": ("ophys/celegans_dag2023_2022-07-26-31.nwb", "netformer", ()),
    "worm45": ("ophys/celegans_dag2023_2022-07-27-45.nwb", "netformer", ()),
    "mouse": ("ophys/mouse_v1_2p_neuronsxnets_24617.nwb", "synapsnet", ("--set", "updates=500")),
    "rat": (
        "ecephys/rat_hippocampus_nelpy_linear-track.nwb",
        "stndt",
        ("--heldout-resamples", "1"),
    ),
    "human": (
        "ecephys/human_mtl_dandi000207_sub-4_ses-4.nwb",
        "stndt",
        ("--set", "layers=2", "--set", "updates=500"),
    ),
    "thalamus": ("ecephys/mouse_thalamus_dandi000009_anm00239123.nwb", "stndt", ()),
}
PROGRAM = "from nwbdyn.cli import main; main(prog_name='nwbdyn')"


def fit(file: Path, arguments: list[str]) -> dict[str, str | int]:
    """What the command prints, or why it did not, and its exit code; no progress."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", PROGRAM, "fit", str(file), *arguments, "-o", "run"]
        found = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    printed = found.stderr if found.returncode else found.stdout
    return {"printed": printed.strip("\n"), "code": found.returncode}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    default = Path(os.environ.get("NWBDYN_DATA", "../shared/data"))
    parser.add_argument("folder", nargs="?", type=Path, default=default)
    parser.add_argument("--only", nargs="+", default=list(COMMANDS), choices=list(COMMANDS))
    parser.add_argument("--options", nargs="*", default=[], help="for every fit")
    chosen = parser.parse_args()
    pages = []
    for name in chosen.only:
        path, model, more = COMMANDS[name]
        file = (chosen.folder / path).resolve()
        arguments = ["--model", model, *more]
        for option in chosen.options:
            arguments += ["--set", option]
        part = "-".join([name, *more, *chosen.options]).replace("/", "_")
        found = finished(part, fit, file, arguments)
        shown = " ".join(["nwbdyn fit", file.name, *arguments, "-o run"])
        pages.append(f"```\n$ {shown}\n{found['printed']}\n```")
        if found["code"]:
            pages[-1] += f"\n\nExit code {found['code']}."
        publish("recordings", "\n\n".join(pages))


if __name__ == "__main__":
    main()
