"""Who won, what coupling adds, which fits count: each branch of each decision, by hand."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from test_agreement import coupling
from test_averaging import noisy as noisy_rates
from test_averaging import task as co_smoothing_task
from test_evaluation import LABELS, noisy, other_models, recorded, task
from test_rollout import Linear, linear, windows

from nwbdyn.data.splits import TEST, TRAIN, VAL
from nwbdyn.data.windows import Windows
from nwbdyn.evaluation import (
    averaging,
    blocks,
    gain,
    held_out_neurons,
    heldout_resamples,
    reliability,
    scoring,
)
from nwbdyn.evaluation.scoring import Comparison
from nwbdyn.inference import rollout
from nwbdyn.models import base
from nwbdyn.models.base import CO_SMOOTHING, NEXT, WindowSpec

VALUES = recorded()
GOOD, FAIR, ALIKE, BAD = (noisy(VALUES, *one) for one in ((0.3, 1), (0.6, 2), (0.6, 3), (0.9, 4)))
QUICK = {"updates": 20, "hidden": 4, "embedding": 2, "context": 3}


def on(split, inside, outside):
    """One prediction on the bins of a split, another elsewhere."""
    return np.where((split == LABELS)[:, None], inside, outside)


# --- who won ---


@pytest.mark.parametrize(
    ("model", "other", "block", "beats", "signs"),
    [
        (GOOD, BAD, 5, True, (1, 1)),
        (BAD, GOOD, 5, False, (-1, -1)),
        (FAIR, ALIKE, 5, False, (-1, 1)),  # the interval holds 0
        (GOOD, BAD, 50, None, None),  # 4 blocks
        (GOOD, BAD, 20, True, (1, 1)),  # 10 blocks
        (GOOD, BAD, 21, True, (1, 1)),  # 10 blocks, with a part of one
        (GOOD, BAD, 24, None, None),  # 9 blocks
    ],
)
def test_a_model_beats_a_baseline_with_the_lower_end_of_the_interval(
    model, other, block, beats, signs
):
    fit_task = task(VALUES, block=block)
    scored = scoring.evaluate(fit_task, [Comparison(1, model, other_models(AR=other))], model="m")
    assert scored["beats_baseline"] is beats
    actual = scored["intervals"]["difference"]["test"].get("r2")
    assert (None if actual is None else tuple(np.sign(actual))) == signs
    assert (scored["intervals"]["model"]["test"] == {}) is (beats is None)
    compared = scoring.paired_difference(fit_task, model, other)
    assert compared.interval == actual
    assert compared.adds == pytest.approx(compared.with_ - compared.without)
    assert np.sign(compared.adds) == (-1 if model is BAD else np.sign(compared.adds))
    assert (compared.adds > 0) is bool(compared.with_ > compared.without)


@pytest.mark.parametrize(
    ("early", "late", "best"),
    [
        (on(VAL, GOOD, BAD), on(VAL, BAD, GOOD), "early"),
        (on(VAL, BAD, GOOD), on(VAL, GOOD, BAD), "late"),
        (on(VAL, np.nan, GOOD), on(VAL, GOOD, BAD), "late"),
    ],
)
def test_the_best_baseline_is_the_best_on_validation(early, late, best):
    both = {"early": early, "late": late}
    if np.isfinite(early).all():
        scored = scoring.evaluate(
            task(VALUES), [Comparison(1, FAIR, other_models(**both))], model="m"
        )
        assert scored["primary"]["baseline"] == best
        assert scoring.better(task(VALUES), both) == best
    else:
        assert scoring.better(task(VALUES), both) is None  # no bin that both predict


def test_scores_of_a_prediction_are_those_of_each_split():
    actual = scoring.scores(task(VALUES), on(TEST, GOOD, BAD))
    assert actual["test"]["r2"] > 0.8 > 0.4 > actual["val"]["r2"]
    assert actual["test"]["mse"] == pytest.approx(
        np.mean(((GOOD - VALUES) / VALUES[LABELS == TRAIN].std(axis=0))[LABELS == TEST] ** 2),
        rel=1e-3,
    )


def test_bins_that_may_not_be_scored_are_not():
    fit_task = task(VALUES)
    counted = np.arange(600) < 500
    broken = np.where(counted[:, None], GOOD, 1e6)
    actual = scoring.scores(replace(fit_task, counted=counted), broken)["test"]["r2"]
    assert actual == pytest.approx(
        scoring.scores(replace(fit_task, counted=counted), GOOD)["test"]["r2"]
    )
    assert actual > 0.8


def test_the_primary_score_is_that_of_the_next_bin():
    contests = [
        Comparison(1, GOOD, other_models(AR=BAD)),
        Comparison(5, BAD, other_models(AR=GOOD)),
    ]
    scored = scoring.evaluate(task(VALUES), contests, model="m")
    assert scored["beats"] == {"r2": True, "r2@5": False}
    assert scored["beats_baseline"] is True


# --- over folds and sessions ---


def part(model, other, interval, beats):
    return {
        "model": {"test": {"r2": model}},
        "baselines": {"AR": {"test": {"r2": other}}},
        "best_baseline": {"r2": "AR"},
        "intervals": {"difference": {"test": {} if interval is None else {"r2": interval}}},
        "primary": {"metric": "r2", "split": "test", "baseline": "AR"},
        "beats_baseline": beats,
    }


def test_a_difference_over_sessions_is_the_model_minus_its_baseline():
    actual = scoring.over_sessions(
        {"a": part(0.5, 0.4, [0.05, 0.2], True), "b": part(0.3, 0.4, None, None)}
    )
    assert actual["sessions"]["a"]["difference"] == pytest.approx(0.1)
    assert actual["sessions"]["b"]["difference"] == pytest.approx(-0.1)
    assert [row["interval"] for row in actual["sessions"].values()] == [[0.05, 0.2], None]
    assert [row["beats"] for row in actual["sessions"].values()] == [True, None]
    assert actual["difference"]["num_above"] == 1
    folds = scoring.over_folds([part(0.5, 0.4, None, None), part(0.7, 0.3, None, None)])
    assert folds.difference["r2"]["values"] == pytest.approx([0.1, 0.4])


@pytest.mark.parametrize(
    ("differences", "p", "num_above"),
    [
        ([1.0, 1.0, 1.0], 2 / 8, 3),  # all + or all -
        ([-1.0, -1.0, -1.0], 2 / 8, 0),
        ([1.0, -1.0], 1.0, 1),
        ([3.0, 1.0, -1.0], 6 / 8, 2),  # |mean| >= 1: all but -3 +1 +1 and +3 -1 -1
        ([0.0, 2.0], 1.0, 1),
        ([2.0], 1.0, 1),
        ([0.001, 0.003], 2 / 4, 1),  # the first is level
    ],
)
def test_the_sign_flip_test_by_hand(differences, p, num_above):
    actual = scoring.sign_flip_test(differences)
    assert actual["p"] == p
    assert actual["num_above"] == num_above
    assert actual["num_level"] == sum(abs(one) <= 0.002 for one in differences)
    assert (actual["sd"] is None) is (len(differences) == 1)


# --- what coupling adds ---


@pytest.mark.parametrize(
    ("without", "own_past", "better"),
    [
        (on(VAL, FAIR, BAD), on(VAL, BAD, GOOD), "refit"),
        (on(VAL, BAD, GOOD), on(VAL, FAIR, BAD), "AR"),
    ],
)
def test_coupling_has_to_beat_the_better_of_refit_and_ar_on_validation(without, own_past, better):
    actual = gain.of_coupling(task(VALUES), GOOD, without, other_models(AR=own_past, VAR=GOOD))
    assert actual.better == better
    assert actual.without == scoring.paired_difference(task(VALUES), GOOD, without).without
    assert actual.against_ar == scoring.paired_difference(task(VALUES), GOOD, own_past)
    alone = gain.of_coupling(task(VALUES), GOOD, without, other_models(VAR=GOOD))
    assert alone.to_json() == scoring.paired_difference(task(VALUES), GOOD, without).to_json()


@pytest.mark.parametrize(
    ("weight", "seed_sd", "empty"),
    [
        ([0.0, 0.0], [np.nan, np.nan], True),
        ([0.0, 0.0], [0.0, 0.0], True),
        ([0.0, 0.0], [0.0, 0.5], False),  # two seeds that cancel
        ([0.0, 1e-9], [np.nan, np.nan], False),
    ],
)
def test_an_edge_matrix_is_empty_if_every_edge_of_every_seed_is_zero(weight, seed_sd, empty):
    edges = pd.DataFrame({"weight": weight, "seed_sd": seed_sd})
    assert gain.all_zero(edges) is empty


# --- which fits, halves, blocks ---


def test_agreement_counts_every_pair_of_seeds_off_the_diagonal():
    one, other = np.arange(9.0).reshape(3, 3), -np.arange(9.0).reshape(3, 3)
    assert reliability.seed_reliability([one]) is None
    assert reliability.seed_reliability([one, one]) == pytest.approx(1)
    assert reliability.seed_reliability(
        [one + 99 * np.eye(3), other + 99 * np.eye(3)]
    ) == pytest.approx(-1)
    assert reliability.seed_reliability([one, one, other]) == pytest.approx((1 - 1 - 1) / 3)


@pytest.mark.parametrize(
    ("signs", "form", "agree"),
    [
        ([1, -1, 1, -1], "attention", -1.0),  # odd windows against even ones
        ([1, 1, -1, -1], "attention", None),  # both halves are 0
        ([1, 1, 1, 1], "attention", 1.0),
        ([1, 1, 1], "attention", None),
        ([1, 1, 1, 1], "dense", None),  # windows of a next-bin model overlap
    ],
)
def test_halves_of_the_windows(signs, form, agree):
    matrices = np.arange(9.0).reshape(3, 3) * np.array(signs)[:, None, None]
    made = coupling(matrices.astype(np.float32))
    halves = reliability.split_half_reliability(made)
    assert halves == pytest.approx(1.0 if form == "dense" else agree)
    if form == "dense":
        reported = reliability.reliability([matrices[0]], made, [], None)
        assert (reported.of, reported.coupling.windows) == ("couplings", None)


@pytest.mark.parametrize(
    ("sizes", "co_smoothing", "members"),
    [
        ([3.0, 0.4], True, (1,)),
        ([3.0, 0.4], False, (0, 1)),
        ([0.4], True, (0,)),
        ([0.4, 3.0, 0.4], True, (2, 0)),
    ],
)
def test_which_fits_are_averaged(sizes, co_smoothing, members):
    made, rates = co_smoothing_task()
    fits = [noisy_rates(rates, size, seed) for seed, size in enumerate(sizes)]
    actual = averaging.average(replace(made, co_smoothing=co_smoothing), fits, range(len(fits)))
    assert set(actual.members) == set(members)
    assert (actual.selection is None) is (not co_smoothing or len(fits) == 1)


@pytest.mark.parametrize(
    ("values", "lags"),
    [
        (np.tile([1.0, -1.0], 40), 1),  # its correlation is negative after one bin
        (np.repeat(np.tile([1.0, -1.0], 10), 4), 3),  # .5 after 1 of 4 bins, .0 after 2 and 3
        (np.ones(80), 1),
    ],
)
def test_memory_ends_where_the_correlation_falls_below_1_in_e(values, lags):
    actual = blocks.memory(values[:, None])
    assert actual == (2 if lags == 3 else lags)


# --- held-out neurons ---


def drawn(model, other, block=10):
    """One draw: held-out neurons 5 to 24 of 25, 150 test bins."""
    made, rates = co_smoothing_task(num_neurons=25)
    made = replace(made, blocks=np.arange(600) // block)
    prediction, baseline = (noisy_rates(rates, *one) for one in (model, other))
    scored = scoring.evaluate(
        made, [Comparison(0, prediction, other_models(GLM=baseline))], model="stndt"
    )
    scored |= held_out_neurons.scores(made, prediction, other_models(GLM=baseline), "GLM").metrics()
    return heldout_resamples.of(made, prediction, other_models(GLM=baseline), scored), scored


@pytest.mark.parametrize(
    ("model", "other", "block", "beats"),
    [
        ((0.1, 0), (1.5, 1), 10, True),
        ((1.5, 1), (0.1, 0), 10, False),
        ((0.5, 1), (0.5, 2), 10, False),  # the interval holds 0
        ((0.1, 0), (1.5, 1), 30, None),  # 5 blocks
    ],
)
def test_draws_beat_the_baseline_with_the_lower_end_of_the_interval(model, other, block, beats):
    draw, scored = drawn(model, other, block)
    actual = heldout_resamples.together([draw, draw])
    assert actual.beats is beats
    if beats is not None:
        low, high = actual.intervals["difference"]
        assert (low > 0) is beats
        assert high > 0 or model[0] > other[0]
        assert high - low > 1e-3  # blocks and neurons are drawn anew
    score = heldout_resamples._wholes([draw], "model")[0]
    assert score == pytest.approx(scored["model"]["test"]["co_bps"], abs=1e-6)
    assert set(draw.arrays) == {"neurons", "blocks", "model", "baseline"}
    assert set(replace(draw, baseline=None).arrays) == {"neurons", "blocks", "model"}


def test_a_held_out_neuron_is_scored_on_test_bins_that_all_predict():
    made, rates = co_smoothing_task()
    test = made.split.bins("test")
    garbage = np.where(test[:, None], rates, 1e3)
    partial = np.where((np.arange(600) < 500)[:, None], rates, np.nan)
    actual = held_out_neurons.scores(made, garbage, other_models(GLM=partial), "GLM")
    whole = held_out_neurons.scores(made, rates, other_models(GLM=partial), "GLM")
    assert actual.model == whole.model == actual.baselines["GLM"]
    late = np.where((np.arange(600) < 500)[:, None], rates, 1e3)  # beyond what the GLM predicts
    assert (
        held_out_neurons.scores(made, late, other_models(GLM=partial), "GLM").model == whole.model
    )
    silent = replace(made, binned=replace(made.binned, values=made.binned.values.copy()))
    silent.binned.values[test, 5] = 0
    scored = scoring.evaluate(silent, [Comparison(0, rates, other_models(GLM=rates))], model="m")
    scored |= held_out_neurons.scores(silent, rates, other_models(GLM=rates), "GLM").metrics()
    together = heldout_resamples.together(
        [heldout_resamples.of(silent, rates, other_models(GLM=rates), scored)] * 2
    )
    assert set(together.per_neuron) == {"6", "7"}


def few_shot(val, test, *, num_train=400, seed=0):
    """Counts of neuron 3 follow the rate of neuron 0 with sign 1 in training."""
    sizes = num_train, 150, 150
    labels = np.repeat([TRAIN, VAL, TEST], sizes).astype(np.int8)
    draw = np.random.default_rng(seed)
    log_rate = draw.normal(size=(sum(sizes), 4))
    log_rate[:, 3] = np.repeat([1, val, test], sizes) * log_rate[:, 0]
    made = task(np.ones((600, 3), np.float32))
    values = draw.poisson(np.exp(log_rate)).astype(np.float32)
    num_bins = len(values)
    binned = replace(
        made.binned,
        values=values,
        time=np.arange(num_bins) * 0.1,
        valid=np.ones(num_bins, bool),
        segment=np.zeros(num_bins, int),
        neurons=replace(made.binned.neurons, table=pd.DataFrame({"id": range(4)})),
        quantity="counts",
        covariates=np.zeros((num_bins, 0), np.float32),
    )
    unseen = np.arange(4) == 3
    split = replace(made.split, labels=labels, held_in=~unseen)
    fit_task = replace(
        made,
        binned=binned,
        split=split,
        held_out=unseen,
        counted=np.ones(num_bins, bool),
        co_smoothing=True,
        blocks=np.arange(num_bins) // 5,
    )
    cut = Windows(binned, split, WindowSpec(5, inputs="counts"))
    return held_out_neurons.few_shot(fit_task, cut, np.exp(log_rate), {})


@pytest.mark.parametrize(
    ("val", "test", "low", "high"),
    [
        (1, 1, 0.4, 2.0),  # a weak penalty, and it holds on test
        (1, -1, -9.0, -0.4),  # a weak penalty, chosen although test says otherwise
        (-1, 1, -0.1, 0.2),  # a strong penalty, chosen although test says otherwise
        (-1, -1, -0.2, 0.1),
    ],
)
def test_the_penalty_of_a_few_shot_read_out_is_chosen_on_validation(val, test, low, high):
    actual = few_shot(val, test)
    assert low < actual.model["mean"] < high
    assert len(set(actual.model["values"])) == 10  # other windows in every draw
    assert actual.baselines == {}


@pytest.mark.parametrize(
    ("num_train", "shots"), [(900, 64), (400, 40), (50, 5), (20, 2), (15, None)]
)
def test_how_many_windows_are_few(num_train, shots):
    actual = few_shot(1, 1, num_train=num_train)
    assert (None if actual is None else actual.windows) == shots


# --- several bins ahead ---


@pytest.mark.parametrize(
    ("seen", "predicted"),
    [
        ([0.1, 0.2], [0.4, 0.8, 1.0, 1.0]),  # the training range ends at 1
        ([0.1, -0.4], [-0.8, -1.0, -1.0, -1.0]),
        ([3.0, 2.0], [3.0, 3.0, 3.0, 3.0]),  # the window's own range reaches further
        ([-3.0, -2.0], [-3.0, -3.0, -3.0, -3.0]),
    ],
)
def test_a_roll_out_stays_in_the_range_of_training_and_window(seen, predicted):
    def doubling(batch):
        return base.Output(prediction=2 * batch.activity[:, -1:])

    batch = next(iter(windows().batches("train", 1)))
    batch = replace(batch, activity=torch.tensor(seen)[None, :, None])
    steps = rollout._steps(doubling, batch, 4, torch.tensor([-1.0]), torch.tensor([1.0]))
    assert [float(step) for step in steps] == pytest.approx(predicted)


def test_the_range_of_a_roll_out_is_that_of_training_bins():
    cut = windows()
    cut.binned.values[80:] += 100.0  # in test
    low, high = rollout._training_range(cut)
    train = (cut.binned.values[:60] - cut.mean) / cut.sd
    np.testing.assert_allclose([low, high], [train.min(axis=0), train.max(axis=0)], rtol=1e-5)


@pytest.mark.parametrize(
    ("target", "counts", "applies"),
    [(NEXT, False, True), (NEXT, True, False), (CO_SMOOTHING, False, False)],
)
def test_a_model_is_rolled_out_where_its_prediction_can_be_its_input(target, counts, applies):
    cut = windows()
    if counts:
        object.__setattr__(cut.binned, "quantity", "counts")
    assert rollout.applies(type("Other", (Linear,), {"target": target}), cut) is applies


def test_a_step_is_not_taken_out_of_its_split():
    cut = windows()
    rolled = rollout.roll_out(linear(cut), cut, horizons=[1, 2], splits=["val"])
    # a context of two bins in validation (60 to 79), then one bin or two
    assert np.flatnonzero(np.isfinite(rolled[1][:, 0])).tolist() == list(range(62, 80))
    assert np.flatnonzero(np.isfinite(rolled[2][:, 0])).tolist() == list(range(63, 80))
