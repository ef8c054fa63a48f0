"""Is coupling constant in time? A test of the moments of short stretches of a recording.

Scores are products of residuals and senders' last bins, summed over a stretch. Where coupling
drifts, the scores of neighbouring stretches are alike. The statistic is the sum of the products of
the scores of any two stretches, weighted by a kernel of their distance in time: over all receivers,
and for each receiver alone. Own terms that follow time are subtracted from the residuals before.

p comes from the fixed-regressor wild bootstrap (Hansen 2000): senders do not change, and the
residuals of all neurons in a stretch change their sign together. This preserves common input, drift
of the noise's variance, and drift of the senders.
"""

from dataclasses import dataclass

import numpy as np

from nwbdyn.baselines.ladder.following import Stretches, kernel
from nwbdyn.statistics.significance import LEVEL

NUM_DRAWS = 199
PARTS = (4, 8, 16, 32)  # of the recording, that are as long as a kernel's sd


@dataclass(frozen=True)
class Constancy:
    """p values against a constant coupling."""

    p: float  # twice the smaller of the two below, at most 1
    all_p: float  # over all receivers together
    one_p: float  # of the receiver that changes most

    @property
    def changes(self) -> bool:
        return self.p <= LEVEL


def constancy(one: Stretches, *, num_draws: int = NUM_DRAWS, seed: int = 0) -> Constancy:
    """Test whether coupling is constant.

    Args:
        one: `centred`.
    """
    random = np.random.default_rng([seed, 0])
    signs = np.ones((1 + num_draws, len(one)))
    signs[1:] = random.choice((-1.0, 1.0), (num_draws, len(one)))
    values = statistics(one, signs)  # (1 + num_draws, kernels, N)
    all_p = _p(_standardised(values.sum(axis=2)).max(axis=1))
    one_p = _p(_standardised(values).max(axis=(1, 2)))
    return Constancy(min(1.0, 2 * min(all_p, one_p)), all_p, one_p)


def statistics(one: Stretches, signs: np.ndarray) -> np.ndarray:
    """(K, kernels, N) statistic of each receiver.

    Args:
        signs: (K, B) sign of the residuals in each stretch.
    """
    score = one.moment / np.sqrt(one.noise)
    share = one.count / one.count.sum()
    level = np.eye(len(one)) - share[:, None]  # takes a constant change out of the scores
    apart = one.centre[:, None] - one.centre
    weights = [level.T @ kernel(apart, one.span / parts) @ level for parts in PARTS]
    values = np.empty((len(signs), len(PARTS), score.shape[2]))
    for post in range(score.shape[2]):
        others = np.delete(score[:, :, post], post, axis=1)
        alike = others @ others.T  # (B, B)
        for number, weight in enumerate(weights):
            values[:, number, post] = ((signs @ (weight * alike)) * signs).sum(axis=1)
    return values


def _standardised(values: np.ndarray) -> np.ndarray:
    """Relative to mean and sd over the recording and its draws, along the first axis."""
    spread = values.std(axis=0)
    return (values - values.mean(axis=0)) / np.where(spread > 0, spread, 1.0)


def _p(values: np.ndarray) -> float:
    """Share of (1 + K,) that are at least as large as the first."""
    return float((values >= values[0]).mean())
