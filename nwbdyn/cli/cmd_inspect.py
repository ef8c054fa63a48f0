"""`nwbdyn inspect`: what is in a recording, what a fit would use, and the command to run next."""

import shlex
import sys
import textwrap
from typing import TYPE_CHECKING, Any

import click

from nwbdyn.cli import benchmark_files, documents, options, terminal
from nwbdyn.errors import ConfigError, DataError, NoActivityError, NwbdynError
from nwbdyn.printable import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nwbdyn.recording import Note, Recording

_INDENT = 12  # columns of the names on the left
_SHOWN = 6  # rows of a list before "and N more"
FEWEST_NEURONS = 2  # with activity; fewer have nobody to be coupled to
SHORT = 3_000  # bins; a longer recording has windows enough for every model's defaults
LARGE = 10_000_000  # bins times neurons; a smaller recording fits on any machine
SPIKE_BIN = 0.020  # seconds, the widest that a model takes by itself
EXIT_SOME_FAILED = 3  # as of `fit`: some files could be read, and some not


EXAMPLES = """\b
Examples:
  nwbdyn inspect sample:cortex
  nwbdyn inspect dandi:000140/sub-Jenkins/*train* --json
  nwbdyn inspect sample:reach --where "firing_rate > 5" --model stndt
"""


@click.command(
    "inspect",
    epilog=EXAMPLES,
    short_help="What a recording holds, and what a fit of it would take.",
)
@options.address
@documents.option
@options.model(help="Also say what fitting this model would take")
@click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="With --model: a model option."
)
@options.opening
@options.instance
@options.quiet
def command(
    address: str,
    as_json: bool,
    model: str | None,
    settings: tuple[str, ...],
    instance: str | None,
    quiet: bool,
    **opened: Any,
) -> None:
    """Show what the recording at ADDRESS holds, without reading its large arrays.

    With --model, it times a few updates of that model on noise of the recording's size. For several
    files it ends with a table of all of them. A file with nothing to fit, or one that cannot be
    read, is listed with the reason. If one cannot be read, the exit code is 3.
    """
    from nwbdyn import archive
    from nwbdyn.cli import overview
    from nwbdyn.nwb.read.summary import summarise
    from nwbdyn.opening import open_source

    chosen = options.pairs(settings, "--set")
    _check_model(model, chosen)
    sources = archive.resolve(address, instance=instance)
    pairs = benchmark_files.pairs(sources)
    summaries: list[dict[str, Any]] = []
    fitted_with: list[str | None] = []
    with terminal.progress_display(quiet=quiet) as report:
        for source in sources:
            try:
                with open_source(source, report=report, **opened) as recording:
                    summary = summarise(recording)
                    if model is not None:
                        summary["cost"] = _cost(recording, model, chosen)
                    summary["benchmark"] = benchmark_files.layout(recording)
                    summary["test_file"] = pairs.test_of.get(source.uri)
                    summary["fitted_with"] = pairs.train_of.get(source.uri)
                    able = None if summary["fitted_with"] else _model(summary)
                    if able is not None:
                        summary["refused"] = _refusal(recording, summary, able)
                        able = None if summary["refused"] else able
                    fitted = address if summary["test_file"] else source.uri
                    summary["fit"] = able and _fit_command(
                        summary, able, fitted, settings, instance
                    )
            except NwbdynError as error:
                if len(sources) == 1 or isinstance(error, ConfigError):
                    raise
                status = "skipped" if isinstance(error, NoActivityError) else "error"
                able = None
                summary = {"source": {"uri": source.uri, "size": source.size}, status: str(error)}
            summaries.append(summary)
            fitted_with.append(able)
    if as_json:
        documents.write("inspect", {"address": address, "recordings": summaries})
    else:
        pages = [page(summary) for summary in summaries]
        if len(sources) > 1:
            pages.append(overview.table(summaries, fitted_with))
            pages += _fit_all(address, summaries, fitted_with, instance)
        terminal.echo("\n\n".join(pages))
    if not any("neurons" in summary for summary in summaries):
        sys.exit(1)
    if any("error" in summary for summary in summaries):
        sys.exit(EXIT_SOME_FAILED)


def page(summary: dict[str, Any]) -> str:
    """The page for one recording, at most 80 columns wide."""
    source = summary["source"]
    title = printable(str(source["uri"]))
    lines = [title, "=" * min(len(title), terminal.WIDTH)]
    if reason := summary.get("error") or summary.get("skipped"):
        return "\n".join([*lines, *textwrap.wrap(reason, terminal.WIDTH, break_on_hyphens=False)])
    from nwbdyn.recording import Note

    notes = [Note(**note) for note in summary["notes"]]
    lines += terminal.attention(notes)
    neurons, activity = summary["neurons"], summary["activity"]
    lines += _field("session", _session(summary))
    lines += _field("subject", _subject(summary["subject"]))
    lines += _field("neurons", _neurons(neurons))
    lines += _field("cell types", _counted(neurons["cell_types"], neurons["cell_type_source"]))
    lines += _field("locations", _counted(neurons["locations"], None))
    lines += _field("columns", _quality(neurons["quality"]))
    lines += _field("activity", _activity(activity))
    lines += _field("clock", _clock(summary["clock"]))
    lines += _field("trials", _trials(summary))
    if summary.get("benchmark"):
        lines += _field("benchmark", benchmark_files.words(summary["benchmark"]))
    lines += _field("behaviour", _behaviour(summary["behaviour"]))
    lines += _field("to read", _bytes(summary))
    if "cost" in summary:
        lines += _field("to fit", _cost_in_words(summary["cost"]))
    elif summary["fit"] is not None:
        lines += _field("to fit", "add --model NAME for an estimate of memory and time")
    lines += _notes(notes)
    if summary["fit"] is None:
        why = _why_no_fit(summary)
        lines += ["", *textwrap.wrap(why, terminal.WIDTH, break_on_hyphens=False)]
    else:
        test_file = summary["test_file"]
        together = f", together with its test file {printable(test_file)}" if test_file else ""
        lines += ["", *textwrap.wrap(f"Fit it{together}:", terminal.WIDTH, break_on_hyphens=False)]
        lines += [f"  {printable(summary['fit'])}"]
    return "\n".join(lines)


def _check_model(name: str | None, chosen: dict[str, object]) -> None:
    from nwbdyn import models

    if name is None:
        if chosen:
            raise click.UsageError("--set sets options of a model; pass --model NAME, too.")
        return
    model_class = models.load(name)
    from nwbdyn.fitting import model_options

    model_options.check_options(name, model_class, chosen)


def _cost(recording: "Recording", model: str, chosen: dict[str, object]) -> dict[str, Any]:
    from dataclasses import asdict

    from nwbdyn import models
    from nwbdyn.fitting.cost import estimate
    from nwbdyn.fitting.stages import edge_tests
    from nwbdyn.models.base import CO_SMOOTHING
    from nwbdyn.statistics.significance import LEVEL
    from nwbdyn.statistics.surrogates import SHIFT, Null

    try:
        cost = estimate(recording, model, options=chosen)
    except DataError as error:
        return {"model": model, "impossible": str(error)}
    null = Null(SHIFT, round(1 / LEVEL))
    co_smoothing = models.load(model).target == CO_SMOOTHING
    trainings = edge_tests.count(null, co_smoothing=co_smoothing)
    more = {"null": str(null), "null_trainings": trainings}
    return asdict(cost) | {"seconds": cost.seconds} | more


def _field(name: str, text: str) -> list[str]:
    if not text:
        return []
    body = textwrap.wrap(text, terminal.WIDTH - _INDENT, break_on_hyphens=False)
    return [
        (name if first else "").ljust(_INDENT) + line
        for line, first in zip(body, [True, *[False] * len(body)], strict=False)
    ]


def _bytes(summary: dict[str, Any]) -> str:
    unpacked, stored = summary["bytes_to_fit"], summary["bytes_stored"]
    text = f"{terminal.size(unpacked)} of activity"
    if stored is not None:
        text += f", {terminal.size(stored)} as stored"
    if summary["is_remote"]:
        text += ", over the network"
    size = summary["source"]["size"]
    return text + (f" (the file: {terminal.size(size)})" if size else "")


def _cost_in_words(cost: dict[str, Any]) -> str:
    if "impossible" in cost:
        return cost["impossible"]
    draws = cost["draws"]
    several = f", for each of {draws} draws of held-out neurons (--heldout-resamples 1 trains one)"
    again = cost["null_trainings"]
    more = f"trains it {again} times more: {terminal.duration(again * cost['seconds'])} at most"
    return (
        f"{cost['model']}: about {terminal.size(cost['memory'])} of memory; at most "
        f"{cost['updates']:,} updates of "
        f"{terminal.milliseconds(1000 * cost['seconds_per_update'])} each, timed "
        f"here on noise ({cost['device']}): {terminal.duration(cost['seconds'])}, without "
        f"validation and baselines{several if draws > 1 else ''}. --null {cost['null']} "
        f"{more if again else 'tests its edges without another training'}"
    )


def _quality(columns: dict[str, dict[str, Any]]) -> str:
    shown = [f"{name} {_column(column)}".rstrip() for name, column in columns.items()]
    if len(shown) > _SHOWN:
        shown[_SHOWN:] = [f"and {len(shown) - _SHOWN} more"]
    return "; ".join(shown)


def _column(column: dict[str, Any]) -> str:
    if "values" in column:
        words = (f"{word or 'empty'} {count}" for word, count in column["values"].items())
        return f"({', '.join(words)})"
    if "different" in column:
        return f"({column['different']} different)"
    if "min" not in column:
        return "(unknown)"
    least, middle, most = (_number(column[name]) for name in ("min", "median", "max"))
    return f"({least} in all)" if least == most else f"({least} to {most}, median {middle})"


def _number(value: float) -> str:
    """Three significant digits, and all digits before the point."""
    return f"{value:,.0f}" if 999.5 <= abs(value) < 1e9 else f"{value:.3g}"


def _session(summary: dict[str, Any]) -> str:
    parts = [summary["session_id"], summary["session_start_time"], summary["session_description"]]
    return " · ".join(str(part) for part in parts if part)


def _subject(subject: dict[str, str]) -> str:
    order = ("subject_id", "species", "sex", "age", "genotype", "strain")
    known = [_part(key, str(subject[key])) for key in order if subject.get(key)]
    missing = [key for key in ("subject_id", "species", "sex", "age") if not subject.get(key)]
    if missing:
        known.append(f"missing: {', '.join(missing)}")
    return " · ".join(known)


def _part(name: str, value: str) -> str:
    """Text of a subject field; a sex is one letter, so the name of the field stands before it."""
    return f"sex {value}" if name == "sex" else value


def _neurons(neurons: dict[str, Any]) -> str:
    kind = "units" if neurons["kind"] == "unit" else "ROIs"
    return f"{neurons['count']} {kind} in {neurons['table'] or 'no table'}"


def _counted(counts: dict[str, int] | None, origin: str | None) -> str:
    if not counts:
        return ""
    shown = [f"{name or 'unlabelled'} {count}" for name, count in list(counts.items())[:_SHOWN]]
    if len(counts) > _SHOWN:
        shown.append(f"and {len(counts) - _SHOWN} more")
    return ", ".join(shown) + (f" (from {origin})" if origin else "")


def _activity(activity: dict[str, Any]) -> str:
    if activity["quantity"] == "counts":
        text = f"{activity['num_spikes']:,} spikes"
        if stretches := activity["num_observed_intervals"]:
            text += f", observed in {stretches} interval{'s' if stretches > 1 else ''}"
        if empty := activity["empty_units"]:
            text += f", {empty} unit{'s' if empty > 1 else ''} without spikes"
        return f"{text}; couplings faster than 10 ms: fit with --null jitter:20"
    frames, rois = activity["shape"]
    series = activity["series"] or "one series per neuron"
    return f"{activity['quantity']}, {frames:,} frames x {rois} ROIs in {series}"


def _clock(clock: dict[str, float | None]) -> str:
    start, stop, length = clock["start"], clock["stop"], clock["duration"]
    if start is None or stop is None or length is None:
        return ""
    rate = f", {_number(clock['median_rate'])} Hz" if clock["median_rate"] else ""
    return f"{start:.1f} to {stop:.1f} s ({terminal.duration(length)}){rate}"


def _trials(summary: dict[str, Any]) -> str:
    tables = {"trials": summary["trials"]} if summary["trials"] else {}
    tables |= summary["intervals"]
    if not tables:
        return "none"
    shown = [f"{name} ({table['rows']} rows)" for name, table in list(tables.items())[:_SHOWN]]
    if len(tables) > _SHOWN:
        shown.append(f"and {len(tables) - _SHOWN} more")
    return ", ".join(shown)


def _behaviour(covariates: list[dict[str, Any]]) -> str:
    if not covariates:
        return "none"
    shown = []
    for covariate in covariates[:_SHOWN]:
        rate = f" at {_number(covariate['median_rate'])} Hz" if covariate["median_rate"] else ""
        channels = f" [{', '.join(covariate['channels'])}]" if covariate["channels"] else ""
        shown.append(f"{covariate['name']}{channels}{rate}")
    if len(covariates) > _SHOWN:
        shown.append(f"and {len(covariates) - _SHOWN} more")
    return ", ".join(shown)


def _notes(notes: "Sequence[Note]") -> list[str]:
    """Lines on all notes but the important ones, which stand at the top."""
    if not notes:
        return ["", "Nothing was skipped."]
    notes = [note for note in notes if not note.important]
    lines = ["", "Skipped or odd:"] if notes else []
    for note in notes[: 2 * _SHOWN]:
        lines += terminal.note_lines(note)
    if len(notes) > 2 * _SHOWN:
        lines.append(f"  and {len(notes) - 2 * _SHOWN} more; --json lists all")
    return lines


def _num_usable(summary: dict[str, Any]) -> int:
    """Number of neurons that may have activity; a fit may still leave out ROIs without any."""
    return summary["neurons"]["count"] - summary["activity"].get("empty_units", 0)


def _why_no_fit(summary: dict[str, Any]) -> str:
    if refused := _refused(summary):
        return f"A fit of all this is refused: see {' and '.join(refused)} above."
    if summary.get("refused"):
        return f"Nothing to fit: {summary['refused']}"
    if summary.get("fitted_with"):
        return f"A test file, which is fitted together with {printable(summary['fitted_with'])}."
    return (
        f"Nothing to fit: a coupling needs two neurons with activity, and there "
        f"{'is 1' if _num_usable(summary) == 1 else 'are 0'}."
    )


def _refused(summary: dict[str, Any]) -> list[str]:
    """Codes of the notes after which no fit is possible."""
    from nwbdyn.data.contradictions import REFUSED

    return [note["code"] for note in summary["notes"] if note["code"] in REFUSED]


def _model(summary: dict[str, Any]) -> str | None:
    """A model for such a recording: the requested one, if possible."""
    from nwbdyn.data.splits import FEWEST_HELD_OUT

    if _num_usable(summary) < FEWEST_NEURONS or _refused(summary):
        return None
    if _fits_request(summary):
        return str(summary["cost"]["model"])
    co_smoothing = summary["activity"]["quantity"] == "counts"
    enough = _num_usable(summary) >= 2 * FEWEST_HELD_OUT
    return "stndt" if co_smoothing and enough else "netformer"


def _refusal(recording: "Recording", summary: dict[str, Any], model: str) -> str | None:
    """Why a fit of this model would be refused; None where it would not.

    A recording that is neither short nor large is not looked at: torch takes seconds to import.
    """
    clock = summary["clock"]
    rate = clock["median_rate"] if summary["activity"]["quantity"] != "counts" else None
    num_bins = (clock["duration"] or 0) * (rate or 1 / SPIKE_BIN)
    if num_bins >= SHORT and num_bins * summary["neurons"]["count"] < LARGE:
        return None
    from nwbdyn.fitting import cost

    return cost.refusal(recording, model)


def _fits_request(summary: dict[str, Any]) -> bool:
    return "cost" in summary and "impossible" not in summary["cost"]


def _fit_all(
    address: str,
    summaries: "Sequence[dict[str, Any]]",
    models: "Sequence[str | None]",
    instance: str | None,
) -> list[str]:
    """The command that fits all recordings, where one model and the same options fit them all."""
    names = {model for model in models if model is not None}
    chosen = [summary["chosen"] for summary in summaries if summary.get("fit")]
    if len(names) != 1 or len(chosen) < 2 or any(chosen):
        return []
    words = ["nwbdyn", "fit", address, "--model", *names]
    words += [] if instance is None else ["--instance", instance]
    return [f"Fit all of them, one run each:\n  {printable(shlex.join(words))}"]


def _fit_command(
    summary: dict[str, Any],
    model: str,
    address: str,
    settings: tuple[str, ...],
    instance: str | None,
) -> str:
    """The command that fits; `settings` belong to the requested model."""
    if not _fits_request(summary):
        settings = ()
    words = ["nwbdyn", "fit", address, "--model", model]
    words += [word for setting in settings for word in ("--set", setting)]
    for name, value in summary["chosen"].items():
        if not name.endswith("_digest"):
            words += [f"--{name.replace('_', '-')}", str(value)]
    if instance is not None:
        words += ["--instance", instance]
    return shlex.join(words)
