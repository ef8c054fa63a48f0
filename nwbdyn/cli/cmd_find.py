"""`nwbdyn find`: recordings of an archive that meet conditions."""

import shlex
import textwrap
from typing import TYPE_CHECKING, Any

import click

from nwbdyn.cli import documents, options, terminal
from nwbdyn.printable import printable

if TYPE_CHECKING:
    from nwbdyn.workflows.find import Findings, Hit, Scope
    from nwbdyn.workflows.find_conditions import Conditions

EXAMPLES = """\b
Examples:
  nwbdyn find --units --species mouse --text "visual cortex"
  nwbdyn find --rois --min-neurons 100 --trials --inspect --json
  nwbdyn find dandi:000140 --units --inspect
"""
SCOPE = ("address", "instance", "text", "limit", "per_dandiset", "most_dandisets", "inspect")


@click.command(
    "find", epilog=EXAMPLES, short_help="Recordings of an archive that a fit could take."
)
@click.argument("address", required=False)
@click.option("--units", "activity", flag_value="units", help="Sorted units with spike times.")
@click.option("--rois", "activity", flag_value="traces", help="ROIs with traces.")
@click.option("--species", metavar="NAME", help='Latin or common name: mouse, "Rattus".')
@click.option("--region", metavar="NAME", help='Name or acronym in an atlas: VISp, "CA1".')
@click.option("--text", metavar="WORDS", help="Words in a dandiset's name or description.")
@click.option(
    "--min-neurons", type=click.IntRange(min=1), help="With --inspect: neurons with activity."
)
@click.option("--trials", is_flag=True, help="With --inspect: a table of trials.")
@click.option("--cell-types", is_flag=True, help="With --inspect: neurons with a cell type.")
@click.option("--results", is_flag=True, help="Results that nwbdyn wrote, not recordings.")
@click.option("--inspect", is_flag=True, help="Open files, and check what metadata cannot tell.")
@click.option(
    "--limit", type=click.IntRange(min=1), default=10, show_default=True, help="Files to list."
)
@click.option(
    "--per-dandiset",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    help="Files of one dandiset; without ADDRESS.",
)
@click.option(
    "--most-dandisets",
    type=click.IntRange(min=1),
    default=100,
    show_default=True,
    help="Dandisets to search, the last changed first.",
)
@documents.option
@options.instance
@options.quiet
@click.pass_context
def command(context: click.Context, as_json: bool, quiet: bool, **choices: Any) -> None:
    """Find recordings of an archive; each address in the list is one that `fit` takes.

    The archive's metadata states activity, species and some regions. It does not state numbers of
    neurons, trials or cell types: --inspect opens files until enough meet every condition. ADDRESS
    (dandi:ID) searches one dandiset. The exit code is 1 where nothing meets the conditions.
    """
    from nwbdyn.workflows.find import Scope, find
    from nwbdyn.workflows.find_conditions import Conditions

    if choices["address"] is not None and choices["text"] is not None:
        raise click.UsageError("--text selects dandisets, and ADDRESS names one. Leave one out.")
    scope = Scope(**{name: choices.pop(name) for name in SCOPE})
    conditions = Conditions(**choices)
    with terminal.progress_display(quiet=quiet) as report:
        findings = find(conditions, scope, report=report)
    if as_json:
        documents.write("find", _document(conditions, scope, findings))
    elif findings.hits:
        terminal.echo(_page(findings, scope, quiet=quiet))
    else:
        terminal.echo(_nothing(findings, scope))
    context.exit(0 if findings.hits else 1)


def _page(findings: "Findings", scope: "Scope", *, quiet: bool) -> str:
    """A table of the files, and the address of each; with --quiet the addresses only."""
    hits = findings.hits
    if quiet:
        return "\n".join(printable(hit.source.uri) for hit in hits)
    header = ["", "dandiset", "file", "holds", "species", "size"]
    rows = [[str(number), *_cells(hit)] for number, hit in enumerate(hits, start=1)]
    rows = terminal.narrowed(header, rows, {2: 14, 4: 12, 3: 12})
    lines = [terminal.table(header, rows, wide=2), ""]
    lines += [f"{number:>2}  {printable(hit.source.uri)}" for number, hit in enumerate(hits, 1)]
    lines += ["", *_wrapped(f"{_account(findings)}{_more(findings, scope)}")]
    look = "Fetch the first:" if hits[0].asset.is_result else "Look at the first:"
    lines += ["", look, terminal.command(_command(hits[0], scope))]
    return "\n".join(lines)


def _cells(hit: "Hit") -> list[str]:
    asset, source = hit.asset, hit.source
    if hit.contents is None:
        known = {"Units": "units", "PlaneSegmentation": "ROIs"}
        holds = ", ".join(word for name, word in known.items() if name in asset.variables)
    else:
        neurons, trials = hit.contents["neurons"], hit.contents["trials"]
        holds = f"{neurons['count']} {'units' if neurons['kind'] == 'unit' else 'ROIs'}"
        holds += f", {trials['rows']} trials" if trials else ""
    names = sorted(asset.species) or [(hit.contents or {}).get("subject", {}).get("species", "")]
    species = ", ".join(name.partition(" - ")[0] for name in names)
    name = (source.asset_path or "").rsplit("/", 1)[-1]
    return [source.dandiset_id or "", name, holds, species, terminal.size(source.size)]


def _command(hit: "Hit", scope: "Scope") -> list[str]:
    words = ["nwbdyn", "fetch" if hit.asset.is_result else "inspect", hit.source.uri]
    words += [word for name, value in (hit.chosen or {}).items() for word in (f"--{name}", value)]
    return words + (["--instance", scope.instance] if scope.instance else [])


def _account(findings: "Findings") -> str:
    matching = {hit.source.dandiset_id: hit.num_matching for hit in findings.hits}
    text = (
        f"{len(findings.hits)} of {sum(matching.values()):,} files that match in "
        f"{_number(len(matching), 'dandiset')}; searched {_searched(findings)}."
    )
    if findings.unread:
        text += f" {_number(len(findings.unread), 'file')} could not be read; --json lists them."
    return text


def _more(findings: "Findings", scope: "Scope") -> str:
    """How to list the files that match and are not in the table; empty where all are."""
    matching = {hit.source.dandiset_id: hit.num_matching for hit in findings.hits}
    if len(findings.hits) >= sum(matching.values()):
        return ""
    if len(findings.hits) == scope.limit:
        return " --limit N lists more."
    if scope.address is None:
        return " --per-dandiset N lists more of each dandiset."
    return ""


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, terminal.WIDTH, break_on_hyphens=False)


def _searched(findings: "Findings") -> str:
    return (
        f"{findings.num_dandisets} of {_number(findings.num_listed, 'dandiset')} of "
        f"{findings.archive}"
    )


def _number(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _nothing(findings: "Findings", scope: "Scope") -> str:
    """Text for an empty search: what was searched, and how many files each condition removed."""
    where = f" whose metadata holds '{scope.text}'" if scope.text else ""
    lines = textwrap.wrap(
        f"Nothing found. Searched {_searched(findings)}{where}, "
        f"{_number(findings.num_files, 'file')}.",
        terminal.WIDTH,
    )
    if findings.removed:
        rows = [
            (_label(one.condition), f"{one.num_files:,}", f"{one.num_unstated:,}")
            for one in findings.removed
        ]
        lines += ["", terminal.table(("condition", "removed", "of them not stated"), rows)]
    for _, reason in findings.unread[:1]:
        text = f"The first that could not be read: {printable(reason)}"
        lines += ["", *textwrap.wrap(text, terminal.WIDTH, break_on_hyphens=False)]
    lines += ["", *textwrap.wrap(_next_step(findings, scope), terminal.WIDTH)]
    return "\n".join(lines)


def _label(condition: str) -> str:
    labels = {"activity": "--units, --rois", "results": "results or recordings"}
    option = f"--{condition.replace('_', '-')}"
    return labels.get(condition, condition if " " in condition else option)


def _next_step(findings: "Findings", scope: "Scope") -> str:
    if not findings.num_listed:
        return "The archive lists no dandiset with these words: use fewer, or others."
    if any(one.num_unstated for one in findings.removed) and not scope.inspect:
        return "Where the metadata states nothing, --inspect looks into the files."
    if findings.num_skipped:
        return (
            f"{_number(findings.num_skipped, 'file')} of large dandisets were left out. ADDRESS "
            "takes every file of one dandiset: nwbdyn find dandi:ID."
        )
    if findings.num_dandisets < findings.num_listed:
        return f"Search more with --most-dandisets {findings.num_listed}, or narrow with --text."
    if not findings.num_files:
        return "The archive lists no files here."
    if len(findings.unread) == findings.num_files:
        return "No file could be read; --json lists the reasons."
    return "Leave out a condition."


def _document(conditions: "Conditions", scope: "Scope", findings: "Findings") -> dict[str, Any]:
    removed = [
        {"condition": one.condition, "num_files": one.num_files, "num_unstated": one.num_unstated}
        for one in findings.removed
    ]
    return {
        "archive": findings.archive,
        "address": scope.address,
        "text": scope.text,
        "conditions": conditions.given(),
        "inspected": scope.inspect,
        "num_listed": findings.num_listed,
        "num_dandisets": findings.num_dandisets,
        "num_files": findings.num_files,
        "removed": removed,
        "num_skipped": findings.num_skipped,
        "hits": [_hit(hit, scope) for hit in findings.hits],
        "unread": [{"address": uri, "reason": reason} for uri, reason in findings.unread],
    }


def _hit(hit: "Hit", scope: "Scope") -> dict[str, Any]:
    asset, contents = hit.asset, hit.contents
    opened = None
    if contents is not None:
        trials = contents["trials"]
        opened = {
            "num_neurons": contents["neurons"]["count"],
            "quantity": contents["activity"]["quantity"],
            "duration": contents["clock"]["duration"],
            "num_trials": None if trials is None else trials["rows"],
            "cell_types": contents["neurons"]["cell_types"],
            "locations": contents["neurons"]["locations"],
            "options": hit.chosen,
        }
    return {
        "address": hit.source.uri,
        "dandiset": hit.source.dandiset_id,
        "version": hit.source.version,
        "dandiset_name": hit.dandiset_name,
        "path": hit.source.asset_path,
        "size": hit.source.size,
        "subject": asset.subject,
        "species": sorted(asset.species),
        "anatomy": list(asset.anatomy),
        "variables": sorted(asset.variables),
        "num_matching": hit.num_matching,
        "contents": opened,
        "next": shlex.join(_command(hit, scope)),
    }
