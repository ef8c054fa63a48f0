"""Masks of the inputs that STNDT hides in training, and the values that replace them."""

import torch
from torch import Tensor

from nwbdyn.models.base import Random

MODES = ("full", "timestep")


def mask(
    counts: Tensor,
    random: Random,
    *,
    ratio: float,
    token_ratio: float,
    random_ratio: float,
    mode: str = "full",
    span: int | Tensor = 1,
    longest: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Corrupt the visible counts of some windows.

    A share `ratio` of the elements is masked. Of these a share `token_ratio` becomes 0, of the rest
    a share `random_ratio` a uniform integer below the largest count in the batch, and what is left
    keeps its value.

    Args:
        counts: (B, T, N) visible counts only: held-in neurons, observed bins.
        mode: "full" masks single elements, "timestep" whole bins of a window.
        span: bins that are masked together, from a random start.
        longest: the largest that `span` may be, where it is a tensor.

    Returns:
        The corrupted counts and the masked elements, bool; both (B, T, N).
    """
    batch, bins, neurons = counts.shape
    if longest is None:
        assert isinstance(span, int)
        longest = span
    position = random.random_int16(*counts.shape).to(counts.dtype).add_(0.5)
    if mode == "full" and longest == 1:
        end = round(ratio * 2**16) - 2**15
        masked = position < end  # and how far below decides the rest: no second draw
    else:
        # A start with probability 1 - (1 - ratio)^(1/span) at every bin that reaches an element
        # masks it with probability `ratio`, at the edges too.
        start = random.uniform(batch, bins + longest - 1, neurons if mode == "full" else 1)
        started = start < 1 - (1 - ratio) ** (1 / span)
        reaching = [  # by number of bins that the start lies back
            started[:, longest - 1 - back : longest - 1 - back + bins] & (span > back)
            for back in range(longest)
        ]
        masked = torch.stack(reaching).any(0).expand(counts.shape)
        end = 2**15
        position = position.masked_fill(~masked, end)
    # Places below `end` are masked: up to `zeros` by a 0, up to `counted` by a random count. Whole
    # tensors instead of chosen elements: a GPU would have to wait for their number.
    zeros = token_ratio * (end + 2**15) - 2**15
    counted = zeros + random_ratio * (end - zeros)
    kept = position >= counted
    corrupted = counts * kept
    if counted > zeros:
        integers = position.sub_(zeros) * (counts.max() / (counted - zeros))
        corrupted.add_(integers.floor_().relu_().mul_(~kept))
    return corrupted, masked


def hide_one_side(
    num_windows: int,
    bins: int,
    random: Random,
    *,
    ratio: float,
    reach: int,
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
    chosen, cut, side = random.uniform(3, num_windows, 1)
    # Bins from the cut on are hidden, or those before it: how far into the hidden side a bin is.
    depth = torch.arange(bins, device=cut.device) - (1 + (cut * (bins - 1)).floor())  # (B, T)
    depth = torch.where(side < 0.5, depth, -1 - depth)
    hidden = (depth >= 0) & (chosen < ratio)
    return hidden, hidden & (depth >= reach)
