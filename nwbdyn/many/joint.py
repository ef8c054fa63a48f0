"""One model over several recordings: what sessions share is trained on all of them.

Each recording keeps its own bins, split, statistics and baselines. A batch holds windows of one
session, and sessions take turns. Afterwards every session has a Fit of its own, in a run directory
of its own, and beside these stand the weights of the whole and a table of the scores.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nwbdyn.errors import ConfigError, DataError
from nwbdyn.fitting import device_called, opened
from nwbdyn.learning import adopting, comparing, influence, members, readout
from nwbdyn.learning.adopting import Adopted
from nwbdyn.learning.members import Workplace
from nwbdyn.learning.problem import SESSION, Problem, cell_types, configure, pose
from nwbdyn.learning.training import Trained
from nwbdyn.many import identity, scaling
from nwbdyn.models.base import BaseConfig, Layout, Model
from nwbdyn.progress import Progress, Report, silent
from nwbdyn.recording import Note, Recording
from nwbdyn.runs import lock, results, run_directory
from nwbdyn.runs.results import Fit
from nwbdyn.scoring import evaluation
from nwbdyn.scoring.summary import score, summarise
from nwbdyn.tensors.pooling import PooledWindows
from nwbdyn.tensors.windows import Windows
from nwbdyn.trust import groups, identifiability, refits
from nwbdyn.trust.significance import Evidence
from nwbdyn.trust.surrogates import Null

WIDTHS_AGREE = 0.05  # largest difference between bin widths, as a share of the first


@dataclass(frozen=True)
class Joint:
    """Several recordings as one model will see them."""

    problems: Mapping[str, Problem]  # session -> its own bins, split and windows
    model_class: type[Model]
    config: BaseConfig
    layout: Layout  # of all sessions
    windows: PooledWindows
    neuron_id: str | None  # column that says which neurons are the same
    notes: tuple[Note, ...]
    adopted: Adopted | None = None

    @property
    def num_shared(self) -> int:
        """Neurons that more than one session holds."""
        rows = np.concatenate([np.array(ids) for ids in self.layout.neuron_ids.values()])
        return int((np.bincount(rows) > 1).sum())

    def described(self) -> dict[str, Any]:
        """The decisions, in plain values."""
        each = {name: problem.described() for name, problem in self.problems.items()}
        first = next(iter(self.problems.values()))
        shared = ("bin_width", "quantity", "covariates", "trials", "context", "inputs")
        return {
            "model": first.name,
            "config": asdict(self.config),
            "binning": {name: first.described()["binning"][name] for name in shared},
            "neuron_id": self.neuron_id,
            "sessions": {
                name: {part: described[part] for part in ("binning", "split", "source")}
                for name, described in each.items()
            },
        }


@dataclass(frozen=True)
class Tested:
    """What refits of all sessions together say."""

    evidence: Mapping[str, Evidence]  # session -> its edges
    constant: Trained | None  # the model with a constant A, where it has another


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
    options: Mapping[str, object] = {},
    trials: str | None = None,
    covariates: Sequence[str] = (),
    adopt: Path | str | None = None,
    comparators: bool = False,
    null: str | None = None,
    influence_windows: int = influence.NUM_WINDOWS,
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
        neuron_id: column of the neurons' tables. Neurons of one subject with the same entry in two
            recordings are one neuron. Without an entry or a column every neuron is another, and so
            are neurons that share an entry within a recording, with a note.
        adopt: as for `nwbdyn.fit`: these sessions join an earlier fit, whose weights stay.
        null: as for `nwbdyn.fit`. Surrogates and halves are drawn in all sessions at once, and one
            model is refitted to them; each session's edges are tested by themselves.
        run: run directory; each session's own is a folder inside it.

    All other arguments are those of `nwbdyn.fit`.

    Returns:
        Session -> its Fit; sessions are named after their files.

    Raises:
        ConfigError: a model that fits one session at a time, or as `nwbdyn.fit`.
        DataError: recordings that do not fit together, or one that the model cannot be fitted to.
        FitError, ResultsError: as `nwbdyn.fit`.
    """
    if seeds < 1:
        raise ConfigError(f"seeds is {seeds}; at least 1 fit is needed.")
    run = Path(run) if run is not None else None
    place = Workplace(run, resume=resume, report=report)
    adopted = None if adopt is None else adopting.read(adopt, model)
    if adopted is not None:
        options = {**adopted.options, **options}
        bin_width = bin_width or adopted.bin_width
    training_length = {} if epochs is None else {"epochs": epochs, "updates": None}
    with ExitStack() as files:
        joint = pose_jointly(
            [opened(recording, files) for recording in recordings],
            model,
            neuron_id=neuron_id,
            seed=seed,
            bin_width=bin_width,
            options={**options, **training_length},
            trials=trials,
            covariates=covariates,
            device=device_called(device),
        )
        joint = replace(joint, adopted=adopted)
        configs = members.candidates(joint)
        every_seed = list(range(seed, seed + seeds))
        asked: dict[str, Any] = {"seed": seed, "seeds": every_seed}
        if adopted is not None:
            asked["adopted"] = adopted.asked
        if comparators:
            asked["comparators"] = True
        surrogates = None if null is None else Null.parse(null)
        if surrogates is not None:
            for problem in joint.problems.values():
                refits.check(problem, surrogates)
            asked["null"] = str(surrogates)
        if len(configs) > 1:
            asked["by_validation"] = members.left_open(joint, configs)
        else:
            joint = replace(joint, config=configs[0])
        if run is not None:
            files.enter_context(lock.held(run, resume=resume, report=report))
        if run is not None and run_directory.begin(
            run, joint.described() | asked, resume=resume, overwrite=overwrite
        ):
            return load_sessions(run)
        joint = members.settle(joint, configs, seed, place)
        trained = members.train_each(joint, every_seed, place)
        uncoupled = members.train_uncoupled(joint, seed, place)
        others = comparing.train_comparators(joint, seed, place) if comparators else {}
        tested = None
        if surrogates is not None:
            tested = Tested(
                refits.collect_each(joint.problems, joint, trained, surrogates, place, seed=seed),
                identifiability.train_static(joint, trained[0], place),
            )
        fits = _each_session(
            joint, trained, uncoupled, others, tested, influence_windows, asked, place
        )
        if run is not None:
            _write(run, joint, trained, asked, fits)
    return fits


def load_sessions(run: Path | str) -> dict[str, Fit]:
    """Session -> its Fit, of a run directory that `fit_joint` left.

    Raises:
        ResultsError: one of them is missing or damaged.
    """
    return {name: results.load(Path(run) / name) for name in run_directory.sessions_in(Path(run))}


def pose_jointly(
    recordings: Sequence[Recording],
    model: str,
    *,
    neuron_id: str | None = None,
    options: Mapping[str, object] = {},
    **choices: Any,
) -> Joint:
    """Bin, split and cut each recording, and number the neurons of all; see `problem.pose`.

    Raises:
        ConfigError, DataError: as `fit_joint`.
    """
    if len(recordings) < 2:
        raise DataError(
            f"{len(recordings)} recording is no joint fit; it takes two or more. Leave out --joint."
        )
    names = scaling.run_names([(recording.source,) for recording in recordings])
    alone = [pose(recording, model, options=options, **choices) for recording in recordings]
    _check_alike(names, alone)
    rows = identity.global_rows(dict(zip(names, alone, strict=True)), neuron_id)
    layout = replace(
        alone[0].layout,
        neuron_ids={name: tuple(rows[name].tolist()) for name in names},
        held_in={
            name: problem.layout.held_in[SESSION]
            for name, problem in zip(names, alone, strict=True)
        },
        bin_width=float(np.median([problem.binned.bin_width for problem in alone])),
        cell_types=_cell_types(alone, list(rows.values())),
    )
    model_class = alone[0].model_class
    config = configure(model, model_class, layout, options)
    problems = {
        name: replace(
            problem,
            layout=layout,
            config=config,
            windows=Windows(
                problem.binned,
                problem.split,
                problem.spec,
                session=name,
                neuron_ids=rows[name].tolist(),
                device=problem.windows.device,
                target=model_class.target,
            ),
        )
        for name, problem in zip(names, alone, strict=True)
    }
    joint = Joint(
        problems=problems,
        model_class=model_class,
        config=config,
        layout=layout,
        windows=PooledWindows([problem.windows for problem in problems.values()]),
        neuron_id=neuron_id,
        notes=(),
    )
    return replace(joint, notes=_notes(joint))


def _check_alike(names: Sequence[str], problems: Sequence[Problem]) -> None:
    """Refuse recordings that one model cannot see as the same kind of thing."""
    first = problems[0].binned
    for name, problem in zip(names, problems, strict=True):
        binned = problem.binned
        if binned.quantity != first.quantity:
            raise DataError(
                f"{names[0]} holds {first.quantity}, {name} holds {binned.quantity}; one model "
                "takes one kind. Pass --quantity, or narrow the address."
            )
        if abs(binned.bin_width - first.bin_width) > WIDTHS_AGREE * first.bin_width:
            raise DataError(
                f"A bin lasts {first.bin_width:.4g} s in {names[0]} and {binned.bin_width:.4g} s "
                f"in {name}. Pass --bin-width."
            )
        given, wanted = binned.covariates.shape[1], first.covariates.shape[1]
        if given != wanted:
            raise DataError(
                f"The covariates of {names[0]} have {wanted} channels, those of {name} {given}; "
                "name signals that all recordings have alike."
            )


def _cell_types(problems: Sequence[Problem], rows: Sequence[np.ndarray]) -> tuple[int, ...] | None:
    """The number of each neuron's type over all sessions; the first session that knows it says."""
    labels = np.full(1 + max(int(row.max()) for row in rows), "", dtype=object)
    for problem, row in zip(problems, rows, strict=True):
        table = problem.binned.neurons.table
        if "cell_type" in table:
            own = table["cell_type"].fillna("").astype(str).to_numpy(dtype=object)
            labels[row] = np.where(labels[row] == "", own, labels[row])
    return cell_types(pd.DataFrame({"cell_type": labels}))


def _notes(joint: Joint) -> tuple[Note, ...]:
    notes = []
    for name, problem in joint.problems.items() if joint.neuron_id else ():
        repeated = identity.repeated(
            [identity.entry(value) for value in problem.binned.neurons.table[joint.neuron_id]]
        )
        if repeated:
            reason = f"{', '.join(repeated)}: several neurons of {name} each, so none is identified"
            notes.append(Note("ambiguous-id", str(joint.neuron_id), reason))
    if joint.num_shared:
        return tuple(notes)
    reason = "no neuron is in two recordings: they share the model's common weights only"
    if joint.neuron_id is None:
        reason += "; --neuron-id names a column that says which neurons are the same"
    return (*notes, Note("no-neuron-in-common", joint.neuron_id or "neurons", reason))


def _each_session(
    joint: Joint,
    trained: Sequence[Trained],
    uncoupled: Trained | None,
    comparators: Mapping[str, Trained],
    tested: Tested | None,
    influence_windows: int,
    asked: Mapping[str, Any],
    place: Workplace,
) -> dict[str, Fit]:
    """What the model says of each session; one that is written already is read."""
    fits: dict[str, Fit] = {}
    for number, (name, problem) in enumerate(joint.problems.items()):
        place.report(Progress("sessions", number, len(joint.problems), "recordings"))
        folder = place.folder(name)
        if folder is not None and run_directory.is_complete(folder):
            fits[name] = results.load(folder)
            continue
        without = None if uncoupled is None else readout.predict(uncoupled.model, problem.windows)
        problem = replace(problem, config=joint.config)
        fitted = summarise(
            problem,
            trained,
            score(problem, trained, report=place.report),
            without,
            comparators=comparators,
            influence_windows=influence_windows,
            folds=None,
            report=place.report,
        )
        if tested is not None:
            fitted = refits.with_evidence(fitted, problem, tested.evidence[name])
            fitted = identifiability.with_dynamics(fitted, problem, trained[0], tested.constant)
            fitted = groups.with_groups(fitted)
        together = {"joint": {"sessions": list(joint.problems), "neuron_id": joint.neuron_id}}
        extra = {
            k: v for k, v in asked.items() if k in ("adopted", "comparators", "null")
        } | together
        fitted = replace(
            fitted,
            notes=(*fitted.notes, *joint.notes),
            environment=fitted.environment | {"asked": extra},
        )
        if folder is not None:
            results.write(fitted, folder)
            fitted = replace(fitted, run=folder)
        fits[name] = fitted
    return fits


def _write(
    run: Path,
    joint: Joint,
    trained: Sequence[Trained],
    asked: Mapping[str, Any],
    fits: Mapping[str, Fit],
) -> None:
    """The run's own files: the Config as it was chosen, all weights, the table of scores."""
    from safetensors.torch import save

    best = min(trained, key=lambda member: member.best)
    described = run_directory.stamped(joint.described() | dict(asked))
    run_directory.write_json(run, run_directory.CONFIG, described)
    run_directory.write_history(run, best.history)
    state = {name: value.cpu().contiguous() for name, value in best.model.state_dict().items()}
    with run_directory.replacing(run / run_directory.WEIGHTS) as partial:
        partial.write_bytes(save(state))
    table = evaluation.over_sessions({name: fitted.metrics for name, fitted in fits.items()})
    table["num_shared_neurons"] = joint.num_shared
    compared: dict[str, Any] = {
        name: fitted.metrics["comparators"]
        for name, fitted in fits.items()
        if "comparators" in fitted.metrics
    }
    if compared:
        table["comparators"] = comparing.over_sessions(compared)
    table["seeds_agree"] = {name: _seeds_agree(fitted) for name, fitted in fits.items()}
    run_directory.write_json(run, run_directory.METRICS, table)


def _seeds_agree(fitted: Fit) -> float | None:
    """Correlation between two seeds' mean couplings of a session; None where it is not known."""
    told: Any = fitted.metrics.get("agreement", {"coupling": {"seeds": None}})
    return told["coupling"]["seeds"]
