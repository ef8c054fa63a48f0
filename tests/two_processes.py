"""One fit by as many processes as the first argument says, in float64; its numbers go to a file.

Run as a script: Fabric starts it again for every further process.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from test_fitting import LINEAR, imaging

from nwbdyn.learning import distributed
from nwbdyn.learning.problem import pose
from nwbdyn.learning.training import train

UPDATES = 40
BATCH = 33  # windows; odd, so that shares are unequal


def main(processes: int, path: Path, folder: Path | None = None, until: str = "") -> None:
    torch.set_default_dtype(torch.float64)
    torch.use_deterministic_algorithms(True)
    team = distributed.join("cpu", processes)
    options = LINEAR | {"history": 2, "batch_size": BATCH, "updates": UPDATES}
    problem = pose(imaging(), "netformer", seed=0, options=options)
    windows = problem.windows.to("cpu")
    for name, value in vars(windows).items():
        if isinstance(value, torch.Tensor) and value.dtype == torch.float32:
            setattr(windows, name, value.double())

    def report(progress: object) -> None:
        if until and progress.done == int(until):  # type: ignore[attr-defined]
            raise KeyboardInterrupt

    trained = train(
        problem.model_class,
        problem.config,
        problem.layout,
        windows,
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


if __name__ == "__main__":
    arguments = sys.argv[1:]
    main(int(arguments[0]), Path(arguments[1]), *map(Path, arguments[2:3]), *arguments[3:4])
