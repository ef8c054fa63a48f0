"""Trainings that are stopped, resumed, or fail; several of one model, one after the other."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_fits import imaging, interrupt_after, units

from nwbdyn.errors import FitError
from nwbdyn.fitting.task import FitTask, build_task
from nwbdyn.fitting.train_models import RunContext, train_seeds
from nwbdyn.results import run_directory
from nwbdyn.training.checkpoint import read_checkpoint
from nwbdyn.training.trainer import Trained, train

CPU = torch.device("cpu")
SMALL = {
    "netformer": {"preset": "paper", "history": 4, "embedding": 8},
    "synapsnet": {"preset": "paper", "hidden": 8, "embedding": 4},
    "stndt": {"context": 10, "layers": 1, "feedforward": 8, "batch_size": 8, "patience": 99},
}


def task_of(model: str, **options: object) -> FitTask:
    recording = units() if model == "stndt" else imaging()
    return build_task(recording, model, seed=0, options=options)


def trained(task: FitTask, folder: Path | None = None, *, seed: int = 0, **choices) -> Trained:
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    return train(
        task.model_class,
        task.config,
        task.layout,
        task.windows,
        seed=seed,
        device=CPU,
        folder=folder,
        **choices,
    )


def assert_same_weights(one: Trained, other: Trained) -> None:
    for name, value in other.model.state_dict().items():
        assert torch.equal(one.model.state_dict()[name], value), name


@pytest.mark.parametrize("model", SMALL)
@pytest.mark.parametrize("every", [1, 3])
def test_an_interrupted_training_resumes_to_the_same_weights(model, every, tmp_path):
    task = task_of(model, epochs=6, updates=None, validate_every=every, **SMALL[model])
    whole = trained(task, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        trained(task, tmp_path / "run", report=interrupt_after(4))
    assert read_checkpoint(tmp_path / "run")["epoch"] == 4
    resumed = trained(task, tmp_path / "run", resume=True)
    assert_same_weights(resumed, whole)
    assert len(run_directory.read_history(tmp_path / "run")) == 6


def test_a_checkpoint_of_another_seed_is_refused(tmp_path):
    task = task_of("netformer", epochs=1, **SMALL["netformer"])
    trained(task, tmp_path)
    with pytest.raises(FitError, match="is of seed 0, not 9"):
        trained(task, tmp_path, seed=9, resume=True)


def test_a_training_leaves_the_callers_random_numbers_alone():
    task = task_of("netformer", epochs=1, **SMALL["netformer"])
    torch.manual_seed(3)
    wanted = torch.rand(4)
    torch.manual_seed(3)
    trained(task)
    assert torch.equal(torch.rand(4), wanted)


def test_seeds_are_those_of_fits_of_their_own(tmp_path):
    task = task_of("synapsnet", updates=20, **SMALL["synapsnet"])
    each = train_seeds(task, [4, 2], RunContext(run=tmp_path))
    assert [one.seed for one in each] == [4, 2]
    for one in each:
        assert_same_weights(one, trained(task, seed=one.seed))
    assert (tmp_path / "seed-4" / run_directory.CHECKPOINT).exists()


def test_a_loss_that_is_not_finite_names_the_seed_and_the_other_seeds_are_trained(tmp_path):
    task = task_of("netformer", epochs=2, **SMALL["netformer"])
    seeds, kept = [0, 1, 2], RunContext(run=tmp_path, resume=True)
    (tmp_path / "seed-1").mkdir()
    wild = replace(task, config=replace(task.config, learning_rate=1e18))
    with pytest.raises(FitError, match=r"seed 1\)\. Fit again with a smaller step"):
        trained(wild, tmp_path / "seed-1", seed=1)
    with pytest.raises(FitError, match=r"seed 0\)\. Fit again with a smaller step"):
        train_seeds(wild, seeds, kept)
    states = [read_checkpoint(tmp_path / f"seed-{seed}") for seed in seeds]  # each was begun
    assert all(value.isfinite().all() for value in states[1]["best_weights"].values())
