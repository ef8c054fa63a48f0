"""A folder of runs: of several recordings, of several models, or of one model over recordings."""

from collections.abc import Sequence
from pathlib import Path

from nwbdyn.errors import ResultsError
from nwbdyn.results import run_directory

INCOMPLETE = (
    f"the run is incomplete. {run_directory.CONTINUE}"  # as the reason for a run that is left out
)


def runs_in(folder: Path) -> tuple[Path, ...]:
    """Complete run directories in a folder; those of a joint fit in its order.

    Args:
        folder: of a fit of several recordings, of a joint fit, or any folder with run directories.

    Returns:
        Empty where `folder` is the run of one recording, or no folder.

    Raises:
        ResultsError: a joint fit that is not complete, or a folder in which no run is.
    """
    if not folder.is_dir():
        return ()
    if run_directory.is_started(folder):
        names: Sequence[str] = run_directory.sessions_in(folder)
        if names and not run_directory.is_complete(folder):
            raise ResultsError(f"Run {folder} is incomplete. {run_directory.CONTINUE}.")
        return tuple(folder / name for name in names)
    complete = tuple(
        sorted(
            path.parent
            for path in folder.glob(f"*/{run_directory.METRICS}")
            if (path.parent / run_directory.RESULTS).exists()
        )
    )
    if not complete and (incomplete := incomplete_in(folder)):
        names = ", ".join(run.name for run in incomplete)
        raise ResultsError(f"No run in {folder} is complete: {names}. {run_directory.CONTINUE}.")
    return complete


def incomplete_in(folder: Path) -> tuple[Path, ...]:
    """Run directories in a folder whose fit began and did not reach its end, by name.

    Empty where `folder` is itself a run.
    """
    if not folder.is_dir() or run_directory.is_started(folder):
        return ()
    started = (path.parent for path in folder.glob(f"*/{run_directory.CONFIG}"))
    return tuple(sorted(run for run in started if not _is_whole(run)))


def _is_whole(run: Path) -> bool:
    """True for a complete run of one recording, and for a complete joint fit."""
    if not run_directory.is_complete(run):
        return False
    return bool(run_directory.sessions_in(run)) or (run / run_directory.RESULTS).exists()
