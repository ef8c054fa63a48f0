"""The layers of STNDT: dropout, position codes, attention over time, maps over neurons."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nwbdyn.models import _stndt_lean as lean
from nwbdyn.models.base import Random


def dropout(x: Tensor, rate: float, random: Random | None) -> Tensor:
    """Zero each element with probability `rate` (in steps of 2^-16) and rescale the rest.

    Without random numbers, as in evaluation, all is kept.
    """
    return x if random is None or rate == 0 else _dropped(x, rate, random.random_int16(*x.shape))


def _dropped(x: Tensor, rate: float, words: Tensor) -> Tensor:
    threshold, factor = lean.threshold_of(rate)
    return x * (words >= threshold) * factor


def position_code(length: int, width: int) -> Tensor:
    """(length, width) sines and cosines of the position; an odd width drops the last cosine."""
    position = torch.arange(length, dtype=torch.float32)[:, None]
    frequency = torch.exp(torch.arange(0, width, 2).float() * (-math.log(10000.0) / width))
    code = torch.zeros(length, width)
    code[:, 0::2] = torch.sin(position * frequency)
    code[:, 1::2] = torch.cos(position * frequency[: width // 2])
    return code


class TemporalAttention(nn.Module):
    """Every bin attends to the bins from `back` before it to `forward` after it (d_model = N).

    Args:
        back: bins; 0 or less: all earlier ones.
        forward: bins; less than 0: all later ones.
    """

    hidden_bins: Tensor
    position: Tensor

    def __init__(
        self, bins: int, neurons: int, heads: int, rate: float, *, back: int, forward: int
    ) -> None:
        super().__init__()
        self.heads = heads
        self.rate = rate
        self.project = nn.Linear(neurons, 3 * neurons)
        nn.init.xavier_uniform_(self.project.weight)
        nn.init.zeros_(self.project.bias)
        self.mix = nn.Linear(neurons, neurons)
        nn.init.zeros_(self.mix.bias)
        offset = torch.arange(bins) - torch.arange(bins)[:, None]  # key minus query
        seen = torch.ones(bins, bins, dtype=torch.bool)
        if back > 0:
            seen &= offset >= -back
        if forward >= 0:
            seen &= offset <= forward
        self.register_buffer("hidden_bins", ~seen, persistent=False)
        self.band = lean.Band.of(bins, back, forward)
        self.register_buffer("position", self.band.places(), persistent=False)

    def forward(self, a: Tensor, random: Random | None) -> Tensor:
        batch, bins, neurons = a.shape
        split = self.project(a).view(batch, bins, 3, self.heads, neurons // self.heads)
        query, key, value = split.permute(2, 0, 3, 1, 4)  # each (B, H, T, N / H)
        scores = query @ key.mT / math.sqrt(neurons / self.heads)
        weights = scores.masked_fill(self.hidden_bins, -math.inf).softmax(-1)
        if random is not None and self.rate:
            # One word for every key in a query's block of the band, as the lean block draws them.
            words = random.random_int16(self.heads, batch, *self.band.bias.shape)
            position = self.position.expand(self.heads, batch, bins, bins)
            words = words.view(self.heads, batch, bins, -1).gather(-1, position)
            weights = _dropped(weights, self.rate, words.transpose(0, 1))
        mixed = (weights @ value).transpose(1, 2).reshape(batch, bins, neurons)
        return self.mix(mixed)


class SpatialMap(nn.Module):
    """One row-stochastic (N, N) map per window, row = attending neuron, averaged over heads.

    Only queries and keys: the map multiplies the temporal stream, so value and output projections
    of the published module never reach the output.
    """

    def __init__(self, bins: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(bins)
        self.project = nn.Linear(bins, 2 * bins)
        # The range that torch's joint (3T, T) projection starts with.
        nn.init.uniform_(self.project.weight, -math.sqrt(6 / (4 * bins)), math.sqrt(6 / (4 * bins)))
        nn.init.zeros_(self.project.bias)

    def forward(self, s: Tensor) -> Tensor:
        batch, neurons, bins = s.shape
        split = self.project(self.norm(s)).view(batch, neurons, 2, self.heads, bins // self.heads)
        query, key = split.permute(2, 0, 3, 1, 4)  # each (B, H, N, T / H)
        scores = query @ key.mT / math.sqrt(bins / self.heads)
        return scores.softmax(-1).mean(1)


class FeedForward(nn.Module):
    """N -> width -> N with a ReLU, after a layer norm."""

    def __init__(self, neurons: int, width: int, rate: float) -> None:
        super().__init__()
        self.rate = rate
        self.norm = nn.LayerNorm(neurons)
        self.widen = nn.Linear(neurons, width)
        self.narrow = nn.Linear(width, neurons)

    def forward(self, h: Tensor, random: Random | None) -> Tensor:
        inner = F.relu(self.widen(self.norm(h)))
        return self.narrow(dropout(inner, self.rate, random))


class Layer(nn.Module):
    """One layer of the published encoder: time, feed-forward, neurons, feed-forward; pre-norm."""

    def __init__(
        self,
        bins: int,
        neurons: int,
        *,
        heads: int,
        width: int,
        rate: float,
        back: int,
        forward: int,
    ) -> None:
        super().__init__()
        self.rate = rate
        self.norm_time = nn.LayerNorm(neurons)
        self.time = TemporalAttention(bins, neurons, heads, rate, back=back, forward=forward)
        self.after_time = FeedForward(neurons, width, rate)
        self.map = SpatialMap(bins, heads)
        self.norm_value = nn.LayerNorm(neurons)
        self.after_space = FeedForward(neurons, width, rate)

    def attention(self, s: Tensor, *, is_lean: bool = False) -> Tensor:
        """(B, N, N) the spatial map of s (B, N, T); `is_lean` takes the block of _stndt_lean."""
        if not is_lean:
            return self.map(s)
        norm, project = self.map.norm, self.map.project
        return lean.Map.apply(
            s.mT, norm.weight, norm.bias, project.weight, project.bias, self.map.heads
        )

    def forward(
        self, h: Tensor, map: Tensor, random: Random | None, *, is_lean: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """The stream after this layer (B, T, N), and of the plain layer y, what the map mixed.

        Args:
            random: for dropout; None drops nothing.
            is_lean: take the blocks of _stndt_lean, for training on a CPU.
        """
        if is_lean:
            return self._lean(h, map, random), None
        h = h + dropout(self.time(self.norm_time(h), random), self.rate, random)
        h = h + dropout(self.after_time(h, random), self.rate, random)
        y = self.norm_value(h)
        h = h + dropout(y @ map.mT, self.rate, random)
        return h + dropout(self.after_space(h, random), self.rate, random), y

    def _lean(self, h: Tensor, map: Tensor, random: Random | None) -> Tensor:
        norm, project, mix = self.norm_time, self.time.project, self.time.mix
        h = lean.Time.apply(
            h,
            norm.weight,
            norm.bias,
            project.weight,
            project.bias,
            mix.weight,
            mix.bias,
            self.time.heads,
            self.time.band,
            self.rate,
            random,
        )
        h = self._lean_feed(h, self.after_time, random)
        norm = self.norm_value
        h = lean.Space.apply(h, map, norm.weight, norm.bias, self.rate, random)
        return self._lean_feed(h, self.after_space, random)

    def _lean_feed(self, h: Tensor, feed: FeedForward, random: Random | None) -> Tensor:
        norm, widen, narrow = feed.norm, feed.widen, feed.narrow
        return lean.Feed.apply(
            h,
            norm.weight,
            norm.bias,
            widen.weight,
            widen.bias,
            narrow.weight,
            narrow.bias,
            self.rate,
            random,
        )
