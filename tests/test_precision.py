"""STNDT trained in bf16 and through a compiler: the same model, parameters and loss in float32."""

import shutil

import pytest
import torch
from small_fits import interrupt_after
from test_stndt import batch_of, layout, model_of
from test_training import CPU, SMALL, task_of, trained

from nwbdyn import fit
from nwbdyn.errors import ConfigError
from nwbdyn.models.stndt import STNDT
from nwbdyn.results import fit_results
from nwbdyn.training.trainer import Trainer

UNDROPPED = {"dropout": 0.0, "dropout_embedding": 0.0, "dropout_rates": 0.0}
FAST = ({"precision": "bf16"}, {"compile": True}, {"precision": "bf16", "compile": True})
# 8 bits of a number: log rates here are below 1, and a few of their summands are rounded.
ROUNDING = {"bf16": 2**-7, "float32": 1e-5}

# torch.compile looks at the gradient of every tensor, and hides its own warning only by a filter
pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")


@pytest.fixture
def traced(monkeypatch):
    """torch.compile without the programs that it would write: traced, and differentiated ahead."""
    monkeypatch.setattr(STNDT, "compiler", "aot_eager")


@pytest.mark.parametrize("options", FAST)
def test_rates_loss_and_gradients_are_those_of_float32_to_rounding(options, traced):
    shape = layout()
    plain = model_of(shape, layers=2, **UNDROPPED).train()
    fast = model_of(shape, layers=2, **UNDROPPED, **options).train()
    answers = []
    for model in (plain, fast):
        batch = batch_of(shape, generator=torch.Generator().manual_seed(0))
        output = model(batch)
        loss = model.loss(batch, output)
        loss.backward()
        assert output.log_rate.dtype == loss.dtype == torch.float32
        answers.append((output.log_rate.detach(), loss.detach(), model))
    (rates, loss, _), (actual, other, _) = answers
    assert rates.abs().max() < 1
    near = ROUNDING[options.get("precision", "float32")]
    torch.testing.assert_close(actual, rates, rtol=0, atol=near)
    torch.testing.assert_close(other, loss, rtol=0, atol=near)
    for (name, one), two in zip(plain.named_parameters(), fast.parameters(), strict=True):
        assert two.grad.dtype == two.dtype == torch.float32
        # A gradient adds up rounded ones, so that small ones are known less well than large ones.
        scale = float(one.grad.abs().max())
        torch.testing.assert_close(two.grad, one.grad, rtol=0, atol=8 * near * scale, msg=name)


def test_evaluation_stays_float32():
    shape = layout()
    plain, fast = model_of(shape), model_of(shape, precision="bf16")
    assert torch.equal(plain(batch_of(shape)).log_rate, fast(batch_of(shape)).log_rate)


@pytest.mark.parametrize("options", FAST)
def test_a_training_lowers_the_loss_and_keeps_its_state_in_float32(options, traced):
    problem = task_of("stndt", **SMALL["stndt"], **options, epochs=4, updates=None)
    loop = Trainer(
        problem.model_class, problem.config, problem.layout, problem.windows, seed=0, device=CPU
    )
    while not loop.finished:
        loop.epoch_of_updates()
    assert loop.history[-1]["loss"] < loop.history[0]["loss"]
    kept = [*loop.model.parameters(), *loop.optimiser.state_dict()["state"][0].values()]
    assert {tensor.dtype for tensor in kept} == {torch.float32}


@pytest.mark.parametrize("options", FAST)
def test_a_resumed_training_ends_with_the_weights_of_a_whole_one(options, traced, tmp_path):
    problem = task_of("stndt", **SMALL["stndt"], **options, epochs=4, updates=None)
    whole = trained(problem, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        trained(problem, tmp_path / "run", report=interrupt_after(2))
    resumed = trained(problem, tmp_path / "run", resume=True)
    for name, value in whole.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[name], value), name


def test_the_run_says_what_it_was_trained_in(tmp_path):
    options = {**SMALL["stndt"], "precision": "bf16", "updates": 3}
    fit(
        "sample:reach?trials=20",
        "stndt",
        options=options,
        heldout_resamples=1,
        run=tmp_path / "run",
    )
    assert fit_results.load(tmp_path / "run").config["precision"] == "bf16"


def test_without_a_compiler_the_option_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    problem = task_of("stndt", **SMALL["stndt"], compile=True)
    with pytest.raises(ConfigError, match=r"none of g\+\+, .* is on the PATH"):
        trained(problem)


def test_a_precision_that_is_not_there_is_refused():
    with pytest.raises(ConfigError, match="precision is 'half'; choose from: float32, bf16"):
        task_of("stndt", precision="half")
    with pytest.raises(ConfigError, match="netformer has no option 'precision'"):
        task_of("netformer", precision="bf16")


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("g++"), reason="no C++ compiler is here")
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_a_compiled_program_trains_as_a_traced_one_does(precision):
    options = {**SMALL["stndt"], **UNDROPPED, "precision": precision, "updates": 20}
    losses = []
    for compiled in (False, True):
        problem = task_of("stndt", **options, compile=compiled)
        losses.append([record["loss"] for record in trained(problem).history])
    assert losses[1] == pytest.approx(losses[0], rel=ROUNDING[precision])
