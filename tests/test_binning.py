"""Spikes, traces and covariates on one clock."""

import math
import time
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small import rois, trial_table, units

from nwbdyn.data.binning import bin_recording
from nwbdyn.data.clock import milliseconds, observed, observed_moments
from nwbdyn.errors import ConfigError, DataError
from nwbdyn.recording import Covariate


def codes(binned):
    return [note.code for note in binned.notes]


def counted(spikes, first, num_bins, width_ms):
    """Plain Python: how many spikes fall into each bin, in exact arithmetic on decimal times."""
    counts = [[0] * len(spikes) for _ in range(num_bins)]
    for unit, times in enumerate(spikes):
        for spike in times:
            k = math.floor(Fraction(repr(spike)) * 1000 / width_ms) - first
            if 0 <= k < num_bins:
                counts[k][unit] += 1
    return counts


def test_a_spike_on_the_right_edge_goes_to_the_next_bin():
    binned = bin_recording(units([[0.0, 0.019999, 0.020, 0.040]]), bin_width=0.020)
    assert binned.values[:, 0].tolist() == [2, 1, 1]
    assert binned.time == pytest.approx([0.010, 0.030, 0.050])


def test_times_that_floating_point_puts_just_below_an_edge_still_count_on_it():
    # 0.29 * 1000 is 289.99999999999994 and 1.005 / 0.005 is 200.99999999999997
    binned = bin_recording(units([[0.0, 0.29, 1.005]]), bin_width=0.005)
    assert np.flatnonzero(binned.values[:, 0]).tolist() == [0, 58, 201]


@settings(deadline=None, max_examples=60)
@given(
    spikes=st.lists(
        st.lists(st.integers(0, 40_000).map(lambda tenth: tenth / 10_000), max_size=30),
        min_size=1,
        max_size=4,
    ),
    offset=st.sampled_from([0.0, 0.0035, 1499.0, 4397.0125]),
    width_ms=st.sampled_from([1, 5, 20, 50]),
)
def test_counts_agree_with_counting_by_hand(spikes, offset, width_ms):
    spikes = [[round(offset + spike, 4) for spike in unit] for unit in spikes]
    spikes.append([round(offset + 0.001, 4)])  # never quite silent
    binned = bin_recording(units(spikes), bin_width=width_ms / 1000)
    first = round(binned.time[0] * 1000 / width_ms - 0.5)
    expected = np.array(counted(spikes, first, binned.num_bins, width_ms))
    assert binned.values.tolist() == expected[:, expected.any(axis=0)].tolist()
    assert binned.values.sum() == sum(map(len, spikes))


def test_the_grid_of_a_late_recording_is_aligned_to_zero():
    binned = bin_recording(units([[1499.013, 1499.2]]), bin_width=0.020)
    assert binned.time[0] == pytest.approx(1499.010)
    assert binned.num_bins == 11


def test_bins_whose_width_is_not_whole_milliseconds_are_counted_too():
    binned = bin_recording(units([[0.0, 0.0124, 0.0125, 0.1]]), bin_width=0.0125)
    assert binned.values[:, 0].tolist() == [2, 1, 0, 0, 0, 0, 0, 0, 1]


def test_a_bin_is_valid_when_its_first_millisecond_is_observed():
    intervals = [(0.0, 0.0201), (0.0349, 0.060)]
    binned = bin_recording(units([[0.001, 0.05]], intervals=intervals), bin_width=0.010)
    # bins begin at 0, 10, 20, 30, 40, 50 ms; the first interval ends within millisecond 20
    assert binned.valid.tolist() == [True, True, False, False, True, True]
    assert len(set(binned.segment[[0, 1]])) == 1
    assert binned.segment[1] != binned.segment[4]


def test_touching_observed_intervals_make_no_gap():
    intervals = [(0.0, 0.03), (0.03, 0.06)]
    binned = bin_recording(units([[0.001, 0.05]], intervals=intervals), bin_width=0.010)
    assert binned.valid.all()
    assert not binned.segment.any()


def test_invalid_times_are_masked():
    recording = units([[0.0, 0.095]], invalid_times=[(0.025, 0.041)])
    binned = bin_recording(recording, bin_width=0.010)
    assert np.flatnonzero(~binned.valid).tolist() == [2, 3, 4]


def test_silent_units_are_dropped_with_a_note():
    recording = units([[0.01, 0.2], [], [5.0]], intervals=[(0.0, 1.0)], cell_type=["a", "b", "c"])
    binned = bin_recording(recording)
    assert binned.neurons.table["cell_type"].tolist() == ["a"]
    assert codes(binned) == ["empty-unit", "empty-unit", "uncounted-spikes"]


def test_a_recording_without_any_spike_is_refused():
    with pytest.raises(DataError, match="no spikes at all"):
        bin_recording(units([[], []]))
    with pytest.raises(DataError, match="No neuron"):
        bin_recording(units([[], []], intervals=[(0.0, 1.0)]))


def test_a_stray_spike_time_does_not_ask_for_more_memory_than_there_is():
    with pytest.raises(DataError, match=r"spans 1e\+12 s.*larger --bin-width"):
        bin_recording(units([[0.0, 1e12], [1.0]]))


@pytest.mark.parametrize("width", [0, -1.0, math.nan, math.inf])
def test_a_bin_width_that_is_no_width_is_refused(width):
    with pytest.raises(ConfigError, match="Bin width"):
        bin_recording(units([[0.1]]), bin_width=width)


def test_a_bin_longer_than_the_recording_is_refused():
    with pytest.raises(DataError, match=r"one bin of 1000 s. Pass a smaller --bin-width"):
        bin_recording(units([[10.1, 10.7]], intervals=[(10.0, 12.0)]), bin_width=1000)


def test_one_neuron_is_fine_here():
    assert bin_recording(units([[0.1, 0.3]])).num_neurons == 1


def test_traces_keep_their_frames_and_a_long_interval_starts_a_segment():
    times = np.array([0.0, 1.0, 2.0, 3.4, 6.0, 7.0])
    binned = bin_recording(rois(np.arange(12).reshape(6, 2), times))
    assert binned.time.tolist() == times.tolist()
    assert binned.segment.tolist() == [0, 0, 0, 0, 1, 1]
    assert binned.bin_width == 1.0


def test_a_block_of_nan_is_invalid_and_ends_a_segment():
    data = np.random.default_rng(0).normal(size=(10, 2))
    data[4:6] = np.nan
    binned = bin_recording(rois(data, np.arange(10.0)))
    assert np.flatnonzero(~binned.valid).tolist() == [4, 5]
    assert binned.segment[3] != binned.segment[6]


def test_rois_that_say_nothing_are_dropped_with_the_reason():
    data = np.random.default_rng(0).normal(size=(10, 4))
    data[:, 1] = np.nan
    data[2:9, 2] = np.nan
    data[:, 3] = 7.0
    binned = bin_recording(rois(data, np.arange(10.0)))
    assert binned.num_neurons == 1
    assert codes(binned) == ["all-nan", "mostly-nan", "constant"]
    assert binned.valid.all()


def test_frames_out_of_order_are_left_out():
    data = np.arange(10.0).reshape(5, 2)
    binned = bin_recording(rois(data, np.array([0.0, 1.0, 0.5, np.nan, 2.0])))
    assert binned.values[:, 0].tolist() == [0, 2, 8]
    assert codes(binned) == ["unordered-frames"]


def test_wide_bins_take_the_mean_of_their_frames():
    data = np.array([[1.0], [3.0], [5.0], [9.0]])
    binned = bin_recording(rois(data, np.array([0.0, 0.4, 1.0, 1.6])), bin_width=1.0)
    assert binned.values[:, 0].tolist() == [2.0, 7.0]


def test_a_bin_that_jitter_left_empty_holds_the_last_frame_until_a_gap():
    times = np.array([0.05, 0.95, 2.0, 3.0, 7.0, 8.0])
    binned = bin_recording(rois(np.arange(6.0)[:, None], times), bin_width=1.0)
    assert binned.values[:4, 0].tolist() == [0.5, 1, 2, 3]
    assert binned.valid.tolist() == [True] * 4 + [False] * 3 + [True] * 2
    assert codes(binned) == ["held-frames"]


@pytest.mark.parametrize(("width", "refused"), [(0.02, True), (0.098, True), (0.1, False)])
def test_bins_shorter_than_a_frame_interval_are_refused_with_the_interval(width, refused):
    recording = rois(np.random.default_rng(0).normal(size=(50, 2)), np.arange(50) / 10)
    if not refused:
        assert bin_recording(recording, bin_width=width).num_bins == 50
        return
    message = rf"Bins of {width:g} s .* interval of small, 0\.1 s.*--bin-width 0\.1 or more"
    with pytest.raises(DataError, match=message):
        bin_recording(recording, bin_width=width)


def test_frames_whose_intervals_alternate_have_no_gaps_and_their_mean_interval():
    times = np.cumsum(np.tile([0.03, 0.09], 100))
    binned = bin_recording(rois(np.random.default_rng(0).normal(size=(200, 2)), times))
    assert len(np.unique(binned.segment)) == 1
    assert binned.bin_width == pytest.approx(0.06, rel=0.01)


def test_a_lost_frame_is_a_gap_at_any_rate_of_a_session():
    slow, fast = np.arange(60) * 0.2, 12 + np.arange(60) * 0.05
    times = np.delete(np.concatenate([slow, fast]), [30, 90])
    binned = bin_recording(rois(np.random.default_rng(0).normal(size=(118, 2)), times))
    late = np.flatnonzero(np.diff(binned.segment)) + 1
    assert times[late].tolist() == pytest.approx([31 * 0.2, 12 + 31 * 0.05])


def test_pauses_after_every_few_frames_are_gaps():
    times = np.concatenate([10 * trial + np.arange(3) * 0.1 for trial in range(30)])
    binned = bin_recording(rois(np.random.default_rng(0).normal(size=(90, 2)), times))
    assert len(np.unique(binned.segment)) == 30
    assert binned.bin_width == pytest.approx(0.1)


@settings(deadline=None, max_examples=40)
@given(moment=st.integers(5, 35), width=st.sampled_from([1.4, 2.5]))
def test_no_bin_of_traces_knows_a_later_frame(moment, width):
    rng = np.random.default_rng(moment)
    times = np.cumsum(rng.uniform(0.7, 1.3, 40))
    data = rng.normal(size=(40, 2))
    changed = data.copy()
    changed[moment:] += 100
    before, after = (bin_recording(rois(d, times), bin_width=width) for d in (data, changed))
    earlier = before.time + width / 2 <= times[moment]
    assert np.array_equal(before.values[earlier], after.values[earlier], equal_nan=True)


def test_covariates_are_the_last_sample_before_the_bin_ends():
    speed = Covariate("speed", np.array([[1.0], [2.0], [3.0]]), np.array([0.0, 0.1, 0.2]))
    recording = units([[0.0, 0.29]], covariates=(speed,))
    binned = bin_recording(recording, bin_width=0.1, covariates=["speed"])
    assert binned.covariates[:, 0].tolist() == [1, 2, 3]
    assert binned.covariate_names == ("speed",)


def test_on_native_frames_a_covariate_at_the_frame_counts_and_a_later_one_does_not():
    samples, times = np.array([[1.0], [2.0], [3.0], [4.0]]), np.array([0.0, 0.9999, 2.0, 3.0001])
    speed = Covariate("speed", samples, times)
    binned = bin_recording(
        rois(np.arange(8.0).reshape(4, 2), np.arange(4.0), covariates=(speed,)),
        covariates=["speed"],
    )
    assert binned.covariates[:, 0].tolist() == [1, 2, 3, 3]


def test_channels_have_names_and_an_all_nan_one_is_left_out():
    data = np.column_stack([np.arange(5.0), np.full(5, np.nan)])
    velocity = Covariate("hand_vel", data, np.arange(5.0), channels=("x", "y"))
    binned = bin_recording(
        rois(np.arange(10.0).reshape(5, 2), np.arange(5.0), covariates=(velocity,)),
        covariates=["hand_vel"],
    )
    assert binned.covariate_names == ("hand_vel[x]",)
    assert codes(binned) == ["all-nan"]


def test_a_stale_covariate_is_nan_and_noted():
    speed = Covariate("speed", np.array([1.0, 2.0, 3.0]), np.array([0.0, 1.0, 2.0]))
    binned = bin_recording(
        rois(np.arange(12.0).reshape(6, 2), np.arange(6.0), covariates=(speed,)),
        covariates=["speed"],
    )
    assert np.isnan(binned.covariates[:, 0]).tolist() == [False, False, False, False, True, True]
    assert codes(binned) == ["covariate-gaps"]


def test_an_unknown_covariate_names_those_there_are():
    speed = Covariate("speed", np.zeros((3, 1)), np.arange(3.0))
    with pytest.raises(DataError, match="'pupil'; there are: speed"):
        bin_recording(units([[0.1]], covariates=(speed,)), covariates=["pupil"])


def test_trials_are_put_in_time_order():
    trials = trial_table([3.0, 1.0, np.nan, 2.0], 0.5, side=["c", "a", "?", "b"])
    binned = bin_recording(units([[0.1, 4.0]], trials=trials))
    assert binned.trials["side"].tolist() == ["a", "b", "c"]
    assert codes(binned) == ["untimed-trials"]


@pytest.mark.slow
def test_the_benchmarks_largest_recording_is_binned_in_seconds():
    rng = np.random.default_rng(0)
    each = 7_600_000 // 182
    spikes = np.sort(rng.uniform(0, 6900, (182, each)), axis=1)
    recording = units([[0.0]] * 182)
    activity = replace(recording.activity, times=spikes.ravel(), index=each * np.arange(1, 183))
    begun = time.perf_counter()
    binned = bin_recording(replace(recording, activity=activity), bin_width=0.005)
    assert binned.values.sum() == 182 * each
    assert time.perf_counter() - begun < 30  # 5 s on one core of the development machine


def test_a_pause_of_all_units_is_noted_and_an_ordinary_silence_is_not():
    steady = [float(k) / 10 for k in range(100)]
    assert codes(bin_recording(units([steady]))) == []
    paused = bin_recording(units([[*steady, *(time + 200 for time in steady)]]))
    assert codes(paused) == ["silent-stretch"]
    assert "from 9.9 to 200.0 s" in paused.notes[0].reason


@settings(deadline=None, max_examples=60)
@given(
    spikes=st.lists(st.integers(0, 30_000).map(lambda tenth: tenth / 10_000), max_size=40),
    edges=st.lists(st.integers(0, 30_000), min_size=2, max_size=8, unique=True),
)
def test_milliseconds_in_order_are_observed_when_their_times_are(spikes, edges):
    edges = np.sort(edges[: len(edges) // 2 * 2]).reshape(-1, 2) / 10_000
    times = np.sort(np.array(spikes, dtype=float))
    kept = observed_moments(milliseconds(times), edges)
    assert kept.tolist() == milliseconds(times[observed(times, edges)]).tolist()


@settings(deadline=None, max_examples=60)
@given(
    samples=st.lists(st.integers(0, 4000), min_size=1, max_size=30, unique=True).map(sorted),
    missing=st.sets(st.integers(0, 29)),
    width_ms=st.sampled_from([5, 20, 35, 100]),
    offset_ms=st.sampled_from([0, 7, 1499]),
)
def test_covariates_on_any_clock_hold_the_last_known_sample(samples, missing, width_ms, offset_ms):
    times = (np.array(samples) + offset_ms) / 1000
    values = np.arange(len(times), dtype=float)
    values[[k for k in missing if k < len(times)]] = np.nan
    signal = Covariate("signal", values[:, None], times)
    spikes = [[offset_ms / 1000, (offset_ms + 4000) / 1000]]
    recording = units(spikes, covariates=(signal,))
    known = [(t + offset_ms, v) for t, v in zip(samples, values, strict=True) if np.isfinite(v)]
    steps = np.diff([time for time, _ in known])
    longest = max(1.5 * np.median(steps) if len(steps) else 0, width_ms)
    expected = []
    for centre in bin_recording(recording, bin_width=width_ms / 1000).time:
        end = Fraction(round(centre * 2000) + width_ms, 2)  # ms, exact
        before = [(time, value) for time, value in known if time < end]
        recent = before and end - before[-1][0] <= longest
        expected.append(before[-1][1] if recent else np.nan)
    if not np.isfinite(expected).any():
        with pytest.raises(DataError, match="covariate 'signal' has no number"):
            bin_recording(recording, bin_width=width_ms / 1000, covariates=["signal"])
        return
    actual = bin_recording(recording, bin_width=width_ms / 1000, covariates=["signal"]).covariates[
        :, 0
    ]
    np.testing.assert_array_equal(actual, np.array(expected, dtype=np.float32))
