"""One HTML page over a folder of runs: a row per recording, with links to their pages."""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from matplotlib.axes import Axes

from nwbdyn import disclosure
from nwbdyn.evaluation import over_recordings, scoring
from nwbdyn.evaluation.numbers import signed
from nwbdyn.evaluation.over_recordings import Standing
from nwbdyn.report import page, style
from nwbdyn.results import fit_results, run_directory, run_folder
from nwbdyn.results.sections.coupling import CouplingGain
from nwbdyn.results.sections.edges import EdgeTests
from nwbdyn.workflows import batch, batch_request

_ROW = 0.28  # inches of the figure per recording
_LEAST_AXIS = 0.005  # differences that the figure shows at least
_COLUMNS = {  # of the table: field of a row -> its heading; numbers are those from "neurons" on
    "model": "model",
    "word": "model is",
    "baseline": "best baseline",
    "neurons": "neurons",
    "score": "score",
    "baseline_score": "its score",
    "difference": "difference",
    "interval": "95 % interval",
    "coupling": "coupling adds",
    "edges": "q < .05",
}
_TEXTS = ("model", "word", "baseline")


@dataclass(frozen=True)
class RunSummary:
    """Scores and edges of one run, as its row shows them."""

    run: Path
    name: str  # of the recording
    model: str
    num_neurons: int
    standing: Standing
    interval: tuple[float, float] | None  # 95 %, of the difference from the best baseline
    coupling: float | None  # gain from coupling on test, of the primary metric
    num_significant: int | None  # edges with q below .05; None without a null
    notes: tuple[str, ...]  # those that change what the numbers mean


def of_run(run: Path) -> RunSummary:
    """Summary of a complete run.

    Raises:
        ResultsError: the run is incomplete or damaged.
    """
    fit = fit_results.shareable(fit_results.load(run, recorded=False))
    metrics: dict[str, Any] = fit.metrics
    comparison = over_recordings.standing(metrics)
    tested, gain = EdgeTests.from_metrics(metrics), CouplingGain.from_metrics(metrics)
    added = None if gain is None or gain.all_zero else gain.decisive.adds
    if added is not None and math.isnan(added):
        added = None
    return RunSummary(
        run=run,
        name=fit.source.name,
        model=fit.model,
        num_neurons=len(fit.neurons),
        standing=comparison,
        interval=_interval(metrics, comparison),
        coupling=added,
        num_significant=None if tested is None or tested.withheld else tested.num_significant,
        notes=tuple(str(note) for note in fit.notes if note.important),
    )


def sentences(summaries: Sequence[RunSummary]) -> list[str]:
    """One sentence per model over its recordings."""
    by_model: dict[str, list[Standing]] = {}
    for one in summaries:
        by_model.setdefault(one.model, []).append(one.standing)
    texts = (over_recordings.sentence(model, comparison) for model, comparison in by_model.items())
    return [sentence for sentence in texts if sentence]


def write(folder: Path, runs: Sequence[Path], path: Path) -> Path:
    """Write the page of a folder of runs; an earlier one is replaced.

    Args:
        folder: of the runs.
        runs: its complete runs; where a run has a page, its row links to it.

    Raises:
        ResultsError: a run is damaged, or `path` cannot be written.
    """
    summaries = [of_run(run) for run in runs]
    with page.written(path) as partial:
        partial.write_text(render(folder, summaries, path.parent), encoding="utf-8")
    return path


def render(folder: Path, summaries: Sequence[RunSummary], base: Path) -> str:
    """The page as a string; links are relative to `base`."""
    metrics = sorted({f"{one.standing.metric} on {one.standing.split}" for one in summaries})
    left_out = _left_out(folder)
    drawn = [one for one in summaries if one.standing.difference is not None]
    models = sorted({one.model for one in summaries})
    return (
        page.environment()
        .get_template("summary.html.jinja")
        .render(
            title=f"{', '.join(models)} on {_counted({one.name for one in summaries})}",
            subtitle=f"{folder.name}: {len(summaries)} runs"
            + (f", and {len(left_out)} without a fit" if left_out else ""),
            sentences=sentences(summaries),
            columns=_columns(
                [_row(one, base, folder) for one in summaries], several=len(models) > 1
            ),
            metrics=", ".join(metrics),
            rows=[_row(one, base, folder) for one in summaries],
            figure=page.svg(differences(drawn), "differences") if drawn else None,
            left_out=left_out,
            notes=[(one.name, note) for one in summaries for note in one.notes],
        )
    )


def _left_out(folder: Path) -> list[dict[str, str]]:
    """Name, status and reason of every recording without a fit, and of every incomplete run."""
    rows = [row for row in batch_request.summary(folder) if row["status"] != batch.FITTED]
    listed = [
        {
            "name": disclosure.file_name(row["uri"]),
            "status": row["status"],
            "reason": disclosure.of_text(str(row.get("reason") or "")),
        }
        for row in rows
    ]
    known = {Path(str(row.get("run") or "")).name for row in rows}
    return listed + [
        {"name": run.name, "status": "incomplete", "reason": f"{run_directory.CONTINUE}."}
        for run in run_folder.incomplete_in(folder)
        if run.name not in known
    ]


def differences(summaries: Sequence[RunSummary]) -> Axes:
    """Score minus that of the best baseline, one row per recording, with intervals."""
    axes = style.axes_or(None, size=(style.WIDE, 0.9 + _ROW * len(summaries)))
    several = len({one.model for one in summaries}) > 1
    with style.house():
        for row, one in enumerate(reversed(summaries)):
            if one.interval is not None:
                axes.plot(one.interval, [row, row], color=style.MODEL, alpha=0.5, linewidth=2)
            axes.plot([one.standing.difference or 0.0], [row], "D", color=style.MODEL)
        axes.axvline(0, color=style.INK, linewidth=0.5)
        axes.axvspan(-scoring.SAME, scoring.SAME, color=style.QUIET, alpha=0.25, linewidth=0)
        low, high = axes.get_xlim()
        axes.set_xlim(min(low, -_LEAST_AXIS), max(high, _LEAST_AXIS))
        names = [f"{one.name}, {one.model}" if several else one.name for one in summaries]
        axes.set_yticks(range(len(summaries)), names[::-1])
        axes.set_ylim(-0.6, len(summaries) - 0.4)
        axes.set_xlabel("model minus best baseline")
        axes.grid(axis="x", alpha=0.3)
    return axes


def _counted(names: set[str]) -> str:
    return next(iter(names)) if len(names) == 1 else f"{len(names)} recordings"


def _columns(rows: Sequence[dict[str, str]], *, several: bool) -> list[tuple[str, str, bool]]:
    """Field, heading and "is a number" of every column that has an entry."""
    return [
        (field, heading, field not in _TEXTS)
        for field, heading in _COLUMNS.items()
        if any(row[field] for row in rows) and (several or field != "model")
    ]


def _interval(metrics: dict[str, Any], comparison: Standing) -> tuple[float, float] | None:
    """Of the difference: over draws of held-out neurons where there are several."""
    if "draws" in metrics:
        ends = metrics["draws"].get("intervals", {}).get("difference")
    else:
        by_split = metrics.get("intervals", {}).get("difference", {})
        ends = by_split.get(comparison.split, {}).get(comparison.metric)
    return None if not ends or None in ends else (float(ends[0]), float(ends[1]))


def _row(one: RunSummary, base: Path, folder: Path) -> dict[str, str]:
    comparison = one.standing
    return {
        "name": one.name,
        "page": _link(one.run / run_directory.REPORT, base, folder),
        "model": one.model,
        "neurons": f"{one.num_neurons:,}",
        "score": _number(comparison.score),
        "baseline": comparison.baseline or "",
        "baseline_score": _number(comparison.baseline_score),
        "difference": "" if comparison.difference is None else signed(comparison.difference),
        "interval": "" if one.interval is None else " to ".join(map(signed, one.interval)),
        "word": comparison.word,
        "coupling": "" if one.coupling is None else signed(one.coupling),
        "edges": "" if one.num_significant is None else f"{one.num_significant:,}",
    }


def _link(page: Path, base: Path, folder: Path) -> str:
    """Link to the page of a run; none where it would name folders outside of `base` or `folder`."""
    if not page.exists():
        return ""
    for absolute in (Path.absolute, Path.resolve):  # a run may be a link to elsewhere
        target, start, top = map(absolute, (page, base, folder))
        together = target.is_relative_to(top) and start.is_relative_to(top)
        if together or target.is_relative_to(start):
            return quote(Path(os.path.relpath(target, start)).as_posix())
    return ""


def _number(value: float | None) -> str:
    return "" if value is None or value != value else f"{value:.3f}"
