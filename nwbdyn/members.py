"""The models that one fit trains: the options that validation picks, one per seed, one uncoupled.

Each trains in a folder of its own inside the run, so that an interrupted fit goes on where it was.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from nwbdyn import readout
from nwbdyn.models.base import BaseConfig
from nwbdyn.problem import Problem
from nwbdyn.progress import Progress, Report, silent
from nwbdyn.training import Trained, train


@dataclass(frozen=True)
class Workplace:
    """Where a fit keeps what it trains, whether it goes on with what is there, and who watches."""

    run: Path | None = None  # the run directory; None keeps everything in memory
    resume: bool = False
    report: Report = silent

    def folder(self, name: str) -> Path | None:
        """A folder of the run, made; None without a run."""
        if self.run is None:
            return None
        (self.run / name).mkdir(exist_ok=True)
        return self.run / name


def candidates(problem: Problem) -> tuple[BaseConfig, ...]:
    """The Configs that validation is to choose from; one where the model leaves nothing open."""
    num_windows = len(problem.windows.starts("train"))
    return problem.model_class.candidates(problem.config, num_windows)


def left_open(problem: Problem, configs: Sequence[BaseConfig]) -> list[str]:
    """Names of the options in which the candidates differ from what was asked."""
    asked = asdict(problem.config)
    tried = [asdict(config) for config in configs]
    return [name for name in asked if any(config[name] != asked[name] for config in tried)]


def settle(problem: Problem, configs: Sequence[BaseConfig], seed: int, place: Workplace) -> Problem:
    """The problem with the candidate that does best on validation."""
    if len(configs) == 1:
        return replace(problem, config=configs[0])
    losses = []
    for number, config in enumerate(configs):
        place.report(Progress("choosing", number, len(configs), "options"))
        folder = place.folder(f"choice-{number}")
        losses.append(_train(problem, config, seed, folder, place).best)
    place.report(Progress("choosing", len(configs), len(configs), "options"))
    return replace(problem, config=configs[int(np.argmin(losses))])


def train_each(problem: Problem, seeds: Sequence[int], place: Workplace) -> list[Trained]:
    """One trained model per seed."""
    trained = []
    for number, seed in enumerate(seeds):
        folder = place.run
        if len(seeds) > 1:
            place.report(Progress("seeds", number, len(seeds), "fits", {"seed": seed}))
            folder = place.folder(f"seed-{seed}")
        trained.append(_train(problem, problem.config, seed, folder, place))
    return trained


def predict_uncoupled(problem: Problem, seed: int, place: Workplace) -> np.ndarray | None:
    """(num_bins, N) predictions of the same model, seed and data, fitted with coupling off.

    None for a model that has no such option, or where it was switched off by hand.
    """
    if not getattr(problem.config, "coupling", False):
        return None
    config = replace(problem.config, coupling=False)  # type: ignore[call-arg]
    place.report(Progress("without coupling", 0, 1, "fits"))
    folder = place.folder("without-coupling")
    trained = _train(problem, config, seed, folder, place)
    place.report(Progress("without coupling", 1, 1, "fits"))
    return readout.predict(trained.model, problem.windows)


def _train(
    problem: Problem, config: BaseConfig, seed: int, folder: Path | None, place: Workplace
) -> Trained:
    return train(
        problem.model_class,
        config,
        problem.layout,
        problem.windows,
        seed=seed,
        device=problem.windows.device,
        folder=folder,
        resume=place.resume,
        report=place.report,
    )
