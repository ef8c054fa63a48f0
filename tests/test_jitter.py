"""Jitter surrogates: each spike again within its window, and nothing else changed."""

import numpy as np
import pytest

from nwbdyn.errors import ConfigError
from nwbdyn.recording import SpikeTimes
from nwbdyn.statistics.jitter import hypothesis, jitter
from nwbdyn.statistics.surrogates import Null

WINDOW = 0.02


def spikes(*units, intervals=None) -> SpikeTimes:
    times = np.concatenate([np.sort(np.asarray(unit, float)) for unit in units])
    return SpikeTimes(times, np.cumsum([len(unit) for unit in units]), intervals=intervals)


def random_spikes(seed: int = 0, **others) -> SpikeTimes:
    draw = np.random.default_rng(seed)
    return spikes(*(draw.uniform(0, 30, n) for n in (400, 90, 0, 1)), **others)


def in_windows(times: np.ndarray) -> list[int]:
    """How many spikes each window has, by a loop over spikes."""
    number = [0] * 1500
    for time in times:
        k = int(time / WINDOW)
        while time < k * WINDOW:
            k -= 1
        while time >= (k + 1) * WINDOW:
            k += 1
        number[k] += 1
    return number


def test_every_unit_has_as_many_spikes_in_every_window_as_before():
    before = random_spikes()
    after = jitter(before, random=np.random.default_rng(1))
    for unit in range(4):
        assert in_windows(after.of(unit)) == in_windows(before.of(unit))
        assert (np.diff(after.of(unit)) >= 0).all()


def test_spikes_do_move_and_one_seed_gives_one_surrogate():
    before = random_spikes()
    one, again, other = (
        jitter(before, random=np.random.default_rng(seed)).times for seed in (1, 1, 2)
    )
    assert np.array_equal(one, again)
    assert (one != other).mean() > 0.99
    assert (one != before.times).mean() > 0.99


def test_a_spike_is_uniform_in_its_window():
    before = spikes(np.full(20_000, 5.0299))
    phase = (jitter(before, random=np.random.default_rng(0)).times - 5.02) / WINDOW
    assert phase.min() >= 0
    assert phase.max() < 1
    # the standard error of the mean of 20,000 uniform numbers is .002
    assert abs(phase.mean() - 0.5) < 0.01
    assert abs(phase.std() - 12**-0.5) < 0.01


def test_a_spike_stays_in_its_observed_interval():
    intervals = np.array([[0.0, 10.005], [20.013, 30.0]])
    before = spikes(np.full(500, 10.003), np.full(500, 20.015), intervals=intervals)
    after = jitter(before, random=np.random.default_rng(0))
    assert after.of(0).min() >= 10.0
    assert after.of(0).max() < 10.005
    assert after.of(1).min() >= 20.013
    assert after.of(1).max() < 20.02


def test_times_on_the_edges_of_windows_stay_in_the_window_they_begin():
    edges = np.arange(1, 1000) * WINDOW
    after = jitter(spikes(edges), random=np.random.default_rng(0))
    # one spike in each window; a moved window would leave another empty
    assert (np.abs(after.of(0) - edges - WINDOW / 2) <= WINDOW / 2 + 1e-12).all()


def test_a_time_that_is_no_number_stays():
    before = SpikeTimes(np.array([0.5, np.nan, 0.7]), np.array([2, 3]))
    after = jitter(before, random=np.random.default_rng(0))
    assert np.isnan(after.of(0)).sum() == 1
    assert len(after.of(1)) == 1


def test_the_hypothesis_names_the_window_in_milliseconds():
    assert "finer than 20 ms" in hypothesis(WINDOW)


@pytest.mark.parametrize("window", [0.0, -0.02, np.nan, np.inf])
def test_a_window_that_is_no_width_is_refused(window):
    with pytest.raises(ConfigError, match="positive number of seconds"):
        jitter(random_spikes(), random=np.random.default_rng(0), window=window)


def test_jitter_is_a_null_on_the_command_line():
    null = Null.parse("jitter:20")
    assert (null.kind, null.number, str(null)) == ("jitter", 20, "jitter:20")
    with pytest.raises(ConfigError, match="jitter:K for spikes"):
        Null.parse("jitter:1")
