"""Put deliberate mistakes into a copy of the package, and check that its tests notice each.

The tables beside this file list the mistakes: of every source file, what is replaced by what, in
words, and which tests have to fail. Every mistake is made in a copy; the working tree is only read.
A mistake that no longer applies, or a set of tests that fails without one, fails the run. A mistake
that no test notices is a survivor: it needs a reason ("survives"), and at most 5 % may have one.

    python tests/mutants/run.py [--only TEXT …] [--workers N]

The last line is "N passed, N failed"; a mutant passes if it is caught, or survives with a reason.
Tests run in forks of this process, which has loaded what takes long to import, and no nwbdyn.
"""

import argparse
import importlib
import multiprocessing
import os
import resource
import shlex
import shutil
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
COPIED = ("nwbdyn", "tests", "pyproject.toml")
LOADED = (
    *("torch", "pandas", "scipy.optimize", "scipy.signal", "scipy.stats", "xarray", "pytest"),
    *("hypothesis.strategies", "safetensors.torch", "click", "h5py", "pynwb"),
)
MOST_SURVIVORS = 0.05  # of all mutants
WORKERS = 2
LIMIT = 600  # seconds that one set of tests may take
PYTEST = ("-x", "-q", "-p", "no:cacheprovider", "--assert=plain", "-m", "not slow")
PASSED, FAILED = 0, 1  # exit codes of pytest
NOT_ITS_COPY, TOO_LONG, BROKEN = 90, 91, 92  # exit codes of a fork


@dataclass(frozen=True)
class Mutant:
    """One deliberate mistake."""

    file: str  # relative to the repository
    mistake: str  # in words
    old: str  # stands in the file exactly once
    new: str
    tests: str  # arguments of pytest
    survives: str  # why no test can notice it; "" where one has to


@dataclass(frozen=True)
class Job:
    """A set of tests, with a mutant or without one."""

    tests: str
    mutant: Mutant | None


def read() -> list[Mutant]:
    """Every mutant of the tables, in their order."""
    mutants = []
    for path in sorted(HERE.glob("*.toml")):
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
        tests = tables.pop("tests")
        for file, rows in tables.items():
            for row in rows:
                mutants.append(
                    Mutant(
                        file=file,
                        mistake=row["mistake"],
                        old=row["old"],
                        new=row["new"],
                        tests=row.get("tests", tests[file]),
                        survives=row.get("survives", ""),
                    )
                )
    return mutants


def problem_of(mutant: Mutant) -> str:
    """Why a mutant does not apply to the working tree; "" where it does."""
    path = REPOSITORY / mutant.file
    if not path.exists():
        return "the file does not exist"
    number = path.read_text(encoding="utf-8").count(mutant.old)
    if number != 1:
        return f"its text occurs {number} times in the file, not once"
    return "" if mutant.old != mutant.new else "it changes nothing"


class Worker:
    """A copy of the package and its tests, and the fork that runs tests in it."""

    def __init__(self, copy: Path) -> None:
        self.copy = copy
        self.process: BaseProcess | None = None
        for name in COPIED:
            _copy(REPOSITORY / name, copy / name)

    def start(self, job: Job) -> None:
        """Put the job's mutant into the copy and begin with its tests."""
        self._job, self._started = job, time.monotonic()
        if job.mutant is not None:
            path = self.copy / job.mutant.file
            self._text = path.read_text(encoding="utf-8")
            self._write(path, self._text.replace(job.mutant.old, job.mutant.new))
        context = multiprocessing.get_context("fork")
        self.process = context.Process(target=_test, args=(self.copy, job.tests))
        self.process.start()

    def left(self) -> float:
        """Seconds until the job takes too long."""
        return LIMIT - (time.monotonic() - self._started)

    def end(self, *, late: bool = False) -> tuple[Job, int]:
        """The job and the exit code of its tests; the copy is as it was."""
        assert self.process is not None  # started
        if late:
            self.process.terminate()
        self.process.join()
        code = TOO_LONG if late else self.process.exitcode or 0
        if self._job.mutant is not None:
            self._write(self.copy / self._job.mutant.file, self._text)
        self.process = None
        return self._job, code

    def _write(self, path: Path, text: str) -> None:
        """Write a source file, and drop what was compiled of it: dates alone may not differ."""
        path.write_text(text, encoding="utf-8")
        for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"):
            compiled.unlink()


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)


def _test(copy: Path, tests: str) -> None:
    """In a fork: run pytest inside a copy, whose package comes first on the path, and exit."""
    os.chdir(copy)
    path = [entry for entry in sys.path if Path(entry).resolve() not in (REPOSITORY, HERE)]
    sys.path[:] = [str(copy), *path]
    environment = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    others = [entry for entry in environment if entry and Path(entry).resolve() != REPOSITORY]
    os.environ["PYTHONPATH"] = os.pathsep.join([str(copy), *others])
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    code = BROKEN
    try:
        import pytest

        code = int(pytest.main([*PYTEST, *shlex.split(tests)]))
    finally:
        os._exit(_checked(copy, code))


def _checked(copy: Path, code: int) -> int:
    package = sys.modules.get("nwbdyn")
    if package is not None and not Path(str(package.__file__)).is_relative_to(copy.resolve()):
        return NOT_ITS_COPY
    return code


def run(jobs: Iterable[Job], workers: Sequence[Worker]) -> Iterator[tuple[Job, int]]:
    """Every job with the exit code of its tests, as they end."""
    waiting, free = list(jobs)[::-1], list(workers)
    busy: list[Worker] = []
    while waiting or busy:
        while waiting and free:
            busy.append(free.pop())
            busy[-1].start(waiting.pop())
        least = max(0.0, min(one.left() for one in busy))
        ended = connection.wait([one.process.sentinel for one in busy if one.process], least)
        for one in list(busy):
            assert one.process is not None
            late = one.left() <= 0
            if one.process.sentinel in ended or late:
                yield one.end(late=late)
                busy.remove(one)
                free.append(one)


def check(mutants: Sequence[Mutant], workers: Sequence[Worker]) -> int:
    """Try every mutant and print a line of each; return how many fail."""
    problems = {mutant: problem for mutant in mutants if (problem := problem_of(mutant))}
    for mutant, problem in problems.items():
        print(f"does not apply: {mutant.file}: {mutant.mistake} ({problem})", flush=True)
    sound = [mutant for mutant in mutants if mutant not in problems]
    failing = set()
    sets = sorted({mutant.tests for mutant in sound})
    for job, code in run([Job(tests, None) for tests in sets], workers):
        if code != PASSED:
            failing.add(job.tests)
            print(f"fails without a mutant (exit code {code}): {job.tests}", flush=True)
    failed, survivors = len(problems), 0
    tried = [mutant for mutant in sound if mutant.tests not in failing]
    jobs = [Job(mutant.tests, mutant) for mutant in tried]
    for number, (job, code) in enumerate(run(jobs, workers), start=1):
        assert job.mutant is not None
        word, fails = _verdict(job.mutant, code)
        failed += fails
        survivors += code == PASSED and not fails
        line = f"{number}/{len(tried)}  {job.mutant.file}: {job.mutant.mistake}: {word}"
        print(line, flush=True)
    failed += len(sound) - len(tried)
    if survivors > MOST_SURVIVORS * len(mutants):
        print(f"{survivors} survivors of {len(mutants)} are more than {MOST_SURVIVORS:.0%}")
        failed += 1
    print(f"{survivors} of {len(mutants)} survive with a reason; {_cpu_minutes():.1f} CPU minutes")
    print(f"{len(mutants) - min(failed, len(mutants))} passed, {failed} failed")
    return failed


def _cpu_minutes() -> float:
    """CPU time of this process and of its forks that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used) / 60


def _verdict(mutant: Mutant, code: int) -> tuple[str, bool]:
    """Outcome of a mutant, and its effect on the exit code."""
    if code == FAILED and mutant.survives:
        return "caught, although it has a reason to survive", True
    if code == FAILED:
        return "caught", False
    if code == PASSED:
        return (f"survives: {mutant.survives}", False) if mutant.survives else ("NOT CAUGHT", True)
    if code == NOT_ITS_COPY:
        return "the copy imports another nwbdyn than its own", True
    return f"took longer than {LIMIT} s" if code == TOO_LONG else f"exit code {code}", True


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument(
        "--only", action="append", help="mutants whose file or mistake has this text; repeatable"
    )
    options.add_argument("--workers", type=int, default=WORKERS, help="sets of tests at a time")
    chosen = options.parse_args()
    texts = chosen.only or [""]
    mutants = list(
        dict.fromkeys(
            one for text in texts for one in read() if text in one.file or text in one.mistake
        )
    )
    if not mutants:
        options.error(f"no mutant has {texts} in its file or mistake")
    for name in LOADED:
        importlib.import_module(name)
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        workers = [Worker(Path(folder) / str(k)) for k in range(chosen.workers)]
        return int(check(mutants, workers) > 0)


if __name__ == "__main__":
    sys.exit(main())
