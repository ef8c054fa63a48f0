"""What the Neural Latents Benchmark takes of a fit: rates for its trials, written and scored.

For a pair of train and test file every fitted model is trained once more, on the train file's train
and val trials together and for the share of the course after which validation chose its weights;
nothing is chosen a second time. The rates of the test trials go into one HDF5 file of the
benchmark's form and, where a targets file is at hand, are scored here.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from nwbdyn import benchmark, nlb, run_directory
from nwbdyn.errors import ConfigError
from nwbdyn.nlb import submission
from nwbdyn.problem import SESSION, Problem
from nwbdyn.progress import Progress, Report
from nwbdyn.recording import Recording
from nwbdyn.splits import GAP, TRAIN
from nwbdyn.training import Trained, train
from nwbdyn.windows import Windows


def check(problem: Problem, test: Recording | None, targets: Path | None, run: Path | None) -> None:
    """Refuse what cannot be submitted, before anything is trained.

    Raises:
        ConfigError: a model or recording that the benchmark does not know, or nowhere to write.
        DataError: the test file is of another session.
        ResultsError: the targets cannot be read, or are of another data set.
    """
    layout = benchmark.layout_of(problem)
    if not problem.co_smoothing or layout is None:
        raise ConfigError(
            f"{problem.name} on {problem.recording.source.name} predicts nothing that the Neural "
            "Latents Benchmark scores, which is held-out neurons in the trials of its own layouts. "
            "Leave out --targets, or fit stndt to a data set of the benchmark."
        )
    if run is None:
        raise ConfigError("The rates are written to the run directory; pass run=…")
    if test is not None:
        nlb.check_pair(problem.recording, test)
    if targets is not None:
        benchmark.read_targets(problem, targets)


def submit(
    problem: Problem,
    trained: Sequence[Trained],
    *,
    test: Recording | None,
    targets: Path | None,
    run: Path,
    resume: bool,
    report: Report,
) -> dict[str, Any]:
    """Write `submission.h5` into the run, and score it where there are targets.

    Args:
        trained: one model per seed; their rates are averaged.
        test: the test file. None: the validation phase, in which nothing is trained again.
        targets: HDF5 file of the benchmark's targets for this phase.
        resume: go on with an interrupted training.

    Returns:
        "phase" ("test" or "validation"), "file", "targets" and "scores" {metric: value}, the last
        two None without targets.
    """
    models = [member.model for member in trained]
    if test is not None:
        models = [
            _refitted(problem, member, run=run, resume=resume, report=report).model
            for member in trained
        ]
    report(Progress("submission", 0, 1, "files"))
    rates = benchmark.phase(problem, models, test)
    layout = benchmark.layout_of(problem)
    assert layout is not None
    name = submission.group_name(layout, problem.binned.bin_width)
    submission.write(run / run_directory.SUBMISSION, {name: rates}, overwrite=True)
    scores = None
    if targets is not None:
        scores = nlb.scores.score(benchmark.read_targets(problem, targets), rates)
    report(Progress("submission", 1, 1, "files"))
    return {
        "phase": "validation" if test is None else "test",
        "file": run_directory.SUBMISSION,
        "targets": None if targets is None else str(targets),
        "scores": scores,
    }


def _refitted(
    problem: Problem, member: Trained, *, run: Path, resume: bool, report: Report
) -> Trained:
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
    )
    folder = run / f"refit-{member.seed}"
    folder.mkdir(exist_ok=True)
    return train(
        problem.model_class,
        problem.config,
        problem.layout,
        windows,
        seed=member.seed,
        device=windows.device,
        folder=folder,
        resume=resume,
        until=member.best_share,
        report=report,
    )
