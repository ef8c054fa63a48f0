"""One model over several recordings: what sessions share is trained on all of them.

Each recording keeps its own bins, split, statistics and baselines. A batch holds windows of one
session, and sessions take turns. Afterwards every session has a Fit of its own, in a run directory
of its own, and beside these stand the weights of the whole and a table of the scores.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from nwbdyn.fitting import pipeline
from nwbdyn.fitting.stages import STAGES
from nwbdyn.fitting.train_models import TrainingExecutor
from nwbdyn.inference import influence
from nwbdyn.progress import Report, silent
from nwbdyn.progress_bars import progress_bars
from nwbdyn.recording import Recording
from nwbdyn.request import FitRequest
from nwbdyn.results.fit_results import Fit
from nwbdyn.workflows.joint_task import JointTask, build_joint_task


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
    folds: int | None = None,
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
        folds=folds,
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

    def build(opened: Sequence[Recording], request: FitRequest, device: torch.device) -> JointTask:
        keywords, loaded = pipeline.task_keywords(request)
        task = build_joint_task(
            opened, request.model, neuron_id=neuron_id, device=device, **keywords
        )
        return replace(task, adopted=loaded)

    return pipeline.run(
        request,
        recordings=recordings,
        build=build,
        stages=STAGES,
        executor=executor,
        report=report,
    )
