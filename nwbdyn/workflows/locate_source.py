"""Search for the recording of a fit: by its address, or on this disk by its digest.

Files that leave a machine name a local recording by its file name and digest, not by its path.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from nwbdyn import archive, disclosure
from nwbdyn.errors import ResultsError
from nwbdyn.nwb.read import slim_record
from nwbdyn.recording import Source
from nwbdyn.results.fit_results import Fit

MOST_FILES = 1000  # of a folder, that are looked at


def address_of(fit: Fit, *, beside: Path | None = None) -> str:
    """Address of the recording of a fit.

    Args:
        beside: a folder in which a local recording is looked for, before the working folder: that
            of the exported file. By default the folder that holds the fit's run directory.

    Raises:
        ResultsError: a local recording that is in neither.
    """
    source = fit.source
    if fit.run is not None and source.path is not None and source.path.exists():
        return str(source.path)  # from the run's own record of this disk
    address = disclosure.of_uri(source.uri)
    if archive.is_address(address):
        return address
    if beside is None and fit.run is not None:
        beside = fit.run.resolve().parent
    folders = list(dict.fromkeys(one for one in (beside, Path.cwd()) if one is not None))
    match = next(_matching(source, address, folders), None)
    if match is not None:
        return str(match)
    digest = f" ({source.digest})" if source.digest else ""
    raise ResultsError(
        f"The recording {address}{digest} is not in {' and not in '.join(map(str, folders))}. It "
        "is the source of these results; say where it is now with --source."
    )


def _matching(source: Source, name: str, folders: Sequence[Path]) -> Iterator[Path]:
    """Files that are the source by their digest; without one, by their name and size."""
    for folder in folders:
        listed = sorted(folder.glob("*.nwb"))[:MOST_FILES] if folder.is_dir() else []
        same_name = [folder / name] if name not in ("", ".", "..") else []
        for path in (*same_name, *(one for one in listed if one.name != name)):
            is_store = source.is_zarr and path.name == name and path.is_dir()
            if is_store or (path.is_file() and _is_same(path, source, name)):
                yield path


def _is_same(path: Path, source: Source, name: str) -> bool:
    """True if a file is the source, or a slim copy of it."""
    same_size = source.size is None or path.stat().st_size == source.size
    if source.digest is None:
        return same_size and path.name == name
    algorithm, _, digest = source.digest.partition(":")
    if same_size and algorithm == "sha256" and archive.sha256(path) == digest:
        return True
    copied = slim_record.of_file(path)
    return copied is not None and copied.source.digest == source.digest
