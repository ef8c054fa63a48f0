"""Trials that cannot be on the recording's clock: noted, and never what a split is made of."""

import re
from dataclasses import replace

import numpy as np
import pytest
from nwb_files import nwb, opened, table, units
from small import poisson_spikes, rois, trial_table
from small import units as small_units
from small_fits import SMALL_STNDT

import nwbdyn
from nwbdyn.data import splits, trial_clock
from nwbdyn.data.binning import bin_recording
from nwbdyn.errors import DataError
from nwbdyn.fitting.task import build_task
from nwbdyn.nlb import bounds
from nwbdyn.request import DataOptions

SECONDS, NUM_UNITS = 60.0, 12
BINS = DataOptions(bin_width=0.1)


def recording_with(starts, length=1.0, **columns):
    spikes = poisson_spikes(NUM_UNITS, SECONDS, rate=8.0)
    return small_units(spikes, trials=trial_table(starts, length, **columns))


def codes(binned):
    return {note.code: note.important for note in binned.notes}


IN_SECONDS = np.arange(1.0, 59.0, 2.0)


@pytest.mark.parametrize(
    ("starts", "words"),
    [
        (np.zeros(40), "all 40 trials start at 0 s"),
        (np.full(40, 30.0), "all 40 trials start at 30 s"),
        (1e3 * IN_SECONDS, "they look like milliseconds"),
        (1e6 * IN_SECONDS, "they look like microseconds"),
        (5_000 + IN_SECONDS, "29 of 29 trials start outside the recording"),
        (np.nan * IN_SECONDS, "none of 29 trials has a start time"),
    ],
)
def test_trials_on_no_clock_of_the_recording_are_noted_and_time_is_split_instead(starts, words):
    recording = recording_with(starts)
    binned = bin_recording(recording, bin_width=0.1)
    actual = {note.code: note for note in binned.notes}
    assert actual["unusable-trials"].important
    assert words in actual["unusable-trials"].reason
    assert binned.trials is None
    split = build_task(recording, "stndt", seed=0, options=SMALL_STNDT, data=BINS).split
    assert split.rule.startswith("contiguous 70/15/15 in time")
    assert all(split.bins(name).sum() > 50 for name in ("train", "val", "test"))
    with pytest.raises(DataError, match=f"--trials trials: .*{words}.*--trials none"):
        build_task(
            recording, "stndt", seed=0, options=SMALL_STNDT, data=replace(BINS, trials="trials")
        )


def test_such_trials_of_an_imaging_recording_are_noted_too():
    data = np.random.default_rng(0).normal(size=(300, 3))
    recording = rois(data, np.arange(300) / 10, trials=trial_table(np.zeros(20), 0.0))
    assert codes(bin_recording(recording)) == {"unusable-trials": True}


@pytest.mark.parametrize(
    ("starts", "usable"),
    [
        (IN_SECONDS, True),
        ([0.0, 0.0, 30.0], True),
        ([5.0], True),
        ([], True),
        ([np.nan, np.nan], False),
        ([5.0, 5.0], False),
        ([10.0, 100.0, 200.0], False),  # one of three inside
        ([10.0, 20.0, 200.0], True),
    ],
)
def test_which_trials_can_divide_a_recording(starts, usable):
    reason = trial_clock.unusable(trial_table(starts, 1.0), 0.0, SECONDS)
    assert (reason is None) == usable


def test_trials_beyond_the_recording_take_no_part_in_the_split():
    inside, beyond = np.arange(1.0, 59.0, 2.0), np.arange(100.0, 150.0, 2.0)
    binned = bin_recording(recording_with(np.concatenate([inside, beyond])), bin_width=0.1)
    assert "unusable-trials" not in codes(binned)
    alone = bin_recording(recording_with(inside), bin_width=0.1)
    for fold in (None, (1, 3)):
        choice = {"seed": 0, "hold_out": False, "gap": 0, "fold": fold}
        actual, expected = splits.make(binned, **choice), splits.make(alone, **choice)
        assert actual.labels.tolist() == expected.labels.tolist()


@pytest.mark.parametrize("model", ["stndt", "synapsnet"])
def test_trials_none_splits_in_time_whatever_the_file_holds(model):
    options = SMALL_STNDT if model == "stndt" else {"context": 4, "hidden": 8}
    recording = recording_with(IN_SECONDS)
    keywords = {"seed": 0, "options": options}
    assert "trials" in build_task(recording, model, **keywords, data=BINS).split.rule
    problem = build_task(recording, model, **keywords, data=replace(BINS, trials="none"))
    assert problem.split.rule.startswith("contiguous 70/15/15 in time")
    assert problem.aligned is None
    assert problem.described()["binning"]["trials"] == "none"


def test_trials_none_fits_spikes_that_count_from_each_trial_as_they_are():
    rng = np.random.default_rng(0)
    spikes = [np.sort(rng.uniform(0, 2, 4_000)).tolist() for _ in range(NUM_UNITS)]
    recording = small_units(spikes, trials=trial_table(3.0 * np.arange(60), 2.0))
    with pytest.raises(DataError, match="count from each trial"):
        build_task(
            recording, "stndt", seed=0, options=SMALL_STNDT, data=DataOptions(bin_width=0.005)
        )
    problem = build_task(
        recording,
        "stndt",
        seed=0,
        options=SMALL_STNDT,
        data=DataOptions(bin_width=0.005, trials="none"),
    )
    assert problem.binned.num_bins == 400


def test_trials_that_overlap_are_noted_and_no_test_bin_is_in_training():
    binned = bin_recording(recording_with(np.arange(0.0, 60.0, 2.0), 60.0), bin_width=0.1)
    assert codes(binned) == {"overlapping-trials": False}
    split = splits.make(binned, seed=0, hold_out=False, gap=0)
    edges = [np.flatnonzero(split.bins(name))[[0, -1]] for name in ("train", "val", "test")]
    assert np.all(np.diff(np.concatenate(edges)) > 0)


@pytest.mark.parametrize(
    ("start", "stop", "code"),
    [
        (IN_SECONDS + 1.0, IN_SECONDS, "reversed-interval"),
        (IN_SECONDS, np.full(len(IN_SECONDS), np.nan), "nan-interval"),
        (IN_SECONDS, np.r_[IN_SECONDS[:-1] + 1, np.inf], None),
    ],
)
def test_trials_with_odd_stops_still_divide_the_recording_by_their_starts(
    start, stop, code, tmp_path
):
    path = tmp_path / "a.nwb"
    with nwb(path) as file:
        units(file, spikes=poisson_spikes(NUM_UNITS, SECONDS, rate=8.0))
        columns = {"start_time": start, "stop_time": stop}
        table(file["intervals"], "trials", "TimeIntervals", **columns)
    with opened(path) as recording:
        assert code is None or code in {note.code for note in recording.notes}
        problem = build_task(recording, "stndt", seed=0, options=SMALL_STNDT, data=BINS)
    assert problem.split.rule.startswith("contiguous 70/15/15 of whole trials")


def test_the_notes_stand_at_the_top_when_a_file_is_opened(tmp_path):
    path = tmp_path / "a.nwb"
    with nwb(path) as file:
        units(file, spikes=poisson_spikes(NUM_UNITS, SECONDS, rate=8.0))
        columns = {"start_time": 1e3 * IN_SECONDS, "stop_time": 1e3 * IN_SECONDS + 500}
        table(file["intervals"], "trials", "TimeIntervals", **columns)
    with nwbdyn.open(str(path)) as recording:
        actual = [note for note in recording.notes if note.important]
        assert [note.code for note in actual] == ["unusable-trials"]
        numbers = re.findall(r"\d[\d,.]*", actual[0].reason)
        assert all(len(re.sub(r"[,.]", "", one).lstrip("0")) <= 6 for one in numbers)
        assert codes(bin_recording(recording)) == {}  # once


@pytest.mark.parametrize(
    ("starts", "stops", "stated", "expected"),
    [
        ([0.0, 0.8], [0.7, 1.5], True, [160, bounds.FARTHEST]),  # a pause: up to the next trial
        ([0.0, 0.8], [0.7, 1.5], False, [140, 300]),  # nothing says that the pause was observed
        ([0.0, 0.6], [0.6, 1.2], True, [bounds.FARTHEST] * 2),  # no pause: the recording goes on
        ([0.0, 0.6], [0.6, 1.2], False, [bounds.FARTHEST, 240]),
        ([0.0, 0.5], [0.7, 1.2], True, [bounds.FARTHEST] * 2),  # they overlap
        ([0.0, 0.802], [0.7, 1.5], True, [160, bounds.FARTHEST]),  # the bin holds its start
    ],
)
def test_where_a_trial_ends(starts, stops, stated, expected):
    trials = trial_table(starts, 0.0).assign(stop_time=stops)
    actual = bounds.ends(trials, trials, 0.005, observation_stated=stated)
    assert actual.tolist() == expected
