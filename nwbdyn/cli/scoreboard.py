"""The table at the end of a fit: the model beside its baselines, and who won in a sentence."""

import json
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from nwbdyn.cli import terminal
from nwbdyn.connectivity import strongest_edges
from nwbdyn.evaluation import mean_prediction, over_recordings, verdict
from nwbdyn.evaluation.over_recordings import FEWEST_FLIPPED, Standing
from nwbdyn.printable import printable
from nwbdyn.results import damage
from nwbdyn.results.fit_results import Fit
from nwbdyn.results.sections.benchmark import BenchmarkResult, Submission
from nwbdyn.results.sections.difference import span
from nwbdyn.workflows.batch import FITTED, SessionResult

_MOST_CANDIDATES = 20  # of a sweep, on a terminal
_MOST_SESSIONS = 20  # of a joint fit, whose edges are shown on a terminal
_MOST_NOTES = 6  # of several recordings, on a terminal
_MOST_HORIZONS = 2  # of them; the others are in metrics.json and in the report
_SHRINKING = {7: 8, 2: 12, 0: 8, 1: 8}  # columns of an edge that are cut, and their least widths
_MOST_SECONDARY = 4  # columns beside the primary metric that fit on a terminal


def of_fit(fit: Fit) -> str:
    """The primary metric on validation and test with its interval, other metrics on test.

    Above them are the notes that change what the numbers mean. The model stands first, then its
    baselines; a baseline without a score leaves the cell empty.

    Raises:
        ResultsError: the fit was read from files with a value of the wrong kind.
    """
    with damage.as_error(fit.name):
        return "\n".join(_lines(fit))


def _lines(fit: Fit) -> list[str]:
    metrics: dict[str, Any] = fit.metrics
    metric, split = metrics["primary"]["metric"], metrics["primary"]["split"]
    scores = {fit.model: metrics["model"], **verdict.parts(metrics), **metrics["baselines"]}
    intervals = metrics.get("intervals", {})
    by_interval = {fit.model: intervals.get("model", {}), **intervals.get("baselines", {})}
    known = mean_prediction.without_skill(metrics, list(metrics["model"].get(split, {})))
    others = _secondary(known, metric)
    header = ["", f"{metric} val", f"{metric} {split}", "95 % interval", *others]
    rows = [
        [
            name,
            _number(by_split.get("val", {}).get(metric)),
            _number(by_split.get(split, {}).get(metric)),
            span(by_interval.get(name, {}).get(split, {}).get(metric)),
            *(_number(by_split.get(split, {}).get(other)) for other in others),
        ]
        for name, by_split in scores.items()
    ]
    sentences = verdict.sentences(metrics, fit.model)
    sentences += verdict.of_training(fit.history, fit.config)
    nothing = mean_prediction.sentence(metrics, fit.model)
    sentences += [] if nothing else verdict.of_bins(fit.binning, metrics)
    wrapped = [textwrap.fill(sentence, terminal.WIDTH) for sentence in sentences]
    table = terminal.table(header, rows)
    lines = [*terminal.attention(fit.notes), *of_sweep(fit), table, "", *wrapped]
    if not (nothing and "measure" not in fit.edges.attrs):  # edges of spike times stay
        lines += of_edges(fit)
    return lines + of_benchmark(metrics, fit.model)


def of_edges(fit: Fit) -> list[str]:
    """The strongest edges as a table; none where the edge matrix is empty."""
    rows = strongest_edges.rows(fit.edges)
    if not rows:
        return []
    shown = len(strongest_edges.HEADER) - (not any(row[-1] for row in rows))  # without empty flags
    header, rows = strongest_edges.HEADER[:shown], [row[:shown] for row in rows]
    above = f"The {len(rows)} strongest of {len(fit.edges):,} edges (all in edges.csv):"
    return ["", above, terminal.table(header, terminal.narrowed(header, rows, _SHRINKING))]


def of_sweep(fit: Fit) -> list[str]:
    """The candidates of a sweep, the best on validation first, then those that failed."""
    request: Any = fit.environment.get("asked", {})
    if "sweep" not in request or "candidates" not in fit.metrics:  # one candidate: no choice
        return []
    return _candidates(fit.metrics["candidates"])


def _candidates(candidates: Any) -> list[str]:
    """One column per option that differs; those that a terminal has no room for are named below."""
    ranked = sorted(candidates, key=lambda row: (row["validation"] is None, row["validation"]))
    shown = ranked[:_MOST_CANDIDATES]
    names = list(ranked[0]["options"])
    columns = [[name, *(_option(row["options"][name]) for row in shown)] for name in names]
    outcome = [
        ["validation loss", *(_loss(row["validation"]) for row in shown)],
        ["epoch", *("" if row["epoch"] is None else str(row["epoch"]) for row in shown)],
        ["", *(_became(row) for row in shown)],
    ]
    while len(columns) > 1 and _width(columns + outcome) > terminal.WIDTH:
        columns.pop()
    header, *rows = zip(*columns, *outcome, strict=True)
    tail = []
    if len(columns) < len(names):
        left_out = ", ".join(names[len(columns) :])
        tail.append(textwrap.fill(f"and {left_out} in metrics.json", terminal.WIDTH))
    if len(ranked) > len(shown):
        tail.append(f"and {len(ranked) - len(shown)} more candidates in metrics.json")
    failed = next((row for row in candidates if row["validation"] is None), None)
    if failed is not None:
        tail.append(textwrap.fill(f"The first that failed: {failed['reason']}", terminal.WIDTH))
    return [terminal.table(header, rows), *tail, ""]


def _became(candidate: dict[str, Any]) -> str:
    if candidate["chosen"]:
        return "chosen"
    if candidate["validation"] is None:
        return "failed"
    return "given up" if candidate.get("reason") else ""  # by ASHA, which knows its loss so far


def _option(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    return value if isinstance(value, str) else json.dumps(value)


def _loss(value: float | None) -> str:
    return "" if value is None else f"{value:.5g}"


def _width(columns: Sequence[Sequence[str]]) -> int:
    return sum(max(map(len, column)) for column in columns) + 2 * (len(columns) - 1)


def of_joint(
    metrics: Mapping[str, Any],
    model: str,
    *,
    swept: bool = False,
    each: Mapping[str, dict[str, Any]] = {},
) -> str:
    """One row per session that shares a model, and how often it beats the best baseline.

    Args:
        swept: its settings are those of a sweep, whose candidates stand above.
        each: session -> its own metrics; where a null was run, what they say of its edges is below.
    """
    rows = [
        [
            name,
            _number(session["model"]),
            session["baseline_name"] or "",
            _number(session["baseline"]),
            span(session["interval"]),
        ]
        for name, session in metrics["sessions"].items()
    ]
    metric = f"{metrics['metric']} {metrics['split']}"
    table = terminal.table(["session", metric, "best baseline", "its score", "difference"], rows)
    shared, number = metrics["num_shared_neurons"], len(rows)
    neurons = f"{shared} neuron" + ("" if shared == 1 else "s")
    sentences = [f"{model} shares its weights over {number} recordings, with {neurons} in common."]
    paired = metrics["difference"]
    if paired is not None:
        level = f" and level with it in {paired['num_level']}" if paired.get("num_level") else ""
        sentences.append(
            f"It scores above the best baseline in {paired['num_above']} of "
            f"{paired['num_sessions']} recordings{level}; the mean difference is "
            f"{paired['mean']:+.3f}{_sign_flip(paired)}."
        )
    agreeing = [r for r in metrics.get("seeds_agree", {}).values() if r is not None]
    if agreeing:
        sentences.append(
            f"Mean couplings of two seeds agree at r = {min(agreeing):.2f} to {max(agreeing):.2f}."
        )
    above = _candidates(metrics["candidates"]) if swept and "candidates" in metrics else []
    by_session = {
        name: sentence for name, own in each.items() if (sentence := verdict.of_edges(own))
    }
    below = [
        textwrap.fill(f"{name}: {sentence}", terminal.WIDTH)
        for name, sentence in list(by_session.items())[:_MOST_SESSIONS]
    ]
    if len(by_session) > len(below):
        below.append(
            f"and {len(by_session) - len(below)} more, each in the report of its recording"
        )
    return "\n".join(
        [*above, table, "", textwrap.fill(" ".join(sentences), terminal.WIDTH), *below]
    )


def _sign_flip(paired: Mapping[str, Any]) -> str:
    """The p of a sign-flip test, where it has enough recordings to fall below .05."""
    if paired["num_sessions"] < FEWEST_FLIPPED:
        return ""
    return f" (sign-flip test p = {paired['p']:.2g})"


def of_benchmark(metrics: dict[str, Any], model: str) -> list[str]:
    """The Neural Latents Benchmark's scores on the test trials of this fit, and of a submission."""
    benchmark, submitted = BenchmarkResult.from_metrics(metrics), Submission.from_metrics(metrics)
    lines = []
    if benchmark is not None:
        scores = {model: benchmark.model, **benchmark.baselines}
        names = list(benchmark.model["test"])
        rows = [
            [name, *(_number(by_split["test"].get(metric)) for metric in names)]
            for name, by_split in scores.items()
        ]
        lines += [
            "",
            f"As the Neural Latents Benchmark scores {benchmark.data_set}, on "
            f"{benchmark.num_trials['test']} test trials:",
            terminal.table(["", *names], rows),
            f"{terminal.milliseconds(benchmark.milliseconds_per_trial)} per trial at inference.",
        ]
    if submitted is not None:
        text = f"Rates for the {submitted.phase} phase are in {submitted.file}"
        if submitted.scores is not None:
            scored = submitted.scores.items()
            values = ", ".join(f"{name} {_number(value)}" for name, value in scored)
            text += f"; against {submitted.targets}: {values}"
        lines += ["", textwrap.fill(f"{text}.", terminal.WIDTH)]
    return lines


def of_outcomes(outcomes: Sequence[SessionResult], model: str) -> str:
    """One row per session, and in how many the model is above its best baseline.

    Above are important notes, below the reasons for sessions that were not fitted.
    """
    noted = [(one.uri.rsplit("/", 1)[-1], text) for one in outcomes for text in one.important]
    lines = ["Attention:"] if noted else []
    for name, text in noted[:_MOST_NOTES]:
        wrap = {"initial_indent": "  ", "subsequent_indent": "    ", "break_on_hyphens": False}
        lines += textwrap.wrap(f"{name}: {text}", terminal.WIDTH, **wrap)  # type: ignore[arg-type]
    if len(noted) > _MOST_NOTES:
        lines.append(f"  and {len(noted) - _MOST_NOTES} more in summary.json")
    lines += [""] if lines else []
    rows = [
        [
            outcome.uri.rsplit("/", 1)[-1],
            outcome.status,
            outcome.metric,
            _number(outcome.value),
            outcome.baseline,
            _number(outcome.baseline_value),
        ]
        for outcome in outcomes
    ]
    header = ("session", "status", "metric", "model", "best baseline", "its score")
    lines.append(terminal.table(header, rows))
    sentence = over_recordings.sentence(model, [_standing(one) for one in outcomes])
    if sentence:
        lines += ["", textwrap.fill(sentence, terminal.WIDTH)]
    for outcome in outcomes:
        if outcome.status != FITTED:
            lines += ["", *_reason(outcome)]
    return "\n".join(lines)


def _reason(outcome: SessionResult) -> list[str]:
    """Why a session was not fitted, in wrapped lines that name its file once."""
    name = outcome.uri.rsplit("/", 1)[-1]
    text = f"{outcome.status}: {name}: {outcome.reason.removeprefix(f'{name} ')}"
    wrap = {"subsequent_indent": "  ", "break_on_hyphens": False, "break_long_words": False}
    return textwrap.wrap(printable(text), terminal.WIDTH, **wrap)  # type: ignore[arg-type]


def _standing(outcome: SessionResult) -> Standing:
    """The scores of a session on test, which is what its summary lists."""
    score, other = outcome.value, outcome.baseline_value
    return Standing(outcome.metric, "test", score, outcome.baseline or None, other)


def _secondary(scores: Sequence[str], primary: str) -> list[str]:
    """The primary metric at other horizons first, then other kinds of score; errors last."""
    horizons = [name for name in scores if name.startswith(f"{primary}@")][:_MOST_HORIZONS]
    kinds = [name for name in scores if name not in (primary, "mse") and "@" not in name]
    return (horizons + kinds)[:_MOST_SECONDARY]


def _number(value: float | None) -> str:
    return "" if value is None or value != value else f"{value:.3f}"
