"""Scores of single held-out neurons, and the few-shot score.

The pooled score and its interval over trials are `evaluation`'s. Here stand the score of every
held-out neuron, the interval over neurons and trials together, and the few-shot score, which asks
how well a neuron that the read-out saw in a few windows only can be read from a model's rates of
the others. What several draws of held-out neurons say together is in `draws`.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from nwbdyn import metrics
from nwbdyn.baselines import Baseline, smoothed
from nwbdyn.baselines.regression import best_poisson, log_scaled
from nwbdyn.data.windows import Windows
from nwbdyn.evaluation.scoring import Task
from nwbdyn.results.sections.held_out import HeldOutScores
from nwbdyn.results.sections.repeats import FewShotScores

SHOTS = 64  # training windows (trials) that a few-shot read-out sees, at most half of them
RESAMPLES = 10  # draws of these windows
SMOOTHING = "smoothing + GLM"


def scores(
    task: Task, prediction: np.ndarray, baselines: Mapping[str, Baseline], best: str | None
) -> HeldOutScores:
    """Every held-out neuron's co_bps on test, and intervals over neurons and trials.

    Args:
        prediction: (num_bins, N) of the model, source units.
        best: name of the best baseline on validation.
    """
    truth, columns = _truth(
        task, [prediction, *(baseline.prediction for baseline in baselines.values())]
    )
    rows = task.split.bins("test")
    true, blocks = truth[rows], task.blocks[rows]
    values = {name: baseline.prediction[rows][:, columns] for name, baseline in baselines.items()}
    ours = prediction[rows][:, columns]
    intervals = {"model": list(metrics.two_way_interval(true, ours, blocks=blocks))}
    if best is not None:
        intervals["difference"] = list(
            metrics.two_way_interval(true, ours, values[best], blocks=blocks)
        )
    return HeldOutScores(
        metric="co_bps",
        split="test",
        num_neurons=int(columns.sum()),
        neurons=task.binned.neurons.ids[columns].tolist(),
        model=metrics.bits_per_spike.per_neuron(true, ours).tolist(),
        baselines={
            name: metrics.bits_per_spike.per_neuron(true, theirs).tolist()
            for name, theirs in values.items()
        },
        intervals=intervals,
    )


def few_shot(
    task: Task, windows: Windows, prediction: np.ndarray, baselines: Mapping[str, Baseline]
) -> FewShotScores | None:
    """co_bps on test of read-outs fitted on few training windows.

    A Poisson regression goes from the log rates of the held-in neurons to the counts of the
    held-out ones, its penalty chosen on validation: from the model's rates (reconstructions, made
    by a model that was trained on the held-out neurons too), and beside them from the held-in
    counts smoothed as "smoothing + GLM" does.

    Returns:
        None where training has fewer than twice two windows.
    """
    starts = windows.starts("train")
    shots = min(SHOTS, len(starts) // 2)
    if shots < 2:
        return None
    held_in = task.split.held_in
    sources = {"model": prediction[:, held_in]}
    if SMOOTHING in baselines:
        sources["smoothing"] = _smoothed_on_clock(windows, baselines[SMOOTHING])[:, held_in]
    truth, _ = _truth(task, [prediction])
    usable = np.isfinite(truth).all(axis=1)
    for values in sources.values():
        usable &= np.isfinite(values).all(axis=1)
    bins = np.flatnonzero(usable)
    counts = truth[bins]
    val = np.flatnonzero(task.split.bins("val")[bins])
    test = task.split.bins("test")[bins]
    draw = np.random.default_rng(task.split.seed)
    by_source: dict[str, list[float]] = {name: [] for name in sources}
    for _ in range(RESAMPLES):
        chosen = draw.choice(starts, shots, replace=False)
        seen = (chosen[:, None] + np.arange(windows.spec.context)).ravel()
        train = np.flatnonzero(np.isin(bins, seen))
        for name, values in sources.items():
            inputs = partial(log_scaled, values[bins].astype(np.float32), train)
            choice = best_poisson({"rates": inputs}, counts, train=train, val=val)
            by_source[name].append(metrics.bits_per_spike(counts[test], choice.rates[test]))
    spread = {name: _spread(values) for name, values in by_source.items()}
    return FewShotScores(
        metric="co_bps",
        split="test",
        windows=shots,
        num_draws=RESAMPLES,
        model=spread.pop("model"),
        baselines=spread,
    )


def _truth(task: Task, predictions: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Held-out counts, NaN where they are not known or not predicted by all; (N,) the columns."""
    columns = task.held_out
    counted = task.binned.valid & task.counted
    truth = np.where(counted[:, None], task.binned.values, np.nan)[:, columns]
    for values in predictions:
        truth = np.where(np.isfinite(values[:, columns]), truth, np.nan)
    return truth, columns


def _smoothed_on_clock(windows: Windows, baseline: Baseline) -> np.ndarray:
    """(num_bins, N) counts of every window through the baseline's filter, NaN outside windows."""
    binned, context = windows.binned, windows.spec.context
    values = np.full(binned.values.shape, np.nan, dtype=np.float32)
    for split in ("train", "val", "test"):
        starts = windows.starts(split)
        counts = np.full((len(starts), windows.length, binned.num_neurons), np.nan, np.float32)
        seen = np.nan_to_num(binned.values[starts[:, None] + np.arange(context)])
        counts[:, :context] = smoothed(baseline, seen, bin_width=binned.bin_width)
        stitched = windows.to_session_clock(starts, counts)
        reached = np.isfinite(stitched)
        values[reached] = stitched[reached]
    return values


def _spread(values: Sequence[float]) -> dict[str, Any]:
    return {
        "mean": float(np.mean(values)),
        "sd": float(np.std(values, ddof=1)),
        "values": list(values),
    }
