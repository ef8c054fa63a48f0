"""Sections of metrics.json: what is written is read again, and what is not known is left out."""

from dataclasses import MISSING, fields, replace

import pytest
from small import TESTED

from nwbdyn.errors import ResultsError
from nwbdyn.results.sections.attention_maps import MapAblation, NeuronImportance
from nwbdyn.results.sections.coupling import CouplingGain
from nwbdyn.results.sections.difference import Difference
from nwbdyn.results.sections.edges import EdgeTests, TimeScale
from nwbdyn.results.sections.held_out import HeldOutScores
from nwbdyn.results.sections.nested import NestedTest, NestedTests, Sensitivity
from nwbdyn.results.sections.reliability import Agreement, Reliability
from nwbdyn.results.sections.repeats import HeldoutResampleScores
from nwbdyn.results.sections.seed_mean import SeedMean
from nwbdyn.results.sections.simultaneous import Signal, SimultaneousPairs

OVER_AR = Difference("r2", "test", 0.5, 0.48, 0.02, [0.01, 0.03])
GAIN = CouplingGain("r2", "test", 0.5, 0.4, 0.1, [0.05, 0.15], OVER_AR, "AR", None, False)
PAIRS = SimultaneousPairs(10, 3, 0.05, 20, "", Signal(1, None, 0.1, 0.9))
ANSWER = NestedTest(
    ("M2", "M1"), 0.02, 0.01, "u", 9, (0.0,), True, "", Sensitivity(0.5, 0.1, 0.2, 0.3)
)
HELD_OUT = HeldOutScores("co_bps", "test", 2, [3, 4], [0.1, None], {}, {"model": [0.1, 0.2]}, True)
SEEDS = SeedMean("co_bps", [1, 0, 2], [0.3, 0.2, 0.1], [1], "test", 0.3, 0.2, 0.1, None)


@pytest.mark.parametrize(
    "section",
    [
        GAIN,
        PAIRS,
        NestedTests(ANSWER, replace(ANSWER, sensitivity=None)),
        Reliability("maps", Agreement(None, 0.5), Agreement(0.4, None)),
        HELD_OUT,
        SEEDS,
        EdgeTests.from_json(TESTED),
        replace(EdgeTests.from_json(TESTED), time_scales=[TimeScale("slow", 0.2, 0.1)]),
    ],
    ids=lambda section: type(section).__name__,
)
def test_a_section_that_was_written_is_read_again(section):
    written = section.metrics()
    assert type(section).from_metrics(written).metrics() == written
    assert type(section).from_metrics({}) is None
    values = written[section.KEY]
    names = {one.name.rstrip("_") for one in fields(section)}
    assert set(values) == names - {
        name for name in section.OPTIONAL if getattr(section, name) is None
    }
    assert type(section).from_json({**values, "of_a_later_version": 1}) == type(section).from_json(
        values
    )


def test_records_within_a_section_are_read_as_records():
    read = CouplingGain.from_metrics(GAIN.metrics())
    assert read == GAIN
    assert read.to_json()["with"] == 0.5
    assert "baseline" not in read.to_json()
    assert (
        NestedTests.from_json(NestedTests(ANSWER, ANSWER).to_json()).gain.sensitivity.shared == 0.3
    )


@pytest.mark.parametrize("kind", [CouplingGain, SimultaneousPairs, HeldOutScores, SeedMean])
def test_a_section_without_a_field_that_it_needs_is_damaged(kind):
    (values,) = [s.to_json() for s in (GAIN, PAIRS, HELD_OUT, SEEDS) if type(s) is kind]
    needed = [
        one.name
        for one in fields(kind)
        if one.default is MISSING and one.name not in ("with_", "without", "adds")
    ]
    for name in needed:
        with pytest.raises(ResultsError, match=f"damaged: {kind.__name__} has no '{name}'"):
            kind.from_json({key: value for key, value in values.items() if key != name})


def test_a_score_that_is_not_defined_is_null_in_a_file_and_nan_here():
    read = Difference.from_json(OVER_AR.to_json() | {"adds": None, "interval": [None, None]})
    assert read.adds != read.adds
    assert read.ends is None
    assert not read.above_zero
    assert GAIN.sentences(selected=False, of_recording=False)
    alone = replace(GAIN, against_ar=None, better=None, adds=float("nan"))
    assert alone.sentences(selected=False, of_recording=False) == []


@pytest.mark.parametrize(("loss", "number"), [({"uniform": 0.1}, 1), ({}, 0)])
def test_maps_have_a_sentence_where_they_were_replaced(loss, number):
    assert len(MapAblation("co_bps", "test", loss).sentences()) == number


def test_importance_has_the_correlations_that_are_known():
    importance = NeuronImportance([1], [0.1], 0.5, None, "co_bps", "test", [1], {})
    assert importance.sentence() == ("Between halves of the windows attention correlates at 0.50.")
    assert replace(importance, half_split=None).sentence() == ""


@pytest.mark.parametrize(("tested", "number"), [(3, 1), (0, 1), (None, 0)])
def test_pairs_have_a_sentence_where_they_were_tested(tested, number):
    assert len(replace(PAIRS, num_significant=tested).sentences()) == number


@pytest.mark.parametrize(("stated", "noted"), [(True, False), (False, True), (None, False)])
def test_one_draw_is_noted_where_the_file_states_no_neurons(stated, noted):
    words = " ".join(replace(HELD_OUT, stated=stated).sentences(None))
    assert ("One draw of held-out neurons" in words) is noted
    assert "over trials and 2 neurons held out: 0.100 to 0.200." in words


@pytest.mark.parametrize("beats", [True, False, None])
def test_sets_of_held_out_neurons_decide_whether_the_fit_beats_its_baselines(beats):
    section = HeldoutResampleScores(2, "co_bps", "test", {}, {}, {}, {}, beats, 5, {})
    assert section.metrics()["beats_baseline"] is beats


def test_agreement_is_stated_where_it_is_known():
    section = Reliability("couplings", Agreement(0.9, None), Agreement(None, 0.5))
    assert section.sentences() == ["Mean couplings of two seeds agree at r = 0.90."]


def test_the_seeds_that_are_averaged_are_counted():
    (sentence,) = SEEDS.sentences()
    assert "the mean of the best 1 of 3 seeds on validation" in sentence
    assert sentence.endswith("0.200 of the best seed on test.")
