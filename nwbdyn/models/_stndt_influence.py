"""Predictive influence: what a neuron's spikes in some bins do to the log rates of another bin."""

from collections.abc import Callable

import torch
from torch import Tensor


def jacobian(log_rate: Callable[[Tensor], Tensor], counts: Tensor, near: slice) -> Tensor:
    """(B, post, pre) slope of the log rate in each neuron's counts, added up over bins `near`.

    Args:
        log_rate: of counts (B, T, N) the log rates (B, N) of one bin.
    """
    with torch.enable_grad():
        counts = counts.detach().requires_grad_()
        totals = log_rate(counts).sum(0)  # (N,): windows do not see each other
        rows = [
            torch.autograd.grad(total, counts, retain_graph=True)[0][:, near].sum(1)
            for total in totals
        ]
    return torch.stack(rows, 1)


@torch.no_grad()
def silenced(
    log_rate: Callable[[Tensor], Tensor], counts: Tensor, near: slice, batch_size: int
) -> Tensor:
    """(B, post, pre) log rate minus the log rate without each neuron's spikes in bins `near`.

    Only neurons that spiked there are silenced: for the others nothing changes.
    """
    whole = log_rate(counts)  # (B, N)
    change = counts.new_zeros(*whole.shape, counts.shape[2])
    spiked = counts[:, near].any(1).nonzero()  # (P, 2) window, neuron
    for window, neuron in (pairs.unbind(1) for pairs in spiked.split(batch_size)):
        silent = counts[window]  # a copy
        silent[torch.arange(len(window)), near, neuron] = 0
        change[window, :, neuron] = whole[window] - log_rate(silent)
    return change
