"""`nwbdyn export`: from a run directory to an NWB file."""

from pathlib import Path

import click
from click.core import ParameterSource

from nwbdyn.cli import options, terminal


@click.command("export")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="NWB file to write.")
@click.option("--enrich", is_flag=True, help="Write a copy of the source with the results added.")
@click.option("--full", is_flag=True, help="Enrich every byte of a remote source, raw data too.")
@click.option("--subject", multiple=True, metavar="KEY=VALUE", help="Fill a missing Subject field.")
@click.option("--overwrite", is_flag=True, help="Replace an existing output file.")
@click.option("--upload", metavar="dandi:ID", help="Send the file to this dandiset's draft.")
@click.option(
    "--dry-run/--send",
    default=True,
    show_default=True,
    help="With --upload: check and show what would be sent, or send it.",
)
@options.instance
@options.quiet
@click.pass_context
def command(
    context: click.Context,
    run: Path,
    output: Path | None,
    enrich: bool,
    full: bool,
    subject: tuple[str, ...],
    overwrite: bool,
    upload: str | None,
    dry_run: bool,
    instance: str | None,
    quiet: bool,
) -> None:
    """Write the results in RUN as an NWB file that any NWB tool can open.

    Without --enrich the file stands alone: subject, neurons, connectivity and predictions, with
    where they came from. The source file is never touched.

    \b
    Examples:
      nwbdyn export runs/reach-stndt-s0
      nwbdyn export runs/reach-stndt-s0 --upload dandi:000123 --send
    """
    given = context.get_parameter_source("dry_run") is ParameterSource.COMMANDLINE
    if given and upload is None:
        raise click.UsageError("--dry-run and --send go with --upload dandi:ID.")
    from nwbdyn.nwb.write import export
    from nwbdyn.results import load

    fit = load(run)
    with terminal.watch(quiet=quiet) as report:
        path = export(
            fit,
            output,
            enrich=enrich,
            full=full,
            subject={key: str(value) for key, value in options.pairs(subject, "--subject").items()},
            overwrite=overwrite,
            report=report,
        )
    click.echo(str(path))
    if upload is None:
        return
    from nwbdyn import sharing

    with terminal.watch(quiet=quiet) as report:
        parcel = sharing.pack(path, upload, report=report)
        place = f"{parcel.dandiset}/{parcel.asset_path} ({terminal.size(parcel.size)})"
        if not dry_run:
            sent = sharing.send(
                parcel, fit.source, instance=instance, overwrite=overwrite, report=report
            )
    if dry_run:
        click.echo(f"Would send {place}. The checks found no problem; add --send to send it.")
    else:
        click.echo(f"Sent {sent.uri}")
