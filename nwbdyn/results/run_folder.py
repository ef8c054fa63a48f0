"""A folder of runs: of several recordings, of several models, or of one model over recordings."""

from collections.abc import Sequence
from pathlib import Path

from nwbdyn.errors import ResultsError
from nwbdyn.results import run_directory


def runs_in(folder: Path) -> tuple[Path, ...]:
    """Complete run directories in a folder; those of a joint fit in its order.

    Args:
        folder: of a fit of several recordings, of a joint fit, or any folder with run directories.

    Returns:
        Empty where `folder` is the run of one recording, or no folder.

    Raises:
        ResultsError: a joint fit that is not complete.
    """
    if not folder.is_dir():
        return ()
    if run_directory.is_started(folder):
        names: Sequence[str] = run_directory.sessions_in(folder)
        if names and not run_directory.is_complete(folder):
            raise ResultsError(f"Run {folder} is incomplete. Continue it with --resume.")
        return tuple(folder / name for name in names)
    return tuple(
        sorted(
            path.parent
            for path in folder.glob(f"*/{run_directory.METRICS}")
            if (path.parent / run_directory.RESULTS).exists()
        )
    )
