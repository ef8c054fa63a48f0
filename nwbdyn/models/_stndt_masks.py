"""Which inputs STNDT hides in training, and what stands in their place."""

import torch
from torch import Tensor

from nwbdyn.models._stndt_lean import random_words

MODES = ("full", "timestep")


def mask(
    counts: Tensor,
    generator: torch.Generator | None,
    *,
    ratio: float,
    token_ratio: float,
    random_ratio: float,
    mode: str = "full",
    span: int = 1,
) -> tuple[Tensor, Tensor]:
    """Corrupt the visible counts of some windows.

    A share `ratio` of the elements is masked. Of these a share `token_ratio` becomes 0, of the rest
    a share `random_ratio` a uniform integer below the largest count in the batch, and what is left
    keeps its value.

    Args:
        counts: (B, T, N) visible counts only: held-in neurons, observed bins.
        mode: "full" masks single elements, "timestep" whole bins of a window.
        span: bins that are masked together, from a random start.

    Returns:
        The corrupted counts and the masked elements, bool; both (B, T, N).
    """
    batch, bins, neurons = counts.shape
    words = random_words(counts.shape, generator, counts.device)
    limit = round(ratio * 2**16)
    if mode == "full" and span == 1:
        masked = words < limit - 2**15  # and how far below decides the rest: no second draw
    else:
        # A start with probability 1 - (1 - ratio)^(1/span) at every bin that reaches an element
        # masks it with probability `ratio`, at the edges too.
        width = neurons if mode == "full" else 1
        start = torch.rand(
            (batch, bins + span - 1, width), generator=generator, device=counts.device
        )
        started = start < 1 - (1 - ratio) ** (1 / span)
        masked = started.unfold(1, span, 1).any(-1).expand(counts.shape)
        limit = 2**16
    # Whole tensors instead of chosen elements: a GPU would have to wait for their number.
    fate = (words + (2**15 + 0.5)) / limit  # uniform below 1 where masked
    chance = (fate - token_ratio) / max(1 - token_ratio, 1e-9)  # uniform below 1 of what is left
    random = masked & (chance >= 0) & (chance < random_ratio)
    integers = (chance / max(random_ratio, 1e-9) * counts.max()).floor_().to(counts.dtype)
    corrupted = counts.masked_fill(masked & (chance < 0), 0)
    corrupted = torch.where(random, integers, corrupted)
    return corrupted, masked


def hide_one_side(
    num_windows: int,
    bins: int,
    generator: torch.Generator | None,
    *,
    ratio: float,
    reach: int,
    device: torch.device,
) -> tuple[Tensor, Tensor]:
    """Choose a share `ratio` of windows to hide from a random bin on, or with equal odds up to one.

    These are the inputs that predictive influence is read out from (and its control, with time
    reversed): a model that has never seen them answers off its training distribution. What lies
    more than `reach` bins beyond the last visible bin is not worth scoring.

    Args:
        bins: observed bins of a window; at least one of them stays visible.

    Returns:
        Which bins are hidden, and which of these are out of reach; both (B, T) bool.
    """
    chosen, cut, side = torch.rand(3, num_windows, 1, generator=generator, device=device)
    # Bins from the cut on are hidden, or those before it: how far into the hidden side a bin is.
    depth = torch.arange(bins, device=device) - (1 + (cut * (bins - 1)).floor())  # (B, T)
    depth = torch.where(side < 0.5, depth, -1 - depth)
    hidden = (depth >= 0) & (chosen < ratio)
    return hidden, hidden & (depth >= reach)
