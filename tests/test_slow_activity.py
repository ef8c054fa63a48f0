"""The slow activity of a population: what is averaged, and what it keeps from becoming an edge."""

import numpy as np
import pytest

from nwbdyn.models._core_terms import SENDER_LAGS
from nwbdyn.statistics import slow_activity as module
from nwbdyn.statistics.common_input import LIMIT
from nwbdyn.statistics.lagged import lagged_couplings
from nwbdyn.statistics.lagged_regression import rows_with_past
from nwbdyn.statistics.slow_activity import slow_activity, slow_input


def with_slow_input(num_bins=4000, num_units=20, size=0.8, seed=0):
    """Counts of unconnected units whose log rates share one slow input."""
    draw = np.random.default_rng(seed)
    course = np.zeros(num_bins)
    for t in range(1, num_bins):
        course[t] = 0.99 * course[t - 1] + np.sqrt(1 - 0.99**2) * draw.normal()
    loading = draw.choice([-1, 1], num_units)
    return draw.poisson(np.exp(-1.5 + size * np.outer(course, loading))).astype(float)


def test_a_component_is_the_mean_of_bins_before_the_lags_of_the_senders():
    spike = np.zeros((60, 1))
    spike[10] = 1.0
    actual = slow_activity(spike, np.zeros(60, int))
    assert actual.shape == (60, 2)  # one neuron has one component per time constant
    start = np.abs(actual[13]) / np.abs(actual[14])
    np.testing.assert_allclose(start, np.exp(1 / np.array(module.TIME_CONSTANTS)), rtol=0.05)
    before = np.abs(np.diff(actual[:14], axis=0))
    assert before.argmax(axis=0).tolist() == [12, 12]  # bin 13 is the first: it enters bin 14


def test_nothing_is_carried_over_a_gap_and_missing_bins_are_the_mean():
    values = with_slow_input(200)
    segment = np.repeat([4, 9], 100)
    whole = slow_activity(values, segment)
    assert np.array_equal(whole[100:103], np.zeros((3, 6)))
    values[50:60] = np.nan
    assert np.isfinite(slow_activity(values, segment)).all()
    assert slow_activity(np.full((9, 2), np.nan), np.zeros(9, int)).shape == (9, 0)


def test_components_have_most_variance_first():
    actual = slow_activity(with_slow_input(), np.zeros(4000, int))
    variance = actual.var(axis=0).reshape(2, 3)
    assert (np.diff(variance, axis=1) < 0).all()
    assert variance[0, 0] > 3 * variance[0, 1]  # the shared input


def test_a_constant_unit_is_left_at_zero():
    values = np.column_stack([with_slow_input(300), np.ones(300)])
    assert np.isfinite(slow_activity(values, np.zeros(300, int))).all()


def test_a_slow_shared_input_makes_fewer_edges_beside_the_slow_activity():
    values, segment = with_slow_input(size=0.5), np.zeros(4000, int)
    plain = lagged_couplings(values, segment, functions=False)
    beside = lagged_couplings(
        values, segment, functions=False, covariates=slow_activity(values, segment)
    )
    # none of 380 is an edge
    assert (plain.p <= 0.05).sum() > 0.12 * 380
    assert (beside.p <= 0.05).sum() < 0.09 * 380


@pytest.mark.parametrize("delay", [1, 3])
def test_a_coupling_over_lags_stays(delay):
    values = with_slow_input(size=0.0)
    draw = np.random.default_rng(1)
    values[delay:, 1] += draw.random(4000 - delay) < 0.2 * values[:-delay, 0]
    segment = np.zeros(4000, int)
    actual = lagged_couplings(
        values, segment, functions=False, covariates=slow_activity(values, segment)
    )
    assert np.argwhere(actual.q <= 0.01).tolist() == [[1, 0]]
    assert actual.lag[1, 0] == delay


def apart(values, number=4):
    """The recording with each unit shifted in time by itself."""
    draws = np.random.default_rng(5).integers(300, 3700, (number, values.shape[1]))
    return [
        np.column_stack([np.roll(v, n) for v, n in zip(values.T, d, strict=True)]) for d in draws
    ]


@pytest.mark.parametrize(("size", "shared"), [(0.0, False), (0.5, True)])
def test_a_slow_input_is_measured_beyond_surrogates(size, shared):
    values, segment = with_slow_input(size=size), np.zeros(4000, int)
    measured = slow_input(values, segment, apart(values))
    # relative variance of the rates: exp(size ** 2) - 1, of which few counts show a part
    assert (measured > LIMIT) is shared
    assert (abs(measured) < 0.005) is not shared
    assert measured < 0.3


def test_slow_courses_of_their_own_and_couplings_over_lags_are_no_slow_input():
    each = [with_slow_input(num_units=1, size=0.8, seed=k)[:, 0] for k in range(8)]
    values = np.column_stack(each)
    assert slow_input(values, np.zeros(4000, int), apart(values)) < LIMIT / 2
    draw = np.random.default_rng(1)
    values[1:, 1] += draw.random(3999) < 0.3 * values[:-1, 0]
    assert slow_input(values, np.zeros(4000, int), apart(values)) < LIMIT / 2


@pytest.mark.parametrize(("num_bins", "num_units", "num_lags"), [(600, 5, 3), (240, 80, 1)])
def test_what_older_activity_explains_is_that_of_regressions_on_the_lags_of_edges(
    num_bins, num_units, num_lags, monkeypatch
):
    values = with_slow_input(num_bins, num_units)
    values[:, 2] = 1.0  # nothing of a constant is left to explain
    values[50:55] = np.nan
    segment = np.zeros(num_bins, int)
    rows = rows_with_past(values, segment, SENDER_LAGS)
    slow = slow_activity(values, segment)[rows - 1]
    own = [means[rows - 1] for means in module._older_means(values, segment)]
    lags = [values[rows - lag] for lag in range(1, num_lags + 1)]
    inputs = np.column_stack([*lags, np.ones(len(rows))])
    shares = []
    for unit in range(num_units):
        below = np.column_stack([inputs, *(means[:, unit] for means in own)])
        left = [
            np.square(values[rows, unit] - x @ np.linalg.lstsq(x, values[rows, unit])[0]).sum()
            for x in (below, np.column_stack([below, slow]))
        ]
        shares.append(0.0 if unit == 2 else 1 - left[1] / left[0])
    expected = np.mean(shares) / np.mean(values[rows])
    actual = [module.explained_by_older_activity(values, segment)]
    monkeypatch.setattr(module, "CHUNK", 100_000)  # many chunks of rows
    actual.append(module.explained_by_older_activity(values, segment))
    np.testing.assert_allclose(actual, expected, rtol=1e-6)
