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
from nwbdyn.fitting import memory_check, sweep_space, train_models
from nwbdyn.fitting.assemble import assemble_fit, score_fit
from nwbdyn.fitting.pipeline import device_called, opened
from nwbdyn.fitting.stages import edge_tests, reference_networks, static_control
from nwbdyn.fitting.task import log_important, training_length
from nwbdyn.fitting.train_models import RunContext, TrainingExecutor
from nwbdyn.inference import influence, readout
from nwbdyn.nwb.results import exportable
from nwbdyn.progress import Progress, Report, silent
from nwbdyn.recording import Recording
from nwbdyn.results import fit_results, run_directory, run_lock
from nwbdyn.results.fit_results import Fit
from nwbdyn.statistics import groups
from nwbdyn.statistics.significance import NullSamples
from nwbdyn.statistics.surrogates import Null
from nwbdyn.training import distributed, pretrained
from nwbdyn.training.trainer import Trained
from nwbdyn.workflows.joint_task import JointTask, build_joint_task


@dataclass(frozen=True)
class Beside:
    """What was trained beside the model, to compare it with."""

    uncoupled: Trained | None  # the model without coupling, where it has such an option
    comparators: Mapping[str, Trained]
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
    adopt: Path | str | None = None,
    comparators: bool = False,
    null: str | None = None,
    influence_windows: int = influence.NUM_WINDOWS,
    sweep: Mapping[str, object] | Path | str | None = None,
    engine: TrainingExecutor | None = None,
    run: Path | str | None = None,
    resume: bool = False,
    overwrite: bool = False,
    report: Report = silent,
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
        adopt: as for `nwbdyn.fit`: these sessions join an earlier fit, whose weights stay.
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
    team = distributed.init_process_group(device, devices, nodes)
    if team is not distributed.SINGLE_PROCESS and engine is not None:
        raise ConfigError("Several devices train one model; they take no engine.")
    report = report if team.is_rank_zero else silent
    run = Path(run) if run is not None and team.is_rank_zero else None
    if seeds < 1:
        raise ConfigError(f"seeds is {seeds}; at least 1 fit is needed.")
    place = RunContext(run, resume=resume, report=report, engine=engine, team=team)
    length = training_length(epochs, options)
    adopted = None if adopt is None else pretrained.read(adopt, model)
    if adopted is not None:
        options = {**adopted.options, **options}
        bin_width = bin_width or adopted.bin_width
    points = None if sweep is None else sweep_space.points(sweep)
    with ExitStack() as files:
        open_ones = [exportable.noted(opened(recording, files)) for recording in recordings]
        for one in open_ones if team.is_rank_zero else ():  # before anything is refused
            log_important(one, one.notes)
        joint = build_joint_task(
            open_ones,
            model,
            neuron_id=neuron_id,
            seed=seed,
            bin_width=bin_width,
            options={**options, **length},
            among=({},) if points is None else points,
            trials=trials,
            covariates=covariates,
            device=team.device or device_called(device),
        )
        streaming.check_unchanged()  # all of the recordings has been read
        joint = replace(joint, adopted=adopted)
        each = zip(open_ones, joint.problems.values(), strict=True)
        for one, problem in each if team.is_rank_zero else ():
            log_important(one, problem.notes[len(one.notes) :])
        configs = train_models.candidates(joint, joint.tried)
        if len(configs) == 1:
            joint = joint.with_config(configs[0])
        surrogates = None if null is None else Null.parse(null)
        if surrogates is not None:
            for problem in joint.problems.values():
                edge_tests.check(problem, surrogates)
        every_seed = list(range(seed, seed + seeds))
        more: dict[str, Any] = {
            "sweep": points and list(points),
            "adopted": adopted and adopted.asked,
            "comparators": comparators,
            "null": surrogates and str(surrogates),
            "by_validation": train_models.open_options(joint, configs)
            if len(configs) > 1
            else None,
        }
        asked: dict[str, Any] = {"seed": seed, "seeds": every_seed}
        asked |= {name: one for name, one in more.items() if one}

        def complete() -> Path | None:
            """The run directory, where it holds this very fit already."""
            if run is None:
                return None
            files.enter_context(run_lock.run_lock(run, resume=resume, report=report))
            described = joint.described() | asked
            ended = run_directory.open_run(run, described, resume=resume, overwrite=overwrite)
            return run if ended else None

        if not (resume and run is not None and run_directory.is_complete(run)):
            memory_check.check(list(joint.problems.values()), seeds=seeds)
        there = team.broadcast_from_rank0(complete)
        if there is not None:
            return load_sessions(there)
        choice = train_models.select_candidate(joint, configs, seed, place)
        joint = choice.problem
        trained = train_models.train_seeds(joint, every_seed, place, first=choice.trained)
        uncoupled = train_models.train_without_coupling(joint, seed, place)
        evidence: Mapping[str, NullSamples] = {}
        if surrogates is not None:
            evidence = edge_tests.collect_each(
                joint.problems, joint, trained, surrogates, place, seed=seed
            )
        if not team.is_rank_zero:
            return {}
        beside = Beside(
            uncoupled,
            reference_networks.train_comparators(joint, seed, place) if comparators else {},
            evidence,
            static_control.train_static(joint, trained[0], place) if evidence else None,
        )
        fits = _each_session(joint, trained, beside, influence_windows, asked, choice.table, place)
        if run is not None:
            _write(run, joint, trained, asked, choice.table, fits)
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
    influence_windows: int,
    asked: Mapping[str, Any],
    candidates: Sequence[Mapping[str, Any]],
    place: RunContext,
) -> dict[str, Fit]:
    """What the model says of each session; one that is written already is read."""
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
        fitted = assemble_fit(
            problem,
            trained,
            score_fit(problem, trained, report=place.report),
            without,
            comparators=beside.comparators,
            influence_windows=influence_windows,
            folds=None,
            report=place.report,
        )
        if beside.evidence:
            fitted = edge_tests.with_evidence(fitted, problem, beside.evidence[name])
            fitted = static_control.with_dynamics(fitted, problem, trained[0], beside.constant)
            fitted = groups.with_groups(fitted)
        if candidates:
            listed = {"candidates": list(candidates)}
            fitted = replace(fitted, metrics=fitted.metrics | listed)
        together = {"joint": {"sessions": list(joint.problems), "neuron_id": joint.neuron_id}}
        extra = {
            k: v for k, v in asked.items() if k in ("adopted", "comparators", "null", "sweep")
        } | together
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
    asked: Mapping[str, Any],
    candidates: Sequence[Mapping[str, Any]],
    fits: Mapping[str, Fit],
) -> None:
    """The run's own files: the Config as it was chosen, all weights, the table of scores."""
    from safetensors.torch import save

    best = min(trained, key=lambda member: member.best)
    described = run_directory.with_format_version(joint.described() | dict(asked))
    run_directory.write_json(run, run_directory.CONFIG, described)
    run_directory.write_history(run, best.history)
    state = {name: value.cpu().contiguous() for name, value in best.model.state_dict().items()}
    with run_directory.atomic_write(run / run_directory.WEIGHTS) as partial:
        partial.write_bytes(save(state))
    table = scoring.over_sessions({name: fitted.metrics for name, fitted in fits.items()})
    table["num_shared_neurons"] = joint.num_shared
    if candidates:
        table["candidates"] = list(candidates)
    compared: dict[str, Any] = {
        name: fitted.metrics["comparators"]
        for name, fitted in fits.items()
        if "comparators" in fitted.metrics
    }
    if compared:
        table["comparators"] = reference_networks.over_sessions(compared)
    table["seeds_agree"] = {name: _seeds_agree(fitted) for name, fitted in fits.items()}
    run_directory.write_json(run, run_directory.METRICS, disclosure.of_value(table))


def _seeds_agree(fitted: Fit) -> float | None:
    """Correlation between two seeds' mean couplings of a session; None where it is not known."""
    told: Any = fitted.metrics.get("agreement", {"coupling": {"seeds": None}})
    return told["coupling"]["seeds"]
