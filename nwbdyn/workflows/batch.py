"""Many sessions, each in a run directory of its own: one after the other, or over an engine.

A session that cannot be fitted does not stop the others: it is listed with the reason, and a later
call with `resume=True` fits only what is not there yet.
"""

import json
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from nwbdyn import disclosure
from nwbdyn.errors import ConfigError, DataError, NoActivityError, NwbdynError
from nwbdyn.evaluation import over_recordings
from nwbdyn.printable import printable
from nwbdyn.progress import Progress, Report, silent
from nwbdyn.recording import Note, Source
from nwbdyn.request import FitRequest
from nwbdyn.results import run_directory, run_lock
from nwbdyn.workflows import batch_request

if TYPE_CHECKING:
    from nwbdyn.fitting.train_models import TrainingExecutor

FITTED, SKIPPED, FAILED = "fitted", "skipped", "failed"
Session = tuple[Source, ...]  # one file, or the train and test file of a benchmark pair


@dataclass(frozen=True)
class SessionResult:
    """Result of one session of a batch."""

    uri: str
    run: str  # its run directory
    status: str  # "fitted", "skipped" (holds nothing this model takes) or "failed"
    reason: str = ""  # one line, for skipped and failed
    metric: str = ""  # the primary metric, for fitted
    value: float | None = None
    baseline: str = ""
    baseline_value: float | None = None
    request_digest: str = ""  # digest of the choices, "sha256:…"
    important: tuple[str, ...] = ()  # notes that change what the numbers mean, for fitted


@dataclass(frozen=True)
class SessionJob:
    """One session to fit, in plain values, so that another process can do it."""

    session: Session
    request: FitRequest  # with its run directory
    opened: Mapping[str, Any]  # arguments of `opening.open_source`

    @property
    def run(self) -> Path:
        """Its run directory."""
        assert self.request.output.run is not None
        return self.request.output.run


class SessionExecutor(Protocol):
    """Interface of an executor that runs many jobs at once, elsewhere."""

    def fit_each(
        self, jobs: Sequence[SessionJob], folder: Path, on_result: Callable[[SessionResult], None]
    ) -> None:
        """Run every job with `fit_one_safely`; report each result as it arrives, in any order.

        Args:
            folder: for what the engine writes; every process can reach it.
        """


class SerialExecutor:
    """Run jobs serially in this process (the default)."""

    def __init__(self, report: Report = silent) -> None:
        self.report = report

    def fit_each(
        self, jobs: Sequence[SessionJob], folder: Path, on_result: Callable[[SessionResult], None]
    ) -> None:
        for job in jobs:
            on_result(fit_one_safely(job, self.report))


def fit_each(
    sessions: Sequence[Session],
    request: FitRequest,
    *,
    opened: Mapping[str, Any] | None = None,
    report: Report = silent,
    engine: SessionExecutor | None = None,
) -> list[SessionResult]:
    """Fit every session as requested; one run directory each, and `summary.json` beside them.

    Args:
        sessions: as `archive.sessions` groups them.
        request: its run directory receives one run directory per session. With `resume`, complete
            runs of the same request are kept and interrupted ones continued.
        opened: what to take from each file: arguments of `opening.open_source`.
        report: called with the progress of each fit, and the number of fits that are done.
        engine: where the fits run; by default in this process.

    Returns:
        One Outcome per session, in order.

    Raises:
        FitError: `resume` with another choice than the runs that are there.
        ResultsError: another process writes to `run`, or finished runs are there and neither
            `resume` nor `overwrite` was given.
    """
    opened = dict(opened or {})
    run, resume = request.output.run, request.output.resume
    if run is None:
        raise ConfigError("Many fits are written to one folder; pass run=…")
    digest = batch_request.digest(request, opened)
    with run_lock.run_lock(run, report=report):
        batch_request.check(run, request, opened)
        batch_request.write(run, request, opened)
        earlier = _earlier(run, digest) if resume else set()
        outcomes: dict[str, SessionResult] = {}
        jobs = []
        for session, name in zip(sessions, run_names(sessions), strict=True):
            folder = run / name
            if folder.name in earlier and _is_kept(session, folder):
                outcomes[str(folder)] = replace(_fitted(session, folder), request_digest=digest)
                continue
            again = resume and run_directory.is_started(folder)
            own = request.with_keywords(run=folder, resume=again)
            jobs.append(SessionJob(session, own, opened))
        order = [str(run / name) for name in run_names(sessions)]

        def on_result(outcome: SessionResult) -> None:
            outcomes[outcome.run] = replace(outcome, request_digest=digest)
            _write(
                run / run_directory.SUMMARY,
                [_row(outcomes[name]) for name in order if name in outcomes],
            )
            report(Progress("recordings", len(outcomes), len(order), "fits"))

        (engine or SerialExecutor(report)).fit_each(jobs, run, on_result)
        results = [outcomes[name] for name in order]
        _write(run / run_directory.SUMMARY, [_row(outcome) for outcome in results])
        return results


def fit_one_safely(job: SessionJob, report: Report = silent) -> SessionResult:
    """Fit one session; whatever goes wrong becomes its Outcome.

    The traceback of an error that nobody foresaw stays beside the run, in `<run>.error.txt`.
    """
    uri, error_file = job.session[0].uri, job.run.with_name(f"{job.run.name}.error.txt")
    error_file.unlink(missing_ok=True)
    try:
        fit_session(job, report)
        return _fitted(job.session, job.run)
    except (NoActivityError, DataError) as error:
        return SessionResult(uri, str(job.run), SKIPPED, str(error))
    except NwbdynError as error:
        return SessionResult(uri, str(job.run), FAILED, str(error))
    except Exception as error:  # one session of many must not take the others with it
        error_file.write_text(printable(traceback.format_exc(), lines=True), encoding="utf-8")
        first = str(error).partition("\n")[0]
        reason = f"{type(error).__name__}: {first} (a bug; its traceback is in {error_file})"
        return SessionResult(uri, str(job.run), FAILED, reason)


def fit_session(
    job: SessionJob, report: Report = silent, *, executor: "TrainingExecutor | None" = None
) -> None:
    """Open a session's files, fit, and close them; the Fit is in its run directory."""
    from nwbdyn.fitting.fit import fit_request
    from nwbdyn.opening import open_source

    with ExitStack() as files:
        recording, *tests = (
            files.enter_context(open_source(source, report=report, **job.opened))
            for source in job.session
        )
        test = tests[0] if tests else None
        fit_request(job.request, recording, test_recording=test, executor=executor, report=report)


def run_names(sessions: Sequence[Session]) -> list[str]:
    """One folder name per session: the file's stem, numbered where stems repeat."""
    stems = [session[0].name for session in sessions]
    seen: dict[str, int] = {}
    names = []
    for stem in stems:
        seen[stem] = seen.get(stem, 0) + 1
        names.append(stem if seen[stem] == 1 else f"{stem}-{seen[stem]}")
    return names


def _fitted(session: Session, folder: Path) -> SessionResult:
    metrics = json.loads((folder / run_directory.METRICS).read_text(encoding="utf-8"))
    standing = over_recordings.standing(metrics)
    provenance = json.loads((folder / run_directory.PROVENANCE).read_text(encoding="utf-8"))
    notes = (Note(**note) for note in provenance["notes"])
    return SessionResult(
        session[0].uri,
        str(folder),
        FITTED,
        metric=standing.metric,
        value=standing.score,
        baseline=standing.baseline or "",
        baseline_value=standing.baseline_score,
        important=tuple(str(note) for note in notes if note.important),
    )


def _earlier(run: Path, digest: str) -> set[str]:
    """Names of the run directories that an earlier call with the same choices has finished."""
    rows = batch_request.summary(run)
    done = (row for row in rows if row["status"] == FITTED and row.get("asked") == digest)
    return {Path(row["run"]).name for row in done}


def _row(outcome: SessionResult) -> dict[str, Any]:
    """An outcome as summary.json lists it, without where things lie on this disk."""
    row = asdict(outcome)
    digest = row.pop("request_digest")
    return row | {
        "asked": digest,  # as version 0.1 calls it
        "uri": disclosure.of_uri(outcome.uri),
        "run": Path(outcome.run).name,
        "reason": disclosure.of_text(outcome.reason),
    }


def _is_kept(session: Session, folder: Path) -> bool:
    """True where a complete run of the very file is there."""
    from nwbdyn.opening import with_digest

    if not run_directory.is_complete(folder):
        return False
    source = with_digest(session[0])
    written: Any = run_directory.read_json(folder, run_directory.CONFIG)
    before = disclosure.of_decisions(written)["source"]
    return bool(before == {"uri": disclosure.of_uri(source.uri), "digest": source.digest})


def _write(path: Path, content: object) -> None:
    with run_directory.atomic_write(path) as partial:
        partial.write_text(json.dumps(content, indent=2), encoding="utf-8")
