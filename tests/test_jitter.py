"""Jitter surrogates: each spike again within its window, and nothing else changed."""

import numpy as np
import pytest
from small import neurons

from nwbdyn.data.binning import Binned
from nwbdyn.data.splits import GAP, TRAIN, VAL, Split
from nwbdyn.errors import ConfigError
from nwbdyn.recording import SpikeTimes
from nwbdyn.statistics.jitter import hypothesis, jitter
from nwbdyn.statistics.surrogates import Null, check_jitter, jitter_counts

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


def binned(labels: np.ndarray, *, valid=None, start: float = 0.0) -> tuple[Binned, Split]:
    """Counts of three neurons in bins of 5 ms."""
    counts = np.random.default_rng(0).poisson(0.6, (len(labels), 3))
    made = Binned(
        session_id="made",
        values=counts.astype(np.float32),
        time=start + 0.005 * (np.arange(len(labels)) + 0.5),
        bin_width=0.005,
        valid=np.ones(len(labels), bool) if valid is None else valid,
        segment=np.zeros(len(labels), int),
        neurons=neurons(3),
        quantity="counts",
        covariates=np.zeros((len(labels), 0), np.float32),
    )
    return made, Split(labels.astype(np.int8), np.ones(3, bool), 0, "made")


def test_counts_move_within_windows_of_one_split_only():
    labels = np.repeat([TRAIN, GAP, VAL], [203, 9, 88])
    valid = np.ones(300, bool)
    valid[50:53] = False
    before, split = binned(labels, valid=valid, start=0.01)
    after = jitter_counts(before, split, random=np.random.default_rng(1))
    window = ((before.time + 1e-9) / 0.02).astype(int)
    stretch = np.cumsum(np.diff(labels, prepend=labels[0]) != 0) + 2 * np.cumsum(
        np.diff(valid, prepend=True)
    )
    for cell in np.unique(10 * window + stretch):
        rows = 10 * window + stretch == cell
        assert np.array_equal(after.values[rows].sum(axis=0), before.values[rows].sum(axis=0))
    fixed = ~valid | (labels == GAP)
    assert np.array_equal(after.values[fixed], before.values[fixed])
    assert (after.values != before.values).mean() > 0.3


def test_a_count_goes_to_every_bin_of_its_window_alike():
    before, split = binned(np.full(40_000, TRAIN))
    after = jitter_counts(before, split, random=np.random.default_rng(1))
    phase = after.values.reshape(-1, 4, 3).sum(axis=(0, 2))
    # 18,000 spikes in each of four bins, with a standard error of 116
    assert np.abs(phase - phase.mean()).max() < 500


@pytest.mark.parametrize(
    ("quantity", "bin_width", "refused"),
    [
        ("counts", 0.005, ""),
        ("counts", 0.01, ""),
        ("counts", 0.02, "bins of 20 ms"),
        ("counts", 0.05, "bins of 50 ms"),
        ("dff", 0.005, "the recording has dff"),
    ],
)
def test_jitter_is_for_spikes_in_fine_bins(quantity, bin_width, refused):
    if refused:
        with pytest.raises(ConfigError, match=refused):
            check_jitter(quantity, bin_width)
    else:
        check_jitter(quantity, bin_width)


def test_jitter_is_a_null_on_the_command_line():
    null = Null.parse("jitter:20")
    assert (null.kind, null.number, str(null)) == ("jitter", 20, "jitter:20")
    with pytest.raises(ConfigError, match="jitter:K for spikes"):
        Null.parse("jitter:1")
