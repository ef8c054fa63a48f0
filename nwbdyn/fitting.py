"""From a recording to a Fit: train, predict, score beside baselines, read out.

What is decided before training is in `problem`, the loop in `training`, what a trained model says
in `readout`, its scores in `evaluation`. Choices are made on validation bins; test bins are scored
once, at the end.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nwbdyn import (
    baselines,
    evaluation,
    opening,
    provenance,
    readout,
    results,
    run_directory,
)
from nwbdyn.baselines import Baseline
from nwbdyn.errors import ConfigError, FitError
from nwbdyn.evaluation import Task
from nwbdyn.problem import Problem, pose
from nwbdyn.progress import Progress, Report, silent
from nwbdyn.recording import Note, Recording
from nwbdyn.results import Fit, Predictions
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
        asked = problem.described() | {"seed": seed, "seeds": members, "folds": folds}
        if run is not None:
            run_directory.prepare(run, resume=resume, overwrite=overwrite)
            if run_directory.is_started(run):
                _check_same(run, asked)
            if run_directory.is_complete(run):
                return results.load(run)
            run_directory.write_json(run, run_directory.CONFIG, run_directory.stamped(asked))
        trained = _train_members(problem, members, run=run, resume=resume, report=report)
        fitted = _answer(problem, trained, folds=folds, report=report)
        if folds is not None:
            choices: dict[str, Any] = {
                "seed": seed,
                "bin_width": bin_width,
                "epochs": epochs,
                "device": device,
                "options": options,
                "trials": trials,
                "covariates": covariates,
                "resume": resume,
                "report": report,
            }
            fitted = _with_folds(fitted, recording, folds, choices, run=run)
    if run is not None:
        results.write(fitted, run)
        fitted = replace(fitted, run=run)
    return fitted


def _train_members(
    problem: Problem, members: Sequence[int], *, run: Path | None, resume: bool, report: Report
) -> list[Trained]:
    """One trained model per seed."""
    trained = []
    for number, member in enumerate(members):
        folder = run
        if len(members) > 1:
            report(Progress("seeds", number, len(members), "fits", {"seed": member}))
        if run is not None and len(members) > 1:
            folder = run / f"seed-{member}"
            folder.mkdir(exist_ok=True)
        trained.append(
            train(
                problem.model_class,
                problem.config,
                problem.layout,
                problem.windows,
                seed=member,
                device=problem.windows.device,
                folder=folder,
                resume=resume,
                report=report,
            )
        )
    return trained


def _answer(
    problem: Problem, trained: Sequence[Trained], *, folds: int | None, report: Report
) -> Fit:
    """What the trained models say of the recording, and how well.

    With several seeds, parameters, history, embeddings and the time-resolved connectivity are those
    of the seed with the best validation loss.
    """
    windows, binned = problem.windows, problem.binned
    best = min(trained, key=lambda member: member.best)
    predictions = [readout.predict(member.model, windows) for member in trained]
    metrics = _metrics(problem, trained, predictions, report)
    report(Progress("connectivity", 0, len(trained), "models"))
    couplings = [readout.connectivity(member.model, windows) for member in trained]
    edges = readout.edges([c.mean().to_numpy() for c in couplings], couplings[0].neurons)
    report(Progress("connectivity", len(trained), len(trained), "models"))
    embeddings = best.model.embeddings()
    described = problem.described()
    seeds = [member.seed for member in trained]
    return Fit(
        model=problem.name,
        config=described["config"],
        binning=described["binning"],
        split=described["split"],
        history=best.history,
        metrics=metrics,
        predictions=Predictions(
            values=np.mean(predictions, axis=0),
            time=binned.time,
            bin_width=binned.bin_width,
            held_out=problem.held_out,
            labels=problem.split.labels,
            quantity=binned.quantity,
            horizon=problem.horizon,
            neurons=binned.neurons,
        ),
        connectivity=couplings[trained.index(best)],
        edges=edges,
        neurons=binned.neurons,
        source=problem.recording.source,
        session=_session(problem.recording),
        versions=provenance.versions(),
        seed=seeds[0],
        device=_named(windows.device),
        embeddings=None if embeddings is None else embeddings.cpu().numpy(),
        notes=(*problem.notes, *(Note("model", problem.name, n) for n in best.model.notes)),
        weights={name: _array(value) for name, value in best.model.state_dict().items()},
        environment=provenance.environment(
            seeds=seeds, folds=folds, threads=torch.get_num_threads()
        ),
    )


def _metrics(
    problem: Problem, trained: Sequence[Trained], predictions: Sequence[np.ndarray], report: Report
) -> dict[str, object]:
    """Scores of the mean prediction and of the baselines; of each seed; and of replaced maps."""
    task = Task(
        binned=problem.binned,
        split=problem.split,
        held_out=problem.held_out,
        horizon=problem.horizon,
        blocks=evaluation.blocks_of(
            problem.binned,
            problem.split,
            trials=problem.aligned is not None,
            context=problem.spec.context,
        ),
    )
    metrics = evaluation.evaluate(
        task, np.mean(predictions, axis=0), _baselines(problem, report), model=problem.name
    )
    if len(trained) > 1:
        metrics["seeds"] = {
            str(member.seed): evaluation.scores(task, prediction)
            for member, prediction in zip(trained, predictions, strict=True)
        }
    if problem.model_class.ablations:
        metrics["necessity"] = _necessity(problem, trained[0], task)
    return metrics


def _session(recording: Recording) -> dict[str, object]:
    """What an exported file says of the session, by value."""
    return {
        "session_id": recording.session_id,
        "identifier": recording.identifier,
        "session_start_time": recording.session_start_time,
        "session_description": recording.session_description,
        "subject": dict(recording.subject),
    }


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


def _named(device: torch.device) -> str:
    """The device in words: "cpu", or "cuda (…)" with the model of the card."""
    if device.type != "cuda":
        return device.type
    return f"cuda ({torch.cuda.get_device_name(device)})"


def _baselines(problem: Problem, report: Report) -> dict[str, Baseline]:
    """The simple methods that belong to the model's task, from the windows that the model has."""
    context = problem.spec.context
    if problem.co_smoothing:
        starts = readout.all_starts(problem.windows)
        return baselines.co_smoothing(
            problem.binned, problem.split, starts, context=context, report=report
        )
    return baselines.next_bin(problem.binned, problem.split, context=context, report=report)


def _necessity(problem: Problem, trained: Trained, task: Task) -> dict[str, Any]:
    """What the score loses on test when the model's attention maps are replaced, by what replaces.

    Near 0 means that the maps are not needed, and then they say little about coupling.
    """

    def score(maps: str | None = None) -> tuple[str, float]:
        prediction = readout.predict(trained.model, problem.windows, splits=["test"], maps=maps)
        return next(iter(evaluation.scores(task, prediction)["test"].items()))

    metric, learned = score()
    several = len(problem.windows.starts("test")) > 1
    replacements = [m for m in problem.model_class.ablations if several or m != "shuffled"]
    loss = {maps: learned - score(maps)[1] for maps in replacements}
    return {"metric": metric, "split": "test", "loss": loss}


def _array(tensor: torch.Tensor) -> np.ndarray:
    return np.ascontiguousarray(tensor.detach().cpu().numpy())


def _check_same(run: Path, asked: Mapping[str, object]) -> None:
    """Raise FitError unless the run in `run` was started with the same decisions."""
    started = run_directory.read_json(run, run_directory.CONFIG)
    wanted = run_directory.plain(run_directory.stamped(asked))
    difference = _first_difference(started, wanted)
    if difference is not None:
        name, before, now = difference
        raise FitError(
            f"The run in {run} was started with {name} = {before!r}, now it is {now!r}. Resume "
            "with the same choices, or pass --overwrite to start again."
        )


def _first_difference(before: Any, now: Any, name: str = "") -> tuple[str, Any, Any] | None:
    if isinstance(before, dict) and isinstance(now, dict):
        for key in [*before, *(key for key in now if key not in before)]:
            label = f"{name}.{key}" if name else key
            difference = _first_difference(before.get(key), now.get(key), label)
            if difference is not None:
                return difference
        return None
    return None if before == now else (name, before, now)


def _with_folds(
    fitted: Fit, recording: Recording, folds: int, choices: dict[str, Any], *, run: Path | None
) -> Fit:
    """The fit, with mean and spread of the test scores of `folds` fits on interleaved blocks."""
    report: Report = choices["report"]
    parts: list[dict[str, Any]] = []
    for number in range(folds):
        report(Progress("folds", number, folds, "folds"))
        folder = None if run is None else run / f"fold-{number}"
        resumed = choices["resume"] and folder is not None and run_directory.is_started(folder)
        part = fit(
            recording,
            fitted.model,
            fold=(number, folds),
            run=folder,
            **choices | {"resume": resumed},
        )
        parts.append(part.metrics)
    report(Progress("folds", folds, folds, "folds"))
    return replace(fitted, metrics=fitted.metrics | {"folds": evaluation.over_folds(parts)})
