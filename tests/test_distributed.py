"""One fit over several processes equals the fit of one."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
import two_processes
from click.testing import CliRunner
from small_fits import LINEAR, imaging

from nwbdyn import archive
from nwbdyn.cli import main
from nwbdyn.errors import ConfigError
from nwbdyn.fitting.fit import fit
from nwbdyn.fitting.stages import edge_tests
from nwbdyn.fitting.task import build_task
from nwbdyn.results import fit_results, run_directory
from nwbdyn.training.distributed import SINGLE_PROCESS, init_process_group, shard_batch

SCRIPT = Path(two_processes.__file__)

# Weights of 40 updates in float64, whose batches were added up in another order: each update errs
# by some 2**-53 of a sum of 33 windows, and updates add up.
ROUNDING = 40 * 33 * 2**-53


def processes(number: int, path: Path, *more: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, SCRIPT, str(number), path, *map(str, more)],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        timeout=600,
    )


def numbers(number: int, path: Path, *more: object) -> dict[str, np.ndarray]:
    done = processes(number, path, *more)
    assert done.returncode == 0, done.stderr
    with np.load(path) as saved:
        return dict(saved)


def assert_same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        np.testing.assert_allclose(
            value, other[name], rtol=0, atol=ROUNDING * max(1, np.abs(value).max(initial=0))
        )


@pytest.fixture(scope="module")
def together(tmp_path_factory) -> dict[str, np.ndarray]:
    """Training in two processes."""
    return numbers(2, tmp_path_factory.mktemp("two") / "two.npz")


@pytest.fixture
def as_in_the_script():
    """Undo the settings that `two_processes.main` makes in its process."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    torch.set_default_dtype(torch.float32)
    torch.use_deterministic_algorithms(False)


def test_two_processes_learn_what_one_learns(together, as_in_the_script, tmp_path):
    two_processes.main(1, tmp_path / "one.npz")
    alone = dict(np.load(tmp_path / "one.npz"))
    assert len(alone["losses"]) > 1
    assert_same(together, alone)


def test_two_processes_learn_one_model_of_two_recordings_as_one_does(as_in_the_script, tmp_path):
    together = numbers(2, tmp_path / "two.npz", "joint")
    two_processes.main(1, tmp_path / "one.npz", joint=True)
    alone = dict(np.load(tmp_path / "one.npz"))
    assert {"A.0", "A.1"} <= alone.keys()
    assert_same(together, alone)


@pytest.mark.slow
def test_two_processes_that_were_stopped_go_on_to_the_same_end(together, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    assert processes(2, tmp_path / "not.npz", run, 2).returncode != 0
    assert not (tmp_path / "not.npz").exists()
    resumed = numbers(2, tmp_path / "two.npz", run)
    for name, value in together.items():
        np.testing.assert_array_equal(resumed[name], value)


@pytest.mark.parametrize("size", [2, 3, 5])
def test_the_mean_of_all_shares_is_the_gradient_of_the_whole_batch(size):
    problem = build_task(imaging(), "netformer", seed=0, options=LINEAR)
    torch.manual_seed(0)
    model = problem.model_class(problem.config, problem.layout)
    model.initialise(problem.windows.batches("train", 32))
    batch = next(problem.windows.batches("train", 4))

    def gradient(loss):
        model.zero_grad()
        loss.backward()
        return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])

    whole = model.loss(batch, model(batch))
    parts, losses, windows = [], [], 0
    for rank in range(size):
        mine, weight = shard_batch(batch, rank, size, None)
        loss = model.loss(mine, model(mine)) * weight
        parts.append(gradient(loss))
        losses.append(float(loss.detach()))
        windows += mine.num_windows if weight else 0
    assert windows == 4
    assert np.mean(losses) == pytest.approx(float(whole.detach()), rel=1e-6)  # float32
    torch.testing.assert_close(torch.stack(parts).mean(dim=0), gradient(whole))


def test_one_process_needs_no_lightning():
    assert init_process_group("cpu") is SINGLE_PROCESS
    fit(imaging(), "netformer", epochs=1, options=LINEAR, device="cpu")
    assert not any(name.partition(".")[0] == "lightning" for name in sys.modules)


def test_more_gpus_than_there_are_is_one_line():
    if torch.cuda.device_count() >= 64:
        pytest.skip("there are as many")
    with pytest.raises(ConfigError, match="--devices 64"):
        init_process_group("cuda", 64)
    with pytest.raises(ConfigError, match="at least one"):
        init_process_group("cpu", 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--engine", "ray"], "--engine many models at once"), ([], "or --joint to fit one")],
)
def test_devices_train_one_model(arguments, message, tmp_path):
    path = archive.resolve("sample:cortex?neurons=6&duration=60")[0].path
    for name in ("a.nwb", "b.nwb"):
        (tmp_path / name).write_bytes(path.read_bytes())
    requested = ["fit", str(tmp_path), "--model", "netformer", "--devices", "2"]
    result = CliRunner().invoke(main, [*requested, *arguments, "-o", str(tmp_path / "run")])
    assert result.exit_code == 2
    assert message in result.output
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_fit_by_two_processes_is_written_and_told_once(tmp_path):
    path = archive.resolve("sample:cortex?neurons=6&duration=60")[0].path
    requested = ["fit", str(path), "--model", "netformer", "--epochs", "3", "--device", "cpu"]
    requested += [
        "--set",
        "preset=paper",
        "--set",
        "history=4",
        "--set",
        "ridge=1e3",
        "--devices",
        "2",
        "-o",
    ]
    command = [sys.executable, "-m", "nwbdyn", *requested, str(tmp_path / "run")]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600)
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    assert done.stdout.count("persistence") == 1
    assert done.stdout.splitlines()[-1] == str(tmp_path / "run")
    assert len(fit_results.load(tmp_path / "run").history) == 3
    again = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600)
    assert again.returncode == 1
    assert again.stderr.count("--overwrite") == 1


@pytest.mark.slow
def test_torchrun_and_slurm_start_the_processes_of_a_fit(tmp_path):
    requested = [
        "fit",
        "sample:cortex?neurons=6&duration=60",
        "--model",
        "netformer",
        "--device",
        "cpu",
    ]
    requested += ["--epochs", "3", "--set", "history=4", "--set", "ridge=1e3"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}

    def command(run: Path, *more: str) -> list[str]:
        return ["-m", "nwbdyn", *requested, *more, "-o", str(run)]

    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    subprocess.run(
        [*torchrun, *command(tmp_path / "torchrun")],
        check=True,
        capture_output=True,
        env=environment,
        timeout=600,
    )
    job = {"JOB_ID": "1", "NTASKS": "2", "NTASKS_PER_NODE": "2", "JOB_NAME": "fit", "NNODES": "1"}
    job |= {"NODELIST": "localhost", "STEP_ID": "0", "NODEID": "0"}
    tasks = [
        subprocess.Popen(
            [sys.executable, *command(tmp_path / "slurm", "--devices", "2")],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment
            | {f"SLURM_{name}": value for name, value in job.items()}
            | {"SLURM_PROCID": str(task), "SLURM_LOCALID": str(task)},
        )
        for task in range(2)
    ]
    message = [task.communicate(timeout=600) for task in tasks]
    assert [task.returncode for task in tasks] == [0, 0], message
    assert message[0][0].splitlines()[-1] == str(tmp_path / "slurm")
    assert message[1] == ("", "")
    one, other = (fit_results.load(tmp_path / name).weights for name in ("torchrun", "slurm"))
    for name, value in one.items():
        np.testing.assert_array_equal(value, other[name])


@pytest.mark.slow
def test_processes_that_are_interrupted_say_so_once(tmp_path):
    run = tmp_path / "run"
    requested = ["fit", "sample:cortex?neurons=6&duration=60", "--model", "synapsnet", "--device"]
    requested += ["cpu", "--devices", "2", "--set", "updates=100000", "--set", "patience=100000"]
    # Tests in the background ignore SIGINT, and so would what they start.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(
        [sys.executable, "-m", "nwbdyn", *requested, "-o", str(run)],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )
    signal.signal(signal.SIGINT, before)
    try:
        while not (run / run_directory.HISTORY).exists():
            assert process.poll() is None
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGINT)
        _, message = process.communicate(timeout=120)
    finally:
        with suppress(ProcessLookupError):  # both have ended
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 130
    assert message.count("go on with:") == 1
    assert run_directory.read_history(run)


@pytest.mark.slow
def test_processes_divide_the_refits_of_a_null(tmp_path):
    path = archive.resolve("sample:reach?trials=20")[0].path
    requested = ["fit", str(path), "--model", "stndt", "--set", "updates=6", "--device", "cpu"]
    requested += ["--null", "shift:3", "--set", "layers=1", "--set", "heads=1", "--seed", "3"]
    requested += ["--set", "causal_mask_ratio=0.2", "--set", "context=20", "--draws", "1"]
    made = {}
    for devices in ("1", "2"):
        run = tmp_path / devices
        command = [sys.executable, "-m", "nwbdyn", *requested, "--devices", devices, "-o", str(run)]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600)
        assert done.returncode == 0, done.stderr
        folder = run / run_directory.REFITS
        made[devices] = {file.name: np.load(file) for file in sorted(folder.glob("*.npy"))}
    assert len(made["1"]) == 3 + 2 * edge_tests.HALF_PAIRS
    assert made["1"].keys() == made["2"].keys()
    for name, matrix in made["1"].items():
        # Float32, in programs of other numbers of members.
        np.testing.assert_allclose(made["2"][name], matrix, rtol=1e-3, atol=1e-5)
