"""Run the commands on docs/recordings.md and put what they print below them.

    python docs/make_recordings.py [TEXT ...]

Commands are the lines that start with `$`. With TEXT only blocks that contain one of these texts
are run. The recordings are those of NWBDYN_DATA, or of ../shared/data beside the project.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "recordings.md"
DATA = Path(os.environ.get("NWBDYN_DATA", ROOT.parent / "shared" / "data"))
FILES = {  # name on the page -> file in DATA
    "zebrafish_tectum_triplett2018_f1.nwb": "ophys/zebrafish_tectum_triplett2018_f1.nwb",
    "celegans_dag2023_2022-07-26-31.nwb": "ophys/celegans_dag2023_2022-07-26-31.nwb",
    "rat_hippocampus_nelpy_linear-track.nwb": "ecephys/rat_hippocampus_nelpy_linear-track.nwb",
    "sub-4_ses-4_ecephys+image.nwb": "ecephys/human_mtl_dandi000207_sub-4_ses-4.nwb",
}
ARCHIVED = {  # the same, in the local substitute of the archive
    "000776/sub-1/sub-1_ses-2022-07-27-45_ophys.nwb": "ophys/celegans_dag2023_2022-07-27-45.nwb",
}
INSTANCE = "http://127.0.0.1:8000/api"  # of the substitute, as the page has it
_BLOCK = re.compile(r"^```\n(\$ .*?)^```$", re.M | re.S)


def chosen_blocks(text: str, chosen: Sequence[str]) -> list[str]:
    """The blocks of commands on a page that contain one of these texts; all where there is none."""
    blocks: list[str] = _BLOCK.findall(text)
    return [one for one in blocks if not chosen or any(name in one for name in chosen)]


def with_outputs(block: str, run: Callable[[str], str]) -> str:
    """A block with the output of `run` below each of its commands."""
    commands = [line for line in block.splitlines() if line.startswith("$ ")]
    return "".join(f"{one}\n{run(one[2:])}" for one in commands)


def main(chosen: list[str]) -> None:
    sys.path.insert(0, str(ROOT / "tests"))
    from standin import StandIn

    with tempfile.TemporaryDirectory() as temporary:
        folder, archive = Path(temporary) / "here", Path(temporary) / "archive"
        for target, files in ((folder, FILES), (archive, ARCHIVED)):
            for name, source in files.items():
                (target / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(DATA / source, target / name)
        with StandIn(archive) as standin:

            def run(command: str) -> str:
                print(command, flush=True)
                _, *arguments = shlex.split(command.replace(INSTANCE, standin.api))
                done = subprocess.run(
                    [sys.executable, "-m", "nwbdyn", *arguments],
                    cwd=folder,
                    stdout=subprocess.PIPE,
                    text=True,
                    check=True,
                )
                return done.stdout.replace(standin.api, INSTANCE)

            for block in chosen_blocks(PAGE.read_text("utf-8"), chosen):
                new = with_outputs(block, run)
                PAGE.write_text(PAGE.read_text("utf-8").replace(block, new), "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
