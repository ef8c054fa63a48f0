"""Evaluation: the same bins for all, baselines ranked on validation, blocks drawn as wholes."""

import numpy as np
import pandas as pd
import pytest

from nwbdyn.baselines import Baseline
from nwbdyn.data.binning import Binned
from nwbdyn.data.splits import TEST, TRAIN, VAL, Split
from nwbdyn.evaluation import blocks, scoring
from nwbdyn.evaluation.scoring import Comparison, Task
from nwbdyn.recording import Neurons

NUM_BINS, NUM_NEURONS = 600, 3
LABELS = np.repeat([TRAIN, VAL, TEST], [300, 100, 200]).astype(np.int8)


def recorded(*, counts: bool = False) -> np.ndarray:
    rng = np.random.default_rng(0)
    if counts:
        return rng.poisson(1.0, (NUM_BINS, NUM_NEURONS)).astype(np.float32)
    return rng.normal(size=(NUM_BINS, NUM_NEURONS)).astype(np.float32)


def task(
    values: np.ndarray,
    *,
    held_out: tuple[int, ...] = (),
    block: int = 5,
    co_smoothing: bool = False,
) -> Task:
    flags = np.isin(np.arange(NUM_NEURONS), held_out)
    binned = Binned(
        session_id="made",
        values=values,
        time=np.arange(NUM_BINS) * 0.1,
        bin_width=0.1,
        valid=np.ones(NUM_BINS, bool),
        segment=np.zeros(NUM_BINS, int),
        neurons=Neurons(pd.DataFrame({"id": range(NUM_NEURONS)}), "roi"),
        quantity="counts" if values.min() >= 0 else "dff",
        covariates=np.zeros((NUM_BINS, 0), np.float32),
    )
    split = Split(LABELS, ~flags, seed=0, rule="by hand")
    counted = np.ones(NUM_BINS, bool)
    return Task(binned, split, flags, counted, co_smoothing, np.arange(NUM_BINS) // block)


def noisy(values: np.ndarray, size: float, seed: int) -> np.ndarray:
    return values + size * np.random.default_rng(seed).normal(size=values.shape)


def other_models(**predictions: np.ndarray) -> dict[str, Baseline]:
    return {name: Baseline(name, values, {}) for name, values in predictions.items()}


def test_a_better_prediction_beats_the_baselines_and_a_copy_of_one_does_not():
    values = recorded()
    good, bad = noisy(values, 0.3, 1), noisy(values, 0.8, 2)
    won = scoring.evaluate(task(values), [Comparison(1, good, other_models(bad=bad))], model="m")
    assert won["beats_baseline"] is True
    low, high = won["intervals"]["difference"]["test"]["r2"]
    assert 0 < low < won["model"]["test"]["r2"] - won["baselines"]["bad"]["test"]["r2"] < high
    same = scoring.evaluate(task(values), [Comparison(1, bad, other_models(bad=bad))], model="m")
    assert same["beats_baseline"] is False
    assert same["intervals"]["difference"]["test"]["r2"] == [0, 0]


def test_the_baseline_to_beat_is_the_best_on_validation_not_on_test():
    values = recorded()
    early, late = noisy(values, 0.9, 1), noisy(values, 0.9, 2)
    early[LABELS == VAL] = values[LABELS == VAL]
    late[LABELS == TEST] = values[LABELS == TEST]
    contest = Comparison(1, noisy(values, 0.5, 3), other_models(early=early, late=late))
    scored = scoring.evaluate(task(values), [contest], model="m")
    assert scored["primary"]["baseline"] == "early"
    assert scored["baselines"]["late"]["test"]["r2"] == pytest.approx(1)


def test_a_bin_that_one_of_them_does_not_predict_counts_for_none():
    values = recorded()
    whole, partial = noisy(values, 0.5, 1), noisy(values, 0.5, 2)
    partial[450:] = np.nan
    contest = Comparison(1, whole, other_models(partial=partial))
    scored = scoring.evaluate(task(values), [contest], model="m")
    assert scored["num_bins"]["r2"] == {"train": 300, "val": 100, "test": 50}
    error = np.square(whole - values)[400:450].mean(axis=0)
    r2 = np.mean(1 - error / values[400:450].var(axis=0))
    assert scored["model"]["test"]["r2"] == pytest.approx(r2, abs=1e-6)


def test_with_few_independent_blocks_nothing_is_decided():
    values = recorded()
    contest = Comparison(1, noisy(values, 0.1, 1), other_models(bad=noisy(values, 0.9, 2)))
    scored = scoring.evaluate(task(values, block=50), [contest], model="m")
    assert scored["num_blocks"]["r2"] == 4
    assert scored["beats_baseline"] is None
    assert scored["intervals"]["model"]["test"] == {}
    assert scored["intervals"]["difference"]["test"] == {}


def test_reconstructions_of_held_in_neurons_are_not_scored():
    values = recorded(counts=True)
    rate = np.full(values.shape, values.mean())
    garbage = rate.copy()
    garbage[:, :2] = 1e6  # held in
    fit_task = task(values, held_out=(2,), co_smoothing=True)
    one, other = (
        scoring.evaluate(fit_task, [Comparison(0, p, other_models(mean=rate))], model="m")
        for p in (rate, garbage)
    )
    assert one["model"] == other["model"]
    assert set(one["model"]["test"]) == {"co_bps"}


def test_scores_further_ahead_stand_beside_those_of_the_next_bin():
    values = recorded()
    near = Comparison(1, noisy(values, 0.2, 1), other_models(persistence=noisy(values, 0.5, 2)))
    far = Comparison(5, noisy(values, 0.6, 3), other_models(persistence=noisy(values, 0.9, 4)))
    far.prediction[LABELS == TRAIN] = np.nan
    scored = scoring.evaluate(task(values), [near, far], model="m")
    assert scored["primary"] == {
        "metric": "r2",
        "split": "test",
        "horizon": 1,
        "baseline": "persistence",
    }
    assert scored["model"]["test"]["r2"] > scored["model"]["test"]["r2@5"]
    assert "r2@5" not in scored["model"]["train"]
    assert scored["baselines"]["persistence"]["test"]["skill@5"] == 0
    assert set(scored["beats"]) == {"r2", "r2@5"}


def test_mean_squared_error_is_in_training_deviations_whatever_the_unit():
    values = recorded()
    prediction = noisy(values, 0.5, 1)
    small, large = (
        scoring.scores(task(scale * values), scale * prediction)["test"]["mse"]
        for scale in (1, 1000)
    )
    assert small == pytest.approx(large, rel=1e-5)


def test_blocks_last_twice_as_long_as_the_signal_remembers():
    rng = np.random.default_rng(0)
    values = np.zeros((4000, 2))
    for row in range(1, 4000):
        values[row] = 0.9 * values[row - 1] + rng.normal(size=2)
    # .9^k falls below 1/e at k = 9.5
    assert blocks.memory(values) == pytest.approx(10, abs=2)
    assert blocks.memory(rng.normal(size=(4000, 2))) == 1
    assert blocks.memory(np.ones((100, 2))) == 1


def of_fold(ours: float | None, theirs: float) -> dict[str, object]:
    return {
        "model": {"test": {"r2": ours}},
        "baselines": {"AR": {"test": {"r2": theirs}}},
        "best_baseline": {"r2": "AR"},
    }


def test_over_folds_gives_mean_and_spread():
    parts = [of_fold(0.5, 0.4), of_fold(0.7, 0.5)]
    summary = scoring.over_folds(parts)
    assert summary.model["r2"]["mean"] == pytest.approx(0.6)
    assert summary.model["r2"]["sd"] == pytest.approx(np.sqrt(0.02))
    assert summary.difference["r2"]["values"] == pytest.approx([0.1, 0.2])


def test_a_fold_whose_score_a_run_keeps_as_null_leaves_no_mean():
    summary = scoring.over_folds([of_fold(0.5, 0.4), of_fold(None, 0.5)])
    assert np.isnan(summary.model["r2"]["mean"])
    assert np.isnan(summary.difference["r2"]["mean"])
    assert summary.baselines["AR"]["r2"]["mean"] == pytest.approx(0.45)
