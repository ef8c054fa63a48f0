"""`nwbdyn notebook`: an executed notebook about one recording."""

from pathlib import Path
from typing import Any

import click

from nwbdyn.cli import documents, options, terminal

EXAMPLES = """\b
Examples:
  nwbdyn notebook sample:cortex -o cortex.ipynb
  nwbdyn notebook dandi:000140/sub-Jenkins/*small*train* -o jenkins.ipynb
"""


@click.command(
    "notebook", epilog=EXAMPLES, short_help="An executed notebook: stream, fit, look, export."
)
@options.address
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="Notebook to write: FILE.ipynb.",
)
@options.model(help="What is fitted; netformer if not given")
@click.option(
    "--updates",
    type=click.IntRange(min=1),
    help="Length of the fit.  [default: about a minute on this machine, at most 300]",
)
@click.option("--overwrite", is_flag=True, help="Replace an existing notebook.")
@documents.option
@options.opening
@options.instance
@options.quiet
def command(
    address: str,
    output: Path,
    model: str | None,
    updates: int | None,
    overwrite: bool,
    as_json: bool,
    quiet: bool,
    **opened: Any,
) -> None:
    """Write a notebook about the recording at ADDRESS, and run it.

    It streams the recording, shows it, fits a small model, and shows scores, connectivity, states
    where the recording has some, and the export. It needs the extra `nwbdyn[tutorials]`.
    """
    from nwbdyn.workflows import notebook

    with terminal.progress_display(quiet=quiet) as report:
        written = notebook.write(
            address,
            output,
            model=model or "netformer",
            updates=updates,
            opened=opened,
            overwrite=overwrite,
            report=report,
        )
    if not as_json:
        terminal.line(written.path)
        return
    plan = written.plan
    content = {
        "notebook": str(written.path),
        "address": plan.address,
        "model": plan.model,
        "updates": plan.updates,
        "states": plan.states,
        "num_cells": written.num_cells,
        "num_figures": written.num_figures,
    }
    documents.write("notebook", content)
