"""Several recordings as one model will see them: bins and splits of their own, neurons in common.

What does not fit together is refused here, and what is odd becomes a note.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from nwbdyn.data.pooling import PooledWindows
from nwbdyn.data.windows import Windows
from nwbdyn.errors import DataError
from nwbdyn.fitting import joint_run
from nwbdyn.fitting.model_options import configure
from nwbdyn.fitting.task import SESSION, FitTask, build_task, cell_types
from nwbdyn.models.base import BaseConfig, Layout, Model
from nwbdyn.recording import Note, Recording
from nwbdyn.training.pretrained import Pretrained
from nwbdyn.workflows import batch, neuron_identity

WIDTHS_AGREE = 0.05  # largest difference between bin widths, as a share of the first


@dataclass(frozen=True)
class JointTask:
    """Several recordings as one model will see them."""

    sessions: Mapping[str, FitTask]  # session -> its own bins, split and windows
    model_class: type[Model]
    config: BaseConfig
    layout: Layout  # of all sessions
    windows: PooledWindows
    neuron_id: str | None  # column that says which neurons are the same
    joint_notes: tuple[Note, ...]
    tried: tuple[BaseConfig, ...] = ()  # of a sweep: what was asked for, to be judged on validation
    adopted: Pretrained | None = None

    is_joint: ClassVar[bool] = True

    @property
    def joint_record(self) -> Mapping[str, Any]:
        """Names of all sessions and the identifying column, for the Fit of each session."""
        return {"joint": {"sessions": list(self.sessions), "neuron_id": self.neuron_id}}

    @property
    def num_shared(self) -> int:
        """Neurons that more than one session holds."""
        return joint_run.num_shared(self)

    def with_config(self, config: BaseConfig) -> "JointTask":
        """The same bins, splits and targets, with the windows of another Config."""
        sessions = {name: one.with_config(config) for name, one in self.sessions.items()}
        windows = PooledWindows([one.windows for one in sessions.values()])
        return replace(self, config=config, sessions=sessions, windows=windows)

    def described(self) -> dict[str, Any]:
        """The decisions, in plain values."""
        each = {name: problem.described() for name, problem in self.sessions.items()}
        first = next(iter(self.sessions.values()))
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


def build_joint_task(
    recordings: Sequence[Recording],
    model: str,
    *,
    neuron_id: str | None = None,
    options: Mapping[str, object] = {},
    among: Sequence[Mapping[str, object]] = ({},),
    **choices: Any,
) -> JointTask:
    """Bin, split and cut each recording, and number the neurons of all; see `build_task`.

    Raises:
        ConfigError, DataError: as `fit_joint`.
    """
    if len(recordings) < 2:
        raise DataError(
            f"{len(recordings)} recording is no joint fit; it takes two or more. Leave out --joint."
        )
    names = batch.run_names([(recording.source,) for recording in recordings])
    alone = [
        build_task(recording, model, options=options, among=among, **choices)
        for recording in recordings
    ]
    _check_alike(names, alone)
    rows = neuron_identity.global_rows(dict(zip(names, alone, strict=True)), neuron_id)
    layout = _joint_layout(names, alone, rows)
    model_class = alone[0].model_class
    configs = [configure(model, model_class, layout, {**options, **more}) for more in among]
    config = max(configs, key=lambda one: model_class.windows(one, layout).context)
    sessions = {
        name: _session(one, name, rows[name], layout, config)
        for name, one in zip(names, alone, strict=True)
    }
    joint = JointTask(
        sessions=sessions,
        model_class=model_class,
        config=config,
        layout=layout,
        windows=PooledWindows([one.windows for one in sessions.values()]),
        neuron_id=neuron_id,
        joint_notes=(),
        tried=tuple(configs) if len(configs) > 1 else (),
    )
    return replace(joint, joint_notes=_notes(joint))


def _joint_layout(
    names: Sequence[str], alone: Sequence[FitTask], rows: Mapping[str, np.ndarray]
) -> Layout:
    """The layout of all sessions."""
    return replace(
        alone[0].layout,
        neuron_ids={name: tuple(rows[name].tolist()) for name in names},
        held_in={
            name: problem.layout.held_in[SESSION]
            for name, problem in zip(names, alone, strict=True)
        },
        bin_width=float(np.median([problem.binned.bin_width for problem in alone])),
        cell_types=_cell_types(alone, list(rows.values())),
    )


def _session(
    alone: FitTask, name: str, rows: np.ndarray, layout: Layout, config: BaseConfig
) -> FitTask:
    """One session of a joint task: its own bins and split, neurons numbered among all."""
    windows = Windows(
        alone.binned,
        alone.split,
        alone.spec,
        session=name,
        neuron_ids=rows.tolist(),
        device=alone.windows.device,
        target=alone.model_class.target,
    )
    return replace(alone, layout=layout, config=config, windows=windows)


def _check_alike(names: Sequence[str], problems: Sequence[FitTask]) -> None:
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


def _cell_types(problems: Sequence[FitTask], rows: Sequence[np.ndarray]) -> tuple[int, ...] | None:
    """The number of each neuron's type over all sessions; the first label decides."""
    labels = np.full(1 + max(int(row.max()) for row in rows), "", dtype=object)
    for problem, row in zip(problems, rows, strict=True):
        table = problem.binned.neurons.table
        if "cell_type" in table:
            own = table["cell_type"].fillna("").astype(str).to_numpy(dtype=object)
            labels[row] = np.where(labels[row] == "", own, labels[row])
    return cell_types(pd.DataFrame({"cell_type": labels}))


def _notes(joint: JointTask) -> tuple[Note, ...]:
    notes = []
    for name, problem in joint.sessions.items() if joint.neuron_id else ():
        repeated = neuron_identity.repeated(
            [
                neuron_identity.entry(value)
                for value in problem.binned.neurons.table[joint.neuron_id]
            ]
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
