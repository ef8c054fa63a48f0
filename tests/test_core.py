"""The closed-form core of next-bin models, and the own part that is trained on top of it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_fits import imaging, interrupt_after, units
from test_ladder import second_order

import nwbdyn
from nwbdyn import metrics
from nwbdyn.baselines.ladder import is_above
from nwbdyn.fitting import own_part
from nwbdyn.fitting.task import build_task
from nwbdyn.models import load
from nwbdyn.models._core import Core
from nwbdyn.models._core_terms import curved_terms, finer_terms, num_terms, two_sided_terms
from nwbdyn.models.base import Layout, Model
from nwbdyn.recording import Traces
from nwbdyn.results.sections.ladder import KeptRung, Rung, RungGain
from nwbdyn.training import lower_rungs
from nwbdyn.training.trainer import train
from nwbdyn.workflows.load_model import load_model

ON_CORE = {"preset": "ladder", "updates": 60}
MADE = {"traces": lambda: imaging(6, 900), "counts": lambda: units(8, 40)}


def oscillating():
    """Traces of a network whose senders act over two bins."""
    activity = second_order().astype(np.float32)
    traces = Traces(activity, np.arange(len(activity)) / 10, "dff")
    return replace(imaging(activity.shape[1], len(activity)), activity=traces)


def task_of(kind, model, **options):
    return own_part.with_core(
        build_task(MADE[kind](), model, seed=0, options={**ON_CORE, "own_part": True, **options})
    )


def trained_on(task, **more):
    config = replace(task.config, ridge=100.0) if hasattr(task.config, "ridge") else task.config
    return train(
        task.model_class, replace(config, **more), task.layout, task.windows,
        seed=0, device=torch.device("cpu"),
    )  # fmt: skip


@pytest.mark.parametrize("context", [1, 2, 4, 9])
def test_the_number_of_terms_is_that_of_the_functions(context):
    lags = [np.zeros(3)] * min(5, context)
    actual = curved_terms(lags, np.tanh), two_sided_terms(lags), finer_terms(lags, np.tanh)
    assert tuple(map(len, actual)) == num_terms(context)


@pytest.mark.parametrize("kind", [*MADE, "several bins"])
def test_the_core_of_a_window_is_the_ladder_of_its_bin(kind):
    if kind == "several bins":
        task = own_part.with_core(build_task(oscillating(), "synapsnet", seed=0, options=ON_CORE))
        assert task.windows.ladder["M2"].parts[0].terms == "last 2 bins"
    else:
        task = task_of(kind, "synapsnet")
    windows = task.windows
    core = Core(
        windows.binned.num_neurons, 0, context=windows.spec.context, counts=kind == "counts"
    )
    core.load_state_dict(windows.core)
    for split in ("train", "val", "test"):
        for batch in windows.batches(split, 200):
            # single precision, sums of about 100 terms
            torch.testing.assert_close(core(batch), batch.lower[:, 0], atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", MADE)
@pytest.mark.parametrize("model", ["netformer", "synapsnet"])
def test_a_model_starts_at_exactly_the_core(kind, model):
    task = task_of(kind, model)
    made = task.model_class(replace(task.config, **_no_ridge(task)), task.layout)
    made.load_core("0", task.windows.core)
    made.initialise(task.windows.batches("train", 64))
    for mode in (made.train(), made.eval()):
        batch = next(task.windows.batches("train", 32))
        output = mode(batch)
        linear = output.prediction if output.log_rate is None else output.log_rate
        assert torch.equal(linear, batch.lower)


@pytest.mark.parametrize("model", ["netformer", "synapsnet"])
def test_the_influence_on_a_core_is_the_derivative_of_the_prediction(model):
    task = task_of("traces", model)
    made = trained_on(task).model.double()
    batch = next(task.windows.batches("test", 8))
    batch = replace(batch, activity=batch.activity.double(), covariates=batch.covariates.double())
    expected = Model.influence(made, batch)
    torch.testing.assert_close(made.influence(batch), expected, atol=1e-9, rtol=1e-6)


def test_a_dynamic_part_adds_what_its_matrix_sends_but_for_the_centre():
    task = task_of("traces", "netformer")
    made = trained_on(task).model
    made.query.data = 0.1 * torch.randn_like(made.query)
    made.on_train_end(task.windows.batches("train", 64))
    batch = next(task.windows.batches("train", 10**6))
    queries, keys, values = (x.detach() for x in made._projected(batch))
    centred, sent = queries - made.query_mean, keys * values[..., None] - made.sent_mean
    assert centred.mean(0).abs().max() < 1e-5  # over every training window
    assert sent.mean(0).abs().max() < 1e-5
    others = torch.stack([sent[:, torch.arange(6) != i].sum(1) for i in range(6)], dim=1)
    added = made.scale * (centred * others).sum(-1)
    torch.testing.assert_close(
        made(batch).prediction[:, 0] - batch.lower[:, 0], added, atol=1e-5, rtol=0
    )


def test_independent_neurons_keep_no_own_part_of_netformer():
    kept = 0
    for seed in range(3):
        rng = np.random.default_rng(seed)
        x = np.zeros((900, 6), np.float32)
        for frame in range(1, 900):
            x[frame] = 0.7 * x[frame - 1] + rng.normal(size=6)
        recording = imaging(6, 900)
        recording = replace(recording, activity=replace(recording.activity, data=x))
        made = nwbdyn.fit(recording, "netformer", options=ON_CORE)
        kept += made.metrics["ladder"]["kept"] == "M5"
    assert kept <= 1  # one standard error is passed by chance in 16 %


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("model", ["netformer", "synapsnet"])
def test_a_fit_on_a_core_is_saved_and_its_model_loaded(model, own, tmp_path):
    recording = imaging(6, 900)
    options = ON_CORE | ({} if own else {"own_part": False})
    made = nwbdyn.fit(recording, model, options=options, run=tmp_path / "run")
    read = nwbdyn.load(tmp_path / "run")
    restored = load_model(read, recording)
    windows = restored.problem.windows
    predicted = nwbdyn.inference.readout.predict(restored.model, windows)
    # the core sums its terms anew, in single precision
    np.testing.assert_allclose(predicted, read.predictions.values, atol=1e-5)
    mean = made.connectivity.mean().to_numpy()
    np.testing.assert_array_equal(read.connectivity.mean().to_numpy(), mean)
    assert read.connectivity.form in ("static", load(model).form)


def test_a_fit_on_a_core_resumes_to_the_same_weights(tmp_path):
    options = ON_CORE | {"patience": 10}
    whole = nwbdyn.fit(imaging(6, 900), "synapsnet", options=options)
    with pytest.raises(KeyboardInterrupt):
        nwbdyn.fit(imaging(6, 900), "synapsnet", options=options, run=tmp_path / "run",
                   report=interrupt_after(2))  # fmt: skip
    again = nwbdyn.fit(imaging(6, 900), "synapsnet", options=options, run=tmp_path / "run",
                       resume=True)  # fmt: skip
    for name, value in whole.weights.items():
        np.testing.assert_array_equal(value, again.weights[name], err_msg=name)


def test_a_dropped_part_leaves_the_prediction_of_the_core():
    made = nwbdyn.fit(imaging(6, 900), "netformer", options=ON_CORE | {"own_part": False})
    test = made.metrics["baselines"]["nonlinear VAR"]["test"]
    assert made.metrics["model"]["test"]["r2"] == pytest.approx(test["r2"], abs=1e-5)
    assert made.connectivity.form == "static"
    assert made.history[0]["epoch"] == 0


@pytest.mark.parametrize(
    ("gains", "kept"),
    [
        ((1.0, 1.1, 0.9, 1.0), True),
        ((1.0, -1.0, 1.0, -0.9), False),
        ((-1.0, -1.1, -0.9, -1.0), False),
    ],
)
def test_an_own_part_needs_one_standard_error(gains, kept):
    assert is_above(np.array(gains), scale=10.0).above is kept


@pytest.mark.parametrize(
    ("own", "words"),
    [
        (RungGain(0.01, 0.001, 12, True), "kept netformer's own part on top of M2"),
        (RungGain(0.0, 0.001, 12, False), "own part is left out"),
        (None, "The fit is M2, additive coupling, alone."),
    ],
)
def test_the_verdict_names_the_rung(own, words):
    rungs = {
        "M0": Rung("autoregression", True, None, {}),
        "M2": Rung("additive coupling", True, None, {}),
        "M3": Rung("gates", False, None, {}),
    }
    section = KeptRung("M2", rungs, own, "u")
    (sentence,) = KeptRung.from_json(section.to_json()).sentences("netformer")
    assert words in sentence


def test_a_patience_below_one_is_a_share_of_the_validations():
    task = task_of("traces", "synapsnet", updates=400, patience=0.15)
    made = trained_on(task)
    assert len(made.history) < 40


def test_a_ladder_that_is_taken_over_keeps_its_penalties():
    windows = task_of("traces", "synapsnet").windows
    again = lower_rungs.fit(windows, like=windows.ladder)
    assert [rung.used for rung in again.ladder.rungs] == [r.used for r in windows.ladder.rungs]
    np.testing.assert_allclose(again.ladder["M2"].linear, windows.ladder["M2"].linear, atol=1e-6)


def test_the_gain_of_an_own_part_is_that_of_the_reported_score(monkeypatch):
    task = task_of("traces", "synapsnet")
    windows = task.windows
    rows = windows.starts("val") + windows.spec.context
    noise = np.random.default_rng(0).normal(0, 0.1, (len(windows.binned.values), 6))
    upper = own_part.lower_prediction(windows) + noise
    upper[:, 2] = windows.binned.values[:, 2]  # one neuron is predicted exactly
    monkeypatch.setattr(own_part.readout, "predict", lambda *_, **__: upper)
    gain = own_part.validation_gain(task, [trained_on(task, updates=1)], num_candidates=1)
    observed = windows.binned.values[rows].astype(float)
    lower = own_part.lower_prediction(windows)[rows]
    scores = [metrics.r2.per_neuron(observed, one).mean() for one in (lower, upper[rows])]
    assert gain.mean == pytest.approx((scores[1] - scores[0]) / (1 - scores[0]), rel=1e-4)


def test_options_of_the_paper_are_refused_on_a_core():
    layout = Layout({"0": (0, 1)}, {"0": (True, True)}, 0.1, "dff")
    with pytest.raises(ValueError, match="preset=paper"):
        load("netformer").configure(layout, preset="ladder", static=True)
    with pytest.raises(ValueError, match="preset=paper"):
        load("synapsnet").configure(layout, preset="ladder", coupling=False)


def _no_ridge(task):
    return {"ridge": 0.0} if hasattr(task.config, "ridge") else {}


def test_a_part_that_never_improved_is_dropped_whatever_the_rounding():
    task = task_of("traces", "synapsnet")
    member = trained_on(task)
    for best, form in ((0, "static"), (member.best_epoch or 1, None)):
        decision = own_part.decide(task, [replace(member, best_epoch=best)], num_candidates=1)
        assert best or not decision.gain.above
        assert form is None or decision.trained[0].model.fitted_form == form
