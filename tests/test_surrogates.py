"""Surrogates: what they keep of a neuron, what they break between neurons, what never moves."""

import numpy as np
import pytest
from small import neurons

from nwbdyn.data.binning import Binned
from nwbdyn.data.splits import GAP, TEST, TRAIN, VAL, Split
from nwbdyn.errors import ConfigError, DataError
from nwbdyn.statistics import surrogates
from nwbdyn.statistics.surrogates import Null


def recorded(labels: np.ndarray, *, num_neurons: int = 3, segment=None, valid=None) -> Binned:
    """Every value is its own bin number, plus 1000 times the neuron: a value tells where it was."""
    num_bins = len(labels)
    values = np.arange(num_bins)[:, None] + 1000.0 * np.arange(num_neurons)
    return Binned(
        session_id="made",
        values=values.astype(np.float32),
        time=np.arange(num_bins) + 0.5,
        bin_width=1.0,
        valid=np.ones(num_bins, bool) if valid is None else valid,
        segment=np.zeros(num_bins, int) if segment is None else segment,
        neurons=neurons(num_neurons),
        quantity="dff",
        covariates=np.arange(num_bins, dtype=np.float32)[:, None],
        covariate_names=("speed",),
    )


def split(labels: np.ndarray, num_neurons: int = 3) -> Split:
    return Split(labels.astype(np.int8), np.ones(num_neurons, bool), 0, "made")


LABELS = np.repeat([TRAIN, GAP, VAL, GAP, TEST], [100, 4, 30, 4, 30])


def came_from(binned: Binned) -> np.ndarray:
    """(num_bins, N) the bin that each value was in."""
    return (binned.values % 1000).astype(int)


def test_a_shift_never_crosses_a_split():
    for seed in range(20):
        shifted = surrogates.shift(
            recorded(LABELS), split(LABELS), least=4, random=np.random.default_rng(seed)
        )
        used = shifted.valid
        assert np.array_equal(LABELS[came_from(shifted)][used], np.tile(LABELS[used, None], 3))
        assert used[LABELS != GAP].all()
        assert not used[LABELS == GAP].any()


def test_a_gap_between_splits_stays_however_long_it_is():
    labels = np.repeat([TRAIN, GAP, VAL, TEST], [40, 40, 40, 40])
    shifted = surrogates.shift(
        recorded(labels), split(labels), least=4, random=np.random.default_rng(0)
    )
    gap = np.flatnonzero(labels == GAP)
    assert np.array_equal(came_from(shifted)[gap], np.tile(gap[:, None], 3))
    assert not shifted.valid[gap].any()


def test_a_shift_never_crosses_a_gap_in_the_recording():
    segment = (np.arange(len(LABELS)) >= 50).astype(int)
    shifted = surrogates.shift(
        recorded(LABELS, segment=segment),
        split(LABELS),
        least=4,
        random=np.random.default_rng(0),
    )
    source = came_from(shifted)
    assert (source[:50] < 50).all()
    assert (source[50:100] >= 50).all()


def test_every_neuron_keeps_its_own_values_and_their_order():
    shifted = surrogates.shift(
        recorded(LABELS), split(LABELS), least=4, random=np.random.default_rng(0)
    )
    for neuron in range(3):
        own = came_from(shifted)[:100, neuron]
        begin = int(np.flatnonzero(own == 0)[0])
        assert np.array_equal(np.roll(own, -begin), np.arange(100))


def test_neurons_are_apart_from_themselves_and_from_each_other_by_the_context():
    for seed in range(50):
        shifted = surrogates.shift(
            recorded(LABELS), split(LABELS), least=7, random=np.random.default_rng(seed)
        )
        for part, length in ((slice(0, 100), 100), (slice(104, 134), 30)):
            lag = (np.arange(len(LABELS))[part, None] - came_from(shifted)[part])[0] % length
            apart = np.r_[0, lag][:, None] - np.r_[0, lag]
            apart = np.minimum(apart % length, -apart % length)
            assert apart[~np.eye(4, dtype=bool)].min() >= 7


def test_where_neurons_are_too_many_each_is_still_apart_from_its_own_place():
    labels, number = LABELS, 20
    shifted = surrogates.shift(
        recorded(labels, num_neurons=number),
        split(labels, number),
        least=7,
        random=np.random.default_rng(0),
    )
    lag = (np.arange(100)[:, None] - came_from(shifted)[:100])[0] % 100
    assert (np.minimum(lag, 100 - lag) >= 7).all()


def test_a_stretch_that_is_too_short_to_shift_is_not_used():
    valid = np.ones(len(LABELS), bool)
    valid[10] = False  # leaves the first ten bins alone
    shifted = surrogates.shift(
        recorded(LABELS, valid=valid), split(LABELS), least=6, random=np.random.default_rng(0)
    )
    assert not shifted.valid[:11].any()
    assert shifted.valid[11:100].all()


def test_covariates_and_clock_stay_where_they_are():
    made = recorded(LABELS)
    shifted = surrogates.shift(made, split(LABELS), least=4, random=np.random.default_rng(0))
    assert np.array_equal(shifted.covariates, made.covariates)
    assert np.array_equal(shifted.time, made.time)


def test_a_split_without_room_for_a_shift_is_refused():
    with pytest.raises(DataError, match="val bins is 40 long"):
        surrogates.shift(recorded(LABELS), split(LABELS), least=20, random=np.random.default_rng(0))


STARTS = np.arange(0, 160, 10)
TRIAL_LABELS = np.repeat([TRAIN, VAL, TEST], [80, 40, 40])
CONDITION = np.tile(["left", "right"], 8)


def shuffled(seed: int = 0, stops=STARTS + 8, condition=CONDITION) -> Binned:
    return surrogates.shuffle_trials(
        recorded(TRIAL_LABELS),
        split(TRIAL_LABELS),
        starts=STARTS,
        stops=stops,
        condition=condition,
        random=np.random.default_rng(seed),
    )


def test_a_trial_takes_the_place_of_one_of_its_condition_and_split():
    for seed in range(10):
        made = shuffled(seed)
        source = came_from(made)[made.valid]
        location = np.flatnonzero(made.valid)
        assert (source % 10 == location[:, None] % 10).all()  # aligned at the trials' starts
        assert (source // 10 % 2 == location[:, None] // 10 % 2).all()  # condition
        assert np.array_equal(TRIAL_LABELS[source], np.tile(TRIAL_LABELS[location, None], 3))


def test_neurons_draw_their_trials_each_for_itself():
    source = came_from(shuffled())[:80:10] // 10
    assert not np.array_equal(source[:, 0], source[:, 1])
    for neuron in range(3):
        assert sorted(source[:, neuron]) == list(range(8))


def test_bins_outside_of_trials_and_beyond_the_shortest_are_not_used():
    stops = STARTS + 8
    stops[4] = STARTS[4] + 5  # shortens the training trials of its condition
    made = shuffled(stops=stops)
    assert np.flatnonzero(made.valid[0:20]).tolist() == [0, 1, 2, 3, 4, *range(10, 18)]


def test_trials_are_shuffled_among_neighbours_only():
    labels = np.full(10 * 200, TRAIN)
    starts = np.arange(0, 2000, 10)
    made = surrogates.shuffle_trials(
        recorded(labels),
        split(labels),
        starts=starts,
        stops=starts + 10,
        random=np.random.default_rng(0),
    )
    trial = (made.values - 1000.0 * np.arange(3))[::10] // 10
    assert np.abs(trial - np.arange(200)[:, None]).max() < surrogates.NEIGHBOURS


def test_a_split_with_one_trial_of_each_condition_is_refused():
    with pytest.raises(DataError, match="no two whole trials"):
        shuffled(condition=np.arange(16))


@pytest.mark.parametrize("text", ["shift", "shift:1", "rotate:20", "trials:-3", ""])
def test_a_null_that_means_nothing_is_refused(text):
    with pytest.raises(ConfigError, match="shift:K or trials:K"):
        Null.parse(text)


def test_a_null_is_read_and_written_alike():
    assert Null.parse("shift:20") == Null("shift", 20)
    assert str(Null("trials", 7)) == "trials:7"


def test_a_hypothesis_says_that_it_is_not_about_synapses():
    assert "0.8 s" in surrogates.shift_hypothesis(16, 0.05)
    for words in (surrogates.shift_hypothesis(16, 0.05), surrogates.trials_hypothesis("cond")):
        assert "synapses" in words
