"""Which bins and neurons train, choose and test: every rule, from tables written by hand."""

import numpy as np
import pandas as pd
import pytest
import torch
from small import binned_counts, binned_traces, trial_table

from nwbdyn.data import splits
from nwbdyn.data.splits import GAP, TEST, TRAIN, VAL, Split
from nwbdyn.data.windows import Windows, _unbroken
from nwbdyn.errors import ConfigError, DataError
from nwbdyn.models.base import CO_SMOOTHING, NEXT, WindowSpec


def made(binned, **options):
    return splits.make(binned, **{"seed": 0, "hold_out": False, "gap": 0} | options)


def with_trials(number, names=None, *, num_bins=200):
    """Counts in bins of 20 ms, and trials of ten bins each."""
    columns = {} if names is None else {"split": names}
    table = trial_table(np.arange(number) * 0.2, 0.15, **columns)
    return binned_counts(num_bins, trials=table if number else None)


@pytest.mark.parametrize(
    ("number", "names", "fold", "rule"),
    [
        (20, ["train", "test"] * 10, (0, 3), "fold 0 of 3"),
        (20, ["train", "test"] * 10, None, "whole trials by the file's split column"),
        (4, ["train", "test", "train", "val"], None, "whole trials by the file's split column"),
        (20, ["train"] * 20, None, "contiguous 70/15/15 of whole trials"),
        (20, ["test"] * 20, None, "contiguous 70/15/15 of whole trials"),
        (10, None, None, "contiguous 70/15/15 of whole trials"),
        (9, None, None, "contiguous 70/15/15 in time"),
        (0, None, None, "contiguous 70/15/15 in time"),
    ],
)
def test_which_rule_splits_a_recording(number, names, fold, rule):
    assert made(with_trials(number, names), fold=fold).rule.startswith(rule)


@pytest.mark.parametrize(
    ("number", "train", "val", "test"),
    [(3, 1, 1, 1), (10, 6, 2, 2), (20, 14, 3, 3), (40, 28, 6, 6), (100, 70, 15, 15)],
)
def test_the_first_bins_train_the_next_validate_and_the_last_test(number, train, val, test):
    labels = [TRAIN] * train + [VAL] * val + [TEST] * test
    assert made(binned_traces(number)).labels.tolist() == labels
    if number >= 10:
        of_trial = made(with_trials(number, num_bins=10 * number)).labels[5::10]
        assert of_trial.tolist() == labels


def test_two_usable_bins_are_no_recording():
    binned = binned_traces(20)
    binned.valid[2:] = False
    with pytest.raises(DataError, match="2 usable bins"):
        made(binned)


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (["train", "val", "test", "none"], [TRAIN, VAL, TEST, GAP]),
        (["Train", "validation", "TEST", ""], [TRAIN, VAL, TEST, GAP]),
        (["train", "train", "val", "val"], [TRAIN, VAL, TEST, TEST]),
        (["train", "train", "test", "test"], [TRAIN, VAL, TEST, TEST]),
        (["test", "train", "test", "train"], [TEST, TRAIN, TEST, VAL]),
        (["train", "test", "test", "test"], None),
    ],
)
def test_a_split_column_lends_what_it_lacks(names, labels):
    binned = with_trials(4, names, num_bins=40)
    if labels is None:
        with pytest.raises(DataError, match="no trial to train on"):
            made(binned)
    else:
        assert made(binned).labels[5::10].tolist() == labels


@pytest.mark.parametrize(
    ("k", "number", "labels"),
    [
        (0, 3, [TEST, VAL, TRAIN]),
        (2, 3, [VAL, TRAIN, TEST]),
        (3, 4, [VAL, TRAIN, TRAIN, TEST]),
        (0, 2, None),
        (3, 3, None),
        (-1, 3, None),
    ],
)
def test_a_fold_tests_its_blocks_and_validates_on_the_next(k, number, labels):
    binned = binned_traces(4 * number)  # MOST_ROUNDS blocks of one bin per fold
    if labels is None:
        with pytest.raises(ConfigError, match=f"Fold {k} of {number}"):
            made(binned, fold=(k, number))
    else:
        assert made(binned, fold=(k, number)).labels.tolist() == labels * 4


@pytest.mark.parametrize(("number", "whole"), [(10, True), (9, False)])
def test_folds_keep_ten_trials_whole_and_not_nine(number, whole):
    binned = with_trials(number, num_bins=10 * number + 3)
    labels = made(binned, fold=(1, 3)).labels[: 10 * number].reshape(number, 10)
    assert (labels == labels[:, :1]).all() == whole


def test_too_few_bins_for_the_folds_are_refused():
    binned = binned_traces(20)
    binned.valid[4:] = False
    made(binned, fold=(0, 4))
    with pytest.raises(DataError, match="4 usable bins cannot be cut into 5 folds"):
        made(binned, fold=(0, 5))


@pytest.mark.parametrize(
    ("before", "after", "opened"),
    [
        (TRAIN, VAL, [TRAIN, GAP, VAL, VAL]),
        (TRAIN, TEST, [TRAIN, GAP, TEST, TEST]),
        (VAL, TEST, [VAL, GAP, TEST, TEST]),
        (VAL, TRAIN, [VAL, VAL, GAP, TRAIN]),
        (TEST, TRAIN, [TEST, TEST, GAP, TRAIN]),
        (TEST, VAL, [TEST, TEST, GAP, VAL]),
        (TRAIN, TRAIN, [TRAIN] * 4),
    ],
)
def test_a_gap_is_taken_from_training_else_from_validation(before, after, opened):
    labels = np.array([before, before, after, after], dtype=np.int8)
    assert splits._open_gaps(labels, 1).tolist() == opened
    assert splits._open_gaps(labels, 0).tolist() == labels.tolist()


@pytest.mark.parametrize(
    ("flags", "held_out"),
    [
        (None, None),
        ([False, False, False], None),
        ([True, True, True], None),
        ([False, True, False], [False, True, False]),
    ],
)
def test_the_files_held_out_neurons_count_where_some_are_held_in(flags, held_out):
    table = pd.DataFrame({"id": range(3)} | ({} if flags is None else {"heldout": flags}))
    actual = splits.stated_held_out(table)
    assert (None if actual is None else actual.tolist()) == held_out
    split = made(binned_counts(100, 3, **({} if flags is None else {"heldout": flags})),
                 hold_out=True)  # fmt: skip
    assert ("held-out neurons of the file" in split.rule) is (held_out is not None)
    if held_out is not None:
        assert (~split.held_in).tolist() == held_out


@pytest.mark.parametrize(
    ("number", "fraction", "num_held_out"),
    [(8, 0.25, 2), (2, 0.1, 1), (4, 1.0, 3), (4, 0.0, 1), (10, 0.5, 5)],
)
def test_how_many_neurons_are_held_out(number, fraction, num_held_out):
    split = made(binned_counts(100, number), hold_out=True, heldout_fraction=fraction)
    assert (~split.held_in).sum() == num_held_out


@pytest.mark.parametrize(
    ("channel", "same"),
    [
        ([3, 3, 4, 5], {(0, 1)}),
        ([-1, -1, 4, 4], {(2, 3)}),
        ([np.nan, np.nan, 0, 0], {(2, 3)}),
        (["", "a", "7", "7"], {(2, 3)}),
        (None, set()),
    ],
)
def test_neurons_of_one_known_channel_share_it(channel, same):
    table = pd.DataFrame({"id": range(4)} | ({} if channel is None else {"channel": channel}))
    number = splits._channels(table)
    pairs = {(a, b) for a in range(4) for b in range(a + 1, 4) if number[a] == number[b]}
    assert pairs == same


@pytest.mark.parametrize(
    ("channel", "num_held_out", "text_shown"),
    [
        ([0, 1, 2, 3, 4, 5, 6, 7], 2, ""),
        ([0, 0, 1, 1, 2, 2, 3, 3], 2, ", no channel shared with held-in ones"),
        ([0, 0, 0, 0, 0, 0, 0, 7], 2, ", some channels shared with held-in ones"),
        ([0, 0, 0, 0, 0, 0, 7, 8], 2, ", no channel shared with held-in ones"),
    ],
)
def test_whole_channels_are_held_out_where_enough_of_them_fit(channel, num_held_out, text_shown):
    strata = np.array_split(np.arange(8), num_held_out)
    for seed in range(5):
        draw = np.random.default_rng(seed)
        held_out, words = splits._draw(strata, np.array(channel), draw)
        assert held_out.sum() == num_held_out
        assert words == text_shown


@pytest.mark.parametrize(
    ("counts", "labels"),
    # a frame at the start of a trial is of it; a bin is of the trial in which it begins
    [(False, [GAP, TRAIN, TRAIN, TEST, TEST]), (True, [GAP, GAP, TRAIN, TRAIN, TEST])],
)
def test_a_bin_belongs_to_the_last_trial_that_began(counts, labels):
    if counts:
        binned = binned_counts(5)  # centres at .01, .03, …, begins at 0, .02, .04, …
        table = trial_table([0.03, 0.07], 0.02)
    else:
        binned = binned_traces(5)  # frames at 0, .1, .2, …
        table = trial_table([0.1, 0.3], 0.1)
    actual = splits._from_trials(binned, table, np.array([TRAIN, TEST]), before=GAP)
    assert actual.tolist() == labels


# --- windows ---

#                  0-9 train  10-11 gap  12-17 val  18-23 test
PLACES = np.repeat([TRAIN, GAP, VAL, TEST], [10, 2, 6, 6]).astype(np.int8)


def cut(target, *, context=2, forward=0, starts=None, invalid=(), breaks=(), inputs="counts"):
    """Windows of 24 bins; `breaks` are the first bins of further segments."""
    binned = binned_counts(24)
    binned.valid[list(invalid)] = False
    segment = np.isin(np.arange(24), breaks).cumsum()
    object.__setattr__(binned, "segment", segment)
    split = Split(PLACES, np.array([True, True, True, False]), 0, "by hand")
    spec = WindowSpec(context, forward, inputs)
    return Windows(binned, split, spec, starts=starts, target=target)


@pytest.mark.parametrize(
    ("more", "train", "val", "test"),
    [
        # a target's context may lie in the gap before it, never in another split
        ({}, range(8), range(10, 16), range(18, 22)),
        ({"context": 3}, range(7), range(10, 15), range(18, 21)),
        ({"invalid": [4]}, [0, 1, 5, 6, 7], range(10, 16), range(18, 22)),
        ({"breaks": [5]}, [0, 1, 2, 5, 6, 7], range(10, 16), range(18, 22)),
        ({"starts": [0, 9, 10, 17, 20]}, [0], [10], [20]),
    ],
)
def test_where_next_bin_windows_begin(more, train, val, test):
    windows = cut(NEXT, **more)
    actual = [windows._usable[name].tolist() for name in ("train", "val", "test")]
    assert actual == [list(train), list(val), list(test)]


@pytest.mark.parametrize(
    ("more", "usable", "evaluated"),
    [
        ({"context": 4}, range(7), [0, 4, 6]),
        ({"context": 5}, range(6), [0, 5]),
        ({"context": 3, "forward": 1}, range(7), [0, 3, 6]),
        ({"context": 3, "invalid": [4]}, [0, 1, 5, 6, 7], [0, 1, 5, 7]),
        ({"context": 3, "breaks": [6]}, [0, 1, 2, 3, 6, 7], [0, 3, 6, 7]),
    ],
)
def test_where_windows_of_a_continuous_recording_begin(more, usable, evaluated):
    windows = cut(CO_SMOOTHING, **more)
    assert windows._usable["train"].tolist() == list(usable)
    assert windows._evaluated["train"].tolist() == evaluated


def test_a_training_window_moves_by_up_to_half_of_itself():
    windows = cut(CO_SMOOTHING, context=4)
    starts, usable = torch.tensor([0, 4, 6]), windows._usable["train"]
    moves = []
    for seed in range(30):
        source = torch.Generator().manual_seed(seed)
        moves.append(windows._moved(starts, usable, source) - starts)
    actual = torch.stack(moves)
    assert actual.amin(dim=0).tolist() == [0, -2, -2]  # the first cannot begin earlier
    assert actual.amax(dim=0).tolist() == [1, 1, 0]


@pytest.mark.parametrize(
    ("starts", "train", "val", "test", "noted"),
    [
        ([0, 4, 12, 18], [0, 4], [12], [18], False),
        ([0, 8, 10, 16], [0, 8], [10], [], True),  # 8 reaches into the gap, 16 into two splits
        ([0, 22, 30, -1], [0], [], [], True),  # beyond the recording, or before it
    ],
)
def test_a_trials_window_belongs_to_the_split_of_its_observed_bins(starts, train, val, test, noted):
    windows = cut(CO_SMOOTHING, context=4, starts=starts)
    actual = [windows._usable[name].tolist() for name in ("train", "val", "test")]
    assert actual == [train, val, test]
    assert ([note.code for note in windows.notes] == ["windows-unused"]) is noted


@pytest.mark.parametrize(
    ("good", "segment", "length", "begins"),
    [
        ([1, 1, 1, 1], [0, 0, 0, 0], 2, [1, 1, 1, 0]),
        ([1, 0, 1, 1], [0, 0, 0, 0], 2, [0, 0, 1, 0]),
        ([1, 1, 1, 1], [0, 0, 1, 1], 2, [1, 0, 1, 0]),
        ([1, 1, 1, 1], [0, 0, 0, 0], 5, [0, 0, 0, 0]),
    ],
)
def test_a_stretch_is_unbroken(good, segment, length, begins):
    actual = _unbroken(np.array(good, bool), np.array(segment), length)
    assert actual.astype(int).tolist() == begins


@pytest.mark.parametrize(
    ("target", "start", "name", "valid", "shown"),
    [
        # a window at 16: bins 16 and 17 validate, 18 and 19 test
        (CO_SMOOTHING, 16, "val", [1, 1, 0, 0], [1, 1, 0, 0]),
        (CO_SMOOTHING, 12, "val", [1, 1, 1, 1], [1, 1, 0, 0]),
        (CO_SMOOTHING, 14, "test", [0, 0, 0, 0], [1, 1, 0, 0]),
    ],
)
def test_what_counts_and_what_is_shown_of_a_window(target, start, name, valid, shown):
    windows = cut(target, context=2, forward=2)
    windows._values += 1  # no count is 0
    windows.largest += 1
    batch = windows.gather(torch.tensor([start]), name)
    assert batch.valid[0, :, 0].int().tolist() == valid
    assert (batch.activity[0, :, 0] > 0).int().tolist() == shown
    assert not batch.activity[0, :, 3].any()  # held out
    assert (batch.target[0, :, 0] > 0).int().tolist() == valid


@pytest.mark.parametrize(
    ("starts", "window", "location"),
    [
        ([0, 4], [0] * 5 + [1] * 5, [0, 1, 2, 3, 4, 1, 2, 3, 4, 5]),
        ([0, 2], [0, 0, 0, 0, 1, 1, 1, 1, -1, -1], [0, 1, 2, 3, 2, 3, 4, 5, -1, -1]),
    ],
)
def test_which_window_speaks_for_a_bin(starts, window, location):
    owners = cut(CO_SMOOTHING, context=6).window_of_bin(np.array(starts))
    assert owners[:10, 0].tolist() == window
    assert owners[:10, 1].tolist() == location


@pytest.mark.parametrize(
    ("quantity", "inputs", "message"),
    [
        ("counts", "zscore", ""),
        ("counts", "counts", ""),
        ("counts", "exponential", ""),
        ("counts", "raw", "'raw' are for traces"),
        ("dff", "zscore", ""),
        ("dff", "raw", ""),
        ("dff", "counts", "'counts' are for spike counts"),
        ("dff", "exponential", "'exponential' are for spike counts"),
    ],
)
def test_which_inputs_a_quantity_has(quantity, inputs, message):
    binned = binned_counts(100) if quantity == "counts" else binned_traces(100)
    split = made(binned)
    if message:
        with pytest.raises(ConfigError, match=message):
            Windows(binned, split, WindowSpec(3, inputs=inputs))
    else:
        windows = Windows(binned, split, WindowSpec(3, inputs=inputs))
        assert windows.target == (CO_SMOOTHING if inputs == "counts" else NEXT)
        scaled = not (windows.mean == 0).all()
        assert scaled is (inputs != "raw")
