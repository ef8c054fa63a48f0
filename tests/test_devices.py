"""No model mixes the device it is on with another: torch's device without data refuses to.

What only a GPU can show (its random generators, its speed) is not shown here.
"""

from dataclasses import fields, replace

import pytest
import torch
from torch import Tensor

from nwbdyn import models
from nwbdyn.models.base import Batch, Layout, Model

NUM_NEURONS = 8
CASES = [
    ("netformer", "dff", {}),
    ("netformer", "dff", {"raw_values": False, "dropout": 0.1, "ridge": 1.0, "type_weight": 0.1}),
    ("netformer", "dff", {"static": True, "ridge": 1.0, "queries": (0, 1)}),
    ("netformer", "dff", {"coupling": False, "loss": "gaussian", "baseline": True}),
    ("netformer", "counts", {}),
    ("synapsnet", "dff", {"l1": 1.0}),
    ("synapsnet", "counts", {"decoder": "gru"}),
    ("stndt", "counts", {"layers": 1, "heads": 1}),
    ("stndt", "counts", {"layers": 1, "heads": 1, "contrast": "prediction"}),
    ("stndt", "counts", {"layers": 1, "heads": 1, "causal_mask_ratio": 0.2}),
]


def batch_on(device: str, bins: int, targets: int, covariates: int) -> Batch:
    batch = Batch(
        activity=torch.zeros(4, bins, NUM_NEURONS),
        target=torch.zeros(4, targets, NUM_NEURONS),
        valid=torch.ones(4, targets, NUM_NEURONS, dtype=torch.bool),
        held_in=torch.ones(NUM_NEURONS, dtype=torch.bool),
        neuron_ids=torch.arange(NUM_NEURONS),
        covariates=torch.zeros(4, bins, covariates),
        start_bin=torch.arange(4),
    )
    values = {field.name: getattr(batch, field.name) for field in fields(batch)}
    moved = {name: one.to(device) for name, one in values.items() if isinstance(one, Tensor)}
    return replace(batch, **moved)


def on_meta(name: str, quantity: str, options: dict) -> tuple[Model, Batch]:
    """A model and a batch for it, on the device without data."""
    co_smoothing = name == "stndt"
    layout = Layout(
        {"0": tuple(range(NUM_NEURONS))},
        {"0": (True,) * NUM_NEURONS},
        0.01,
        quantity,
        num_covariates=0 if co_smoothing else 2,
        trial_bins=(12, 4) if co_smoothing else None,
        cell_types=(0, 1, 0, 1, 0, 1, -1, 1),
    )
    model_class = models.load(name)
    config = model_class.configure(layout, **options)
    model = model_class(config, layout)
    spec = model_class.windows(config, layout)
    bins = spec.context + spec.forward
    targets = bins if co_smoothing else 1
    return model.to("meta"), batch_on("meta", bins, targets, layout.num_covariates)


@pytest.mark.parametrize(("name", "quantity", "options"), CASES)
def test_an_update_stays_on_its_device(name, quantity, options):
    co_smoothing = name == "stndt"
    model, batch = on_meta(name, quantity, options)
    for training in (True, False):
        model.train(training)
        output = model(batch)
        assert output.prediction.device.type == "meta"
        if training or not co_smoothing:
            model.loss(batch, output).backward()
    optimiser, _ = model.optimiser(10, 5)
    optimiser.step()
    model.after_update(1)
    assert model.influence(batch).device.type == "meta"
    assert all(value.device.type == "meta" for value in model.time_resolved(batch).values())
