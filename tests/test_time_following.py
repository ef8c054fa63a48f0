"""A(t) that follows slow change with time: when it is used, what it is, and that files keep it."""

import json
import tracemalloc
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import small_fits
from pynwb import NWBHDF5IO
from test_baselines import binned_of, split_of

import nwbdyn
from nwbdyn.baselines import autoregression
from nwbdyn.baselines.ladder import climb, following
from nwbdyn.baselines.ladder.climbing import data_of
from nwbdyn.baselines.ladder.following import Stretches
from nwbdyn.baselines.lagged_design import build_lagged_design
from nwbdyn.evaluation import verdict
from nwbdyn.fitting.stages import time_following
from nwbdyn.nwb.results import couplings
from nwbdyn.nwb.results.open_results import open_results
from nwbdyn.recording import Traces
from nwbdyn.report import slider
from nwbdyn.results import fit_results
from nwbdyn.results.sections.ladder import RungGain
from nwbdyn.results.sections.time_following import TimeFollowing
from nwbdyn.statistics import constancy
from nwbdyn.workflows.export import export

CORE = {"preset": "ladder", "own_part": False}
FRAMES = 3000
COURSE = 0.4 * np.sin(2 * np.pi * np.arange(FRAMES) / 2000)  # of one weight, about its mean


def traces(*, drift: float = 1.0, own: bool = False, seed: int = 0) -> np.ndarray:
    """Four neurons; the weight from neuron 0 to 1 follows COURSE, or own memory and means do."""
    draw = np.random.default_rng(seed)
    x = np.zeros((FRAMES, 4))
    for t in range(1, FRAMES):
        weight = np.zeros((4, 4))
        weight[[1, 1, 2], [0, 3, 3]] = 0.4
        weight[1, 0] += drift * COURSE[t]
        memory = 0.4 + 0.7 * own * COURSE[t]
        x[t] = memory * x[t - 1] + weight @ x[t - 1] + draw.normal(size=4)
    return x + own * 10 * COURSE[:, None]


def recording(x: np.ndarray):
    values = Traces(x.astype(np.float32), np.arange(len(x)) / 10, "dff")
    return replace(small_fits.imaging(4, 50), activity=values)


def moments(x: np.ndarray, rows=None):
    """Moments of training bins, and what they were made of."""
    binned = binned_of(x)
    problem = build_lagged_design(binned, split_of(len(x), 4, gap=8), 8, 1)
    ladder = climb(binned, problem, autoregression.best(problem), to="M2")
    data = data_of(binned, problem, None, windowed=False)
    below = ladder["M2"].linear.astype(float)
    rows = problem.train if rows is None else rows
    return following.stretches(data, below, rows, binned.time), data, below, ladder


@pytest.fixture(scope="module")
def fitted():
    return nwbdyn.fit(recording(traces()), "netformer", options=CORE)


def test_a_weight_that_drifts_is_followed(fitted):
    section, coupling = fitted.metrics["time_following"], fitted.connectivity
    assert (section["used"], section["why_not"]) == (True, "")
    assert section["p"] <= 0.05
    assert section["gain"]["above"]
    assert coupling.form == "basis"
    assert coupling.attributes["bandwidth"] == section["bandwidth"]
    course = coupling.over_time(100, 101).to_numpy()[:, 0]
    spread = traces().std(axis=0)  # weights are in sd per sd
    true = (0.4 + COURSE[1 + np.round(10 * coupling.time).astype(int)]) * spread[0] / spread[1]
    assert np.corrcoef(course, true)[0, 1] > 0.9
    assert 0.5 < course.std() / true.std() < 1.0  # the kernel and the penalty shrink it
    assert course.mean() == pytest.approx(true.mean(), abs=0.06)
    others = coupling.over_time([103, 103], [101, 102]).to_numpy()
    assert others.std(axis=0).max() < 0.5 * course.std()
    sentences = verdict.sentences(fitted.metrics, "netformer")
    assert any(one.startswith("A(t) follows slow change with time (p = ") for one in sentences)


def test_the_exported_picture_is_the_mean_over_time_and_not_the_constant_part(fitted):
    zero = replace(fitted, edges=fitted.edges.assign(weight=0.0))
    matrix, words = couplings._mean_matrix(zero)
    assert words == "2000 evenly spaced windows"
    mean = fitted.connectivity.mean().to_numpy()
    np.testing.assert_allclose(matrix, mean, atol=0.01 * np.abs(mean).max(), equal_nan=True)


def test_the_page_shows_the_course_as_matrices_over_time(fitted):
    movie = slider.movie(fitted)
    assert movie is not None
    assert len(json.loads(movie.content)["time"]) == slider.MOST_FRAMES


def test_a_constant_coupling_stays_constant():
    made = nwbdyn.fit(recording(traces(drift=0)), "netformer", options=CORE)
    section = made.metrics["time_following"]
    assert (section["used"], section["changes"], section["gain"]) == (False, False, None)
    assert section["p"] > 0.05
    assert made.connectivity.form == "static"
    assert TimeFollowing.from_metrics(made.metrics).sentences() == []


def test_own_memory_and_means_that_drift_are_no_change_of_coupling():
    one, data, below, _ = moments(traces(drift=0, own=True))
    assert constancy.constancy(one.centred()).p > 0.05
    rows = data.problem.train
    before = np.square(data.observed[rows] - below[rows]).sum(axis=0)
    assert (one.power.sum(axis=0) < 0.97 * before).all()  # own terms that follow time are used


def known(**changed):
    everything = {"constant": True, "num_neurons": 200, "num_stretches": 24}
    return time_following._Properties(**(everything | {"changes": True, "above": True} | changed))


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({}, ""),
        ({"constant": False}, "A(t) follows the activity or the states"),
        ({"num_neurons": 201}, "more than 200 neurons"),
        (
            {"num_stretches": 23},
            "fewer than 24 stretches of training, each as many bins as neurons",
        ),
        ({"changes": False}, "the test does not reject a constant coupling"),
        ({"above": False}, "D(t) gains nothing in left-out parts of training"),
        ({"num_stretches": None, "changes": None, "above": None}, ""),
    ],
)
def test_a_coupling_that_follows_time_needs_the_test_and_left_out_parts(changed, reason):
    assert time_following.why_not(known(**changed)) == reason


def test_a_short_recording_is_not_tested():
    made = nwbdyn.fit(recording(traces()[:1000]), "netformer", options=CORE)
    section = made.metrics["time_following"]
    assert (section["used"], section["p"]) == (False, None)
    assert section["why_not"].startswith("fewer than 24 stretches")


def test_a_change_that_gains_nothing_is_named():
    section = TimeFollowing(False, "this gains nothing", changes=True, p=0.01)
    (sentences,) = section.sentences()
    assert sentences == (
        "The test rejects a coupling that is constant in time (p = 0.01), but A(t) stays constant: "
        "this gains nothing."
    )


def test_a_gain_on_test_is_named_where_there_are_test_bins():
    gain = RungGain(0.01, 0.002, 12, True)
    section = TimeFollowing(True, "", changes=True, p=0.01, bandwidth=30.0, gain=gain)
    (without,) = section.sentences()
    (with_test,) = replace(section, test_gain=gain).sentences()
    assert "in left-out parts of training. A(t) is estimated" in without
    assert "of training, and +0.0100 +- 0.0020 on test with the coupling of" in with_test


def test_the_course_is_saved_exported_and_opened(fitted, tmp_path):
    run = fitted.save(tmp_path / "run")
    back = fit_results.load(run).connectivity
    file = tmp_path / "results.nwb"
    export(run, file)
    times = fitted.connectivity.time[[0, 700, -1]]
    expected = [fitted.connectivity.at(time).to_numpy() for time in times]
    with open_results(file) as results:
        opened = results.connectivity
        assert opened.form == "basis"
        assert opened.attributes["bandwidth"] == pytest.approx(
            fitted.connectivity.attributes["bandwidth"]
        )
        np.testing.assert_array_equal(opened.arrays["knots"], fitted.connectivity.arrays["knots"])
        for time, matrix in zip(times, expected, strict=True):
            for one in (back, opened):
                np.testing.assert_array_equal(one.at(time).to_numpy(), matrix)
    with NWBHDF5IO(file, "r") as io:  # by the formula of the extension's README alone
        module = io.read().processing["population_dynamics"]
        whole = [
            one
            for one in module.data_interfaces.values()
            if one.neurodata_type == "TimeResolvedConnectivity"
        ]
        (stored,) = whole[0].connectivity_components.values()
        assert stored.neurodata_type == "TimeFollowingConnectivity"
        plain = [np.tensordot(stored.basis[t], stored.weight[:], axes=1) for t in (0, 700, -1)]
    np.testing.assert_allclose(plain, expected, rtol=1e-5, atol=1e-7)


def test_moments_are_those_of_residuals_and_senders_near_their_mean():
    one, data, below, _ = moments(traces())
    rows = data.problem.train
    assert len(one) == len(rows) // 40
    edges = np.r_[np.arange(len(one)) * len(rows) // len(one), len(rows)]
    seconds = np.arange(FRAMES) * np.diff(binned_of(traces()[:9]).time)[0]
    centre = [seconds[rows[a:b] - 1].mean() for a, b in pairwise(edges)]
    np.testing.assert_allclose(np.diff(one.centre), np.diff(centre))
    weight = np.exp(-0.5 * np.square(np.subtract.outer(centre, centre) / (2 * np.diff(centre)[0])))
    of_row = np.repeat(np.arange(len(one)), np.diff(edges))
    k = 20
    near = weight[k][of_row] / weight[k][of_row].sum()
    inside = of_row == k
    signals = data.past.signals.astype(float)
    sent = signals[rows[inside] - 1] - near @ signals[rows - 1]
    np.testing.assert_allclose(one.gram[k], sent.T @ sent)
    own = np.column_stack([np.ones(len(rows)), *(signals[rows - lag, 1] for lag in (1, 2, 3))])
    left = (data.observed - below)[rows, 1]
    system = (own * near[:, None]).T @ own + 0.01 * np.eye(4)
    result = np.linalg.solve(system, (own * near[:, None]).T @ left)
    expected = (left - own @ result)[inside]
    np.testing.assert_allclose(one.moment[k][:, 1], sent.T @ expected, atol=1e-9)
    assert one.power[k, 1] == pytest.approx(np.square(expected).sum())


def rows_of(seed: int = 0, number: int = 30):
    """Moments of rows that are at hand: (stretches, bins, neurons) senders and residuals."""
    draw = np.random.default_rng(seed)
    sent, left = draw.normal(size=(2, number, 50, 3))
    one = Stretches(
        centre=10.0 * np.arange(number),
        count=np.full(number, 50.0),
        gram=sent.mT @ sent,
        moment=sent.mT @ left,
        power=np.square(left).sum(axis=1),
    )
    return one, sent, left


@pytest.mark.parametrize("senders", [None, [np.array([0, 2]), np.array([1]), np.arange(3)]])
def test_a_change_at_a_time_is_a_weighted_ridge_regression(senders):
    one, sent, left = rows_of()
    left_out = np.zeros((1, 30), bool)
    left_out[0, 4:7] = True
    (result,) = following.path_at(one, np.array([52.0]), 25.0, senders, left_out)(0.3)
    weight = np.exp(-0.5 * np.square((52.0 - one.centre) / 25)) * ~left_out[0]
    root = np.sqrt(np.repeat(weight / weight.sum() / 50, 50))[:, None]
    for post in range(3):
        which = np.arange(3) if senders is None else senders[post]
        inputs = root * sent.reshape(-1, 3)[:, which]
        target = inputs.T @ (root[:, 0] * left.reshape(-1, 3)[:, post])
        expected = np.zeros(3)
        expected[which] = np.linalg.solve(inputs.T @ inputs + 0.3 * np.eye(len(which)), target)
        np.testing.assert_allclose(result[:, post], expected)


def test_changes_of_many_receivers_take_little_memory():
    number, n = 40, 30
    one = Stretches(
        centre=np.arange(number, dtype=float),
        count=np.full(number, 50.0),
        gram=np.tile(50 * np.eye(n), (number, 1, 1)),
        moment=np.ones((number, n, n)),
        power=np.full((number, n), 50.0),
    )
    tracemalloc.start()
    try:
        following.path_at(one, one.centre, 5.0, [np.arange(n)] * n)(0.1)
        assert tracemalloc.get_traced_memory()[1] < 10 * one.moment.nbytes
    finally:
        tracemalloc.stop()


def test_gains_are_decreases_of_squared_residuals():
    one, sent, left = rows_of()
    change = np.random.default_rng(1).normal(size=(30, 3, 3))
    expected = (np.square(left) - np.square(left - sent @ change)).sum(axis=1)
    np.testing.assert_allclose(one.gains(change), expected)
    centred = one.centred()
    constant = np.linalg.solve(one.gram.sum(axis=0) + 1.5 * np.eye(3), one.moment.sum(axis=0))
    rest = left - sent @ constant
    np.testing.assert_allclose(centred.moment, sent.mT @ rest, atol=1e-9)
    np.testing.assert_allclose(centred.power, np.square(rest).sum(axis=1))


def test_a_setting_is_scored_in_blocks_that_did_not_choose_it():
    gains = np.array([[9.0, 0.0, 0.0], [1.0, 2.0, 2.0]])
    number, scored = following.picked(gains)
    assert number == 0
    assert scored.tolist() == [1.0, 0.0, 0.0]  # by the others: the second, the first, the first


def test_a_form_is_chosen_by_parts_that_its_change_did_not_see():
    one, sent, left = rows_of(number=60)
    drift = np.sin(one.centre / 60)[:, None] * sent[:, :, 0] * 2
    left[:, :, 1] += drift
    drifting = replace(one, moment=sent.mT @ left, power=np.square(left).sum(axis=1)).centred()
    result = following.follow(drifting, [np.array([0]), np.array([0, 1]), np.array([2])])
    assert result.gain.above
    assert result.form.coupled
    assert result.gain.mean > 0.2
    assert not following.follow(one.centred(), None).gain.above
    knots = following.knots_of(drifting, result.form.width)
    assert np.diff(knots).max() <= result.form.width
    course = following.course(drifting, result.form, [np.arange(2)] * 3, knots)
    assert np.corrcoef(course[:, 1, 0], np.sin(knots / 60))[0, 1] > 0.95
    assert (course[:, range(3), range(3)] == 0).all()


def test_senders_are_those_of_weights_beyond_two_standard_errors():
    one, sent, _ = rows_of()
    flat = sent.reshape(-1, 3)
    inverse = np.linalg.inv(flat.T @ flat + 1.5 * np.eye(3))
    se = np.sqrt(np.outer(one.power.sum(axis=0) / 1500, np.diag(inverse)))
    weights = se * np.array([[0.0, 2.1, 1.9], [-2.1, 0.0, 0.0], [0.0, -1.9, 0.0]])
    result = following.coupled_senders(weights, one)
    assert [one.tolist() for one in result] == [[0, 1], [0, 1], [2]]


def test_widths_reach_from_two_stretches_to_a_quarter_of_the_recording():
    one, _, _ = rows_of(number=129)
    result = following.widths(one)
    assert result[0] == pytest.approx(20)
    np.testing.assert_allclose(result[1:] / result[:-1], 1.5)
    assert 320 / 1.5 < result[-1] <= 320
    long, _, _ = rows_of(number=257)
    assert following.widths(long)[0] == pytest.approx(40)


def test_hats_interpolate_between_knots_and_are_held_outside():
    result = following.hats(np.array([-5.0, 0.0, 2.5, 10.0, 30.0]), np.array([0.0, 10.0, 20.0]))
    expected = [[1, 0, 0], [1, 0, 0], [0.75, 0.25, 0], [0, 1, 0], [0, 0, 1]]
    np.testing.assert_allclose(result, expected)


def test_the_statistic_sums_products_of_scores_of_any_two_stretches():
    one, _, _ = rows_of()
    one = one.centred()
    signs = np.random.default_rng(2).choice((-1.0, 1.0), (2, 30))
    result = constancy.statistics(one, signs)
    apart = np.subtract.outer(one.centre, one.centre)
    for draw, sign in enumerate(signs):
        scores = sign[:, None, None] * one.moment / np.sqrt(one.power.sum(axis=0) / 1500)
        scores = scores - scores.mean(axis=0)
        for number, parts in enumerate((4, 8, 16, 32)):
            weight = np.exp(-0.5 * np.square(apart / (290 / parts)))
            alike = np.einsum("bc,bji,cji->ij", weight, scores, scores)
            expected = alike.sum(axis=1) - np.diag(alike)
            np.testing.assert_allclose(result[draw, number], expected)


def test_p_is_the_share_of_draws_with_as_large_a_statistic():
    one, sent, left = rows_of()
    assert constancy.constancy(one.centred()).p > 0.05
    left[:, :, 1] += np.linspace(-1, 1, 30)[:, None] * sent[:, :, 0]
    changed = replace(one, moment=sent.mT @ left, power=np.square(left).sum(axis=1)).centred()
    result = constancy.constancy(changed, num_draws=99)
    assert (result.p, result.one_p, result.changes) == (0.02, 0.01, True)
    assert result == constancy.constancy(changed, num_draws=99, seed=0)
    assert not constancy.Constancy(0.051, 0.026, 0.026).changes
