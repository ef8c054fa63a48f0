"""The ladder's rungs equal a slow reference, and each decision follows its rule."""

import numpy as np
import pytest
from ladder_reference import gated_terms, intrinsic_terms, poisson, ridge, sender_terms
from test_baselines import binned_of, linear_network, shared_latent_counts, split_of

from nwbdyn import baselines
from nwbdyn.baselines import autoregression, vector
from nwbdyn.baselines.ladder import Gain, Ladder, Rung, climb, is_above
from nwbdyn.baselines.ladder.poisson import IntrinsicPoisson, SenderPoisson
from nwbdyn.baselines.ladder.ridge import IntrinsicRidge, SenderRidge
from nwbdyn.baselines.ladder.selection import blocks, by_block, choose, required_errors
from nwbdyn.baselines.ladder.smoothing import log_rates
from nwbdyn.baselines.ladder.terms import Past
from nwbdyn.baselines.lagged_design import build_lagged_design
from nwbdyn.baselines.nlinear import nlinear
from nwbdyn.data.splits import TEST, TRAIN, VAL

ROWS = np.arange(200, 260)


def recording(num_bins=600, num_neurons=4, seed=0):
    """Traces with a new segment, missing values and a covariate."""
    activity, _ = linear_network(num_bins, num_neurons, seed)
    activity[100:110, 0] = np.nan
    segment = (np.arange(num_bins) >= num_bins // 3).astype(int)
    drive = np.random.default_rng(seed + 1).normal(size=(num_bins, 1)).astype(np.float32)
    binned = binned_of(activity, segment=segment, covariates=drive)
    return binned, split_of(num_bins, num_neurons, gap=6)


def fit_task(binned, split, context=6, horizon=1):
    problem = build_lagged_design(binned, split, context, horizon)
    return problem, autoregression.best(problem)


def climbed(binned, split, context=6, horizon=1, to="M4"):
    problem, alone = fit_task(binned, split, context, horizon)
    return climb(binned, problem, alone, to=to)


def sets_of_senders(past):
    """Every set of sender terms by name."""
    return {name: senders for sets in past.senders().values() for name, senders in sets.items()}


def second_order(num_bins=3000, num_neurons=6, seed=0):
    """A network that oscillates: two lags of every sender, of opposite sign."""
    random = np.random.default_rng(seed)
    mixing = random.normal(size=(num_neurons, num_neurons)) / np.sqrt(num_neurons)
    activity = np.zeros((num_bins, num_neurons))
    for t in range(2, num_bins):
        drive = mixing @ (0.9 * activity[t - 1] - 0.6 * activity[t - 2])
        activity[t] = 0.4 * activity[t - 1] + drive + 0.1 * random.normal(size=num_neurons)
    return activity


def saturating(num_bins=3000, num_neurons=5, seed=0):
    """Independent neurons whose next bin is a steep tanh of the last one."""
    random = np.random.default_rng(seed)
    activity = np.zeros((num_bins, num_neurons))
    for t in range(1, num_bins):
        drive = np.tanh(3 * activity[t - 1])
        activity[t] = drive + 0.4 * random.normal(size=num_neurons)
    return activity


# --- the same numbers as a slow reference ---


@pytest.mark.parametrize(("context", "horizon"), [(1, 1), (3, 2), (12, 1)])
def test_own_and_sender_terms_equal_their_definitions(context, horizon):
    binned, split = recording()
    past = Past.of(fit_task(binned, split, context, horizon)[0])
    row = ROWS[:3]
    for neuron in range(4):
        expected = [
            intrinsic_terms(past.signals, past.bounded, past.smooth, r, neuron, horizon, context)
            for r in row
        ]
        actual = past.intrinsic(row, slice(neuron, neuron + 1))[0]
        np.testing.assert_allclose(actual, expected, rtol=1e-6, atol=1e-7)
    sets = sets_of_senders(past)
    assert ("last 3 bins" in sets) == (context >= 3)
    for name, senders in sets.items():
        slow = [
            [
                sender_terms(name, past.signals, past.bounded, past.smooth, r, j, horizon, context)
                for j in range(4)
            ]
            for r in row
        ]
        expected = np.array(slow).transpose(0, 2, 1).reshape(len(row), -1)  # kind by kind
        np.testing.assert_allclose(senders(row), expected, rtol=1e-6, atol=1e-7)


def test_a_context_of_five_gives_twenty_own_functions_or_more():
    binned, split = recording()
    for context in (5, 10):
        past = Past.of(fit_task(binned, split, context)[0])
        assert past.intrinsic(ROWS, slice(0, 1)).shape[2] >= 20


def test_gated_terms_are_own_terms_times_the_population_mean_components_and_covariates():
    binned, split = recording()
    past = Past.of(fit_task(binned, split)[0])
    assert past.gates.shape[1] == 1 + 3 + 1
    train = split.labels == TRAIN
    mean = past.signals.mean(axis=1)
    assert np.corrcoef(past.gates[train, 0], mean[train])[0, 1] > 0.99  # clipped at 3 sd
    row = ROWS[:1]
    expected = gated_terms(past.intrinsic(row, slice(1, 2))[0, 0], past.gates[row[0] - 1])
    np.testing.assert_allclose(past.gated(row, slice(1, 2))[0, 0], expected)


@pytest.mark.parametrize("penalty", [1e-4, 0.1, 10.0])
def test_own_ridge_equals_least_squares_of_each_neuron(penalty):
    activity, _ = linear_network(2600, 34)  # more rows and neurons than are in memory at once
    binned, split = binned_of(activity), split_of(2600, 34)
    problem, alone = fit_task(binned, split, context=3)
    past, rows = Past.of(problem), np.arange(10, 2500)
    target = problem.targets(rows) - alone.predicted[rows].astype(float)
    block = IntrinsicRidge(past.intrinsic, rows, target)
    (actual,) = block.apply(ROWS, block.path(np.array([penalty])))
    for neuron in (0, 31, 32, 33):
        one = slice(neuron, neuron + 1)
        slow = ridge(past.intrinsic(rows, one)[0], target[:, neuron], penalty)
        np.testing.assert_allclose(actual[:, neuron], slow(past.intrinsic(ROWS, one)[0]), atol=1e-8)


@pytest.mark.parametrize("terms", ["last bin", "last 3 bins", "functions"])
def test_coupling_equals_least_squares_on_all_other_neurons_and_own_lags(terms):
    binned, split = recording()
    problem, alone = fit_task(binned, split)
    past, rows = Past.of(problem), problem.train
    senders, lags = sets_of_senders(past)[terms], past.lags(5)
    target = problem.targets(rows) - alone.predicted[rows].astype(float)
    block = SenderRidge(senders, lags, rows, target)
    for penalty in (1e-3, 1.0):
        (coefficients,) = block.path(np.array([penalty]))
        (actual,) = block.apply(ROWS, [coefficients])
        for neuron in range(4):
            one = slice(neuron, neuron + 1)
            used = np.arange(senders(rows).shape[1]) % 4 != neuron
            inputs = np.hstack([senders(rows)[:, used], lags(rows, one)[0]])
            others = np.hstack([senders(ROWS)[:, used], lags(ROWS, one)[0]])
            slow = ridge(inputs, target[:, neuron], penalty)
            np.testing.assert_allclose(actual[:, neuron], slow(others), atol=1e-8)
            assert (coefficients[neuron, : len(used)][~used] == 0).all()


def test_poisson_blocks_equal_a_plain_minimum_with_an_offset():
    counts, _ = shared_latent_counts(1500, 4)
    binned, split = binned_of(counts, "counts"), split_of(1500, 4)
    problem = build_lagged_design(binned, split, 3, 1)
    past, rows = Past.of(problem, log_rates(binned, problem)), problem.train
    offset = 0.2 * np.sin(np.arange(len(rows)))[:, None] + np.zeros(4)
    own = IntrinsicPoisson(past.intrinsic, rows, counts[rows].astype(float), offset)
    (by_itself,) = own.apply(ROWS, own.path(np.array([30.0])))
    senders = sets_of_senders(past)["rates"]
    coupled = SenderPoisson(senders, rows, counts[rows].astype(float), offset)
    (by_others,) = coupled.apply(ROWS, coupled.path(np.array([30.0])))
    for neuron in range(4):
        one = slice(neuron, neuron + 1)
        y, z = counts[rows, neuron], offset[:, neuron]
        slow = poisson(past.intrinsic(rows, one)[0], y, z, 30.0)
        # L-BFGS stops at a relative decrease of 1e-6 (1e-5 with all neurons): log rates differ
        # by a few thousandths
        np.testing.assert_allclose(
            by_itself[:, neuron], slow(past.intrinsic(ROWS, one)[0]), atol=0.02
        )
        slow = poisson(senders(rows), y, z, 30.0)
        np.testing.assert_allclose(by_others[:, neuron], slow(senders(ROWS)), atol=0.02)


@pytest.mark.parametrize("horizon", [1, 5])
def test_the_rung_of_own_dynamics_equals_a_slow_one_with_the_same_choices(horizon):
    binned, split = binned_of(saturating(900, 3)), split_of(900, 3, gap=6)
    problem, alone = fit_task(binned, split, horizon=horizon)
    rung = climb(binned, problem, alone, to="M1")["M1"]
    past, block = Past.of(problem), blocks(problem.val, horizon)
    penalties = np.logspace(-4, 2, 13)
    below = alone.predicted.astype(float)
    first = [
        (slow_step(problem, past, below, terms, penalties, block, 2), terms)
        for terms in (past.intrinsic, past.intrinsic_two_sided)
    ]
    (choice, added), _ = max(first, key=lambda one: one[0][0].gain.mean)
    assert choice.gain.above
    below = below + added
    finer, more = slow_step(problem, past, below, past.intrinsic_finer, penalties, block, 1)
    expected = below + more if finer.gain.above else below
    mean = choice.gain.mean + (finer.gain.mean if finer.gain.above else 0)
    assert rung.gain.mean == pytest.approx(mean, abs=1e-5)
    np.testing.assert_allclose(rung.linear[ROWS], expected[ROWS], atol=1e-4)


def slow_step(problem, past, below, terms, penalties, block, num_sets):
    """The choice of penalties and what they add (num_bins, N), neuron by neuron."""
    truth = problem.signals[:, :3].astype(float)
    losses, added = np.zeros((14, block[-1] + 1, 3)), np.zeros((14, len(truth), 3))
    for neuron in range(3):
        one = slice(neuron, neuron + 1)
        train = terms(problem.train, one)[0]
        target = truth[problem.train, neuron] - below[problem.train, neuron]
        for k, penalty in enumerate([*penalties, None]):
            if penalty is not None:
                slow = ridge(train, target, penalty)
                added[k, problem.rows, neuron] = slow(terms(problem.rows, one)[0])
            error = (truth - below - added[k])[problem.val, neuron] ** 2
            losses[k, :, neuron] = [error[block == b].sum() for b in range(block[-1] + 1)]
    choice = choose(losses, penalties, losses[13].sum(), num_sets=num_sets)
    grid = np.r_[penalties, np.inf]
    picked = [int(np.flatnonzero(grid == one)[0]) for one in choice.penalties]
    return choice, np.stack([added[k, :, neuron] for neuron, k in enumerate(picked)], axis=1)


def test_nlinear_equals_one_regression_over_all_neurons():
    binned, split = recording()
    problem = build_lagged_design(binned, split, 4, 2)
    x = problem.signals[:, :4].astype(float)
    inputs, target = [], []
    for row in problem.train:
        for neuron in range(4):
            last = x[row - 2, neuron]
            inputs.append([x[row - 2 - lag, neuron] - last for lag in (1, 2, 3)])
            target.append(x[row, neuron] - last)
    weights = np.linalg.lstsq(np.array(inputs), np.array(target), rcond=None)[0]
    row, neuron = ROWS[-1], 2
    last = x[row - 2, neuron]
    lags = [x[row - 2 - lag, neuron] - last for lag in (1, 2, 3)]
    expected = (last + lags @ weights) * problem.sd[neuron] + problem.mean[neuron]
    assert nlinear(binned, problem).prediction[row, neuron] == pytest.approx(expected, abs=1e-3)


# --- decisions ---


@pytest.mark.parametrize(
    ("gains", "candidates", "above"),
    [
        ([2.0, 3.0, 2.0, 3.0], 1, True),
        ([1.0, -1.0, 1.0, -1.0], 1, False),  # no gain
        ([4.0, 0.0, 0.0, 0.0], 1, False),  # mean 1, standard error 1: it has to exceed that
        ([3.4, 0.3, 0.5, 0.0], 1, True),  # mean 1.05, standard error .79
        ([3.4, 0.3, 0.5, 0.0], 2, False),  # the better of two has to exceed 1.41 errors
        ([-2.0, -3.0, -2.0, -3.0], 1, False),
        ([5.0], 1, False),  # one block has no standard error
        ([0.0, 0.0], 1, False),
    ],
)
def test_a_gain_has_to_exceed_one_standard_error_of_its_blocks(gains, candidates, above):
    assert is_above(np.array(gains), num_candidates=candidates).above is above


def test_the_share_of_a_gain_is_that_of_the_loss_below():
    actual = is_above(np.array([1.0, 3.0]), scale=40.0)
    assert actual.mean == pytest.approx(0.1)
    assert actual.error == pytest.approx(0.05)  # block shares .05 and .15


def test_more_candidates_need_more_standard_errors():
    assert required_errors(1) == pytest.approx(1.0)
    assert required_errors(2) == pytest.approx(1.4094, abs=1e-3)  # one-sided .0793


def losses_of(*neurons):
    """(2 penalties + below, 4 blocks, N) from each neuron's loss in every block."""
    return np.stack([np.tile(np.array(one)[:, None], (1, 4)) for one in neurons], axis=2)


@pytest.mark.parametrize(
    ("neurons", "penalties", "form"),
    [
        ([(1.0, 2.0, 3.0), (1.0, 2.0, 3.0)], [0.1, 0.1], "shared"),  # one penalty is best for both
        ([(1.0, 2.9, 3.0), (2.9, 1.0, 3.0)], [0.1, 1.0], "per neuron"),
        ([(1.0, 2.0, 3.0), (5.0, 4.0, 3.0)], [0.1, np.inf], "per neuron"),  # one stays below
        ([(4.0, 4.0, 3.0), (5.0, 4.0, 3.0)], [np.inf, np.inf], "shared"),  # nothing helps
    ],
)
def test_validation_chooses_penalties(neurons, penalties, form):
    actual = choose(losses_of(*neurons), np.array([0.1, 1.0]), scale=24.0)
    assert actual.penalties.tolist() == penalties
    assert actual.form == form


def test_a_penalty_is_scored_on_blocks_that_did_not_choose_it():
    losses = np.full((3, 4, 1), 1.0)
    losses[0, ::2, 0], losses[0, 1::2, 0] = 0.5, 1.5  # helps in even blocks, harms in odd ones
    losses[1, ::2, 0], losses[1, 1::2, 0] = 1.5, 0.5
    actual = choose(losses, np.array([0.1, 1.0]), scale=4.0)
    assert actual.gain.mean < 0
    assert not actual.gain.above


def test_blocks_are_twelve_equal_parts_and_never_shorter_than_the_horizon():
    assert np.bincount(blocks(np.arange(120), 1)).tolist() == [10] * 12
    assert np.bincount(blocks(np.arange(120), 32)).tolist() == [40] * 3
    assert blocks(np.arange(7), 10).tolist() == [0] * 7
    sums = by_block(np.arange(6.0)[:, None], np.array([0, 0, 1, 1, 1, 2]))
    assert sums[:, 0].tolist() == [1.0, 9.0, 5.0]


def test_the_best_rung_is_the_highest_that_is_used():
    zero = np.zeros((1, 1), np.float32)

    def rung(name, *, above):
        gain = None if above is None else Gain(0.1, 0.01, 12, above)
        return Rung(name, zero, gain, {})

    for used, best in (((False, False), "M0"), ((True, False), "M1"), ((False, True), "M2")):
        rungs = (
            rung("M0", above=None),
            *(rung(f"M{k}", above=one) for k, one in enumerate(used, 1)),
        )
        assert Ladder(rungs, counts=False, ceiling=np.array([np.inf])).best.name == best


def test_rates_begin_anew_after_a_gap():
    counts = np.random.default_rng(0).poisson(1.0, (600, 2)).astype(np.float32)
    counts[190:200], counts[390:400] = 9, 0  # what came before differs
    counts[[200, 400]] = 1
    segment = np.arange(600) // 200
    binned, split = binned_of(counts, "counts", segment=segment), split_of(600, 2)
    actual = log_rates(binned, build_lagged_design(binned, split, 3, 1)).values
    np.testing.assert_array_equal(actual[:, 200], actual[:, 400])


# --- what each rung is for ---


def explained(binned, split, rung):
    test = np.flatnonzero(split.labels == TEST)
    values = binned.values[split.labels == TRAIN]
    truth = (binned.values[test] - values.mean(0)) / values.std(0)
    return 1 - np.mean((truth - rung.linear[test]) ** 2) / truth.var(axis=0).mean()


def test_nonlinear_own_dynamics_are_found_without_coupling():
    binned, split = binned_of(saturating()), split_of(3000, 5)
    ladder = climbed(binned, split)
    assert ladder["M1"].used
    assert not any(ladder[name].used for name in ("M2", "M3", "M4"))
    assert ladder.best.name == "M1"
    assert explained(binned, split, ladder["M1"]) > explained(binned, split, ladder["M0"]) + 0.02


def test_planted_coupling_is_the_second_rung_and_its_weights_are_those_planted():
    activity, coupling = linear_network()
    binned, split = binned_of(activity), split_of(3000, 8)
    ladder = climbed(binned, split)
    assert ladder.best.name == "M2"
    weights = ladder["M2"].coupling * activity.std(0)[:, None] / activity.std(0)
    apart = ~np.eye(8, dtype=bool)
    assert np.corrcoef(weights[apart], coupling[apart])[0, 1] > 0.95
    assert (np.diag(weights) == 0).all()


def test_several_bins_of_the_senders_are_fitted_together_where_validation_prefers_that():
    binned, split = binned_of(second_order()), split_of(3000, 6)
    problem, alone = fit_task(binned, split)
    ladder = climb(binned, problem, alone, to="M2")
    assert ladder["M2"].parts[0].terms == "last 2 bins"
    line, _ = vector.ridge(binned, problem, alone)
    scaled = (line.prediction - problem.mean) / problem.sd
    own, coupled, of_line = (
        np.mean((problem.targets(problem.val) - one[problem.val]) ** 2)
        for one in (ladder["M1"].linear, ladder["M2"].linear, scaled)
    )
    assert own - coupled >= 0.99 * (own - of_line)  # all of what a vector autoregression gains


def test_a_gain_that_follows_the_population_is_found_above_coupling():
    random = np.random.default_rng(0)
    gate = np.repeat(random.normal(size=150), 40)
    binned = np.zeros((6000, 4))
    for t in range(1, 6000):
        binned[t] = (0.5 + 0.4 * np.tanh(gate[t - 1])) * binned[t - 1] + random.normal(size=4)
    state = gate[:, None].astype(np.float32)
    split = split_of(6000, 4)
    ladder = climbed(binned_of(binned, covariates=state), split)
    assert not ladder["M2"].used
    assert ladder["M3"].used or ladder["M4"].used


def test_additive_coupling_of_counts_is_found():
    random = np.random.default_rng(0)
    counts = np.zeros((4000, 4))
    for t in range(1, 4000):
        drive = np.array([0.0, 0.8, -0.8, 0.0]) * counts[t - 1, 0]
        counts[t] = random.poisson(np.exp(np.log(0.4) + np.clip(drive, -2, 1.5)))
    binned, split = binned_of(counts, "counts"), split_of(4000, 4)
    ladder = climbed(binned, split, to="M2")
    assert ladder["M2"].used
    weights = ladder["M2"].coupling
    assert weights[1, 0] > 2 * abs(weights[0, 3])
    assert weights[2, 0] < -2 * abs(weights[0, 3])


# --- bad input ---


def baseline_rows(binned, split, context=5, horizon=1):
    actual = baselines.next_bin(binned, split, context=context, horizon=horizon)
    return {name: actual[name] for name in ("NLinear", "nonlinear AR", "nonlinear VAR")}


def test_more_neurons_than_frames_gives_finite_predictions():
    values = np.random.default_rng(0).normal(size=(120, 150))
    for name, row in baseline_rows(binned_of(values), split_of(120, 150)).items():
        assert np.isfinite(row.prediction[5:]).all(), name
        assert np.abs(row.prediction[5:]).max() < 10, name


@pytest.mark.parametrize("quantity", ["dff", "counts"])
def test_constant_and_silent_neurons_keep_their_value(quantity):
    counts, _ = shared_latent_counts(1000, 4)
    counts[:, 0], counts[:, 2] = 0, 3
    for name, row in baseline_rows(binned_of(counts, quantity), split_of(1000, 4)).items():
        assert np.isfinite(row.prediction[5:]).all(), name
        np.testing.assert_allclose(row.prediction[5:, 0], 0, atol=0.01)
        np.testing.assert_allclose(row.prediction[5:, 2], 3, atol=0.05)


def test_one_neuron_has_no_coupling():
    ladder = climbed(binned_of(saturating(num_neurons=1)), split_of(3000, 1))
    assert ladder["M1"].used
    assert not ladder["M2"].used
    assert ladder["M2"].chosen == {"coupling": "not fitted: one neuron"}


def test_a_validation_part_of_one_block_leaves_the_lowest_rung():
    binned = binned_of(saturating(400))
    split = split_of(400, 5)
    split.labels[280:] = TEST
    split.labels[280:288] = VAL
    ladder = climbed(binned, split)
    assert ladder.best.name == "M0"
    assert ladder["M1"].gain.num_blocks == 1


def test_a_burst_far_beyond_training_does_not_explode():
    values = saturating(1500)
    values[1400] = 1e4
    with_burst = baseline_rows(binned_of(values), split_of(1500, 5))
    for name in ("nonlinear AR", "nonlinear VAR"):
        assert np.abs(with_burst[name].prediction[1401:]).max() < 1e5, name


@pytest.mark.parametrize("quantity", ["dff", "counts"])
@pytest.mark.parametrize("horizon", [1, 5])
def test_no_rung_sees_bins_within_the_horizon(quantity, horizon):
    counts, _ = shared_latent_counts(800, 3)
    changed = counts.copy()
    changed[750:] += 6  # test bins only
    split = split_of(800, 3)
    before = climbed(binned_of(counts, quantity), split, horizon=horizon)
    after = climbed(binned_of(changed, quantity), split, horizon=horizon)
    for one, other in zip(before.rungs, after.rungs, strict=True):
        stop = 750 + horizon
        assert np.array_equal(one.linear[:stop], other.linear[:stop]), one.name
        assert not np.array_equal(one.linear[stop:], other.linear[stop:]), one.name


def test_a_rung_predicts_nothing_across_a_gap():
    binned, split = recording()
    row = baselines.next_bin(binned, split, context=6)["nonlinear VAR"]
    missing = np.flatnonzero(np.isnan(row.prediction[:, 0]))
    assert missing.tolist() == [*range(6), *range(200, 206)]
