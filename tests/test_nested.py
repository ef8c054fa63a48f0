"""Questions of coupling and gain: supported only above the block test and every rotation."""

from dataclasses import replace

import numpy as np
import pytest
from test_baselines import binned_of, linear_network, split_of

from nwbdyn.baselines.ladder import Gain, Ladder, Rung, selection
from nwbdyn.baselines.lagged_design import build_lagged_design
from nwbdyn.data.splits import GAP, TEST, TRAIN, VAL
from nwbdyn.errors import DataError
from nwbdyn.fitting.stages import nested_tests
from nwbdyn.results.sections.nested import NestedTests
from nwbdyn.statistics import rung_gains


def coupled():
    activity, _ = linear_network(1500)
    return binned_of(activity), split_of(1500, 8, gap=6)


def autoregressive(num_bins=1500, num_neurons=8, seed=0):
    """Neurons that share nothing, each an AR(1)."""
    random = np.random.default_rng(seed)
    activity = np.zeros((num_bins, num_neurons))
    for t in range(1, num_bins):
        activity[t] = 0.8 * activity[t - 1] + random.normal(size=num_neurons)
    return activity


PASSED = Gain(0.02, 0.005, 12, True)


@pytest.mark.parametrize(
    ("gain", "rotations", "supported", "reason"),
    [
        (PASSED, (0.0,) * 18 + (0.019,), True, ""),
        (PASSED, (0.0,) * 18 + (0.02,), False, "1 of 19 rotated recordings gain as much"),
        (PASSED, (0.03, 0.04, 0.0), False, "2 of 3 rotated recordings gain as much"),
        (PASSED, (0.0,) * 18, False, "18 rotated recordings were fitted; a level of .05 takes 19"),
        (PASSED, (), False, "no rotated recording was fitted"),
        (Gain(0.008, 0.005, 12, False), (), False, "not by 2 standard errors"),
        (Gain(0.02, np.nan, 1, False), (), False, "too few for a standard error"),
        (None, (), False, "no test bin is predicted"),
    ],
)
def test_a_question_is_supported_above_two_errors_and_all_rotations(
    gain, rotations, supported, reason
):
    actual = nested_tests.answer("coupling", gain, rotations)
    assert actual.supported is supported
    assert reason in actual.reason
    assert (actual.reason == "") is supported


def test_planted_coupling_is_supported_and_no_change_of_gain():
    binned, split = coupled()
    actual = nested_tests.answers(binned, split, context=5)
    assert actual["coupling"].supported
    assert len(actual["coupling"].rotations) == 19
    assert len(set(actual["coupling"].rotations)) > 1
    assert actual["gain"].rotations == ()  # the block test does not pass
    assert actual["coupling"].gain.mean > 3 * max(actual["coupling"].rotations)
    assert not actual["gain"].supported
    assert actual["gain"].sensitivity is None
    beside = actual["coupling"].sensitivity
    assert beside.improved > 0.6  # two of the eight neurons receive nothing, one hardly anything
    assert beside.population > actual["coupling"].gain.mean / 3  # eight neurons, three components
    assert beside.without_largest == pytest.approx(actual["coupling"].gain.mean, rel=0.3)
    assert beside.shared < 0.3  # 1 / 8, and what M1 leaves over of the coupling


def test_the_coupling_of_rotated_recordings_is_not_supported():
    binned, split = coupled()
    for seed in (100, 101, 102):
        other = nested_tests.rotated(binned, split, seed, least=6)
        assert not nested_tests.answers(other, split, context=5)["coupling"].supported


def test_independent_neurons_have_no_coupling_and_no_change_of_gain():
    for seed in range(6):
        binned, split = binned_of(autoregressive(seed=seed)), split_of(1500, 8, gap=6)
        actual = nested_tests.answers(binned, split, context=5)
        assert not any(one.supported for one in actual.values()), seed


def test_a_rotation_keeps_every_neurons_values_within_each_part_of_the_split():
    binned, split = coupled()
    other = nested_tests.rotated(binned, split, 0, least=6)
    for label in (TRAIN, VAL, TEST):
        rows = split.labels == label
        before, after = binned.values[rows], other.values[rows]
        np.testing.assert_array_equal(np.sort(before, axis=0), np.sort(after, axis=0))
        shifts = []
        for neuron in range(8):
            rolled = [np.roll(before[:, neuron], k) for k in range(len(before))]
            shifts.append(next(k for k, r in enumerate(rolled) if (r == after[:, neuron]).all()))
        assert len(set(shifts)) == 8
        assert all(6 <= shift <= len(before) - 6 for shift in shifts)


def test_a_rotation_is_the_same_for_the_same_seed():
    binned, split = coupled()
    one, same, other = (nested_tests.rotated(binned, split, seed, least=6) for seed in (3, 3, 4))
    assert np.array_equal(one.values, same.values)
    assert not np.array_equal(one.values, other.values)


def test_a_part_too_short_to_rotate_leaves_the_question_open_with_the_reason():
    binned, split = coupled()
    with pytest.raises(DataError, match="No unbroken stretch"):
        nested_tests.rotated(binned, split, 0, least=200)
    split.labels[1275::11] = GAP  # stretches of ten test bins
    actual = nested_tests.answers(binned, split, context=5)["coupling"]
    assert actual.gain.above
    assert not actual.supported
    assert "no rotation could be made: No unbroken stretch of test bins" in actual.reason


def test_described_answers_hold_every_number_and_the_reason():
    one = nested_tests.answer("coupling", PASSED, (0.0, 0.03))
    no = nested_tests.answer("gain", None, ())
    section = nested_tests.section_of({"coupling": one, "gain": no}, counts=False).to_json()
    assert section["gain"]["reason"] == "no test bin is predicted"
    assert {"coupling": section["coupling"]} == {
        "coupling": {
            "rungs": ["M2", "M1"],
            "gain": 0.02,
            "unit": "of the squared error",
            "error": 0.005,
            "num_blocks": 12,
            "rotations": [0.0, 0.03],
            "supported": False,
            "reason": "1 of 2 rotated recordings gain as much",
            "sensitivity": None,
        }
    }


def test_a_gain_is_that_of_test_bins_alone():
    binned, split = coupled()
    problem, ladder = rung_gains.climbed(binned, split, 5, 1, "M2")
    rows = np.flatnonzero(split.labels == TEST)
    rows = rows[np.isin(rows, problem.rows)]
    truth = problem.targets(rows).astype(float)
    lower, upper = (np.square(truth - ladder[name].linear[rows]).sum() for name in ("M1", "M2"))
    actual = rung_gains.gain_on_test(binned, split, problem, ladder, "coupling")
    assert actual.mean == pytest.approx((lower - upper) / lower)
    assert actual.above


def test_a_gain_without_the_largest_errors_is_that_of_all_other_bins():
    binned, split = coupled()
    problem, ladder = rung_gains.climbed(binned, split, 5, 1, "M2")
    actual = rung_gains.sensitivity(binned, split, problem, ladder, context=5, horizon=1)
    rows = problem.rows[split.labels[problem.rows] == TEST]
    truth = problem.targets(rows).astype(float)
    lower, upper = (
        np.square(truth - ladder[name].linear[rows]).sum(axis=1) for name in ("M1", "M2")
    )
    kept = np.argsort(lower)[: -int(np.ceil(0.01 * len(rows)))]
    assert actual.without_largest == pytest.approx(
        (lower - upper)[kept].sum() / lower[kept].sum(), rel=1e-6
    )


def test_a_gain_of_one_standard_error_is_not_above():
    binned, split = coupled()
    problem = build_lagged_design(binned, split, 5, 1)
    rows = problem.rows[split.labels[problem.rows] == TEST]
    below, above = np.zeros((2, len(binned.values), 8), np.float32)
    share = np.where(selection.blocks(rows, 1) % 2 == 0, 0.05, -0.02)
    above[rows] = share[:, None] * problem.targets(rows)  # gains half of the blocks
    rungs = (Rung("M1", below, None, {}), Rung("M2", above, PASSED, {}))
    ladder = Ladder(rungs, counts=False, ceiling=np.full(8, np.inf))
    actual = rung_gains.gain_on_test(binned, split, problem, ladder, "coupling")
    assert actual.error < actual.mean < 2 * actual.error
    assert not actual.above


def test_covariates_of_the_population_are_its_mean_and_strongest_components():
    random = np.random.default_rng(0)
    latent = random.normal(size=1500)
    sign = np.array([1, 1, 1, 1, -1, -1, -1, -1])
    binned = binned_of(latent[:, None] * sign + 0.3 * random.normal(size=(1500, 8)))
    actual = rung_gains.with_population(binned, split_of(1500, 8)).covariates
    assert actual.shape[1] == binned.covariates.shape[1] + 1 + 3
    assert abs(np.corrcoef(actual[:, -3], latent)[0, 1]) > 0.95
    scaled = binned.values / binned.values[split_of(1500, 8).labels == TRAIN].std(axis=0)
    assert np.corrcoef(actual[:, -4], scaled.mean(axis=1))[0, 1] > 0.99


def test_the_shared_part_of_residuals_is_one_over_n_or_more():
    random = np.random.default_rng(0)
    alone = random.normal(size=(20_000, 10))
    together = alone + 3 * random.normal(size=(20_000, 1))
    assert rung_gains.shared_share(alone) == pytest.approx(0.1, abs=0.01)
    assert rung_gains.shared_share(together) == pytest.approx(0.1 + 0.9 * 0.9, abs=0.01)
    assert rung_gains.shared_share(np.repeat(alone[:, :1], 4, axis=1)) == pytest.approx(1.0)
    assert np.isnan(rung_gains.shared_share(np.zeros((10, 3))))


def test_common_input_is_coupling_that_the_population_explains():
    random = np.random.default_rng(0)
    latent, activity = np.zeros(2000), np.zeros((2000, 10))
    for t in range(1, 2000):
        latent[t] = 0.9 * latent[t - 1] + random.normal()
        activity[t] = 0.5 * activity[t - 1] + latent[t] + random.normal(size=10)
    binned, split = binned_of(activity), split_of(2000, 10, gap=6)
    actual = nested_tests.answers(binned, split, context=5)["coupling"]
    assert actual.gain.above
    assert actual.sensitivity.population < actual.gain.mean / 2
    assert actual.sensitivity.shared > 0.3


def test_sentences_name_the_gain_its_controls_and_common_input_or_the_reason():
    yes = nested_tests.answer("coupling", PASSED, (0.0,) * 19)
    yes = replace(yes, sensitivity=rung_gains.Sensitivity(0.75, 0.004, 0.019, 0.06))
    no = nested_tests.answer("gain", Gain(0.001, 0.005, 12, False), ())
    section = nested_tests.section_of({"coupling": yes, "gain": no}, counts=True)
    assert NestedTests.from_json(section.to_json()).sentences() == [
        "Other neurons help to predict: additive coupling (M2) improves on own dynamics (M1) by "
        "0.0200 +- 0.0050 bits per spike on test, more than in 19 rotated recordings. It improves "
        "75% of the neurons that it changes; with the population mean and components as covariates "
        "0.0040; 6% of the residuals is shared by all neurons. Common input would help as much.",
        "A change of gain is not supported: M4 improves on M3 by +0.0010 +- 0.0050, not by 2 "
        "standard errors.",
    ]
