"""From a recording to a Fit: the one function that a person calls, and how it is resumed.

What is decided before training is in `problem`, the loop in `training`, and what trained models say
and how well in `summary`.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nwbdyn import (
    benchmark,
    evaluation,
    held_out,
    opening,
    readout,
    results,
    run_directory,
    splits,
    submitting,
)
from nwbdyn.errors import ConfigError
from nwbdyn.models.base import BaseConfig
from nwbdyn.problem import Problem, pose
from nwbdyn.progress import Progress, Report, silent
from nwbdyn.recording import Note, Recording
from nwbdyn.results import Fit
from nwbdyn.summary import summarise
from nwbdyn.training import Trained, train

DEVICES = ("auto", "cpu", "cuda")


def fit(
    recording: Recording | str,
    model: str,
    *,
    seed: int = 0,
    seeds: int = 1,
    bin_width: float | None = None,
    epochs: int | None = None,
    device: str = "auto",
    options: Mapping[str, object] = {},
    trials: str | None = None,
    covariates: Sequence[str] = (),
    fold: tuple[int, int] | None = None,
    folds: int | None = None,
    draws: int = 1,
    test_recording: Recording | str | None = None,
    targets: Path | str | None = None,
    run: Path | str | None = None,
    resume: bool = False,
    overwrite: bool = False,
    report: Report = silent,
) -> Fit:
    """Fit a model to a recording and score it beside its baselines.

    Args:
        recording: a recording, or an address that `nwbdyn.open` takes.
        model: a model's name, e.g. "netformer".
        seed: of the weights, the order of batches and the draw of held-out neurons.
        seeds: number of fits, with seeds seed, seed + 1, …; predictions and couplings are averaged.
        bin_width: seconds. Default: traces keep their frames; spikes take the model's own width, or
            the Neural Latents Benchmark's in its layouts.
        epochs: passes over the training windows, at most; overrides the model's own length.
        device: "cpu", "cuda", or "auto" = cuda where there is one.
        options: fields of the model's Config, and `preset` where it has presets.
        trials: name of the interval table whose rows are the trials. A co-smoothing model aligns
            its windows to them; for any model they decide the split, and windows stay inside one.
        covariates: names of behavioural signals that the model and its baselines may use.
        fold: (k, K): test on every K-th block, from the k-th on, instead of on the last 15 %.
        folds: K: also fit K folds (one seed each), and add mean and spread of their test scores.
        draws: K: for a co-smoothing model, also fit K - 1 further draws of held-out neurons, and
            add mean and spread of their test scores; one draw says as much of its neurons as of the
            model, five are a fair mean. Not where the file says which neurons are held out.
        test_recording: the test file that belongs to a train file of the Neural Latents Benchmark.
            The model is trained once more, on train and val trials, and its rates for the test
            trials are written to `run` as the benchmark's `submission.h5`. Without a layout of
            the benchmark, or with a model that predicts the next bin, it is left out, with a note.
        targets: file of the benchmark's targets, to score these rates here; without a test file
            those for the val trials.
        run: run directory to write while fitting; None keeps everything in memory.
        resume: go on with the interrupted run in `run`; a finished one is loaded.
        overwrite: replace an earlier run in `run`.
        report: told how far training, baselines and folds are.

    Returns:
        The Fit, also written to `run` if that is given.

    Raises:
        ConfigError: an unknown model, option, device or fold.
        DataError: a recording that this model cannot be fitted to.
        FitError: training failed, or `resume` found another fit.
        ResultsError: `run` is occupied.
    """
    run = Path(run) if run is not None else None
    members = _members(seed, seeds)
    if draws < 1:
        raise ConfigError(f"draws is {draws}; at least 1 draw of held-out neurons is needed.")
    training_length = {} if epochs is None else {"epochs": epochs, "updates": None}
    with ExitStack() as files:
        if isinstance(recording, str):
            recording = files.enter_context(opening.open(recording))
        problem = pose(
            recording,
            model,
            seed=seed,
            bin_width=bin_width,
            options={**options, **training_length},
            trials=trials,
            covariates=covariates,
            fold=fold,
            device=_device(device),
        )
        paired = problem.co_smoothing and benchmark.layout_of(problem) is not None
        test = _opened(test_recording, files) if paired else None
        submitted = test is not None or targets is not None
        extra: dict[str, Any] = {}
        targets = None if targets is None else Path(targets)
        if submitted:
            submitting.check(problem, test, targets, run)
            extra = {
                "test": None if test is None else test.source.uri,
                "targets": None if targets is None else str(targets),
            }
        drawn = draws > 1 and problem.co_smoothing
        if drawn and splits.stated_held_out(problem.binned.neurons.table) is not None:
            drawn = False
        if drawn:
            extra["draws"] = draws
        candidates = _candidates(problem)
        if len(candidates) > 1:
            extra["by_validation"] = _left_open(problem, candidates)
        else:
            problem = replace(problem, config=candidates[0])
        asked = problem.described() | {"seed": seed, "seeds": members, "folds": folds} | extra
        if run is not None:
            run_directory.prepare(run, resume=resume, overwrite=overwrite)
            if run_directory.is_started(run):
                run_directory.check_same(run, asked)
            if run_directory.is_complete(run):
                return results.load(run)
            run_directory.write_json(run, run_directory.CONFIG, run_directory.stamped(asked))
        problem = _settled(problem, candidates, seed, run=run, resume=resume, report=report)
        trained = _train_members(problem, members, run=run, resume=resume, report=report)
        without = _without_coupling(problem, seed, run=run, resume=resume, report=report)
        fitted = summarise(problem, trained, without, folds=folds, report=report)
        if extra:
            fitted = replace(fitted, environment=fitted.environment | {"asked": extra})
        if submitted:
            assert run is not None
            scored = submitting.submit(
                problem,
                trained,
                test=test,
                targets=targets,
                run=run,
                resume=resume,
                report=report,
            )
            fitted = replace(fitted, metrics=fitted.metrics | {"submission": scored})
        if test_recording is not None and test is None:
            reason = "the benchmark does not ask this model about this layout; it is not used"
            fitted = _noted(fitted, "unused-test-file", reason)
        if draws > 1 and not drawn:
            reason = "the file says which neurons are held out, or the model holds out none"
            fitted = _noted(fitted, "one-draw", f"{draws} draws were asked for; {reason}")
        choices: dict[str, Any] = {
            "bin_width": bin_width,
            "epochs": epochs,
            "device": device,
            "options": options,
            "trials": trials,
            "covariates": covariates,
            "resume": resume,
            "report": report,
        }
        if folds is not None:
            fitted = _with_folds(fitted, recording, folds, choices | {"seed": seed}, run=run)
        if drawn:
            choices |= {"seeds": seeds, "fold": fold}
            fitted = _with_draws(fitted, recording, draws, choices, run=run)
    if run is not None:
        results.write(fitted, run)
        fitted = replace(fitted, run=run)
    return fitted


def _opened(recording: Recording | str | None, files: ExitStack) -> Recording | None:
    """A recording, opened until `files` close where it is an address."""
    if isinstance(recording, str):
        return files.enter_context(opening.open(recording))
    return recording


def _candidates(problem: Problem) -> tuple[BaseConfig, ...]:
    num_windows = len(problem.windows.starts("train"))
    return problem.model_class.candidates(problem.config, num_windows)


def _left_open(problem: Problem, candidates: Sequence[BaseConfig]) -> list[str]:
    """Names of the options in which the candidates differ from what was asked."""
    asked = asdict(problem.config)
    tried = [asdict(config) for config in candidates]
    return [name for name in asked if any(config[name] != asked[name] for config in tried)]


def _settled(
    problem: Problem,
    candidates: Sequence[BaseConfig],
    seed: int,
    *,
    run: Path | None,
    resume: bool,
    report: Report,
) -> Problem:
    """The problem with the candidate that does best on validation."""
    if len(candidates) == 1:
        return problem
    losses = []
    for number, config in enumerate(candidates):
        report(Progress("choosing", number, len(candidates), "options"))
        folder = _inside(run, f"choice-{number}")
        losses.append(_train(problem, config, seed, folder, resume, report).best)
    report(Progress("choosing", len(candidates), len(candidates), "options"))
    return replace(problem, config=candidates[int(np.argmin(losses))])


def _train_members(
    problem: Problem, members: Sequence[int], *, run: Path | None, resume: bool, report: Report
) -> list[Trained]:
    """One trained model per seed."""
    trained = []
    for number, member in enumerate(members):
        folder = run
        if len(members) > 1:
            report(Progress("seeds", number, len(members), "fits", {"seed": member}))
            folder = _inside(run, f"seed-{member}")
        trained.append(_train(problem, problem.config, member, folder, resume, report))
    return trained


def _without_coupling(
    problem: Problem, seed: int, *, run: Path | None, resume: bool, report: Report
) -> np.ndarray | None:
    """Predictions of the same model, seed and data, fitted with coupling off.

    None for a model that has no such option, or where it was switched off by hand.
    """
    if not getattr(problem.config, "coupling", False):
        return None
    config = replace(problem.config, coupling=False)  # type: ignore[call-arg]
    report(Progress("without coupling", 0, 1, "fits"))
    folder = _inside(run, "without-coupling")
    trained = _train(problem, config, seed, folder, resume, report)
    report(Progress("without coupling", 1, 1, "fits"))
    return readout.predict(trained.model, problem.windows)


def _train(
    problem: Problem,
    config: BaseConfig,
    seed: int,
    folder: Path | None,
    resume: bool,
    report: Report,
) -> Trained:
    return train(
        problem.model_class,
        config,
        problem.layout,
        problem.windows,
        seed=seed,
        device=problem.windows.device,
        folder=folder,
        resume=resume,
        report=report,
    )


def _inside(run: Path | None, name: str) -> Path | None:
    """A folder of the run, made; None without a run."""
    if run is None:
        return None
    (run / name).mkdir(exist_ok=True)
    return run / name


def _members(seed: int, seeds: int) -> list[int]:
    if seeds < 1:
        raise ConfigError(f"seeds is {seeds}; at least 1 fit is needed.")
    return list(range(seed, seed + seeds))


def _device(name: str) -> torch.device:
    if name not in DEVICES:
        raise ConfigError(f"No device named {name!r}. Choose from: {', '.join(DEVICES)}.")
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("No CUDA device is available here. Pass --device cpu or auto.")
    if name == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", torch.cuda.current_device())


def _noted(fitted: Fit, code: str, reason: str) -> Fit:
    return replace(fitted, notes=(*fitted.notes, Note(code, fitted.model, reason)))


def _with_folds(
    fitted: Fit, recording: Recording, folds: int, choices: dict[str, Any], *, run: Path | None
) -> Fit:
    """The fit, with mean and spread of the test scores of `folds` fits on interleaved blocks."""
    parts = [
        _part(fitted, recording, "folds", k, folds, choices | {"fold": (k, folds)}, run=run)
        for k in range(folds)
    ]
    return replace(fitted, metrics=fitted.metrics | {"folds": evaluation.over_folds(parts)})


def _with_draws(
    fitted: Fit, recording: Recording, draws: int, choices: dict[str, Any], *, run: Path | None
) -> Fit:
    """The fit, with mean and spread of the test scores over draws of held-out neurons."""
    step = choices["seeds"]
    parts = [fitted.metrics] + [
        _part(
            fitted,
            recording,
            "draws",
            k,
            draws,
            choices | {"seed": fitted.seed + k * step},
            run=run,
        )
        for k in range(1, draws)
    ]
    return replace(fitted, metrics=fitted.metrics | {"draws": held_out.over_draws(parts)})


def _part(
    fitted: Fit,
    recording: Recording,
    stage: str,
    number: int,
    total: int,
    choices: dict[str, Any],
    *,
    run: Path | None,
) -> dict[str, Any]:
    """The metrics of one fit among several of a kind, kept in `fold-<k>` or `draw-<k>`."""
    report: Report = choices["report"]
    report(Progress(stage, number, total, stage))
    folder = None if run is None else run / f"{stage.removesuffix('s')}-{number}"
    resumed = choices["resume"] and folder is not None and run_directory.is_started(folder)
    part = fit(recording, fitted.model, run=folder, **choices | {"resume": resumed})
    report(Progress(stage, number + 1, total, stage))
    return part.metrics
