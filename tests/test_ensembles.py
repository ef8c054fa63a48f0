"""Ensembles: members of one program end like separate fits, stopped and resumed included."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_fits import imaging, interrupt_after, units

from nwbdyn.data.windows import Windows
from nwbdyn.errors import FitError
from nwbdyn.fitting.task import FitTask, build_task
from nwbdyn.models.base import Model
from nwbdyn.results import run_directory
from nwbdyn.training.batched import BatchedModel, train_batched
from nwbdyn.training.checkpoint import read_checkpoint
from nwbdyn.training.trainer import Trained, train

CPU = torch.device("cpu")
NETFORMER = {"history": 4, "embedding": 8, "layer_norm": True, "raw_values": False}
SMALL = {
    "netformer": {"preset": "paper", "history": 4, "embedding": 8},
    "synapsnet": {"preset": "paper", "hidden": 8, "embedding": 4},
    "stndt": {"context": 10, "layers": 1, "feedforward": 8, "batch_size": 8, "patience": 99},
}
TENSORS = ("_values", "_inputs", "_mean", "_sd", "_covariates")


@pytest.fixture
def double():
    """Models and their sums in float64, so that nothing but a wrong step can tell fits apart."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def posed(model: str, recording=None, **options: object) -> FitTask:
    recording = recording or (units() if model == "stndt" else imaging())
    return build_task(recording, model, seed=0, options=options)


def windows_in_double(problem: FitTask, moved: int = 0) -> Windows:
    """The problem's windows in float64; `moved` shifts them in time, as a surrogate does."""
    values = np.roll(problem.binned.values, moved, axis=0)
    binned = replace(problem.binned, values=values)
    windows = Windows(binned, problem.split, problem.windows.spec)
    for name in TENSORS:
        setattr(windows, name, getattr(windows, name).double())
    return windows


def each_alone(problem: FitTask, members: list[BatchedModel]) -> list[Trained]:
    return [
        train(
            problem.model_class,
            member.config,
            problem.layout,
            member.windows,
            seed=member.seed,
            device=CPU,
            folder=member.folder,
        )
        for member in members
    ]


def together(problem: FitTask, members: list[BatchedModel], **choices: object) -> list[Trained]:
    return train_batched(
        problem.model_class, problem.layout, members, device=CPU, stack=True, **choices
    )


def state(model: Model) -> dict[str, torch.Tensor]:
    return {name: value for name, value in model.state_dict().items() if value.numel()}


def assert_equal_fits(found: list[Trained], wanted: list[Trained], relative: float = 1e-8) -> None:
    for one, other in zip(found, wanted, strict=True):
        assert one.seed == other.seed
        assert one.best_epoch == other.best_epoch
        assert one.best_fraction == other.best_fraction
        assert len(one.history) == len(other.history)
        for record, expected in zip(one.history, other.history, strict=True):
            for name in record.keys() - {"seconds"}:
                assert record[name] == pytest.approx(expected[name], rel=relative), name
        for name, value in state(other.model).items():
            largest = float(value.abs().max())
            torch.testing.assert_close(
                state(one.model)[name], value, rtol=0, atol=relative * largest, msg=name
            )


# --- members equal separate fits ---


@pytest.mark.parametrize(
    ("model", "options", "changes"),
    [
        (
            "netformer",
            NETFORMER | {"updates": 200, "dropout": 0.1, "ridge": 100.0},
            [{}, {"learning_rate": 0.01, "dropout": 0.4}, {"weight_decay": 0.1, "ridge": 5.0}],
        ),
        (
            "netformer",
            SMALL["netformer"]
            | {"updates": 200, "schedule": "cyclic", "loss": "gaussian", "baseline": True},
            [{}, {"clip_norm": 0.1}, {"patience": 1, "learning_rate": 0.03}],
        ),
        (
            "synapsnet",
            SMALL["synapsnet"] | {"updates": 200},
            [{}, {"learning_rate": 0.02, "l1": 0.01}, {"weight_decay": 0.3, "clip_norm": None}],
        ),
        (
            "synapsnet",
            SMALL["synapsnet"] | {"updates": 200, "coupling": False},
            [{}, {"weight_decay": 0.3}],
        ),
        (
            "stndt",
            SMALL["stndt"] | {"updates": 200, "heads": 2},
            [{}, {"learning_rate": 0.01, "warmup": 0.3, "weight_decay": 0.1, "clip_norm": 0.5}],
        ),
        (
            "stndt",
            SMALL["stndt"]
            | {"updates": 200, "contrast": "none", "attend_back": 0, "attend_forward": -1}
            | {"mask_mode": "timestep", "mask_span": 4, "mask_span_start": 0.2},
            [{}, {"patience": 1, "learning_rate": 0.03}],
        ),
        (
            "stndt",
            SMALL["stndt"] | {"updates": 200, "contrast": "prediction", "causal_mask_ratio": 0.3},
            [{}, {"contrast_weight": 0.5, "start_at_mean": False}],
        ),
    ],
)
def test_200_updates_of_a_member_are_those_of_its_own_fit(double, model, options, changes):
    problem = posed(model, **options)
    windows = windows_in_double(problem)
    members = [
        BatchedModel(replace(problem.config, **change), windows, seed=3 + k)
        for k, change in enumerate(changes)
    ]
    wanted = each_alone(problem, members)
    assert wanted[0].history[-1]["updates"] == 200 or "patience" in wanted[0].history[-1]
    assert_equal_fits(together(problem, members), wanted)


@pytest.mark.parametrize("model", ["netformer", "synapsnet"])
def test_members_on_windows_of_their_own_equal_their_own_fits(double, model):
    problem = posed(model, updates=200, **SMALL[model])
    members = [
        BatchedModel(problem.config, windows_in_double(problem, moved), seed=0)
        for moved in (0, 40, 90)
    ]
    found = together(problem, members)
    assert_equal_fits(found, each_alone(problem, members))
    first, second = (state(one.model) for one in found[:2])
    assert any(not torch.equal(first[name], second[name]) for name in first)


def test_co_smoothing_without_held_out_neurons_is_stacked_too(double):
    problem = posed("stndt", **{**SMALL["stndt"], "layers": 2}, updates=30)
    split = replace(problem.split, held_in=np.ones(12, dtype=bool))
    layout = replace(problem.layout, held_in=dict.fromkeys(problem.layout.held_in, (True,) * 12))
    problem = replace(problem, split=split, layout=layout)
    windows = windows_in_double(problem)
    members = [BatchedModel(problem.config, windows, seed) for seed in range(2)]
    assert_equal_fits(together(problem, members), each_alone(problem, members))


def test_counts_are_stacked_too(double):
    problem = posed("netformer", units(), updates=60, batch_size=64)
    windows = windows_in_double(problem)
    members = [BatchedModel(problem.config, windows, seed) for seed in range(2)]
    assert_equal_fits(together(problem, members), each_alone(problem, members))


def test_one_member_stops_early_and_the_others_go_on(double):
    problem = posed("netformer", **NETFORMER, epochs=12, patience=12)
    windows = windows_in_double(problem)
    members = [
        BatchedModel(replace(problem.config, **change), windows, seed=1)
        for change in ({}, {"patience": 1, "learning_rate": 0.05}, {"updates": 50}, {"epochs": 3})
    ]
    found = together(problem, members)
    assert [len(one.history) for one in found[2:]] == [4, 3]  # 17 updates an epoch
    assert len(found[1].history) < len(found[0].history) == 12
    assert found[2].history[-1]["updates"] == 50
    assert_equal_fits(found, each_alone(problem, members))


def test_members_that_cannot_share_a_program_are_trained_all_the_same(double):
    problem = posed("netformer", **NETFORMER, epochs=2)
    windows = windows_in_double(problem)
    members = [
        BatchedModel(replace(problem.config, batch_size=size), windows, seed)
        for seed, size in enumerate((16, 32, 16))
    ]
    assert_equal_fits(together(problem, members), each_alone(problem, members))


def test_what_does_not_stack_trains_one_member_after_another():
    problem = posed("synapsnet", **SMALL["synapsnet"], decoder="gru", batch_size=128, updates=10)
    members = [BatchedModel(problem.config, problem.windows, seed) for seed in range(2)]
    found = together(problem, members)
    for one, other in zip(found, each_alone(problem, members), strict=True):
        for name, value in state(other.model).items():
            assert torch.equal(state(one.model)[name], value)


def test_a_stack_leaves_the_callers_random_numbers_alone():
    problem = posed("netformer", epochs=1)
    torch.manual_seed(3)
    wanted = torch.rand(4)
    torch.manual_seed(3)
    together(problem, [BatchedModel(problem.config, problem.windows, seed) for seed in range(2)])
    assert torch.equal(torch.rand(4), wanted)


# --- stopped and resumed ---


def in_folders(problem: FitTask, root, number: int, **changes: object) -> list[BatchedModel]:
    members = []
    for seed in range(number):
        folder = root / f"seed-{seed}"
        folder.mkdir(parents=True, exist_ok=True)
        config = replace(problem.config, **changes)
        members.append(BatchedModel(config, problem.windows, seed, folder))
    return members


@pytest.mark.parametrize("model", SMALL)
@pytest.mark.parametrize("every", [1, 3])
def test_an_interrupted_stack_resumes_to_the_same_weights(model, every, tmp_path):
    problem = posed(model, epochs=6, updates=None, validate_every=every, **SMALL[model])
    whole = together(problem, in_folders(problem, tmp_path / "whole", 3))
    members = in_folders(problem, tmp_path / "run", 3)
    with pytest.raises(KeyboardInterrupt):
        together(problem, members, report=interrupt_after(4))
    assert [read_checkpoint(member.folder)["epoch"] for member in members] == [4, 4, 4]
    resumed = together(problem, members, resume=True)
    for one, other, member in zip(resumed, whole, members, strict=True):
        for name, value in state(other.model).items():
            assert torch.equal(state(one.model)[name], value), name
        assert len(run_directory.read_history(member.folder)) == 6


def test_either_way_of_training_goes_on_where_the_other_was_stopped(double, tmp_path):
    problem = posed("netformer", **NETFORMER, epochs=6, dropout=0.2, ridge=10.0)
    problem = replace(problem, windows=windows_in_double(problem))
    whole = each_alone(problem, in_folders(problem, tmp_path / "whole", 2))
    for first, second in ((True, False), (False, True)):
        members = in_folders(problem, tmp_path / f"run-{first}", 2)
        ways = [
            {"device": CPU, "stack": stack, "resume": resume}
            for stack, resume in ((first, False), (second, True))
        ]
        with pytest.raises(KeyboardInterrupt):
            train_batched(
                problem.model_class,
                problem.layout,
                members,
                report=interrupt_after(3),
                **ways[0],
            )
        resumed = train_batched(problem.model_class, problem.layout, members, **ways[1])
        assert_equal_fits(resumed, whole)


def test_a_checkpoint_of_a_member_is_no_larger_than_that_of_its_own_fit(tmp_path):
    problem = posed("netformer", epochs=2)
    each_alone(problem, in_folders(problem, tmp_path / "alone", 1))
    together(problem, in_folders(problem, tmp_path / "stack", 8))
    sizes = [
        (tmp_path / name / "seed-0" / "checkpoint.pt").stat().st_size for name in ("alone", "stack")
    ]
    assert sizes[1] == pytest.approx(sizes[0], rel=0.05)


# --- what fails ---


def test_a_member_whose_loss_is_not_finite_is_named_and_the_others_are_completed(tmp_path):
    problem = posed("netformer", **NETFORMER, epochs=4)
    members = in_folders(problem, tmp_path, 3)
    wild = replace(problem.config, learning_rate=1e18)
    members[1] = replace(members[1], config=wild)
    with pytest.raises(FitError, match=r"seed 1\)\. Lower learning_rate"):
        together(problem, members)
    checkpoints = [read_checkpoint(member.folder) for member in members]
    assert [state["epoch"] for state in checkpoints] == [4, 0, 4]
    assert all(value.isfinite().all() for value in checkpoints[1]["best_weights"].values())
    wanted = each_alone(problem, [replace(members[0], folder=None)])
    for name, value in wanted[0].model.state_dict().items():
        torch.testing.assert_close(checkpoints[0]["best_weights"][name], value)


def test_members_that_all_stop_in_their_first_epoch_say_why():
    problem = posed("synapsnet", updates=100, learning_rate=1e18, clip_norm=None, l1=0.0)
    members = [BatchedModel(problem.config, problem.windows, seed=k) for k in range(2)]
    with pytest.raises(FitError, match="Lower learning_rate"):
        together(problem, members)


def test_a_checkpoint_of_another_seed_is_refused(tmp_path):
    problem = posed("netformer", epochs=1)
    members = in_folders(problem, tmp_path, 2)
    together(problem, members)
    swapped = [replace(member, seed=9 - member.seed) for member in members]
    with pytest.raises(FitError, match="is of seed 0, not 9"):
        together(problem, swapped, resume=True)
