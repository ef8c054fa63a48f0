"""STNDT on its baseline: where it starts, when it is kept, and what older checkpoints become."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from nwbdyn import baselines, simulate
from nwbdyn.baselines.regression import LogScale
from nwbdyn.data.splits import GAP, TRAIN
from nwbdyn.data.windows import Windows
from nwbdyn.evaluation import verdict
from nwbdyn.fitting.fit import fit
from nwbdyn.fitting.task import build_task
from nwbdyn.inference import readout
from nwbdyn.models.base import CO_SMOOTHING, Output
from nwbdyn.models.stndt import PRESETS, STNDT
from nwbdyn.request import DataOptions
from nwbdyn.results.sections.baseline_start import BaselineStart
from nwbdyn.results.sections.repeats import HeldoutResampleScores
from nwbdyn.training import baseline_start
from nwbdyn.training.trainer import Trainer, train
from tests.test_stndt import batch_of, layout, model_of

SMALL = {"layers": 1, "feedforward": 8, "updates": 10, "batch_size": 16, "context": 20}
CPU = torch.device("cpu")


@cache
def task(**more):
    """Simulated reaches: windows of trials with forward bins, a third of each trial behind them."""
    recording, _ = simulate.sample("sample:reach?neurons=24&trials=40")
    data = DataOptions(bin_width=0.02, **more)
    return build_task(recording, "stndt", seed=0, options=SMALL, data=data)


def begun(problem, windows=None):
    loop = Trainer(
        problem.model_class,
        problem.config,
        problem.layout,
        windows or problem.windows,
        seed=0,
        device=CPU,
    )
    loop.begin(resume=False)
    return loop.model


@pytest.mark.parametrize("trials", [None, "trials", "none"])
def test_before_training_held_out_neurons_have_their_baselines_rates(trials):
    problem = task(trials=trials)
    rates = readout.predict(begun(problem), problem.windows)[:, problem.held_out]
    best = baseline_start.best_baseline(problem.windows).prediction[:, problem.held_out]
    common = np.isfinite(best) & problem.counted[:, None]
    assert common.any(1).sum() > 1000
    np.testing.assert_allclose(rates[common], best[common], rtol=1e-4)


def test_the_best_of_both_baselines_on_validation_is_taken():
    problem = task()
    actual = baselines.co_smoothing_of(problem.windows)
    val = problem.split.bins("val") & problem.counted & problem.binned.valid

    def loss(baseline):
        rates = baseline.prediction[val][:, problem.held_out].astype(float)
        return (rates - problem.binned.values[val][:, problem.held_out] * np.log(rates)).mean()

    best = min(actual, key=lambda name: loss(actual[name]))
    assert baseline_start.best_baseline(problem.windows).name == best


def test_the_read_out_of_held_out_neurons_starts_at_zero_and_learns():
    problem = task()
    model = begun(problem)
    rows = torch.as_tensor(problem.held_out)
    assert not model.decode.weight[rows].any()
    assert not model.decode.bias[rows].any()
    assert model.decode.weight[~rows].any()
    model.train()
    generator = torch.Generator().manual_seed(0)
    batch = next(problem.windows.batches("train", 16, generator))
    model.loss(batch, model(batch)).backward()
    assert model.decode.weight.grad[rows].abs().max() > 0
    assert all(not name.startswith("skip") for name, _ in model.named_parameters())


def test_in_forward_bins_they_start_at_their_mean():
    problem = task()
    model = begun(problem)
    batch = next(problem.windows.batches("val", 16))
    ahead = model(batch).prediction[:, problem.spec.context :][..., problem.held_out]
    rows = problem.split.bins("train") & problem.counted & problem.binned.valid
    mean = problem.binned.values[rows][:, problem.held_out].mean(0)
    np.testing.assert_allclose(ahead[0, 0].detach().numpy(), mean, rtol=0.02)
    assert torch.equal(ahead, ahead[:1, :1].expand_as(ahead))


def test_a_checkpoint_without_a_baseline_stays_the_model_that_it_was():
    shape = layout()
    old = model_of(shape, baseline=False)
    new = STNDT(STNDT.configure(shape), shape).eval()
    new.load_state_dict(old.state_dict())
    batch = batch_of(shape)
    torch.testing.assert_close(new(batch).log_rate, old(batch).log_rate)
    assert not any(name.startswith("skip") for name in old.state_dict())
    state = begun(task()).state_dict()
    del state["skip.bias"]
    with pytest.raises(RuntimeError, match=r"skip\.bias"):  # a damaged one is not an older one
        begun(task()).load_state_dict(state)


@pytest.mark.parametrize("name", PRESETS)
def test_the_papers_form_has_no_baseline(name):
    shape = layout()
    model = STNDT(STNDT.configure(shape, preset=name), shape)
    assert not model.on_baseline
    assert not STNDT(STNDT.configure(layout(held_out=())), layout(held_out=())).on_baseline


def regression_of(shape):
    draw = torch.Generator().manual_seed(3)
    observed, _ = shape.trial_bins
    held_out = sum(not flag for flag in shape.held_in["0"])
    held_in = len(shape.held_in["0"]) - held_out
    filters = torch.rand(2, observed, observed, generator=draw)
    return {
        "filters": filters / filters.sum(2, keepdim=True),
        "offset": torch.full((2, held_in), 0.7),
        "weights": 0.3 * torch.randn(2, held_in, held_out, generator=draw),
        "bias": torch.randn(held_out, generator=draw),
        "ceiling": torch.full((held_out,), 5.0),
        "ahead": torch.zeros(held_out),
    }


def test_hidden_bins_reach_no_filter_and_nothing_hidden_changes_nothing():
    shape = layout()
    skip = model_of(shape).skip
    skip.fill(regression_of(shape), torch.tensor([1, 6, 9]))
    counts = batch_of(shape).activity[:, :8, [0, 2, 3, 4, 5, 7, 8]]
    whole = skip(counts, 0)
    torch.testing.assert_close(skip(counts, 0, torch.ones(5, 8)), whole)
    assert not whole[..., [0, 2]].any()
    seen = torch.ones(5, 8)
    seen[:, 5:] = 0
    dark = counts.clone()
    dark[:, 5:] = 0
    actual = skip(dark, 0, seen)
    alone = (skip.filters[:2, :, :5] / skip.filters[:2, :, :5].sum(2, keepdim=True)) @ counts[
        :, None, :5
    ]
    logs = torch.log(alone + 0.7)
    expected = torch.einsum("bgun,gnm->bum", logs, skip.weights[:2]) + skip.bias
    torch.testing.assert_close(actual, expected, atol=0.02, rtol=0.02)
    assert (actual - skip(dark, 0)).abs().max() > 0.05  # not the filters of hidden zeros


@pytest.mark.parametrize("at", [4, 8])  # 8 is a forward bin
def test_influence_on_held_out_neurons_goes_through_the_baseline_too(at):
    shape = layout()
    model, batch = model_of(shape).double(), batch_of(shape)
    batch = replace(batch, activity=batch.activity.double())
    before = model.influence(batch, at=at, lags=3)
    model.skip.fill(regression_of(shape), torch.tensor([1, 6, 9]))
    change = model.influence(batch, at=at, lags=3) - before
    seen = (torch.arange(8) < at).double().expand(5, 8)
    held_in = [0, 2, 3, 4, 5, 7, 8]
    counts = batch.activity[:, :8, held_in] * seen[..., None]
    step = torch.zeros_like(counts)
    step[:, at - 3 : at, 2] = 1e-5
    slope = (model.skip(counts + step, 4, seen) - model.skip(counts - step, 4, seen))[:, at] / 2e-5
    torch.testing.assert_close(change[..., held_in[2]], slope, atol=1e-7, rtol=1e-5)
    assert bool(slope.any()) is (at < 8)
    assert not change[..., [1, 6, 9]].any()


class Shifted(torch.nn.Module):
    """A model whose own part moves the log rates of held-out neurons towards the truth, or away."""

    target, on_baseline = CO_SMOOTHING, True

    def __init__(self, towards, noise):
        super().__init__()
        self.share, self.towards, self.noise = 1.0, towards, noise
        self.config = task().config

    def start_from(self, regression):
        raise NotImplementedError

    def forward(self, batch):
        draw = torch.Generator().manual_seed(int(batch.start_bin[0]))
        change = self.towards * (batch.target - batch.target.mean((0, 1)))
        change = change + self.noise * torch.randn(change.shape, generator=draw)
        log_rate = -1.5 + self.share * change
        return Output(prediction=log_rate.exp(), log_rate=log_rate)


@pytest.mark.parametrize(
    ("towards", "noise", "kept"), [(0.2, 0.0, True), (0.0, 0.3, False), (-0.1, 0.0, False)]
)
def test_training_is_kept_only_where_validation_gains(towards, noise, kept):
    model = Shifted(towards, noise)
    actual = baseline_start.judge(model, task().windows)
    assert actual.kept is kept
    assert model.share == (actual.weight if kept else 0.0)
    assert actual.gain.num_blocks == len(task().windows.starts("val"))
    if kept:
        assert actual.gain.mean > actual.gain.error > 0


def test_the_weight_of_the_average_has_the_lowest_validation_loss():
    model = Shifted(0.1, 0.6)
    actual = baseline_start.judge(model, task().windows)
    losses = []
    for share in baseline_start.SHARES:
        model.share = share
        total = 0.0
        for batch in task().windows.batches("val", 16):
            log_rate = model(batch).log_rate
            scored = batch.valid & ~batch.held_in
            scored[:, task().spec.context :] = False
            total += float((log_rate.exp() - batch.target * log_rate)[scored].double().sum())
        losses.append(total)
    assert 0 < actual.weight < 1
    assert actual.weight == baseline_start.SHARES[int(np.argmin(losses))]


def test_a_refit_on_all_windows_chooses_on_every_fifth_and_keeps_the_share():
    problem = task()
    labels = np.where(problem.split.labels < GAP, TRAIN, GAP).astype(np.int8)
    windows = Windows(
        problem.binned,
        replace(problem.split, labels=labels),
        problem.spec,
        starts=problem.aligned.starts,
        reach=problem.windows.reach,
    )
    fitted = train(
        STNDT, problem.config, problem.layout, windows, seed=0, device=CPU, until=0.5
    ).model
    assert float(fitted.skip.filled) == 1
    judged = begun(problem)
    judged.share = 0.3
    baseline_start.keep_share(fitted, judged)
    assert fitted.share == pytest.approx(0.3)


@pytest.fixture(scope="module")
def unrelated():
    """A fit of units that share nothing."""
    recording, _ = simulate.sample("sample:reach?neurons=24&trials=40")
    draw = np.random.default_rng(0)
    times = np.sort(draw.uniform(0, 60, (24, 600)), axis=1).ravel()
    index = 600 * np.arange(1, 25)
    activity = replace(recording.activity, times=times, index=index, intervals=None)
    table = recording.neurons.table.drop(columns="heldout")
    recording = replace(
        recording,
        activity=activity,
        trials=None,
        neurons=replace(recording.neurons, table=table),
    )
    options = SMALL | {"updates": 40, "learning_rate": 0.01}
    return fit(recording, "stndt", bin_width=0.05, options=options, heldout_resamples=1)


def test_a_fit_that_gains_nothing_is_its_baseline_and_is_told(unrelated):
    metrics = unrelated.metrics
    actual = metrics["on_baseline"]
    assert not actual["kept"]
    name = actual["baseline"]
    for split in ("val", "test"):
        expected = metrics["baselines"][name][split]["co_bps"]
        assert metrics["model"][split]["co_bps"] == pytest.approx(expected, abs=1e-5)
    (first, *_) = verdict.sentences(metrics, "stndt")
    assert first.startswith("Nothing predicts better")  # and so no rung is named


def test_what_was_trained_and_the_average_are_rows_of_their_own(unrelated):
    rows = verdict.parts(unrelated.metrics)
    trained, average = rows.values()
    assert trained["test"]["co_bps"] != unrelated.metrics["model"]["test"]["co_bps"]
    weight = unrelated.metrics["on_baseline"]["weight"]
    assert f"  average ({weight:.1f} of it)" in rows
    assert average["val"]["co_bps"] >= trained["val"]["co_bps"] - 1e-9
    assert verdict.parts({"primary": {}}) == {}


def test_rows_and_sentence_of_a_model_on_its_baseline():
    actual = {
        "baseline": "smoothing + GLM",
        "kept": True,
        "gain": 0.0123,
        "error": 0.0045,
        "num_blocks": 24,
        "weight": 0.7,
        "scores": {"transformer": {"test": {"co_bps": 0.3}}, "average": {"test": {"co_bps": 0.4}}},
    }
    assert verdict.parts({"on_baseline": actual}) == {
        "  on its baseline": {"test": {"co_bps": 0.3}},
        "  average (0.7 of it)": {"test": {"co_bps": 0.4}},
    }
    start = BaselineStart.from_json(actual)
    draws = HeldoutResampleScores(*(5, "co_bps", "test", {}, {}, {}, {}, None, 5, {}), num_kept=2)
    (kept,) = start.sentences(draws)
    assert "+0.0123 bits per spike (standard error 0.0045) over 24 blocks" in kept
    assert "Of 5 draws, 2 kept" in kept
    (dropped,) = replace(start, kept=False).sentences(None)
    assert kept.startswith("It starts from smoothing + GLM")
    assert dropped.startswith("Validation kept smoothing + GLM")


def test_logs_of_rates_are_scaled_around_their_own_mean_rate():
    rates = np.random.default_rng(0).gamma(1.0, 0.2, (400, 3))
    rates[:, 2] = 0
    scale = LogScale.of(rates)
    np.testing.assert_allclose(scale.offset, [*rates[:, :2].mean(0), 1e-6])
    scaled = scale.apply(rates)
    np.testing.assert_allclose(scaled.mean(0), 0, atol=1e-9)
    np.testing.assert_allclose(scaled.std(0), [1, 1, 0], atol=1e-9)
    expected = np.log(0.5 + scale.offset[0]) - np.log(rates[:, 0] + scale.offset[0]).mean()
    expected /= np.log(rates[:, 0] + scale.offset[0]).std()
    assert scale.apply(np.full((1, 3), 0.5))[0, 0] == pytest.approx(expected)
