"""`nwbdyn validate`: the couplings of a run against a known wiring."""

import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nwbdyn.cli import documents, options, terminal
from nwbdyn.errors import NwbdynError

if TYPE_CHECKING:
    from nwbdyn.evaluation.connectome_comparison import Validation

_SHORT = {"precision_at_k": "prec@k", "sign_accuracy": "sign", "direction": "direct."}
EXIT_SOME_FAILED = 3
_MOST_NAMES = 20  # that are listed


EXAMPLES = """\b
Examples:
  nwbdyn validate runs/worm --edges connectome.csv --name-column label
  nwbdyn validate runs/worm --edges worm:White_whole --name-column label
  nwbdyn validate runs/cortex
  nwbdyn validate runs/worms --edges worm:White_whole --name-column label
"""


@click.command("validate", epilog=EXAMPLES, short_help="Score couplings against a known wiring.")
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--edges",
    metavar="FILE|worm:NAME",
    help="CSV file with pre, post and weight, or a published wiring of C. elegans.  [default: what "
    "was planted in a sample]",
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
@documents.option
@options.quiet
def command(
    run: Path,
    edges: str | None,
    undirected: bool,
    as_json: bool,
    quiet: bool,
    **choices: Any,
) -> None:
    """Score the couplings of RUN against a known wiring, beside simple methods and a null.

    RUN may be a folder of several runs, which are compared with the same wiring: the table then
    has one row per recording.
    """
    if edges is not None and not edges.startswith("worm:") and not Path(edges).is_file():
        raise click.UsageError(f"--edges: there is no file '{edges}'.")
    from nwbdyn.evaluation.connectome_comparison import validate
    from nwbdyn.results import run_folder
    from nwbdyn.results.fit_results import load

    runs = run_folder.runs_in(run)
    compared: dict[Path, Validation] = {}
    failed: dict[Path, str] = {}
    with terminal.progress_display(quiet=quiet) as report:
        for one in runs or (run,):
            try:
                fit = load(one)
                compared[one] = validate(
                    fit, edges, directed=not undirected, report=report, **choices
                )
            except NwbdynError as error:
                if not runs:
                    raise
                failed[one] = str(error)
    failed |= dict.fromkeys(run_folder.incomplete_in(run), f"{run_folder.INCOMPLETE}.")
    if as_json:
        documents.write("validate", _content(run, compared, failed, runs, choices["shuffles"]))
    elif runs:
        if compared:
            terminal.echo(_table_of_runs(compared))
            p = f"p: of the first score, against {choices['shuffles']} shuffles of the names."
            terminal.say(f"\n{p}", quiet=quiet)
        for text in _reasons(failed):
            terminal.echo(text, err=True)
    else:
        terminal.echo(_table(compared[run]))
        terminal.say(_sentences(compared[run], choices["shuffles"]), quiet=quiet)
    if failed:
        sys.exit(EXIT_SOME_FAILED if compared else 1)


def _reasons(failed: Mapping[Path, str]) -> list[str]:
    """One text per reason, with the runs that were not compared for this reason."""
    runs: dict[str, list[Path]] = {}
    for run, reason in failed.items():
        runs.setdefault(reason, []).append(run)
    texts = []
    for reason, some in runs.items():
        names = ", ".join(run.name for run in some)
        who = str(some[0]) if len(some) == 1 else f"{len(some)} runs in {some[0].parent} ({names})"
        texts.append(f"nwbdyn: {who}: {reason}")
    return texts


def _content(
    run: Path,
    compared: "Mapping[Path, Validation]",
    failed: Mapping[Path, str],
    runs: Sequence[Path],
    shuffles: int,
) -> dict[str, Any]:
    """Fields of the document: of one run, or a list with an entry per run of a folder."""
    if not runs:
        return _document(run, compared[run], shuffles)
    entries = [
        {**_document(one, compared[one], shuffles), "reason": None}
        if one in compared
        else {"run": str(one), "reason": failed[one]}
        for one in dict.fromkeys((*runs, *failed))
    ]
    return {"run": str(run), "runs": entries}


def _table_of_runs(compared: "Mapping[Path, Validation]") -> str:
    """One row per run: the scores of its model, and the p of its first score."""
    names = list(next(iter(compared.values())).table.columns)
    rows = [
        [
            run.name,
            str(one.num_neurons),
            *(_number(one.table.iloc[0][name]) for name in names),
            _number(one.null["p"][names[0]]),
        ]
        for run, one in compared.items()
    ]
    header = ["run", "neurons", *(_SHORT.get(name, name) for name in names)]
    return terminal.table([*header, "p"], rows)


def _document(run: Path, validation: "Validation", shuffles: int) -> dict[str, Any]:
    null = validation.null
    return {
        "run": str(run),
        "measure": validation.measure,
        "num_neurons": validation.num_neurons,
        "num_pairs": validation.num_pairs,
        "num_edges": validation.num_edges,
        "directed": validation.directed,
        "signed": validation.signed,
        "scores": {str(name): row.to_dict() for name, row in validation.table.iterrows()},
        "null": {"shuffles": shuffles} | {str(name): null[name].to_dict() for name in null},
        "held_out": list(validation.held_out),
        "unmapped": list(validation.unmapped),
        "ambiguous": list(validation.ambiguous),
        "unnamed": list(validation.unnamed),
    }


def _table(validation: "Validation") -> str:
    scores = list(validation.table.columns)
    rows = [
        [name, *(_number(value) for value in row)]
        for name, row in zip(validation.table.index, validation.table.to_numpy(), strict=True)
    ]
    rows.append(["shuffled, 97.5 %", *(_number(validation.null["high"][name]) for name in scores)])
    rows.append(["p of the model", *(_number(validation.null["p"][name]) for name in scores)])
    return terminal.table(["", *(_SHORT.get(name, name) for name in scores)], rows)


def _sentences(validation: "Validation", shuffles: int) -> str:
    kind = "directed" if validation.directed else "undirected"
    sentences = [
        f"{validation.num_edges} of {validation.num_pairs} {kind} pairs of "
        f"{validation.num_neurons} neurons are edges. Model: {validation.measure}. Shuffled: names "
        f"of the model's neurons, {shuffles} times."
    ]
    if not validation.signed:
        sentences.append(
            "The wiring has no negative weight, so sizes are compared and signs are not."
        )
    sentences += [
        f"{len(names)} {what}: {_listed(names)}."
        for names, what in (
            (validation.held_out, "neurons that were held out and so have no couplings"),
            (validation.unmapped, "names in the wiring that no neuron has"),
            (validation.ambiguous, "names that several neurons have, left out"),
            (validation.unnamed, "neurons that the wiring does not name, left out"),
        )
        if names
    ]
    return "\n".join(["", *(textwrap.fill(line, terminal.WIDTH) for line in sentences)])


def _listed(names: tuple[str, ...]) -> str:
    more = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def _number(value: float) -> str:
    return "" if value != value else f"{value:.3f}"
