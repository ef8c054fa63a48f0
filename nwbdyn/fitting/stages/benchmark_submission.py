"""What the Neural Latents Benchmark takes of a fit: rates for its trials, written and scored.

For a pair of train and test file every fitted model is trained once more, on the train file's train
and val trials together and for the share of the course after which validation chose its weights;
nothing is chosen a second time. The rates of the test trials go into one HDF5 file of the
benchmark's form and, where a targets file is at hand, are scored here.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from nwbdyn import nlb
from nwbdyn.data.splits import GAP, TRAIN
from nwbdyn.data.windows import Windows
from nwbdyn.errors import ConfigError
from nwbdyn.fitting.stages import benchmark
from nwbdyn.fitting.task import SESSION, FitTask
from nwbdyn.fitting.train_models import RunContext
from nwbdyn.nlb import submission
from nwbdyn.progress import Progress
from nwbdyn.recording import Recording
from nwbdyn.results import run_directory
from nwbdyn.training.trainer import Trained, train


@dataclass(frozen=True)
class Submission:
    """What the rates are made for; true where there is anything to do."""

    test: Recording | None  # the test file; None: the val trials, and nothing is trained again
    targets: Path | None  # HDF5 file of the benchmark's targets for this phase

    def __bool__(self) -> bool:
        return self.test is not None or self.targets is not None

    @property
    def asked(self) -> dict[str, Any]:
        """For the record of what was asked; empty where nothing was."""
        if not self:
            return {}
        return {
            "test": None if self.test is None else self.test.source.uri,
            "targets": None if self.targets is None else str(self.targets),
        }

    def check(self, problem: FitTask, run: Path | None) -> None:
        """Refuse what cannot be submitted, before anything is trained.

        Raises:
            ConfigError: a model or recording that the benchmark does not know, or nowhere to write.
            DataError: the test file is of another session.
            ResultsError: the targets cannot be read, or are of another data set.
        """
        if not self:
            return
        layout = benchmark.layout_of(problem)
        if not problem.co_smoothing or layout is None:
            raise ConfigError(
                f"{problem.name} on {problem.recording.source.name} predicts nothing that the "
                "Neural Latents Benchmark scores, which is held-out neurons in the trials of its "
                "own layouts. Leave out --targets, or fit stndt to a data set of the benchmark."
            )
        if run is None:
            raise ConfigError("The rates are written to the run directory; pass run=…")
        if self.test is not None:
            nlb.check_pair(problem.recording, self.test)
        if self.targets is not None:
            benchmark.read_targets(problem, self.targets)

    def submit(
        self, problem: FitTask, trained: Sequence[Trained], place: RunContext
    ) -> dict[str, Any]:
        """Write `submission.h5` into the run, and score it where there are targets.

        Args:
            trained: one model per seed; their rates are averaged.

        Returns:
            "phase" ("test" or "validation"), "file", "targets" and "scores" {metric: value}, the
            last two None without targets.
        """
        assert place.run is not None  # check
        if self.test is not None:
            trained = [_refitted(problem, member, place) for member in trained]
        place.report(Progress("submission", 0, 1, "files"))
        rates = benchmark.phase(problem, [member.model for member in trained], self.test)
        layout = benchmark.layout_of(problem)
        assert layout is not None
        name = submission.group_name(layout, problem.binned.bin_width)
        submission.write(place.run / run_directory.SUBMISSION, {name: rates}, overwrite=True)
        scores = None
        if self.targets is not None:
            scores = nlb.scores.score(benchmark.read_targets(problem, self.targets), rates)
        place.report(Progress("submission", 1, 1, "files"))
        return {
            "phase": "validation" if self.test is None else "test",
            "file": run_directory.SUBMISSION,
            "targets": None if self.targets is None else str(self.targets),
            "scores": scores,
        }


def _refitted(problem: FitTask, member: Trained, place: RunContext) -> Trained:
    """The same model, trained on every labelled trial of the train file."""
    split = problem.split
    labels = np.where(split.labels < GAP, TRAIN, GAP).astype(np.int8)
    aligned = problem.aligned
    windows = Windows(
        problem.binned,
        replace(split, labels=labels, rule=f"{split.rule}; all of them to train"),
        problem.spec,
        starts=None if aligned is None else aligned.starts,
        session=SESSION,
        device=problem.windows.device,
        target=problem.model_class.target,
        reach=problem.windows.reach,
    )
    return train(
        problem.model_class,
        problem.config,
        problem.layout,
        windows,
        seed=member.seed,
        device=windows.device,
        folder=place.folder(f"refit-{member.seed}"),
        resume=place.resume,
        until=member.best_fraction,
        report=place.report,
    )
