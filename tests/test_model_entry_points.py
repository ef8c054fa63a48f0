"""Models of other packages, loaded by entry point."""

import sys
from importlib import metadata

import pytest
from small_fits import imaging

import nwbdyn
from nwbdyn import models
from nwbdyn.errors import ConfigError, ResultsError
from nwbdyn.results import methods_text

SOURCE = '''
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from nwbdyn.models import base


@dataclass(frozen=True)
class MineConfig(base.Config):
    pass


class Mine(base.Model):
    """x(t + 1) = W x(t)."""

    quantities = frozenset({"dff"})
    target = base.NEXT
    form = "static"
    Config = MineConfig
    paper = "a test"

    def __init__(self, config, layout):
        super().__init__(config, layout)
        self.weight = torch.nn.Parameter(torch.zeros(layout.num_global, layout.num_global))

    @classmethod
    def windows(cls, config, layout):
        return base.WindowSpec(1)

    def forward(self, batch):
        return base.Output(batch.activity[:, -1:] @ self.weight.T)

    def loss(self, batch, output):
        return F.mse_loss(output.prediction[batch.valid], batch.target[batch.valid])

    def connectivity(self, session=None):
        return {"weight": self.weight.detach()}


NOT_A_MODEL = 3
'''


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A package outside nwbdyn with entry points in the group nwbdyn.models, on the path."""
    (tmp_path / "my_lab_models.py").write_text(SOURCE)
    record = tmp_path / "my_lab-1.0.dist-info"
    record.mkdir()
    (record / "METADATA").write_text("Metadata-Version: 2.1\nName: my-lab\nVersion: 1.0\n")
    (record / "entry_points.txt").write_text(
        "[nwbdyn.models]\nmine = my_lab_models:Mine\nnumber = my_lab_models:NOT_A_MODEL\n"
        "gone = my_lab_models:Gone\nnetformer = my_lab_models:Mine\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    metadata.MetadataPathFinder().invalidate_caches()
    yield
    sys.modules.pop("my_lab_models", None)


def test_a_model_of_another_package_is_fitted_by_name(installed):
    assert "mine" in models.names()
    fit = nwbdyn.fit(imaging(), "mine", epochs=1)
    assert fit.model == "mine"
    assert fit.metrics["baselines"]
    assert fit.versions["my-lab"] == "1.0"
    assert "my-lab 1.0" in methods_text.markdown(fit)


def test_only_a_model_of_another_package_names_a_package(installed):
    assert models.package_of("mine") == ("my-lab", "1.0")
    assert models.package_of("netformer") is None
    assert models.package_of("no such model") is None


def test_a_fit_whose_package_is_gone_names_what_to_install(installed, tmp_path, monkeypatch):
    fit = nwbdyn.fit(imaging(), "mine", epochs=1)
    path = nwbdyn.export(fit, tmp_path / "mine.nwb")
    monkeypatch.setattr(models, "_entry_points", dict)
    with nwbdyn.open_results(path) as opened:
        assert opened.connectivity.mean().shape == fit.connectivity.mean().shape
    with pytest.raises(ResultsError, match=r"'mine' is not installed here\. Install my-lab 1\.0"):
        nwbdyn.reproduce(path)


@pytest.mark.parametrize(
    ("right", "wrong", "message"),
    [
        ('{"weight": self', '{"weights": self', "connectivity of mine does not return weight;"),
        ('form = "static"', 'form = "dense"', "time_resolved of mine does not return weights;"),
        ("[:, -1:]", "[:, -1]", r"forward of mine predicts .* \(2, 6\); expected \(2, 1, 6\)"),
    ],
)
def test_what_the_form_needs_is_checked_before_training(
    installed, tmp_path, monkeypatch, right, wrong, message
):
    assert SOURCE.count(right) == 1
    (tmp_path / "my_lab_models.py").write_text(SOURCE.replace(right, wrong))
    with pytest.raises(ConfigError, match=message):
        nwbdyn.fit(imaging(), "mine", epochs=1, run=tmp_path / "run")
    assert not list(tmp_path.glob("run/history.jsonl"))


CANDIDATES = """
    @classmethod
    def candidates(cls, config, layout, num_windows):
        return tuple(MineConfig(epochs=1, size=size) for size in (0.0, 0.1))

    def __init__("""


def test_a_model_is_checked_with_options_that_it_leaves_to_validation(installed, tmp_path):
    source = SOURCE.replace("    pass", "    size: float | None = None", 1)
    source = source.replace("\n    def __init__(", CANDIDATES)
    source = source.replace("layout.num_global))", "layout.num_global) + config.size)")
    (tmp_path / "my_lab_models.py").write_text(source)
    fit = nwbdyn.fit(imaging(), "mine", epochs=1)
    assert len(fit.metrics["candidates"]) == 2


def test_listing_models_imports_no_package(installed):
    models.names()
    assert "my_lab_models" not in sys.modules


def test_a_model_of_this_package_wins_over_an_entry_point_of_its_name(installed):
    assert models.load("netformer").__module__ == "nwbdyn.models.netformer"


@pytest.mark.parametrize(
    ("name", "message"), [("number", "no subclass"), ("gone", "cannot be loaded")]
)
def test_an_entry_point_that_is_no_model_is_refused_by_name(installed, name, message):
    with pytest.raises(ConfigError, match=message):
        models.load(name)
