"""A fit as an NWB file: a small stand-alone derivative, or an enriched copy of the recording.

The recording's own file is never written to. What is written grows beside its place and takes it in
one step, so that whoever stops the program finds the old file there, or the whole new one.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import h5py
from pynwb import NWBHDF5IO

from nwbdyn import archive, scratch, spelling
from nwbdyn.errors import ResultsError
from nwbdyn.nwb.results import derivative, dynamics, heat_map
from nwbdyn.nwb.results import enrich as enrichment
from nwbdyn.nwb.results.components import ROUNDED
from nwbdyn.nwb.results.dynamics import Detail
from nwbdyn.nwb.results.model_run import name_of
from nwbdyn.nwb.results.open_results import run_names
from nwbdyn.progress import Report, silent
from nwbdyn.results import damage, fit_results, run_directory
from nwbdyn.results.fit_results import Fit
from nwbdyn.workflows.fetch import fetch

log = logging.getLogger(__name__)
_VALUES = {  # of the Subject fields that the archive requires
    "subject_id": "such as mouse01",
    "species": "the Latin name",
    "sex": "M, F or O; of C. elegans XX or XO",
    "age": "such as P90D",
}


def export(
    fit: Fit | Path | str,
    path: Path | str | None = None,
    *,
    enrich: bool = False,
    source_file: Path | str | None = None,
    full: bool = False,
    subject: Mapping[str, str] | None = None,
    dense: bool = False,
    precision: str = ROUNDED,
    overwrite: bool = False,
    report: Report = silent,
) -> Path:
    """Write a fit as an NWB file that opens with its types wherever pynwb is installed.

    Args:
        fit: a Fit, or the run directory of one.
        path: the file to write; by default named by the archive's rule,
            `sub-X[_ses-Y]_desc-MODEL_MODALITY.nwb`, in the run directory, or in the current folder
            when the fit was never saved.
        enrich: write a copy of the source with the results added, instead of the results alone.
        source_file: with `enrich`, the file to copy, where the source has moved or was fetched. An
            enriched copy of the same recording will do: the results are added to those in it.
        full: with `enrich` and a remote source, fetch every byte of it instead of its slim copy.
        subject: Subject fields that the source lacks. A field that the archive requires and that
            is missing is named in a warning; no value is invented.
        dense: also write one matrix per window, for small networks; the exact matrices follow from
            what is written in any case.
        precision: of what grows with time: "rounded" to what no analysis misses, for small files;
            "float32" as it was computed; "float16" for gains, activity and maps in half precision.
        overwrite: replace a file at `path`. The source is refused even so.

    Returns:
        the path that was written.

    Raises:
        ResultsError: `path` exists, is the source or does not end in .nwb, the run or the source
            is damaged or cannot be used, the file cannot be written, or `dense` is too much.
            Nothing is left behind.
        ConfigError: `subject` has an unknown field or contradicts the source, or an unknown
            precision.
    """
    if not isinstance(fit, Fit):
        fit = fit_results.load(fit, recorded=False)
    subject = dict(subject or {})
    detail = Detail(dense=dense, precision=precision)
    given = Path(source_file) if source_file is not None else None
    path = default_path(fit, enrich=enrich, subject=subject) if path is None else Path(path)
    _refuse(path, [fit.source.path, given], overwrite=overwrite)
    try:
        if enrich:
            if subject:
                raise ResultsError(
                    "An enriched copy keeps the source's Subject; leave out --subject, or --enrich."
                )
            path.parent.mkdir(parents=True, exist_ok=True)
            with scratch.folder(path.parent) as folder:
                source = _source_of(fit, given, folder, full=full, report=report)
                with damage.as_error(fit.name):
                    shown = fit_results.shareable(fit)
                    _write_enriched(shown, path, source, detail, report)
        else:
            with damage.as_error(fit.name):
                shown = fit_results.shareable(fit)
                _write_derivative(shown, path, subject, detail, report)
    except OSError as error:
        raise ResultsError(
            f"Cannot write {path}: {error}. Pass -o with a file in a folder that can be written to."
        ) from error
    return path


def default_path(fit: Fit, *, enrich: bool, subject: Mapping[str, str]) -> Path:
    """Default path of an exported file."""
    name = derivative.file_name(fit, subject, suffix="-enriched" if enrich else "")
    return (fit.run or Path()) / name


def is_exported(fit: Fit, path: Path, subject: Mapping[str, str]) -> bool:
    """True if the file at `path` holds the results of `fit`, and these Subject fields."""
    if not path.is_file() or not h5py.is_hdf5(path) or name_of(fit) not in run_names(path):
        return False
    with h5py.File(path, "r") as file:
        known = file.get("general/subject", {})
        return all(name in known and _text(known[name]) == subject[name] for name in subject)


def _text(dataset: h5py.Dataset) -> str:
    return str(dataset.asstr()[()])


def _source_of(fit: Fit, given: Path | None, folder: Path, *, full: bool, report: Report) -> Path:
    """The local file to enrich: `given`, else the one that was fitted.

    A remote recording is fetched into `folder` first: its slim copy, or with `full` every byte.

    Raises:
        ResultsError: there is no such file here, or it is not what was fitted.
        AddressError, ArchiveError, StreamError: the bytes of a remote one cannot be had.
    """
    path = given if given is not None else fit.source.path
    if (path is None and fit.source.is_zarr) or (path is not None and path.is_dir()):
        raise ResultsError(
            f"{path or fit.source.uri} is a Zarr store; results are appended to HDF5 files only. "
            "Export without --enrich: the results then stand alone, and link to the store by its "
            "address and digest."
        )
    if path is None:
        if full:
            path = archive.download(fit.source, folder, report=report)
        else:
            path = fetch(fit.source, folder, report=report).path
    if not path.is_file():
        raise ResultsError(f"No file {path}, which {fit.model} was fitted to; nothing to enrich.")
    enrichment.check_free(path)
    enrichment.check_content(path, fit)
    return path


def _on_missing(name: str, fields: Sequence[str]) -> str:
    """Text on Subject fields that a recording does not state, and how to give them."""
    options = " and ".join(f"--subject {field}=VALUE ({_VALUES[field]})" for field in fields)
    return (
        f"{name}: the recording states no {' and no '.join(fields)} of its subject, which the "
        f"archive requires. Pass {options}."
    )


def _write_derivative(
    fit: Fit, path: Path, subject: Mapping[str, str], detail: Detail, report: Report
) -> None:
    missing = derivative.missing_subject_fields(fit, subject)
    if missing:
        log.warning(spelling.spelled(_on_missing(fit.source.name, missing)))
    nwbfile, notes = derivative.new_file(fit, subject)
    module = nwbfile.create_processing_module(
        name=dynamics.MODULE, description=dynamics.MODULE_DESCRIPTION
    )
    for item in dynamics.results(fit, detail=detail, notes=notes, report=report):
        module.add(item)
    path.parent.mkdir(parents=True, exist_ok=True)
    with run_directory.atomic_write(path) as partial:
        h5py.File(partial, "w").close()
        run_directory.preallocate(partial, dynamics.most_bytes(fit, detail))
        # pynwb gets an open file because it warns about names that do not end in .nwb.
        with h5py.File(partial, "r+") as file, NWBHDF5IO(file=file, mode="w") as io:
            io.write(nwbfile)
        _mark_picture(fit, partial)


def _write_enriched(fit: Fit, path: Path, source: Path, detail: Detail, report: Report) -> None:
    with run_directory.atomic_write(path) as partial:
        enrichment.copy(source, partial, report)
        run_directory.preallocate(partial, dynamics.most_bytes(fit, detail))
        enrichment.append(fit, partial, detail, report)
        enrichment.restore(source, partial)
        _mark_picture(fit, partial)


def _mark_picture(fit: Fit, path: Path) -> None:
    with h5py.File(path, "r+") as file:
        heat_map.mark(file[f"processing/{dynamics.MODULE}"], f"{name_of(fit)}_figures")


def _refuse(path: Path, sources: list[Path | None], *, overwrite: bool) -> None:
    """Raise ResultsError unless `path` may be written."""
    for source in sources:
        if source is not None and _same(path, source):
            raise ResultsError(
                f"{path} is the source, which is never written to. Choose another path."
            )
    if path.suffix != ".nwb":
        raise ResultsError(
            f"{path} does not end in .nwb, by which tools and the archive know an NWB file. Write "
            f"to {path.with_suffix('.nwb')}."
        )
    if path.is_dir():
        raise ResultsError(f"{path} is a folder; give the name of a file in it.")
    if path.exists() and not overwrite:
        raise ResultsError(
            f"{path} exists. Pass --overwrite to replace it, or choose another path."
        )


def _same(one: Path, other: Path) -> bool:
    if one.exists() and other.exists():
        return one.samefile(other)
    return one.resolve() == other.resolve()
