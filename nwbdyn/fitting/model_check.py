"""Check of a model of another package: does it return the arrays that its form needs?

The model is evaluated on its first batch before the training. Without this check a mistake would
end the fit only after the training.
"""

from collections.abc import Iterable

import torch

from nwbdyn import models
from nwbdyn.errors import ConfigError
from nwbdyn.fitting.task import FitTask
from nwbdyn.models.base import PARAMETERS, PER_WINDOW, BaseConfig
from nwbdyn.training.trainer import isolated_rng


def check(tasks: Iterable[FitTask], config: BaseConfig) -> None:
    """Evaluate every model of another package on its first training windows.

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
