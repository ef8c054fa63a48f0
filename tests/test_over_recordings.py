"""A model over several recordings: each branch of the sentence, from numbers written by hand."""

import pytest

from nwbdyn.evaluation import over_recordings
from nwbdyn.evaluation.over_recordings import Standing


def of(score, baseline, metric="r2"):
    name = None if baseline is None else "AR"
    return Standing(metric, "test", score, name, baseline)


@pytest.mark.parametrize(
    ("score", "baseline", "word"),
    [
        (0.503, 0.500, "above"),
        (0.502, 0.5001, "level"),
        (0.498, 0.4999, "level"),
        (0.497, 0.500, "below"),
        (0.497, None, ""),
        (None, 0.5, ""),
        (float("nan"), 0.5, ""),
    ],
)
def test_two_scores_that_differ_by_two_thousandths_are_level(score, baseline, word):
    assert of(score, baseline).word == word


@pytest.mark.parametrize(
    ("standings", "sentence"),
    [
        ([of(0.5, 0.4)], ""),
        ([of(0.5, 0.4), of(0.5, None)], ""),
        (
            [of(0.5, 0.4), of(0.5, 0.3)],
            "M is above the best baseline in 2 of 2 recordings; the mean difference is +0.150 of "
            "r2 on test.",
        ),
        (
            [of(0.5, 0.4), of(0.4, 0.4), of(0.3, 0.4), of(0.5, None)],
            "M is above the best baseline in 1 of 3 recordings, level with it in 1 and below it "
            "in 1; the mean difference is +0.000 of r2 on test.",
        ),
        (
            [of(0.5, 0.4), of(0.3, 0.4)],
            "M is above the best baseline in 1 of 2 recordings, below it in 1; the mean difference "
            "is +0.000 of r2 on test.",
        ),
        (
            [of(0.5, 0.4), of(0.1, 0.4, "co_bps")],
            "M is above the best baseline in 1 of 2 recordings, below it in 1.",
        ),
        (
            [of(0.5, 0.4)] * 6,
            "M is above the best baseline in 6 of 6 recordings; the mean difference is +0.100 of "
            "r2 on test (sign-flip test p = 0.031).",
        ),
    ],
)
def test_one_sentence_over_recordings(standings, sentence):
    assert over_recordings.sentence("M", standings) == sentence


def test_several_draws_of_held_out_neurons_are_averaged():
    metrics = {
        "primary": {"metric": "co_bps", "split": "test", "baseline": "GLM"},
        "model": {"test": {"co_bps": 0.1}},
        "baselines": {"GLM": {"test": {"co_bps": 0.2}}},
    }
    assert over_recordings.standing(metrics) == Standing("co_bps", "test", 0.1, "GLM", 0.2)
    drawn = {
        "model": {"co_bps": {"mean": 0.3}},
        "baselines": {"GLM": {"co_bps": {"mean": 0.25}}},
    }
    metrics["draws"] = drawn
    assert over_recordings.standing(metrics) == Standing("co_bps", "test", 0.3, "GLM", 0.25)
    metrics["primary"]["baseline"] = None
    assert over_recordings.standing(metrics).baseline_score is None
