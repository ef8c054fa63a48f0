"""The registry of models is the folder."""

import subprocess
import sys

import pytest

from nwbdyn import models
from nwbdyn.errors import ConfigError


def test_an_unknown_model_is_named_beside_those_that_are_there():
    with pytest.raises(ConfigError) as refusal:
        models.load("netfromer")
    listed = ", ".join(models.names())
    assert str(refusal.value) == (
        f"No model named 'netfromer'; did you mean netformer? Choose from: {listed}."
    )


def test_the_contract_and_private_parts_are_not_models(tmp_path, monkeypatch):
    (tmp_path / "_layers.py").write_text("")
    monkeypatch.setattr(models, "__path__", [*models.__path__, str(tmp_path)])
    assert not {"base", "_layers"} & set(models.names())


def test_listing_the_models_imports_no_torch():
    program = (
        "import sys; from nwbdyn import models; print(models.names()); assert 'torch' not in "
        "sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
