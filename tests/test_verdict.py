"""Sentences of the verdict: each branch of each decision, from numbers written by hand."""

import pytest
from small import TESTED
from small_fits import imaging

from nwbdyn.connectivity import edge_table
from nwbdyn.evaluation import verdict
from nwbdyn.fitting.fit import fit
from nwbdyn.results.sections.coupling import CouplingGain
from nwbdyn.results.sections.difference import Difference, span
from nwbdyn.results.sections.states import StateDifferences

REFIT = {
    "metric": "r2",
    "split": "test",
    "with": 0.50,
    "without": 0.44,
    "adds": 0.06,
    "interval": [0.05, 0.07],
}
BELOW_AR = {**REFIT, "without": 0.51, "adds": -0.01, "interval": [-0.02, -0.005]}
ABOVE_AR = {**REFIT, "without": 0.48, "adds": 0.02, "interval": [0.01, 0.03]}
PRIMARY = {"metric": "r2", "split": "test", "horizon": 1, "baseline": None}


def message(coupling, **more):
    """The sentences after the winner's."""
    metrics = {"primary": PRIMARY, "model": {"test": {"r2": 0.5}}, "coupling": coupling, **more}
    return verdict.sentences(metrics, "netformer")[1:]


@pytest.mark.parametrize(
    ("adds", "interval", "sentence"),
    [
        (0.06, [0.05, 0.07], "Coupling adds +0.060 (+0.050 to +0.070) of r2 on test to a refit"),
        (0.06, [-0.01, 0.13], "Coupling is not shown to help: +0.060 (-0.010 to +0.130) of r2"),
        (0.06, [0.00, 0.12], "Coupling is not shown to help: +0.060 (+0.000 to +0.120) of r2"),
        (-0.06, [-0.1, 0.01], "Coupling does not help: -0.060 (-0.100 to +0.010) of r2 on test"),
        (0.06, None, "Coupling adds +0.060 of r2 on test here; too short to test against a refit"),
        (0.06, [None, None], "Coupling adds +0.060 of r2 on test here; too short to test"),
        (-0.06, None, "Coupling does not help here: -0.060 of r2 on test; too short to test"),
        (0.0, None, "Coupling does not help here: +0.000 of r2 on test; too short to test"),
    ],
)
def test_coupling_adds_only_with_an_interval_above_zero(adds, interval, sentence):
    first, _ = message({**REFIT, "adds": adds, "interval": interval})
    assert first.startswith(sentence)
    assert first.endswith("a refit without it.")


@pytest.mark.parametrize(
    ("against_ar", "better", "sentence", "least"),
    [
        (BELOW_AR, "AR", "Coupling does not help: -0.010 (-0.020 to -0.005)", -0.02),
        (ABOVE_AR, "AR", "Coupling adds +0.020 (+0.010 to +0.030)", 0.01),
        (BELOW_AR, "refit", "Coupling adds +0.060 (+0.050 to +0.070)", 0.05),
        ({**ABOVE_AR, "interval": None}, "AR", "Coupling adds +0.020 of r2 on test here;", 0.02),
    ],
)
def test_coupling_is_compared_with_the_better_of_its_refit_and_ar(
    against_ar, better, sentence, least
):
    coupling = {**REFIT, "against_ar": against_ar, "better": better}
    first, _ = message(coupling)
    assert first.startswith(sentence)
    alone = "AR, each neuron by itself."
    assert first.endswith(alone if better == "AR" else "a refit without it.")
    assert CouplingGain.from_json(coupling).decisive.least == least


@pytest.mark.parametrize(
    ("adds", "interval", "edges"),
    [
        (0.06, [0.05, 0.07], "No null was run; add --null shift:20 before reading edges."),
        (0.06, None, "No null was run; add --null shift:20 before reading edges."),
        (0.06, [-0.01, 0.13], "Do not read its edges: they are not shown to help to predict."),
        (-0.06, [-0.1, 0.01], "Do not read its edges: they do not help to predict."),
        (0.0, None, "Do not read its edges: they do not help to predict."),
    ],
)
def test_edges_are_not_to_be_read_without_a_gain(adds, interval, edges):
    assert message({**REFIT, "adds": adds, "interval": interval})[1] == edges


@pytest.mark.parametrize(
    ("more", "first"),
    [
        ({}, "No coupling was kept"),
        ({"candidates": [{}]}, "No coupling was kept"),
        ({"candidates": [{}, {}]}, "Validation chose no coupling"),
    ],
)
def test_an_empty_edge_matrix_replaces_what_coupling_adds(more, first):
    for edges in (None, TESTED):
        assert message({**REFIT, "all_zero": True}, edges=edges, **more) == [
            f"{first}: every weight is 0, so the edge matrix is empty."
        ]
    assert "adds" in message({**REFIT, "all_zero": False}, **more)[0]


@pytest.mark.parametrize(("l1", "empty"), [(1e4, True), (0.0, False)])
def test_a_fit_knows_whether_its_edge_matrix_is_empty(l1, empty):
    options = {"updates": 20, "hidden": 4, "embedding": 2, "context": 3, "l1": l1}
    made = fit(imaging(), "synapsnet", options=options)
    assert made.metrics["coupling"]["all_zero"] is empty
    assert (edge_table.directed(made.edges)["weight"] == 0).all() == empty
    actual = verdict.sentences(made.metrics, "synapsnet")
    assert any(line.startswith("No coupling was kept") for line in actual) == empty
    assert any("add --null" in line for line in actual) is (
        not empty and CouplingGain.from_metrics(made.metrics).decisive.least > 0
    )


def test_a_fit_is_compared_with_ar():
    options = {"updates": 20, "hidden": 4, "embedding": 2, "context": 3}
    made = fit(imaging(), "synapsnet", options=options)
    actual = made.metrics["coupling"]["against_ar"]
    scores = made.metrics["model"]["test"]["r2"], made.metrics["baselines"]["AR"]["test"]["r2"]
    assert (actual["with"], actual["without"]) == pytest.approx(scores, abs=1e-6)
    assert actual["adds"] == pytest.approx(scores[0] - scores[1], abs=1e-6)


def metrics_of(own, other, interval, beats, **baselines):
    scores = {"AR": other} | baselines
    return {
        "model": {"test": {"r2": own}},
        "baselines": {name: {"test": {"r2": value}} for name, value in scores.items()},
        "intervals": {"difference": {"test": {"r2": interval}}},
        "primary": {**PRIMARY, "baseline": "AR"},
        "beats_baseline": beats,
    }


@pytest.mark.parametrize(
    ("own", "interval", "beats", "first"),
    [
        (0.5, [0.05, 0.15], True, "m beats the best baseline: r2 0.500 against 0.400 of AR"),
        (0.5, [-0.05, 0.15], False, "m does not beat the best baseline: r2 0.500"),
        (0.3, [-0.15, -0.05], False, "m loses to the best baseline: r2 0.300"),
        (0.3, [-0.15, 0.05], False, "m does not beat the best baseline: r2 0.300"),
        (0.5, None, None, "m: r2 0.500 against 0.400 of AR on test."),
    ],
)
def test_who_won_follows_from_the_interval(own, interval, beats, first):
    assert verdict.winner(metrics_of(own, 0.4, interval, beats), "m").startswith(first)


@pytest.mark.parametrize(
    ("difference", "beats", "first"),
    [
        ([0.05, 0.15], True, "m beats the best baseline: r2 0.500 against 0.400"),
        ([-0.05, 0.15], False, "m does not beat the best baseline"),
        ([-0.15, -0.05], False, "m loses to the best baseline"),
        (None, None, "m: r2 0.500 over 5 draws of held-out neurons on test; no baseline"),
    ],
)
def test_who_won_over_draws_follows_from_the_interval(difference, beats, first):
    intervals = {"model": [0.4, 0.6]} | ({} if difference is None else {"difference": difference})
    draws = {
        **{"num_neurons": 5, "per_neuron": {}},
        "metric": "r2",
        "split": "test",
        "num_draws": 5,
        "model": {"r2": {"mean": 0.5}},
        "baselines": {"AR": {"r2": {"mean": 0.4}}},
        "difference": {"r2": {"mean": 0.1}},
        "intervals": intervals,
        "beats": beats,
    }
    assert verdict.winner({"draws": draws}, "m").startswith(first)


@pytest.mark.parametrize(
    ("ends", "above"), [([0.01, 0.2], True), ([-0.01, 0.2], False), ([0.0, 0.2], False),
                        ([-0.2, -0.1], False), ([None, None], False), (None, False)]
)  # fmt: skip
def test_a_gain_lies_above_zero_with_the_lower_end_of_its_interval(ends, above):
    assert Difference("r2", "test", 0.5, 0.4, 0.1, ends).above_zero is above


@pytest.mark.parametrize(
    ("ends", "shown"),
    [([0.1, 0.2], "0.10 to 0.20"), (None, ""), ([None, 0.2], ""), ([0.1, float("nan")], "")],
)
def test_an_interval_is_shown_where_both_ends_are_known(ends, shown):
    assert span(ends, 2) == shown


@pytest.mark.parametrize(
    ("tested", "sentence"),
    [
        (
            TESTED,
            "5 of 30 edges at q < 0.05 against 20 shifted recordings; halves of the data agree at "
            "r = 0.90.",
        ),
        (
            TESTED | {"num_significant_unflagged": 2, "half_split_correlation": None},
            "5 of 30 edges at q < 0.05 against 20 shifted recordings, 3 of them flagged as "
            "possible artefacts.",
        ),
        (
            TESTED | {"null": "trials", "half_split_correlation": None},
            "5 of 30 edges at q < 0.05 against 20 trial-shuffled recordings.",
        ),
        (TESTED | {"withheld": "too few"}, "No edge can be called significant: too few."),
    ],
)
def test_the_sentence_of_tested_edges(tested, sentence):
    assert verdict.of_edges({"edges": tested}) == sentence
    assert verdict.of_edges({"coupling": REFIT}) == ""


@pytest.mark.parametrize(
    ("supported", "first"),
    [
        (True, "Coupling differs between rest, run by more than in 19 simulations"),
        (False, "Differences of coupling between rest, run are not supported: too alike."),
    ],
)
def test_states_differ_where_that_is_supported(supported, first):
    actual = {"names": ["rest", "run"], "num_simulations": 19, "p": 0.05, "why_not": "too alike"}
    section = StateDifferences.from_json(actual | {"supported": supported})
    assert section.sentences()[0].startswith(first)
