"""Several draws of held-out neurons: their mean score, and how far another draw would move it.

The neurons that a draw holds out are a sample, as test trials are. So the interval of the mean
draws both with replacement: a block of test bins in every draw of neurons at once, and a neuron in
all the draws that held it out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nwbdyn import metrics
from nwbdyn.baselines import Baseline
from nwbdyn.evaluation.scoring import FEWEST_BLOCKS, Task, over_folds
from nwbdyn.results.sections.repeats import HeldoutResampleScores

RESAMPLES = 1000


@dataclass(frozen=True)
class HeldoutResample:
    """One draw of held-out neurons, as far as the mean over draws needs it."""

    metrics: Mapping[str, Any]  # of `evaluation.evaluate`, with "held_out" (see `held_out.scores`)
    neurons: np.ndarray  # (n,) ids of those held out
    blocks: np.ndarray  # (num_blocks,) numbers of the test blocks
    model: np.ndarray  # (num_terms, num_blocks, n) the score's terms, added up over test bins
    baseline: np.ndarray | None  # likewise, of the best baseline on validation

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """The fields that are arrays, by name; an absent baseline is left out."""
        named = {"neurons": self.neurons, "blocks": self.blocks, "model": self.model}
        return named if self.baseline is None else named | {"baseline": self.baseline}


def of(
    task: Task,
    prediction: np.ndarray,
    baselines: Mapping[str, Baseline],
    scores: Mapping[str, Any],
) -> HeldoutResample:
    """The scores of one fit for one set of held-out neurons.

    Args:
        prediction: (num_bins, N) of the model, source units.
        baselines: its baselines.
        scores: what `evaluation.evaluate` and `held_out.scores` said of them.
    """
    columns, rows = task.held_out, task.split.bins("test")
    best = scores["primary"]["baseline"]
    rates = [prediction] if best is None else [prediction, baselines[best].prediction]
    rates = [values[rows][:, columns] for values in rates]
    counted = (task.binned.valid & task.counted)[rows]
    truth = np.where(counted[:, None], task.binned.values[rows][:, columns], np.nan)
    for values in rates:
        truth = np.where(np.isfinite(values), truth, np.nan)
    names, block = np.unique(task.blocks[rows], return_inverse=True)
    sums = [_block_sums(truth, values, block, len(names)) for values in rates]
    return HeldoutResample(
        metrics=scores,
        neurons=task.binned.neurons.ids[columns],
        blocks=names,
        model=sums[0],
        baseline=sums[1] if best is not None else None,
    )


def together(draws: Sequence[HeldoutResample]) -> HeldoutResampleScores:
    """Means over draws, their intervals, and every neuron's mean over the draws that held it out.

    Intervals are of the model and of its difference to each draw's best baseline, over neurons and
    blocks; there are none with fewer than FEWEST_BLOCKS blocks.
    """
    summary = over_folds([draw.metrics for draw in draws])
    per_neuron: dict[str, list[float]] = {}
    for draw in draws:
        held_out = draw.metrics["held_out"]
        for neuron, value in zip(held_out["neurons"], held_out["model"], strict=True):
            if value is not None and np.isfinite(value):  # a silent neuron has no score
                per_neuron.setdefault(str(neuron), []).append(value)
    intervals = _intervals(draws)
    difference = intervals.get("difference")
    above = [draw.metrics["on_baseline"]["kept"] for draw in draws if "on_baseline" in draw.metrics]
    return HeldoutResampleScores(
        num_draws=len(draws),
        metric=draws[0].metrics["held_out"]["metric"],
        split="test",
        model=summary.model,
        baselines=summary.baselines,
        difference=summary.difference,
        intervals=intervals,
        beats=None if difference is None else bool(difference[0] > 0),
        num_kept=sum(above) if above else None,
        num_neurons=len(np.unique(np.concatenate([draw.neurons for draw in draws]))),
        per_neuron={
            neuron: {"model": float(np.mean(values)), "num_draws": len(values)}
            for neuron, values in per_neuron.items()
        },
    )


def _intervals(draws: Sequence[HeldoutResample]) -> dict[str, list[float]]:
    """95 % of the mean over draws, with neurons and blocks drawn anew."""
    blocks = np.unique(np.concatenate([draw.blocks for draw in draws]))
    if len(blocks) < FEWEST_BLOCKS:
        return {}
    neurons = np.unique(np.concatenate([draw.neurons for draw in draws]))
    block_times, neuron_times = (
        np.random.default_rng(seed).multinomial(
            len(names), np.full(len(names), 1 / len(names)), size=RESAMPLES
        )
        for seed, names in enumerate((blocks, neurons))
    )
    ours, theirs = [], []
    for draw in draws:
        times = block_times[:, np.searchsorted(blocks, draw.blocks)]  # (R, num_blocks)
        kept = neuron_times[:, np.searchsorted(neurons, draw.neurons)]  # (R, n)
        ours.append(_scores(draw.model, times, kept))
        if draw.baseline is not None:
            theirs.append(_scores(draw.baseline, times, kept))
    number = min(len(neurons), len(blocks))
    intervals = {"model": _around_mean(_wholes(draws, "model"), np.array(ours), number)}
    if len(theirs) == len(ours):
        differences = _wholes(draws, "model") - _wholes(draws, "baseline")
        resampled = np.array(ours) - np.array(theirs)
        intervals["difference"] = _around_mean(differences, resampled, number)
    return intervals


def _block_sums(
    truth: np.ndarray, prediction: np.ndarray, block: np.ndarray, num_blocks: int
) -> np.ndarray:
    """(num_terms, num_blocks, n) terms of bits per spike, added up over the bins of each block."""
    score = metrics.bits_per_spike
    known = np.isfinite(truth)
    terms = score.terms(*(np.where(known, values, 1.0) for values in (truth, prediction)))
    sums = np.zeros((len(terms), num_blocks, truth.shape[1]))
    for total, term in zip(sums, terms, strict=True):
        np.add.at(total, block, np.where(known, term, 0.0))
    return sums


def _scores(sums: np.ndarray, times: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """(R,) bits per spike of blocks and neurons taken so many times."""
    return metrics.bits_per_spike.total(*(times @ part * kept for part in sums))


def _wholes(draws: Sequence[HeldoutResample], which: str) -> np.ndarray:
    """(num_draws,) bits per spike of each draw, nothing resampled."""
    total = metrics.bits_per_spike.total
    return np.array([total(*draw.arrays[which].sum(axis=1)) for draw in draws])


def _around_mean(wholes: np.ndarray, resampled: np.ndarray, num_units: int) -> list[float]:
    """95 % of the mean over draws; a resample without a spike in a draw leaves that draw out."""
    resampled = resampled[:, np.isfinite(resampled).any(axis=0)]
    means = np.nanmean(resampled, axis=0)
    return list(metrics.symmetric_interval(float(wholes.mean()), means, 0.95, num_units))
