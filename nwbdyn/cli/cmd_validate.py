"""`nwbdyn validate`: the couplings of a run against a known wiring."""

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nwbdyn.cli import options, terminal

if TYPE_CHECKING:
    from nwbdyn.evaluation.connectome_comparison import Validation

_SHORT = {"precision_at_k": "prec@k", "sign_accuracy": "sign", "direction": "direct."}
_MOST_NAMES = 20  # that are listed


EXAMPLES = """\b
Examples:
  nwbdyn validate runs/worm --edges connectome.csv --name-column label
  nwbdyn validate runs/cortex
"""


@click.command("validate", epilog=EXAMPLES, short_help="Score couplings against a known wiring.")
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--edges",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="CSV file with pre, post and weight.  [default: what was planted in a sample]",
)
@click.option(
    "--name-column", default="id", show_default=True, help="Column of the neurons with the names."
)
@click.option("--undirected", is_flag=True, help="The wiring does not say who sends.")
@click.option("--within", metavar="COLUMN", help="Shuffle names inside these groups only.")
@click.option(
    "--shuffles",
    type=click.IntRange(min=1),
    default=1000,
    show_default=True,
    help="Shuffles of the names, for the null.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the shuffles.")
@options.quiet
def command(
    run: Path,
    edges: Path | None,
    name_column: str,
    undirected: bool,
    within: str | None,
    shuffles: int,
    seed: int,
    quiet: bool,
) -> None:
    """Score the couplings of RUN against a known wiring, beside simple methods and a null."""
    from nwbdyn.evaluation.connectome_comparison import validate
    from nwbdyn.results.fit_results import load

    fit = load(run)
    with terminal.progress_display(quiet=quiet) as report:
        found = validate(
            fit,
            edges,
            name_column=name_column,
            directed=not undirected,
            within=within,
            shuffles=shuffles,
            seed=seed,
            report=report,
        )
    terminal.echo(_table(found))
    terminal.say(_sentences(found, shuffles), quiet=quiet)


def _table(found: "Validation") -> str:
    scores = list(found.table.columns)
    rows = [
        [name, *(_number(value) for value in row)]
        for name, row in zip(found.table.index, found.table.to_numpy(), strict=True)
    ]
    rows.append(["shuffled, 97.5 %", *(_number(found.null["high"][name]) for name in scores)])
    rows.append(["p of the model", *(_number(found.null["p"][name]) for name in scores)])
    return terminal.table(["", *(_SHORT.get(name, name) for name in scores)], rows)


def _sentences(found: "Validation", shuffles: int) -> str:
    kind = "directed" if found.directed else "undirected"
    said = [
        f"{found.num_edges} of {found.num_pairs} {kind} pairs of {found.num_neurons} neurons are "
        f"edges. Model: {found.measure}. Shuffled: names of the model's neurons, {shuffles} times."
    ]
    if not found.signed:
        said.append("The wiring has no negative weight, so sizes are compared and signs are not.")
    said += [
        f"{len(names)} {what}: {_listed(names)}."
        for names, what in (
            (found.held_out, "neurons that were held out and so have no couplings"),
            (found.unmapped, "names in the wiring that no neuron has"),
            (found.ambiguous, "names that several neurons have, left out"),
            (found.unnamed, "neurons that the wiring does not name, left out"),
        )
        if names
    ]
    return "\n".join(["", *(textwrap.fill(line, terminal.WIDTH) for line in said)])


def _listed(names: tuple[str, ...]) -> str:
    more = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def _number(value: float) -> str:
    return "" if value != value else f"{value:.3f}"
