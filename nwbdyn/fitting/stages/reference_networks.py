"""Deep comparators, trained on request: what a model's own form is worth among networks.

They see the same windows as the model, have SynapsNet's sizes and training, and are scored on the
same bins, each difference paired with its interval. Beside the scores stands how well each one
follows the first principal components of the population, in which slow, shared activity lies.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from nwbdyn import metrics
from nwbdyn.errors import ConfigError
from nwbdyn.evaluation import scoring
from nwbdyn.evaluation.scoring import Task
from nwbdyn.fitting.train_models import RunContext, TrainingTask
from nwbdyn.models.base import NEXT
from nwbdyn.progress import Progress
from nwbdyn.training.trainer import Trained, train

COMPONENTS = 3


def check(problem: TrainingTask) -> None:
    """Raises ConfigError for a model that does not predict the next bin."""
    if problem.model_class.target != NEXT:
        raise ConfigError(
            "--comparators are models of the next bin; this one predicts held-out neurons. Leave "
            "them out, or fit synapsnet or netformer."
        )


def train_comparators(problem: TrainingTask, seed: int, place: RunContext) -> dict[str, Trained]:
    """name -> a trained comparator, on the model's own windows."""
    from nwbdyn.models._comparators import COMPARATORS
    from nwbdyn.models.synapsnet import SynapsNet, SynapsNetConfig

    config = problem.config
    if not isinstance(config, SynapsNetConfig):
        config = SynapsNet.configure(problem.layout, context=problem.windows.spec.context)
    config = replace(config, coupling=True, decoder="mlp", l1=0.0)
    trained = {}
    for number, (name, model_class) in enumerate(COMPARATORS.items()):
        place.report(Progress("comparators", number, len(COMPARATORS), "models"))
        trained[name] = train(
            model_class,
            config,
            problem.layout,
            problem.windows,
            seed=seed,
            device=problem.windows.device,
            folder=place.folder(f"comparator-{number}"),
            resume=place.resume,
            report=place.report,
        )
    return trained


def compare(
    task: Task, model: str, prediction: np.ndarray, others: Mapping[str, np.ndarray]
) -> dict[str, Any]:
    """The model beside its comparators.

    Args:
        model: its name.
        prediction: (num_bins, N) of the model, source units.
        others: likewise, of each comparator.

    Returns:
        "scores" {name: {split: {metric: value}}}; "difference" {name: see `evaluation.compare`,
        "with" being the model and "without" the comparator}; "components" {name: (COMPONENTS,)
        correlations, see `component_correlations`}.
    """
    return {
        "scores": {name: scoring.scores(task, values) for name, values in others.items()},
        "difference": {
            name: scoring.paired_difference(task, prediction, values)
            for name, values in others.items()
        },
        "components": {
            name: component_correlations(task, values)
            for name, values in {model: prediction, **others}.items()
        },
    }


def over_sessions(parts: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """comparator -> the model's differences over sessions, see `evaluation.paired`.

    Args:
        parts: session -> what `compare` returned for it.
    """
    names = next(iter(parts.values()))["difference"]
    return {
        name: scoring.sign_flip_test([part["difference"][name]["adds"] for part in parts.values()])
        for name in names
    }


def component_correlations(task: Task, prediction: np.ndarray) -> list[float]:
    """Correlation, over test bins, of what was predicted and what was recorded along the first
    principal components of the z-scored training activity, strongest first.
    """
    values = task.binned.values.astype(np.float64)
    train = task.split.bins("train") & task.binned.valid
    mean, sd = np.nanmean(values[train], axis=0), np.nanstd(values[train], axis=0)
    sd = np.where(sd > 0, sd, 1.0)
    seen = np.nan_to_num((values[train] - mean) / sd)
    _, directions = np.linalg.eigh(seen.T @ seen)  # weakest first
    strongest = directions[:, ::-1][:, :COMPONENTS]
    rows = task.split.bins("test") & task.binned.valid & task.counted
    rows &= np.isfinite(prediction).all(axis=1)
    truth = np.nan_to_num((values[rows] - mean) / sd) @ strongest
    guess = ((prediction[rows] - mean) / sd) @ strongest
    return metrics.pearson.per_neuron(truth, guess).tolist()
