"""Jobs over Ray: a real one on this machine leaves what one process would have left.

Ray runs in a process of its own, which the tests start as a person would.
"""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from nwbdyn import archive
from nwbdyn.cli import main
from nwbdyn.results import fit_results

no_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="ray is not installed: pip install nwbdyn[ray]"
)
QUICK = ["--epochs", "3", "--set", "history=4", "--set", "ridge=1e3", "--set", "batch_size=256"]
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "RAY_worker_niceness": "0"}  # workers give way by default


def nwbdyn(*arguments: object) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "nwbdyn", *map(str, arguments)],
        capture_output=True,
        text=True,
        env=os.environ | ENVIRONMENT,
        timeout=900,
    )
    if "timed out during startup" in done.stderr:
        pytest.skip("Ray waits 30 s for its own start, and this machine was too busy for that")
    return done


def assert_same_run(one: Path, other: Path) -> None:
    first, second = fit_results.load(one), fit_results.load(other)
    assert first.weights.keys() == second.weights.keys()
    for name, value in first.weights.items():
        np.testing.assert_array_equal(value, second.weights[name], err_msg=name)
    assert first.metrics == second.metrics
    assert first.config == second.config


@no_ray
def test_recordings_over_ray_end_as_in_one_process_and_failures_stay_alone(tmp_path):
    folder = tmp_path / "recordings"
    folder.mkdir()
    recording = archive.resolve("sample:cortex?neurons=6&duration=60")[0].path
    for name in ("a", "b"):
        (folder / f"{name}.nwb").write_bytes(recording.read_bytes())
    (folder / "broken.nwb").write_text("not a recording")
    common = ["fit", folder, "--model", "netformer", *QUICK]
    over_ray = nwbdyn(*common, "-o", tmp_path / "ray", "--engine", "ray")
    assert over_ray.returncode == 3, over_ray.stderr
    assert "broken.nwb" in over_ray.stdout
    assert "Configuration" not in over_ray.stdout  # of Ray's own, which goes before ours
    summary = json.loads((tmp_path / "ray" / "summary.json").read_text())
    assert [row["status"] for row in summary] == ["fitted", "fitted", "failed"]
    assert not (tmp_path / "ray" / "ray").exists()  # what Ray wrote for itself
    here = CliRunner().invoke(main, [*map(str, common), "-o", str(tmp_path / "here")])
    assert here.exit_code == 3, here.output
    for name in ("a", "b"):
        assert_same_run(tmp_path / "ray" / name, tmp_path / "here" / name)
    resumed = CliRunner().invoke(main, [*map(str, common), "-o", str(tmp_path / "ray"), "--resume"])
    assert resumed.exit_code == 3, resumed.output
    assert "fitted" in resumed.output  # what Ray began, one process can end


@no_ray
@pytest.mark.slow
@pytest.mark.parametrize("asha", [False, True])
def test_a_sweep_over_ray_takes_what_one_process_takes(asha, tmp_path):
    sweep = tmp_path / "sweep.yaml"
    sweep.write_text("grid: {learning_rate: [1e-2, 1e-6, 1e-7, 1e-8]}\n")
    common = ["fit", "sample:cortex?neurons=6&duration=60", "--model", "netformer", *QUICK]
    common += ["--epochs", "30", "--sweep", sweep]
    engine = ["--engine", "ray"]
    if asha:  # one after the other: what is stopped depends on who was there before
        engine += ["--asha", "--cpus-per-fit", str(os.cpu_count())]
    over_ray = nwbdyn(*common, "-o", tmp_path / "ray", *engine)
    assert over_ray.returncode == 0, over_ray.stderr
    here = CliRunner().invoke(main, [*map(str, common), "-o", str(tmp_path / "here")])
    assert here.exit_code == 0, here.output
    listed, alone = (
        fit_results.load(tmp_path / name).metrics["candidates"] for name in ("ray", "here")
    )
    assert [row["chosen"] for row in listed] == [True, False, False, False]
    if asha:
        assert any("of its course" in row.get("reason", "") for row in listed[1:])
    else:
        losses = [row["validation"] for row in alone]
        # here as one program, there one by one: float32 sums in another order
        assert [row["validation"] for row in listed] == pytest.approx(losses, rel=1e-3)


@no_ray
@pytest.mark.slow
def test_candidates_of_one_model_over_two_recordings_train_over_ray(tmp_path):
    folder = tmp_path / "recordings"
    folder.mkdir()
    for seed in (0, 1):
        path = archive.resolve(f"sample:cortex?neurons=6&duration=60&seed={seed}")[0].path
        (folder / f"day{seed}.nwb").write_bytes(path.read_bytes())
    sweep = tmp_path / "sweep.yaml"
    sweep.write_text("grid: {learning_rate: [1e-2, 1e-8], history: [2, 4]}\n")
    common = ["fit", folder, "--model", "netformer", "--joint", *QUICK, "--sweep", sweep]
    over_ray = nwbdyn(*common, "-o", tmp_path / "ray", "--engine", "ray")
    assert over_ray.returncode == 0, over_ray.stderr
    here = CliRunner().invoke(main, [*map(str, common), "-o", str(tmp_path / "here")])
    assert here.exit_code == 0, here.output
    for name in ("day0", "day1"):
        assert_same_run(tmp_path / "ray" / name, tmp_path / "here" / name)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--cluster", "auto"], "--engine ray"),
        (["--gpus-per-fit", "0.5"], "--engine ray"),
        (["--asha"], "--engine ray"),
        (["--engine", "ray", "--asha"], "--sweep"),
    ],
)
def test_options_of_an_engine_need_one(arguments, message):
    result = CliRunner().invoke(main, ["fit", "sample:cortex", "--model", "netformer", *arguments])
    assert result.exit_code == 2
    assert message in result.output
