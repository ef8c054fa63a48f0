"""Training killed at any moment: whoever resumes it ends with the weights of an unbroken run."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from small_fits import imaging

from nwbdyn.fitting.task import FitTask, build_task
from nwbdyn.results.run_directory import read_history
from nwbdyn.training.trainer import Trained, train

SEEDS = (0, 1)
PROGRAM = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import test_killed
test_killed.kill_many(Path({root!r}), {number})
"""


def problem() -> FitTask:
    torch.set_num_threads(1)
    options = {"history": 4, "embedding": 8, "epochs": 6, "ridge": 10.0, "dropout": 0.1}
    return build_task(imaging(4, 300), "netformer", seed=0, options=options)


def trained_in(folder: Path, task: FitTask, *, resume: bool = False) -> list[Trained]:
    trained = []
    for seed in SEEDS:
        own = folder / f"seed-{seed}"
        own.mkdir(parents=True, exist_ok=True)
        trained.append(
            train(
                task.model_class,
                task.config,
                task.layout,
                task.windows,
                seed=seed,
                device=torch.device("cpu"),
                folder=own,
                resume=resume,
            )
        )
    return trained


def kill_many(root: Path, number: int) -> None:
    """Train once, so that this process is warm; then fork it as often, to be killed in training."""
    task = problem()
    trained_in(root / "warm", task)
    begun = time.monotonic()
    trained_in(root / "0", task)
    length = time.monotonic() - begun
    random = np.random.default_rng(0)
    for k in range(1, number + 1):
        child = os.fork()
        if child == 0:
            trained_in(root / str(k), task)
            os._exit(0)
        time.sleep(random.uniform(0, length))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


@pytest.mark.parametrize("number", [5, pytest.param(100, marks=pytest.mark.slow)])
def test_a_training_killed_at_any_moment_resumes_to_the_same_weights(number, tmp_path):
    program = PROGRAM.format(tests=str(Path(__file__).parent), root=str(tmp_path), number=number)
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", program], check=True, env=environment)
    assert_resumed(tmp_path, number)


def assert_resumed(root: Path, number: int) -> None:
    """Every training that `kill_many` left in `root` goes on to the weights of an unbroken one."""
    task = problem()
    whole = trained_in(root / "0", task, resume=True)
    unbroken = trained_in(root / "unbroken", task)
    epochs = set()
    for k in range(number + 1):
        folder = root / str(k)
        before = trained_epochs(folder)
        epochs |= before
        resumed = whole if k == 0 else trained_in(folder, task, resume=True)
        for one, other in zip(resumed, unbroken, strict=True):
            for name, value in other.model.state_dict().items():
                assert torch.equal(one.model.state_dict()[name], value), (k, name, before)
        assert not list(folder.rglob("*.partial"))
    assert len(epochs) > 1, "every training was killed at the same place"


def trained_epochs(folder: Path) -> set[int]:
    """Epochs that the members of a killed training had left on disk."""
    return {len(read_history(folder / f"seed-{seed}")) for seed in SEEDS}
