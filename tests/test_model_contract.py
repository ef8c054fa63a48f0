"""The contract of every model; a fourth model is one file."""

import inspect
from dataclasses import is_dataclass

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from small import poisson_spikes, rois, units

from nwbdyn import fit, models
from nwbdyn.cli import main
from nwbdyn.connectivity.sums import FORMS
from nwbdyn.data import binning, splits
from nwbdyn.data.windows import Windows
from nwbdyn.errors import ConfigError
from nwbdyn.models import base
from nwbdyn.models.base import CO_SMOOTHING, NEXT, Layout, Model

TOY = '''
"""A toy: every neuron repeats itself, and hears the others through one matrix."""

import torch
from torch import nn
from torch.nn import functional as F

from nwbdyn.models import base


class Toy(base.Model):
    quantities = frozenset({"dff"})
    target = base.NEXT
    form = "static"
    Config = base.Config
    paper = "none"

    def __init__(self, config, layout):
        super().__init__(config, layout)
        self.weight = nn.Parameter(torch.zeros(layout.num_global, layout.num_global))

    @classmethod
    def windows(cls, config, layout):
        return base.WindowSpec(context=2)

    def forward(self, batch):
        newest = batch.activity[:, -1:]
        return base.Output(newest + newest @ self.weight.T)

    def loss(self, batch, output):
        return F.mse_loss(output.prediction[batch.valid], batch.target[batch.valid])

    def connectivity(self, session=None):
        return {"weight": self.weight.detach()}

MODEL = Toy
'''


def smooth_rois(num_frames: int = 240, num_rois: int = 4):
    rng = np.random.default_rng(0)
    data = np.zeros((num_frames, num_rois))
    for t in range(1, num_frames):
        data[t] = 0.8 * data[t - 1] + rng.normal(size=num_rois)
    return rois(data, np.arange(num_frames) / 4)


def spiking_units(num_units: int = 8, seconds: float = 30.0):
    return units(poisson_spikes(num_units, seconds), intervals=[(0.0, seconds)])


RECORDINGS = {"dff": smooth_rois, "counts": spiking_units}
CASES = [
    (name, quantity)
    for name in models.names()
    for quantity in RECORDINGS
    if quantity in models.load(name).quantities
]
every_case = pytest.mark.parametrize(("name", "quantity"), CASES)


def fit_task(name: str, quantity: str) -> tuple[Model, Windows]:
    """A model with its default options, and the windows of a small recording."""
    model_class = models.load(name)
    binned = binning.bin_recording(
        RECORDINGS[quantity](), bin_width=0.05 if quantity == "counts" else None
    )
    hold_out = model_class.target == CO_SMOOTHING
    held_in = splits.make(binned, seed=0, hold_out=hold_out, gap=0).held_in
    layout = Layout(
        neuron_ids={"0": tuple(range(binned.num_neurons))},
        held_in={"0": tuple(held_in.tolist())},
        bin_width=binned.bin_width,
        quantity=quantity,
    )
    config = model_class.configure(layout)
    spec = model_class.windows(config, layout)
    split = splits.make(binned, seed=0, hold_out=hold_out, gap=spec.context)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = model_class(config, layout)
    return model, Windows(binned, split, spec, target=model_class.target)


@pytest.mark.parametrize("name", models.names())
def test_a_model_says_what_it_is(name):
    model = models.load(name)
    assert issubclass(model, Model)
    assert model.quantities <= {"counts", "dff", "events", "deconvolved", "fluorescence"}
    assert model.target in (NEXT, CO_SMOOTHING)
    assert model.form in base.PARAMETERS
    assert model.form in FORMS
    assert is_dataclass(model.Config)
    assert issubclass(model.Config, base.Config)
    assert model.paper
    assert inspect.getdoc(model)
    assert model.missing_methods() == []


@every_case
def test_prediction_and_loss_have_the_agreed_shapes(name, quantity):
    model, windows = fit_task(name, quantity)
    batch = next(windows.batches("train", 3))
    model.initialise(windows.batches("train", 3))
    model.train()
    output = model(batch)
    assert output.prediction.shape == batch.target.shape
    assert quantity == "dff" or bool((output.prediction >= 0).all())
    loss = model.loss(batch, output)
    assert loss.shape == ()
    assert bool(torch.isfinite(loss))
    loss.backward()
    assert any(p.grad is not None and bool(p.grad.any()) for p in model.parameters())


@every_case
def test_evaluation_is_repeatable_and_windows_do_not_see_each_other(name, quantity):
    model, windows = fit_task(name, quantity)
    batch = next(windows.batches("train", 3))
    model.eval()
    with torch.no_grad():
        assert torch.equal(model(batch).prediction, model(batch).prediction)
        alone = next(windows.batches("train", 1))
        # The same sums in batches of another size: float32 rounding.
        together = model(batch).prediction[:1]
        torch.testing.assert_close(model(alone).prediction, together, rtol=1e-4, atol=1e-5)


@every_case
def test_the_model_never_looks_at_the_target(name, quantity):
    model, windows = fit_task(name, quantity)
    batch = next(windows.batches("train", 2))
    model.eval()
    hidden = base.Batch(**{**batch.__dict__, "target": torch.full_like(batch.target, torch.nan)})
    with torch.no_grad():
        assert torch.equal(model(batch).prediction, model(hidden).prediction)


@every_case
def test_all_hooks_run_in_the_order_of_a_training(name, quantity):
    model, windows = fit_task(name, quantity)
    model.initialise(windows.batches("train", 8))
    optimiser, scheduler = model.optimiser(10, 5)
    model.train()
    batch = next(windows.batches("train", 8, torch.Generator().manual_seed(0)))
    before = [parameter.detach().clone() for parameter in model.parameters()]
    for step in (1, 2):
        optimiser.zero_grad()
        model.loss(batch, model(batch)).backward()
        optimiser.step()
        model.after_update(step)
        if isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
            scheduler.step(1.0)
        elif scheduler is not None:
            scheduler.step()
    after = list(model.parameters())
    assert any(not torch.equal(a, b) for a, b in zip(before, after, strict=True))
    model.on_train_end(windows.batches("train", 8))


@every_case
def test_read_outs_are_detached_and_labelled_by_neuron(name, quantity):
    model, windows = fit_task(name, quantity)
    model.eval()
    batch = next(windows.batches("train", 3))
    num_neurons = batch.activity.shape[2]
    influence = model.influence(batch)
    assert influence.shape == (3, num_neurons, num_neurons)
    read = [*model.connectivity().values(), *model.time_resolved(batch).values(), influence]
    assert read
    assert not any(values.requires_grad for values in read)
    assert all(bool(torch.isfinite(values).all()) for values in read)
    assert all(len(values) == 3 for values in model.time_resolved(batch).values())
    embeddings = model.embeddings()
    assert embeddings is None or len(embeddings) == model.layout.num_global


@pytest.mark.parametrize(
    ("name", "quantity"), [case for case in CASES if models.load(case[0]).target == NEXT]
)
def test_influence_is_the_derivative_of_the_prediction(name, quantity):
    model, windows = fit_task(name, quantity)
    model.initialise(windows.batches("train", 8))
    model.eval()
    batch = next(windows.batches("train", 3))
    own, derived = model.influence(batch), Model.influence(model, batch)
    torch.testing.assert_close(own, derived, rtol=1e-3, atol=1e-5)
    assert not derived.requires_grad


@every_case
def test_a_state_that_is_saved_and_loaded_gives_the_same_predictions(name, quantity, tmp_path):
    model, windows = fit_task(name, quantity)
    torch.save(model.state_dict(), tmp_path / "weights")
    again, _ = fit_task(name, quantity)
    for parameter in again.parameters():
        parameter.data.zero_()
    again.load_state_dict(torch.load(tmp_path / "weights", weights_only=True))
    batch = next(windows.batches("train", 2))
    with torch.no_grad():
        expected = model.eval()(batch).prediction
        assert torch.equal(again.eval()(batch).prediction, expected)


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """A toy model's file in a folder of its own, beside the models that ship."""
    (tmp_path / "toy.py").write_text(TOY)
    monkeypatch.setattr(models, "__path__", [*models.__path__, str(tmp_path)])
    yield "toy"
    import sys

    sys.modules.pop("nwbdyn.models.toy", None)


def test_a_new_file_in_the_folder_is_a_model_that_can_be_fitted(toy):
    assert toy in models.names()
    fitted = fit(smooth_rois(), toy, epochs=2, device="cpu")
    assert fitted.model == toy
    matrix = fitted.connectivity.mean().to_numpy()
    assert matrix.shape == (4, 4)
    assert np.any(matrix)
    assert np.isfinite(fitted.metrics["model"]["test"]["r2"])
    one = np.eye(4, dtype=bool)
    shown = fitted.influence.mean().to_numpy()
    np.testing.assert_allclose(shown[~one], matrix[~one], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(shown[one], 1 + matrix[one], rtol=1e-4)


@pytest.mark.parametrize(
    ("left_out", "instead", "reported"),
    [
        ("def loss", "def lose", "Toy in .* does not define loss;"),
        ('paper = "none"', "", "Toy in .* does not define paper;"),
        ("base.NEXT", "base.CO_SMOOTHING", "Toy in .* does not define influence;"),
        ("MODEL = Toy", "", "names no model"),
        ('"static"', '"basis"', "the form 'basis'; expected one of: static, dense, gain"),
    ],
)
def test_a_model_that_is_not_whole_is_refused_before_it_is_trained(
    toy, tmp_path, left_out, instead, reported
):
    (tmp_path / "toy.py").write_text(TOY.replace(left_out, instead))
    with pytest.raises(ConfigError, match=reported):
        models.load(toy)


def test_the_command_line_offers_a_new_model_with_no_other_edit(toy):
    result = CliRunner().invoke(main, ["fit", "nothing.nwb", "--model", "toi"])
    assert result.exit_code == 2
    assert "toy" in result.output
