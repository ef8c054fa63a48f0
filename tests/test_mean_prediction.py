"""The first sentence of a verdict where nothing predicts better than the mean; level scores."""

import pytest
from small import TESTED

from nwbdyn.evaluation import mean_prediction, verdict


def metrics_of(own, others, metric="r2", **more):
    return {
        "model": {"test": {metric: own}},
        "baselines": {name: {"test": {metric: value}} for name, value in others.items()},
        "primary": {"metric": metric, "split": "test", "baseline": next(iter(others), None)},
        "beats_baseline": False,
        **more,
    }


@pytest.mark.parametrize(
    ("own", "others", "sentence"),
    [
        (0.1, {"AR": -0.1}, ""),
        (-0.1, {"AR": -0.2, "VAR": 0.001}, ""),
        (
            -0.1,
            {"AR": -0.2, "VAR": -0.03, "broken": None},
            "Nothing predicts better than the mean: r2 on test is -0.100 for m and -0.030 for the "
            "best baseline there, VAR. Do not read scores, couplings or edges of this fit.",
        ),
        (
            0.0,
            {},
            "Nothing predicts better than the mean: r2 on test is +0.000 for m. Do not read "
            "scores, couplings or edges of this fit.",
        ),
        (None, {"AR": -0.2}, ""),
    ],
)
def test_nothing_is_better_than_the_mean_where_every_score_is_at_most_zero(own, others, sentence):
    assert mean_prediction.sentence(metrics_of(own, others), "m") == sentence


def test_of_spikes_and_over_draws_of_held_out_neurons():
    draws = {
        "metric": "co_bps",
        "split": "test",
        "model": {"co_bps": {"mean": -0.1}},
        "baselines": {"GLM": {"co_bps": {"mean": -0.2}}},
    }
    metrics = metrics_of(0.2, {"GLM": 0.1}, "co_bps", draws=draws)
    assert "the mean rates: co_bps on test is -0.100" in mean_prediction.sentence(metrics, "m")
    draws["baselines"]["GLM"]["co_bps"]["mean"] = 0.01
    assert mean_prediction.sentence(metrics, "m") == ""


def test_it_is_said_first_and_nothing_else_but_the_edges_of_spike_times():
    coupling = {"metric": "r2", "split": "test", "adds": 0.1, "interval": None}
    metrics = metrics_of(-0.1, {"AR": -0.2}, coupling=coupling)
    assert verdict.sentences(metrics, "m") == [mean_prediction.sentence(metrics, "m")]
    tested = TESTED | {"null": "jitter", "withheld": "too few spikes"}
    both = verdict.sentences(metrics | {"edges": tested}, "m")
    assert both[1:] == ["No edge can be called significant: too few spikes."]
    assert len(verdict.sentences(metrics | {"edges": {**tested, "null": "shift"}}, "m")) == 1


@pytest.mark.parametrize(("copying", "left"), [(0.1, ["r2", "skill"]), (0.0, ["r2"]), (-1, ["r2"])])
def test_skill_is_left_out_where_copying_is_worse_than_the_mean(copying, left):
    metrics = metrics_of(0.5, {"persistence": copying})
    assert mean_prediction.without_skill(metrics, ["r2", "skill"]) == left


@pytest.mark.parametrize(
    ("own", "interval", "beats", "word"),
    [
        (0.401, [0.0, 0.002], True, "is level with"),
        (0.401, [-0.001, 0.002], False, "is level with"),
        (0.399, [-0.002, -0.001], False, "is level with"),
        (0.4015, [0.0005, 0.0025], True, "is level with"),
        (0.403, [0.001, 0.005], True, "beats"),
        (0.397, [-0.005, -0.001], False, "loses to"),
        (0.401, [-0.1, 0.1], False, "does not beat"),
    ],
)
def test_scores_that_differ_by_two_thousandths_are_level(own, interval, beats, word):
    intervals = {"difference": {"test": {"r2": interval}}}
    metrics = metrics_of(own, {"AR": 0.4}, intervals=intervals) | {"beats_baseline": beats}
    assert verdict.winner(metrics, "m").startswith(f"m {word} the best baseline")
    draws = {
        "metric": "r2",
        "split": "test",
        "num_draws": 5,
        "model": {"r2": {"mean": own}},
        "baselines": {"AR": {"r2": {"mean": 0.4}}},
        "difference": {"r2": {"mean": own - 0.4}},
        "intervals": {"model": [0.3, 0.5], "difference": interval},
        "beats": beats,
    }
    assert verdict.winner(metrics | {"draws": draws}, "m").startswith(f"m {word} the best baseline")
