"""Spike times that contradict each other, the trials or the rest of the file."""

import re

import h5py
import numpy as np
import pytest
from nwb_files import noted, nwb, opened, table, units
from small import poisson_spikes, trial_table
from small import units as small_units

import nwbdyn
from nwbdyn.data import spike_trains, trial_clock
from nwbdyn.data.binning import bin_recording
from nwbdyn.errors import DataError

SECONDS = 50.0


def six(seed=0):
    """Sorted spike times of six units, 10 Hz for 50 s."""
    return [np.array(times) for times in poisson_spikes(6, SECONDS, rate=10.0, seed=seed)]


def file_of(path, spikes, trials=None):
    with nwb(path) as file:
        units(file, spikes=spikes)
        if trials is not None:
            starts, stops = trials
            table(file["intervals"], "trials", "TimeIntervals", start_time=starts, stop_time=stops)
    return str(path)


def notes_of(path, **options):
    """Code -> the note, of the important notes of a file that is opened."""
    with nwbdyn.open(path, **options) as recording:
        return {note.code: note.reason for note in recording.notes if note.important}


def counts_of(path):
    """Spikes of each unit in the bins."""
    with nwbdyn.open(path) as recording:
        binned = bin_recording(recording)
    return binned.values.sum(axis=0).astype(int).tolist()


def assert_six_digits(text):
    for number in re.findall(r"\d[\d,.]*\d|\d", text):
        assert len(re.sub(r"[,.]", "", number).lstrip("0")) <= 6, number


@pytest.mark.parametrize(("runs", "times"), [(2, "once"), (3, "twice")])
def test_a_unit_whose_times_start_again_is_named_with_the_condition_that_leaves_it_out(
    runs, times, tmp_path
):
    spikes = six()
    spikes[1] = np.concatenate([six(seed)[1] for seed in range(runs)])
    path = file_of(tmp_path / "a.nwb", spikes)
    actual = notes_of(path)
    assert list(actual) == ["restarting-spikes"]
    assert f"unit 1 go back to the start {times}," in actual["restarting-spikes"]
    assert '--where "id != 1"' in actual["restarting-spikes"]
    assert counts_of(path) == [len(unit) for unit in spikes]
    assert notes_of(path, where="id != 1") == {}


def test_times_in_no_order_are_counted_alike_and_not_important(tmp_path):
    spikes = six()
    spikes[2] = np.random.default_rng(0).permutation(spikes[2])
    path = file_of(tmp_path / "a.nwb", spikes)
    with nwbdyn.open(path) as recording:
        assert [n.code for n in recording.notes] == ["unsorted-spikes"]
    assert counts_of(path) == [len(unit) for unit in spikes]


@pytest.mark.parametrize("in_order", [False, True])
def test_times_that_count_from_each_trial_are_refused(in_order, tmp_path):
    rng = np.random.default_rng(0)
    spikes = [
        np.concatenate([np.sort(rng.uniform(-0.5, 1.5, 12)) for _ in range(60)]) for _ in range(4)
    ]
    if in_order:
        spikes = [np.sort(unit) for unit in spikes]
    starts = 3.0 * np.arange(60)
    path = file_of(tmp_path / "a.nwb", spikes, (starts, starts + 2))
    actual = notes_of(path)
    assert list(actual) == ["relative-spikes"]
    assert_six_digits(actual["relative-spikes"])
    refused = pytest.raises(DataError, match=r"count from each trial.*--trials none")
    with nwbdyn.open(path) as recording, refused:
        bin_recording(recording)


@pytest.mark.parametrize(
    ("starts", "first", "last", "refused"),
    [
        (3.0 * np.arange(60), -0.5, 1.5, True),
        (3.0 * np.arange(60), 0.0, 180.0, False),  # the session's clock
        (3.0 * np.arange(60), 0.0, 30.0, False),  # the units were lost, or the file was cut
        (3.0 * np.arange(5), -0.5, 1.5, False),  # five trials say little
        (5000.0 * np.arange(60), 0.0, 300.0, False),  # trials in milliseconds
        (np.zeros(60), 0.0, 300.0, False),
    ],
)
def test_when_spikes_count_from_each_trial(starts, first, last, refused):
    trials = trial_table(starts, 2.0)
    assert (trial_clock.relative(trials, first, last) is not None) == refused


def test_spikes_stored_twice_and_padding_are_named_and_counted(tmp_path):
    spikes = six()
    spikes[1] = np.repeat(spikes[1], 2)
    spikes[4] = np.r_[spikes[4][:50], np.zeros(150), spikes[4][50:]]
    path = file_of(tmp_path / "a.nwb", spikes)
    actual = notes_of(path)
    assert list(actual) == ["repeated-spikes"]
    assert "units 1 and 4" in actual["repeated-spikes"]
    assert "unit 4 has 150 at 0 s" in actual["repeated-spikes"]
    assert counts_of(path) == [len(unit) for unit in spikes]


def test_equal_times_of_spikes_rounded_to_milliseconds_are_no_repeats(tmp_path):
    rng = np.random.default_rng(0)
    spikes = [np.sort(rng.integers(0, 20_000, 2_000)) / 1000 for _ in range(4)]
    assert np.mean(np.diff(spikes[0]) == 0) > 0.04
    assert notes_of(file_of(tmp_path / "a.nwb", spikes)) == {}


@pytest.mark.parametrize("marker", [-1.0, -999.0])
def test_a_negative_time_stored_again_and_again_is_no_spike(marker, tmp_path):
    spikes = six()
    marked = [np.r_[unit[:100], np.full(30, marker), unit[100:]] for unit in spikes]
    path = file_of(tmp_path / "a.nwb", marked)
    actual = notes_of(path)
    assert list(actual) == ["invalid-spikes"]
    assert f"30 spikes of each of 6 units are at exactly {marker:g} s" in actual["invalid-spikes"]
    assert counts_of(path) == [len(unit) for unit in spikes]


def test_spikes_before_the_start_of_the_session_are_spikes(tmp_path):
    spikes = [unit - 5.0 for unit in six()]
    path = file_of(tmp_path / "a.nwb", spikes)
    assert notes_of(path) == {}
    assert counts_of(path) == [len(unit) for unit in spikes]


@pytest.mark.parametrize("stray", [9e4, 3e6, -1e5, 1e18, 1e300, 1e307])
def test_one_stray_time_is_named_and_stretches_nothing(stray, tmp_path):
    spikes = six()
    expected = [len(unit) for unit in spikes]
    spikes[3] = np.append(spikes[3], stray)
    path = file_of(tmp_path / "a.nwb", spikes)
    actual = notes_of(path)
    assert list(actual) == ["stray-spikes"]
    assert "1 spike of unit 3 lies" in actual["stray-spikes"]
    assert_six_digits(actual["stray-spikes"].replace("e+", " "))
    assert counts_of(path) == expected
    with nwbdyn.open(path) as recording:
        assert bin_recording(recording).num_bins <= SECONDS / 0.02 + 1


def test_a_late_spike_within_the_trials_is_not_stray(tmp_path):
    spikes = six()
    spikes[3] = np.append(spikes[3], 190.0)
    starts = np.arange(0.0, 200.0, 10.0)
    path = file_of(tmp_path / "a.nwb", spikes, (starts, starts + 5))
    assert notes_of(path) == {}
    assert counts_of(path) == [len(unit) for unit in spikes]


def test_a_quiet_second_half_is_not_stray(tmp_path):
    spikes = [np.r_[unit, np.linspace(400, 500, 40)] for unit in six()]
    path = file_of(tmp_path / "a.nwb", spikes)
    assert notes_of(path) == {}
    assert counts_of(path) == [len(unit) for unit in spikes]


def test_a_unit_without_spikes_and_one_with_a_single_spike_are_no_contradiction(tmp_path):
    spikes = [*six(), np.zeros(0), np.array([3.0])]
    with nwbdyn.open(file_of(tmp_path / "a.nwb", spikes)) as recording:
        assert [n.code for n in recording.notes] == ["empty-units"]


def test_a_fit_looks_at_spikes_that_were_not_read_before(tmp_path):
    spikes = six()
    spikes[1] = np.concatenate([spikes[1], six(1)[1]])
    file_of(tmp_path / "a.nwb", spikes)
    with opened(tmp_path / "a.nwb") as recording:
        assert "restarting-spikes" not in noted(recording)
        assert [n.code for n in bin_recording(recording).notes] == ["restarting-spikes"]
    with nwbdyn.open(str(tmp_path / "a.nwb")) as recording:
        assert [n.code for n in bin_recording(recording).notes] == []  # noted when it was opened


def test_the_extent_of_spikes_leaves_out_what_is_no_spike():
    spikes = [*six(), [9e6, *np.full(20, -1.0)]]
    actual = spike_trains.examine(small_units([list(unit) for unit in spikes]).activity)
    first, last = min(u[0] for u in spikes[:6]), max(u[-1] for u in spikes[:6])
    assert actual.extent == (first, last)
    assert actual.markers == (-1.0,)


@pytest.mark.parametrize(
    ("value", "text"),
    [(2.0, "2"), (0.1234567, "0.123457"), (195_000, "195,000"), (3e6, "3e+06"), (1e300, "1e+300")],
)
def test_numbers_in_messages_have_at_most_six_digits(value, text):
    assert spike_trains.digits(value) == text


def test_spike_times_that_state_milliseconds_are_noted_above_all(tmp_path):
    path = file_of(tmp_path / "a.nwb", six())
    with h5py.File(path, "a") as file:
        file["units/spike_times"].attrs["unit"] = "ms"
    assert "--spike-time-unit ms" in notes_of(path)["stated-unit"]
    assert "stated-unit" not in notes_of(path, spike_time_unit="ms")
