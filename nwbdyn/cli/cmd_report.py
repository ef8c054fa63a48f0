"""`nwbdyn report`: from a run directory to one HTML page."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from nwbdyn.cli import documents, options, terminal
from nwbdyn.progress import Report

if TYPE_CHECKING:
    import pandas as pd

    from nwbdyn.results.fit_results import Fit

EXAMPLES = """\b
Examples:
  nwbdyn report runs/reach-stndt-s0
  nwbdyn report runs/reach-stndt-s0 -o reach.html
  nwbdyn report runs/cortex --states behavioral_state:state
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

    It is made from RUN alone; --states opens the recording again.
    """
    import matplotlib

    from nwbdyn.report import page
    from nwbdyn.results import run_directory
    from nwbdyn.results.fit_results import load

    matplotlib.use("agg")  # figures go into the page; no window opens
    fit = load(run)
    path = output or run / run_directory.REPORT
    with terminal.progress_display(quiet=quiet) as report:
        table = None if states is None else _states(fit, states, report)
        columns = None if by is None else [name.strip() for name in by.split(",")]
        page.write(fit, path, states=table, by=columns, overwrite=overwrite, report=report)
    if as_json:
        documents.write("report", {"run": str(run), "page": str(path)})
    else:
        terminal.line(path)


def _states(fit: "Fit", name: str, report: Report) -> "pd.DataFrame":
    from nwbdyn import opening
    from nwbdyn.statistics import states
    from nwbdyn.workflows import locate_source

    address = locate_source.address_of(fit)
    with opening.open(address, instance=fit.source.instance, report=report) as recording:
        return states.of_recording(recording, name)
