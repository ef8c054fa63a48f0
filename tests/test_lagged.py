"""Lagged couplings: one edge against a slow sandwich, gaps, surrogates, and who is called."""

import numpy as np
import pytest
from scipy import stats

from nwbdyn.errors import DataError
from nwbdyn.models._core_terms import sender_functions, sender_slopes
from nwbdyn.statistics import lagged, lagged_regression
from nwbdyn.statistics.lagged_regression import SenderTerms, chosen_terms
from nwbdyn.statistics.significance import benjamini_hochberg


def planted(num_bins: int = 1500, *, seed: int = 0) -> np.ndarray:
    """Five neurons; 0 drives 1 after one bin and 2 after three, with heavy-tailed noise."""
    draw = np.random.default_rng(seed)
    x = np.zeros((num_bins, 5))
    for t in range(3, num_bins):
        x[t] = 0.4 * x[t - 1] + draw.standard_t(5, 5)
        x[t, 1] += 0.3 * x[t - 1, 0]
        x[t, 2] += 0.3 * x[t - 3, 0]
    return x


def apart(values: np.ndarray, number: int) -> list[np.ndarray]:
    """The recording with each neuron shifted in time by itself."""
    draws = [np.random.default_rng(k).integers(50, len(values) - 50, 5) for k in range(number)]
    return [
        np.stack([np.roll(values[:, i], offset[i]) for i in range(5)], axis=1) for offset in draws
    ]


def slow_estimate(
    z: np.ndarray, rows: np.ndarray, post: int, pre: int, covariate: np.ndarray
) -> tuple[np.ndarray, np.ndarray, int]:
    """Coefficients of one edge and their covariance by loops over bins: HC3, blocks of time."""
    design = np.array(
        [
            [
                *z[t - 1],
                *z[t - 2],
                *z[t - 3],
                *np.tanh(z[t - 1]),
                *np.maximum(z[t - 1] - 1, 0),
                *np.maximum(z[t - 1] - z[t - 2], 0),
                covariate[t - 1],
                1.0,
            ]
            for t in rows
        ]
    )
    inverse = np.linalg.inv(design.T @ design)
    solution = inverse @ design.T @ z[rows, post]
    left = z[rows, post] - design @ solution
    width = lagged_regression.block_length(len(rows))
    sums: dict[int, np.ndarray] = {}
    for t, row, e in zip(rows, design, left, strict=True):
        score = row * e / (1 - row @ inverse @ row)
        sums[t // width] = sums.get(t // width, 0) + score
    middle = sum(np.outer(one, one) for one in sums.values())
    covariance = inverse @ middle @ inverse * len(sums) / (len(sums) - 1)
    chosen = [5 * term + pre for term in range(6)]
    return solution[chosen], covariance[np.ix_(chosen, chosen)], len(sums)


def test_an_edge_has_the_coefficients_and_the_covariance_of_the_whole_regression():
    values = planted(400)
    values[100] = np.nan
    segment = np.repeat([0, 1], [200, 200])
    covariate = np.random.default_rng(1).normal(size=(400, 1))
    rows = np.array([t for t in range(3, 400) if not 100 <= t <= 103 and not 200 <= t <= 202])
    assert lagged_regression.rows_with_past(values, segment, 3).tolist() == rows.tolist()
    z = (values - values[rows].mean(axis=0)) / values[rows].std(axis=0)
    actual = lagged_regression.estimate(z, rows, SenderTerms(3, functions=True), covariate)
    for post, pre in ((1, 0), (2, 0), (0, 3)):
        beta, covariance, num_blocks = slow_estimate(z, rows, post, pre, covariate[:, 0])
        assert actual.num_blocks == num_blocks
        np.testing.assert_allclose(actual.coefficients[post, pre], beta, atol=1e-5)
        np.testing.assert_allclose(actual.covariance[post, pre], covariance, atol=1e-6, rtol=1e-3)


def test_chunks_do_not_change_an_estimate(monkeypatch):
    z, rows = planted(400), np.arange(3, 400)
    terms, none = SenderTerms(3, functions=True), np.zeros((400, 0))
    whole = lagged_regression.estimate(z, rows, terms, none)
    monkeypatch.setattr(lagged_regression, "CHUNK", 1)
    parts = lagged_regression.estimate(z, rows, terms, none)
    assert parts.num_blocks == whole.num_blocks
    np.testing.assert_allclose(parts.covariance, whole.covariance, rtol=1e-4, atol=1e-9)


def test_slopes_are_the_derivatives_of_the_sender_functions():
    newest, before = np.array([-0.5, 0.3, 1.4]), np.array([0.2, -0.9, 1.0])
    slopes = sender_slopes(newest, before, np.tanh)
    step = 1e-6
    for location in (0, 1):
        moved = [newest + step, before] if location == 0 else [newest, before + step]
        after = sender_functions(*moved, np.tanh)
        start = sender_functions(newest, before, np.tanh)
        for slope, up, down in zip(slopes, after, start, strict=True):
            np.testing.assert_allclose(slope[location], (up - down) / step, atol=1e-5)


def test_edges_are_found_at_their_lags_and_no_others():
    actual = lagged.lagged_couplings(planted(), np.zeros(1500, int))
    assert np.argwhere(actual.q <= 0.05).tolist() == [[1, 0], [2, 0]]
    assert (actual.lag[1, 0], actual.lag[2, 0]) == (1, 3)
    for post in (1, 2):
        assert actual.weight[post, 0] == pytest.approx(0.3, abs=4 * actual.se[post, 0])
    np.testing.assert_allclose(actual.weight, actual.by_lag.sum(axis=0))


def test_weights_have_the_units_of_the_values():
    values = planted()
    one = lagged.lagged_couplings(values, np.zeros(1500, int))
    other = lagged.lagged_couplings(values * [10, 1, 1, 1, 1], np.zeros(1500, int))
    assert other.weight[1, 0] == pytest.approx(one.weight[1, 0] / 10, rel=1e-3)
    assert other.se[1, 0] == pytest.approx(one.se[1, 0] / 10, rel=1e-3)
    np.testing.assert_allclose(other.p[1, 0], one.p[1, 0], rtol=1e-2)


def test_p_is_the_larger_of_the_wald_test_and_the_surrogates():
    values = planted()
    actual = lagged.lagged_couplings(values, np.zeros(1500, int), surrogates=apart(values, 4))
    edges = np.isfinite(actual.p)
    assert (actual.p[edges] >= actual.wald_p[edges]).all()
    assert actual.p[edges].min() == pytest.approx(1 / 81)  # 4 surrogates of 20 edges
    assert actual.num_surrogates == 4
    assert np.argwhere(actual.q <= 0.2).tolist() == [[1, 0], [2, 0]]
    np.testing.assert_allclose(actual.q[edges], benjamini_hochberg(actual.p)[edges])


@pytest.mark.parametrize(
    ("p", "expected"), [(0.001, 1 / 5), (0.1, 2 / 5), (0.25, 3 / 5), (0.9, 1.0)]
)
def test_pooled_p_counts_surrogate_edges_with_a_p_as_small(p, expected):
    null = np.array([0.1, 0.2, 0.3, 0.5])
    assert lagged.pooled_p(np.array([[p]]), null)[0, 0] == pytest.approx(expected)
    assert np.isnan(lagged.pooled_p(np.array([[np.nan]]), null)[0, 0])


def test_what_the_surrogates_share_with_the_recording_is_no_edge():
    """Surrogates that keep a coupling explain it: it is subtracted, and not called."""
    values = planted()
    draws = [planted(seed=seed) for seed in range(1, 11)]
    actual = lagged.lagged_couplings(values, np.zeros(1500, int), surrogates=draws)
    assert not (actual.q <= 0.05).any()
    assert actual.weight[1, 0] > 0.2


@pytest.mark.parametrize(
    ("p", "combined"),
    [((0.5, 0.5), 0.5), ((0.01, 0.01), 0.01), ((0.01, 0.5), 0.02), ((1e-200, 1.0), 2e-200)],
)
def test_the_combination_of_two_tests_is_at_most_twice_the_smaller_p(p, combined):
    # Tangents of .5 - p are added: one test that says nothing doubles the p of the other.
    actual = lagged.cauchy_combination(np.array(p)[:, None])[0]
    assert actual == pytest.approx(combined, rel=0.01)


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
    actual = lagged.lagged_couplings(values, np.zeros(1500, int))
    assert np.isnan(actual.p[:4, 4]).all()
    assert np.argwhere(actual.q <= 0.05).tolist() == [[1, 0], [2, 0]]


def test_counts_of_zero_and_one_are_tested_over_lags_alone():
    values = (planted() > 1).astype(float)
    actual = lagged.lagged_couplings(values, np.zeros(1500, int), functions=False)
    assert actual.terms == SenderTerms(3, functions=False)
    assert np.isfinite(actual.p[~np.eye(5, dtype=bool)]).all()


@pytest.mark.parametrize(
    ("num_rows", "num_neurons", "functions", "chosen"),
    [
        (62, 5, True, SenderTerms(3, True)),
        (61, 5, True, SenderTerms(3, False)),
        (62, 5, False, SenderTerms(3, False)),
        (31, 5, True, SenderTerms(2, False)),
        (21, 5, True, SenderTerms(1, False)),
        (10**6, 500, True, SenderTerms(3, False)),
        (10**6, 900, True, SenderTerms(2, False)),
        (10**6, 3000, True, SenderTerms(1, False)),
    ],
)
def test_short_recordings_and_many_neurons_have_fewer_terms(
    num_rows, num_neurons, functions, chosen
):
    assert chosen_terms(num_rows, num_neurons, functions=functions) == chosen


def test_too_few_bins_are_refused():
    with pytest.raises(DataError, match="12 are needed"):
        lagged.lagged_couplings(planted(14), np.zeros(14, int))


def test_scores_are_summed_over_more_bins_of_longer_recordings():
    assert [lagged_regression.block_length(number) for number in (100, 1000, 10_000)] == [5, 7, 12]


def test_the_joint_test_is_that_of_an_f_distribution():
    fit = lagged_regression.Estimate(
        np.full((2, 2, 2), 2.0), np.tile(np.diag([1.0, 4.0]), (2, 2, 1, 1)), 31
    )
    joint = stats.f.sf((4 + 1) / 2, 2, 30)
    last = stats.f.sf(4.0, 1, 30)
    combined = lagged.cauchy_combination(np.array([[joint], [last]]))[0]
    actual = lagged._p(fit, np.array([[1.0, 0.0], [1.0, 0.0]]), 0.0, 0.0)
    assert actual[0, 1] == pytest.approx(combined, rel=1e-6)
    assert np.isnan(actual[0, 0])
    doubled = lagged._p(fit, np.array([[1.0, 0.0], [1.0, 0.0]]), 0.0, 1.0)
    assert doubled[0, 1] > actual[0, 1]
