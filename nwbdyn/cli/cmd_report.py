"""`nwbdyn report`: from a run directory to one HTML page."""

from pathlib import Path

import click

from nwbdyn.cli import options, terminal

EXAMPLES = """\b
Examples:
  nwbdyn report runs/reach-stndt-s0
  nwbdyn report runs/reach-stndt-s0 -o reach.html
"""


@click.command("report", epilog=EXAMPLES)
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="HTML file to write.  [default: RUN/report.html]",
)
@click.option("--overwrite", is_flag=True, help="Replace an existing page.")
@options.quiet
def command(run: Path, output: Path | None, overwrite: bool, quiet: bool) -> None:
    """Write one self-contained page about the fit in RUN: scores, figures, provenance."""
    import matplotlib

    from nwbdyn.report import page
    from nwbdyn.results import load

    matplotlib.use("agg")  # figures go into the page; no window opens
    fit = load(run)
    with terminal.watch(quiet=quiet) as report:
        path = page.write(fit, output or run / "report.html", overwrite=overwrite, report=report)
    click.echo(str(path))
