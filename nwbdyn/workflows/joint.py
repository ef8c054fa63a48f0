"""One model over several recordings: what sessions share is trained on all of them.

Each recording keeps its own bins, split, statistics and baselines. A batch holds windows of one
session, and sessions take turns. Afterwards every session has a Fit of its own, in a run directory
of its own, and beside these stand the weights of the whole and a table of the scores.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nwbdyn import disclosure, streaming
from nwbdyn.errors import ConfigError
from nwbdyn.evaluation import scoring
from nwbdyn.fitting import memory_check, pipeline, train_models
from nwbdyn.fitting.assemble import assemble_fit, score_fit
from nwbdyn.fitting.stages import coupling_ablation, edge_tests, static_control
from nwbdyn.fitting.task import log_important
from nwbdyn.fitting.train_models import RunContext, TrainingExecutor
from nwbdyn.inference import influence, readout
from nwbdyn.nwb.results import exportable
from nwbdyn.progress import Progress, Report, silent
from nwbdyn.progress_bars import progress_bars
from nwbdyn.recording import Recording
from nwbdyn.request import FitRequest
from nwbdyn.results import fit_results, run_directory
from nwbdyn.results.fit_results import Fit
from nwbdyn.statistics import groups
from nwbdyn.statistics.significance import NullSamples
from nwbdyn.statistics.surrogates import Null
from nwbdyn.training import distributed
from nwbdyn.training.trainer import Trained
from nwbdyn.workflows.joint_task import JointTask, build_joint_task


@dataclass(frozen=True)
class Beside:
    """Control models trained on the same data: ablation, surrogate refits, constant A."""

    uncoupled: Trained | None  # the model without coupling, where it has such an option
    evidence: Mapping[
        str, NullSamples
    ]  # what refits say of a session's edges; empty without a null
    constant: Trained | None  # with a null: the model with a constant A, where it has another


def fit_joint(
    recordings: Sequence[Recording | str],
    model: str,
    *,
    neuron_id: str | None = None,
    seed: int = 0,
    seeds: int = 1,
    bin_width: float | None = None,
    epochs: int | None = None,
    device: str = "auto",
    devices: int = 1,
    nodes: int = 1,
    options: Mapping[str, object] = {},
    trials: str | None = None,
    covariates: Sequence[str] = (),
    init_from: Path | str | None = None,
    null: str | None = None,
    influence_windows: int = influence.NUM_WINDOWS,
    sweep: Mapping[str, object] | Path | str | None = None,
    engine: TrainingExecutor | None = None,
    run: Path | str | None = None,
    resume: bool = False,
    overwrite: bool = False,
    report: Report | bool = True,
) -> dict[str, Fit]:
    """Fit one model to several recordings, and score it on each beside that one's baselines.

    Args:
        recordings: at least two, as `nwbdyn.fit` takes them; of one quantity and about one bin
            width, with as many covariates each.
        model: a model of the next bin.
        devices, nodes: as for `nwbdyn.fit`. The first process alone scores, writes and returns the
            fits; the others train, and return none.
        neuron_id: column of the neurons' tables. Neurons of one subject with the same entry in two
            recordings are one neuron. Without an entry or a column every neuron is another, and so
            are neurons that share an entry within a recording, with a note.
        init_from: as for `nwbdyn.fit`: these sessions join an earlier fit, whose weights stay.
        null: as for `nwbdyn.fit`. Surrogates and halves are drawn in all sessions at once, and one
            model is refitted to them; each session's edges are tested by themselves.
        sweep: as for `nwbdyn.fit`: validation bins of all sessions together take one setting.
        run: run directory; each session's own is a folder inside it.

    All other arguments are those of `nwbdyn.fit`.

    Returns:
        Session -> its Fit; sessions are named after their files.

    Raises:
        ConfigError: a model that fits one session at a time, or as `nwbdyn.fit`.
        DataError: recordings that do not fit together, or one that the model cannot be fitted to.
        FitError, ResultsError: as `nwbdyn.fit`.
    """
    request = FitRequest.from_keywords(
        model,
        seed=seed,
        seeds=seeds,
        bin_width=bin_width,
        epochs=epochs,
        device=device,
        devices=devices,
        nodes=nodes,
        options=options,
        trials=trials,
        covariates=tuple(covariates),
        init_from=init_from,
        null=null,
        influence_windows=influence_windows,
        sweep=sweep,
        run=None if run is None else Path(run),
        resume=resume,
        overwrite=overwrite,
    )
    with progress_bars(report) as shown:
        return fit_joint_request(
            request, recordings, neuron_id=neuron_id, executor=engine, report=shown
        )


def fit_joint_request(
    request: FitRequest,
    recordings: Sequence[Recording | str],
    *,
    neuron_id: str | None = None,
    executor: TrainingExecutor | None = None,
    report: Report = silent,
) -> dict[str, Fit]:
    """Fit one model to several recordings as requested; as `fit_joint`."""
    request, place = pipeline.start(request, executor, report)
    if place.team is not distributed.SINGLE_PROCESS and executor is not None:
        raise ConfigError("Several devices train one model; they take no engine.")
    with ExitStack() as files:
        opened = [exportable.noted(pipeline.opened(recording, files)) for recording in recordings]
        for one in opened if place.team.is_rank_zero else ():  # before anything is refused
            log_important(one, one.notes)
        device = pipeline.device_of(request, place)
        keywords, loaded = pipeline.task_keywords(request)
        joint = build_joint_task(
            opened, request.model, neuron_id=neuron_id, device=device, **keywords
        )
        streaming.check_unchanged()  # all of the recordings have been read
        joint = replace(joint, adopted=loaded)
        each = zip(opened, joint.problems.values(), strict=True)
        for one, problem in each if place.team.is_rank_zero else ():
            log_important(one, problem.notes[len(one.notes) :])
        configs = train_models.candidates(joint, joint.tried)
        if len(configs) == 1:
            joint = joint.with_config(configs[0])
        surrogates = None if request.tests.null is None else Null.parse(request.tests.null)
        if surrogates is not None:
            for problem in joint.problems.values():
                edge_tests.check(problem, surrogates)
        decisions = pipeline.described(request, joint, configs)
        if surrogates is not None:
            decisions["null"] = str(surrogates)
        if not (place.resume and place.run is not None and run_directory.is_complete(place.run)):
            memory_check.check(list(joint.problems.values()), seeds=request.validation.seeds)
        finished = pipeline.open_run_once(decisions, place, files, request)
        if finished is not None:
            return load_sessions(finished)
        seed, every_seed = request.validation.seed, request.seeds
        choice = train_models.select_candidate(joint, configs, seed, place)
        joint = choice.problem
        trained = train_models.train_seeds(joint, every_seed, place, first=choice.trained)
        uncoupled = train_models.train_without_coupling(joint, seed, place)
        evidence: Mapping[str, NullSamples] = {}
        if surrogates is not None:
            evidence = edge_tests.collect_each(
                joint.problems, joint, trained, surrogates, place, seed=seed
            )
        if not place.team.is_rank_zero:
            return {}
        beside = Beside(
            uncoupled,
            evidence,
            static_control.train_static(joint, trained[0], place) if evidence else None,
        )
        fits = _each_session(joint, trained, beside, request, decisions, choice.table, place)
        if place.run is not None:
            _write(place.run, joint, trained, decisions, choice.table, fits)
    return fits


def load_sessions(run: Path | str) -> dict[str, Fit]:
    """Session -> its Fit, of a run directory that `fit_joint` left.

    Raises:
        ResultsError: one of them is missing or damaged.
    """
    return {
        name: fit_results.load(Path(run) / name) for name in run_directory.sessions_in(Path(run))
    }


def _each_session(
    joint: JointTask,
    trained: Sequence[Trained],
    beside: Beside,
    request: FitRequest,
    decisions: Mapping[str, Any],
    candidates: Sequence[Mapping[str, Any]],
    place: RunContext,
) -> dict[str, Fit]:
    """The Fit of each session; one that is written already is read."""
    fits: dict[str, Fit] = {}
    for number, (name, problem) in enumerate(joint.problems.items()):
        place.report(Progress("sessions", number, len(joint.problems), "recordings"))
        folder = place.folder(name)
        if folder is not None and run_directory.is_complete(folder):
            fits[name] = fit_results.load(folder)
            continue
        without = None
        if beside.uncoupled is not None:
            without = readout.predict(beside.uncoupled.model, problem.windows)
        scored = score_fit(problem, trained, report=place.report)
        fitted = assemble_fit(problem, trained, scored, request, report=place.report)
        fitted = coupling_ablation.with_ablation(fitted, scored, without)
        if beside.evidence:
            fitted = edge_tests.with_evidence(fitted, problem, beside.evidence[name])
            fitted = static_control.with_dynamics(fitted, problem, trained[0], beside.constant)
            fitted = groups.with_groups(fitted)
        if candidates:
            listed = {"candidates": list(candidates)}
            fitted = replace(fitted, metrics=fitted.metrics | listed)
        together = {"joint": {"sessions": list(joint.problems), "neuron_id": joint.neuron_id}}
        kept = ("adopted", "null", "sweep")
        extra = {k: v for k, v in decisions.items() if k in kept} | together
        fitted = replace(
            fitted,
            notes=(*fitted.notes, *joint.notes),
            environment=fitted.environment | {"asked": extra},
        )
        if folder is not None:
            fit_results.write(fitted, folder)
            fitted = replace(fitted, run=folder)
        fits[name] = fitted
    return fits


def _write(
    run: Path,
    joint: JointTask,
    trained: Sequence[Trained],
    decisions: Mapping[str, Any],
    candidates: Sequence[Mapping[str, Any]],
    fits: Mapping[str, Fit],
) -> None:
    """The run's own files: the Config as it was chosen, all weights, the table of scores."""
    from safetensors.torch import save

    best = min(trained, key=lambda member: member.best)
    described = run_directory.with_format_version({**decisions, **joint.described()})
    run_directory.write_json(run, run_directory.CONFIG, described)
    run_directory.write_history(run, best.history)
    state = {name: value.cpu().contiguous() for name, value in best.model.state_dict().items()}
    with run_directory.atomic_write(run / run_directory.WEIGHTS) as partial:
        partial.write_bytes(save(state))
    table = scoring.over_sessions({name: fitted.metrics for name, fitted in fits.items()})
    table["num_shared_neurons"] = joint.num_shared
    if candidates:
        table["candidates"] = list(candidates)
    table["seeds_agree"] = {name: _seeds_agree(fitted) for name, fitted in fits.items()}
    run_directory.write_json(run, run_directory.METRICS, disclosure.of_value(table))


def _seeds_agree(fitted: Fit) -> float | None:
    """Correlation between two seeds' mean couplings of a session; None where it is not known."""
    told: Any = fitted.metrics.get("agreement", {"coupling": {"seeds": None}})
    return told["coupling"]["seeds"]
