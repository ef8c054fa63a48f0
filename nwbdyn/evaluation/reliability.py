"""Reliability of a coupling: between seeds, and between the halves of its windows.

Seeds share the recording, and windows the model: neither is an error bar. What refits on halves of
the training blocks say stands beside a null (`trust.refits`).
"""

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from nwbdyn.connectivity.connectivity import Connectivity
from nwbdyn.metrics import correlation
from nwbdyn.results.sections.reliability import Agreement, Reliability

FEWEST_WINDOWS = 4  # of a half-split


def seed_reliability(means: Sequence[np.ndarray]) -> float | None:
    """Mean correlation between two seeds' mean matrices, off the diagonal.

    None with one seed, or where a matrix is constant.

    Args:
        means: (N, N) of each seed.
    """
    if len(means) < 2:
        return None
    return _known(float(np.mean([_between(*pair) for pair in combinations(means, 2)])))


def split_half_reliability(coupling: Connectivity) -> float | None:
    """Correlation between the means over odd and even windows, off the diagonal.

    For windows that do not overlap. None with fewer than FEWEST_WINDOWS, or a constant matrix.
    """
    if coupling.num_windows < FEWEST_WINDOWS:
        return None
    odd = np.arange(coupling.num_windows) % 2 == 1
    return _known(_between(*(coupling.mean(half).to_numpy() for half in (odd, ~odd))))


def reliability(
    means: Sequence[np.ndarray],
    coupling: Connectivity,
    influences: Sequence[np.ndarray],
    influence: Connectivity | None,
) -> Reliability:
    """Reliability of the couplings and influences of a fit.

    Args:
        means: (N, N) mean coupling of each seed.
        coupling: of the seed that is kept.
        influences: (N, N) mean influence of each seed, none where the model has none.
        influence: of the seed that is kept, over time.
    """
    maps = coupling.form == "attention"
    return Reliability(
        of="maps" if maps else "couplings",
        coupling=Agreement(
            seeds=seed_reliability(means),
            windows=split_half_reliability(coupling) if maps else None,
        ),
        influence=None
        if influence is None
        else Agreement(seed_reliability(influences), split_half_reliability(influence)),
    )


def _known(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _between(one: np.ndarray, other: np.ndarray) -> float:
    apart = ~np.eye(len(one), dtype=bool)
    return correlation(one[apart], other[apart])
