"""Trained models -> a Fit: predictions, scores beside baselines, connectivity, provenance.

Nothing here changes a model. Choices were made on validation bins; the test bins are scored here,
once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch

from nwbdyn import baselines
from nwbdyn.baselines import Baseline
from nwbdyn.connectivity.connectivity import Connectivity
from nwbdyn.data.splits import SPLITS
from nwbdyn.data.windows import Windows
from nwbdyn.evaluation import (
    averaging,
    blocks,
    held_out_neurons,
    reliability,
    scoring,
)
from nwbdyn.evaluation.averaging import Average
from nwbdyn.evaluation.scoring import SCORED, Comparison, Task
from nwbdyn.fitting.task import FitTask
from nwbdyn.inference import influence, readout, rollout
from nwbdyn.inference.influence import Influence
from nwbdyn.inference.readout import MOST_NEURONS
from nwbdyn.inference.rollout import HORIZONS
from nwbdyn.progress import Progress, Report
from nwbdyn.recording import Note, Recording
from nwbdyn.request import FitRequest
from nwbdyn.results import provenance
from nwbdyn.results.fit_results import Fit, Predictions
from nwbdyn.results.sections.baseline_start import BaselineStart
from nwbdyn.results.sections.reliability import Reliability
from nwbdyn.training.baseline_start import shared
from nwbdyn.training.trainer import Trained

HIGHEST_RUNG = "nonlinear VAR"  # M2, among the baselines


@dataclass(frozen=True)
class Scored:
    """Predictions of trained models, and their scores."""

    task: Task
    predictions: tuple[np.ndarray, ...]  # (num_bins, N) of each model
    mean: Average  # of those that count
    baselines: Mapping[str, Baseline]
    metrics: dict[str, Any]  # of `evaluation.evaluate`; co-smoothing: with "held_out"


def score_fit(
    problem: FitTask,
    trained: Sequence[Trained],
    *,
    splits: Sequence[str] = SCORED,
    report: Report,
) -> Scored:
    """The scores of the mean prediction beside its baselines.

    Args:
        trained: one model per seed.
        splits: whose bins are predicted; validation and test at least.
        report: called with the progress of baselines and roll-out.
    """
    task = task_of(problem)
    predictions = tuple(
        readout.predict(member.model, problem.windows, splits=splits) for member in trained
    )
    mean = averaging.average(task, predictions, [member.seed for member in trained])
    first = Comparison(problem.horizon, mean.prediction, _baselines(problem, report))
    further = _further(problem, trained, report)
    metrics = scoring.evaluate(task, [first, *further], model=problem.name)
    if problem.co_smoothing:
        best = metrics["primary"]["baseline"]
        held_out = held_out_neurons.scores(task, mean.prediction, first.baselines, best)
        metrics |= replace(held_out, stated=problem.held_out_stated).metrics()
    start = _on_baseline(problem, task, trained, splits)
    if start is not None:
        metrics |= start.metrics()
    return Scored(task, predictions, mean, first.baselines, metrics)


def _on_baseline(
    problem: FitTask, task: Task, trained: Sequence[Trained], splits: Sequence[str]
) -> BaselineStart | None:
    """Gain of models that start from a baseline over it; None for other models."""
    best = _best(trained)
    judged = best.on_baseline
    if judged is None:
        return None
    scores = {}
    for name, share in (("transformer", 1.0), ("average", judged.weight)):
        with shared(best.model, share):
            prediction = readout.predict(best.model, problem.windows, splits=splits)
        scores[name] = scoring.scores(task, prediction)
    return BaselineStart(
        baseline=judged.baseline,
        kept=judged.kept,
        gain=judged.gain.mean,
        error=judged.gain.error,
        num_blocks=judged.gain.num_blocks,
        weight=judged.weight,
        scores=scores,
        seeds={
            str(member.seed): member.on_baseline.kept
            for member in trained
            if member.on_baseline is not None
        },
    )


def assemble_fit(
    problem: FitTask,
    trained: Sequence[Trained],
    scored: Scored,
    request: FitRequest,
    *,
    report: Report,
) -> Fit:
    """The Fit of trained models: predictions, connectivity, edges and scores.

    Predictions are means over the seeds (see `averaging`), edges over all of them. Parameters,
    history, embeddings and the time-resolved connectivity are those of the seed with the best
    validation loss.

    Args:
        trained: one model per seed.
        scored: their scores, on every split.
        request: kept with the fit; its `influence_windows` limits the predictive influence.
        report: called with the progress of the read-out.
    """
    windows, binned = problem.windows, problem.binned
    best = _best(trained)
    metrics = _metrics(trained, scored)
    couplings = _couplings(problem, trained, request.tests.influence_windows, report)
    if couplings.agreement is not None:
        metrics |= couplings.agreement.metrics()
    embeddings = best.model.embeddings()
    rows = list(problem.layout.neuron_ids[windows.session])
    described = problem.described()
    seeds = [member.seed for member in trained]
    model_notes = (Note("model", problem.name, reason) for reason in best.model.notes)
    return Fit(
        model=problem.name,
        config=described["config"],
        binning=described["binning"],
        split=described["split"],
        history=best.history,
        metrics=metrics,
        predictions=_predictions(problem, scored),
        connectivity=couplings.best,
        edges=couplings.edges,
        neurons=binned.neurons,
        source=problem.recording.source,
        session=_session(problem.recording),
        versions=provenance.versions(problem.name),
        seed=seeds[0],
        device=_named(windows.device),
        embeddings=None if embeddings is None else embeddings.cpu().numpy()[rows],
        currents=readout.currents(couplings.best, windows),
        influence=couplings.influence,
        trials=_trials(problem),
        notes=(*problem.notes, *model_notes, *couplings.notes),
        weights={
            name: _array(value) for name, value in best.model.session_state(windows.session).items()
        },
        environment={
            **provenance.environment(seeds=seeds, threads=torch.get_num_threads()),
            "request": request.to_json(),
        },
    )


def _predictions(problem: FitTask, scored: Scored) -> Predictions:
    """The mean predictions beside the recording."""
    binned = problem.binned
    return Predictions(
        values=scored.mean.prediction,
        time=binned.time,
        bin_width=binned.bin_width,
        held_out=problem.held_out,
        labels=problem.split.labels,
        quantity=binned.quantity,
        horizon=problem.horizon,
        neurons=binned.neurons,
        recorded=np.where(binned.valid[:, None], binned.values, np.nan).astype(np.float32),
    )


@dataclass(frozen=True)
class _Couplings:
    """Coupling and predictive influence of all trained models."""

    best: Connectivity  # of the seed with the best validation loss
    influence: Connectivity | None  # of the same seed
    edges: pd.DataFrame  # over all seeds
    agreement: Reliability | None  # None without an edge table
    notes: tuple[Note, ...]


def _couplings(
    problem: FitTask, trained: Sequence[Trained], num_windows: int, report: Report
) -> _Couplings:
    """Read the connectivity of every model and make the edge table."""
    windows, best = problem.windows, trained.index(_best(trained))
    report(Progress("connectivity", 0, len(trained), "models"))
    couplings = [readout.connectivity(member.model, windows) for member in trained]
    influences = _influences(trained, windows, num_windows, report)
    over_time = influences[best].over_time if influences else None
    edges, notes = _no_edges(couplings[best])
    agreement = None
    if not notes:
        matrices = [each.mean().to_numpy() for each in couplings]
        means = [each.mean for each in influences]
        edges = readout.edges(matrices, couplings[best].neurons, means)
        agreement = reliability.reliability(matrices, couplings[best], means, over_time)
    report(Progress("connectivity", len(trained), len(trained), "models"))
    return _Couplings(couplings[best], over_time, edges, agreement, notes)


def _influences(
    trained: Sequence[Trained], windows: Windows, num_windows: int, report: Report
) -> list[Influence]:
    """Predictive influence of every model; empty if one's is not meaningful or the matrix too
    large.
    """
    if windows.binned.num_neurons > MOST_NEURONS:
        return []
    if not all(member.model.supports_influence for member in trained):
        return []
    return [
        influence.read(member.model, windows, num_windows=num_windows, report=report)
        for member in trained
    ]


def _no_edges(coupling: Connectivity) -> tuple[pd.DataFrame, tuple[Note, ...]]:
    """An edge table without edges, and the reason if there can be no edges."""
    neurons = coupling.neurons
    none = readout.edges([np.zeros((0, 0))], neurons.take(np.zeros(0, int)))
    if len(neurons) <= MOST_NEURONS:
        return none, ()
    reason = (
        f"no edge table: a matrix of {len(neurons)} x {len(neurons)} is not made. The "
        "connectivity answers by cell type, by edge and at single times"
    )
    return none, (Note("too-many-neurons", "edges", reason),)


def task_of(problem: FitTask) -> Task:
    """The scoring task of a fit."""
    return Task(
        binned=problem.binned,
        split=problem.split,
        held_out=problem.held_out,
        counted=problem.counted,
        co_smoothing=problem.co_smoothing,
        blocks=blocks.make(
            problem.binned,
            problem.split,
            trials=problem.aligned is not None,
            context=problem.spec.context,
        ),
    )


def _metrics(trained: Sequence[Trained], scored: Scored) -> dict[str, Any]:
    """The scores, those of each seed, and which seeds the mean holds."""
    metrics = dict(scored.metrics)
    if len(trained) > 1:
        metrics["seeds"] = {
            str(member.seed): scoring.scores(scored.task, prediction)
            for member, prediction in zip(trained, scored.predictions, strict=True)
        }
    if scored.mean.selection is not None:
        metrics |= scored.mean.selection.metrics()
    return metrics


def _baselines(problem: FitTask, report: Report) -> dict[str, Baseline]:
    """The simple methods that belong to the model's task, from the windows that the model has."""
    context = problem.spec.context
    if problem.co_smoothing:
        return baselines.co_smoothing_of(problem.windows, report=report)
    link = getattr(problem.config, "link", "identity")
    return baselines.next_bin(
        problem.binned,
        problem.split,
        context=context,
        link=link,
        raw=problem.spec.inputs == "raw",
        ladder=problem.windows.ladder,
        report=report,
    )


def _further(problem: FitTask, trained: Sequence[Trained], report: Report) -> list[Comparison]:
    """Predictions beyond the next bin, where the model can make them."""
    if not rollout.applies(problem.model_class, problem.windows):
        return []
    direct_only = not getattr(problem.config, "own_part", True)  # nothing but the ladder
    rolled = [] if direct_only else _rolled_out(problem, trained, report)
    contests = []
    for horizon in HORIZONS:
        if not _reachable(problem, horizon):
            continue  # the stretches of these splits are shorter than the way there
        others = baselines.next_bin(
            problem.binned,
            problem.split,
            context=problem.spec.context,
            horizon=horizon,
            report=report,
        )
        predictions = {}
        if rolled:
            predictions["rolled out"] = np.mean([values[horizon] for values in rolled], axis=0)
        if problem.windows.ladder is not None:
            predictions["direct"] = others[HIGHEST_RUNG].prediction
        chosen = scoring.better(task_of(problem), predictions) or next(iter(predictions))
        contests.append(Comparison(horizon, predictions[chosen], others))
    return contests


def _rolled_out(
    problem: FitTask, trained: Sequence[Trained], report: Report
) -> list[dict[int, np.ndarray]]:
    """Horizon -> prediction of each model that goes on from its own."""
    rolled = []
    for number, member in enumerate(trained):
        report(Progress("roll-out", number, len(trained), "models"))
        rolled.append(
            rollout.roll_out(
                member.model, problem.windows, horizons=HORIZONS, splits=("val", "test")
            )
        )
    return rolled


def _reachable(problem: FitTask, horizon: int) -> bool:
    """True where some window of validation and of test has such a bin in its stretch and split."""
    windows, labels = problem.windows, problem.split.labels
    for split in ("val", "test"):
        first = windows.starts(split) + windows.spec.context
        bins = first + horizon - 1
        inside = bins < windows.binned.num_bins
        first, bins = first[inside], bins[inside]
        same = windows.binned.segment[bins] == windows.binned.segment[first]
        same &= (labels[bins] == SPLITS.index(split)) & windows.binned.valid[bins]
        if not same.any():
            return False
    return True


def _session(recording: Recording) -> dict[str, object]:
    """Description of the session for an exported file, by value."""
    return {
        "session_id": recording.session_id,
        "identifier": recording.identifier,
        "session_start_time": recording.session_start_time,
        "session_description": recording.session_description,
        "subject": dict(recording.subject),
        **{name: list(texts) for name, texts in recording.recorded_by.items()},
    }


def _trials(problem: FitTask) -> pd.DataFrame | None:
    """The trials whose windows were used, with the first bin of each; None without any."""
    aligned = problem.aligned
    if aligned is None:
        return None
    trials = aligned.trials.assign(first_bin=aligned.starts)
    used = np.isin(aligned.starts, readout.all_starts(problem.windows))
    return trials[used].reset_index(drop=True)


def _best(trained: Sequence[Trained]) -> Trained:
    return min(trained, key=lambda member: member.best)


def _named(device: torch.device) -> str:
    """The device in words: "cpu", or "cuda (…)" with the model of the card."""
    if device.type != "cuda":
        return device.type
    return f"cuda ({torch.cuda.get_device_name(device)})"


def _array(tensor: torch.Tensor) -> np.ndarray:
    return np.ascontiguousarray(tensor.detach().cpu().numpy())
