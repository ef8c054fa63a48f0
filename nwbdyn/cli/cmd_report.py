"""`nwbdyn report`: one HTML page per run, and a summary page of a folder of runs."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nwbdyn.cli import documents, options, terminal
from nwbdyn.errors import NwbdynError, ResultsError
from nwbdyn.progress import Report

if TYPE_CHECKING:
    import pandas as pd

    from nwbdyn.results.fit_results import Fit

EXIT_SOME_FAILED = 3
EXAMPLES = """\b
Examples:
  nwbdyn report runs/reach-stndt-s0
  nwbdyn report runs/reach-stndt-s0 -o reach.html
  nwbdyn report runs/cortex --states behavioral_state:state
  nwbdyn report runs/000140
"""


@click.command(
    "report", epilog=EXAMPLES, short_help="One HTML page about a fit: scores, figures, provenance."
)
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="HTML file to write.  [default: RUN/report.html]",
)
@click.option(
    "--states",
    metavar="STATES",
    help="Coupling between cell types in each state, too; states as for `nwbdyn fit`.",
)
@click.option(
    "--by",
    metavar="COLUMN,…",
    help="Columns of the trials that make a condition.  [default: those that are known]",
)
@click.option("--overwrite", is_flag=True, help="Replace an existing page.")
@documents.option
@options.quiet
def command(
    run: Path,
    output: Path | None,
    states: str | None,
    by: str | None,
    overwrite: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Write one self-contained page about the fit in RUN: scores, figures, provenance.

    It is made from RUN alone; only --states opens the recording again. Every figure is also written
    to RUN/figures as SVG and PNG, unless -o names another folder. RUN may be a folder of several
    runs. Then each run has a page, and RUN/report.html has one row per recording, with links.
    Existing pages are not replaced without --overwrite.
    """
    import matplotlib

    from nwbdyn.results import run_directory, run_folder

    matplotlib.use("agg")  # figures go into the page; no window opens
    columns = None if by is None else [name.strip() for name in by.split(",")]
    path = output or run / run_directory.REPORT
    runs = run_folder.runs_in(run)
    failed: list[Path] = []
    with terminal.progress_display(quiet=quiet) as report:
        if runs:
            failed = _write_folder(run, runs, path, states, columns, overwrite, report)
            failed += _name_incomplete(run)
        else:
            _write(run, path, states, columns, overwrite, report)
    if as_json:
        content: dict[str, object] = {"run": str(run), "page": str(path)}
        if runs:
            pages = [str(one / run_directory.REPORT) for one in runs if one not in failed]
            content["pages"] = pages
        documents.write("report", content)
    else:
        terminal.line(path)
    if failed:
        sys.exit(EXIT_SOME_FAILED if set(runs) - set(failed) else 1)


def _name_incomplete(folder: Path) -> list[Path]:
    """Name the incomplete runs of a folder on stderr, and return them."""
    from nwbdyn.results import run_folder

    incomplete = run_folder.incomplete_in(folder)
    for run in incomplete:
        terminal.echo(f"nwbdyn: {run}: {run_folder.INCOMPLETE}.", err=True)
    return list(incomplete)


def _write(
    run: Path,
    path: Path,
    states: str | None,
    by: Sequence[str] | None,
    overwrite: bool,
    report: Report,
) -> None:
    """Write the page of one run."""
    from nwbdyn.report import page
    from nwbdyn.results import run_directory
    from nwbdyn.results.fit_results import load

    fit = load(run)
    table = None if states is None else _states(fit, states, report)
    figures = path.parent / run_directory.FIGURES if path.parent == run else None
    page.write(
        fit, path, states=table, by=by, figures_to=figures, overwrite=overwrite, report=report
    )


def _write_folder(
    folder: Path,
    runs: Sequence[Path],
    path: Path,
    states: str | None,
    by: Sequence[str] | None,
    overwrite: bool,
    report: Report,
) -> list[Path]:
    """Write the pages of all runs and their summary; return the runs that got no page."""
    from nwbdyn.report import summary
    from nwbdyn.results import run_directory

    if path != folder / run_directory.REPORT and path.exists() and not overwrite:
        raise ResultsError(f"{path} exists. Pass --overwrite, or -o with another name.")
    failed = []
    for run in runs:
        target = run / run_directory.REPORT
        if target.exists() and not overwrite:
            continue
        try:
            _write(run, target, states, by, overwrite, report)
        except NwbdynError as error:
            terminal.echo(f"nwbdyn: {run}: {error}", err=True)
            failed.append(run)
    summary.write(folder, runs, path)
    return failed


def _states(fit: "Fit", name: str, report: Report) -> "pd.DataFrame":
    from nwbdyn import opening
    from nwbdyn.statistics import states
    from nwbdyn.workflows import locate_source

    address = locate_source.address_of(fit)
    with opening.open(address, instance=fit.source.instance, report=report) as recording:
        return states.of_recording(recording, name)
