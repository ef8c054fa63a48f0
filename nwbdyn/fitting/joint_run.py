"""The run directory of a joint fit: one run directory per session, and the files of the whole."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nwbdyn import disclosure
from nwbdyn.evaluation import scoring
from nwbdyn.fitting.train_models import TrainingTask
from nwbdyn.results import fit_results, run_directory
from nwbdyn.results.fit_results import Fit
from nwbdyn.results.sections.reliability import Reliability
from nwbdyn.training.trainer import Trained


def load(run: Path | str) -> dict[str, Fit]:
    """Session -> its Fit.

    Raises:
        ResultsError: one of them is missing or damaged.
    """
    return {
        name: fit_results.load(Path(run) / name) for name in run_directory.sessions_in(Path(run))
    }


def write(
    run: Path,
    task: TrainingTask,
    described: Mapping[str, Any],
    trained: Sequence[Trained],
    fits: Mapping[str, Fit],
    candidates: Sequence[Mapping[str, Any]],
) -> None:
    """Write the Config as it was chosen, all weights, and the table of scores."""
    from safetensors.torch import save

    best = min(trained, key=lambda member: member.best)
    config = run_directory.with_format_version(dict(described))
    run_directory.write_json(run, run_directory.CONFIG, config)
    run_directory.write_history(run, best.history)
    state = {name: value.cpu().contiguous() for name, value in best.model.state_dict().items()}
    with run_directory.atomic_write(run / run_directory.WEIGHTS) as partial:
        partial.write_bytes(save(state))
    table = scoring.over_sessions({name: fit.metrics for name, fit in fits.items()})
    table["num_shared_neurons"] = num_shared(task)
    if candidates:
        table["candidates"] = list(candidates)
    table["seeds_agree"] = {name: _seeds_agree(fit) for name, fit in fits.items()}
    run_directory.write_json(run, run_directory.METRICS, disclosure.of_value(table))


def num_shared(task: TrainingTask) -> int:
    """Number of neurons that more than one session holds."""
    rows = np.concatenate([np.array(ids) for ids in task.layout.neuron_ids.values()])
    return int((np.bincount(rows) > 1).sum())


def _seeds_agree(fit: Fit) -> float | None:
    """Correlation between two seeds' mean couplings of a session; None where it is not known."""
    reliability = Reliability.from_metrics(fit.metrics)
    return None if reliability is None else reliability.coupling.seeds
