"""Deep models to hold SynapsNet against: what coupling by a learned adjacency is worth.

`PopulationMean` is SynapsNet with one number for the population: every neuron hears the mean of all
others, as the models do that were made for recordings whose wiring is out of reach (NeuPRINT, Mi et
al., NeurIPS 2023). `MultichannelGRU` is one recurrent network over all neurons of a session at
once, with nothing shared between them. Both have SynapsNet's training: schedule, batches, updates,
early stopping. They are no models to choose from and have no read-out.
"""

from collections.abc import Iterable
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import lr_scheduler

from nwbdyn.models import base
from nwbdyn.models.synapsnet import SynapsNet, SynapsNetConfig


class PopulationMean(SynapsNet):
    """SynapsNet whose adjacency is the mean over all other neurons, and stays so."""

    def __init__(self, config: SynapsNetConfig, layout: base.Layout) -> None:
        super().__init__(config, layout)
        self.A.requires_grad_(False)

    def initialise(self, train: Iterable[base.Batch]) -> None:
        super().initialise(train)
        for weight in self.A.values():
            weight.data.fill_(1 / max(1, len(weight) - 1))  # the diagonal is masked

    def after_update(self, step: int) -> None:
        """No penalty: there is nothing to choose."""


class MultichannelGRU(base.Model):
    """x(t+1) = x(t) + W h(t), h a GRU over all neurons and the behaviour; counts: in the log."""

    quantities: ClassVar[frozenset[str]] = SynapsNet.quantities
    target: ClassVar[str] = base.NEXT
    form: ClassVar[str] = "static"
    Config: ClassVar[type[base.Config]] = SynapsNetConfig
    paper: ClassVar[str] = "a recurrent network"
    config: SynapsNetConfig
    log_mean: Tensor  # (num_global,) log of the mean training count

    def __init__(self, config: SynapsNetConfig, layout: base.Layout) -> None:
        super().__init__(config, layout)
        self.sessions = list(layout.neuron_ids)
        sizes = [len(layout.neuron_ids[session]) for session in self.sessions]
        self.cells = nn.ModuleList(
            nn.GRU(size + layout.num_covariates, config.hidden, batch_first=True) for size in sizes
        )
        self.outs = nn.ModuleList(nn.Linear(config.hidden, size) for size in sizes)
        self.register_buffer("log_mean", torch.zeros(layout.num_global))

    def forward(self, batch: base.Batch) -> base.Output:
        number = self.sessions.index(batch.session)
        steps = torch.cat([batch.activity, batch.covariates], dim=-1)  # (B, W, N + K)
        change = self.outs[number](self.cells[number](steps)[0][:, -1])[:, None]  # (B, 1, N)
        if self.layout.counts:
            log_rate = self.log_mean[batch.neuron_ids] + change
            return base.Output(prediction=log_rate.exp(), log_rate=log_rate)
        return base.Output(prediction=batch.activity[:, -1:] + change)

    def loss(self, batch: base.Batch, output: base.Output) -> Tensor:
        """Mean over the valid targets."""
        prediction, target = output.prediction[batch.valid], batch.target[batch.valid]
        if output.log_rate is None:
            return F.mse_loss(prediction, target)
        return (prediction - target * output.log_rate[batch.valid]).mean()

    def initialise(self, train: Iterable[base.Batch]) -> None:
        """Rates start at each neuron's mean."""
        total, count = torch.zeros_like(self.log_mean), torch.zeros_like(self.log_mean)
        for batch in train:
            targets = (batch.target * batch.valid).sum(dim=(0, 1))
            total.index_add_(0, batch.neuron_ids, targets)
            count.index_add_(0, batch.neuron_ids, batch.valid.sum(dim=(0, 1)).to(count))
        self.log_mean.copy_((total / count.clamp(min=1)).clamp(min=1e-4).log())

    def optimiser(
        self, num_updates: int, updates_per_epoch: int
    ) -> tuple[torch.optim.Optimizer, lr_scheduler.LRScheduler | None]:
        """AdamW over one cycle of the learning rate."""
        optimiser, _ = super().optimiser(num_updates, updates_per_epoch)
        return optimiser, lr_scheduler.OneCycleLR(
            optimiser, max_lr=self.config.learning_rate, total_steps=num_updates + 1
        )


COMPARATORS: dict[str, type[base.Model]] = {
    "population mean": PopulationMean,
    "multichannel GRU": MultichannelGRU,
}
