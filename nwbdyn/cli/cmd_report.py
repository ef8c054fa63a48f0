"""`nwbdyn report`: from a run directory to one HTML page."""

from pathlib import Path

import click


@click.command("report")
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="HTML file to write.  [default: RUN/report.html]",
)
@click.option("--overwrite", is_flag=True, help="Replace an existing page.")
def command(run: Path, output: Path | None, overwrite: bool) -> None:
    """Write one self-contained page about the fit in RUN: scores, figures, provenance.

    \b
    Examples:
      nwbdyn report runs/reach-stndt-s0
      nwbdyn report runs/reach-stndt-s0 -o reach.html
    """
    from nwbdyn.report import page
    from nwbdyn.results import load

    click.echo(str(page.write(load(run), output or run / "report.html", overwrite=overwrite)))
