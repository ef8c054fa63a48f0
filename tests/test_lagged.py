"""Lagged couplings: one edge against a slow sandwich, gaps, and who is called."""

import numpy as np
import pytest
from scipy import stats

from nwbdyn.errors import DataError
from nwbdyn.statistics import lagged


def planted(num_bins: int = 1500, *, seed: int = 0) -> np.ndarray:
    """Five neurons; 0 drives 1 after one bin and 2 after three, with heavy-tailed noise."""
    draw = np.random.default_rng(seed)
    x = np.zeros((num_bins, 5))
    for t in range(3, num_bins):
        x[t] = 0.4 * x[t - 1] + draw.standard_t(5, 5)
        x[t, 1] += 0.3 * x[t - 1, 0]
        x[t, 2] += 0.3 * x[t - 3, 0]
    return x


def slow_wald(values: np.ndarray, rows: np.ndarray, post: int, pre: int) -> float:
    """One edge by loops over bins: least squares, HC3, Newey and West."""
    n = values.shape[1]
    design = np.array(
        [[1.0, *values[t - 1], *values[t - 2], *values[t - 3]] for t in rows], dtype=float
    )
    inverse = np.linalg.inv(design.T @ design)
    solution = inverse @ design.T @ values[rows, post]
    left = values[rows, post] - design @ solution
    score = np.array(
        [row * e / (1 - row @ inverse @ row) for row, e in zip(design, left, strict=True)]
    )
    place = {int(row): k for k, row in enumerate(rows)}
    widest = lagged.bandwidth(len(rows))
    middle = np.zeros((design.shape[1],) * 2)
    for t, k in place.items():
        for apart in range(widest + 1):
            if place.get(t - apart) == k - apart:  # no gap in between
                part = np.outer(score[k], score[place[t - apart]]) * (1 - apart / (widest + 1))
                middle += part if apart == 0 else part + part.T
    covariance = inverse @ middle @ inverse
    chosen = [1 + lag * n + pre for lag in range(3)]
    each = solution[chosen]
    return float(each @ np.linalg.solve(covariance[np.ix_(chosen, chosen)], each))


def test_the_test_of_an_edge_is_the_sandwich_of_the_whole_regression():
    values = planted(300)
    values[100] = np.nan
    segment = np.repeat([0, 1], [200, 100])
    found = lagged.lagged_couplings(values, segment)
    rows = np.array([t for t in range(3, 300) if not 100 <= t <= 103 and not 200 <= t <= 202])
    for post, pre in ((1, 0), (2, 0), (0, 3)):
        wald = slow_wald(values, rows, post, pre)
        assert found.statistic[post, pre] == pytest.approx(wald, rel=1e-6)
        p = stats.f.sf(wald / 3, 3, len(rows) - 16)
        assert found.p[post, pre] == pytest.approx(p, rel=1e-6)


def test_edges_are_found_at_their_lags_and_no_others():
    found = lagged.lagged_couplings(planted(), np.zeros(1500, int))
    assert np.argwhere(found.q <= 0.05).tolist() == [[1, 0], [2, 0]]
    assert (found.lag[1, 0], found.lag[2, 0]) == (1, 3)
    for post in (1, 2):
        assert found.weight[post, 0] == pytest.approx(0.3, abs=4 * found.se[post, 0])


@pytest.mark.slow
def test_p_of_independent_neurons_is_uniform():
    p = []
    for seed in range(20):
        draw = np.random.default_rng(seed)
        x = np.zeros((800, 8))
        for t in range(1, 800):
            x[t] = 0.6 * x[t - 1] + draw.normal(size=8)
        p.append(lagged.lagged_couplings(x, np.zeros(800, int)).p)
    values = np.array(p)[np.isfinite(p)]
    # 1,120 p values, those of a recording nearly independent: .05 +- .0065
    assert (values <= 0.05).mean() < 0.07


def test_a_constant_neuron_has_no_p():
    values = planted()
    values[:, 4] = 2.0
    found = lagged.lagged_couplings(values, np.zeros(1500, int))
    assert np.isnan(found.p[:4, 4]).all()
    assert np.argwhere(found.q <= 0.05).tolist() == [[1, 0], [2, 0]]


def test_too_few_bins_are_refused():
    with pytest.raises(DataError, match="32 are needed"):
        lagged.lagged_couplings(planted(30), np.zeros(30, int))


def test_scores_are_taken_together_over_more_bins_of_longer_recordings():
    assert [lagged.bandwidth(number) for number in (100, 1000, 10_000)] == [4, 6, 11]
