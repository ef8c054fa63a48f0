"""The words and tables of a report: what was fitted to what, scores, provenance, how to cite."""

import json
from typing import Any

from nwbdyn import models
from nwbdyn.connectivity import edge_table, strongest_edges
from nwbdyn.evaluation import mean_prediction, verdict
from nwbdyn.recording import COUNTS
from nwbdyn.results.fit_results import Fit
from nwbdyn.results.sections.attention_maps import MapAblation
from nwbdyn.results.sections.benchmark import BenchmarkResult
from nwbdyn.results.sections.difference import span

Rows = list[tuple[str, str]]


def subtitle(fit: Fit) -> str:
    """The model and the recording, in one line."""
    binning: dict[str, Any] = fit.binning
    predictions = fit.predictions
    held_out = int(predictions.held_out.sum())
    neurons = f"{len(fit.neurons)} {fit.neurons.kind.replace('roi', 'ROI')}s"
    if held_out:
        neurons += f", {held_out} of them held out"
    minutes = len(predictions.time) * predictions.bin_width / 60
    parts = [
        neurons,
        "binned spikes" if predictions.quantity == COUNTS else predictions.quantity,
        f"{len(predictions.time):,} bins of {predictions.bin_width:.3g} s ({minutes:.3g} min)",
    ]
    if binning.get("aligned_trials"):
        parts.append(f"{binning['aligned_trials']} trials")
    return " · ".join(parts)


def trust(fit: Fit) -> list[str]:
    """Sentences beside the verdict: coupling, held-out neurons, maps, seeds."""
    metrics: dict[str, Any] = fit.metrics
    lines = verdict.sentences(metrics, fit.model)[1:]
    if mean_prediction.sentence(metrics, fit.model):
        return lines + verdict.of_training(fit.history, fit.config)
    lines += verdict.of_training(fit.history, fit.config)
    lines += verdict.of_bins(fit.binning, metrics)
    needed = MapAblation.from_metrics(metrics)
    lines += needed.sentences() if needed else []
    by_seed = metrics.get("seeds")
    if by_seed:
        metric, split = metrics["primary"]["metric"], metrics["primary"]["split"]
        values = [scores[split][metric] for scores in by_seed.values()]
        lines.append(
            f"{len(values)} seeds: {metric} {min(values):.3f} to {max(values):.3f} on {split} one "
            "by one; the score above is of their mean prediction."
        )
    else:
        lines.append("One seed: how far another start would move the weights was not measured.")
    return lines


def meaning(fit: Fit) -> str:
    """Interpretation of a weight of this model, and its limits."""
    if fit.connectivity.form == "attention":
        text = (
            "A weight says how much the model attends to one neuron's activity, before and after, "
            "when it describes another's."
        )
    else:
        text = (
            "A weight says how much one neuron's past helps to predict another, given everything "
            "else the model saw."
        )
    return (
        f"{text} It is not a test for a synapse: common input and unrecorded neurons can make it."
    )


def colours(fit: Fit) -> str:
    """Legend for the colours of a matrix of weights."""
    edges = edge_table.directed(fit.edges)
    signed = not len(edges) or bool((edges["weight"] < 0).any())
    return "red positive, blue negative" if signed else "the darker, the stronger; none is negative"


def scoreboard(fit: Fit) -> list[dict[str, Any]]:
    """One table per metric, the primary one first: model and baselines, validation and test."""
    metrics: dict[str, Any] = fit.metrics
    by_name = {fit.model: metrics["model"], **verdict.parts(metrics), **metrics["baselines"]}
    intervals = metrics.get("intervals", {})
    by_interval = {fit.model: intervals.get("model", {}), **intervals.get("baselines", {})}
    split = metrics["primary"]["split"]
    return [
        {
            "metric": metric,
            "rows": [
                {
                    "name": name,
                    "val": _number(splits.get("val", {}).get(metric)),
                    "test": _number(splits.get(split, {}).get(metric)),
                    "interval": span(by_interval.get(name, {}).get(split, {}).get(metric)),
                }
                for name, splits in by_name.items()
            ],
        }
        for metric in mean_prediction.without_skill(metrics, list(metrics["model"].get(split, {})))
        if not metric.startswith("mse")
    ]


def strongest(fit: Fit) -> dict[str, Any] | None:
    """The table of the strongest edges; None where the edge matrix is empty."""
    rows = strongest_edges.rows(fit.edges)
    if not rows:
        return None
    header = strongest_edges.HEADER
    kept = [column for column in range(len(header)) if any(row[column] for row in rows)]
    return {
        "header": [header[column] for column in kept],
        "rows": [[row[column] for column in kept] for row in rows],
        "number": f"{len(fit.edges):,}",
    }


def benchmark(fit: Fit) -> dict[str, Any] | None:
    """The Neural Latents Benchmark's scores on the test trials of this fit, if there are any."""
    scored = BenchmarkResult.from_metrics(fit.metrics)
    if scored is None:
        return None
    names = list(scored.model["test"])
    scores = {fit.model: scored.model, **scored.baselines}
    return {
        "data_set": scored.data_set,
        "num_trials": scored.num_trials["test"],
        "metrics": names,
        "rows": [
            {"name": name, "values": [_number(by_split["test"].get(m)) for m in names]}
            for name, by_split in scores.items()
        ],
    }


def provenance(fit: Fit) -> Rows:
    """Origin of the fit and how to repeat it; unknown values are left out."""
    source, session = fit.source, fit.session
    subject: dict[str, str] = session.get("subject", {})  # type: ignore[assignment]
    known = ", ".join(
        str(subject[key]) for key in ("subject_id", "species", "sex", "age") if subject.get(key)
    )
    rows = [
        ("source", source.uri),
        ("digest", source.digest),
        ("asset", source.asset_id),
        ("session", session.get("session_id")),
        ("recorded", session.get("session_start_time")),
        ("subject", known),
        ("cell types from", fit.neurons.cell_type_source),
        ("split", fit.split.get("rule")),
        ("seeds", ", ".join(map(str, fit.environment.get("seeds", [fit.seed])))),  # type: ignore[call-overload]
        ("device", fit.device),
        ("fitted", fit.environment.get("fitted_at")),
        ("versions", ", ".join(f"{name} {version}" for name, version in fit.versions.items())),
    ]
    return [(name, str(value)) for name, value in rows if value]


def config(fit: Fit) -> Rows:
    """Every option of the model that has a value."""
    return [
        (name, value if isinstance(value, str) else json.dumps(value, default=str))
        for name, value in fit.config.items()
        if value is not None
    ]


def citations(fit: Fit) -> Rows:
    """References: the model's paper, the data, this software."""
    source = fit.source
    paper = models.load(fit.model).paper if fit.model in models.names() else fit.model
    if source.dandiset_id:
        version = source.version or "draft"
        data = (
            f"DANDI:{source.dandiset_id}, version {version}; its page "
            f"(dandiarchive.org/dandiset/{source.dandiset_id}/{version}) shows the citation to use"
        )
    elif source.uri.startswith("sample:"):
        data = f"simulated by nwbdyn ({source.uri}); no animal, nothing to cite"
    else:
        data = f"{source.name}: as its authors ask"
    return [
        ("model", paper),
        ("data", data),
        ("software", f"nwbdyn {fit.versions.get('nwbdyn', '')}, CITATION.cff"),
    ]


def _number(value: float | None) -> str:
    return "" if value is None or value != value else f"{value:.3f}"
