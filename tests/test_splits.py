"""Which bins train, choose and test, and which neurons are held out."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small import binned_counts, binned_traces, trial_table

from nwbdyn.data import splits
from nwbdyn.data.splits import GAP, TEST, TRAIN, VAL
from nwbdyn.errors import ConfigError, DataError


def runs(labels):
    """[(label, length), …] of a label sequence."""
    edges = [0, *(np.flatnonzero(np.diff(labels)) + 1), len(labels)]
    return [(int(labels[a]), int(b - a)) for a, b in pairwise(edges)]


def test_without_trials_the_recording_is_cut_at_70_and_85_percent():
    split = splits.make(binned_traces(100), seed=0, hold_out=False, gap=0)
    assert runs(split.labels) == [(TRAIN, 70), (VAL, 15), (TEST, 15)]
    assert split.labels.dtype == np.int8
    assert split.held_in.all()


def test_a_gap_as_long_as_the_context_lies_before_every_later_split():
    split = splits.make(binned_traces(200), seed=0, hold_out=False, gap=8)
    assert runs(split.labels) == [(TRAIN, 132), (GAP, 8), (VAL, 22), (GAP, 8), (TEST, 30)]


def test_the_shares_are_of_valid_bins():
    binned = binned_counts(200)
    binned.valid[:100] = False
    split = splits.make(binned, seed=0, hold_out=False, gap=0)
    assert runs(split.labels) == [(TRAIN, 170), (VAL, 15), (TEST, 15)]


def test_trials_are_kept_whole_in_the_order_of_their_starts():
    starts = np.arange(20) * 0.2  # 10 bins each
    binned = binned_counts(200, trials=trial_table(starts, 0.15))
    split = splits.make(binned, seed=0, hold_out=False, gap=0)
    assert runs(split.labels) == [(TRAIN, 140), (VAL, 30), (TEST, 30)]
    assert "whole trials" in split.rule


def test_few_trials_do_not_decide():
    binned = binned_counts(200, trials=trial_table([0.0, 2.0], 1.0))
    assert splits.make(binned, seed=0, hold_out=False, gap=0).rule == "contiguous 70/15/15 in time"


def test_a_split_column_wins():
    names = ["train", "val", "test", "none"] * 5
    binned = binned_counts(200, trials=trial_table(np.arange(20) * 0.2, 0.15, split=names))
    split = splits.make(binned, seed=0, hold_out=False, gap=5)
    assert runs(split.labels) == [(TRAIN, 10), (VAL, 10), (TEST, 10), (GAP, 10)] * 5


def test_a_split_column_without_test_gives_its_val_trials_to_the_test():
    names = ["train", "train", "train", "val"] * 5
    binned = binned_counts(200, trials=trial_table(np.arange(20) * 0.2, 0.15, split=names))
    split = splits.make(binned, seed=0, hold_out=False, gap=5)
    of_trial = split.labels[5::10]
    assert (of_trial[3::4] == TEST).all()
    train = of_trial[np.arange(20) % 4 != 3]
    assert train.tolist() == [TRAIN] * 13 + [VAL] * 2
    assert "its val trials as test" in split.rule
    assert "last 15 % of its train trials as val" in split.rule


def test_bins_before_the_first_trial_of_a_split_column_belong_to_nobody():
    names = ["train", "val"] * 10
    binned = binned_counts(300, trials=trial_table(2.0 + np.arange(20) * 0.2, 0.15, split=names))
    split = splits.make(binned, seed=0, hold_out=False, gap=5)
    assert (split.labels[:100] == GAP).all()


def test_every_bin_is_tested_by_exactly_one_fold():
    binned = binned_traces(1000)
    made = [splits.make(binned, seed=0, hold_out=False, gap=0, fold=(k, 5)) for k in range(5)]
    tested = np.sum([split.labels == TEST for split in made], axis=0)
    assert (tested == 1).all()
    assert [split.bins("train").sum() for split in made] == [600] * 5


def test_folds_leave_gaps_that_training_pays_for():
    split = splits.make(binned_traces(1000), seed=0, hold_out=False, gap=10, fold=(2, 5))
    assert (split.labels == TEST).sum() == 200
    edges = runs(split.labels)
    for (before, _), (after, _) in pairwise(edges):
        assert GAP in (before, after)


def test_folds_keep_trials_whole_when_there_are_enough():
    binned = binned_counts(400, trials=trial_table(np.arange(40) * 0.2, 0.2))
    split = splits.make(binned, seed=0, hold_out=False, gap=0, fold=(0, 4))
    of_trial = split.labels.reshape(40, 10)
    assert (of_trial == of_trial[:, :1]).all()


@pytest.mark.parametrize("fold", [(5, 5), (-1, 5), (0, 2)])
def test_folds_that_do_not_exist_are_refused(fold):
    with pytest.raises(ConfigError, match="does not exist"):
        splits.make(binned_traces(100), seed=0, hold_out=False, gap=0, fold=fold)


@settings(deadline=None, max_examples=40)
@given(
    num_bins=st.integers(60, 400),
    gap=st.integers(0, 20),
    folds=st.sampled_from([None, (0, 3), (2, 5), (4, 5)]),
)
def test_no_two_splits_are_ever_closer_than_the_gap(num_bins, gap, folds):
    split = splits.make(binned_traces(num_bins), seed=0, hold_out=False, gap=gap, fold=folds)
    labelled = np.flatnonzero(split.labels != GAP)
    changes = np.diff(split.labels[labelled]) != 0
    between = np.diff(labelled)[changes] - 1
    assert (between >= gap).all()


def test_the_files_heldout_column_is_used():
    binned = binned_counts(100, 4, heldout=[False, True, False, True])
    split = splits.make(binned, seed=0, hold_out=True, gap=0)
    assert split.held_in.tolist() == [True, False, True, False]


def test_a_quarter_is_drawn_where_the_file_says_nothing():
    binned = binned_counts(100, 8, heldout=[False] * 8)
    split = splits.make(binned, seed=3, hold_out=True, gap=0)
    again = splits.make(binned, seed=3, hold_out=True, gap=0)
    other = [splits.make(binned, seed=seed, hold_out=True, gap=0).held_in for seed in range(9)]
    assert (~split.held_in).sum() == 2
    assert (split.held_in == again.held_in).all()
    assert not all((held_in == split.held_in).all() for held_in in other)


def test_held_out_neurons_come_from_every_level_of_activity():
    binned = binned_counts(100, 12)
    binned.values[:] *= np.arange(12)[::-1]
    quiet_to_busy = np.argsort(binned.values.mean(axis=0))
    for seed in range(5):
        held_out = ~splits.make(binned, seed=seed, hold_out=True, gap=0).held_in
        assert held_out[quiet_to_busy].reshape(3, 4).sum(axis=1).tolist() == [1, 1, 1]


def test_held_out_neurons_share_no_channel_with_held_in_ones():
    channel = np.repeat(np.arange(6), [4, 1, 3, 2, 1, 1])
    for seed in range(9):
        split = splits.make(
            binned_counts(100, 12, channel=channel), seed=seed, hold_out=True, gap=0
        )
        assert not set(channel[split.held_in]) & set(channel[~split.held_in])
        assert (~split.held_in).sum() == 3
        assert "no channel shared" in split.rule


def test_whole_channels_come_close_to_the_share_that_was_asked_for():
    channel = np.repeat(np.arange(8), [9, 6, 5, 4, 3, 2, 1, 1])  # as tetrodes of a hippocampus
    for seed in range(20):
        split = splits.make(
            binned_counts(100, 31, channel=channel), seed=seed, hold_out=True, gap=0
        )
        assert not set(channel[split.held_in]) & set(channel[~split.held_in])
        assert 7 <= (~split.held_in).sum() <= 8


def test_channels_are_shared_where_all_neurons_share_one():
    binned = binned_counts(100, 12, channel=[0] * 10 + [1, 2])
    split = splits.make(binned, seed=1, hold_out=True, gap=0)
    assert (~split.held_in).sum() == 3
    assert "some channels shared" in split.rule


def test_a_neuron_of_no_known_channel_shares_none():
    alone = splits.make(binned_counts(100, 12), seed=4, hold_out=True, gap=0)
    unknown = splits.make(binned_counts(100, 12, channel=[-1] * 12), seed=4, hold_out=True, gap=0)
    assert (alone.held_in == unknown.held_in).all()
    assert "channel" not in unknown.rule


def test_two_neurons_are_one_in_and_one_out_and_one_is_refused():
    held_in = splits.make(binned_counts(100, 2), seed=0, hold_out=True, gap=0).held_in
    assert sorted(held_in.tolist()) == [False, True]
    with pytest.raises(DataError, match="1 usable neuron"):
        splits.make(binned_counts(100, 1), seed=0, hold_out=True, gap=0)
