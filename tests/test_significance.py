"""Edge statistics: p against a pooled null, q by hand, errors from halves, when to say nothing."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from nwbdyn.connectivity import edge_table
from nwbdyn.recording import Neurons
from nwbdyn.simulate import sample
from nwbdyn.statistics import artefacts, significance
from nwbdyn.statistics.significance import NullSamples

NUM_NEURONS = 8
OTHERS = ~np.eye(NUM_NEURONS, dtype=bool)
ADDS = {"adds": 0.1, "interval": [0.05, 0.2], "metric": "r2", "split": "test"}


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    """Matrices of chance weights, (…, N, N), their diagonals 0."""
    return np.random.default_rng(seed).normal(size=(*shape, NUM_NEURONS, NUM_NEURONS)) * OTHERS


def table(weight: np.ndarray) -> pd.DataFrame:
    post, pre = np.nonzero(OTHERS)
    order = np.argsort(-np.abs(weight[post, pre]))
    neurons = Neurons(pd.DataFrame({"id": 10 + np.arange(NUM_NEURONS)}), "unit")
    post, pre = post[order], pre[order]
    return edge_table.edge_table(neurons, post, pre, weight[post, pre])


def judged(weight, *, num_surrogates=20, coupling=ADDS, withheld="", flags=None):
    evidence = NullSamples(
        weight=weight,
        null=noise(num_surrogates, seed=1),
        halves=weight + noise(5, 2, seed=2),
        kind="shift",
        hypothesis="neurons are independent",
    )
    ids = 10 + np.arange(NUM_NEURONS)
    return significance.edge_statistics(
        table(weight), ids, evidence, coupling=coupling, withheld=withheld, flags=flags
    )


def strong(*edges: tuple[int, int]) -> np.ndarray:
    """Chance weights, and an edge of 50 standard deviations at each (post, pre)."""
    weight = noise(seed=3)
    for edge in edges:
        weight[edge] = 50.0
    return weight


def test_q_is_what_benjamini_and_hochberg_wrote():
    p = np.array([0.01, 0.04, 0.03, 0.20, 0.005])
    # sorted .005 .01 .03 .04 .2, times 5 / rank: .025 .025 .05 .05 .2
    by_hand = [0.025, 0.05, 0.05, 0.20, 0.025]
    assert np.allclose(significance.benjamini_hochberg(p), by_hand)


def test_q_leaves_out_what_was_not_tested():
    assert significance.benjamini_hochberg(np.array([1 + 1e-12])) == [1.0]
    q = significance.benjamini_hochberg(np.array([np.nan, 0.01, 0.04]))
    assert np.isnan(q[0])
    assert np.allclose(q[1:], [0.02, 0.04])


def test_p_counts_the_pooled_draws_that_are_as_large():
    null = np.zeros((2, 2, 2))
    null[:, 0, 1], null[:, 1, 0] = [1.0, -2.0], [3.0, 4.0]  # pooled: 1 2 3 4
    weight = np.array([[0.0, 2.0], [-3.5, 0.0]])
    p = significance.pooled_p(weight, null, rule="plain")
    # the scale of each surrogate is that of the other: 1, 3 over rms(2, 4); 2, 4 over rms(1, 3)
    pool = np.array([1, 3]) / np.sqrt(10), np.array([2, 4]) / np.sqrt(5)
    own = np.array([2, 3.5]) / np.sqrt(30 / 4)
    counted = [(np.concatenate(pool) >= value).sum() for value in own]
    assert np.allclose([p[0, 1], p[1, 0]], [(1 + n) / 5 for n in counted])
    assert np.isnan(p.diagonal()).all()


@pytest.mark.parametrize("rule", significance.RULES)
def test_p_of_chance_weights_is_uniform_under_every_rule(rule):
    values = [
        significance.pooled_p(
            noise(seed=100 + k), noise(20, seed=k), rule=rule, se=np.full((8, 8), 0.9)
        )[OTHERS]
        for k in range(20)
    ]
    # the five per cent point of a Kolmogorov-Smirnov test of 1120 values is .04
    assert stats.kstest(np.concatenate(values), "uniform").statistic < 0.06


@pytest.mark.parametrize("rule", ["receiver", "sender", "pair", "edge"])
def test_a_noisy_neuron_does_not_pass_for_a_coupled_one(rule):
    size = np.ones((NUM_NEURONS, NUM_NEURONS))
    size[2] = size[2] * 10 if rule != "sender" else size[2]
    size[:, 2] = size[:, 2] * 10 if rule == "sender" else size[:, 2]
    weight, null = size * noise(seed=3), size * noise(20, seed=1)
    row = significance.pooled_p(weight, null, rule="plain")[size > 1]
    scaled = significance.pooled_p(weight, null, rule=rule)[size > 1]
    assert np.nanmedian(row) < 0.1 < np.nanmedian(scaled)


def test_a_larger_standard_error_makes_the_cautious_rule_doubt():
    weight, null = strong((0, 1)), noise(20, seed=1)
    certain = significance.pooled_p(weight, null, se=np.full((8, 8), 0.1))
    doubtful = significance.pooled_p(weight, null, se=np.full((8, 8), 30.0))
    assert certain[0, 1] == significance.smallest_p(20, NUM_NEURONS)
    assert doubtful[0, 1] > 0.05


def test_the_standard_error_is_that_of_a_mean():
    draw = np.random.default_rng(0)
    values = draw.normal(size=(400, 200))  # 400 means of 200 values: one per edge
    pairs = []
    for _ in range(10):
        half = draw.permutation(200)
        pairs.append([values[:, half[:100]].mean(1), values[:, half[100:]].mean(1)])
    se = significance.standard_error(np.array(pairs)[..., None])
    assert np.sqrt(np.mean(se**2)) == pytest.approx(1 / np.sqrt(200), rel=0.05)


def test_strong_edges_are_called_and_chance_is_not():
    edges, section, notes = judged(strong((0, 1), (5, 2)))
    called = edges[edges["q"] <= 0.05]
    assert sorted(zip(called["post_id"], called["pre_id"], strict=True)) == [(10, 11), (15, 12)]
    assert section.num_significant == 2
    assert section.withheld == ""
    assert not notes
    assert edges["p"].min() == section.smallest_p == 1 / (1 + 20 * 56)
    assert edges.attrs["null_hypothesis"] == "neurons are independent"


def test_standard_errors_have_the_unit_of_the_weights_beside_them():
    weight = strong((0, 1))
    evidence = NullSamples(weight, noise(20, seed=1), weight + noise(5, 2, seed=2), "shift", "none")
    scaled = table(weight).assign(weight=lambda edges: edges["weight"] / 100)
    ids = 10 + np.arange(NUM_NEURONS)
    shown = significance.edge_statistics(scaled, ids, evidence, coupling=ADDS)[0]
    own = significance.edge_statistics(table(weight), ids, evidence, coupling=ADDS)[0]
    assert np.allclose(shown["se"], own["se"] / 100)


def test_too_few_surrogates_give_p_and_no_q():
    edges, section, notes = judged(strong((0, 1)), num_surrogates=19)
    assert edges["p"].notna().all()
    assert edges["q"].isna().all()
    assert section.num_significant is None
    assert [note.code for note in notes] == ["q-withheld"]
    assert "19 surrogates" in notes[0].reason
    assert "20 suffice" in notes[0].reason


@pytest.mark.parametrize(
    "coupling",
    [
        {**ADDS, "interval": [-0.01, 0.2]},
        {**ADDS, "adds": -0.1, "interval": None},
        {**ADDS, "adds": 0.0, "interval": None},
    ],
)
def test_no_edge_is_called_where_coupling_adds_nothing(coupling):
    edges, section, _ = judged(strong((0, 1)), coupling=coupling)
    assert edges["q"].isna().all()
    assert "coupling adds nothing on test" in section.withheld
    assert (", from " in section.withheld) is (coupling["interval"] is not None)


def test_no_edge_is_called_of_a_model_that_calls_false_ones():
    edges, section, _ = judged(strong((0, 1)), withheld="never tried")
    assert edges["p"].notna().all()
    assert edges["q"].isna().all()
    assert section.withheld == "never tried"


def test_a_gain_without_interval_is_enough():
    _, section, _ = judged(strong((0, 1)), coupling={**ADDS, "interval": None})
    assert section.num_significant == 1


def test_halves_that_agree_on_a_sign_are_counted():
    edges, _, _ = judged(strong((0, 1)))
    assert edges["half_split_agreement"].iloc[0] == 1.0
    assert edges["half_split_agreement"].between(0, 1).all()


def test_summaries_stand_with_and_without_flagged_edges():
    flags = np.full((NUM_NEURONS, NUM_NEURONS), "", dtype=object)
    flags[0, 1] = flags[1, 0] = "close ROIs"
    edges, section, _ = judged(strong((0, 1), (5, 2)), flags=flags)
    assert edges["flags"].iloc[0:2].tolist().count("close ROIs") == 1
    assert (section.num_significant, section.num_significant_unflagged) == (2, 1)
    assert section.num_flagged == 2


def residual(*coincident: tuple[int, int], number: int = 4) -> np.ndarray:
    values = np.random.default_rng(0).normal(size=(400, number))
    for first, second in coincident:
        values[:, second] += values[:, first]
    return values


def test_neurons_that_fire_in_the_same_bin_are_flagged():
    neurons = Neurons(pd.DataFrame({"id": range(4)}), "unit")
    text, notes = artefacts.flags(neurons, residual((0, 3)))
    assert text[0, 3] == text[3, 0] == "coincidence"
    assert not notes
    assert (text != "").sum() == 2


def test_units_on_one_channel_or_the_next_are_flagged():
    neurons = Neurons(pd.DataFrame({"id": range(4), "channel": [7, 7, 8, -1]}), "unit")
    text, _ = artefacts.flags(neurons, residual((0, 1)))
    assert text[0, 1] == "same channel, coincidence"
    assert text[1, 2] == "adjacent channel"
    assert (text[3] == "").all()
    assert (text.diagonal() == "").all()


def test_close_rois_are_flagged_and_the_unit_is_said():
    location = {"x": [0.0, 10.0, 100.0, 200.0], "y": [0.0, 10.0, 0.0, np.nan]}
    neurons = Neurons(pd.DataFrame({"id": range(4), **location}), "roi")
    text, notes = artefacts.flags(neurons, residual())
    assert text[0, 1] == "close ROIs"
    assert (text != "").sum() == 2
    assert "taken as micrometres" in notes[0].reason


def test_overlapping_rois_are_flagged_whatever_the_unit():
    location = {"x": [0.0, 10.0, 100.0, 200.0], "y": [0.0, 10.0, 0.0, 0.0]}
    neurons = Neurons(pd.DataFrame({"id": range(4), **location}), "roi")
    masked = replace(neurons, overlaps=np.array([[2, 3, 0.1]]), micrometres=np.array([3.0, 3.0]))
    text, notes = artefacts.flags(masked, residual())
    assert text[2, 3] == text[3, 2] == "overlapping ROIs"
    assert (text != "").sum() == 2  # 0 and 1 are 42 um apart
    assert "imaging plane's grid" in notes[0].reason


def test_positions_in_metres_flag_nobody():
    location = {"x": [0.0, 1e-4, 2e-4, 3e-4], "y": [0.0, 0.0, 1e-4, 0.0]}
    neurons = Neurons(pd.DataFrame({"id": range(4), **location}), "roi")
    text, notes = artefacts.flags(neurons, residual())
    assert (text == "").all()
    assert "not micrometres" in notes[0].reason


def least_squares(x: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """(N, N) [post, pre] weights of the next row on this one."""
    return np.linalg.lstsq(x[rows], x[rows + 1], rcond=None)[0].T


def called_in(x: np.ndarray, seed: int) -> np.ndarray:
    """(N, N) bool: edges that a least-squares VAR(1) calls, with shifts and halves made here."""
    draw = np.random.default_rng(seed)
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    every = np.arange(len(x) - 1)
    null = []
    for _ in range(20):
        lags = draw.integers(10, len(x) - 10, x.shape[1])
        shifted = np.stack([np.roll(x[:, k], lag) for k, lag in enumerate(lags)], axis=1)
        null.append(least_squares(shifted, every))
    halves = []
    for _ in range(5):
        blocks = draw.permutation(len(x) // 20)
        first = np.isin(every // 20, blocks[: len(blocks) // 2])
        halves.append([least_squares(x, every[part]) for part in (first, ~first)])
    se = significance.standard_error(np.array(halves))
    p = significance.pooled_p(least_squares(x, every), np.array(null), se=se)
    return significance.benjamini_hochberg(p) <= 0.05


def test_independent_neurons_seldom_report_an_edge():
    def alone(seed: int) -> np.ndarray:
        draw = np.random.default_rng(seed)
        keep, x = draw.uniform(0.2, 0.9, 8), np.zeros((600, 8))
        for t in range(1, len(x)):
            x[t] = keep * x[t - 1] + draw.normal(size=8)
        return x

    alarms = [called_in(alone(seed), seed).any() for seed in range(20)]
    assert sum(alarms) <= 2  # 10 % of recordings


def test_planted_edges_are_found_with_few_false_ones():
    false, actual = [], []
    for seed in range(5):
        recording, truth = sample(f"sample:network?seed={seed}")
        hits, wired = called_in(np.asarray(recording.activity.data), seed), truth.coupling != 0
        false.append((hits & ~wired).sum() / hits.sum())
        actual.append((hits & wired).sum() / wired.sum())
    assert np.mean(false) <= 0.08
    assert np.mean(actual) >= 0.9
