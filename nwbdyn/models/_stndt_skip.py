"""The path of STNDT around its transformer: log rates of held-out neurons by Poisson regression.

It is the baseline that the model is scored against, fitted before the training and not trained by
it. The transformer adds to its log rates, from exactly 0 on.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

GROUPS = 3  # filters per held-in neuron, at most; those that are not used have no weight
_HIDDEN = 1e-3  # weight of visible bins below which a filter falls back on the mean count


class Skip(nn.Module):
    """log rate = min(sum over groups of log(filter x + offset) W + bias, ceiling).

    Columns of held-in neurons are 0. Without `fill` it adds nothing anywhere, so that a checkpoint
    without this path stays the model that it was.

    Args:
        bins: observed bins of a window.
        held_in: number of held-in neurons.
        neurons: number of all.
    """

    filters: Tensor  # (G, T_obs, T_obs)
    offset: Tensor  # (G, N_in) added to filtered counts before the log
    weights: Tensor  # (G, N_in, N)
    bias: Tensor  # (N,)
    ceiling: Tensor  # (N,)
    ahead: Tensor  # (N,) log rate in forward bins
    filled: Tensor  # 1 with a regression, 0 without
    share: Tensor  # of the transformer's part in evaluation; 0 is the regression itself

    def __init__(self, bins: int, held_in: int, neurons: int) -> None:
        super().__init__()
        self.register_buffer("filters", torch.zeros(GROUPS, bins, bins))
        self.register_buffer("offset", torch.ones(GROUPS, held_in))
        self.register_buffer("weights", torch.zeros(GROUPS, held_in, neurons))
        self.register_buffer("bias", torch.zeros(neurons))
        self.register_buffer("ceiling", torch.full((neurons,), math.inf))
        self.register_buffer("ahead", torch.zeros(neurons))
        self.register_buffer("filled", torch.zeros(()))
        self.register_buffer("share", torch.ones(()))

    @torch.no_grad()
    def fill(self, regression: Mapping[str, Tensor], columns: Tensor) -> None:
        """Take over a regression.

        Args:
            regression: "filters" (K, T_obs, T_obs), "offset" (K, N_in), "weights" (K, N_in, N_out),
                and "bias", "ceiling" and "ahead" (N_out,).
            columns: (N_out,) long, where its neurons are.
        """
        number = len(regression["filters"])
        self.filters.zero_()[:number] = regression["filters"]
        self.offset.fill_(1.0)[:number] = regression["offset"]
        self.weights.zero_()[:number, :, columns] = regression["weights"].to(self.weights)
        for name in ("bias", "ceiling", "ahead"):
            getattr(self, name)[columns] = regression[name].to(self.bias)
        self.filled.fill_(1.0)
        self.share.fill_(1.0)

    def forward(self, visible: Tensor, ahead: int, seen: Tensor | None = None) -> Tensor:
        """(B, T, N) log rates; 0 for held-in neurons.

        Args:
            visible: (B, T_obs, N_in) counts.
            ahead: forward bins.
            seen: (B, T_obs) 1 in bins that are visible, 0 in hidden ones; then the filters take
                the visible bins alone. By default all are.
        """
        filtered = torch.einsum("guv,bvn->bgun", self.filters, visible)
        if seen is not None:
            reached = torch.einsum("guv,bv->bgu", self.filters, seen.to(visible))[..., None]
            mean = self.offset[:, None]  # of the filtered counts in training
            filtered = (filtered + _HIDDEN * mean * (1 - reached)) / (
                reached + _HIDDEN * (1 - reached)
            )
        logs = torch.log(filtered + self.offset[:, None])
        log_rate = torch.einsum("bgun,gnm->bum", logs, self.weights) + self.bias
        log_rate = torch.minimum(log_rate, self.ceiling)
        if not ahead:
            return log_rate
        return torch.cat([log_rate, self.ahead.expand(len(log_rate), ahead, -1)], 1)

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *others: Any, **more: Any
    ) -> None:
        """Load; a checkpoint of version 0.1, which has none of this, leaves the path empty."""
        if not any(name.startswith(prefix) for name in state_dict):
            state_dict |= {prefix + name: value for name, value in self._empty()}
        super()._load_from_state_dict(state_dict, prefix, *others, **more)

    def _empty(self) -> Iterator[tuple[str, Tensor]]:
        """The state of a path that adds nothing."""
        _, bins, _ = self.filters.shape
        _, held_in, neurons = self.weights.shape
        yield from Skip(bins, held_in, neurons).named_buffers()
