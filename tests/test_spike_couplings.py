"""Spike couplings: sums over spike pairs against dense regressions, and each decision by hand."""

import numpy as np
import pytest

from nwbdyn.errors import ConfigError, DataError
from nwbdyn.recording import SpikeTimes
from nwbdyn.statistics import coupling_filters, fine_counts, spike_couplings, time_scale
from nwbdyn.statistics.coupling_filters import Filters
from nwbdyn.statistics.time_scale import Candidate

MS = 0.001
INTERVALS = np.array([[0.0, 3.0], [4.0, 9.0]])


def spikes(units, intervals=None) -> SpikeTimes:
    times = np.concatenate([np.sort(np.asarray(unit, dtype=float)) for unit in units])
    return SpikeTimes(times, np.cumsum([len(unit) for unit in units]), intervals=intervals)


def random_spikes(num_units: int = 4, rate: float = 15.0, seconds: float = 9.0, seed: int = 0):
    draw = np.random.default_rng(seed)
    return [draw.uniform(0, seconds, draw.poisson(rate * seconds)) for _ in range(num_units)]


def driven(seconds: float = 400.0, *, delay: float = 0.003, chance: float = 0.15, seed: int = 0):
    """Four units at 5 Hz; unit 1 follows a spike of unit 0 after `delay` with some chance."""
    draw = np.random.default_rng(seed)
    units = random_spikes(4, 5.0, seconds, seed)
    follows = units[0][draw.random(len(units[0])) < chance] + delay
    units[1] = np.concatenate([units[1], follows[follows < seconds]])
    return spikes(units, np.array([[0.0, seconds]]))


def dense(counts: fine_counts.FineCounts) -> tuple[np.ndarray, np.ndarray]:
    """(T, N) counts of every bin up to the last span, and which bins were observed."""
    values = np.zeros((counts.spans[-1, 1], counts.num_units))
    values[counts.bins, counts.units] = counts.counts
    observed = np.zeros(len(values), dtype=bool)
    for start, stop in counts.spans:
        observed[start:stop] = True
    return values, observed


def filtered(values: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """(T, N, K) by a loop over lags."""
    actual = np.zeros((*values.shape, basis.shape[1]))
    for lag, row in enumerate(basis, start=1):
        actual[lag:] += values[:-lag, :, None] * row
    return actual


def test_counts_leave_out_spikes_that_were_not_observed():
    counts = fine_counts.fine_counts(
        spikes([[0.0005, 0.0007, 3.5, 4.0], [np.nan, 2.9999]], INTERVALS), MS
    )
    assert counts.bins.tolist() == [0, 2999, 4000]
    assert counts.units.tolist() == [0, 1, 0]
    assert counts.counts.tolist() == [2.0, 1.0, 1.0]
    assert counts.num_bins == 8000
    assert counts.mean.tolist() == [3 / 8000, 1 / 8000]
    part = counts.within(np.array([[1, 3000], [3500, 3600]]))
    assert part.bins.tolist() == [2999]
    assert part.num_bins == 2999


def test_a_correlogram_is_the_sum_over_all_pairs_of_bins():
    counts = fine_counts.fine_counts(spikes(random_spikes(), INTERVALS), MS)
    actual = fine_counts.correlogram(counts, 30)
    values, observed = dense(counts)
    for lag in (0, 1, 7, 30):
        later, earlier = values[lag:], values[: len(values) - lag]
        both = observed[lag:] & observed[: len(values) - lag]
        expected = later[both].T @ earlier[both] - both.sum() * np.outer(counts.mean, counts.mean)
        assert np.allclose(actual.at(lag), expected)
        assert np.allclose(actual.at(-lag), expected.T)


def test_spans_are_cut_and_merged():
    spans = fine_counts.in_bins(np.array([[2.0, 3.0], [0.0, 1.0], [0.5, 1.5], [5, 5]]), 0.5)
    assert spans.tolist() == [[0, 3], [4, 6]]
    assert fine_counts.in_bins(np.array([[0.2, 1.7]]), 0.5).tolist() == [[1, 3]]  # whole bins
    both = fine_counts.intersect(spans, np.array([[1, 5], [5, 9]]))
    assert both.tolist() == [[1, 3], [4, 5], [5, 6]]
    assert fine_counts.contains(spans, np.arange(-1, 8)).tolist() == [
        *(False, True, True, True, False, True, True, False, False),
    ]


def test_filters_are_those_of_least_squares_on_every_bin():
    """Up to the ends of the recording, whose lags have fewer pairs: a tenth of a standard error."""
    units = random_spikes(3, 15.0, 60.0)
    counts = fine_counts.fine_counts(spikes(units, np.array([[0.0, 60.0]])), MS)
    filters = coupling_filters.raised_cosines(12, 3, MS)
    own = coupling_filters.own_filters(MS)
    fitted = coupling_filters.fit(fine_counts.correlogram(counts, len(own.basis)), filters)
    values, _ = dense(counts)
    by_sender, by_self = filtered(values, filters.basis), filtered(values, own.basis)
    for post in range(3):
        others = [pre for pre in range(3) if pre != post]
        inputs = np.column_stack([*(by_sender[:, pre] for pre in others), by_self[:, post]])
        inputs = inputs - inputs.mean(axis=0)
        target = values[:, post] - values[:, post].mean()
        expected = np.linalg.lstsq(inputs, target, rcond=None)[0]
        actual = fitted.coefficients[post, others].ravel()
        rate = values[:, post].mean() * np.linalg.inv(inputs.T @ inputs)
        error = np.sqrt(np.diag(rate))
        assert (np.abs(actual - expected[:6]) < 0.1 * error[:6]).all()
        assert (np.abs(fitted.own[post] - expected[6:]) < 0.1 * error[6:]).all()
        covariance = fitted.covariance[post, others[0]]
        assert np.allclose(covariance, rate[:3, :3], rtol=0.05, atol=0.05 * rate[0, 0])
    assert (fitted.coefficients[np.arange(3), np.arange(3)] == 0).all()


def test_the_coupling_gain_is_the_difference_of_both_likelihoods():
    counts = fine_counts.fine_counts(driven(60.0, chance=0.5), MS)
    filters = coupling_filters.box(5, MS)
    own = coupling_filters.own_filters(MS)
    fitted = coupling_filters.fit(fine_counts.correlogram(counts, len(own.basis)), filters)
    values, _ = dense(counts)
    coupled = np.einsum("tjk,ijk->ti", filtered(values, filters.basis), fitted.coefficients)
    coupled -= fitted.weight @ fitted.mean
    bits = []
    for weights, added in ((fitted.own_alone, 0.0), (fitted.own, coupled)):
        past = np.einsum("tik,ik->ti", filtered(values, own.basis), weights)
        past -= fitted.mean * (weights @ own.basis.sum(axis=0))
        rate = np.maximum(fitted.mean + past + added, coupling_filters.LOWEST * fitted.mean)
        bits.append((values * np.log(rate) - rate).sum() / np.log(2) / 60)
    assert coupling_filters.coupling_gain(fitted, counts) == pytest.approx(
        bits[1] - bits[0], rel=1e-3
    )
    assert bits[1] - bits[0] > 0.5


def test_filters_reach_from_one_bin_to_their_span():
    box = coupling_filters.box(5, MS)
    assert box.name == "box to 5 ms"
    assert box.basis.tolist() == [[1.0]] * 5
    cosines = coupling_filters.raised_cosines(20, 4, MS)
    assert cosines.basis.shape == (20, 4)
    assert cosines.num_functions == 4
    assert cosines.basis[0].tolist() == pytest.approx([1, 0, 0, 0])
    assert cosines.basis[-1].tolist() == pytest.approx([0, 0, 0, 1])
    assert coupling_filters.own_filters(MS).basis.shape == (200, 6)


def test_candidates_reach_from_2_to_50_ms():
    assert [one.name for one in time_scale.candidates()] == [
        *(f"box to {span} ms" for span in (2, 5, 10, 20, 50)),
        *(f"{n} raised cosines to {span} ms" for n, span in ((2, 5), (3, 10), (4, 20), (5, 50))),
    ]


def test_the_standard_error_of_a_weight_is_that_of_a_sum():
    filters = Filters("made", np.array([[1.0, 1.0], [1.0, 2.0]]))  # sums of 2 and 3
    coefficients = np.array([[[1.0, 2.0]]])
    covariance = np.array([[[[1.0, 0.5], [0.5, 2.0]]]])
    nothing = np.zeros((1, 1))
    actual = coupling_filters.Fitted(
        filters, coefficients, covariance, nothing, nothing, np.ones(1)
    )
    assert actual.weight[0, 0] == 1 * 2 + 2 * 3
    assert actual.se[0, 0] == pytest.approx(np.sqrt(1 * 4 + 2 * 0.5 * 6 + 2 * 9))


@pytest.mark.parametrize(
    ("gains", "of_surrogates", "best"),
    [
        ((0.5, 0.2), (0.0, 0.0), 0),  # the larger gain
        ((0.5, 2.0), (0.0, 1.9), 0),  # common input explains the larger gain
        ((0.5, 2.0), (0.0, 1.0), 1),  # but not all of it here
        ((-0.3, -0.1), (0.0, 0.0), 1),  # no coupling at all
    ],
)
def test_the_time_scale_is_that_of_the_largest_gain_beyond_surrogates(gains, of_surrogates, best):
    each = [Filters("short", np.ones((2, 1))), Filters("long", np.ones((50, 1)))]
    compared = [
        Candidate(filters, gain, common)
        for filters, gain, common in zip(each, gains, of_surrogates, strict=True)
    ]
    assert time_scale.best(compared) is compared[best]


def test_a_negative_gain_of_surrogates_earns_nothing():
    counts = fine_counts.fine_counts(driven(40.0), MS)
    null = fine_counts.fine_counts(spikes(random_spikes(4, 5.0, 40.0, 3), INTERVALS * 4), MS)
    train, val = np.array([[0, 30_000]]), np.array([[30_000, 40_000]])
    many = [coupling_filters.raised_cosines(50, 5, MS)]
    (one,) = time_scale.compare(counts, [null], many, train=train, val=val)
    assert one.surrogate_gain == 0.0
    assert one.excess == one.gain


@pytest.mark.parametrize(
    ("weight", "surrogates", "is_called"),
    [
        (8.0, 0.0, True),  # differs from 0 and from its surrogates
        (8.0, 8.0, False),  # its surrogates have it, too: common input
        (8.0, 7.0, False),  # above 0, and hardly above its surrogates
        (0.0, 8.0, False),  # the reverse of a strong edge: below its surrogates, but not below 0
        (-8.0, 0.0, True),  # inhibition
        (8.0, 16.0, False),  # 0 and the surrogates lie on different sides
        (0.5, -8.0, False),  # above its surrogates, but not above 0
    ],
)
def test_an_edge_differs_from_zero_and_from_its_surrogates(weight, surrogates, is_called):
    draw = np.random.default_rng(0)
    coefficients = np.zeros((6, 6, 2))
    coefficients[1, 0] = weight
    covariance = np.broadcast_to(np.eye(2), (6, 6, 2, 2))
    null = draw.normal(size=(20, 6, 6, 2))
    null[:, 1, 0] += surrogates
    _, p = spike_couplings.joint_test(coefficients, covariance, null)
    assert (p[1, 0] < 1e-4) == is_called
    assert np.isnan(p.diagonal()).all()


def test_p_of_chance_filters_is_uniform_or_larger():
    draw = np.random.default_rng(1)
    covariance = np.broadcast_to(np.diag([1.0, 4.0]), (20, 20, 2, 2))
    scale = np.array([1.0, 2.0])
    coefficients = scale * draw.normal(size=(20, 20, 2))
    null = 0.5 * scale * draw.normal(size=(20, 20, 20, 2))
    _, p = spike_couplings.joint_test(coefficients, covariance, null)
    # of 380 p values 19 +- 4.2 lie below .05 where only the Wald test decides
    assert np.nansum(p < 0.05) <= 32


def fitted(recording: SpikeTimes, **others) -> spike_couplings.SpikeCouplings:
    end = recording.intervals.max()
    return spike_couplings.spike_couplings(
        recording,
        train=np.array([[0.0, 0.7 * end]]),
        val=np.array([[0.7 * end, end]]),
        each=[coupling_filters.box(5, MS), coupling_filters.box(50, MS)],
        num_surrogates=10,
        **others,
    )


def test_a_fast_edge_is_found_and_its_reverse_is_not():
    actual = fitted(driven())
    assert actual.chosen.filters.name == "box to 5 ms"
    assert np.argwhere(actual.q <= 0.05).tolist() == [[1, 0]]
    assert actual.q[1, 0] / actual.p[1, 0] == pytest.approx(12)  # the smallest p of 12 edges
    assert actual.weight[1, 0] == pytest.approx(0.15, abs=4 * actual.se[1, 0])
    assert actual.filters[1, 0].sum() == pytest.approx(actual.weight[1, 0])


def test_common_input_slower_than_the_window_is_no_edge():
    """Both rates rise and fall together within some 200 ms, three times a second."""
    draw = np.random.default_rng(4)
    units = random_spikes(3, 3.0, 400.0, 5)
    starts = draw.uniform(0, 399, 1200)
    for unit in (0, 1):
        extra = starts.repeat(2) + draw.normal(0.5, 0.05, 2400)
        units[unit] = np.concatenate([units[unit], extra])
    actual = fitted(spikes(units, np.array([[0.0, 400.0]])))
    wald = np.abs(actual.weight[1, 0]) / actual.se[1, 0]
    assert wald > 4  # a plain test is certain of it
    assert not (actual.q <= 0.05).any()


def test_a_unit_with_three_spikes_is_not_tested():
    recording = driven(100.0)
    units = [recording.of(unit) for unit in range(4)]
    units[3] = units[0][:3] + 0.002
    actual = fitted(spikes(units, recording.intervals))
    assert np.isnan(actual.q[3]).all()
    assert np.isnan(actual.q[:, 3]).all()
    assert np.isfinite(actual.q[1, 0])


def test_a_silent_unit_is_not_tested_either():
    recording = driven(100.0)
    units = [*(recording.of(unit) for unit in range(4)), np.zeros(0)]
    actual = fitted(spikes(units, recording.intervals))
    assert np.isnan(actual.q[4]).all()
    assert np.isfinite(actual.weight).all()


def test_the_same_seed_gives_the_same_p():
    recording = driven(50.0)
    assert np.array_equal(fitted(recording).p, fitted(recording).p, equal_nan=True)


def test_the_hypothesis_names_the_window_of_the_surrogates():
    assert "finer than 30 ms" in fitted(driven(50.0), window=0.03).hypothesis


def test_too_few_surrogates_and_a_split_without_time_are_refused():
    recording = driven(50.0)
    with pytest.raises(ConfigError, match="jitter:20"):
        spike_couplings.spike_couplings(
            recording, train=np.array([[0, 30]]), val=np.array([[30, 50]]), num_surrogates=3
        )
    with pytest.raises(DataError, match="validation"):
        spike_couplings.spike_couplings(
            recording, train=np.array([[0, 30]]), val=np.array([[60, 70]])
        )
