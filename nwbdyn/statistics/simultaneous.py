"""Simultaneous couplings: which pairs of neurons act within the same frames, given all others.

Most imaging is slower than synapses, so a next-frame model has nothing to see. The partial
correlation of two neurons given all others is undirected. It is estimated from a correlation matrix
shrunk towards the identity; the penalty is chosen by the likelihood of held-out blocks of time,
smoothing and threshold of events (`frame_signals`) by how well two halves of the blocks agree.

Two tests have to agree on a pair:

- its partial correlation differs from 0 (the standard error is the larger of a jackknife over
  blocks, pooled over each neuron's pairs, and that of independent neurons: pairs of rare events
  that never coincide would otherwise look certain);
- it differs from the mean of surrogates in which each neuron's frames are exchanged with frames in
  which all others are nearly as active. These keep bursts of the whole population.

The p of a pair is the larger of both, and 1 where the two differences have opposite signs.
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from nwbdyn.errors import ConfigError, DataError
from nwbdyn.results.sections.simultaneous import Signal
from nwbdyn.statistics.frame_signals import (
    Innovations,
    correlation,
    events,
    has_events,
    innovations,
    unmixed,
)
from nwbdyn.statistics.significance import benjamini_hochberg

SMOOTHING = (1, 2, 3, 4, 5, 6, 8)  # frames
THRESHOLDS = (1.0, 1.5, 2.0, 2.5, 3.0)  # robust standard deviations
PENALTIES = (0.001, 0.01, 0.03, 0.1, 0.2, 0.4, 0.7, 0.9)  # share of the identity
NUM_BLOCKS = 20
FEWEST_FRAMES = 200
FEWEST_SURROGATES = 10
NEIGHBOURS = 10  # frames of nearly the same global activity among which an order is drawn
EVENT_ORDER, TRACE_ORDER = 0, 3  # of the innovations, with and without events
HYPOTHESIS = (
    "neurons act together only as far as the activity of the whole population and all other "
    "recorded neurons make them (frames exchanged among {neighbours} in which all others are "
    "nearly as active); common input to a few neurons passes this null"
)


@dataclass(frozen=True)
class SimultaneousCouplings:
    """Undirected couplings; matrices are symmetric (N, N), NaN on the diagonal."""

    weight: np.ndarray  # partial correlation
    surrogate_weight: np.ndarray  # mean of the surrogates
    se: np.ndarray
    p: np.ndarray
    q: np.ndarray  # over pairs
    chosen: Signal
    compared: tuple[Signal, ...]
    num_surrogates: int

    @property
    def hypothesis(self) -> str:
        """The null hypothesis, in words."""
        return HYPOTHESIS.format(neighbours=NEIGHBOURS)


def simultaneous_couplings(
    values: np.ndarray,
    segment: np.ndarray,
    *,
    num_surrogates: int = 20,
    thresholded: bool | None = None,
    seed: int = 0,
) -> SimultaneousCouplings:
    """Choose the signal, then estimate and test every pair.

    Args:
        values: (T, N) traces, NaN in frames that are not to be used.
        segment: (T,) int, the same number = no gap in between.
        num_surrogates: 10 or more; 0 for couplings without a test, whose p and q are NaN.
        thresholded: the signal is events (traces) or innovations as they are (counts). Default:
            events where innovations have them.

    Raises:
        ConfigError: too few surrogates.
        DataError: fewer than two neurons, or too few frames.
    """
    if 0 < num_surrogates < FEWEST_SURROGATES:
        raise ConfigError(
            f"{num_surrogates} surrogates are too few; {FEWEST_SURROGATES} are needed."
        )
    if values.shape[1] < 2:
        raise DataError("One neuron has no coupling. Choose two or more with --where.")
    plain = innovations(values, segment, order=EVENT_ORDER)
    if len(plain.values) < FEWEST_FRAMES:
        raise DataError(
            f"{len(plain.values)} frames with a past are too few for simultaneous couplings; "
            f"{FEWEST_FRAMES} are needed."
        )
    if has_events(plain) if thresholded is None else thresholded:
        compared, signal = _best_events(unmixed(plain))
    else:
        signal = innovations(values, segment, order=TRACE_ORDER).values
        compared = [_judged(signal, 1, None)]
    chosen = max(compared, key=lambda one: one.agreement)
    weight, se = _jackknife(signal, chosen.penalty, chosen.num_frames)
    p, q, centre = np.full((3, *weight.shape), np.nan)
    if num_surrogates:
        null = _surrogates(signal, chosen, num_surrogates, seed)
        centre, p = null.mean(axis=0), pair_p(weight, se, null)
        upper = np.triu_indices(len(p), 1)
        q[upper] = benjamini_hochberg(p[upper])
    return SimultaneousCouplings(
        weight=weight,
        surrogate_weight=centre,
        se=se,
        p=p,
        q=np.fmin(q, q.T),
        chosen=chosen,
        compared=tuple(compared),
        num_surrogates=num_surrogates,
    )


def partial_correlation(correlations: np.ndarray, penalty: float) -> np.ndarray:
    """(N, N) partial correlations given all other neurons; NaN on the diagonal.

    Args:
        correlations: (N, N).
        penalty: from 0 to 1, the share of the identity that is mixed in. Near 1 what remains is
            proportional to the plain correlation.
    """
    precision = np.linalg.inv(_shrunk(correlations, penalty))
    size = np.sqrt(np.diag(precision))
    partial = -(precision + precision.T) / (2 * np.outer(size, size))
    np.fill_diagonal(partial, np.nan)
    return partial


def pair_p(weight: np.ndarray, se: np.ndarray, null: np.ndarray) -> np.ndarray:
    """(N, N) p that pairs differ from 0 and, in the same direction, from the surrogates' mean.

    Args:
        weight, se: (N, N).
        null: (K, N, N) of surrogates.
    """
    centre, spread = null.mean(axis=0), null.std(axis=0, ddof=1)
    from_zero = weight / se
    from_null = (weight - centre) / np.sqrt(se**2 + spread**2 / len(null))
    agree = np.sign(from_zero) == np.sign(from_null)
    smaller = np.where(agree, np.minimum(np.abs(from_zero), np.abs(from_null)), 0.0)
    return np.where(np.isfinite(weight), 2 * norm.sf(smaller), np.nan)


def exchange(signal: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Each neuron's frames exchanged among NEIGHBOURS in the order of the activity of all others.

    Args:
        signal: (n, N). Activity is the mean size over all neurons but the one that is exchanged.
    """
    size = np.abs(signal)
    total = size.sum(axis=1)
    ties = random.random(len(signal))
    exchanged = np.empty_like(signal)
    whole = len(signal) // NEIGHBOURS * NEIGHBOURS
    for neuron in range(signal.shape[1]):
        order = np.lexsort((ties, np.round(total - size[:, neuron], 9)))
        values = signal[order, neuron]
        groups = values[len(values) - whole :].reshape(-1, NEIGHBOURS)
        rest = random.permutation(values[: len(values) - whole])
        exchanged[order, neuron] = np.r_[rest, random.permuted(groups, axis=1).ravel()]
    return exchanged


def _surrogates(signal: np.ndarray, chosen: Signal, number: int, seed: int) -> np.ndarray:
    """(number, N, N) partial correlations of exchanged frames."""
    random, step = np.random.default_rng([seed, 0]), chosen.num_frames
    return np.stack(
        [
            partial_correlation(
                correlation(exchange(signal[k % step :: step], random)), chosen.penalty
            )
            for k in range(number)
        ]
    )


def _best_events(residuals: Innovations) -> tuple[list[Signal], np.ndarray]:
    """Every smoothing and threshold, and the signal of the best of them."""
    compared: list[Signal] = []
    best: np.ndarray | None = None
    highest = -np.inf
    for num_frames in SMOOTHING:
        smoothed = residuals.smoothed(num_frames)
        if len(smoothed) < FEWEST_FRAMES:
            continue
        for threshold in THRESHOLDS:
            signal = events(smoothed, threshold)
            compared.append(_judged(signal, num_frames, threshold))
            if compared[-1].agreement > highest:
                highest, best = compared[-1].agreement, signal
    assert best is not None  # innovations without smoothing are long enough
    return compared, best


def _judged(signal: np.ndarray, num_frames: int, threshold: float | None) -> Signal:
    """The penalty by the likelihood of the other half, and how well the halves agree then."""
    number = _blocks(len(signal))
    halves = [correlation(signal[number % 2 == half]) for half in (0, 1)]
    scores = [
        sum(_likelihood(halves[k], halves[1 - k], penalty) for k in (0, 1)) for penalty in PENALTIES
    ]
    penalty = PENALTIES[int(np.argmax(scores))]
    upper = np.triu_indices(signal.shape[1], 1)
    first, second = (partial_correlation(half, penalty)[upper] for half in halves)
    known = len(first) > 2 and np.ptp(first) > 0 and np.ptp(second) > 0
    agreement = float(np.corrcoef(first, second)[0, 1]) if known else 0.0
    return Signal(num_frames, threshold, penalty, agreement)


def _likelihood(fitted: np.ndarray, held_out: np.ndarray, penalty: float) -> float:
    """Gaussian log likelihood of correlations under others that are shrunk, up to a constant."""
    shrunk = _shrunk(fitted, penalty)
    _, logarithm = np.linalg.slogdet(shrunk)
    return -float(logarithm + np.trace(np.linalg.solve(shrunk, held_out))) / 2


def _jackknife(
    signal: np.ndarray, penalty: float, num_frames: int
) -> tuple[np.ndarray, np.ndarray]:
    """(N, N) partial correlations, and standard errors from leaving out one block after another.

    Sums over windows of `num_frames` overlap, so independent neurons have fewer degrees of freedom.
    """
    number = _blocks(len(signal))
    without = np.stack(
        [
            partial_correlation(correlation(signal[number != block]), penalty)
            for block in range(NUM_BLOCKS)
        ]
    )
    weight = partial_correlation(correlation(signal), penalty)
    squares = np.square(without - without.mean(axis=0)).sum(axis=0)
    mean = np.nanmean(squares, axis=0)
    pooled = np.outer(mean, mean) / max(float(mean.mean()), 1e-12)
    se = np.sqrt(pooled * (NUM_BLOCKS - 1) / NUM_BLOCKS)
    overlap = (2 * num_frames**2 + 1) / (3 * num_frames)
    independent = (1 - penalty) * np.sqrt(overlap / len(signal))
    return weight, np.maximum(se, independent)


def _blocks(num_frames: int) -> np.ndarray:
    return np.arange(num_frames) * NUM_BLOCKS // num_frames


def _shrunk(correlations: np.ndarray, penalty: float) -> np.ndarray:
    return (1 - penalty) * correlations + penalty * np.eye(len(correlations))
