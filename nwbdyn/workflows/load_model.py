"""The model of a fit, loaded again, and lesions of it.

A Fit holds numbers that can be read without torch. To ask the model itself something new (its
influence at one moment, its contributions, a lesion), its weights are put back into the model, and
the recording is opened and cut again; the digest of the tensors tells that they are those fitted.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch

from nwbdyn import metrics, models, scratch
from nwbdyn.connectivity.connectivity import Connectivity
from nwbdyn.errors import ConfigError, ResultsError
from nwbdyn.fitting.pipeline import task_keywords
from nwbdyn.fitting.task import FitTask, build_task
from nwbdyn.inference import influence
from nwbdyn.models.base import Model, Output
from nwbdyn.progress import silent
from nwbdyn.recording import COUNTS, Recording
from nwbdyn.results.fit_results import Fit
from nwbdyn.workflows import locate_source, reproduce


@dataclass(frozen=True)
class LoadedModel:
    """A fitted model beside the windows that it was fitted to."""

    problem: FitTask
    model: Model  # in evaluation mode, on the CPU


def load_model(fit: Fit, recording: Recording | str | None = None) -> LoadedModel:
    """The trained model of a fit, with its task.

    Args:
        fit: of one recording, with its weights.
        recording: what was fitted; by default the fit's source is opened again.

    Raises:
        ResultsError: a fit of several recordings, one without weights, or a recording that does not
            give the tensors that were fitted.
        AddressError, ReadError: the source cannot be opened.
    """
    decisions: Any = fit.environment.get("asked") or {}
    if "joint" in decisions:
        raise ResultsError(
            "This model was fitted to several recordings at once and cannot be restored from one "
            "of them. Fit the recording alone."
        )
    if not fit.weights:
        raise ResultsError("This fit holds no weights; load its run directory.")
    with ExitStack() as files:
        if not isinstance(recording, Recording):
            folder = files.enter_context(scratch.folder())
            recording = files.enter_context(
                reproduce.reopened(
                    fit, recording or locate_source.address_of(fit), None, folder, silent
                )
            )
        request = reproduce.checked_request(fit, recording)
        options = models.load(fit.model).options_of(fit.config)
        fitted = {"options": options, "epochs": None, "sweep": None, "init_from": None}
        keywords, _ = task_keywords(request.with_keywords(**fitted))
        problem = build_task(recording, fit.model, **keywords)
    model = problem.model_class(problem.config, problem.layout)
    model.load_state_dict({name: torch.as_tensor(value) for name, value in fit.weights.items()})
    return LoadedModel(problem, model.eval())


def influence_at(
    fit: Fit, times: Sequence[float], *, recording: Recording | str | None = None
) -> Connectivity:
    """The predictive influence at any moments of the session, where `Fit.influence` has some only.

    Args:
        times: seconds on the session clock.
        recording: as for `restore`.

    Returns:
        One matrix for the window nearest to each of the times; times that share one share it.

    Raises:
        ConfigError: a model whose influence says nothing: STNDT without `causal_mask_ratio`.
        ResultsError, AddressError, ReadError: as `restore`.
    """
    restored = load_model(fit, recording)
    if not restored.model.supports_influence:
        raise ConfigError(
            f"This {fit.model} was not trained for its predictive influence. Fit it with --set "
            "causal_mask_ratio=0.2."
        )
    return influence.at(restored.model, restored.problem.windows, times)


def lesion(
    fit: Fit, neurons: Sequence[int], *, recording: Recording | str | None = None
) -> pd.DataFrame:
    """Change of the test predictions when the output of some neurons is cut.

    Their column of the adjacency is set to 0; their own history stays, and so does their activity.

    Args:
        fit: of a model that can be lesioned: synapsnet.
        neurons: their ids.
        recording: as for `restore`.

    Returns:
        One row per neuron: id; lesioned (True for those cut off); mean_change and rms_change of its
        prediction (lesioned minus whole, in training sd of traces, or spikes per bin); score and
        score_lesioned, its R2 or bits per spike.

    Raises:
        ConfigError: a model that cannot be lesioned, or ids that the fit does not have.
        ResultsError, AddressError, ReadError: as `restore`.
    """
    rows = pd.Index(fit.neurons.ids).get_indexer(pd.Index(neurons))
    if (rows < 0).any():
        unknown = ", ".join(str(n) for n, row in zip(neurons, rows, strict=True) if row < 0)
        raise ConfigError(f"No neuron has the id {unknown}; see fit.neurons.ids.")
    restored = load_model(fit, recording)
    model, windows = restored.model, restored.problem.windows
    lesioned: Callable[..., Output] | None = getattr(model, "lesion", None)
    if lesioned is None:
        raise ConfigError(
            f"{fit.model} cannot be lesioned: its neurons reach one another by more than one path. "
            "Fit synapsnet."
        )
    starts, whole, cut = windows.starts("test"), [], []
    with torch.no_grad():
        for batch in windows.batches("test", model.config.batch_size):
            whole.append(model(batch).prediction.numpy())
            cut.append(lesioned(batch, rows.tolist()).prediction.numpy())
    before, after = (
        windows.to_session_clock(starts, np.concatenate(parts)) for parts in (whole, cut)
    )
    binned = restored.problem.binned
    seen = np.isfinite(before).all(axis=1)
    counts = binned.quantity == COUNTS
    change = (after - before)[seen] / (1.0 if counts else windows.sd)
    score = metrics.bits_per_spike if counts else metrics.r2
    return pd.DataFrame(
        {
            "id": fit.neurons.ids,
            "lesioned": np.isin(np.arange(len(fit.neurons)), rows),
            "mean_change": change.mean(axis=0),
            "rms_change": np.sqrt(np.square(change).mean(axis=0)),
            "score": score.per_neuron(binned.values[seen], before[seen]),
            "score_lesioned": score.per_neuron(binned.values[seen], after[seen]),
        }
    )
