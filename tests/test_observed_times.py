"""When units were observed: read whatever the form, and units never observed together refused."""

import re
from dataclasses import replace

import numpy as np
import pytest
from nwb_files import noted, nwb, opened, units
from small import poisson_spikes
from small import units as small_units

import nwbdyn
from nwbdyn.data import observation, selection
from nwbdyn.data.binning import bin_recording
from nwbdyn.errors import DataError

SECONDS = 40.0
EARLY, LATE = [(0.0, 20.0)], [(20.0, 40.0)]


def file_of(path, intervals, *, ids=None, **columns):
    """Units that fire for 40 s, with the observed times of each; as nested lists."""
    with nwb(path) as file:
        spikes = poisson_spikes(len(intervals), SECONDS, rate=5.0)
        made = units(file, spikes=spikes, obs_intervals=intervals, **columns)
        if ids is not None:
            del made["id"]
            made["id"] = ids
    return path


def stored(path, intervals, index=None):
    """Units with `obs_intervals` exactly as given."""
    with nwb(path) as file:
        made = units(file, spikes=poisson_spikes(3, SECONDS, rate=5.0))
        made["obs_intervals"] = intervals
        if index is not None:
            made["obs_intervals_index"] = index
    return path


def important(recording):
    return [note.code for note in recording.notes if note.important]


def conditions_in(message):
    return re.findall(r'--where "([^"]+)"', message)


def test_units_never_observed_together_are_refused_with_conditions_that_work(tmp_path):
    path = file_of(tmp_path / "a.nwb", [EARLY] * 3 + [LATE] * 2, ids=[0, 1, 2, 100, 101])
    with nwbdyn.open(str(path)) as recording:
        assert important(recording) == ["never-together"]
        with pytest.raises(
            DataError, match=r"3 units from 0 to 20 s.*2 units from 20 to 40 s"
        ) as no:
            bin_recording(recording)
    assert conditions_in(str(no.value)) == ["id <= 2", "id >= 100"]
    for condition, number, last in (("id <= 2", 3, 20), ("id >= 100", 2, 40)):
        with nwbdyn.open(str(path), where=condition) as recording:
            assert important(recording) == []
            binned = bin_recording(recording)
            assert binned.num_neurons == number
            assert binned.time[binned.valid][-1] == pytest.approx(last - 0.01)


@pytest.mark.parametrize("kind", ["number", "text", "column", "mixed"])
def test_each_of_three_groups_has_a_condition_that_picks_it_alone(kind, tmp_path):
    middle = [(15.0, 25.0)]
    times = [[(0.0, 15.0)], middle, [(25.0, 40.0)]] * 2
    ids = {"number": None, "mixed": [5, 1, 9, 2, 8, 3], "column": [5, 1, 9, 2, 8, 3]}.get(kind)
    columns = {"probe": ["A", "B", "C"] * 2} if kind == "column" else {}
    path = file_of(tmp_path / "a.nwb", times, ids=ids, **columns)
    if kind == "text":
        with nwb(tmp_path / "b.nwb") as file:
            spikes = poisson_spikes(6, SECONDS, rate=5.0)
            made = units(file, spikes=spikes, obs_intervals=times)
            del made["id"]
            made["id"] = np.array([b"u5", b"u1", b"u9", b"u2", b"u8", b"u3"])
        path = tmp_path / "b.nwb"
    with nwbdyn.open(str(path)) as recording:
        with pytest.raises(DataError, match="never observed together") as no:
            bin_recording(recording)
        actual = conditions_in(str(no.value))
        assert len(actual) == 3
        chosen = [selection.where(recording, one).neurons.ids.tolist() for one in actual]
        assert sorted(one for ids in chosen for one in ids) == sorted(
            recording.neurons.ids.tolist()
        )
        assert all(len(ids) == 2 for ids in chosen)
        if kind == "column":
            assert actual == ["probe == 'A'", "probe == 'B'", "probe == 'C'"]


def test_less_than_a_bin_in_common_is_nothing_in_common(tmp_path):
    path = file_of(tmp_path / "a.nwb", [[(0.0, 20.0004)], LATE])
    with opened(path) as recording, pytest.raises(DataError, match=r"only 0\.0004 s is common"):
        bin_recording(recording)
    path = file_of(tmp_path / "b.nwb", [[(0.0, 20.03)], LATE])
    with opened(path) as recording, pytest.raises(DataError, match=r"only 0\.03 s is common"):
        bin_recording(recording)  # two bins of 20 ms


def test_bins_outside_the_times_of_any_unit_are_no_data(tmp_path):
    path = file_of(tmp_path / "a.nwb", [[(0.0, 25.0)], [(10.0, 40.0)]])
    with opened(path) as recording:
        assert [n.important for n in recording.notes if n.code == "unequal-intervals"] == [True]
        assert recording.activity.intervals.tolist() == [[10.0, 25.0]]
        binned = bin_recording(recording)
        inside = [
            int(((unit >= 10) & (unit < 25)).sum()) for unit in map(recording.activity.of, (0, 1))
        ]
    assert binned.time[binned.valid][[0, -1]].tolist() == pytest.approx([10.01, 24.99])
    assert binned.values[binned.valid].sum(axis=0).tolist() == inside
    assert binned.values[~binned.valid].sum() == 0


def test_intervals_that_touch_are_the_time_of_one_that_covers_them(tmp_path):
    path = file_of(tmp_path / "a.nwb", [[(0.0, 20.0), (20.0, 40.0)], [(0.0, 40.0)]])
    with opened(path) as recording:
        assert "unequal-intervals" not in noted(recording)
        assert bin_recording(recording).valid.all()


def test_a_unit_that_states_no_time_is_observed_with_the_others(tmp_path):
    path = file_of(tmp_path / "a.nwb", [EARLY, [], EARLY])
    with opened(path) as recording:
        assert noted(recording)["unstated-intervals"] == "/units/obs_intervals"
        assert recording.activity.intervals.tolist() == [[0.0, 20.0]]


def test_one_interval_per_unit_needs_no_index(tmp_path):
    with opened(stored(tmp_path / "a.nwb", [[0.0, 30.0]] * 3)) as recording:
        assert recording.activity.intervals.tolist() == [[0.0, 30.0]]
        assert "no-interval-index" in noted(recording)


@pytest.mark.parametrize("index", [None, [1, 2, 3], [1.0, 2.0, 3.0], [[1], [2], [3]]])
def test_intervals_stored_in_two_rows_are_turned_round(index, tmp_path):
    path = stored(tmp_path / "a.nwb", np.array([[0.0] * 3, [30.0] * 3]), index)
    with opened(path) as recording:
        assert recording.activity.intervals.tolist() == [[0.0, 30.0]]
        assert "transposed" in noted(recording)


@pytest.mark.parametrize(
    ("intervals", "expected"),
    [
        ([[0.0, 0.0], [30.0, 30.0]], [[0.0, 30.0]]),  # as stored both last 0 s
        ([[0.0, 10.0], [30.0, 30.0]], None),  # one unit without observed time
        ([[0.0, 20.0], [10.0, 30.0]], [[10.0, 20.0]]),  # in order either way: as the schema says
    ],
)
def test_two_intervals_of_two_units_are_turned_round_where_they_last_nothing_as_stored(
    intervals, expected, tmp_path
):
    with nwb(tmp_path / "a.nwb") as file:
        made = units(file, spikes=poisson_spikes(2, SECONDS, rate=5.0))
        made["obs_intervals"], made["obs_intervals_index"] = intervals, [1, 2]
    with opened(tmp_path / "a.nwb") as recording:
        assert ("transposed" in noted(recording)) == (intervals[0] == [0.0, 0.0])
        if expected is not None:
            assert recording.activity.intervals.tolist() == expected


@pytest.mark.parametrize(
    ("intervals", "index"),
    [
        ([[0.0, 30.0]] * 4, None),
        ([[0.0, 30.0]] * 3, [1, 2, 4]),
        ([[0.0, 30.0]] * 3, [3, 2, 1]),
        ([0.0, 30.0, 40.0], [1, 2, 3]),
        (np.zeros((0, 2)), np.zeros(0, int)),
        ([[np.nan, np.nan]] * 3, [1, 2, 3]),
    ],
)
def test_intervals_of_no_form_are_ignored_with_an_important_note(intervals, index, tmp_path):
    with opened(stored(tmp_path / "a.nwb", intervals, index)) as recording:
        assert recording.activity.intervals is None
        assert important(recording) == ["bad-intervals"]


def test_an_interval_stored_backwards_is_turned_round_and_costs_no_other_unit(tmp_path):
    right, backwards = [(0.0, 10.0), (30.0, 40.0)], [(10.0, 0.0), (30.0, 40.0)]
    path = file_of(tmp_path / "a.nwb", [right, backwards, right])
    with opened(path) as recording:
        assert important(recording) == ["reversed-intervals"]
        assert recording.activity.intervals.tolist() == [[0.0, 10.0], [30.0, 40.0]]


def test_an_interval_without_an_end_lasts_until_the_last_spike(tmp_path):
    path = file_of(tmp_path / "a.nwb", [[(0.0, np.inf)], [(-np.inf, 100.0)]])
    with opened(path) as recording:
        trains = [recording.activity.of(unit) for unit in (0, 1)]
        first, last = min(t[0] for t in trains), max(t[-1] for t in trains)
        assert "open-intervals" in noted(recording)
        # to the millisecond around
        assert recording.activity.intervals[0] == pytest.approx([first, last], abs=0.001)
        assert bin_recording(recording).values.sum() == recording.activity.index[-1]


def test_intervals_in_milliseconds_are_read_as_such_where_they_fit(tmp_path):
    path = file_of(tmp_path / "a.nwb", [[(0.0, 10_000.0), (30_000.0, 40_000.0)]] * 2)
    with opened(path) as recording:
        assert important(recording) == ["interval-unit"]
        assert recording.activity.intervals.tolist() == [[0.0, 10.0], [30.0, 40.0]]


@pytest.mark.parametrize(
    ("per_unit", "expected", "differ"),
    [
        ([None, None], None, False),
        ([EARLY, EARLY], EARLY, False),
        ([EARLY, None], EARLY, False),
        ([EARLY, LATE], np.zeros((0, 2)), True),
        ([[(0.0, 30.0)], LATE], [(20.0, 30.0)], True),
    ],
)
def test_common_times_of_units(per_unit, expected, differ):
    arrays = [None if one is None else np.array(one) for one in per_unit]
    shared, own = observation.common(arrays)
    assert (shared is None) == (expected is None)
    assert expected is None or np.array_equal(shared, expected)
    assert (own is not None) == differ


def test_times_of_observation_and_rates_can_be_used_in_a_condition(tmp_path):
    path = file_of(tmp_path / "a.nwb", [EARLY, LATE, EARLY])
    with opened(path) as recording:
        assert selection.where(recording, "observed_until <= 20").neurons.ids.tolist() == [0, 2]
        assert selection.where(recording, "observed_from >= 20").neurons.ids.tolist() == [1]
        rates = np.diff(recording.activity.index, prepend=0) / 20
        fast = selection.where(recording, f"firing_rate >= {rates.max():.6f} - 0.000001")
        assert fast.neurons.ids.tolist() == [int(rates.argmax())]


def test_no_common_interval_means_no_bin_and_not_every_bin():
    recording = small_units([[0.1], [0.2]])
    spikes = replace(recording.activity, intervals=np.zeros((0, 2)))
    with pytest.raises(DataError, match="no spike while the units were observed"):
        bin_recording(replace(recording, activity=spikes))
