"""The run directory of a fit: one folder of plain files, none of which executes when it is read.

    RUN/
      config.json          what was asked: model, options, binning, split, seeds
      history.jsonl        one line per epoch, written as training goes
      checkpoint.pt        where training stands (tensors and plain values; weights_only=True)
      weights.safetensors  the best weights
      results.h5           predictions, connectivity, edges, neurons; needs no torch
      edges.csv            the edge table for a spreadsheet (see `connectivity.edge_table`)
      scores.csv           scores of model and baselines, likewise
      provenance.json      source, digest, versions, seed, device, git state
      methods.md           the methods of a paper with every number, and BibTeX
      submission.h5        rates for a Neural Latents data set, where these were asked for
      local.json           where a local source lies on this disk; never exported
      metrics.json         scores of model and baselines; written last, so it marks a complete run
      lock.json            the process that writes here, while it does (see `lock`)
      report.html          the page of `nwbdyn report`, where it was asked for
      figures/             every figure of the page as SVG and as PNG

With several seeds each trains in a folder `seed-<seed>` of its own, and each fold of a cross-
validation is a run of its own in `fold-<k>`. Each further draw of held-out neurons is in
`draw-<k>`, with the sums that its scores are made of and without results. Couplings of surrogates
and of halves of the data are kept in `refits` as NumPy arrays, which hold no objects. Options that
validation chooses are tried in `choice-<k>`, the model without coupling in `without-coupling`, one
with a constant A in `static`; a model that is trained once more for the benchmark's test trials is
in `refit-<seed>`. One model over several recordings leaves a run of its own for each, in a folder
named after the file, and beside them the weights and a table of scores. A file is written beside
its place, synced and renamed, so that whoever stops the program at any moment leaves the old file
or the new one. This room knows names and bytes; `results` knows what they mean.
"""

import errno
import json
import math
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PureWindowsPath
from typing import Any

from nwbdyn import disclosure
from nwbdyn.errors import FitError, ResultsError
from nwbdyn.results import request_diff

FORMAT = 1  # raised whenever a reader of the previous number could misread the folder

CONFIG, HISTORY, CHECKPOINT = "config.json", "history.jsonl", "checkpoint.pt"
WEIGHTS, RESULTS = "weights.safetensors", "results.h5"
PROVENANCE, METRICS = "provenance.json", "metrics.json"
LOCAL = "local.json"
METHODS = "methods.md"
EDGES_CSV, SCORES_CSV = "edges.csv", "scores.csv"  # copies for people; nothing reads them
SUBMISSION = "submission.h5"
SUMS = "sums.npz"  # of a draw of held-out neurons
REFITS = "refits"  # folder
LOCK = "lock.json"
REPORT = "report.html"
FIGURES = "figures"  # folder
SUMMARY = "summary.json"  # of a folder of runs, each of a recording of its own
CONTINUE = "To continue, repeat the fit with --resume"  # end of a message on an incomplete run
MEMBERS = (  # folders of further trainings and runs
    *("seed-*", "fold-*", "draw-*", "choice-*", "comparator-*", "refit-*"),
    *("without-coupling", "static"),
)
FILES = (
    *(CONFIG, HISTORY, CHECKPOINT, WEIGHTS, RESULTS, PROVENANCE, LOCAL, METHODS, SUBMISSION, SUMS),
    *(EDGES_CSV, SCORES_CSV, METRICS),
)
_FULL, _REFUSED = (errno.ENOSPC, errno.EDQUOT), (errno.EFBIG, errno.EROFS, errno.EIO)
_PARTIAL = ".partial"


def ensure_dir(path: Path, *, resume: bool = False) -> None:
    """Make `path` a folder, with its parents, where it is none.

    Args:
        resume: an earlier run is expected there, so it is one.

    Raises:
        ResultsError: it cannot be made or written to, or is a file.
        FitError: `resume` was given and there is nothing.
    """
    if path.exists() and not path.is_dir():
        raise ResultsError(f"{path} is a file, and a run needs a folder. Choose another path.")
    if path.is_dir() and not os.access(path, os.W_OK):
        raise ResultsError(f"{path} cannot be written to. Pass -o with another folder.")
    if resume and not path.is_dir():
        raise FitError(_nothing_to_resume(path))
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResultsError(f"Cannot make {path}: {error}. Pass -o with another folder.") from error


def validate_run_dir(path: Path, *, resume: bool = False, overwrite: bool = False) -> None:
    """Make `path` a folder that a fit may write into.

    Args:
        path: the run directory; created with its parents when it is absent.
        resume: an earlier run is expected there, and stays.
        overwrite: files of an earlier run are removed. Nothing else is.

    Raises:
        ResultsError: something is there already, and neither `resume` nor `overwrite` was given;
            or the folder cannot be made or written to.
        FitError: `resume` was given and there is nothing to resume.
    """
    ensure_dir(path, resume=resume)
    if resume:
        for folder in (*_members(path), path / REFITS):
            _check_no_link(folder)
    occupied = any(
        item.suffix != _PARTIAL and not item.name.startswith(LOCK) for item in path.iterdir()
    )
    if resume:
        if is_started(path):
            check_format(path)
        elif occupied:
            raise FitError(_nothing_to_resume(path))
    elif occupied and not is_started(path):
        if overwrite:
            raise ResultsError(f"{path} is not a run directory, so it is not overwritten.")
        raise ResultsError(f"{path} holds other files. Choose an empty or new folder.")
    elif occupied and not overwrite:
        state = "a finished run" if is_complete(path) else "an unfinished run"
        advice = "" if is_complete(path) else ", --resume to continue it"
        raise ResultsError(f"{path} holds {state}. Pass --overwrite to replace it{advice}.")
    elif occupied:
        _clear(path)


def _nothing_to_resume(path: Path) -> str:
    return f"No run to resume in {path}. Leave out --resume to start one there."


def open_run(
    path: Path, config: Mapping[str, Any], *, resume: bool = False, overwrite: bool = False
) -> bool:
    """Prepare `path` for a fit and write its config.json.

    Returns:
        True where that fit is complete already, and only has to be loaded.

    Raises:
        ResultsError, FitError: as `prepare`, or the run there is of another fit.
    """
    validate_run_dir(path, resume=resume, overwrite=overwrite)
    if is_started(path):
        check_same(path, config)
    if is_complete(path):
        return True
    write_json(path, CONFIG, with_format_version(config))
    return False


def is_started(path: Path) -> bool:
    """True when a fit has begun in `path`."""
    return (path / CONFIG).exists()


def is_complete(path: Path) -> bool:
    """True when the fit that wrote into `path` reached its end."""
    return (path / METRICS).exists()


def check(path: Path) -> None:
    """Raise ResultsError unless `path` is a complete run directory this version can read."""
    if is_started(path):
        sessions = sessions_in(path)
        if sessions:
            raise ResultsError(
                f"{path} is one model over {len(sessions)} recordings; each has a run directory of "
                f"its own. {_choose_from(path, sessions)}"
            )
    _check_holds(path, (METRICS, PROVENANCE, RESULTS))


def _choose_from(path: Path, names: Sequence[str]) -> str:
    return f"Choose from: {', '.join(str(path / name) for name in names)}."


def check_weights(path: Path) -> None:
    """Raise ResultsError unless `path` holds a fitted model, of one recording or of several."""
    _check_holds(path, (METRICS, WEIGHTS))


def sessions_in(path: Path) -> list[str]:
    """Names of the recordings that share one model in the run `path`; none where it is of one.

    Raises:
        ResultsError: a name is not that of a folder in the run.
    """
    sessions = read_json(path, CONFIG).get("sessions")
    names = list(sessions) if isinstance(sessions, dict) else []
    for name in names:
        if name in ("", ".", "..") or re.search(r"[/\\\0]", name) or PureWindowsPath(name).drive:
            raise ResultsError(
                f"{path / CONFIG} names the recording {name!r}, which is no folder in the run. Get "
                "the run from whoever made it."
            )
    return names


def _check_holds(path: Path, needed: tuple[str, ...]) -> None:
    if path.is_file():
        raise ResultsError(
            f"{path} is a file, not a run directory. `nwbdyn fit {path} --model NAME` makes one of "
            "a recording; name the folder that it prints."
        )
    if not path.is_dir():
        raise ResultsError(f"No run directory {path}. `nwbdyn fit ADDRESS -o {path}` makes one.")
    if not is_started(path) and (path / SUMMARY).exists():
        runs = sorted(one.parent.name for one in path.glob(f"*/{METRICS}"))
        raise ResultsError(
            f"{path} holds the runs of several recordings, {len(runs)} of them complete. "
            + (_choose_from(path, runs) if runs else f"{SUMMARY} there says why.")
        )
    if not is_started(path):
        raise ResultsError(
            f"{path} is not a run directory: it has no {CONFIG}. Name the folder that `nwbdyn fit` "
            "printed last."
        )
    check_format(path)
    missing = [name for name in needed if not (path / name).exists()]
    if missing:
        last = read_history(path)[-1:]
        reached = f" (training reached epoch {int(last[0]['epoch'])})" if last else ""
        raise ResultsError(
            f"Run {path} is incomplete: no {', '.join(missing)}{reached}. {CONTINUE}."
        )


def check_format(path: Path) -> None:
    """Raise ResultsError when the run in `path` was written by a newer version."""
    written = read_json(path, CONFIG).get("format")
    if not isinstance(written, int) or written > FORMAT:
        raise ResultsError(
            f"Run {path} has format {written!r}; this nwbdyn reads up to {FORMAT}. Update nwbdyn."
        )


def check_same(path: Path, config: Mapping[str, object]) -> None:
    """Raise FitError unless the run in `path` was started with the same decisions."""
    wanted: Any = plain(with_format_version(config))
    difference = request_diff.explain(disclosure.of_decisions(read_json(path, CONFIG)), wanted)
    if difference is not None:
        raise FitError(
            f"The run in {path} {difference}, or start again with --overwrite or another -o."
        )


def with_format_version(config: Mapping[str, object]) -> dict[str, object]:
    """The content of config.json, under the number of this format."""
    return {"format": FORMAT, **disclosure.of_decisions(config)}


def write_json(path: Path, name: str, value: Mapping[str, object]) -> None:
    """Write `value` as strict JSON: numbers that are not finite become null."""
    with atomic_write(path / name) as partial:
        text = json.dumps(plain(value), indent=2, ensure_ascii=False, allow_nan=False)
        partial.write_text(text + "\n", encoding="utf-8", errors="backslashreplace")


def read_json(path: Path, name: str) -> dict[str, object]:
    """The content of a JSON file of the run.

    Raises:
        ResultsError: the file is damaged.
    """
    try:
        value = json.loads((path / name).read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ResultsError(f"{path / name} is damaged ({error}). Fit again.") from error
    if not isinstance(value, dict):
        raise ResultsError(f"{path / name} is damaged: expected an object. Fit again.")
    return value


def write_text(path: Path, name: str, text: str) -> None:
    """Write one text file of a run, whole or not at all."""
    with atomic_write(path / name) as partial:
        partial.write_text(text, encoding="utf-8")


def append_history(path: Path, record: Mapping[str, float]) -> None:
    """Add one epoch to the run's history."""
    _check_no_link(path / HISTORY)
    with disk_full_as_error(path / HISTORY), (path / HISTORY).open("a", encoding="utf-8") as file:
        file.write(json.dumps(plain(record), allow_nan=False) + "\n")


def write_history(path: Path, records: Iterable[Mapping[str, float]]) -> None:
    """Replace the run's history."""
    with atomic_write(path / HISTORY) as partial:
        lines = (json.dumps(plain(record), allow_nan=False) + "\n" for record in records)
        partial.write_text("".join(lines), encoding="utf-8")


def read_history(path: Path) -> tuple[dict[str, float], ...]:
    """One record per epoch; a last line cut off by a crash is left out.

    Raises:
        ResultsError: a line holds anything but numbers by name.
    """
    if not (path / HISTORY).exists():
        return ()
    records = []
    for line in (path / HISTORY).read_text(encoding="utf-8").splitlines():
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            break
        if not isinstance(record, dict) or not all(map(_is_number, record.values())):
            raise ResultsError(
                f"{path / HISTORY} is damaged: expected numbers by name, found {line[:60]!r}. Fit "
                "again with --overwrite."
            )
        records.append({key: math.nan if v is None else v for key, v in record.items()})
    return tuple(records)


def _is_number(value: object) -> bool:
    return value is None or isinstance(value, int | float)


def plain(value: object) -> object:
    """`value` in JSON's own types: tuples as lists, NaN and infinities as None."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, (bool, int, str)) or value is None:
        return value
    if hasattr(value, "item"):  # a NumPy scalar
        return plain(value.item())
    raise TypeError(f"{type(value).__name__} has no place in a run's JSON")


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """A path to write to; it takes the place of `path` once the block ends without an error.

    Raises:
        ResultsError: the disk is full. Whatever was at `path` is still there.
    """
    partial = path.with_name(path.name + _PARTIAL)
    try:
        with disk_full_as_error(path):
            partial.unlink(missing_ok=True)  # a link there would lead the write elsewhere
            yield partial
            with partial.open("rb") as file:
                os.fsync(file.fileno())
            os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def preallocate(path: Path, num_bytes: int) -> None:
    """Make sure that an HDF5 file can grow by this much; closing it cuts it to its true size.

    The HDF5 library may take the whole process down when the disk runs full under it.

    Raises:
        OSError: there is no room.
    """
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), path.stat().st_size, num_bytes)
    elif shutil.disk_usage(path.parent).free < num_bytes:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@contextmanager
def disk_full_as_error(path: Path) -> Iterator[None]:
    """Turn a full or failing disk into a one-line error; HDF5 reports it in its own words."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        number = getattr(error, "errno", None) or 0
        is_full = number in _FULL or os.strerror(errno.ENOSPC) in str(error)
        if not is_full and number not in _REFUSED:
            raise
        reason = "the disk is full" if is_full else os.strerror(number)
        raise ResultsError(
            f"Cannot write {path}: {reason}. Free some room there, or pass -o with a path on "
            "another disk; a fit goes on with --resume where it stopped."
        ) from error


def _clear(path: Path) -> None:
    """Take away what a fit left in a folder, and nothing else; of a link the link alone."""
    for folder in (*_members(path), path / REFITS):
        if folder.is_symlink():
            folder.unlink()
        elif folder.name != REFITS and any((folder / file).exists() for file in FILES):
            _clear(folder)
            if not any(folder.iterdir()):
                folder.rmdir()
    for name in (*FILES, REPORT):
        (path / name).unlink(missing_ok=True)
        (path / (name + _PARTIAL)).unlink(missing_ok=True)
    _clear_figures(path / FIGURES)
    for file in (path / REFITS).glob("*.npy*"):
        file.unlink()
        if not any(file.parent.iterdir()):
            file.parent.rmdir()


def _clear_figures(folder: Path) -> None:
    if folder.is_symlink() or not folder.is_dir():
        return
    for file in (*folder.glob("*.svg"), *folder.glob("*.png")):
        file.unlink()
    if not any(folder.iterdir()):
        folder.rmdir()


def _members(path: Path) -> list[Path]:
    """Folders of further trainings and of sessions in a run, as far as they are there."""
    members = [folder for name in MEMBERS for folder in path.glob(name)]
    if is_started(path):
        members += [path / name for name in sessions_in(path)]
    return members


def _check_no_link(path: Path) -> None:
    """Raise ResultsError for a symbolic link: what is written there would land elsewhere."""
    if path.is_symlink():
        raise ResultsError(
            f"{path} is a link to {os.readlink(path)}, and a fit writes through none. Remove the "
            "link, or pass -o with another folder."
        )
