"""The pipeline of a fit: task, checks, training, scores, stages.

A fit of one recording and a joint fit of several take the same way: a joint task has several
sessions, and each of them gets a Fit of its own from the same models. The pipeline knows no stage:
which there are is listed in `fitting.stages`.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from nwbdyn import opening, streaming
from nwbdyn.baselines.ladder import Gain
from nwbdyn.errors import ConfigError
from nwbdyn.fitting import joint_run, memory_check, model_check, own_part, sweep_space, train_models
from nwbdyn.fitting.assemble import assemble_fit, score_fit
from nwbdyn.fitting.model_options import training_length
from nwbdyn.fitting.stage import FitInputs, FitState, Stage
from nwbdyn.fitting.task import FitTask, build_task, log_important
from nwbdyn.fitting.train_models import RunContext, TrainingExecutor, TrainingTask
from nwbdyn.models.base import BaseConfig
from nwbdyn.nwb.results import exportable
from nwbdyn.progress import Progress, Report, silent
from nwbdyn.recording import Recording
from nwbdyn.request import FitRequest, option_of
from nwbdyn.results import fit_results, run_directory, run_lock
from nwbdyn.results.fit_results import Fit
from nwbdyn.statistics import states
from nwbdyn.training import distributed, pretrained
from nwbdyn.training.trainer import Trained

DEVICES = ("auto", "cpu", "cuda")
_IN_EVERY_FIT = (  # decisions that a Fit holds in fields of their own
    *("model", "config", "binning", "split", "source", "request", "seed", "seeds"),
    *("neuron_id", "sessions"),  # of a joint fit: in its "joint"
)

BuildTask = Callable[[Sequence[Recording], FitRequest, torch.device], TrainingTask]


@dataclass(frozen=True)
class TrainedTask:
    """A task whose models are trained, with the stages that follow."""

    request: FitRequest
    task: TrainingTask
    trained: tuple[Trained, ...]  # one model per seed
    stages: tuple[Stage, ...]
    decisions: dict[str, Any]  # the content of config.json
    candidates: tuple[dict[str, Any], ...]  # see `train_models.select_candidate`
    gain: Gain | None  # of an own part on top of a core, see `own_part`


def task_of_one(
    recordings: Sequence[Recording], request: FitRequest, device: torch.device
) -> FitTask:
    """The task that a request makes of the only recording."""
    (recording,) = recordings
    keywords, loaded = task_keywords(request)
    return replace(build_task(recording, request.model, device=device, **keywords), adopted=loaded)


def run(
    request: FitRequest,
    *,
    recordings: Sequence[Recording | str],
    stages: Sequence[type[Stage]],
    build: BuildTask = task_of_one,
    test_recording: Recording | str | None = None,
    executor: TrainingExecutor | None = None,
    report: Report = silent,
) -> dict[str, Fit]:
    """Fit recordings to a request; arguments and errors as for `nwbdyn.fit`.

    Args:
        stages: every stage that there is, in the order in which those that apply run.
        build: makes the task of all recordings.

    Returns:
        Session -> its Fit. Of a joint fit by several processes rank zero alone has them.
    """
    request, ctx = start(request, executor, report)
    _check_processes(request, ctx, test_recording)
    with ExitStack() as files:
        is_fold = request.data.fold is not None  # a fold repeats what the whole fit warned of
        warns = ctx.team.is_rank_zero and not is_fold
        opened = [_opened(recording, files) for recording in recordings]
        test = None if test_recording is None else _opened(test_recording, files)
        if not is_fold:
            opened = [exportable.noted(recording) for recording in opened]
        for recording in opened if warns else ():  # before anything is refused
            log_important(recording, recording.notes)
        again = partial(run, stages=stages, build=build, executor=executor, report=ctx.report)
        refit = partial(again, recordings=opened)
        inputs = [FitInputs(recording, refit, test) for recording in opened]
        task = build(opened, request, device_of(request, ctx))
        streaming.check_unchanged()  # all of the recordings have been read
        for recording, one in zip(opened, task.sessions.values(), strict=True) if warns else ():
            log_important(recording, one.notes[len(recording.notes) :])
        planned = plan_stages(stages, request, task, inputs)
        configs = train_models.candidates(task, task.tried)
        if len(configs) == 1:
            task = task.with_config(configs[0])
        model_check.check(task.sessions.values(), configs[0])
        decisions = described(request, task, configs)
        for stage in planned:
            decisions |= stage.record
        if not (ctx.resume and ctx.run is not None and run_directory.is_complete(ctx.run)):
            memory_check.check(list(task.sessions.values()), seeds=request.validation.seeds)
        finished = open_run_once(decisions, ctx, files, request)
        if finished is not None:
            return _loaded(task, finished)
        trained = _train(request, task, planned, configs, ctx, decisions)
        return _fit_sessions(trained, ctx)


def start(
    request: FitRequest, executor: TrainingExecutor | None, report: Report
) -> tuple[FitRequest, RunContext]:
    """Check the request, resolve what it reads from files, and join the processes that train.

    Returns:
        The request with its sweep as a list of candidates, states of a CSV file as times, and the
        options and the bin width of the run that it starts from; and the context of this process.
    """
    request.check()
    compute, output = request.compute, request.output
    group = distributed.init_process_group(compute.device, compute.devices, compute.nodes)
    run = output.run if group.is_rank_zero else None
    report = report if group.is_rank_zero else silent
    if request.model_options.sweep is not None:
        points = sweep_space.points(request.model_options.sweep)
        request = request.with_keywords(sweep={"list": list(points)})
    if request.tests.states is not None:
        request = request.with_keywords(states=states.resolved(request.tests.states))
    ctx = RunContext(run, resume=output.resume, report=report, engine=executor, team=group)
    return request.with_keywords(run=run), ctx


def _check_processes(
    request: FitRequest, ctx: RunContext, test_recording: Recording | str | None
) -> None:
    """Refuse what several processes cannot do together."""
    if ctx.team is distributed.SINGLE_PROCESS:
        return
    if test_recording or request.tests.targets or ctx.engine:
        raise ConfigError(
            "Several devices train one model; they take no test file, no targets and no engine."
        )


def check_joint(request: FitRequest, stages: Sequence[type[Stage]]) -> None:
    """Refuse options of stages that a joint fit cannot have.

    Raises:
        ConfigError: one of them differs from its default.
    """
    given, default = request.keywords(), FitRequest(request.model).keywords()
    for kind in stages:
        for name, reason in kind.refused_jointly.items():
            if given[name] != default[name]:
                raise ConfigError(f"--joint cannot go with {option_of(name)}: {reason}.")


def plan_stages(
    stages: Sequence[type[Stage]],
    request: FitRequest,
    task: TrainingTask,
    inputs: Sequence[FitInputs],
) -> list[Stage]:
    """The stages that apply. Each session is checked, so that a refusal comes before training.

    Raises:
        ConfigError, DataError, ResultsError: a stage cannot meet the request.
    """
    if task.is_joint:
        check_joint(request, stages)
    planned = []
    for kind in stages:
        sessions = zip(task.sessions.values(), inputs, strict=True)
        each = [kind.plan(request, one, given) for one, given in sessions]
        planned += [stage for stage in each if stage is not None][:1]
    return planned


def device_of(request: FitRequest, ctx: RunContext) -> torch.device:
    """The device on which this process trains."""
    return ctx.team.device or device_called(request.compute.device)


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


def described(
    request: FitRequest, task: TrainingTask, configs: Sequence[BaseConfig]
) -> dict[str, Any]:
    """The values that identify a fit: the content of config.json without the stages.

    Args:
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
        decisions["adopted"] = task.adopted.record
    by_validation = train_models.open_options(task, configs) if len(configs) > 1 else []
    if any(own_part.is_open(config) for config in configs):
        by_validation = [*by_validation, own_part.OPTION]
    if by_validation:
        decisions["by_validation"] = by_validation
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


def _train(
    request: FitRequest,
    task: TrainingTask,
    stages: Sequence[Stage],
    configs: Sequence[BaseConfig],
    ctx: RunContext,
    decisions: dict[str, Any],
) -> TrainedTask:
    """Select the Config, train one model per seed, and the control models of every stage."""
    task = own_part.with_core(task)
    selected = train_models.select_candidate(task, configs, request.validation.seed, ctx)
    task = own_part.with_core(selected.problem)
    trained = train_models.train_seeds(task, request.seeds, ctx, first=selected.trained)
    decision = own_part.decide(task, trained, num_candidates=len(configs))
    task, members = decision.task, decision.trained
    ready = tuple(stage.train(request, task, members, ctx) for stage in stages)
    return TrainedTask(request, task, members, ready, decisions, selected.table, decision.gain)


def _fit_sessions(made: TrainedTask, ctx: RunContext) -> dict[str, Fit]:
    """The Fit of each session. In a joint run one that is written already is read."""
    task, sessions = made.task, made.task.sessions
    if not task.is_joint:
        return {name: _fit_session(made, name, ctx) for name in sessions}
    if not ctx.team.is_rank_zero:
        return {}
    fits: dict[str, Fit] = {}
    for number, name in enumerate(sessions):
        ctx.report(Progress("sessions", number, len(sessions), "recordings"))
        folder = ctx.folder(name)
        if folder is not None and run_directory.is_complete(folder):
            fits[name] = fit_results.load(folder)
        else:
            fits[name] = _fit_session(made, name, replace(ctx, run=folder))
    if ctx.run is not None:
        described = {**made.decisions, **task.described()}
        joint_run.write(ctx.run, task, described, made.trained, fits, made.candidates)
    return fits


def _fit_session(made: TrainedTask, session: str, ctx: RunContext) -> Fit:
    """Score one session, assemble its Fit, run the stages on it and write it."""
    request, task = made.request, made.task.sessions[session]
    scored = score_fit(task, made.trained, report=ctx.report)
    fit = assemble_fit(task, made.trained, scored, request, report=ctx.report)
    fit = _with_decisions(fit, made)
    fit = _with_sources(fit, made, session)
    if task.windows.ladder is not None:
        rung = own_part.kept_rung(task.windows.ladder, made.gain)
        fit = replace(fit, metrics=fit.metrics | rung.metrics())
    state = FitState(request, task, made.trained, scored, fit)
    for stage in made.stages:
        state = replace(state, fit=stage.run(state, ctx).added_to(state.fit))
    fit = replace(state.fit, notes=(*state.fit.notes, *made.task.joint_notes))
    if ctx.run is None:
        return fit
    fit_results.write(fit, ctx.run)
    return replace(fit, run=ctx.run)


def _with_decisions(fit: Fit, made: TrainedTask) -> Fit:
    """The fit with what was decided beside its task, and with the candidates of a selection."""
    extra = {name: made.decisions[name] for name in made.decisions if name not in _IN_EVERY_FIT}
    extra |= made.task.joint_record
    if extra:
        fit = replace(fit, environment=fit.environment | {"asked": extra})
    if made.candidates:
        fit = replace(fit, metrics=fit.metrics | {"candidates": list(made.candidates)})
    return fit


def _with_sources(fit: Fit, made: TrainedTask, session: str) -> Fit:
    """The fit with every other recording whose data are in it, if there is any."""
    tasks = made.task.sessions
    recording = tasks[session].recording
    sources = list(recording.copied_from)
    for name, other in tasks.items():
        if name != session:
            sources += [other.recording.source, *other.recording.copied_from]
    if made.task.adopted is not None:
        sources += made.task.adopted.sources
    return fit_results.with_sources(fit, sources)


def _loaded(task: TrainingTask, run: Path) -> dict[str, Fit]:
    """The fits of a complete run."""
    if task.is_joint:
        return joint_run.load(run)
    (session,) = task.sessions
    return {session: fit_results.load(run)}


def _opened(recording: Recording | str, files: ExitStack) -> Recording:
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
