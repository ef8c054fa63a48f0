"""Document of `nwbdyn fit --json`: one entry per recording, with scores, verdict and edges."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from nwbdyn.connectivity import strongest_edges
from nwbdyn.evaluation import verdict
from nwbdyn.results import damage, run_directory
from nwbdyn.results.fit_results import Fit, load
from nwbdyn.workflows.batch import FITTED, SessionResult

_EDGE = ("pre", "post", "kind", "lag", "state", "weight", "se", "p", "q", "flags")
_SHARED = ("metric", "split", "num_shared_neurons", "difference", "seeds_agree")


def of_run(
    run: Path, model: str, *, joint: bool, outcomes: Sequence[SessionResult] = ()
) -> dict[str, Any]:
    """Fields of the document.

    Args:
        run: the run directory, or the folder of several.
        joint: one model was fitted to several recordings.
        outcomes: one per recording, where each of several was fitted by itself.
    """
    shared = None
    if joint:
        metrics = run_directory.read_json(run, run_directory.METRICS)
        shared = {key: metrics.get(key) for key in _SHARED}
        recordings = [of_fit(run / name) for name in run_directory.sessions_in(run)]
    elif outcomes:
        recordings = [_of_outcome(outcome) for outcome in outcomes]
    else:
        recordings = [of_fit(run)]
    return {"run": str(run), "model": model, "joint": shared, "recordings": recordings}


def of_fit(run: Path) -> dict[str, Any]:
    """Entry of a recording that was fitted.

    Raises:
        ResultsError: a file of the run holds a value of the wrong kind.
    """
    fit = load(run, recorded=False)
    with damage.as_error(run):
        return _fields(fit, run)


def _fields(fit: Fit, run: Path) -> dict[str, Any]:
    metrics: dict[str, Any] = fit.metrics
    primary = metrics["primary"]
    metric, split, baseline = primary["metric"], primary["split"], primary["baseline"]
    scores = {fit.model: metrics["model"], **verdict.parts(metrics), **metrics["baselines"]}
    score_intervals = metrics.get("intervals", {}).get("model", {}).get(split, {})
    sentences = verdict.sentences(metrics, fit.model)
    sentences += verdict.of_training(fit.history, fit.config)
    sentences += verdict.of_bins(fit.binning, metrics)
    return {
        "source": fit.source.uri,
        "run": str(run),
        "status": FITTED,
        "reason": None,
        "num_neurons": len(fit.neurons),
        "metric": metric,
        "split": split,
        "score": metrics["model"].get(split, {}).get(metric),
        "interval": score_intervals.get(metric),
        "baseline": baseline,
        "baseline_score": metrics["baselines"].get(baseline, {}).get(split, {}).get(metric),
        "beats_baseline": metrics.get("beats_baseline"),
        "verdict": sentences,
        "scores": {name.strip(): by_split for name, by_split in scores.items()},
        "notes": [asdict(note) for note in fit.notes],
        "num_edges": len(fit.edges),
        "strongest_edges": strongest_edges.strongest(fit.edges)[list(_EDGE)].to_dict("records"),
    }


def _of_outcome(outcome: SessionResult) -> dict[str, Any]:
    if outcome.status == FITTED:
        return of_fit(Path(outcome.run)) | {"source": outcome.uri}
    return {
        "source": outcome.uri,
        "run": outcome.run,
        "status": outcome.status,
        "reason": outcome.reason,
    }
