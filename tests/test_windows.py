"""Windows cut from a recording, and predictions put back on its clock."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small import binned_counts, binned_traces, rois, trial_table

from nwbdyn import nlb
from nwbdyn.data import splits
from nwbdyn.data.binning import bin_recording
from nwbdyn.data.splits import GAP, SPLITS, Split
from nwbdyn.data.windows import Windows
from nwbdyn.errors import ConfigError, DataError
from nwbdyn.models.base import CO_SMOOTHING, NEXT, WindowSpec
from nwbdyn.nwb.read.recording import read
from nwbdyn.recording import Covariate, Source

COUNTS_IN = "counts"


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def next_windows(binned, context=4, fold=None, **spec):
    split = splits.make(binned, seed=0, hold_out=False, gap=context, fold=fold)
    return Windows(binned, split, WindowSpec(context, **spec))


def smoothing_windows(binned, context=10, forward=0, starts=None, **split):
    made = splits.make(binned, seed=0, hold_out=True, gap=context, **split)
    return Windows(binned, made, WindowSpec(context, forward, COUNTS_IN), starts=starts)


def all_of(windows, name, **options):
    """Every batch of a split as one (activity, target, valid)."""
    batches = list(windows.batches(name, 7, **options))
    return [
        torch.cat([getattr(b, field) for b in batches]) for field in ("activity", "target", "valid")
    ]


def test_the_target_is_the_bin_after_the_context():
    binned = binned_traces(100)
    windows = next_windows(binned)
    batch = next(windows.batches("test", 5))
    standard = (binned.values - windows.mean) / windows.sd
    for row, start in enumerate(batch.start_bin.tolist()):
        assert np.allclose(batch.activity[row], standard[start : start + 4])
        assert np.allclose(batch.target[row], standard[start + 4 : start + 5])
    assert batch.activity.shape == (5, 4, 3)
    assert batch.target.shape == batch.valid.shape == (5, 1, 3)


def test_every_bin_of_a_split_is_a_target_once():
    windows = next_windows(binned_traces(100))
    targets = np.concatenate([windows.starts(name) + 4 for name in SPLITS[:GAP]])
    labelled = np.flatnonzero(windows.split.labels != GAP)
    assert sorted(targets) == labelled[4:].tolist()  # the first context has no past


def test_statistics_come_from_training_bins():
    binned = binned_traces(200)
    windows = next_windows(binned)
    train = binned.values[windows.split.bins("train")]
    assert windows.mean == pytest.approx(train.mean(axis=0), abs=1e-5)
    assert windows.sd == pytest.approx(train.std(axis=0), abs=1e-5)


def test_raw_traces_are_neither_centred_nor_scaled():
    binned = binned_traces(60)
    split = splits.make(binned, seed=0, hold_out=False, gap=2)
    windows = Windows(binned, split, WindowSpec(context=2, inputs="raw"))
    batch = next(windows.batches("train", 5))
    first = int(batch.start_bin[0])
    np.testing.assert_array_equal(batch.activity[0], binned.values[first : first + 2])
    np.testing.assert_array_equal(batch.target[0, 0], binned.values[first + 2])
    stitched = windows.to_session_clock(np.array([first]), batch.target[:1])
    np.testing.assert_array_equal(stitched[first + 2], binned.values[first + 2])


def test_a_neuron_that_is_constant_in_training_does_not_blow_up():
    binned = binned_traces(100)
    binned.values[:90, 0] = 1.0
    windows = next_windows(binned)
    assert windows.sd[0] == pytest.approx(np.median(windows.sd[1:]))
    assert torch.isfinite(all_of(windows, "test")[0]).all()


def test_counts_are_targets_as_they_are_and_inputs_z_scored():
    binned = binned_counts(300)
    windows = next_windows(binned)
    batch = next(windows.batches("val", 1000))
    assert np.array_equal(batch.target[:, 0], binned.values[windows.starts("val") + 4])
    assert abs(float(batch.activity.mean())) < 0.5


@settings(deadline=None, max_examples=30)
@given(
    kind=st.sampled_from(["zscore", "exponential", "counts"]),
    folds=st.sampled_from([None, (0, 4), (3, 4)]),
    victim=st.sampled_from(["val", "test"]),
    seed=st.integers(0, 5),
)
def test_nothing_in_validation_or_test_bins_reaches_a_training_batch(kind, folds, victim, seed):
    binned = binned_counts(400, seed=seed)
    hold_out = kind == "counts"
    split = splits.make(binned, seed=0, hold_out=hold_out, gap=6, fold=folds)
    perturbed = replace(binned, values=binned.values.copy())
    perturbed.values[split.bins(victim)] += 50
    spec = WindowSpec(6, inputs=kind)
    first, second = (
        all_of(Windows(b, split, spec), "train", generator=generator(seed))
        for b in (binned, perturbed)
    )
    for before, after in zip(first, second, strict=True):
        assert torch.equal(before, after)


@settings(deadline=None, max_examples=30)
@given(
    gaps=st.lists(st.integers(1, 78), max_size=3),
    context=st.integers(1, 12),
    target=st.sampled_from([NEXT, CO_SMOOTHING]),
)
def test_no_window_crosses_a_gap_an_unseen_bin_or_another_split(gaps, context, target):
    binned = binned_counts(80)
    valid = binned.valid.copy()
    valid[gaps] = False
    binned = replace(binned, valid=valid, segment=np.cumsum(np.diff(valid, prepend=valid[:1])))
    split = splits.make(binned, seed=0, hold_out=target == CO_SMOOTHING, gap=context)
    try:
        windows = Windows(binned, split, WindowSpec(context), target=target)
        cut = {name: windows.starts(name) for name in SPLITS[:GAP]}
    except DataError:
        return
    length = context + (target == NEXT)
    for name, starts in cut.items():
        for start in starts:
            span = slice(start, start + length)
            assert valid[span].all()
            assert len(set(binned.segment[span])) == 1
            labels = {SPLITS[label] for label in split.labels[span]}
            assert labels <= ({name, "gap"} if target == NEXT else {name})
            assert SPLITS[split.labels[start + length - 1]] == name


def test_training_is_shuffled_by_its_generator_and_evaluation_is_in_order():
    windows = next_windows(binned_traces(100))
    first, again, other = (
        torch.cat([b.start_bin for b in windows.batches("train", 8, generator(seed))])
        for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert sorted(first.tolist()) == windows.starts("train").tolist()
    in_order = torch.cat([b.start_bin for b in windows.batches("train", 8)])
    assert in_order.tolist() == windows.starts("train").tolist()


def test_the_exponential_is_causal_starts_anew_and_sums_to_one():
    binned = binned_counts(100)
    binned.values[:] = 0
    binned.values[10, 0] = 1
    split = Split(np.zeros(100, dtype=np.int8), np.ones(4, dtype=bool), 0, "all train")
    windows = Windows(binned, split, WindowSpec(1, inputs="exponential", time_constant=0.1))
    filtered = all_of(windows, "train")[0][:, 0, 0]
    assert not filtered[:10].any()
    decay = np.exp(-0.2)
    assert filtered[10:15].tolist() == pytest.approx((1 - decay) * decay ** np.arange(5))
    assert float(filtered.sum()) == pytest.approx(1, abs=1e-6)
    binned.segment[12:] = 1  # a gap before this bin
    windows = Windows(binned, split, WindowSpec(1, inputs="exponential", time_constant=0.1))
    smooth = windows.inputs[:, 0]
    assert smooth[10:12].tolist() == pytest.approx((1 - decay) * decay ** np.arange(2))
    assert not smooth[12:].any()


def test_continuous_recordings_are_tiled_for_evaluation_and_the_last_window_aligned_right():
    binned = binned_counts(200)
    windows = smoothing_windows(binned, context=12)
    test = np.flatnonzero(windows.split.bins("test"))  # 30 bins
    assert windows.starts("test").tolist() == [test[0], test[0] + 12, test[-1] - 11]


def test_training_offsets_are_random_but_as_many_every_epoch():
    windows = smoothing_windows(binned_counts(400), context=12)
    source = generator()
    epochs = [
        torch.cat([b.start_bin for b in windows.batches("train", 4, source)]) for _ in range(20)
    ]
    assert {len(epoch) for epoch in epochs} == {len(windows.starts("train"))}
    seen = torch.cat(epochs).unique()
    train = np.flatnonzero(windows.split.bins("train"))
    assert len(seen) > 150
    assert seen.min() >= train[0]
    assert seen.max() + 12 <= train[-1] + 1


def test_held_out_neurons_and_forward_bins_are_never_seen():
    starts = np.arange(0, 380, 20)
    binned = binned_counts(400)
    windows = smoothing_windows(binned, context=12, forward=8, starts=starts)
    activity, target, valid = all_of(windows, "train")
    held_in = torch.as_tensor(windows.split.held_in)
    assert not activity[:, 12:].any()
    assert not activity[:, :, ~held_in].any()
    assert activity[:, :12, held_in].any()
    assert target[:, 12:].any()
    assert target[:, :, ~held_in].any()
    assert valid.shape == target.shape == (len(windows.starts("train")), 20, 4)


def test_counts_of_test_bins_are_clipped_to_the_training_maximum_in_the_input_only():
    binned = binned_counts(300)
    windows = smoothing_windows(binned)
    first = windows.starts("test")[0]
    binned.values[first] = 99
    windows = Windows(binned, windows.split, windows.spec)
    batch = next(windows.batches("test", 1))
    held_in = torch.as_tensor(windows.split.held_in)
    in_training = binned.values[windows.split.bins("train")]
    assert windows.largest == in_training.max() < 99
    assert (batch.activity[0, 0, held_in] == windows.largest).all()
    assert (batch.target[0, 0] == 99).all()


def test_trial_windows_belong_to_the_split_of_their_trial():
    names = ["train", "val", "test"] * 6
    table = trial_table(np.arange(18) * 0.4, 0.3, split=names)
    binned = binned_counts(360, trials=table)
    cut = nlb.align(binned, table)
    windows = smoothing_windows(binned, cut.observed, cut.forward, cut.starts)
    for position, name in enumerate(SPLITS[:GAP]):
        assert windows.starts(name).tolist() == cut.starts[position::3].tolist()


def test_forward_bins_that_belong_to_another_split_do_not_count_and_are_not_shown():
    names = ["train", "test"] * 6
    table = trial_table(np.arange(12) * 0.2, 0.2, split=names)  # 10 bins, back to back
    binned = binned_counts(140, trials=table)
    windows = smoothing_windows(binned, 10, 4, np.arange(0, 120, 10))
    _, target, valid = all_of(windows, "test")
    assert valid[:-1, :10].all()
    assert not valid[:-1, 10:].any()
    assert not target[:-1, 10:].any()
    owned = windows.window_of_bin(windows.starts("test"))[:, 0] >= 0
    assert set(windows.split.labels[owned]) == {SPLITS.index("test")}


def test_trials_that_reach_into_two_splits_are_left_out_with_a_note():
    binned = binned_counts(200)
    windows = smoothing_windows(binned, 20, 0, np.arange(0, 181, 10))
    used = np.concatenate([windows.starts(name) for name in SPLITS[:GAP]])
    assert windows.notes[0].code == "windows-unused"
    assert 0 < len(used) < 19


def test_stitching_targets_gives_the_recording_back():
    traces = binned_traces(120)
    counts = binned_counts(120)
    for windows in (next_windows(traces), next_windows(counts), smoothing_windows(counts)):
        values = windows.binned.values
        starts = windows.starts("test")
        stitched = windows.to_session_clock(starts, all_of(windows, "test")[1])
        predicted = windows.split.bins("test")
        assert stitched[predicted] == pytest.approx(values[predicted], abs=1e-5)
        assert np.isnan(stitched[~predicted]).all()


def test_an_overlapped_bin_takes_the_window_where_it_lies_farthest_from_an_edge():
    windows = smoothing_windows(binned_counts(200), context=10)
    predictions = np.stack([np.full((10, 4), 1.0), np.full((10, 4), 2.0)])
    stitched = windows.to_session_clock(np.array([0, 6]), predictions)
    assert stitched[:16, 0].tolist() == [1] * 8 + [2] * 8


def test_covariates_are_z_scored_with_training_bins_and_missing_ones_are_the_mean():
    speed = Covariate("speed", np.arange(80.0)[:, None], np.arange(80.0))
    data = np.random.default_rng(0).normal(size=(100, 2))
    binned = bin_recording(rois(data, np.arange(100.0), covariates=(speed,)), covariates=["speed"])
    windows = next_windows(binned)
    train = binned.covariates[windows.split.bins("train")]
    batch = next(windows.batches("test", 100))
    assert batch.covariates.shape == (len(windows.starts("test")), 4, 1)
    assert not batch.covariates.any()  # the samples ended at 79 s
    first = next(windows.batches("train", 1)).covariates[0, :, 0]
    assert first.tolist() == pytest.approx(((np.arange(4) - train.mean()) / train.std()).tolist())


def test_neuron_ids_session_and_generator_travel_with_the_batch():
    binned = binned_counts(300)
    split = splits.make(binned, seed=0, hold_out=False, gap=4)
    windows = Windows(binned, split, WindowSpec(4), session="b", neuron_ids=[5, 3, 9, 1])
    source = generator()
    batch = next(windows.batches("train", 4, source))
    assert batch.neuron_ids.tolist() == [5, 3, 9, 1]
    assert batch.session == "b"
    assert batch.generator is source
    assert next(windows.batches("train", 4)).generator is None


def test_a_recording_too_short_says_what_to_do():
    windows = next_windows(binned_traces(30), context=20)
    with pytest.raises(DataError, match=r"No window of 21 bins.*shorter context.*--folds"):
        windows.starts("val")


def test_counts_asked_of_traces_are_refused():
    with pytest.raises(ConfigError, match="spike counts; this is dff"):
        next_windows(binned_traces(100), inputs="counts")
    with pytest.raises(ConfigError, match="Choose from: zscore, raw, counts, exponential"):
        next_windows(binned_traces(100), inputs="rank")
    with pytest.raises(ConfigError, match="'raw' are for traces"):
        next_windows(binned_counts(100), inputs="raw")


def test_the_forward_bins_of_one_window_give_way_to_the_window_that_observed_them():
    windows = smoothing_windows(binned_counts(600), context=10, forward=6, starts=[0, 10, 20])
    predictions = np.repeat([1.0, 2.0, 3.0], 16).reshape(3, 16, 1).repeat(4, axis=2)
    stitched = windows.to_session_clock(np.array([0, 10, 20]), predictions)
    assert stitched[:36, 0].tolist() == [1] * 10 + [2] * 10 + [3] * 16


@pytest.mark.parametrize(
    ("path", "context"),
    [
        ("ecephys/human_mtl_dandi000207_sub-4_ses-4.nwb", 100),
        ("ecephys/mouse_thalamus_dandi000009_anm00239123.nwb", 100),
        ("ecephys/rat_hippocampus_nelpy_linear-track.nwb", 100),
        ("ophys/celegans_dag2023_2022-07-26-31.nwb", 8),
        ("ophys/celegans_scholz_142554_per-neuron-timeseries.nwb", 8),
        ("ophys/mouse_v1_2p_neuronsxnets_24617.nwb", 8),
        ("ophys/zebrafish_tectum_triplett2018_f1.nwb", 8),
    ],
)
def test_real_recordings_are_cut_and_stitched_back(data, path, context):
    source = Source(path, (data / path).as_uri())
    with (data / path).open("rb") as file:
        recording = read(file, source)
        # this file's `pumping` holds no number, which is refused where it is named
        named = [one.name for one in recording.covariates if np.isfinite(one.data[:]).any()]
        binned = bin_recording(recording, covariates=named)
    counts = binned.quantity == "counts"
    split = splits.make(binned, seed=0, hold_out=counts, gap=context)
    windows = Windows(binned, split, WindowSpec(context, inputs="counts" if counts else "zscore"))
    activity, target, valid = all_of(windows, "test")
    assert torch.isfinite(activity).all()
    assert valid.all()
    stitched = windows.to_session_clock(windows.starts("test"), target)
    predicted = np.isfinite(stitched).all(axis=1)
    spread = windows.sd.max()
    assert predicted.sum() > 0.6 * split.bins("test").sum()
    assert np.abs(stitched[predicted] - binned.values[predicted]).max() < 1e-4 * spread
