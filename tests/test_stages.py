"""Which stages a fit has, and what each of them does with the models of several seeds."""

import json
from dataclasses import replace

import numpy as np
import pytest
from small_fits import SMALL_STNDT, imaging, units
from test_refits import EDGES, traces

from nwbdyn import simulate
from nwbdyn.errors import ConfigError
from nwbdyn.evaluation import gain, held_out_neurons, scoring
from nwbdyn.fitting import train_models
from nwbdyn.fitting.assemble import assemble_fit, score_fit
from nwbdyn.fitting.stage import FitInputs, FitState
from nwbdyn.fitting.stages import attention_maps, nested_tests
from nwbdyn.fitting.stages.attention_maps import AttentionMaps
from nwbdyn.fitting.stages.benchmark import BenchmarkScores, evaluate
from nwbdyn.fitting.stages.benchmark_submission import BenchmarkSubmission
from nwbdyn.fitting.stages.coupling_ablation import CouplingAblation
from nwbdyn.fitting.stages.few_shot import FewShot
from nwbdyn.fitting.stages.folds import Folds
from nwbdyn.fitting.stages.heldout_resamples import HeldoutResamples
from nwbdyn.fitting.task import build_task
from nwbdyn.fitting.train_models import RunContext
from nwbdyn.inference import readout
from nwbdyn.progress import silent
from nwbdyn.request import FitRequest

QUICK = {"preset": "paper", "updates": 20, "hidden": 4, "embedding": 2, "context": 3}
TINY = SMALL_STNDT | {"updates": 10}


def trained_state(recording, model, options) -> FitState:
    """Two seeds of a model, trained and scored; no stage was run."""
    request = FitRequest.from_keywords(model, seeds=2, options=options)
    task = build_task(recording, model, seed=0, options=options)
    trained = tuple(train_models.train_seeds(task, request.seeds, RunContext()))
    scored = score_fit(task, trained, report=silent)
    fit = assemble_fit(task, trained, scored, request, report=silent)
    return FitState(request, task, trained, scored, fit)


@pytest.fixture(scope="module")
def next_bin() -> FitState:
    return trained_state(imaging(3, 300), "synapsnet", QUICK)


@pytest.fixture(scope="module")
def held_out() -> FitState:
    return trained_state(units(), "stndt", TINY | {"baseline": False})


def planned(stage, state, *, test_recording=None, **keywords):
    inputs = FitInputs(state.task.recording, refit=None, test_recording=test_recording)
    return stage.plan(state.request.with_keywords(**keywords), state.task, inputs)


@pytest.mark.parametrize(
    ("stage", "of_next_bin", "of_held_out"),
    [
        (CouplingAblation, True, False),
        (AttentionMaps, False, True),
        (FewShot, False, True),
        (Folds, False, False),
        (BenchmarkSubmission, False, False),
    ],
)
def test_which_stages_a_model_has(stage, of_next_bin, of_held_out, next_bin, held_out):
    assert (planned(stage, next_bin) is not None) is of_next_bin
    assert (planned(stage, held_out) is not None) is of_held_out


def test_coupling_is_compared_with_a_fit_of_the_first_seed_without_it(next_bin):
    task, trained = next_bin.task, next_bin.trained
    stage = CouplingAblation().train(next_bin.request, task, trained, RunContext())
    actual = stage.run(next_bin, RunContext()).metrics["coupling"]
    without = train_models.train_without_coupling(task, 0, RunContext())
    ablated = readout.predict(without.model, task.windows)
    scored = next_bin.scored
    wanted = gain.of_coupling(scored.task, scored.predictions[0], ablated, scored.baselines)
    assert actual == wanted.to_json() | {"all_zero": False}
    assert actual["with"] != actual["without"]


def test_maps_are_those_of_the_best_seed_on_validation(held_out):
    actual = AttentionMaps().run(held_out, RunContext()).metrics
    best, worse = sorted(held_out.trained, key=lambda member: member.best)
    scored = held_out.scored.task
    assert (
        actual["necessity"]
        == attention_maps._loss_without_maps(held_out.task, best, scored).to_json()
    )
    assert (
        actual["necessity"]
        != attention_maps._loss_without_maps(held_out.task, worse, scored).to_json()
    )


def test_maps_are_needed_as_far_as_the_score_falls_without_them(held_out):
    task, scored = held_out.task, held_out.scored.task
    (best, _) = sorted(held_out.trained, key=lambda member: member.best)
    actual = attention_maps._loss_without_maps(task, best, scored)

    def score(maps):
        prediction = readout.predict(best.model, task.windows, splits=["test"], maps=maps)
        return scoring.scores(scored, prediction)["test"][actual.metric]

    assert actual.loss == {maps: score(None) - score(maps) for maps in actual.loss}
    assert any(actual.loss.values())


def test_a_few_shot_score_is_that_of_the_mean_prediction(held_out):
    scored = held_out.scored
    mean = np.mean(scored.predictions, axis=0)
    scored = replace(scored, mean=replace(scored.mean, prediction=mean))
    actual = FewShot().run(replace(held_out, scored=scored), RunContext()).metrics["few_shot"]
    windows = held_out.task.windows
    assert (
        actual == held_out_neurons.few_shot(scored.task, windows, mean, scored.baselines).to_json()
    )
    first = scored.predictions[0]
    assert (
        actual != held_out_neurons.few_shot(scored.task, windows, first, scored.baselines).to_json()
    )


def test_every_fold_tests_blocks_of_its_own_with_one_seed_and_no_null(next_bin):
    requested = []

    def refit(request):
        requested.append(request)
        return {next_bin.task.windows.session: next_bin.fit}

    request = next_bin.request.with_keywords(folds=3, null="shift:20")
    stage = Folds.plan(request, next_bin.task, FitInputs(next_bin.task.recording, refit))
    assert stage.record == {"folds": 3}
    stage = stage.train(request, next_bin.task, next_bin.trained, RunContext())
    actual = stage.run(replace(next_bin, request=request), RunContext())
    assert [one.data.fold for one in requested] == [(0, 3), (1, 3), (2, 3)]
    for one in requested:
        assert (one.validation.seeds, one.validation.folds, one.tests.null) == (1, None, None)
    assert actual.metrics["folds"]["num_folds"] == 3


def test_sets_of_held_out_neurons_of_a_next_bin_model_are_noted_as_one(next_bin):
    assert planned(HeldoutResamples, next_bin) is None
    assert planned(HeldoutResamples, next_bin, heldout_resamples=1) is None
    stage = planned(HeldoutResamples, next_bin, heldout_resamples=3)
    assert stage.record == {}
    actual = stage.run(next_bin, RunContext())
    assert actual.notes[-1].code == "one-draw"
    assert "draws" not in actual.metrics


def test_a_further_set_of_held_out_neurons_has_seeds_of_its_own(held_out, tmp_path):
    stage = planned(HeldoutResamples, held_out, heldout_resamples=2)
    actual = stage.run(held_out, RunContext(run=tmp_path))
    config = json.loads((tmp_path / "draw-1" / "config.json").read_text())
    assert config["seeds"] == [2, 3]  # those of the fit are 0 and 1
    assert actual.metrics["beats_baseline"] == actual.metrics["draws"]["beats"]


def test_a_test_file_of_a_next_bin_model_is_noted_as_unused(next_bin):
    stage = planned(BenchmarkSubmission, next_bin, test_recording=next_bin.task.recording)
    assert stage.record == {}
    assert stage.run(next_bin, RunContext()).notes[-1].code == "unused-test-file"


def test_the_benchmark_scores_the_seeds_that_the_prediction_averages():
    recording, _ = simulate.sample("sample:reach?neurons=24&trials=40")
    state = trained_state(recording, "stndt", {"layers": 1, "feedforward": 8, "updates": 10})
    models = [member.model for member in state.trained]
    task, other_models = state.task, state.scored.baselines
    for members in ((1,), (0, 1)):
        scored = replace(state.scored, mean=replace(state.scored.mean, members=members))
        stage = planned(BenchmarkScores, state)
        actual = stage.run(replace(state, scored=scored), RunContext()).metrics["benchmark"]
        wanted = evaluate(task, [models[number] for number in members], other_models)
        assert actual["model"] == wanted.model
    assert (
        evaluate(task, models, other_models).model != evaluate(task, models[:1], other_models).model
    )


def test_targets_of_a_next_bin_model_are_refused(next_bin, tmp_path):
    with pytest.raises(ConfigError, match="predicts nothing that the Neural"):
        planned(BenchmarkSubmission, next_bin, targets=tmp_path / "targets.h5")


def test_nested_questions_follow_the_null(next_bin, held_out):
    kind = nested_tests.NestedQuestions
    assert planned(kind, next_bin) is None
    assert planned(kind, next_bin, null="shift:20") == kind(20)
    assert planned(kind, next_bin, null="jitter:20") is None
    assert planned(kind, held_out, null="shift:20") is None


def test_a_recording_is_rotated_as_often_as_requested(next_bin):
    task = build_task(traces(EDGES), "synapsnet", seed=0, options=QUICK)
    state = replace(next_bin, task=task)
    actual = nested_tests.NestedQuestions(2).run(state, RunContext()).metrics["nested"]
    assert len(actual["coupling"]["rotations"]) == 2
    assert "a level of .05 takes 19" in actual["coupling"]["reason"]
