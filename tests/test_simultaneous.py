"""Simultaneous couplings: partial correlations by hand, the choice of signal, and who is called."""

import numpy as np
import pytest

from nwbdyn.errors import ConfigError, DataError
from nwbdyn.statistics import frame_signals, simultaneous
from nwbdyn.statistics.frame_signals import Innovations


def gaussian(num_frames: int = 3000, *, seed: int = 0) -> np.ndarray:
    """AR(.8) traces of six neurons; neurons 0 and 1 share half of their innovations' variance."""
    draw = np.random.default_rng(seed)
    drive = draw.normal(size=(num_frames, 6))
    drive[:, 1] = (drive[:, 0] + drive[:, 1]) / np.sqrt(2)
    traces = np.zeros_like(drive)
    for t in range(1, num_frames):
        traces[t] = 0.8 * traces[t - 1] + drive[t]
    return traces


def calcium(num_frames: int = 6000, *, bursts: bool = False, seed: int = 0) -> np.ndarray:
    """Eight traces with events and noise; events of neurons 0 and 1 coincide half of the time.

    With bursts, 70 % of all neurons have an event together, once in 100 frames.
    """
    draw = np.random.default_rng(seed)
    events = (draw.random((num_frames, 8)) < 0.02).astype(float)
    together = (events[:, 0] > 0) & (draw.random(num_frames) < 0.5)
    events[together, 1] += 1
    if bursts:
        burst = draw.random(num_frames) < 0.01
        events[burst] += draw.random((int(burst.sum()), 8)) < 0.7
    traces = np.zeros_like(events)
    for t in range(1, num_frames):
        traces[t] = 0.95 * traces[t - 1] + events[t]
    return traces + 0.1 * draw.normal(size=traces.shape)


def fitted(traces: np.ndarray, **others) -> simultaneous.SimultaneousCouplings:
    segment = np.zeros(len(traces), dtype=int)
    return simultaneous.simultaneous_couplings(traces, segment, num_surrogates=10, **others)


def called(actual: simultaneous.SimultaneousCouplings) -> list[list[int]]:
    upper = np.triu(np.ones(actual.q.shape, dtype=bool), 1)
    return np.argwhere((actual.q <= 0.05) & upper).tolist()


def test_partial_correlation_is_that_of_three_neurons_by_hand():
    r = np.array([[1.0, 0.5, 0.4], [0.5, 1.0, 0.3], [0.4, 0.3, 1.0]])
    actual = simultaneous.partial_correlation(r, 0.0)
    by_hand = (0.5 - 0.4 * 0.3) / np.sqrt((1 - 0.4**2) * (1 - 0.3**2))
    assert actual[0, 1] == pytest.approx(by_hand)
    assert actual[1, 0] == pytest.approx(by_hand)
    assert np.isnan(actual.diagonal()).all()


def test_with_a_large_penalty_it_is_proportional_to_the_plain_correlation():
    r = frame_signals.correlation(np.random.default_rng(0).normal(size=(30, 5)))
    upper = np.triu_indices(5, 1)
    actual = simultaneous.partial_correlation(r, 0.999)[upper] / 0.001
    assert np.allclose(actual, r[upper], atol=0.005)


def test_innovations_are_residuals_of_each_neuron_and_do_not_cross_gaps():
    traces = gaussian(400)
    traces[100] = np.nan
    segment = np.repeat([0, 1], [250, 150])
    actual = frame_signals.innovations(traces, segment, order=2)
    rows = [t for t in range(2, 400) if t not in (100, 101, 102, 250, 251)]
    assert len(actual.values) == len(rows)
    assert np.flatnonzero(np.diff(actual.run)).tolist() == [97, 244]
    past = np.array([[1.0, traces[t - 1, 3], traces[t - 2, 3]] for t in rows])
    target = traces[rows, 3]
    left = target - past @ np.linalg.lstsq(past, target, rcond=None)[0]
    centred = left - np.median(left)
    expected = centred / (1.4826 * np.median(np.abs(centred)))
    assert np.allclose(actual.values[:, 3], expected)


def test_innovations_of_order_zero_are_differences():
    traces = np.cumsum(np.random.default_rng(0).normal(size=(300, 2)), axis=0)
    actual = frame_signals.innovations(traces, np.zeros(300, dtype=int), order=0)
    assert np.allclose(actual.values, frame_signals.robust(np.diff(traces, axis=0)))


def test_a_sum_of_frames_stays_in_one_run():
    actual = Innovations(np.arange(6.0)[:, None], np.array([0, 0, 0, 1, 1, 1]))
    assert actual.smoothed(2).ravel().tolist() == [1.0, 3.0, 7.0, 9.0]
    assert actual.smoothed(1) is actual.values


@pytest.mark.parametrize(
    ("traces", "expected"),
    [
        (calcium(), True),  # heavy above, Gaussian below
        (gaussian(), False),  # Gaussian on both sides
        (-calcium(), False),  # heavy below
        (np.cumsum(np.random.default_rng(0).standard_t(3, (3000, 6)), axis=0), False),  # on both
    ],
)
def test_events_are_heavy_above_and_gaussian_below(traces, expected):
    segment = np.zeros(len(traces), dtype=int)
    assert frame_signals.has_events(frame_signals.innovations(traces, segment, order=0)) == bool(
        expected
    )


def test_events_lie_above_their_threshold():
    values = np.arange(-3.0, 4.0)[:, None]  # median 0, median deviation 2
    actual = frame_signals.events(values, 0.5)[:, 0] * 1.4826 * 2
    assert actual == pytest.approx([0, 0, 0, 0, 0, 2, 3])


def test_shared_light_is_taken_out_of_quiet_frames():
    traces = calcium(8000)
    mixing = np.eye(8) + 0.3 * (np.abs(np.subtract.outer(np.arange(8), np.arange(8))) == 1)
    segment = np.zeros(len(traces), dtype=int)
    mixed = frame_signals.innovations(traces @ mixing, segment, order=0)
    clean = frame_signals.unmixed(mixed)

    def neighbours(actual: Innovations) -> float:
        quiet = (actual.values > 3).sum(axis=1) == 0
        r = frame_signals.correlation(actual.values[quiet])
        return float(np.abs(r[np.arange(2, 7), np.arange(3, 8)]).mean())

    # of 6,000 quiet frames a correlation of independent noise has a standard error of .013
    assert neighbours(mixed) > 0.3
    assert neighbours(clean) < 0.06


def test_too_few_quiet_frames_leave_innovations_as_they_are():
    actual = Innovations(np.random.default_rng(0).normal(size=(50, 8)), np.zeros(50, dtype=int))
    assert frame_signals.unmixed(actual) is actual


@pytest.mark.parametrize(
    ("weight", "surrogates", "is_called"),
    [
        (0.3, 0.0, True),
        (0.3, 0.3, False),  # global activity explains it
        (0.0, 0.3, False),  # below its surrogates, but not below 0
        (-0.3, 0.0, True),
        (0.15, 0.4, False),  # opposite directions
        (0.03, -0.3, False),  # above its surrogates, but not above 0
    ],
)
def test_a_pair_differs_from_zero_and_from_its_surrogates(weight, surrogates, is_called):
    weights = np.array([[np.nan, weight], [weight, np.nan]])
    null = surrogates + 0.02 * np.random.default_rng(0).normal(size=(20, 2, 2))
    p = simultaneous.pair_p(weights, np.full((2, 2), 0.03), null)
    assert (p[0, 1] < 1e-3) == is_called
    assert np.isnan(p[0, 0])


def test_a_neurons_frames_are_exchanged_where_others_are_as_active():
    signal = np.random.default_rng(0).gamma(1.0, size=(105, 4))
    after = simultaneous.exchange(signal, np.random.default_rng(1))
    for neuron in range(4):
        order = np.argsort(np.delete(signal, neuron, axis=1).sum(axis=1))
        for group in [order[:5], *order[5:].reshape(-1, 10)]:
            assert np.allclose(np.sort(after[group, neuron]), np.sort(signal[group, neuron]))
    assert (after != signal).mean() > 0.7


def test_events_that_never_coincide_are_no_negative_coupling():
    """Two coincidences are expected of independent neurons, and there are none."""
    draw = np.random.default_rng(0)
    signal = (draw.random((6000, 8)) < 0.02).astype(float)
    signal[signal[:, 2] > 0, 3] = 0.0
    weight, se = simultaneous._jackknife(signal, 0.01, 1)
    assert -2.5 < weight[2, 3] / se[2, 3] < 0


def test_a_pair_that_shares_innovations_is_found_and_no_other():
    actual = fitted(gaussian())
    assert called(actual) == [[0, 1]]
    assert actual.chosen.threshold is None
    assert "exchanged among 10 in which" in actual.hypothesis
    # the innovations correlate by 1 / sqrt(2); the standard error of 3,000 frames is .01
    assert actual.weight[0, 1] == pytest.approx(2**-0.5, abs=0.04)
    assert np.array_equal(actual.weight, actual.weight.T, equal_nan=True)


def test_coinciding_events_are_found_with_and_without_bursts_of_all():
    for bursts in (False, True):
        actual = fitted(calcium(bursts=bursts))
        assert called(actual) == [[0, 1]]
        assert actual.chosen.threshold is not None
        assert actual.chosen.agreement == max(one.agreement for one in actual.compared)


def test_the_signal_can_be_chosen():
    traces = calcium(3000)
    assert fitted(traces, thresholded=False).chosen.threshold is None
    assert fitted(gaussian(), thresholded=True).chosen.threshold is not None


def test_couplings_without_surrogates_are_the_same_and_have_no_q():
    tested, plain = (
        fitted(gaussian()),
        simultaneous.simultaneous_couplings(
            gaussian(), np.zeros(3000, dtype=int), num_surrogates=0
        ),
    )
    assert np.array_equal(plain.weight, tested.weight, equal_nan=True)
    assert np.array_equal(plain.se, tested.se, equal_nan=True)
    for values in (plain.p, plain.q, plain.surrogate_weight):
        assert np.isnan(values).all()


def test_neurons_with_nothing_in_common_have_no_coupling():
    traces = gaussian(2000, seed=3)
    assert called(fitted(traces[:, 1:])) == []


def test_constant_neurons_do_no_harm():
    traces = gaussian()
    traces[:, 5] = 1.0
    actual = fitted(traces)
    assert called(actual) == [[0, 1]]


@pytest.mark.parametrize(
    ("traces", "error", "words"),
    [
        (np.zeros((1000, 1)), DataError, "One neuron"),
        (gaussian(100), DataError, "99 frames"),
    ],
)
def test_what_cannot_be_tested_is_refused(traces, error, words):
    with pytest.raises(error, match=words):
        fitted(traces)


def test_too_few_surrogates_are_refused():
    with pytest.raises(ConfigError, match="10 are needed"):
        simultaneous.simultaneous_couplings(gaussian(), np.zeros(3000, int), num_surrogates=5)
