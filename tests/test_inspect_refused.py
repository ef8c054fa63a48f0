"""`inspect` proposes a command that `fit` takes, or says why there is none."""

import json

import numpy as np
import pytest
from click.testing import CliRunner, Result
from nwb_files import nwb, rois, traces, units
from small import poisson_spikes
from standin import StandIn

from nwbdyn.cli import main
from nwbdyn.data import limits


def inspect(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["inspect", *map(str, arguments)])


def imaging(path, num_frames: int) -> None:
    values = np.random.default_rng(0).normal(size=(num_frames, 5))
    with nwb(path) as file:
        traces(file, rois=rois(file), data=values)


def test_no_command_is_printed_for_a_recording_that_is_too_short_to_fit(tmp_path):
    imaging(tmp_path / "short.nwb", 40)
    page = inspect(tmp_path / "short.nwb")
    assert page.exit_code == 0
    assert "Fit it" not in page.stdout
    assert "Nothing to fit: No window of " in page.stdout
    document = json.loads(inspect(tmp_path / "short.nwb", "--json").stdout)
    assert document["recordings"][0]["fit"] is None
    arguments = ["fit", str(tmp_path / "short.nwb"), "--model", "netformer", "-o"]
    fitted = CliRunner().invoke(main, [*arguments, str(tmp_path / "run")])
    assert fitted.exit_code == 1
    imaging(tmp_path / "long.nwb", 4000)
    assert "Fit it" in inspect(tmp_path / "long.nwb").stdout


def test_no_command_is_printed_for_a_fit_that_memory_does_not_hold(tmp_path, monkeypatch):
    with nwb(tmp_path / "a.nwb") as file:
        units(file, spikes=[list(row) for row in poisson_spikes(6, 30.0, rate=4.0)])
    monkeypatch.setattr(limits, "memory", lambda: limits.Memory(10**6, "this container has"))
    page = inspect(tmp_path / "a.nwb").stdout
    assert "Fit it" not in page
    assert "this container has 0.001 GB" in " ".join(page.split())


@pytest.fixture
def standin(tmp_path, monkeypatch):
    monkeypatch.setenv("DANDI_NO_ET", "1")
    path = tmp_path / "archive/000001/sub-a/sub-a.nwb"
    path.parent.mkdir(parents=True)
    imaging(path, 4000)
    with StandIn(tmp_path / "archive") as server:
        yield server


def test_the_command_keeps_the_instance_that_was_named(standin):
    page = inspect("dandi:000001", "--instance", standin.api)
    assert page.exit_code == 0, page.output
    assert page.stdout.rstrip().endswith(f"--instance {standin.api}")
