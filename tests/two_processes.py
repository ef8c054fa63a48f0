"""One fit by as many processes as the first argument says, in float64; its numbers go to a file.

Run as a script: Fabric starts it again for every further process. With the word "joint" it is one
model over two recordings.
"""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from small_fits import LINEAR, imaging

from nwbdyn.data.pooling import PooledWindows
from nwbdyn.data.windows import Windows
from nwbdyn.fitting.task import FitTask, build_task
from nwbdyn.recording import Source
from nwbdyn.training import distributed
from nwbdyn.training.trainer import train
from nwbdyn.workflows.joint_task import JointTask, build_joint_task

UPDATES = 40
BATCH = 33  # windows; odd, so that shares are unequal
OPTIONS = LINEAR | {"history": 2, "batch_size": BATCH, "updates": UPDATES}
JOINT = {"context": 4, "hidden": 8, "batch_size": BATCH, "updates": UPDATES}  # of SynapsNet


def main(
    processes: int, path: Path, folder: Path | None = None, until: str = "", *, joint: bool = False
) -> None:
    torch.set_default_dtype(torch.float64)
    torch.use_deterministic_algorithms(True)
    team = distributed.init_process_group("cpu", processes)
    problem = fit_task(joint)

    def report(progress: object) -> None:
        if until and progress.done == int(until):  # type: ignore[attr-defined]
            raise KeyboardInterrupt

    trained = train(
        problem.model_class,
        problem.config,
        problem.layout,
        problem.windows,
        seed=0,
        device=torch.device("cpu"),
        folder=folder if team.is_rank_zero else None,
        resume=True,
        team=team,
        report=report,
    )
    if team.is_rank_zero:
        losses = [(record["loss"], record["validation"]) for record in trained.history]
        state = trained.model.state_dict()
        np.savez(path, losses=losses, **{name: value.numpy() for name, value in state.items()})


def fit_task(joint: bool) -> FitTask | JointTask:
    """The problem of one recording, or of two with some neurons of their own, in float64."""
    if not joint:
        problem = build_task(imaging(), "netformer", seed=0, options=OPTIONS)
        return replace(problem, windows=double(problem.windows))
    days = [
        replace(imaging(neurons, frames, seed), source=Source(f"{seed}.nwb", f"file:///{seed}"))
        for seed, (neurons, frames) in enumerate([(4, 300), (3, 240)])
    ]
    together = build_joint_task(days, "synapsnet", seed=0, options=JOINT)
    assert isinstance(together.windows, PooledWindows)
    each = [double(windows) for windows in together.windows.sessions]
    return replace(together, windows=PooledWindows(each))


def double(windows: Windows) -> Windows:
    windows = windows.to("cpu")
    for name, value in vars(windows).items():
        if isinstance(value, torch.Tensor) and value.dtype == torch.float32:
            setattr(windows, name, value.double())
    return windows


if __name__ == "__main__":
    arguments = [argument for argument in sys.argv[1:] if argument != "joint"]
    main(
        int(arguments[0]),
        Path(arguments[1]),
        *map(Path, arguments[2:3]),
        *arguments[3:4],
        joint="joint" in sys.argv,
    )
