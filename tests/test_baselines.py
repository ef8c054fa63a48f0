"""Simple methods find what was planted, and see no more than the model sees."""

import numpy as np
import pandas as pd
import pytest

from nwbdyn import baselines
from nwbdyn.baselines.lagged_design import history
from nwbdyn.baselines.regression import Lasso, Poisson, Ridge
from nwbdyn.data.binning import Binned
from nwbdyn.data.splits import GAP, TEST, TRAIN, VAL, Split
from nwbdyn.errors import DataError
from nwbdyn.recording import Neurons


def binned_of(values, quantity="dff", *, segment=None, covariates=None):
    num_bins, num_neurons = values.shape
    return Binned(
        session_id="s",
        values=values.astype(np.float32),
        time=np.arange(num_bins) * 0.02,
        bin_width=0.02,
        valid=np.ones(num_bins, dtype=bool),
        segment=np.zeros(num_bins, dtype=int) if segment is None else segment,
        neurons=Neurons(pd.DataFrame({"id": np.arange(num_neurons)}), "unit"),
        quantity=quantity,
        covariates=np.zeros((num_bins, 0), np.float32) if covariates is None else covariates,
    )


def split_of(num_bins, num_neurons, *, num_held_out=0, gap=0):
    labels = np.full(num_bins, GAP, dtype=np.int8)
    first, second = int(0.7 * num_bins), int(0.85 * num_bins)
    labels[: first - gap] = TRAIN
    labels[first : second - gap] = VAL
    labels[second:] = TEST
    held_in = np.arange(num_neurons) < num_neurons - num_held_out
    return Split(labels, held_in, seed=0, rule="test")


def linear_network(num_bins=3000, num_neurons=8, seed=0):
    """x' = W x + noise, with W sparse, stable and known."""
    random = np.random.default_rng(seed)
    coupling = random.normal(size=(num_neurons, num_neurons))
    coupling *= random.random(coupling.shape) < 0.3
    coupling *= 0.9 / np.abs(np.linalg.eigvals(coupling)).max()
    activity = np.zeros((num_bins, num_neurons))
    for t in range(1, num_bins):
        activity[t] = coupling @ activity[t - 1] + random.normal(size=num_neurons)
    return activity, coupling


def r2(binned, split, prediction):
    test = split.labels == TEST
    true = binned.values[test]
    return 1 - np.mean((true - prediction[test]) ** 2) / np.var(true, axis=0).mean()


def bits_per_spike(counts, rates):
    null = counts.mean(axis=0)
    return np.sum(counts * np.log2(rates / null) - (rates - null) / np.log(2)) / counts.sum()


def shared_latent_counts(num_bins=6000, num_neurons=12, seed=0):
    """Poisson counts around the exponential of a slow latent that all neurons share."""
    random = np.random.default_rng(seed)
    latent = np.zeros(num_bins)
    for t in range(1, num_bins):
        latent[t] = 0.95 * latent[t - 1] + 0.3 * random.normal()
    rates = 0.5 * np.exp(latent[:, None] * random.uniform(0.5, 1.0, num_neurons))
    return random.poisson(rates), rates


@pytest.mark.parametrize("name", ["VAR ridge", "VAR lasso"])
def test_vector_autoregression_finds_the_planted_coupling(name):
    activity, coupling = linear_network()
    actual = baselines.next_bin(binned_of(activity), split_of(3000, 8), context=5)
    weights = actual[name].coupling * activity.std(0)[:, None] / activity.std(0)
    apart = ~np.eye(8, dtype=bool)
    # 2,100 training bins: the standard error of a weight is .02, the weights' sd .2
    assert np.corrcoef(weights[apart], coupling[apart])[0, 1] > 0.98
    assert np.corrcoef(weights.T[apart], coupling[apart])[0, 1] < 0.5  # rows receive


def test_each_next_bin_baseline_beats_the_one_it_extends():
    activity, _ = linear_network()
    binned, split = binned_of(activity), split_of(3000, 8)
    actual = baselines.next_bin(binned, split, context=5)
    assert list(actual) == [
        *("persistence", "AR(1)", "AR", "NLinear", "VAR ridge", "VAR lasso"),
        *("nonlinear AR", "nonlinear VAR"),
    ]
    score = {name: r2(binned, split, row.prediction) for name, row in actual.items()}
    assert score["persistence"] < score["AR(1)"] < score["AR"] + 0.01 < score["VAR ridge"]


def test_least_squares_through_the_right_link_find_a_noise_free_network_exactly():
    random = np.random.default_rng(0)
    coupling = random.normal(size=(5, 5)) * 0.9
    activity = np.zeros((400, 5))
    activity[0] = random.uniform(-0.5, 0.5, 5)
    for t in range(1, 400):
        drive = 0.3 * np.sin(t * np.array([0.11, 0.23, 0.31, 0.43, 0.53]))
        activity[t] = np.tanh(coupling @ activity[t - 1] + drive)
    waves = np.arange(400)[:, None] * np.array([0.11, 0.23, 0.31, 0.43, 0.53])
    binned = binned_of(
        activity,
        covariates=np.sin(waves + np.array([[0.11, 0.23, 0.31, 0.43, 0.53]])).astype(np.float32),
    )
    split = split_of(400, 5)
    actual = baselines.next_bin(binned, split, context=1, link="tanh", raw=True)["OLS tanh"]
    weights = actual.coupling / activity[split.labels == TRAIN].std(0)  # per unit of the input
    # float32 activity, and arctanh is steep near 1
    np.testing.assert_allclose(weights, coupling, atol=0.02)
    assert r2(binned, split, actual.prediction) > 0.9999


def test_through_the_link_of_counts_every_neurons_mean_is_kept():
    counts, _ = shared_latent_counts(2000)
    binned, split = binned_of(counts, "counts"), split_of(2000, 12)
    actual = baselines.next_bin(binned, split, context=3)["OLS log"]
    train = split.labels == TRAIN
    seen = train & np.isfinite(actual.prediction[:, 0])
    np.testing.assert_allclose(
        actual.prediction[seen].mean(0), counts[train].mean(0), rtol=0.02
    )  # a rate of 0 is lifted to the floor
    assert bits_per_spike(counts[split.labels == TEST], actual.prediction[split.labels == TEST]) > 0


def test_persistence_is_the_bin_before_and_needs_the_whole_context():
    values = np.random.default_rng(0).normal(size=(100, 2))
    segment = np.repeat([0, 1], 50)
    binned = binned_of(values, segment=segment)
    prediction = baselines.next_bin(binned, split_of(100, 2), context=3)["persistence"].prediction
    missing = np.isnan(prediction[:, 0])
    assert np.flatnonzero(missing).tolist() == [0, 1, 2, 50, 51, 52]
    assert np.array_equal(prediction[3:50], binned.values[2:49])


def test_history_counts_usable_bins_of_the_segment():
    usable = np.array([True, True, False, True, True, True, True])
    segment = np.array([0, 0, 0, 0, 0, 1, 1])
    assert history(usable, segment).tolist() == [0, 1, 2, 0, 1, 0, 1]


@pytest.mark.parametrize("quantity", ["dff", "counts"])
def test_no_prediction_depends_on_the_bin_it_predicts_or_on_later_ones(quantity):
    values, _ = shared_latent_counts(num_bins=1500, num_neurons=4)
    changed = values.copy()
    changed[1400:] += 7  # test bins only
    split = split_of(1500, 4)
    before = baselines.next_bin(binned_of(values, quantity), split, context=5)
    after = baselines.next_bin(binned_of(changed, quantity), split, context=5)
    for name, row in before.items():
        assert np.array_equal(
            row.prediction[:1401], after[name].prediction[:1401], equal_nan=True
        ), name


def test_a_covariate_that_drives_the_neurons_helps_all_but_plain_ar():
    random = np.random.default_rng(0)
    drive = random.normal(size=(2000, 1)).astype(np.float32)
    values = random.normal(size=(2000, 3))
    values[1:] += 2 * drive[:-1]
    split = split_of(2000, 3)
    without = baselines.next_bin(binned_of(values), split, context=2)
    binned = binned_of(values, covariates=drive)
    actual = baselines.next_bin(binned, split, context=2)
    assert r2(binned, split, actual["AR(1)"].prediction) < 0.1
    for name in ("AR", "VAR ridge", "VAR lasso"):
        assert r2(binned, split, actual[name].prediction) > 0.7
        assert r2(binned, split, without[name].prediction) < 0.1


def test_the_glm_of_counts_uses_the_other_neurons():
    counts, rates = shared_latent_counts()
    binned, split = binned_of(counts, "counts"), split_of(6000, 12)
    actual = baselines.next_bin(binned, split, context=10)
    test = split.labels == TEST
    score = {
        name: bits_per_spike(counts[test], row.prediction[test]) for name, row in actual.items()
    }
    assert all((row.prediction[10:] > 0).all() for row in actual.values())
    assert score["Poisson GLM"] > score["AR"] > score["AR(1)"] > score["persistence"]
    assert score["Poisson GLM"] < bits_per_spike(counts[test], rates[test])


def test_held_out_neurons_are_predicted_from_held_in_ones():
    counts, rates = shared_latent_counts()
    binned, split = binned_of(counts, "counts"), split_of(6000, 12, num_held_out=3, gap=50)
    actual = baselines.co_smoothing(binned, split, None, context=50)
    assert list(actual) == ["smoothing + GLM", "Poisson GLM"]
    test = split.labels == TEST
    oracle = bits_per_spike(counts[test, 9:], rates[test, 9:])
    for row in actual.values():
        assert np.isnan(row.prediction[:, :9]).all()
        score = bits_per_spike(counts[test, 9:], row.prediction[test, 9:])
        assert 0.7 * oracle < score < oracle


def test_co_smoothing_never_sees_held_out_neurons_or_other_windows():
    counts, _ = shared_latent_counts(num_bins=1000)
    split = split_of(1000, 12, num_held_out=3)
    starts = np.arange(0, 1000, 50)
    before = baselines.co_smoothing(binned_of(counts, "counts"), split, starts, context=50)
    changed = counts.copy()
    changed[900:950] += 5  # one test window
    changed[850:, 9:] += 5  # held-out neurons in test
    after = baselines.co_smoothing(binned_of(changed, "counts"), split, starts, context=50)
    kept = np.r_[0:900, 950:1000]
    for name, row in before.items():
        assert np.array_equal(row.prediction[kept], after[name].prediction[kept], equal_nan=True), (
            name
        )
        assert not np.allclose(row.prediction[900:950, 9:], after[name].prediction[900:950, 9:])


def test_co_smoothing_predicts_only_inside_the_given_windows():
    counts, _ = shared_latent_counts(num_bins=1000)
    starts = np.array([0, 100, 200, 300, 400, 500, 600, 720, 870])
    split = split_of(1000, 12, num_held_out=3)
    actual = baselines.co_smoothing(binned_of(counts, "counts"), split, starts, context=60)
    inside = np.zeros(1000, dtype=bool)
    inside[(starts[:, None] + np.arange(60)).ravel()] = True
    assert np.array_equal(np.isfinite(actual["Poisson GLM"].prediction[:, -1]), inside)


def test_silent_and_constant_neurons_do_no_harm():
    counts, _ = shared_latent_counts(num_bins=1000, num_neurons=5)
    counts[:, 0] = 0
    counts[:, 4] = 0
    split = split_of(1000, 5, num_held_out=1)
    for row in baselines.next_bin(binned_of(counts, "counts"), split, context=5).values():
        assert np.isfinite(row.prediction[5:]).all()
        assert (row.prediction[5:, 0] < 0.01).all()
    actual = baselines.co_smoothing(binned_of(counts, "counts"), split, None, context=50)
    for row in actual.values():
        assert (row.prediction[:, 4] < 0.01).all()
    traces = counts.astype(float)
    for row in baselines.next_bin(binned_of(traces), split, context=5).values():
        assert np.allclose(row.prediction[5:, 0], 0)


def test_missing_values_of_one_neuron_do_not_lose_the_bin():
    activity, _ = linear_network(num_bins=1000)
    activity[200:300, 0] = np.nan
    actual = baselines.next_bin(binned_of(activity), split_of(1000, 8), context=3)
    for row in actual.values():
        assert np.isfinite(row.prediction[3:]).all()


def test_more_neurons_than_bins_still_gives_a_ridge_solution():
    random = np.random.default_rng(0)
    inputs, targets = random.normal(size=(20, 50)), random.normal(size=(20, 3))
    weights = Ridge(inputs, targets).weights(0.5)
    plain = np.linalg.solve(inputs.T @ inputs + 0.5 * 20 * np.eye(50), inputs.T @ targets)
    assert np.allclose(weights, plain)


def test_lasso_fulfils_its_optimality_conditions():
    random = np.random.default_rng(0)
    inputs = random.normal(size=(500, 12))
    targets = inputs[:, :3] @ random.normal(size=(3, 4)) + random.normal(size=(500, 4))
    lasso = Lasso(inputs, targets)
    weights = lasso.weights(0.2, start=np.zeros((12, 4)))
    slope = inputs.T @ (inputs @ weights - targets) / 500
    zero = weights == 0
    assert 10 < zero.sum() < 48
    assert (np.abs(slope[zero]) <= 0.2 + 1e-4).all()
    assert np.allclose(slope[~zero], -0.2 * np.sign(weights[~zero]), atol=1e-4)
    assert (lasso.weights(lasso.largest, start=np.zeros((12, 4))) == 0).all()


def test_poisson_regression_has_no_gradient_left():
    random = np.random.default_rng(0)
    inputs = random.normal(size=(3000, 6)).astype(np.float32)
    inputs = (inputs - inputs.mean(0)) / inputs.std(0)
    truth = 0.3 * random.normal(size=(6, 4))
    counts = random.poisson(np.exp(inputs @ truth - 1))
    actual = Poisson(inputs, counts).fit(2.0, tolerance=1e-9)
    residual = actual.rates(inputs) - counts
    gradient = inputs.T @ residual + 2.0 * actual.weights
    assert actual.converged
    # sums over 3,000 rows whose standard error is about 30
    assert np.abs(gradient).max() < 1
    assert np.abs(residual.sum(axis=0)).max() < 1


def test_too_short_a_recording_is_refused_with_advice():
    values = np.random.default_rng(0).normal(size=(50, 2))
    with pytest.raises(DataError, match=r"no train bin has an unbroken history of 40 bins"):
        baselines.next_bin(binned_of(values), split_of(50, 2), context=40)
    counts, _ = shared_latent_counts(num_bins=100)
    with pytest.raises(DataError, match=r"no val window of 60 bins"):
        baselines.co_smoothing(
            binned_of(counts, "counts"), split_of(100, 12, num_held_out=3), None, context=60
        )
    with pytest.raises(DataError, match=r"held-in and held-out"):
        baselines.co_smoothing(binned_of(counts, "counts"), split_of(100, 12), None, context=10)
