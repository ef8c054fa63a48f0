"""Many sessions, one after the other, each in a run directory of its own.

A session that cannot be fitted does not stop the others: it is listed with the reason, and a later
call with `resume=True` fits only what is not there yet.
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nwbdyn.errors import DataError, NwbdynError, ReadError
from nwbdyn.progress import Report, silent
from nwbdyn.recording import Source

FITTED, SKIPPED, FAILED = "fitted", "skipped", "failed"
Session = tuple[Source, ...]  # one file, or the train and test file of a benchmark pair


@dataclass(frozen=True)
class Outcome:
    """What became of one session."""

    uri: str
    run: str  # its run directory
    status: str  # "fitted", "skipped" (holds nothing this model takes) or "failed"
    reason: str = ""  # one line, for skipped and failed
    metric: str = ""  # the primary metric, for fitted
    value: float | None = None
    baseline: str = ""
    baseline_value: float | None = None


def fit_each(
    sessions: Sequence[Session],
    model: str,
    *,
    run: Path,
    opened: Mapping[str, Any] | None = None,
    options: Mapping[str, object] | None = None,
    report: Report = silent,
    resume: bool = False,
    **fit_options: object,
) -> list[Outcome]:
    """Fit `model` to every session; one run directory each under `run`, and `run/summary.json`.

    Args:
        sessions: as `archive.sessions` groups them.
        model: a model's name.
        run: folder that receives one run directory per session.
        opened: what to take from each file: arguments of `opening.open_source`.
        options: fields of the model's Config.
        report: told how each fit goes.
        resume: keep complete runs of the same choices, continue interrupted ones.
        **fit_options: passed to `fitting.fit`.

    Returns:
        One Outcome per session, in order.
    """
    from nwbdyn.fitting import fit
    from nwbdyn.opening import open_source
    from nwbdyn.run_directory import is_started

    outcomes: list[Outcome] = []
    for session, name in zip(sessions, run_names(sessions), strict=True):
        (source, *others), folder = session, run / name
        try:
            with ExitStack() as files:
                recording, *tests = (
                    files.enter_context(open_source(one, report=report, **opened or {}))
                    for one in (source, *others)
                )
                fit(
                    recording,
                    model,
                    test_recording=tests[0] if tests else None,
                    options=options or {},
                    run=folder,
                    resume=resume and is_started(folder),
                    report=report,
                    **fit_options,  # type: ignore[arg-type]
                )
            outcomes.append(_fitted(source, folder))
        except (ReadError, DataError) as error:
            outcomes.append(Outcome(source.uri, str(folder), SKIPPED, str(error)))
        except NwbdynError as error:
            outcomes.append(Outcome(source.uri, str(folder), FAILED, str(error)))
        _write_summary(run, outcomes)
    return outcomes


def run_names(sessions: Sequence[Session]) -> list[str]:
    """One folder name per session: the file's stem, numbered where stems repeat."""
    stems = [session[0].name for session in sessions]
    seen: dict[str, int] = {}
    names = []
    for stem in stems:
        seen[stem] = seen.get(stem, 0) + 1
        names.append(stem if seen[stem] == 1 else f"{stem}-{seen[stem]}")
    return names


def _fitted(source: Source, folder: Path) -> Outcome:
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    primary = metrics["primary"]
    metric, split, baseline = primary["metric"], primary["split"], primary["baseline"]
    return Outcome(
        source.uri,
        str(folder),
        FITTED,
        metric=metric,
        value=metrics["model"][split][metric],
        baseline=baseline or "",
        baseline_value=metrics["baselines"][baseline][split][metric] if baseline else None,
    )


def _write_summary(run: Path, outcomes: Sequence[Outcome]) -> None:
    run.mkdir(parents=True, exist_ok=True)
    partial = run / "summary.json.partial"
    partial.write_text(json.dumps([asdict(outcome) for outcome in outcomes], indent=2))
    partial.replace(run / "summary.json")
