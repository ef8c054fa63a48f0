"""Every score against values worked out by hand or by scikit-learn and SciPy."""

import numpy as np
import pytest
from scipy import stats
from scipy.stats import poisson, spearmanr
from sklearn.metrics import average_precision_score, r2_score, roc_auc_score

from nwbdyn import metrics


@pytest.fixture
def activity() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    true = rng.normal(3, 2, (200, 5))
    return true, true + rng.normal(0, 1, true.shape)


def test_r2_is_about_each_neurons_mean_and_averaged_over_neurons(activity):
    true, prediction = activity
    assert metrics.r2(true, prediction) == pytest.approx(r2_score(true, prediction), abs=1e-12)
    expected = r2_score(true, prediction, multioutput="raw_values")
    np.testing.assert_allclose(metrics.r2.per_neuron(true, prediction), expected, atol=1e-12)


def test_mse_and_pearson_agree_with_numpy(activity):
    true, prediction = activity
    assert metrics.mse(true, prediction) == pytest.approx(((true - prediction) ** 2).mean())
    expected = np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(true.T, prediction.T, strict=True)])
    assert metrics.pearson(true, prediction) == pytest.approx(expected)


def test_entries_that_are_nan_are_left_out():
    true = np.array([[1.0], [2.0], [np.nan], [4.0]])
    prediction = np.array([[1.0], [3.0], [9.0], [np.nan]])
    assert metrics.mse(true, prediction) == 0.5
    assert np.isnan(metrics.mse(true, np.full_like(true, np.nan)))


def test_a_constant_neuron_is_left_out_and_a_constant_prediction_correlates_zero():
    true = np.array([[1.0, 7.0], [2.0, 7.0], [3.0, 7.0]])
    assert metrics.r2(true, true + np.array([0, 5])) == 1.0
    assert metrics.pearson(true, np.full_like(true, 2.0)) == 0.0
    assert np.isnan(metrics.r2(true[:, 1:], true[:, 1:]))


def test_skill_is_the_share_of_the_copys_error_that_is_removed():
    true = np.array([[0.0], [1.0], [2.0], [3.0]])
    copy = true - 1.0  # squared error 4
    assert metrics.skill(true, true, copy) == 1.0
    assert metrics.skill(true, copy, copy) == 0.0
    assert metrics.skill(true, true - 0.5, copy) == 0.75


def test_skill_does_not_depend_on_the_unit_of_a_neuron(activity):
    true, prediction = activity
    copy = np.roll(true, 1, axis=0)
    unit = np.array([1, 10, 100, 0.1, 5])
    scaled = metrics.skill(true * unit, prediction * unit, copy * unit)
    assert scaled == pytest.approx(metrics.skill(true, prediction, copy))


def test_bits_per_spike_of_two_neurons_by_hand():
    true = np.array([[0.0, 1.0], [2.0, 1.0]])
    rates = np.array([[0.5, 1.0], [1.5, 1.0]])
    # neuron 0: null rate 1: NLL 2; model 2 - 2 ln 1.5. Neuron 1: equal. 4 spikes.
    expected = 2 * np.log(1.5) / (4 * np.log(2))
    assert metrics.bits_per_spike(true, rates) == pytest.approx(expected)


def test_bits_per_spike_agrees_with_the_poisson_likelihood_and_drops_nan_targets():
    rng = np.random.default_rng(1)
    rates = rng.gamma(2, 0.1, (30, 20, 4))
    true = rng.poisson(rates).astype(float)
    rates[0, 0, 0] = 0.0
    true[:5, :, 2] = np.nan
    seen = ~np.isnan(true)
    null = np.broadcast_to(np.nanmean(true, axis=(0, 1)), true.shape)
    model = poisson.logpmf(true[seen], np.where(rates == 0, 1e-9, rates)[seen]).sum()
    gain = model - poisson.logpmf(true[seen], null[seen]).sum()
    expected = gain / (np.nansum(true) * np.log(2))
    assert metrics.bits_per_spike(true, rates) == pytest.approx(expected)
    held_out = np.array([False, False, True, True])
    assert metrics.co_bps(true, rates, held_out) == metrics.bits_per_spike(
        true[..., 2:], rates[..., 2:]
    )
    assert metrics.fp_bps(true, rates, 15) == metrics.bits_per_spike(true[:, 15:], rates[:, 15:])


def test_the_mean_rate_scores_zero_bits_and_silence_scores_nothing():
    true = np.array([[0.0], [3.0], [0.0]])
    assert metrics.bits_per_spike(true, np.ones((3, 1))) == 0.0
    assert np.isnan(metrics.bits_per_spike(np.zeros((3, 1)), np.ones((3, 1))))


def test_a_negative_rate_and_a_wrong_shape_are_refused():
    with pytest.raises(ValueError, match="never negative"):
        metrics.bits_per_spike(np.ones((2, 1)), -np.ones((2, 1)))
    with pytest.raises(ValueError, match="the truth"):
        metrics.r2(np.ones((2, 1)), np.ones((3, 1)))


def few(units: int) -> float:
    """How much wider an interval of few units is: Student's t against the normal."""
    return stats.t.ppf(0.975, units - 1) / stats.norm.ppf(0.975) * np.sqrt(units / (units - 1))


def test_the_block_bootstrap_agrees_with_drawing_the_blocks_one_by_one(activity):
    true, prediction = activity
    blocks = metrics.time_blocks(200, 20)
    low, high = metrics.block_interval(
        metrics.pearson, true, prediction, blocks=blocks, num_resamples=400, seed=3
    )
    rng = np.random.default_rng(3)
    draws = rng.multinomial(10, np.full(10, 0.1), size=400)
    scores = []
    for draw in draws:
        rows = np.concatenate([np.flatnonzero(blocks == b) for b in np.repeat(np.arange(10), draw)])
        scores.append(metrics.pearson(true[rows], prediction[rows]))
    score = metrics.pearson(true, prediction)
    half = few(10) * np.quantile(np.abs(np.array(scores) - score), 0.95)
    np.testing.assert_allclose([low, high], [score - half, min(score + half, 1)], atol=1e-12)


def test_an_interval_holds_its_own_score_where_percentiles_do_not():
    """Rare events: most drawn recordings have few, whose R2 is far below that of the whole."""
    rng = np.random.default_rng(0)
    true = 0.1 * rng.normal(size=(200, 30))
    event = rng.integers(0, 10, 30) * 20 + 5
    for neuron, first in enumerate(event):
        true[first : first + 10, neuron] += 3
    prediction = np.where(true > 1, true, 0.3)
    blocks = metrics.time_blocks(200, 20)
    draws = metrics.resampled(metrics.r2, true, (prediction,), blocks, 1000, 0)
    score = metrics.r2(true, prediction)
    assert np.quantile(draws, 0.975) < score
    low, high = metrics.block_interval(metrics.r2, true, prediction, blocks=blocks)
    assert low < score < high <= 1


def test_the_interval_of_a_difference_sees_the_better_prediction(activity):
    true, prediction = activity
    blocks = metrics.time_blocks(200, 20)
    low, high = metrics.difference_interval(
        metrics.r2, true, prediction, prediction + 1.0, blocks=blocks
    )
    assert 0 < low < high
    same = metrics.difference_interval(metrics.r2, true, prediction, prediction, blocks=blocks)
    assert same == (0.0, 0.0)


def test_one_block_has_no_interval(activity):
    low, high = metrics.block_interval(metrics.r2, *activity, blocks=np.zeros(200))
    assert np.isnan(low)
    assert np.isnan(high)


def test_a_short_rest_joins_the_last_block():
    assert metrics.time_blocks(7, 3).tolist() == [0, 0, 0, 1, 1, 1, 1]
    assert metrics.time_blocks(8, 3).tolist() == [0, 0, 0, 1, 1, 1, 2, 2]


def test_the_interval_over_neurons_and_blocks_is_that_of_drawing_both():
    rng = np.random.default_rng(3)
    rate = rng.gamma(2, 0.5, (200, 6))
    true = rng.poisson(rate).astype(float)
    guess = rate * np.exp(rng.normal(0, 0.3, 6)) * np.exp(rng.normal(0, 0.2, rate.shape))
    blocks = np.arange(200) // 10
    draws = []
    for _ in range(2000):
        rows = np.concatenate([np.flatnonzero(blocks == b) for b in rng.integers(0, 20, 20)])
        neurons = rng.integers(0, 6, 6)
        draws.append(metrics.bits_per_spike(true[rows][:, neurons], guess[rows][:, neurons]))
    actual = metrics.two_way_interval(true, guess, blocks=blocks, num_resamples=2000)
    score = metrics.bits_per_spike(true, guess)
    half = few(6) * np.quantile(np.abs(np.array(draws) - score), 0.95)
    # each half is known to about .01
    assert actual == pytest.approx((score - half, score + half), abs=0.03)
    trials_alone = metrics.block_interval(metrics.bits_per_spike, true, guess, blocks=blocks)
    assert np.ptp(actual) > np.ptp(trials_alone)
    same = metrics.two_way_interval(true, guess, guess, blocks=blocks)
    assert same == pytest.approx((0, 0))


@pytest.fixture
def wiring() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(2)
    truth = rng.normal(size=(12, 12)) * (rng.random((12, 12)) < 0.3)
    return np.round(truth + rng.normal(0, 0.5, truth.shape), 1), truth


def test_agreement_with_a_wiring_matches_sklearn_and_scipy_off_the_diagonal(wiring):
    weight, truth = wiring
    scores = metrics.agreement(weight, truth)
    off = ~np.eye(12, dtype=bool)
    edge, size = truth[off] != 0, np.abs(weight[off])
    assert scores["pearson"] == pytest.approx(np.corrcoef(weight[off], truth[off])[0, 1])
    assert scores["spearman"] == pytest.approx(spearmanr(weight[off], truth[off]).statistic)
    assert scores["auroc"] == pytest.approx(roc_auc_score(edge, size))
    assert scores["auprc"] == pytest.approx(average_precision_score(edge, size))


def test_precision_and_sign_accuracy_by_hand():
    size = np.array([0.9, 0.8, 0.1, 0.5])
    edge = np.array([True, False, True, False])
    assert metrics.precision_at_k(size, edge) == 0.5
    assert metrics.precision_at_k(size, edge, k=1) == 1.0
    weight, truth = np.array([1.0, -1.0, 0.0, 2.0]), np.array([2.0, 1.0, -1.0, 0.0])
    assert metrics.sign_accuracy(weight, truth) == pytest.approx(1 / 3)


def test_a_transposed_matrix_loses_the_direction_score(wiring):
    weight, truth = wiring
    assert metrics.direction(weight, truth) > 0.3
    assert metrics.direction(weight.T, truth) < -0.3


def test_unknown_pairs_do_not_count(wiring):
    weight, truth = wiring
    known = np.zeros((12, 12), dtype=bool)
    known[:6, :6] = True
    assert metrics.agreement(weight, truth, known) == pytest.approx(
        metrics.agreement(weight[:6, :6], truth[:6, :6])
    )
