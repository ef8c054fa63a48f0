"""The submission to the Neural Latents Benchmark: rates for its trials, written and scored.

For a pair of train and test file every fitted model is trained once more, on the train file's train
and val trials together and for the share of the course after which validation chose its weights;
nothing is chosen a second time. The rates of the test trials go into one HDF5 file of the
benchmark's form and, where a targets file is at hand, are scored here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from nwbdyn import nlb
from nwbdyn.data.splits import GAP, TRAIN
from nwbdyn.data.windows import Windows
from nwbdyn.errors import ConfigError
from nwbdyn.fitting.stage import FitInputs, FitState, Stage, StageResult
from nwbdyn.fitting.stages import benchmark
from nwbdyn.fitting.task import SESSION, FitTask
from nwbdyn.fitting.train_models import RunContext
from nwbdyn.nlb import submission
from nwbdyn.progress import Progress
from nwbdyn.recording import Note, Recording
from nwbdyn.request import FitRequest
from nwbdyn.results import run_directory
from nwbdyn.results.sections.benchmark import Submission
from nwbdyn.results.sections.seed_mean import SeedMean
from nwbdyn.training.baseline_start import keep_share
from nwbdyn.training.trainer import Trained, train

UNUSED_TEST = "the benchmark does not score this model on this layout; it is not used"


@dataclass(frozen=True)
class BenchmarkSubmission(Stage):
    """Section "submission": rates in the benchmark's form, and their scores here.

    A test file that the benchmark cannot score this fit on is left out, with a note.
    """

    test: Recording | None  # the test file; None: the val trials, and nothing is trained again
    targets: Path | None  # HDF5 file of the benchmark's targets for this phase
    unused: bool  # a test file was given, and there is nothing to submit

    refused_jointly: ClassVar[Mapping[str, str]] = {"targets": "the benchmark scores one session"}

    @property
    def record(self) -> Mapping[str, Any]:
        """Address of the test file and name of the targets file."""
        if self.test is None and self.targets is None:
            return {}
        return {
            "test": None if self.test is None else self.test.source.uri,
            "targets": None if self.targets is None else self.targets.name,
        }

    @classmethod
    def plan(cls, request: FitRequest, task: FitTask, inputs: FitInputs) -> Self | None:
        """None without a test file and without targets.

        Raises:
            ConfigError: a model or recording that the benchmark does not know, or nowhere to write.
            DataError: the test file is of another session.
            ResultsError: the targets cannot be read, or are of another data set.
        """
        layout = benchmark.layout_of(task) if task.co_smoothing else None
        test = inputs.test_recording if layout is not None else None
        targets = None if request.tests.targets is None else Path(request.tests.targets)
        if test is None and targets is None:
            unused = inputs.test_recording is not None
            return cls(None, None, unused=True) if unused else None
        if layout is None:
            raise ConfigError(
                f"{task.name} on {task.recording.source.name} predicts nothing that the Neural "
                "Latents Benchmark scores, which is held-out neurons in the trials of its own "
                "layouts. Leave out --targets, or fit stndt to a data set of the benchmark."
            )
        if request.output.run is None:
            raise ConfigError("The rates are written to the run directory; pass run=…")
        if test is not None:
            nlb.check_pair(task.recording, test)
        if targets is not None:
            benchmark.read_targets(task, targets)
        return cls(test, targets, unused=False)

    def run(self, state: FitState, ctx: RunContext) -> StageResult:
        """Write `submission.h5` into the run, and score it if there are targets."""
        if self.unused:
            note = Note("unused-test-file", state.fit.model, UNUSED_TEST)
            return StageResult(notes=(note,))
        task = state.task
        layout = benchmark.layout_of(task)
        assert ctx.run is not None  # plan
        assert layout is not None
        averaged = SeedMean.from_metrics(state.fit.metrics)
        seeds = state.request.seeds if averaged is None else averaged.seeds
        trained = [member for member in state.trained if member.seed in seeds]
        if self.test is not None:
            trained = [_refitted(task, member, ctx) for member in trained]
        ctx.report(Progress("submission", 0, 1, "files"))
        rates = benchmark.phase(task, [member.model for member in trained], self.test)
        name = submission.group_name(layout, task.binned.bin_width)
        submission.write(ctx.run / run_directory.SUBMISSION, {name: rates}, overwrite=True)
        scores = None
        if self.targets is not None:
            scores = nlb.scores.score(benchmark.read_targets(task, self.targets), rates)
        ctx.report(Progress("submission", 1, 1, "files"))
        section = Submission(
            phase="validation" if self.test is None else "test",
            file=run_directory.SUBMISSION,
            targets=None if self.targets is None else self.targets.name,
            scores=scores,
        )
        sources = () if self.test is None else (self.test.source,)
        return StageResult((section,), sources=sources)


def _refitted(problem: FitTask, member: Trained, ctx: RunContext) -> Trained:
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
    refitted = train(
        problem.model_class,
        problem.config,
        problem.layout,
        windows,
        seed=member.seed,
        device=windows.device,
        folder=ctx.folder(f"refit-{member.seed}"),
        resume=ctx.resume,
        until=member.best_fraction,
        report=ctx.report,
    )
    keep_share(refitted.model, member.model)
    return refitted
