"""The pipeline of a fit: task, checks, training, scores, stages.

The pipeline knows no stage: which there are is listed in `fitting.stages`.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from nwbdyn import opening, streaming
from nwbdyn.errors import ConfigError
from nwbdyn.fitting import memory_check, sweep_space, train_models
from nwbdyn.fitting.assemble import assemble_fit, score_fit
from nwbdyn.fitting.model_options import training_length
from nwbdyn.fitting.stage import FitInputs, FitState, Stage
from nwbdyn.fitting.task import FitTask, build_task, log_important
from nwbdyn.fitting.train_models import RunContext, TrainingExecutor
from nwbdyn.models.base import BaseConfig
from nwbdyn.nwb.results import exportable
from nwbdyn.progress import Report, silent
from nwbdyn.recording import Recording
from nwbdyn.request import FitRequest
from nwbdyn.results import fit_results, run_directory, run_lock
from nwbdyn.results.fit_results import Fit
from nwbdyn.training import distributed, pretrained

DEVICES = ("auto", "cpu", "cuda")


def run(
    request: FitRequest,
    *,
    recording: Recording | str,
    stages: Sequence[type[Stage]],
    test_recording: Recording | str | None = None,
    executor: TrainingExecutor | None = None,
    report: Report = silent,
) -> Fit:
    """Fit a recording to a request; arguments and errors as for `nwbdyn.fit`.

    Args:
        stages: every stage that there is, in the order in which those that apply run.
    """
    request, ctx = start(request, executor, report)
    if ctx.team is not distributed.SINGLE_PROCESS and (
        test_recording or request.tests.targets or executor
    ):
        raise ConfigError(
            "Several devices train one model; they take no test file, no targets and no engine."
        )
    with ExitStack() as files:
        recording = opened(recording, files)
        test = None if test_recording is None else opened(test_recording, files)
        is_fold = request.data.fold is not None  # a fold repeats what the whole fit warned of
        warns = ctx.team.is_rank_zero and not is_fold
        if not is_fold:
            recording = exportable.noted(recording)
        if warns:  # before anything is refused
            log_important(recording, recording.notes)
        refit = partial(
            run, recording=recording, stages=stages, executor=executor, report=ctx.report
        )
        inputs = FitInputs(recording, refit, test)
        task = task_of(request, recording, device_of(request, ctx))
        streaming.check_unchanged()  # all of the recording has been read
        if warns:
            log_important(recording, task.notes[len(recording.notes) :])
        planned = [kind.plan(request, task, inputs) for kind in stages]
        configs = train_models.candidates(task, task.tried)
        if len(configs) == 1:
            task = replace(task, config=configs[0])
        chosen = [stage for stage in planned if stage is not None]
        decisions = described(request, task, configs)
        for stage in chosen:
            decisions |= stage.record
        if not (ctx.resume and ctx.run is not None and run_directory.is_complete(ctx.run)):
            memory_check.check([task], seeds=request.validation.seeds)
        finished = open_run_once(decisions, ctx, files, request)
        if finished is not None:
            return fit_results.load(finished)
        selected = train_models.select_candidate(task, configs, request.validation.seed, ctx)
        task = selected.problem
        trained = train_models.train_seeds(task, request.seeds, ctx, first=selected.trained)
        scored = score_fit(task, trained, report=ctx.report)
        fit = assemble_fit(task, trained, scored, request, report=ctx.report)
        fit = with_decisions(fit, decisions, selected.table)
        state = FitState(request, task, tuple(trained), scored, fit)
        for stage in chosen:
            state = replace(state, fit=stage.run(state, ctx))
        return written(state.fit, ctx)


def start(
    request: FitRequest, executor: TrainingExecutor | None, report: Report
) -> tuple[FitRequest, RunContext]:
    """Check the request, resolve what it reads from files, and join the processes that train.

    Returns:
        The request with its sweep as a list of candidates, and with the options and the bin width
        of the run that it starts from; and the context of this process.
    """
    request.check()
    compute, output = request.compute, request.output
    group = distributed.init_process_group(compute.device, compute.devices, compute.nodes)
    run = output.run if group.is_rank_zero else None
    report = report if group.is_rank_zero else silent
    if request.model_options.sweep is not None:
        points = sweep_space.points(request.model_options.sweep)
        request = request.with_keywords(sweep={"list": list(points)})
    ctx = RunContext(run, resume=output.resume, report=report, engine=executor, team=group)
    return request.with_keywords(run=run), ctx


def device_of(request: FitRequest, ctx: RunContext) -> torch.device:
    """The device on which this process trains."""
    return ctx.team.device or device_called(request.compute.device)


def task_of(request: FitRequest, recording: Recording, device: torch.device) -> FitTask:
    """The task that a request makes of a recording."""
    keywords, loaded = task_keywords(request)
    return replace(build_task(recording, request.model, device=device, **keywords), adopted=loaded)


def task_keywords(request: FitRequest) -> tuple[dict[str, Any], pretrained.Pretrained | None]:
    """The keywords of `build_task` in a request, and the earlier fit that it starts from."""
    data, model = request.data, request.model_options
    loaded = None if model.init_from is None else pretrained.read(model.init_from, request.model)
    options = {**model.options, **training_length(model.epochs, model.options)}
    bin_width = data.bin_width
    if loaded is not None:
        options = {**loaded.options, **options}
        bin_width = bin_width or loaded.bin_width
    sweep: Any = model.sweep
    keywords = {
        "seed": request.validation.seed,
        "options": options,
        "among": ({},) if sweep is None else sweep["list"],
        "data": replace(data, bin_width=bin_width),
    }
    return keywords, loaded


def described(request: FitRequest, task: Any, configs: Sequence[BaseConfig]) -> dict[str, Any]:
    """The values that identify a fit: the content of config.json without the stages.

    Args:
        task: a FitTask or a JointTask.
        configs: the candidates among which validation chooses.
    """
    sweep: Any = request.model_options.sweep
    decisions = task.described() | {
        "request": request.to_json(),
        "seed": request.validation.seed,
        "seeds": request.seeds,
    }
    if sweep is not None:
        decisions["sweep"] = sweep["list"]
    if task.adopted is not None:
        decisions["adopted"] = task.adopted.asked
    if len(configs) > 1:
        decisions["by_validation"] = train_models.open_options(task, configs)
    return decisions


def open_run_once(
    decisions: dict[str, Any], ctx: RunContext, files: ExitStack, request: FitRequest
) -> Path | None:
    """Take the run directory for this fit; return it where this very fit is complete already.

    Args:
        files: releases the run directory when it closes.
    """

    def complete() -> Path | None:
        if ctx.run is None:
            return None
        files.enter_context(run_lock.run_lock(ctx.run, resume=ctx.resume, report=ctx.report))
        overwrite = request.output.overwrite
        ended = run_directory.open_run(ctx.run, decisions, resume=ctx.resume, overwrite=overwrite)
        return ctx.run if ended else None

    return ctx.team.broadcast_from_rank0(complete)


def with_decisions(fit: Fit, decisions: dict[str, Any], candidates: Sequence[Any]) -> Fit:
    """The fit with what was decided beside its task, and with the candidates of a selection."""
    extra = {
        name: decisions[name]
        for name in decisions
        if name not in ("model", "config", "binning", "split", "source", "request", "seed", "seeds")
    }
    if extra:
        fit = replace(fit, environment=fit.environment | {"asked": extra})
    if candidates:
        fit = replace(fit, metrics=fit.metrics | {"candidates": list(candidates)})
    return fit


def written(fit: Fit, ctx: RunContext) -> Fit:
    """The fit, written to the run directory if there is one."""
    if ctx.run is None:
        return fit
    fit_results.write(fit, ctx.run)
    return replace(fit, run=ctx.run)


def opened(recording: Recording | str, files: ExitStack) -> Recording:
    """A recording, opened until `files` close where it is an address."""
    if isinstance(recording, str):
        return files.enter_context(opening.open(recording))
    return recording


def device_called(name: str) -> torch.device:
    """The device called "cpu", "cuda" or "auto"; ConfigError if there is none of that name."""
    if name not in DEVICES:
        raise ConfigError(f"No device named {name!r}. Choose from: {', '.join(DEVICES)}.")
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("No CUDA device is available here. Pass --device cpu or auto.")
    if name == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", torch.cuda.current_device())
