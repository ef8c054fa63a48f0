"""Put deliberate mistakes into a copy of the package, and see that its tests notice each of them.

The tables beside this file list the mistakes: of every source file, what is replaced by what, in
words, and which tests have to fail. Every mistake is made in a copy; the working tree is only read.
A mistake that no longer applies, or a set of tests that fails without one, fails the run. A mistake
that no test notices is a survivor: it needs a reason ("survives"), and at most 5 % may have one.

    python tests/mutants/run.py [--only TEXT] [--workers N]
"""

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
COPIED = ("nwbdyn", "tests", "pyproject.toml")
MOST_SURVIVORS = 0.05  # of all mutants
WORKERS = 2
LIMIT = 300  # seconds that one set of tests may take
PYTEST = ("-x", "-q", "-p", "no:cacheprovider", "-m", "not slow")
PASSED, FAILED = 0, 1  # exit codes of pytest


@dataclass(frozen=True)
class Mutant:
    """One deliberate mistake."""

    file: str  # relative to the repository
    mistake: str  # in words
    old: str  # stands in the file exactly once
    new: str
    tests: str  # arguments of pytest
    survives: str  # why no test can notice it; "" where one has to


def read() -> list[Mutant]:
    """Every mutant of the tables, in their order."""
    found = []
    for path in sorted(HERE.glob("*.toml")):
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
        tests = tables.pop("tests")
        for file, rows in tables.items():
            for row in rows:
                found.append(
                    Mutant(
                        file=file,
                        mistake=row["mistake"],
                        old=row["old"],
                        new=row["new"],
                        tests=row.get("tests", tests[file]),
                        survives=row.get("survives", ""),
                    )
                )
    return found


def problem_of(mutant: Mutant) -> str:
    """Why a mutant does not apply to the working tree; "" where it does."""
    path = REPOSITORY / mutant.file
    if not path.exists():
        return "the file does not exist"
    number = path.read_text(encoding="utf-8").count(mutant.old)
    if number != 1:
        return f"its text occurs {number} times in the file, not once"
    return "" if mutant.old != mutant.new else "it changes nothing"


class Copies:
    """Copies of the package and its tests, one per worker."""

    def __init__(self, folder: Path, number: int) -> None:
        self._number = number
        self._free = [folder / str(k) for k in range(number)]
        self._lock = threading.Lock()
        self._stamp = time.time()
        for copy in self._free:
            for name in COPIED:
                _copy(REPOSITORY / name, copy / name)

    def __len__(self) -> int:
        return self._number

    def imported(self) -> bool:
        """Whether a process in a copy imports the package of this copy."""
        program = "import nwbdyn; print(nwbdyn.__file__)"
        (copy, *_) = self._free
        command = [sys.executable, "-c", program]
        done = subprocess.run(
            command, cwd=copy, env=_environment(copy), capture_output=True, text=True, check=True
        )
        return Path(done.stdout.strip()).is_relative_to(copy)

    def test(self, tests: str, mutant: Mutant | None = None) -> int:
        """The exit code of pytest in a free copy, with a mutant in it."""
        with self._lock:
            copy = self._free.pop()
        try:
            if mutant is None:
                return _pytest(copy, tests)
            path = copy / mutant.file
            text = path.read_text(encoding="utf-8")
            self._write(path, text.replace(mutant.old, mutant.new))
            try:
                return _pytest(copy, tests)
            finally:
                self._write(path, text)
        finally:
            with self._lock:
                self._free.append(copy)

    def _write(self, path: Path, text: str) -> None:
        """Write a source file under a date of its own, or compiled code of the last may be used."""
        path.write_text(text, encoding="utf-8")
        with self._lock:
            self._stamp += 2
            stamp = self._stamp
        os.utime(path, (stamp, stamp))


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)


def _pytest(copy: Path, tests: str) -> int:
    """pytest inside a copy, which comes first on the path; a run that hangs has failed."""
    command = [sys.executable, "-m", "pytest", *PYTEST, *shlex.split(tests)]
    try:
        done = subprocess.run(
            command,
            cwd=copy,
            env=_environment(copy),
            capture_output=True,
            timeout=LIMIT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return FAILED
    return done.returncode


def _environment(copy: Path) -> dict[str, str]:
    """The variables of this process, with the copy first on the path in place of the repository."""
    path = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    path = [entry for entry in path if entry and Path(entry).resolve() != REPOSITORY]
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(copy), *path])}


def run(mutants: Sequence[Mutant], copies: Copies) -> int:
    """Try every mutant and print a line of each; return the exit code."""
    if not copies.imported():
        print("The copies import another nwbdyn than their own, so no mutant would be tested.")
        return 1
    problems = {mutant: problem for mutant in mutants if (problem := problem_of(mutant))}
    sound = [mutant for mutant in mutants if mutant not in problems]
    for mutant, problem in problems.items():
        print(f"does not apply  {mutant.file}: {mutant.mistake} ({problem})", flush=True)
    with ThreadPoolExecutor(len(copies)) as pool:
        sets = sorted({mutant.tests for mutant in sound})
        codes = dict(zip(sets, pool.map(copies.test, sets), strict=True))
        failing = [tests for tests, code in codes.items() if code != PASSED]
        for tests in failing:
            print(f"fails unchanged  {tests}", flush=True)
        if failing:
            return 1
        tried = pool.map(lambda mutant: copies.test(mutant.tests, mutant), sound)
        return _summary(sound, tried, len(problems))


def _summary(sound: Sequence[Mutant], codes: Iterator[int], num_problems: int) -> int:
    caught, survived, failed = 0, 0, num_problems
    for number, (mutant, code) in enumerate(zip(sound, codes, strict=True), start=1):
        caught += code == FAILED
        if code == FAILED:
            word = "caught" if not mutant.survives else "caught after all"
            failed += bool(mutant.survives)
        elif code != PASSED:
            word, failed = f"pytest ended with {code}", failed + 1
        elif mutant.survives:
            word, survived = f"survives, {mutant.survives}", survived + 1
        else:
            word, failed = "NOT CAUGHT", failed + 1
        line = f"{number}/{len(sound)}  {mutant.file}: {mutant.mistake}: {word}"
        print(line, flush=True)
    if survived > MOST_SURVIVORS * len(sound):
        print(f"{survived} survivors of {len(sound)} are more than {MOST_SURVIVORS:.0%}")
        failed += 1
    print(f"{caught + survived} passed, {failed} failed ({survived} survive with a reason)")
    return int(failed > 0)


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--only", default="", help="mutants whose file or mistake has this text")
    options.add_argument("--workers", type=int, default=WORKERS, help="sets of tests at a time")
    asked = options.parse_args()
    mutants = [one for one in read() if asked.only in one.file or asked.only in one.mistake]
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        return run(mutants, Copies(Path(folder), asked.workers))


if __name__ == "__main__":
    sys.exit(main())
