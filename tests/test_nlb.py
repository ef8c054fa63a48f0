"""The benchmark's layouts: recognised, and aligned bin for bin as published."""

import math
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small import binned_counts, binned_traces, poisson_spikes, trial_table, units

from nwbdyn import nlb
from nwbdyn.data.binning import bin_recording
from nwbdyn.errors import DataError

SECONDS = 30.0


def maze(num_units=6, num_held_out=2, **trials):
    starts = np.arange(0.5, 26, 1.5)
    onset = starts + 0.4037
    table = trial_table(starts, 1.4, move_onset_time=onset, trial_version=0, **trials)
    heldout = np.arange(num_units) >= num_units - num_held_out
    spikes = poisson_spikes(num_units, SECONDS)
    return units(spikes, intervals=[(0, SECONDS)], trials=table, heldout=heldout)


def with_trials(table, **more):
    spikes = poisson_spikes(3, SECONDS)
    return units(spikes, trials=table, heldout=[False, False, True], **more)


def dmfc_trials(number=12, split="train"):
    starts = np.arange(number) * 2.4 + 0.3
    return trial_table(
        starts,
        2.0,
        set_time=starts + 0.7,
        go_time=starts + 1.7,
        tp=np.linspace(900, 1600, number),
        split=split,
    )


def test_the_four_trial_tables_are_told_apart():
    starts = np.arange(0, 20, 1.0)
    area2 = trial_table(starts, 0.9, move_onset_time=starts + 0.2, ctr_hold_bump=False)
    rtt = trial_table(np.arange(0, 20, 0.6), 0.6, split="train")
    assert nlb.recognise(maze()).name == "maze"
    assert nlb.recognise(with_trials(area2)).name == "area2_bump"
    assert nlb.recognise(with_trials(rtt)).name == "mc_rtt"
    assert nlb.recognise(with_trials(dmfc_trials())).name == "dmfc_rsg"


def test_test_files_are_told_apart_by_their_windows():
    starts = np.arange(0, 20, 0.8)
    maze_test = trial_table(starts, 0.7, move_onset_time=starts + 0.25)
    area2_test = trial_table(starts, 0.6, move_onset_time=starts + 0.1)
    assert nlb.recognise(with_trials(maze_test)).window == (-250, 450)
    assert nlb.recognise(with_trials(area2_test)).window == (-100, 500)


@pytest.mark.parametrize(
    ("num_units", "num_held_out", "name", "lag"),
    [
        (182, 45, "mc_maze", 100),
        (162, 40, "mc_maze_large", 120),
        (152, 38, "mc_maze_medium", 120),
        (142, 35, "mc_maze_small", 120),
        (107, 0, "mc_maze_small", 120),
    ],
)
def test_the_maze_sets_are_told_apart_by_their_units(num_units, num_held_out, name, lag):
    layout = nlb.recognise(maze(num_units, num_held_out))
    assert layout.name == name
    assert layout.velocity_lag == lag


def test_other_recordings_are_not_taken_for_the_benchmark():
    assert nlb.recognise(units(poisson_spikes(3, 10.0))) is None
    reaching = trial_table(np.arange(10.0), 0.6)
    assert nlb.recognise(units(poisson_spikes(3, 10.0), trials=reaching)) is None
    assert nlb.recognise(with_trials(trial_table(np.arange(10.0), 0.9, split="train"))) is None


def first_bin(time, offset_ms, width_ms):
    """Plain Python: the first k with k * width >= time + offset, in exact decimal arithmetic."""
    return math.ceil((Fraction(repr(float(time))) * 1000 + offset_ms) / width_ms)


@settings(deadline=None, max_examples=50)
@given(onsets=st.lists(st.integers(3000, 280_000), min_size=1, max_size=8, unique=True))
def test_a_window_begins_at_the_first_bin_that_starts_at_or_after_its_time(onsets):
    onsets = np.sort(onsets) / 10_000
    recording = units(poisson_spikes(3, SECONDS), intervals=[(0, SECONDS)])
    binned = bin_recording(recording, bin_width=0.005)
    table = trial_table(onsets - 0.3, 1.0, move_onset_time=onsets)
    cut = nlb.align(binned, table, nlb.LAYOUTS["000128"])
    assert cut.starts.tolist() == [first_bin(onset, -250, 5) for onset in onsets]
    assert (cut.observed, cut.forward) == (140, 40)


def test_windows_hold_the_same_spikes_as_counting_by_hand():
    recording = maze()
    binned = bin_recording(recording, bin_width=0.005)
    cut = nlb.align(binned, recording.trials, nlb.recognise(recording))
    for start, onset in zip(cut.starts, cut.trials["move_onset_time"], strict=True):
        first = first_bin(onset, -250, 5)
        for unit in range(6):
            spikes = np.floor(np.round(recording.activity.of(unit) * 1000, 6)).astype(int)
            expected = [
                ((spikes >= 5 * k) & (spikes < 5 * k + 5)).sum() for k in range(first, first + 180)
            ]
            assert binned.values[start : start + 180, unit].tolist() == expected


def test_a_recording_that_starts_late_is_aligned_on_the_same_grid():
    spikes = poisson_spikes(3, 10.0, start=1499.0)
    binned = bin_recording(units(spikes, intervals=[(1499.0, 1509.0)]), bin_width=0.005)
    table = trial_table([1500.0, 1503.0], 1.0, move_onset_time=[1500.4012, 1503.4])
    cut = nlb.align(binned, table, nlb.LAYOUTS["000128"])
    begin = binned.time[cut.starts] - 0.0025
    assert begin == pytest.approx([1500.155, 1503.150])


def test_dmfc_jitter_is_drawn_as_published():
    trials = dmfc_trials()
    numbers = np.random.RandomState(0)
    expected = []
    for produced in trials["tp"]:
        most = math.floor(min(max(1500 - produced, 0), 300) / 5)
        expected.append(round(numbers.random_sample() * most) * 5)
    assert nlb.jitter(trials, 0.005).tolist() == expected
    assert max(expected) > 100
    assert not nlb.jitter(dmfc_trials(split="test"), 0.005).any()


def test_dmfc_windows_end_at_go_plus_jitter():
    recording = with_trials(dmfc_trials(), intervals=[(0, SECONDS)])
    binned = bin_recording(recording, bin_width=0.005)
    layout = nlb.recognise(recording)
    cut = nlb.align(binned, recording.trials, layout)
    late = nlb.jitter(recording.trials, 0.005)
    ends = [
        first_bin(go, int(j), 5) for go, j in zip(recording.trials["go_time"], late, strict=True)
    ]
    assert (cut.starts + cut.observed).tolist() == ends


def test_trials_without_an_onset_or_outside_the_recording_are_dropped_with_a_note():
    binned = bin_recording(units(poisson_spikes(3, 10.0), intervals=[(0, 10.0)]), bin_width=0.005)
    table = trial_table([0.0, 2.0, 4.0, 9.0], 0.9, move_onset_time=[0.1, np.nan, 4.3, 9.5])
    cut = nlb.align(binned, table, nlb.LAYOUTS["000128"])
    assert cut.trials["start_time"].tolist() == [4.0]
    assert [note.code for note in cut.notes] == ["untimed-trials", "trials-outside"]


def test_other_trials_are_cut_to_their_median_length_from_their_start():
    binned = binned_counts(500)
    table = pd.DataFrame({"start_time": [1.0, 3.013, 5.0, 9.8], "stop_time": [1.5, 3.5, 5.7, 10.5]})
    cut = nlb.align(binned, table)
    assert (cut.observed, cut.forward) == (30, 0)
    assert cut.starts.tolist() == [50, 151, 250]
    assert cut.notes[0].code == "trials-outside"


def test_trials_are_aligned_to_native_frames_too():
    cut = nlb.align(binned_traces(100), trial_table([1.0, 4.21], 1.0))
    assert cut.starts.tolist() == [10, 43]
    assert cut.observed == 10


def test_bins_that_do_not_divide_the_window_are_refused():
    binned = bin_recording(units(poisson_spikes(3, 10.0)), bin_width=0.03)
    with pytest.raises(DataError, match="bins of 30 ms do not divide them"):
        nlb.align(binned, trial_table([1.0], 1.0, move_onset_time=[1.5]), nlb.LAYOUTS["000128"])


def test_no_trial_that_fits_is_an_error_that_says_where_the_recording_is():
    with pytest.raises(DataError, match="None of 1 trials fits"):
        nlb.align(binned_counts(100), trial_table([50.0], 1.0))
