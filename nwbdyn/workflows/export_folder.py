"""Every run of a folder as an NWB file of its own."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nwbdyn.errors import ConfigError, NwbdynError, ResultsError
from nwbdyn.nwb.results import derivative
from nwbdyn.nwb.results.components import ROUNDED
from nwbdyn.progress import Report, silent
from nwbdyn.results import fit_results
from nwbdyn.workflows.export import default_path, export, is_exported


@dataclass(frozen=True)
class ExportedRun:
    """The NWB file of one run of a folder, or why there is none."""

    run: Path  # its run directory
    path: Path  # the NWB file
    reason: str = ""  # why it could not be written; "" where it is there
    written: bool = True  # False: the file held these results already


def export_each(
    runs: Sequence[Path],
    output: Path | None = None,
    *,
    enrich: bool = False,
    subject: Mapping[str, str] | None = None,
    overwrite: bool = False,
    report: Report = silent,
    **choices: Any,
) -> list[ExportedRun]:
    """Export every run; one that cannot be exported does not stop the others.

    Args:
        runs: run directories, as `results.run_folder.runs_in` lists them.
        output: folder for all files; by default each file goes into its run directory.
        enrich, subject, overwrite: as for `export`. A field of `subject` is only used where the
            recording does not state it. Without `overwrite` a file that already holds the results
            of its run is not changed.
        choices: further arguments of `export`.

    Returns:
        One entry per run, in order.

    Raises:
        ResultsError: two runs would be written to one file, or `output` is a file.
        ConfigError: `subject` has an unknown field.
    """
    given = dict(subject or {})
    files = plan(runs, output, enrich=enrich, subject=given)
    plain = not overwrite and not choices.get("dense")
    plain = plain and choices.get("precision", ROUNDED) == ROUNDED
    exported = []
    for run, path in zip(runs, files, strict=True):
        fit = fit_results.load(run, recorded=False)
        fields = derivative.unstated_fields(fit, given)
        if plain and is_exported(fit, path, fields):
            exported.append(ExportedRun(run, path, written=False))
            continue
        try:
            export(
                fit,
                path,
                enrich=enrich,
                subject=fields,
                overwrite=overwrite,
                report=report,
                **choices,
            )
        except ConfigError:
            raise
        except NwbdynError as error:
            exported.append(ExportedRun(run, path, str(error), written=False))
        else:
            exported.append(ExportedRun(run, path))
    return exported


def plan(
    runs: Sequence[Path],
    output: Path | None,
    *,
    enrich: bool,
    subject: Mapping[str, str],
) -> list[Path]:
    """The file of every run, in order.

    Raises:
        ResultsError: two runs would be written to one file, or `output` is a file.
    """
    if output is not None and output.is_file():
        raise ResultsError(f"{output} is a file; several runs are exported into a folder.")
    files: dict[Path, Path] = {}
    for run, path in _defaults(runs, enrich=enrich, subject=subject):
        file = path if output is None else output / path.name
        if file in files:
            raise ResultsError(
                f"{files[file]} and {run} would both be written to {file}. Export them one by one "
                "with -o FILE."
            )
        files[file] = run
    return list(files)


def _defaults(
    runs: Sequence[Path], *, enrich: bool, subject: Mapping[str, str]
) -> Iterator[tuple[Path, Path]]:
    for run in runs:
        fit = fit_results.load(run, recorded=False)
        fields = derivative.unstated_fields(fit, subject)
        yield run, default_path(fit, enrich=enrich, subject=fields)
