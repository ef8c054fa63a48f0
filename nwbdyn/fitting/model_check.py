"""Refusal of a model of another package that does not return what its form needs.

Its first batch is read out before anything is trained, because a mistake would otherwise show at
the end of the training.
"""

from collections.abc import Iterable

import torch

from nwbdyn import models
from nwbdyn.errors import ConfigError
from nwbdyn.fitting.task import FitTask
from nwbdyn.models.base import PARAMETERS, PER_WINDOW, BaseConfig
from nwbdyn.training.trainer import isolated_rng


def check(tasks: Iterable[FitTask], config: BaseConfig) -> None:
    """Read out the first training windows of every task whose model is of another package.

    Args:
        config: the one to check, where validation chooses among several.

    Raises:
        ConfigError: shapes that differ from those of the contract, or arrays that are missing.
    """
    for task in tasks:
        if models.package_of(task.name) is not None:
            _check(task.with_config(config))


def _check(task: FitTask) -> None:
    batch = next(iter(task.windows.batches("train", 2)))
    device = batch.activity.device
    with isolated_rng(0, device), torch.no_grad():
        model = task.model_class(task.config, task.layout).to(device).eval()
        predicted = tuple(model(batch).prediction.shape)
        returned = {
            "connectivity": set(model.connectivity(batch.session)),
            "time_resolved": set(model.time_resolved(batch)),
        }
    if predicted != (expected := tuple(batch.target.shape)):
        raise ConfigError(
            f"forward of {task.name} predicts an array of shape {predicted}; expected {expected}: "
            "windows, bins, neurons."
        )
    form = model.fitted_form
    needed = {"connectivity": PARAMETERS[form], "time_resolved": PER_WINDOW.get(form, ())}
    for method, names in needed.items():
        if missing := sorted(set(names) - returned[method]):
            raise ConfigError(
                f"{method} of {task.name} does not return {', '.join(missing)}; connectivity of "
                f"the form {form!r} needs {', '.join(names)}. See docs/own_model.md."
            )
