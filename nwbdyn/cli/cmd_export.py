"""`nwbdyn export`: from a run directory to an NWB file, and on request to the archive."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from nwbdyn.cli import documents, options, terminal

if TYPE_CHECKING:
    from nwbdyn.results.fit_results import Fit
    from nwbdyn.workflows.archive_upload import UploadResult, ValidatedFile

PRECISIONS = ("rounded", "float32", "float16")
UPLOAD = ("dry_run", "replace", "allow_embargoed", "allow_unknown_access")  # go with --upload
ACCESS = ("instance", "allow_embargoed", "allow_unknown_access")  # decide whether it may be sent
EXIT_SOME_FAILED = 3


EXAMPLES = """\b
Examples:
  nwbdyn export runs/reach-stndt-s0
  nwbdyn export runs/worms -o results
  nwbdyn export runs/reach-stndt-s0 --upload dandi:000123 --send
  nwbdyn export runs/000140-stndt-s0 --upload dandi:000123 --dry-run
"""


@click.command(
    "export", epilog=EXAMPLES, short_help="Write results as an NWB file that any NWB tool can open."
)
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="NWB file to write; for a folder of runs, the folder of the files.",
)
@click.option("--enrich", is_flag=True, help="Write a copy of the source with the results added.")
@click.option("--full", is_flag=True, help="Enrich every byte of a remote source, raw data too.")
@click.option("--subject", multiple=True, metavar="KEY=VALUE", help="Fill a missing Subject field.")
@click.option("--dense", is_flag=True, help="Also write one matrix per window, if small enough.")
@click.option(
    "--precision",
    type=click.Choice(PRECISIONS),
    default=PRECISIONS[0],
    show_default=True,
    help="Precision of arrays that grow with time; rounded: to a small share of their sd.",
)
@click.option("--overwrite", is_flag=True, help="Replace an existing output file.")
@click.option("--upload", metavar="dandi:ID", help="Send the file to this dandiset's draft.")
@click.option(
    "--dry-run/--send",
    default=True,
    show_default=True,
    help="With --upload: only check and show what would be sent, or send it.",
)
@click.option("--replace", is_flag=True, help="With --upload: replace an asset with the same path.")
@click.option(
    "--allow-embargoed",
    is_flag=True,
    help="With --upload: results of embargoed data may go to an open dandiset.",
)
@click.option(
    "--allow-unknown-access",
    is_flag=True,
    help="With --upload: the same for data whose access is unknown.",
)
@documents.option
@options.instance
@options.quiet
@click.pass_context
def command(
    context: click.Context,
    run: Path,
    output: Path | None,
    subject: tuple[str, ...],
    upload: str | None,
    as_json: bool,
    quiet: bool,
    **choices: Any,
) -> None:
    """Write the results in RUN as an NWB file that any NWB tool can open.

    Without --enrich the file stands alone: subject, neurons, connectivity, predictions and the
    address of the source. The source file is never changed. RUN may be a folder of several runs.
    Then each run becomes a file, and with --upload an asset of one dandiset that has a README.
    After an interruption, the same command continues the upload.
    """
    if upload is None:
        for name in UPLOAD:
            if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
                raise click.UsageError(
                    "--dry-run, --send, --replace, --allow-embargoed and --allow-unknown-access go "
                    "with --upload dandi:ID."
                )
    from nwbdyn.results import run_folder

    given = {key: str(value) for key, value in options.pairs(subject, "--subject").items()}
    sending = {name: choices.pop(name) for name in (*UPLOAD, "instance")}
    runs = run_folder.runs_in(run)
    if runs:
        if upload is not None:
            content = _share(
                runs, output, upload, sending, {"subject": given, **choices}, as_json, quiet
            )
        else:
            content = _export_folder(runs, output, given, choices, quiet=quiet, as_json=as_json)
        content["files"] += _incomplete(run)
    else:
        content = _export_run(
            run, output, given, choices, upload, sending, quiet=quiet, as_json=as_json
        )
    if as_json:
        documents.write("export", {"run": str(run), **content})
    if content["upload"] and content["upload"]["rejections"]:
        sys.exit(1)
    _exit_with_failures(content.get("files", ()))


def _export_folder(
    runs: Sequence[Path],
    output: Path | None,
    subject: Mapping[str, str],
    choices: Mapping[str, Any],
    *,
    quiet: bool,
    as_json: bool,
) -> dict[str, Any]:
    """Export every run of a folder and print its file; return the fields of the document."""
    from nwbdyn.workflows.export_folder import export_each

    with terminal.progress_display(quiet=quiet) as report:
        exported = export_each(runs, output, subject=subject, report=report, **choices)
    for one in exported:
        if one.reason:
            terminal.echo(f"nwbdyn: {one.run}: {one.reason}", err=True)
        elif not as_json:
            terminal.line(one.path)
    kept = sum(not one.written and not one.reason for one in exported)
    if kept:
        terminal.say(f"{kept} of them held these results already.", quiet=quiet or as_json)
    files = [
        {
            "run": str(one.run),
            "file": None if one.reason else str(one.path),
            "reason": one.reason or None,
        }
        for one in exported
    ]
    return {"file": None, "files": files, "upload": None}


def _incomplete(folder: Path) -> list[dict[str, Any]]:
    """Name the incomplete runs of a folder on stderr; return their rows of the document."""
    from nwbdyn.results import run_folder

    rows = []
    for run in run_folder.incomplete_in(folder):
        terminal.echo(f"nwbdyn: {run}: {run_folder.INCOMPLETE}.", err=True)
        rows.append({"run": str(run), "file": None, "reason": f"{run_folder.INCOMPLETE}."})
    return rows


def _share(
    runs: Sequence[Path],
    output: Path | None,
    upload: str,
    sending: Mapping[str, Any],
    writing: Mapping[str, Any],
    as_json: bool,
    quiet: bool,
) -> dict[str, Any]:
    """Send every run of a folder to one dandiset; return the fields of the document."""
    from nwbdyn.cli import export_runs

    if output is not None:
        raise click.UsageError(
            f"--upload takes the files of {len(runs)} runs from their run directories. Leave "
            "out -o."
        )
    return export_runs.share(runs, upload, sending, writing, quiet=quiet, as_json=as_json)


def _exit_with_failures(files: Sequence[Mapping[str, Any]]) -> None:
    """Exit with 1 if no run of several was exported, with 3 if some were not."""
    failed = sum(one["reason"] is not None for one in files)
    if failed:
        sys.exit(1 if failed == len(files) else EXIT_SOME_FAILED)


def _export_run(
    run: Path,
    output: Path | None,
    subject: Mapping[str, str],
    choices: Mapping[str, Any],
    upload: str | None,
    sending: Mapping[str, Any],
    *,
    quiet: bool,
    as_json: bool,
) -> dict[str, Any]:
    """Export one run, send it on request; return the fields of the document."""
    from nwbdyn.results.fit_results import load
    from nwbdyn.workflows.export import default_path, export, is_exported

    fit = load(run, recorded=False)
    path = output or default_path(fit, enrich=choices["enrich"], subject=subject)
    if upload is not None:
        _check_draft(fit, path, upload, sending)
    plain = not (choices["overwrite"] or choices["dense"])
    plain = plain and choices["precision"] == PRECISIONS[0]
    if upload is not None and plain and is_exported(fit, path, subject):
        terminal.say(
            f"{path} holds these results already; it is taken as it is.", quiet=quiet or as_json
        )
    else:
        with terminal.progress_display(quiet=quiet) as report:
            path = export(fit, path, subject=subject, report=report, **choices)
    if not as_json:
        terminal.line(path)
    content: dict[str, Any] = {"file": str(path), "upload": None}
    if upload is not None:
        _check_file(fit, path, upload, sending)
        parcel, receipt = _upload(
            fit,
            path,
            upload,
            instance=sending["instance"],
            dry_run=sending["dry_run"],
            replace=sending["replace"],
            quiet=quiet,
        )
        content["upload"] = _upload_fields(parcel, receipt)
        if not as_json:
            _print_upload(parcel, receipt)
    return content


def _check_draft(fit: "Fit", path: Path, upload: str, sending: Mapping[str, Any]) -> None:
    """Check, before anything is written, that this file may go to this draft."""
    from nwbdyn import archive
    from nwbdyn.results.fit_results import derived_from
    from nwbdyn.workflows import archive_upload

    archive.default_asset_path(path)  # raises where the name has no place in an archive
    choices = {name: sending[name] for name in ACCESS}
    archive_upload.check_draft(upload, *derived_from(fit), **choices)


def _check_file(fit: "Fit", path: Path, upload: str, sending: Mapping[str, Any]) -> None:
    """Check that the recordings that the finished file names may be seen there, too."""
    from nwbdyn.results.fit_results import derived_from
    from nwbdyn.workflows import archive_upload

    choices = {name: sending[name] for name in ACCESS}
    archive_upload.check_file(path, upload, *derived_from(fit), **choices)


def _upload(
    fit: "Fit",
    path: Path,
    upload: str,
    *,
    instance: str | None,
    dry_run: bool,
    replace: bool,
    quiet: bool,
) -> "tuple[ValidatedFile, UploadResult | None]":
    """Check the file, and send it unless this is a dry run."""
    from nwbdyn.results.fit_results import derived_from
    from nwbdyn.workflows import archive_upload

    try:
        with terminal.progress_display(quiet=quiet) as report:
            parcel = archive_upload.validate_for_upload(path, upload, report=report)
            if dry_run:
                return parcel, None
            receipt = archive_upload.send(
                parcel, *derived_from(fit), instance=instance, replace=replace, report=report
            )
            return parcel, receipt
    except KeyboardInterrupt:
        stopped = f"Stopped. {path} stays; run the same command again to go on with it."
        terminal.echo(f"\n{stopped}", err=True)
        documents.write_error(click.get_current_context(), "Interrupted", stopped, 130)
        sys.exit(130)


def _print_upload(parcel: "ValidatedFile", receipt: "UploadResult | None") -> None:
    if receipt is None:
        destination = f"{parcel.dandiset}/{parcel.asset_path} ({terminal.size(parcel.size)})"
        terminal.echo(
            f"Would send {destination}. The checks found no problem; add --send to send it."
        )
        return
    terminal.echo(f"Sent {receipt.asset.uri}")
    if receipt.relation:
        terminal.echo(receipt.relation)
    if receipt.rejections:
        terminal.echo(
            f"nwbdyn: The archive's validation rejects it: "
            f"{'; '.join(one.rstrip('. ') for one in receipt.rejections)}. "
            "Correct this and send it again with --overwrite --replace.",
            err=True,
        )
    elif receipt.pending:
        click.echo("The archive's validation is pending: its page of the dandiset shows the end.")


def _upload_fields(parcel: "ValidatedFile", receipt: "UploadResult | None") -> dict[str, Any]:
    return {
        "dandiset": parcel.dandiset,
        "asset_path": parcel.asset_path,
        "size": parcel.size,
        "sent": receipt is not None,
        "asset": None if receipt is None else receipt.asset.uri,
        "relation": "" if receipt is None else receipt.relation,
        "rejections": [] if receipt is None else list(receipt.rejections),
        "pending": receipt is not None and receipt.pending,
    }
