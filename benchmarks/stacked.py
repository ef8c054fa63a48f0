"""Several NetFormers trained side by side in one program: seeds of one fit, or systems of one kind.

Models this small spend their time on calls, not on sums. Their weights are stacked along a first
axis and one call trains all of them. Adam looks at every entry alone and no gradient is clipped, so
each model ends where it would have ended by itself.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.func import functional_call, stack_module_state, vmap

from nwbdyn.models.base import Batch
from nwbdyn.models.netformer import NetFormer


def seeded(make: Callable[[], NetFormer], seeds: Sequence[int]) -> list[NetFormer]:
    """One model per seed, drawn as it would be alone."""
    models = []
    for seed in seeds:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            models.append(make())
    return models


def train(
    models: Sequence[NetFormer],
    training: Sequence[Batch],
    *,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    factor: Callable[[float], float] = lambda done: 1.0,
) -> None:
    """Adam on the mean squared error of the next step; the models receive their trained weights.

    Args:
        training: every training window of each model, as many for all; one batch for all of them
            is taken as shared. Model s shuffles its own with seed s.
        factor: of the learning rate, given the share of the course that is done.
    """
    weights, buffers = stack_module_state(list(models))
    optimiser = torch.optim.Adam(weights.values(), learning_rate)
    generators = [torch.Generator().manual_seed(seed) for seed in range(len(models))]
    pattern = training[0]
    windows = [
        torch.stack([getattr(batch, name) for batch in training]).expand(
            len(models), *getattr(pattern, name).shape
        )
        for name in ("activity", "covariates", "target")
    ]  # each (num_models, num_windows, …)

    def loss(weight: dict[str, Tensor], buffer: dict[str, Tensor], *parts: Tensor) -> Tensor:
        activity, covariates, target = parts
        batch = replace(pattern, activity=activity, covariates=covariates, target=target)
        output = functional_call(models[0], (weight, buffer), (batch,))
        return ((output.prediction - target) ** 2).mean()

    losses = vmap(loss)
    num_windows = len(pattern.target)
    num_updates = -(-num_windows // batch_size)
    own = torch.arange(len(models))[:, None]
    for epoch in range(epochs):
        orders = torch.stack([torch.randperm(num_windows, generator=g) for g in generators])
        for update, rows in enumerate(orders.split(batch_size, dim=1)):
            done = (epoch + update / num_updates) / epochs
            optimiser.param_groups[0]["lr"] = learning_rate * factor(done)
            optimiser.zero_grad()
            losses(weights, buffers, *(part[own, rows] for part in windows)).sum().backward()
            optimiser.step()
    for number, model in enumerate(models):
        state = {name: value[number].detach() for name, value in weights.items()}
        model.load_state_dict({**model.state_dict(), **state})
        model.eval()
