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

from nwbdyn.learning import distributed
from nwbdyn.learning.problem import Problem, pose
from nwbdyn.learning.training import train
from nwbdyn.many.sessions import Joint, pose_jointly
from nwbdyn.recording import Source
from nwbdyn.tensors.pooling import PooledWindows
from nwbdyn.tensors.windows import Windows

UPDATES = 40
BATCH = 33  # windows; odd, so that shares are unequal
OPTIONS = LINEAR | {"history": 2, "batch_size": BATCH, "updates": UPDATES}
JOINT = {"context": 4, "hidden": 8, "batch_size": BATCH, "updates": UPDATES}  # of SynapsNet


def main(
    processes: int, path: Path, folder: Path | None = None, until: str = "", *, joint: bool = False
) -> None:
    torch.set_default_dtype(torch.float64)
    torch.use_deterministic_algorithms(True)
    team = distributed.join("cpu", processes)
    problem = posed(joint)

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
        folder=folder if team.leads else None,
        resume=True,
        team=team,
        report=report,
    )
    if team.leads:
        losses = [(record["loss"], record["validation"]) for record in trained.history]
        state = trained.model.state_dict()
        np.savez(path, losses=losses, **{name: value.numpy() for name, value in state.items()})


def posed(joint: bool) -> Problem | Joint:
    """The problem of one recording, or of two with some neurons of their own, in float64."""
    if not joint:
        problem = pose(imaging(), "netformer", seed=0, options=OPTIONS)
        return replace(problem, windows=double(problem.windows))
    days = [
        replace(imaging(neurons, frames, seed), source=Source(f"{seed}.nwb", f"file:///{seed}"))
        for seed, (neurons, frames) in enumerate([(4, 300), (3, 240)])
    ]
    together = pose_jointly(days, "synapsnet", seed=0, options=JOINT)
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
