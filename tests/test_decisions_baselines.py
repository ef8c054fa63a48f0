"""Choices of the baselines and the bins they use: training and validation disagree here.

A relation holds in the training bins. Where it holds in validation too, the weak penalty, the long
history, the richer inputs win; where it does not, the strong penalty and the short history do. Test
bins follow the opposite of validation, and change nothing.
"""

import numpy as np
import pandas as pd
import pytest

from nwbdyn import baselines
from nwbdyn.baselines import held_out, lagged_design, vector
from nwbdyn.baselines.regression import PRECISIONS, PoissonChoice, PoissonWeights, best_poisson
from nwbdyn.baselines.vector import PENALTIES
from nwbdyn.data.binning import Binned
from nwbdyn.data.splits import GAP, TEST, TRAIN, VAL, Split
from nwbdyn.errors import DataError
from nwbdyn.recording import Neurons

SIZES = {TRAIN: 400, VAL: 150, TEST: 150}
LABELS = np.repeat(list(SIZES), list(SIZES.values())).astype(np.int8)
NUM_BINS = len(LABELS)


def binned_of(values: np.ndarray, quantity: str = "dff") -> Binned:
    return Binned(
        session_id="s",
        values=values.astype(np.float32),
        time=np.arange(len(values)) * 0.1,
        bin_width=0.1,
        valid=np.ones(len(values), bool),
        segment=np.zeros(len(values), int),
        neurons=Neurons(pd.DataFrame({"id": np.arange(values.shape[1])}), "unit"),
        quantity=quantity,
        covariates=np.zeros((len(values), 0), np.float32),
    )


def split_of(num_neurons: int, num_held_out: int = 0, labels: np.ndarray = LABELS) -> Split:
    held_in = np.arange(num_neurons) < num_neurons - num_held_out
    return Split(labels, held_in, seed=0, rule="by hand")


def signs(*, holds: bool) -> np.ndarray:
    """(num_bins,) 1 in training, 1 or -1 in validation, the opposite of that in test."""
    val = 1.0 if holds else -1.0
    return np.select([LABELS == TRAIN, LABELS == VAL], [1.0, val], -val)


def follower(lag: int, *, holds: bool, seed: int = 0) -> np.ndarray:
    """(num_bins, 2) noise, and a neuron that follows it after `lag` bins."""
    draw = np.random.default_rng(seed)
    values = draw.normal(size=(NUM_BINS, 2))
    values[lag:, 1] = signs(holds=holds)[lag:] * values[:-lag, 0] + 0.3 * values[lag:, 1]
    return values


def repeated(lag: int, *, holds: bool) -> np.ndarray:
    """(num_bins, 1) a neuron that repeats itself after `lag` bins."""
    draw, sign = np.random.default_rng(0), signs(holds=holds)
    values = draw.normal(size=(NUM_BINS, 1))
    for row in range(lag, NUM_BINS):
        values[row] += 0.8 * sign[row] * values[row - lag]
    return values


@pytest.mark.parametrize(
    ("holds", "context", "order"), [(True, 2, 2), (False, 2, 1), (True, 1, 1), (True, 3, 2)]
)
def test_the_order_of_ar_is_the_best_on_validation_within_the_context(holds, context, order):
    values = repeated(2, holds=holds)
    actual = baselines.next_bin(binned_of(values), split_of(1), context=context)
    assert actual["AR"].chosen["order"] == order
    assert actual["AR(1)"].chosen["order"] == 1


def test_ar_of_a_neuron_knows_no_other_neuron():
    values = follower(1, holds=True)[:, ::-1]  # the first neuron follows the last
    actual = baselines.next_bin(binned_of(values), split_of(2), context=1)
    before = values[:-1, 1]
    seen = {name: actual[name].prediction[1:, 0] for name in ("AR(1)", "AR", "VAR ridge")}
    related = {name: abs(np.corrcoef(one, before)[0, 1]) for name, one in seen.items()}
    assert related["AR(1)"] < 0.2
    assert related["AR"] < 0.2
    assert related["VAR ridge"] > 0.9


@pytest.mark.parametrize(("holds", "strongest"), [(True, False), (False, True)])
def test_the_penalties_of_vector_autoregression_are_the_best_on_validation(holds, strongest):
    binned = binned_of(follower(1, holds=holds))
    actual = baselines.next_bin(binned, split_of(2), context=1)
    assert (actual["VAR ridge"].chosen["penalty"] == PENALTIES[-1]) == strongest
    assert (actual["VAR lasso"].coupling[1, 0] == 0) == strongest


@pytest.mark.parametrize(("holds", "context", "order"), [(True, 2, 2), (False, 2, 1), (True, 1, 1)])
@pytest.mark.parametrize(("name", "link"), [("VAR ridge", "identity"), ("OLS tanh", "tanh")])
def test_the_order_of_vector_autoregression_is_the_best_on_validation_within_the_context(
    holds, context, order, name, link
):
    values = follower(2, holds=holds)
    actual = baselines.next_bin(
        binned_of(np.tanh(values) if link == "tanh" else values),
        split_of(2),
        context=context,
        link=link,
        raw=link == "tanh",
    )
    assert actual[name].chosen["order"] == order


@pytest.mark.parametrize(("most", "order"), [(4, 2), (3, 1), (2, 1), (1, None)])
def test_a_lasso_of_too_many_inputs_takes_a_shorter_history_or_is_left_out(
    most, order, monkeypatch
):
    monkeypatch.setattr(vector, "MAX_LASSO_INPUTS", most)
    binned = binned_of(follower(2, holds=True))
    actual = baselines.next_bin(binned, split_of(2), context=2)
    assert actual["VAR ridge"].chosen["order"] == 2
    assert (None if "VAR lasso" not in actual else actual["VAR lasso"].chosen["order"]) == order


@pytest.mark.parametrize(
    ("quantity", "horizon", "link", "names"),
    [
        ("counts", 1, "identity", {"OLS log", "Poisson GLM"}),
        ("counts", 1, "tanh", {"OLS log", "Poisson GLM"}),
        ("counts", 3, "identity", set()),
        ("dff", 1, "identity", set()),
        ("dff", 1, "tanh", {"OLS tanh"}),
        ("dff", 3, "tanh", set()),
    ],
)
def test_which_baselines_stand_beside_a_next_bin_model(quantity, horizon, link, names):
    values = np.random.default_rng(0).poisson(1.0, (NUM_BINS, 2)).astype(float)
    actual = baselines.next_bin(
        binned_of(values, quantity), split_of(2), context=2, horizon=horizon, link=link
    )
    always = {"persistence", "AR(1)", "AR", "NLinear", "VAR ridge", "VAR lasso"}
    always |= {"nonlinear AR", "nonlinear VAR"}
    assert set(actual) - always == names
    assert actual["persistence"].prediction[10] == pytest.approx(values[10 - horizon], abs=0.02)


def rates_of(log_rate: np.ndarray) -> np.ndarray:
    return np.random.default_rng(1).poisson(np.exp(log_rate))[:, None]


TRAIN_ROWS, VAL_ROWS = np.flatnonzero(LABELS == TRAIN), np.flatnonzero(LABELS == VAL)


@pytest.mark.parametrize("follows", [0, 1])
def test_the_inputs_of_a_poisson_regression_are_the_best_on_validation(follows):
    first, second = inputs = np.random.default_rng(0).normal(size=(2, NUM_BINS)).astype(np.float32)
    counts = rates_of(np.where(LABELS == VAL, inputs[follows], 0.7 * first + 0.7 * second))
    candidates = {"first": lambda: first[:, None], "second": lambda: second[:, None]}
    actual = best_poisson(candidates, counts, train=TRAIN_ROWS, val=VAL_ROWS)
    assert actual.inputs == ("first", "second")[follows]


@pytest.mark.parametrize(("holds", "strongest"), [(True, False), (False, True)])
def test_the_precision_of_a_poisson_regression_is_the_best_on_validation(holds, strongest):
    drive = np.random.default_rng(0).normal(size=NUM_BINS).astype(np.float32)
    counts = rates_of(signs(holds=holds) * drive)
    actual = best_poisson({"x": lambda: drive[:, None]}, counts, train=TRAIN_ROWS, val=VAL_ROWS)
    assert (actual.precision == PRECISIONS[0]) == strongest


@pytest.mark.parametrize(("holds", "strongest"), [(True, False), (False, True)])
def test_the_penalty_of_the_glm_is_the_best_on_validation(holds, strongest):
    sender = np.random.default_rng(0).poisson(1.0, NUM_BINS).astype(float)
    after = np.r_[0.0, sender[:-1] - 1]
    values = np.column_stack([sender, rates_of(signs(holds=holds) * after)])
    actual = baselines.next_bin(binned_of(values, "counts"), split_of(2), context=2)
    assert (actual["Poisson GLM"].chosen["penalty"] == PRECISIONS[0]) == strongest


@pytest.mark.parametrize(("holds", "strongest"), [(True, False), (False, True)])
def test_the_penalty_of_co_smoothing_baselines_is_the_best_on_validation(holds, strongest):
    drive = np.sin(np.arange(NUM_BINS) / 3)
    held_in = [rates_of(drive) for _ in range(2)]
    values = np.column_stack([*held_in, rates_of(signs(holds=holds) * drive)])
    actual = baselines.co_smoothing(binned_of(values, "counts"), split_of(3, 1), None, context=25)
    for baseline in actual.values():
        assert (baseline.chosen["penalty"] == PRECISIONS[0]) == strongest


@pytest.mark.parametrize(("converged", "more"), [(True, {}), (False, {"converged": "no"})])
def test_a_regression_that_did_not_converge_says_so(converged, more):
    weights = PoissonWeights(np.zeros((1, 1)), np.zeros(1), np.zeros(1), converged)
    chosen = PoissonChoice("a", 2.0, weights, np.ones((1, 1)), 0.5).chosen("filter")
    assert chosen == {"filter": "a", "penalty": 2.0} | more


@pytest.mark.parametrize(("value", "rate"), [(0.0, 1.0), (1.0, np.e), (5.0, 6.0)])
def test_a_rate_stays_below_its_ceiling(value, rate):
    weights = PoissonWeights(np.ones((1, 1)), np.zeros(1), np.log([6.0]), converged=True)
    assert weights.rates(np.array([[value]]))[0, 0] == pytest.approx(rate)


#                  0-3 test   4 gap  5-9 train  10-12 val   13 gap  14-19 train
PLACES = np.repeat([TEST, GAP, TRAIN, VAL, GAP, TRAIN], [4, 1, 5, 3, 1, 6]).astype(np.int8)


@pytest.mark.parametrize(
    ("context", "horizon", "train", "val"),
    [
        (1, 1, [5, 6, 7, 8, 9, 14, 15, 16, 17, 18, 19], [10, 11, 12]),
        (2, 1, [6, 7, 8, 9, 15, 16, 17, 18, 19], [10, 11, 12]),
        (1, 2, [6, 7, 8, 9, 15, 16, 17, 18, 19], [10, 11, 12]),
        (4, 1, [8, 9, 17, 18, 19], [10, 11, 12]),
    ],
)
def test_training_rows_have_no_validation_or_test_bin_in_their_history(
    context, horizon, train, val
):
    values = np.random.default_rng(0).normal(size=(20, 1))
    fit_task = lagged_design.build_lagged_design(
        binned_of(values), split_of(1, labels=PLACES), context, horizon
    )
    assert fit_task.train.tolist() == train
    assert fit_task.val.tolist() == val
    own = values[(PLACES == TRAIN)]
    assert fit_task.mean == pytest.approx(own.mean(axis=0), abs=1e-6)
    assert fit_task.sd == pytest.approx(own.std(axis=0), abs=1e-6)


@pytest.mark.parametrize(
    ("quantity", "least"), [("counts", [0.02, 0.5 / 3]), ("dff", [-1.0, -1.0])]
)
def test_expected_counts_stay_above_zero_and_traces_do_not(quantity, least):
    binned = binned_of(np.zeros((4, 2)), quantity)
    fit_task = lagged_design.LaggedDesign(
        *(np.zeros((4, 2)), 2, np.arange(3), np.arange(3, 4), np.arange(4), 1, 1),
        mean=np.array([2.0, 0.0]),
        sd=np.ones(2),
    )
    lowest = lagged_design.floored(binned, fit_task, np.full((4, 2), -1.0))[0]
    wanted = [max(0.02, 0.5 / 3), 0.5 / 3] if quantity == "counts" else least
    assert lowest == pytest.approx(wanted)


def test_of_overlapping_windows_a_bin_belongs_to_the_one_where_it_is_deepest():
    values = np.random.default_rng(0).poisson(1.0, (16, 2))
    labels = np.repeat([TRAIN, VAL], [8, 8]).astype(np.int8)
    fit_task = held_out._problem(
        binned_of(values, "counts"), split_of(2, 1, labels), np.array([0, 6]), 10, None
    )
    # bin 7 lies 2 from the end of the first and 1 from the start of the second; 8: 1 and 2
    assert fit_task.owner[:, 0].tolist() == [0] * 8 + [1] * 8
    assert fit_task.owner[7:9].tolist() == [[0, 7], [1, 2]]


@pytest.mark.parametrize(("num_held_out", "refused"), [(0, True), (1, False), (3, True)])
def test_co_smoothing_takes_held_in_and_held_out_neurons(num_held_out, refused):
    values = np.random.default_rng(0).poisson(1.0, (NUM_BINS, 3))
    split = split_of(3, num_held_out)
    if refused:
        with pytest.raises(DataError, match=f"{3 - num_held_out} of 3 neurons are held in"):
            baselines.co_smoothing(binned_of(values, "counts"), split, None, context=10)
    else:
        actual = baselines.co_smoothing(binned_of(values, "counts"), split, None, context=10)
        assert set(actual) == {"smoothing + GLM", "Poisson GLM"}


@pytest.mark.parametrize(("width", "lags"), [(0.1, 3), (0.2, 5), (0.3, 7)])
def test_lag_groups_reach_as_far_to_both_sides_as_their_width(width, lags, monkeypatch):
    monkeypatch.setattr(held_out, "LAG_WIDTHS", (width,))
    counts = np.random.default_rng(0).poisson(1.0, (NUM_BINS, 3))
    actual = baselines.co_smoothing(binned_of(counts, "counts"), split_of(3, 1), None, context=20)
    assert actual["Poisson GLM"].chosen["filter"] == f"3 groups of {lags} lags"  # bins of 0.1 s


@pytest.mark.parametrize("sd", [0.1, 0.25])
def test_counts_are_smoothed_with_the_width_that_validation_chose(sd):
    chosen = baselines.Baseline(
        "smoothing + GLM", np.zeros(0), {"filter": f"Gaussian, sd {sd:g} s"}
    )
    impulse = np.zeros((1, 21, 1))
    impulse[0, 10] = 1.0
    actual = held_out.smoothed(chosen, impulse, bin_width=0.1)[0, :, 0]
    beside = np.exp(-0.5 * (0.1 / sd) ** 2)  # one bin away, of the value in the middle
    assert actual[9] / actual[10] == pytest.approx(beside, rel=0.02)
