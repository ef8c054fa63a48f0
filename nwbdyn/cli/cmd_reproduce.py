"""`nwbdyn reproduce`: fit again what an exported file holds, and compare."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nwbdyn.cli import documents, options, terminal

if TYPE_CHECKING:
    from nwbdyn.workflows.reproduce import Reproduction


EXAMPLES = """\b
Examples:
  nwbdyn reproduce sub-m1_ses-s1_desc-netformer_ophys.nwb
  nwbdyn reproduce enriched.nwb --run netformer-1a2b3c4d --source lab.nwb
"""


@click.command(
    "reproduce", epilog=EXAMPLES, short_help="Fit again from an exported file alone, and compare."
)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--run", metavar="NAME", help="Name of the results, if FILE has several.")
@click.option("--source", metavar="ADDRESS", help="The recording, where it has moved.")
@click.option(
    "-o",
    "--output",
    "folder",
    type=click.Path(path_type=Path),
    help="Run directory for the second fit.  [default: not kept]",
)
@documents.option
@options.instance
@options.quiet
@click.pass_context
def command(
    context: click.Context,
    file: Path,
    run: str | None,
    source: str | None,
    folder: Path | None,
    as_json: bool,
    instance: str | None,
    quiet: bool,
) -> None:
    """Fit again from FILE alone, an NWB file that `export` wrote, and report the differences.

    The recording is opened again from its source and must give the same tensors. The exit code is
    1 where predictions or scores differ by more than two fits do on the same CPU with the same
    number of threads.
    """
    from nwbdyn.workflows.reproduce import reproduce

    with terminal.progress_display(quiet=quiet) as report:
        outcome = reproduce(
            file, run, source=source, instance=instance, folder=folder, report=report
        )
    if as_json:
        documents.write("reproduce", _document(file, outcome))
    else:
        terminal.echo("\n".join(_lines(outcome)))
    context.exit(0 if outcome.reproduced else 1)


def _document(file: Path, outcome: "Reproduction") -> dict[str, Any]:
    from nwbdyn.workflows.reproduce import METRICS, PREDICTIONS

    changed = {name: {"then": a, "now": b} for name, (a, b) in outcome.changed.items()}
    return {
        "file": str(file),
        "reproduced": outcome.reproduced,
        "model": outcome.fit.model,
        "source": outcome.fit.source.uri,
        "run": None if outcome.fit.run is None else str(outcome.fit.run),
        "predictions": {"difference": outcome.predictions, "limit": PREDICTIONS},
        "scores": {
            "difference": outcome.metrics,
            "limit": METRICS,
            "largest_in": outcome.metric if outcome.metrics else None,
        },
        "unmatched_scores": list(outcome.unmatched),
        "source_digest": dict(zip(("then", "now"), outcome.digests, strict=True)),
        "changed": changed,
    }


def _lines(outcome: "Reproduction") -> list[str]:
    from nwbdyn.workflows.reproduce import METRICS, PREDICTIONS

    rows = [
        ("predictions (SD)", f"{outcome.predictions:.1e}", f"{PREDICTIONS:.0e}", ""),
        ("scores", f"{outcome.metrics:.1e}", f"{METRICS:.0e}", outcome.metric),
    ]
    if not outcome.metrics:
        rows[1] = (*rows[1][:3], "")
    lines = [terminal.table(("", "difference", "limit", "largest in"), rows, wide=3), ""]
    then, now = outcome.digests
    same = "the same" if then == now else f"{then} then, {now} now"
    lines.append(f"Tensors that were fitted: the same. Digest of the source: {same}.")
    lines += [
        f"{name}: {before} then, {now} now." for name, (before, now) in outcome.changed.items()
    ]
    if outcome.unmatched:
        lines.append(f"Scores in one fit only: {', '.join(outcome.unmatched)}.")
    if outcome.reproduced:
        lines.append("Reproduced.")
    elif outcome.changed:
        lines.append(
            f"Not reproduced to the limit; different from then: {', '.join(outcome.changed)}."
        )
    else:
        lines.append("Not reproduced, although nothing that is recorded is different.")
    return lines
