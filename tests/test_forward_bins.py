"""Forward bins: a window ends with its trial and with what was observed."""

import numpy as np
import pytest
from nwb_files import nwb, opened, table, units

from nwbdyn import nlb
from nwbdyn.fitting.task import build_task
from nwbdyn.request import DataOptions

OBSERVED, FORWARD = 140, 40  # bins of 5 ms: the maze's .7 s, and .2 s after them
NUM_TRIALS, NUM_UNITS = 60, 12
SPLITS = ["train"] * 40 + ["val"] * 20


def half(path, *, every=0.8, observed="windows", column="move_onset_time", length=0.7):
    """The layout of the maze's test files: windows of .7 s, one every .8 s, onset at .25 s."""
    rng = np.random.default_rng(0)
    starts = 1.0 + every * np.arange(NUM_TRIALS)
    end = starts[-1] + every + 1
    spikes = [np.sort(rng.uniform(0, end, 400)) for _ in range(NUM_UNITS)]
    heldout = [False] * 6 + [True] * 6
    with nwb(path) as file:
        made = units(file, spikes=spikes, heldout=heldout)
        if observed == "windows":
            intervals = np.stack([starts, starts + length], axis=1)
        else:
            intervals = np.array([[0.0, end]])
        if observed is not None:
            made["obs_intervals"] = np.tile(intervals, (NUM_UNITS, 1))
            made["obs_intervals_index"] = len(intervals) * np.arange(1, NUM_UNITS + 1)
        columns = {"start_time": starts, "stop_time": starts + length, "split": SPLITS}
        if column == "move_onset_time":
            columns[column] = starts + 0.25
        table(file["intervals"], "trials", "TimeIntervals", **columns)
    return path


def trained_on(path):
    """(180,) bool, the bins of the training windows that some window counts as a target."""
    with opened(path) as recording:
        problem = build_task(recording, "stndt", seed=0, data=DataOptions(bin_width=0.005))
    batches = list(problem.windows.batches("train", 64))
    assert sum(len(batch.valid) for batch in batches) > 30
    return np.concatenate([batch.valid[..., 0].numpy() for batch in batches]).any(axis=0)


def later_targets(path):
    """(num_trials, 40) bool, forward bins that fp-bps would score."""
    with opened(path) as recording:
        actual = nlb.targets(recording)
    return np.isfinite(actual["eval_spikes_heldin_forward"]).all(axis=-1)


def test_forward_bins_of_a_test_half_are_neither_trained_on_nor_scored(tmp_path):
    path = half(tmp_path / "half.nwb")
    counted = trained_on(path)
    assert counted[:OBSERVED].all()
    assert not counted[OBSERVED:].any()
    assert not later_targets(path).any()


def test_the_next_trial_is_no_forward_bin_where_all_time_was_observed(tmp_path):
    path = half(tmp_path / "whole.nwb", observed="whole")
    counted = trained_on(path)
    assert counted[: OBSERVED + 20].all()  # .1 s to the next trial
    assert not counted[OBSERVED + 20 :].any()
    later = later_targets(path)
    assert later[:, :20].all()
    assert not later[:-1, 20:].any()
    assert later[-1, 20:].all()  # no trial after the last


def test_without_stated_observation_a_window_ends_with_its_trial(tmp_path):
    counted = trained_on(half(tmp_path / "unstated.nwb", observed=None))
    assert counted[:OBSERVED].all()
    assert not counted[OBSERVED:].any()


@pytest.mark.parametrize(
    ("observed", "every", "important"),
    [("windows", 0.8, True), ("whole", 0.8, False), ("whole", 1.0, None)],
)
def test_a_note_says_what_is_lost_of_the_forward_bins(observed, every, important, tmp_path):
    with opened(half(tmp_path / "a.nwb", every=every, observed=observed)) as recording:
        notes = build_task(
            recording, "stndt", seed=0, data=DataOptions(bin_width=0.005)
        ).windows.notes
    actual = [note.important for note in notes if note.code == "forward-bins"]
    assert actual == ([] if important is None else [important])


def test_forward_bins_of_trials_without_a_pause_are_the_next_trial(tmp_path):
    path = half(tmp_path / "rtt.nwb", every=0.6, length=0.6, observed="whole", column="start_time")
    assert trained_on(path).all()
    assert later_targets(path).all()
