"""Which edges, pairs and flags stand: each branch of each decision, from numbers by hand."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from small import neurons
from test_groups import session

from nwbdyn.connectivity import edge_table
from nwbdyn.errors import ConfigError
from nwbdyn.recording import Neurons
from nwbdyn.statistics import artefacts, groups, significance, surrogates
from nwbdyn.statistics.significance import NullSamples
from nwbdyn.statistics.surrogates import Null

ABOVE, AROUND = [0.01, 0.03], [-0.01, 0.03]


# --- which pairs of cell types ---


@pytest.mark.parametrize(
    ("num_below", "num_above", "p"),
    [(0, 39, 2 / 40), (1, 38, 4 / 40), (38, 1, 4 / 40), (39, 0, 2 / 40), (20, 20, 1.0)],
)
def test_the_p_of_a_pair_of_types_is_twice_the_smaller_share_beyond_zero(num_below, num_above, p):
    values = np.r_[-np.arange(1.0, num_below + 1), np.arange(1.0, num_above + 1)]
    low, high, actual = groups._interval(np.r_[values, np.nan])
    assert actual == pytest.approx(p)
    assert [low, high] == pytest.approx(np.quantile(values, [0.025, 0.975]))


def sampled(weight, animal="a", labels=("E",) * 4, flagged=None):
    matrix = np.broadcast_to(np.asarray(weight, float), (len(labels),) * 2).copy()
    flags = np.zeros(matrix.shape, bool) if flagged is None else flagged
    return groups.SessionCoupling(matrix, np.array(labels, dtype=object), animal, flags)


@pytest.mark.parametrize(
    ("sessions", "means"),
    [
        ([(1.0, "a"), (3.0, "a")], {1.0, 2.0, 3.0}),  # two sessions of one animal
        ([(1.0, "a"), (3.0, "b")], {1.0, 2.0, 3.0}),  # two animals
        ([(1.0, "a"), (3.0, "a"), (5.0, "b")], {1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0}),
    ],
)
def test_animals_and_their_sessions_are_drawn_anew(sessions, means):
    every = [sampled(weight, animal) for weight, animal in sessions]
    animals = sorted({animal for _, animal in sessions})
    draw = np.random.default_rng(0)
    actual = {float(groups._resample(every, animals, ["E"], draw)[0, 0]) for _ in range(200)}
    assert actual >= means
    assert min(actual) == min(means)
    assert max(actual) == max(means)


def test_neurons_are_drawn_anew():
    weight = np.tile([1.0, 2.0, 3.0, 4.0], (4, 1))  # by sender
    draw = np.random.default_rng(0)
    actual = [groups._resample([sampled(weight)], ["a"], ["E"], draw)[0, 0] for _ in range(50)]
    assert np.nanstd(actual) > 0.1


@pytest.mark.parametrize(
    ("labels", "known"),
    [(("E",) * 3 + ("I",) * 3, True), (("E",) * 3 + ("I",) * 2, False), (("E",) * 6, False)],
)
def test_three_neurons_of_both_types_make_a_pair(labels, known):
    actual = groups._means(sampled(1.0, labels=labels), ["E", "I"], np.ones(len(labels)))
    assert np.isfinite(actual[0, 1]) == known
    assert np.isfinite(actual[0, 0])


def test_a_mean_leaves_the_diagonal_and_flagged_edges_out():
    weight = np.ones((3, 3)) + 9 * np.eye(3)
    weight[0, 1] = 7.0
    flagged = np.zeros((3, 3), bool)
    actual = groups._means(sampled(weight, labels=("E",) * 3), ["E"], np.ones(3))
    assert actual[0, 0] == pytest.approx((5 + 7) / 6)
    flagged[0, 1] = True
    actual = groups._means(sampled(weight, labels=("E",) * 3, flagged=flagged), ["E"], np.ones(3))
    assert actual[0, 0] == pytest.approx(1.0)


def test_sessions_are_scaled_alike_and_animals_count_alike():
    strong, weak = sampled(10.0), sampled(-1.0)
    table = groups._pairs([strong, weak], ["E"], num_resamples=2, seed=0)
    assert table["weight"].item() == pytest.approx(0.0)
    alone = groups._pairs([strong], ["E"], num_resamples=2, seed=0)
    assert alone["weight"].item() == pytest.approx(10.0)  # in its own unit
    actual = groups._over_animals([np.ones((1, 1))] * 3 + [-np.ones((1, 1))], [*"aaab"], [*"ab"])
    assert actual.item() == pytest.approx(0.0)


def test_recordings_without_a_subject_are_different_animals():
    made = session({}, ["E"] * 3)
    known = replace(made, session={"subject": {"subject_id": "a"}})
    unknown = replace(made, session={"subject": {}})
    other = replace(made.source, uri="other.nwb")
    assert groups._animal(unknown) != groups._animal(replace(unknown, source=other))
    assert groups._animal(known) == groups._animal(replace(known, source=other)) == "a"


# --- what is flagged ---


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(("size", "flagged"), [(1.0, True), (0.2, False)])
def test_residuals_that_correlate_with_either_sign_coincide(sign, size, flagged):
    residual = np.random.default_rng(0).normal(size=(2000, 2))
    residual[:, 1] += sign * size * residual[:, 0]  # r = .71, or .20
    text, _ = artefacts.flags(neurons(2), residual)
    assert (text[0, 1] == "coincidence") is flagged
    assert text[0, 0] == ""
    assert artefacts.flags(neurons(2), residual[:2])[0][0, 1] == ""  # two bins say nothing


@pytest.mark.parametrize(
    ("channel", "words"),
    [((3, 3), "same channel"), ((3, 4), "adjacent channel"), ((4, 3), "adjacent channel"),
     ((3, 5), ""), ((-1, -1), ""), ((-1, 0), ""), ((np.nan, 3), "")],
)  # fmt: skip
def test_units_of_one_channel_or_the_next(channel, words):
    made = Neurons(pd.DataFrame({"id": [0, 1], "channel": channel}), "unit")
    text, _ = artefacts.flags(made, None)
    assert text[0, 1] == text[1, 0] == words


@pytest.mark.parametrize(
    ("apart", "micrometres", "words", "code"),
    [
        (19.0, [1.0, 1.0], "close ROIs", "positions-unit"),
        (21.0, [1.0, 1.0], "", "positions-unit"),
        (19.0, [2.0, 2.0], "", "positions-unit"),  # 38 um
        (30.0, [0.5, 0.5], "close ROIs", "positions-unit"),  # 15 um
        (30.0, None, "", "positions-unit"),  # taken as um
        (0.03, None, "", "positions-unit"),  # no micrometres
    ],
)
def test_rois_nearer_than_20_micrometres_are_close(apart, micrometres, words, code):
    table = pd.DataFrame({"id": [0, 1], "x": [0.0, apart], "y": [0.0, 0.0]})
    size = None if micrometres is None else np.array(micrometres)
    text, notes = artefacts.flags(replace(Neurons(table, "roi"), micrometres=size), None)
    assert text[0, 1] == words
    assert [note.code for note in notes] == ["coincidence-unknown", code]
    assert ("not micrometres" in notes[1].reason) is (apart < 1)


# --- when q is withheld ---


@pytest.mark.parametrize(
    ("coupling", "num_surrogates", "uncalibrated", "withheld"),
    [
        ({"adds": 0.1, "interval": ABOVE}, 20, "", ""),
        ({"adds": 0.1, "interval": None}, 20, "", ""),
        (None, 20, "", ""),
        ({"adds": 0.1, "interval": AROUND}, 20, "", "coupling adds nothing on test (+0.1 of r2,"),
        ({"adds": 0.0, "interval": None}, 20, "", "coupling adds nothing on test (+0 of r2)"),
        ({"adds": 0.1, "interval": ABOVE, "all_zero": True}, 20, "", "no coupling was kept"),
        ({"adds": 0.1, "interval": ABOVE, "all_zero": False}, 20, "", ""),
        ({"adds": 0.1, "interval": ABOVE}, 19, "", "with 19 surrogates the smallest p"),
        ({"adds": 0.1, "interval": ABOVE}, 20, "never tried", "never tried"),
        (
            {"adds": 0.1, "interval": ABOVE, "better": "AR",
             "against_ar": {"adds": -0.1, "interval": None, "metric": "r2", "split": "test"}},
            20, "", "coupling adds nothing to AR on test (-0.1 of r2)",
        ),
    ],
)  # fmt: skip
def test_why_q_is_withheld(coupling, num_surrogates, uncalibrated, withheld):
    draw = np.random.default_rng(0)
    off = ~np.eye(4, dtype=bool)
    weight = np.where(off, 1.0, 0.0)
    evidence = NullSamples(
        weight=50 * weight,
        null=draw.normal(size=(num_surrogates, 4, 4)) * off,
        halves=50 * weight + 0.1 * draw.normal(size=(5, 2, 4, 4)),
        kind="shift",
        hypothesis="made",
    )
    post, pre = np.nonzero(off)
    neurons = Neurons(pd.DataFrame({"id": np.arange(4)}), "unit")
    edges = edge_table.edge_table(neurons, post, pre, weight[post, pre])
    if coupling is not None:
        coupling = {"metric": "r2", "split": "test"} | coupling
    table, section, notes = significance.edge_statistics(
        edges, np.arange(4), evidence, coupling=coupling, withheld=uncalibrated
    )
    assert section.withheld.startswith(withheld)
    assert (section.withheld == "") is (withheld == "")
    assert table["q"].isna().all() == bool(withheld)
    assert section.num_significant == (None if withheld else 12)
    assert bool(notes) is bool(withheld)


@pytest.mark.parametrize(
    ("weight", "p"), [(3.0, 1 / 5), (-3.0, 1 / 5), (1.0, 1.0), (-1.0, 1.0), (0.5, 1.0)]
)
def test_p_counts_draws_that_are_as_large_in_size(weight, p):
    null = np.zeros((2, 2, 2))
    null[0, 0, 1], null[0, 1, 0] = 1.0, 1.0  # a scale of 1 for each
    null[1] = null[0]
    null[1, 0, 1] = -1.0
    actual = significance.pooled_p(np.array([[0.0, weight], [1.0, 0.0]]), null, rule="plain")
    assert actual[0, 1] == pytest.approx(p)  # of four draws of size 1
    assert actual[1, 0] == pytest.approx(1.0)


@pytest.mark.parametrize(("rule", "receives"), [("receiver", True), ("sender", False)])
def test_a_row_is_a_receiver_and_a_column_a_sender(rule, receives):
    noisy = np.ones((3, 3))
    noisy[0] = 10  # neuron 0 receives ten times as much
    size = (noisy if receives else noisy.T) * (1 - np.eye(3))
    actual = significance.pooled_p(size, np.stack([size, size]), rule=rule)
    assert actual[~np.eye(3, dtype=bool)].tolist() == [1.0] * 6  # over their scales all are 1
    other = significance.pooled_p(size.T, np.stack([size.T, size.T]), rule=rule)
    assert np.nanmin(other) < 1


def test_the_scale_of_a_surrogate_comes_from_the_others():
    others = 1 - np.eye(2)
    null = np.stack([4 * others, others])  # over the other's scale: 4 and 1/4 on both edges
    # the recording's scale is sqrt((16 + 1) / 2) = 2.9: its 6 is 2.1, and two draws are larger
    actual = significance.pooled_p(6 * others, null, rule="edge")
    assert actual[0, 1] == actual[1, 0] == pytest.approx(3 / 5)


@pytest.mark.parametrize(
    ("num_surrogates", "num_neurons", "p"), [(1, 2, 1 / 3), (20, 3, 1 / 121), (2, 4, 1 / 25)]
)
def test_the_smallest_p(num_surrogates, num_neurons, p):
    assert significance.smallest_p(num_surrogates, num_neurons) == pytest.approx(p)


def test_agreement_of_halves_is_of_chosen_edges_off_the_diagonal():
    one = np.arange(9.0).reshape(3, 3)
    other = one.copy()
    np.fill_diagonal(other, -99)
    assert significance.half_agreement(np.array([[one, other]])) == pytest.approx(1.0)
    other[0, 1], other[0, 2] = 50, -50
    chosen = np.ones((3, 3), bool)
    chosen[0] = False
    halves = np.array([[one, other]])
    assert significance.half_agreement(halves, chosen) == pytest.approx(1.0)
    assert significance.half_agreement(halves) < 0.9
    chosen[1] = False  # leaves two edges
    assert np.isnan(significance.half_agreement(halves, chosen))


def test_the_standard_error_is_half_the_difference_of_halves():
    halves = np.array([[[[0.0, 1.0]], [[0.0, 3.0]]], [[[0.0, 4.0]], [[0.0, 2.0]]]])
    assert significance.standard_error(halves).tolist() == [[0.0, 1.0]]


# --- surrogates ---


@pytest.mark.parametrize(
    ("text", "null"),
    [
        ("shift:2", Null("shift", 2)),
        (" trials:20 ", Null("trials", 20)),
        ("shift:1", None),
        ("shift:0", None),
        ("shift", None),
        ("shifts:20", None),
    ],
)
def test_which_nulls_there_are(text, null):
    if null is None:
        with pytest.raises(ConfigError, match="Give shift:K or trials:K"):
            Null.parse(text)
    else:
        assert Null.parse(text) == null
        assert str(null) == text.strip()


@pytest.mark.parametrize(
    ("columns", "actual"),
    [(["start_time", "cond"], "cond"), (["trial_type", "condition"], "condition"), (["x"], None)],
)
def test_which_column_tells_conditions_apart(columns, actual):
    assert surrogates.condition_column(pd.DataFrame(columns=columns)) == actual


@pytest.mark.parametrize(
    ("condition", "words"),
    [(None, "all trials are one condition"), ("cond", "within condition, by cond")],
)
def test_a_hypothesis_names_its_condition(condition, words):
    assert words in surrogates.trials_hypothesis(condition)
    assert "by 16 bins, 0.8 s, or more" in surrogates.shift_hypothesis(16, 0.05)
