"""Decoders of SynapsNet: from a neuron's own bins, its current, behaviour and embedding."""

import torch
from torch import Tensor, nn

from nwbdyn.models._synapsnet_config import SynapsNetConfig


class MLP(nn.Module):
    """Decoder over the flattened window. The parts of the first layer are added."""

    def __init__(self, config: SynapsNetConfig, num_covariates: int) -> None:
        super().__init__()
        self.own = nn.Linear(config.context, config.hidden)
        self.current = nn.Linear(config.context, config.hidden, bias=False)
        self.identity = nn.Linear(config.embedding, config.hidden, bias=False)
        self.behaviour = (
            nn.Linear(config.context * num_covariates, config.hidden, bias=False)
            if num_covariates
            else None
        )
        self.rest = nn.Sequential(
            nn.SiLU(),
            nn.Linear(config.hidden, config.hidden),
            nn.SiLU(),
            nn.Linear(config.hidden, 1),
        )

    def forward(self, own: Tensor, current: Tensor, behaviour: Tensor, identity: Tensor) -> Tensor:
        rows = torch.cat([own, current], dim=1).mT.flatten(0, 1)  # (B N, 2 W)
        hidden = rows @ torch.cat([self.own.weight, self.current.weight], dim=1).T
        hidden = hidden.unflatten(0, (len(own), -1)) + (self.identity(identity) + self.own.bias)
        if self.behaviour is not None:
            hidden = hidden + self.behaviour(behaviour.flatten(1))[:, None]
        *inner, last = self.rest
        assert isinstance(last, nn.Linear)
        for layer in inner:
            hidden = layer(hidden)
        return (hidden * last.weight[0]).sum(-1) + last.bias  # (B, N)

    @torch.no_grad()
    def turn_current(self) -> None:
        """Make f(I) what f(-I) was."""
        self.current.weight.neg_()

    @torch.no_grad()
    def start_at_zero(self) -> None:
        """Make f exactly 0."""
        last = self.rest[-1]
        assert isinstance(last, nn.Linear)
        assert last.bias is not None
        last.weight.zero_()
        last.bias.zero_()


class GRU(nn.Module):
    """Decoder that goes through the window bin by bin."""

    def __init__(self, config: SynapsNetConfig, num_covariates: int) -> None:
        super().__init__()
        width = 2 + num_covariates + config.embedding
        self.cell = nn.GRU(width, config.hidden, batch_first=True)
        self.out = nn.Linear(config.hidden, 1)

    def forward(self, own: Tensor, current: Tensor, behaviour: Tensor, identity: Tensor) -> Tensor:
        num_windows, num_bins, num_neurons = own.shape
        shape = (num_windows, num_neurons, num_bins, -1)
        parts = [own.mT[..., None], current.mT[..., None]]
        parts.append(behaviour[:, None].expand(shape))
        parts.append(identity[None, :, None].expand(shape))
        steps = torch.cat(parts, dim=-1).flatten(0, 1)  # (B N, W, features)
        return self.out(self.cell(steps)[0][:, -1]).view(num_windows, num_neurons)

    @torch.no_grad()
    def turn_current(self) -> None:
        """Make f(I) what f(-I) was."""
        self.cell.get_parameter("weight_ih_l0")[:, 1].neg_()

    @torch.no_grad()
    def start_at_zero(self) -> None:
        """Make f exactly 0."""
        self.out.weight.zero_()
        self.out.bias.zero_()


DECODERS: dict[str, type[MLP] | type[GRU]] = {"mlp": MLP, "gru": GRU}
