"""Copies of real recordings with damaged bytes, and what becomes of them in a process of its own.

As a program: read one path a line, and answer each with a line of JSON. Memory is limited.
"""

import json
import os
import queue
import random
import re
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

MEMORY = 2 << 30  # bytes of address space beyond what the imports take
SECONDS = 60  # for one file; most take less than one
READ, REFUSED, BROKEN = "read", "refused", "broken"
DEADLY = "kill"  # instead of a path: the worker dies, as in a crash of HDF5
FILES = (  # under NWBDYN_DATA; the smallest of each layout
    "ecephys/mouse_thalamus_dandi000009_anm00239123.nwb",
    "ecephys/human_mtl_dandi000207_sub-4_ses-4.nwb",
    "ecephys/rat_hippocampus_nelpy_linear-track.nwb",
    "ophys/celegans_dag2023_2022-07-26-38.nwb",
    "ophys/zebrafish_tectum_triplett2018_f1.nwb",
    "ophys/ophys_schema_sample_neuroconv_nwb_test.nwb",
)
# what HDF5's own structures start with: superblock, groups, heaps, object headers, chunk indices
SIGNATURES = (b"\x89HDF", b"TREE", b"HEAP", b"SNOD", b"OHDR", b"OCHK", b"GCOL", b"FRHP", b"FHDB")
AFTER = 600  # bytes behind a signature that belong to its structure


@dataclass(frozen=True)
class Outcome:
    """Outcome of reading one file."""

    path: str
    status: str
    message: str = ""  # the refusal, or the end of the traceback


def damage(intact: bytes, seed: int) -> bytes:
    """Change bytes of a file: anywhere, or in its metadata; sometimes cut its end off."""
    draw = random.Random(seed)
    data = bytearray(intact)
    starts = [at for signature in SIGNATURES for at in _occurrences(intact, signature)] or [0]
    in_metadata = draw.random() < 0.75
    for _ in range(draw.choice((1, 2, 5, 20, 60))):
        if in_metadata:
            at = draw.choice(starts) + draw.randrange(AFTER)
        else:
            at = draw.randrange(len(data))
        at = min(at, len(data) - 8)
        change = draw.randrange(5)
        if change == 0:
            data[at] ^= 1 << draw.randrange(8)
        elif change == 1:
            data[at] = draw.randrange(256)
        elif change == 2:
            data[at : at + 4] = bytes(4)
        elif change == 3:
            data[at : at + 4] = b"\xff" * 4
        else:
            source = draw.randrange(len(data) - 8)
            data[at : at + 8] = data[source : source + 8]
    if draw.random() < 0.04:
        del data[draw.randrange(len(data)) :]
    return bytes(data)


def _occurrences(data: bytes, signature: bytes) -> Iterator[int]:
    at = data.find(signature)
    while at >= 0:
        yield at
        at = data.find(signature, at + 1)


def judge_each(paths: Sequence[Path], folder: Path) -> list[Outcome]:
    """Read every file in worker processes; one that dies or hangs is replaced, and its file named.

    Args:
        paths: of the files.
        folder: for the workers' cache and error output.
    """
    outcomes: list[Outcome] = []
    left = list(paths)
    while left:
        done = _until_one_dies(left, folder)
        outcomes += done
        left = left[len(done) :]
    return outcomes


def _until_one_dies(paths: Sequence[Path], folder: Path) -> list[Outcome]:
    """The outcomes of one worker, the last of which may be its end."""
    outcomes: list[Outcome] = []
    errors = folder / "worker.stderr"
    with (
        errors.open("w+b") as stderr,
        subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env=os.environ | {"NWBDYN_CACHE": str(folder / "cache")},
        ) as worker,
    ):
        lines: queue.Queue[str] = queue.Queue()
        reading = threading.Thread(target=_pass_on, args=(worker.stdout, lines), daemon=True)
        reading.start()
        for path in paths:
            try:
                worker.stdin.write(f"{path}\n")
                worker.stdin.flush()
                line = lines.get(timeout=SECONDS)
            except queue.Empty:
                worker.kill()
                return [*outcomes, Outcome(str(path), BROKEN, f"no answer in {SECONDS} s")]
            except BrokenPipeError:
                line = ""
            if not line:
                code = worker.wait()
                last = errors.read_text(errors="replace")[-2000:]
                return [*outcomes, Outcome(str(path), BROKEN, f"exit {code}: {last}")]
            outcomes.append(Outcome(**json.loads(line)))
        worker.stdin.close()
    return outcomes


def _pass_on(lines: Iterator[str], queued: "queue.Queue[str]") -> None:
    for line in lines:
        queued.put(line)
    queued.put("")


def judge(path: Path) -> Outcome:
    """`nwbdyn inspect` of a file, then its activity and covariates in bins."""
    import traceback

    try:
        message = _inspect(path)
        if message is None:
            message = _bin(path)
    except Exception:
        return Outcome(str(path), BROKEN, traceback.format_exc()[-3000:])
    if message is None:
        return Outcome(str(path), READ)
    is_one_line = "\n" not in message.strip() and 10 < len(message) < 1500
    return Outcome(str(path), REFUSED if is_one_line else BROKEN, message)


def _inspect(path: Path) -> str | None:
    """The refusal; None where the file is read."""
    from click.testing import CliRunner

    from nwbdyn.cli import main

    result = CliRunner().invoke(main, ["inspect", str(path)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    if result.exit_code:
        return result.stderr
    assert re.search("Skipped or odd|Nothing was skipped|Attention", result.stdout)
    json_result = CliRunner().invoke(main, ["inspect", str(path), "--json"])
    json.loads(json_result.stdout)
    return None


def _bin(path: Path) -> str | None:
    """The refusal; None where the activity could be read."""
    import nwbdyn
    from nwbdyn.data import binning, splits
    from nwbdyn.errors import NwbdynError

    try:
        with nwbdyn.open(str(path)) as recording:
            binned = binning.bin_recording(recording)
            assert binned.valid.any()
            splits.make(binned, seed=0, hold_out=binned.num_neurons > 7, gap=10)
    except NwbdynError as error:
        return str(error)
    with nwbdyn.open(str(path)) as recording:
        for covariate in recording.covariates:
            with suppress(NwbdynError):  # one that is refused by name costs itself
                binning.bin_recording(recording, covariates=[covariate.name])
    return None


def main() -> None:
    import resource

    import click.testing  # noqa: F401

    import nwbdyn.cli.cmd_inspect
    import nwbdyn.data.binning
    import nwbdyn.data.splits
    import nwbdyn.nwb.read.recording
    import nwbdyn.opening  # noqa: F401

    warnings.simplefilter("error")
    if sys.platform == "linux":
        status = Path("/proc/self/status").read_text()
        (now,) = (int(line.split()[1]) * 1024 for line in status.splitlines() if "VmSize" in line)
        resource.setrlimit(resource.RLIMIT_AS, (now + MEMORY, resource.RLIM_INFINITY))
    for line in sys.stdin:
        if line.strip() == DEADLY:
            os.kill(os.getpid(), signal.SIGKILL)
        print(json.dumps(asdict(judge(Path(line.strip())))), flush=True)


if __name__ == "__main__":
    main()
