"""Validation decides: which penalty, and whether a rung is better than the one below.

The loss of every candidate penalty is summed over blocks of validation bins. A penalty that was
chosen on one half of the blocks is scored on the other half, so that the choice among many
penalties earns nothing by chance. A rung is used where the mean gain over blocks exceeds one
standard error; where several forms compete, the bar rises as in a Bonferroni correction.
"""

from dataclasses import dataclass, field

import numpy as np
from scipy.special import ndtr, ndtri

NUM_BLOCKS = 12  # of validation and of test bins
LEAST_BLOCK = 5  # bins, and never shorter than the horizon
FORMS = ("shared", "per neuron")  # one penalty for all neurons, or one for each


@dataclass(frozen=True)
class Gain:
    """Decrease of the loss against the rung below, paired over blocks."""

    mean: float  # share of the squared error below; counts: bits per spike
    error: float  # standard error over blocks; NaN with one block
    num_blocks: int
    above: bool  # True where the mean exceeds the standard errors that were required


@dataclass(frozen=True)
class Choice:
    """Penalties, and the gain on blocks that did not choose them."""

    penalties: np.ndarray  # (N,) infinity: the neuron stays on the rung below
    form: str  # "shared" or "per neuron"
    gain: Gain
    gains: np.ndarray = field(default_factory=lambda: np.zeros(0), repr=False)  # (num_blocks,)


def blocks(rows: np.ndarray, horizon: int) -> np.ndarray:
    """(n,) block of each row: up to NUM_BLOCKS contiguous parts of equal length."""
    longest = max(LEAST_BLOCK, horizon)
    number = int(np.clip(len(rows) // longest, 1, NUM_BLOCKS))
    return np.arange(len(rows)) * number // max(1, len(rows))


def by_block(losses: np.ndarray, block: np.ndarray) -> np.ndarray:
    """(num_blocks, N) sums of losses (n, N)."""
    starts = np.flatnonzero(np.r_[True, np.diff(block) != 0])
    return np.add.reduceat(losses, starts, axis=0)


def required_errors(num_candidates: int) -> float:
    """Standard errors that the best of several candidates has to exceed; 1 for one candidate."""
    return float(-ndtri(ndtr(-1.0) / num_candidates))


def is_above(
    gains: np.ndarray, *, scale: float = 1.0, required: float | None = None, num_candidates: int = 1
) -> Gain:
    """Test a paired gain.

    Args:
        gains: (num_blocks,) loss below minus loss above.
        scale: what the sum of the gains is divided by.
        required: standard errors; by default `required_errors` of the candidates.
        num_candidates: forms among which the best was taken.
    """
    number = len(gains)
    per_block = gains * number / scale if scale > 0 else np.zeros(number)
    mean = float(per_block.mean())
    if number < 2:
        return Gain(mean, np.nan, number, False)
    error = float(per_block.std(ddof=1) / np.sqrt(number))
    required = required_errors(num_candidates) if required is None else required
    above = mean > 0 and mean > required * error
    return Gain(mean, error, number, bool(above))


def choose(losses: np.ndarray, penalties: np.ndarray, scale: float, *, num_sets: int = 1) -> Choice:
    """Choose penalties from the losses on validation blocks.

    Args:
        losses: (num_penalties + 1, num_blocks, N); the last one is that of the rung below.
        penalties: (num_penalties,).
        scale: see `is_above`.
        num_sets: sets of terms that compete, of which this is one.
    """
    below = losses[-1]
    number, num_neurons = below.shape
    grid = np.r_[penalties, np.inf]
    nothing = np.full(num_neurons, np.inf)
    if number < 2:
        return Choice(nothing, FORMS[0], is_above(np.zeros(number), scale=scale))
    odd = np.arange(number) % 2 == 1
    gains_of = {}
    for form in FORMS:
        gains = np.zeros(number)
        for scored in (odd, ~odd):
            picked = _lowest(losses[:, ~scored].sum(axis=1), form)
            above = np.take_along_axis(losses, picked[None, None], axis=0)[0]
            gains[scored] = (below - above)[scored].sum(axis=1)
        gains_of[form] = gains
    form = max(FORMS, key=lambda one: gains_of[one].sum())
    gain = is_above(gains_of[form], scale=scale, num_candidates=num_sets * len(FORMS))
    if not gain.above:
        return Choice(nothing, form, gain, gains_of[form])
    return Choice(grid[_lowest(losses.sum(axis=1), form)], form, gain, gains_of[form])


def improves(choice: Choice, on: Choice, *, num_forms: int = 2) -> bool:
    """True where the best of several forms of the same terms replaces the first of them."""
    more = is_above(choice.gains - on.gains, num_candidates=num_forms)
    return choice.gain.above and more.above


def _lowest(losses: np.ndarray, form: str) -> np.ndarray:
    """(N,) number of the best penalty; `losses` is (num_penalties + 1, N)."""
    if form == "shared":
        return np.full(losses.shape[1], int(np.argmin(losses.sum(axis=1))))
    return np.argmin(losses, axis=0)
