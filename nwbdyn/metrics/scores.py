"""Scores of a prediction against the recorded activity, with bootstrap intervals.

NumPy in, float out. Activity is (num_bins, num_neurons) or (num_trials, num_bins, num_neurons),
the truth first; an entry where the truth or a prediction is NaN is left out. Scores of activity
are built from sums over bins, so that a bootstrap over blocks of bins adds blocks up again
instead of going through the bins a thousand times.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri, stdtrit

Sums = tuple[np.ndarray, ...]  # each (..., N), sums over bins of one term


@dataclass(frozen=True)
class Score:
    """A score of activity; call it with the truth and what it is compared with.

    Its value is NaN where it is not defined (no spikes, constant neurons only).
    """

    name: str
    terms: Callable[..., tuple[np.ndarray, ...]]  # arrays (num_bins, N) -> terms (num_bins, N)
    neuron: Callable[..., np.ndarray]  # sums (..., N) -> score of each neuron (..., N)
    total: Callable[..., np.ndarray]  # sums (..., N) -> score (...)
    most: float = np.inf  # that it can be

    def __call__(self, true: np.ndarray, *predictions: np.ndarray) -> float:
        terms = _terms(self, true, *predictions)
        return float(self.total(*(term.sum(axis=0) for term in terms)))

    def per_neuron(self, true: np.ndarray, *predictions: np.ndarray) -> np.ndarray:
        """(N,) the score of each neuron by itself."""
        terms = _terms(self, true, *predictions)
        return self.neuron(*(term.sum(axis=0) for term in terms))


def block_interval(
    score: Score,
    true: np.ndarray,
    *predictions: np.ndarray,
    blocks: np.ndarray,
    num_resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[float, float]:
    """Symmetric interval of a score, drawing whole blocks of bins with replacement.

    Scores such as R2 are ratios, which come out lower on few blocks, and on drawn ones lower
    again: percentiles of the draws then miss the truth, and even the score itself. The interval
    is the score plus or minus what `level` of the draws stay within (Hall 1988, "On symmetric
    bootstrap confidence intervals"), widened by Student's t for few blocks.
    `benchmarks/intervals.py` measures how often either holds the truth.

    Args:
        true, predictions: what `score` is called with, (num_bins, N).
        blocks: (num_bins,) the number of the block each bin belongs to; see `time_blocks`.
        level: chance that it holds what an endless test would give.

    Returns:
        (low, high); (nan, nan) with fewer than two blocks, which hold no spread to measure.
    """
    draws = resampled(score, true, predictions, blocks, num_resamples, seed)
    low, high = symmetric_interval(score(true, *predictions), draws, level, len(np.unique(blocks)))
    return low, min(high, score.most)


def difference_interval(
    score: Score,
    true: np.ndarray,
    prediction: np.ndarray,
    reference: np.ndarray,
    *,
    blocks: np.ndarray,
    num_resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[float, float]:
    """Interval of score(prediction) - score(reference), both on the same drawn blocks.

    Only entries that both predict are used. See `block_interval`.
    """
    both = np.where(np.isfinite(prediction) & np.isfinite(reference), true, np.nan)
    ours = resampled(score, both, (prediction,), blocks, num_resamples, seed)
    theirs = resampled(score, both, (reference,), blocks, num_resamples, seed)
    difference = score(both, prediction) - score(both, reference)
    return symmetric_interval(difference, ours - theirs, level, len(np.unique(blocks)))


def two_way_interval(
    true: np.ndarray,
    prediction: np.ndarray,
    reference: np.ndarray | None = None,
    *,
    blocks: np.ndarray,
    num_resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[float, float]:
    """Interval of bits per spike, drawing neurons and blocks of bins with replacement.

    What it covers is what another draw of trials *and* of held-out neurons would give; it is wider
    than `block_interval`, which keeps the neurons. With a reference, the interval of the
    difference, both on the same drawn blocks and neurons. See `block_interval`.
    """
    if reference is not None:
        true = np.where(np.isfinite(prediction) & np.isfinite(reference), true, np.nan)
    num_neurons = true.shape[1]
    weights = np.random.default_rng(seed + 1).multinomial(
        num_neurons, np.full(num_neurons, 1 / num_neurons), size=num_resamples
    )
    draws, value = np.zeros(num_resamples), 0.0
    for values, sign in ((prediction, 1), (reference, -1)):
        if values is None:
            continue
        sums = _drawn_sums(bits_per_spike, true, (values,), blocks, num_resamples, seed)
        if not sums:
            return np.nan, np.nan
        draws = draws + sign * bits_per_spike.total(*(part * weights for part in sums))
        value += sign * bits_per_spike(true, values)
    return symmetric_interval(value, draws, level, min(num_neurons, len(np.unique(blocks))))


def symmetric_interval(
    value: float, draws: np.ndarray, level: float, num_units: int
) -> tuple[float, float]:
    """The interval of a score from its resamples: see `block_interval`.

    Args:
        value: the score.
        draws: (num_resamples,) the score of drawn units; NaN is left out.
        level: chance that it holds what an endless test would give.
        num_units: that were drawn from; the interval is wider for few.
    """
    draws = draws[np.isfinite(draws)]
    if not draws.size or num_units < 2:
        return np.nan, np.nan
    upper = (1 + level) / 2
    few = stdtrit(num_units - 1, upper) / ndtri(upper) * np.sqrt(num_units / (num_units - 1))
    half = few * np.quantile(np.abs(draws - value), level)
    return float(value - half), float(value + half)


def time_blocks(num_bins: int, length: int) -> np.ndarray:
    """(num_bins,) block numbers of consecutive stretches of `length` bins.

    A block should outlast the memory of the signal; a rest shorter than half a block joins the
    block before it.
    """
    blocks = np.arange(num_bins) // max(length, 1)
    rest = num_bins % max(length, 1)
    if rest and rest < length / 2 and blocks[-1] > 0:
        blocks[-rest:] -= 1
    return blocks


# --- scores of activity -------------------------------------------------------------------------


def _mean(values: np.ndarray) -> np.ndarray:
    """Mean over the last axis without NaN; NaN where nothing is left."""
    finite = np.isfinite(values)
    count = finite.sum(axis=-1)
    return _ratio(np.where(finite, values, 0.0).sum(axis=-1), count)


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """numerator / denominator, NaN where the denominator is not positive."""
    positive = np.asarray(denominator) > 0
    return np.where(positive, numerator / np.where(positive, denominator, 1), np.nan)


def _centred_ss(count: np.ndarray, total: np.ndarray, squares: np.ndarray) -> np.ndarray:
    """Sum of squares about the mean; exactly 0 where it is rounding only."""
    spread = squares - _ratio(total, count) * total
    return np.where(spread > 1e-12 * squares, spread, 0.0)


def _mse_neuron(count: np.ndarray, error: np.ndarray) -> np.ndarray:
    return _ratio(error, count)


def _r2_neuron(
    count: np.ndarray, total: np.ndarray, squares: np.ndarray, error: np.ndarray
) -> np.ndarray:
    return 1 - _ratio(error, _centred_ss(count, total, squares))


def _pearson_neuron(
    count: np.ndarray,
    total: np.ndarray,
    squares: np.ndarray,
    predicted: np.ndarray,
    predicted_squares: np.ndarray,
    product: np.ndarray,
) -> np.ndarray:
    true_spread = _centred_ss(count, total, squares)
    spread = _centred_ss(count, predicted, predicted_squares)
    covariance = product - _ratio(total, count) * predicted
    correlation = _ratio(covariance, np.sqrt(true_spread * spread))
    return np.where((true_spread > 0) & (spread == 0), 0.0, correlation)


def _skill_neuron(
    count: np.ndarray,
    total: np.ndarray,
    squares: np.ndarray,
    error: np.ndarray,
    reference: np.ndarray,
) -> np.ndarray:
    return 1 - _ratio(error, reference)


def _skill_total(
    count: np.ndarray,
    total: np.ndarray,
    squares: np.ndarray,
    error: np.ndarray,
    reference: np.ndarray,
) -> np.ndarray:
    spread = _centred_ss(count, total, squares)
    return 1 - _ratio(_mean(_ratio(error, spread)), _mean(_ratio(reference, spread)))


def _poisson_ll_gain(count: np.ndarray, spikes: np.ndarray, nll: np.ndarray) -> np.ndarray:
    """(..., N) NLL_null - NLL_model in nats, the null being each neuron's mean rate."""
    rate = np.maximum(_ratio(spikes, count), 1e-9)
    return np.where(count > 0, count * rate - spikes * np.log(rate), 0.0) - nll


def _bits_neuron(count: np.ndarray, spikes: np.ndarray, nll: np.ndarray) -> np.ndarray:
    return _ratio(_poisson_ll_gain(count, spikes, nll), spikes * np.log(2))


def _bits_total(count: np.ndarray, spikes: np.ndarray, nll: np.ndarray) -> np.ndarray:
    gain = _poisson_ll_gain(count, spikes, nll).sum(axis=-1)
    return _ratio(gain, spikes.sum(axis=-1) * np.log(2))


def _poisson_terms(true: np.ndarray, rate: np.ndarray) -> tuple[np.ndarray, ...]:
    if (rate < 0).any():
        raise ValueError(f"expected counts are never negative; the smallest is {rate.min():.3g}")
    rate = np.where(rate == 0, 1e-9, rate)
    return np.ones_like(true), true, rate - true * np.log(rate)


mse = Score(
    "mse",
    lambda true, prediction: (np.ones_like(true), (true - prediction) ** 2),
    _mse_neuron,
    lambda *sums: _mean(_mse_neuron(*sums)),
)
"""Mean squared error, per neuron, averaged over neurons."""

r2 = Score(
    "r2",
    lambda true, prediction: (np.ones_like(true), true, true**2, (true - prediction) ** 2),
    _r2_neuron,
    lambda *sums: _mean(_r2_neuron(*sums)),
    most=1.0,
)
"""1 - error / variance about the neuron's mean over the bins given, averaged over neurons.

Neurons that are constant there are left out.
"""

pearson = Score(
    "pearson",
    lambda true, prediction: (
        *(np.ones_like(true), true, true**2),
        *(prediction, prediction**2, true * prediction),
    ),
    _pearson_neuron,
    lambda *sums: _mean(_pearson_neuron(*sums)),
    most=1.0,
)
"""Correlation over bins, averaged over neurons; 0 for a constant prediction."""

skill = Score(
    "skill",
    lambda true, prediction, reference: (
        *(np.ones_like(true), true, true**2),
        *((true - prediction) ** 2, (true - reference) ** 2),
    ),
    _skill_neuron,
    _skill_total,
    most=1.0,
)
"""1 - (1 - R2) / (1 - R2 of the reference): the share of the reference's error that is removed.

Called with (true, prediction, reference); the reference is usually the last observed frame
(copy-last). 0 = no better than copying, negative = worse.
"""

bits_per_spike = Score(
    "bits_per_spike",
    _poisson_terms,
    _bits_neuron,
    _bits_total,
)
"""Poisson log-likelihood above each neuron's mean rate over the tensor given, in bits per spike.

The prediction is in expected counts per bin; a rate of 0 counts as 1e-9. Neurons are pooled.
"""


def co_bps(true: np.ndarray, prediction: np.ndarray, held_out: np.ndarray) -> float:
    """Bits per spike of the held-out neurons; `held_out` is (N,) bool."""
    return bits_per_spike(true[..., held_out], prediction[..., held_out])


def fp_bps(true: np.ndarray, prediction: np.ndarray, num_observed: int) -> float:
    """Bits per spike of all neurons in the bins after the first `num_observed` of each trial.

    Args:
        true, prediction: (num_trials, num_bins, N).
    """
    return bits_per_spike(true[:, num_observed:], prediction[:, num_observed:])


def _terms(score: Score, true: np.ndarray, *predictions: np.ndarray) -> tuple[np.ndarray, ...]:
    """The score's terms, (num_bins, N) float64, 0 where an entry is NaN."""
    shape = np.shape(true)
    for prediction in predictions:
        if np.shape(prediction) != shape:
            raise ValueError(
                f"{score.name}: the prediction is {np.shape(prediction)}, the truth {shape}"
            )
    flat = [np.asarray(a, dtype=np.float64).reshape(-1, shape[-1]) for a in (true, *predictions)]
    seen = np.isfinite(flat).all(axis=0)
    terms = score.terms(*(np.where(seen, values, 1.0) for values in flat))
    return tuple(np.where(seen, term, 0.0) for term in terms)


def resampled(
    score: Score,
    true: np.ndarray,
    predictions: tuple[np.ndarray, ...],
    blocks: np.ndarray,
    num_resamples: int,
    seed: int,
) -> np.ndarray:
    """(num_resamples,) the score of blocks drawn with replacement; empty with fewer than two.

    Args:
        true, predictions: (T, N) each.
        blocks: (T,) the number of the block that a bin lies in.
    """
    sums = _drawn_sums(score, true, predictions, blocks, num_resamples, seed)
    return score.total(*sums) if sums else np.empty(0)


def _drawn_sums(
    score: Score,
    true: np.ndarray,
    predictions: tuple[np.ndarray, ...],
    blocks: np.ndarray,
    num_resamples: int,
    seed: int,
) -> tuple[np.ndarray, ...]:
    """The score's sums over drawn blocks, each (num_resamples, N); none with less than 2 blocks."""
    names, block = np.unique(blocks, return_inverse=True)
    if len(names) < 2:
        return ()
    draws = np.random.default_rng(seed).multinomial(
        len(names), np.full(len(names), 1 / len(names)), size=num_resamples
    )
    order = np.argsort(block, kind="stable")
    starts = np.searchsorted(block[order], np.arange(len(names)))
    terms = _terms(score, true, *predictions)
    return tuple(draws @ np.add.reduceat(term[order], starts, axis=0) for term in terms)
