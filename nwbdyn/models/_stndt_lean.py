"""The blocks of an STNDT layer for training on a CPU: the same sums, with less work and memory.

What the plain layers leave on the table there, and these do not:

- a matrix product whose rows do not start on a boundary of 32 bytes runs at 60 % of its speed;
- attention over a band of bins needs only the band;
- dropout needs 16 random bits per element, and its rescaling fits into a small weight matrix;
- gain and shift of a layer norm fit into the weight matrix that follows;
- of an activation only what the gradient reads is kept;
- some windows at a time stay in the cache.

Gradients are written out by hand below each block, closed to machinery that has to look inside
(`torch.compile`). The plain layers draw the same random numbers, in the same order.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from nwbdyn.models.base import Random

_ROW = 8  # floats; rows of products start at multiples of this
_EPSILON = 1e-5  # of every layer norm
_BLOCK = 30  # queries that share one stretch of keys, at least
_CACHED = 2.5e6  # bytes of one (B, T, N) activation that leave its neighbours in the cache


def words_for(rate: float, random: Random, *shape: int) -> Tensor:
    """16 random bits per element; for a rate of 0 none are drawn and no element is dropped."""
    if rate == 0:
        return torch.zeros((), dtype=torch.int16).expand(shape)
    return random.random_int16(*shape)


def threshold_of(rate: float) -> tuple[int, float]:
    """The lowest 16-bit number that is not dropped, and the factor that preserves the mean."""
    dropped = round(rate * 2**16)
    return dropped - 2**15, 2**16 / (2**16 - dropped)


def kept(words: Tensor, threshold: int, dtype: torch.dtype) -> Tensor:
    """1 for an element that is not dropped, 0 for one that is."""
    out = torch.empty(words.shape, dtype=dtype, device=words.device)
    return torch.ge(words, threshold, out=out)


@dataclass(frozen=True)
class Band:
    """Which bins attend to which, in blocks of queries that share a stretch of keys.

    The bins of all windows lie in one row after another, so block b of `size` queries sees the rows
    from b size - back to (b + 1) size + forward; where these belong to another window, and where a
    pair is out of reach, `bias` is -inf.
    """

    size: int  # bins of a block; divides the bins of a window
    back: int  # rows before the block
    forward: int  # rows after it
    bias: Tensor  # (num_blocks, size, back + size + forward) 0 or -inf

    @classmethod
    def of(cls, bins: int, back: int, forward: int) -> "Band":
        """The band of `TemporalAttention`, whose `back` and `forward` these are."""
        back = bins if back <= 0 else min(back, bins)
        forward = bins if forward < 0 else min(forward, bins)
        least = max(back, forward, _BLOCK)
        size = next(d for d in range(min(least, bins), bins + 1) if bins % d == 0)
        before, after = (back, forward) if size < bins else (0, 0)
        query = torch.arange(bins).view(-1, size, 1)
        key = query[:, :1] + torch.arange(-before, size + after)
        seen = (key - query >= -back) & (key - query <= forward) & (key >= 0) & (key < bins)
        return cls(size, before, after, torch.where(seen, 0.0, -math.inf))

    def places(self) -> Tensor:
        """(T, T) long, [query, key]: where a key lies in the stretch that its query's block sees.

        Keys that the stretch does not reach take its nearest end.
        """
        bins = torch.arange(len(self.bias) * self.size)
        first = bins // self.size * self.size - self.back  # of the stretch, (T,)
        return (bins - first[:, None]).clamp(0, self.bias.shape[2] - 1)

    def queries(self, rows: Tensor, columns: slice) -> Tensor:
        """(num_blocks, size, width) of the rows (R, any)."""
        return rows.view(-1, self.size, rows.shape[1])[..., columns]

    def keys(self, rows: Tensor, columns: slice) -> Tensor:
        """(num_blocks, back + size + forward, width), overlapping, of `back + R + forward` rows."""
        length = self.back + self.size + self.forward
        return rows[:, columns].unfold(0, length, self.size).mT

    def add_up(self, blocks: Tensor, rows: Tensor, columns: slice) -> None:
        """Set rows (R, any) to the sum of overlapping blocks, as from `keys`."""
        whole = self.queries(rows, columns)
        whole.copy_(blocks[:, self.back : self.back + self.size])
        if self.back:
            whole[:-1, self.size - self.back :] += blocks[1:, : self.back]
        if self.forward:
            whole[1:, : self.forward] += blocks[:-1, self.back + self.size :]


def cache_sized(counts: Tensor) -> tuple[Tensor, ...]:
    """The windows (B, T, N) in groups of about equal size that fit the cache."""
    number = math.ceil(counts.nbytes / _CACHED)
    return counts.split(math.ceil(len(counts) / number))


class Affine(Function):
    """x W^T + b into rows at aligned addresses."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _product(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = gradients
        x, weight = ctx.saved_tensors
        if ctx.needs_input_grad[0]:
            return _product_back(grad, x, weight)
        flat = grad.flatten(0, 1)
        return None, flat.T @ x.flatten(0, 1), flat.sum(0)


class Drop(Function):
    """dropout(x)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, rate: float, random: Random) -> Tensor:
        threshold, factor = threshold_of(rate)
        words = words_for(rate, random, *x.shape)
        ctx.save_for_backward(words)
        ctx.rate = rate
        return kept(words, threshold, x.dtype).mul_(x).mul_(factor)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (grad,) = gradients
        threshold, factor = threshold_of(ctx.rate)
        (words,) = ctx.saved_tensors
        return kept(words, threshold, grad.dtype).mul_(grad).mul_(factor), None, None


class Time(Function):
    """h + dropout(attention over time of LN(h)); attention dropout inside."""

    @staticmethod
    def forward(
        ctx: Any,
        h: Tensor,  # (B, T, N)
        gain: Tensor,
        shift: Tensor,
        project: Tensor,  # (3N, N)
        project_bias: Tensor,
        mix: Tensor,  # (N, N)
        mix_bias: Tensor,
        heads: int,
        band: Band,
        rate: float,
        random: Random,
    ) -> Tensor:
        threshold, factor = threshold_of(rate)
        a, mean, scale = _norm(h)
        num_rows, neurons = h.shape[0] * h.shape[1], h.shape[2]
        joint = h.new_empty(band.back + num_rows + band.forward, _padded(3 * neurons))
        joint[: band.back] = joint[band.back + num_rows :] = 0  # seen by no query, but finite
        qkv = joint[band.back : band.back + num_rows]
        folded, folded_bias = _folded(project, project_bias, gain, shift)
        torch.addmm(folded_bias, a.flatten(0, 1), folded.T, out=qkv[:, : 3 * neurons])
        mixed = _rows(h, neurons)
        bias = band.bias.to(h.dtype)
        words = words_for(rate, random, heads, num_rows // band.size, *bias.shape[1:])
        weights = []
        for head in range(heads):
            q, k, v = _head(neurons, heads, head)
            scores = _scaled(
                band.queries(qkv, q), band.keys(joint, k).mT, (neurons // heads) ** -0.5
            )
            scores.view(len(h), *bias.shape).add_(bias)
            attention = scores.softmax(-1)
            weights.append(attention)
            mask = kept(words[head], threshold, h.dtype).mul_(attention)
            received = _scaled(mask, band.keys(joint, v), factor)
            band.queries(mixed.flatten(0, 1), q).copy_(received)
        out_words = words_for(rate, random, *h.shape)
        out = _add_kept(h, _product(mixed, mix, mix_bias), out_words, rate)
        ctx.save_for_backward(
            h, a, gain, shift, project, mix, mean, scale, joint, mixed, words, out_words, *weights
        )
        ctx.setting = heads, band, rate
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = gradients
        heads, band, rate = ctx.setting
        threshold, factor = threshold_of(rate)
        h, a, gain, shift, project, mix, mean, scale, joint, mixed, words, out_words, *weights = (
            ctx.saved_tensors
        )
        dropped = kept(out_words, threshold, h.dtype).mul_(grad)
        d_mixed, d_mix, d_mix_bias = _product_back(dropped, mixed, mix, factor)
        neurons = h.shape[2]
        qkv = joint[band.back : len(joint) - band.forward]
        d_qkv = _rows(h, 3 * neurons)
        d_rows = d_qkv.flatten(0, 1)
        for head, attention in enumerate(weights):
            q, k, v = _head(neurons, heads, head)
            d_received = band.queries(d_mixed.flatten(0, 1), q)
            mask = kept(words[head], threshold, h.dtype)
            d_weights = torch.bmm(d_received, band.keys(joint, v).mT).mul_(mask)
            d_v = _scaled(mask.mul_(attention).mT, d_received, factor)
            d_scores = torch._softmax_backward_data(d_weights, attention, -1, h.dtype)
            alpha = factor * (neurons // heads) ** -0.5
            band.queries(d_rows, q).copy_(_scaled(d_scores, band.keys(joint, k), alpha))
            band.add_up(_scaled(d_scores.mT, band.queries(qkv, q), alpha), d_rows, k)
            band.add_up(d_v, d_rows, v)
        d_a, d_project, d_project_bias = _product_back(d_qkv, a, project * gain)
        d_h = _norm_back(d_a, h, mean, scale).add_(grad)
        d_gain, d_shift, d_project = _unfolded(d_project, d_project_bias, project, gain, shift)
        none = (None,) * 4
        return d_h, d_gain, d_shift, d_project, d_project_bias, d_mix, d_mix_bias, *none


class Feed(Function):
    """h + dropout(narrow(dropout(relu(widen(LN(h))))))."""

    @staticmethod
    def forward(
        ctx: Any,
        h: Tensor,  # (B, T, N)
        gain: Tensor,
        shift: Tensor,
        widen: Tensor,  # (F, N)
        widen_bias: Tensor,
        narrow: Tensor,  # (N, F)
        narrow_bias: Tensor,
        rate: float,
        random: Random,
    ) -> Tensor:
        threshold, factor = threshold_of(rate)
        a, mean, scale = _norm(h)
        inner = _product(a, *_folded(widen, widen_bias, gain, shift)).relu_()
        # Dropped and negative are both 0 from here on: the gradient needs no mask.
        inner *= kept(words_for(rate, random, *inner.shape), threshold, h.dtype)
        words = words_for(rate, random, *h.shape)
        out = _add_kept(h, _product(inner, narrow * factor, narrow_bias), words, rate)
        ctx.save_for_backward(h, a, gain, shift, widen, narrow, mean, scale, inner, words)
        ctx.rate = rate
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = gradients
        threshold, factor = threshold_of(ctx.rate)
        h, a, gain, shift, widen, narrow, mean, scale, inner, words = ctx.saved_tensors
        dropped = kept(words, threshold, h.dtype).mul_(grad)
        d_inner, d_narrow, d_narrow_bias = _product_back(dropped, inner, narrow, factor * factor)
        d_inner = torch.ops.aten.threshold_backward(d_inner, inner, 0)
        d_a, d_widen, d_widen_bias = _product_back(d_inner, a, widen * gain)
        d_h = _norm_back(d_a, h, mean, scale).add_(grad)
        d_gain, d_shift, d_widen = _unfolded(d_widen, d_widen_bias, widen, gain, shift)
        d_narrow_bias /= factor
        return d_h, d_gain, d_shift, d_widen, d_widen_bias, d_narrow, d_narrow_bias, None, None


class Space(Function):
    """h + dropout((A LN(h)^T)^T)."""

    @staticmethod
    def forward(
        ctx: Any,
        h: Tensor,  # (B, T, N)
        map: Tensor,  # (B, N, N)
        gain: Tensor,
        shift: Tensor,
        rate: float,
        random: Random,
    ) -> Tensor:
        y, mean, scale = torch.native_layer_norm(h, gain.shape, gain, shift, _EPSILON)
        words = words_for(rate, random, *h.shape)
        out = _add_kept(h, torch.bmm(y, map.mT), words, rate)
        ctx.save_for_backward(h, y, map, gain, shift, mean, scale, words)
        ctx.rate = rate
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = gradients
        threshold, factor = threshold_of(ctx.rate)
        h, y, map, gain, shift, mean, scale, words = ctx.saved_tensors
        dropped = kept(words, threshold, h.dtype).mul_(grad)
        d_map = torch.baddbmm(map, dropped.mT, y, beta=0, alpha=factor)
        d_y = torch.baddbmm(h, dropped, map, beta=0, alpha=factor)
        d_h, d_gain, d_shift = torch.ops.aten.native_layer_norm_backward(
            d_y, h, gain.shape, mean, scale, gain, shift, [True, True, True]
        )
        d_h += grad
        return d_h, d_map, d_gain, d_shift, None, None


class Map(Function):
    """Mean over heads of softmax(q k^T / sqrt(width)), q and k of LN(s); no dropout."""

    @staticmethod
    def forward(
        ctx: Any,
        h: Tensor,  # (B, T, N)
        gain: Tensor,
        shift: Tensor,
        project: Tensor,  # (2T, T)
        project_bias: Tensor,
        heads: int,
    ) -> Tensor:
        s = h.mT.contiguous()
        a, mean, scale = _norm(s)
        qk = _product(a, *_folded(project, project_bias, gain, shift))
        width = s.shape[2] // heads
        weights = []
        for head in range(heads):
            q, k = _head(s.shape[2], heads, head, 2)
            weights.append(_scaled(qk[..., q], qk[..., k].mT, width**-0.5).softmax(-1))
        ctx.save_for_backward(s, a, gain, shift, project, mean, scale, qk, *weights)
        return weights[0] if heads == 1 else sum(weights[1:], weights[0]).div_(heads)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = gradients
        s, a, gain, shift, project, mean, scale, qk, *weights = ctx.saved_tensors
        heads = len(weights)
        width = s.shape[2] // heads
        d_qk = _rows(s, project.shape[0])
        for head, attention in enumerate(weights):
            d_scores = torch._softmax_backward_data(grad, attention, -1, s.dtype)
            q, k = _head(s.shape[2], heads, head, 2)
            alpha = width**-0.5 / heads
            d_qk[..., q] = _scaled(d_scores, qk[..., k], alpha)
            d_qk[..., k].baddbmm_(d_scores.mT, qk[..., q], beta=0, alpha=alpha)
        d_a, d_project, d_project_bias = _product_back(d_qk, a, project * gain)
        d_s = _norm_back(d_a, s, mean, scale)
        d_gain, d_shift, d_project = _unfolded(d_project, d_project_bias, project, gain, shift)
        return d_s.mT.contiguous(), d_gain, d_shift, d_project, d_project_bias, None


def _padded(width: int) -> int:
    return -(-width // _ROW) * _ROW


def _rows(like: Tensor, width: int) -> Tensor:
    """Empty (B, R, width) whose rows start at aligned addresses; `like` is (B, R, any)."""
    return like.new_empty(*like.shape[:2], _padded(width))[..., :width]


def _scaled(a: Tensor, b: Tensor, factor: float) -> Tensor:
    """factor a b, for batches of matrices."""
    return torch.baddbmm(a.new_zeros(()), a, b, beta=0, alpha=factor)


def _product(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """x W^T + b, (B, R, K) -> (B, R, M)."""
    out = _rows(x, len(weight))
    torch.addmm(bias, x.flatten(0, 1), weight.T, out=out.flatten(0, 1))
    return out


def _product_back(
    grad: Tensor, x: Tensor, weight: Tensor, factor: float = 1.0
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of input, weight and bias where `factor` times `grad` (B, R, M) arrives."""
    flat = grad.flatten(0, 1)
    d_x = _rows(grad, weight.shape[1])
    torch.mm(flat, weight if factor == 1 else weight * factor, out=d_x.flatten(0, 1))
    d_weight = flat.T @ x.flatten(0, 1)
    d_bias = flat.sum(0)
    if factor != 1:
        d_weight *= factor
        d_bias *= factor
    return d_x, d_weight, d_bias


def _norm(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """A layer norm without its gain and shift, which the product that follows takes over."""
    gain = x.new_ones(x.shape[-1])  # without one torch takes a slower way
    return torch.native_layer_norm(x, gain.shape, gain, None, _EPSILON)


def _norm_back(grad: Tensor, x: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    d_x, _, _ = torch.ops.aten.native_layer_norm_backward(
        grad.contiguous(), x, x.shape[-1:], mean, scale, None, None, [True, False, False]
    )
    return d_x


def _folded(weight: Tensor, bias: Tensor, gain: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
    """Weight and bias that make of x what `weight` and `bias` make of gain x + shift."""
    return weight * gain, torch.addmv(bias, weight, shift)


def _unfolded(
    d_folded: Tensor, d_bias: Tensor, weight: Tensor, gain: Tensor, shift: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of gain, shift and weight from those of what `_folded` made of them."""
    d_gain = (d_folded * weight).sum(0)
    return d_gain, d_bias @ weight, (d_folded * gain).addr_(d_bias, shift)


def _add_kept(h: Tensor, x: Tensor, words: Tensor, rate: float) -> Tensor:
    """h + dropout(x)."""
    threshold, factor = threshold_of(rate)
    mask = kept(words, threshold, h.dtype)
    return torch.addcmul(h, x, mask, value=factor, out=mask)


def _head(neurons: int, heads: int, head: int, parts: int = 3) -> list[slice]:
    """The columns of one head in each part of a joint projection of `parts` times `neurons`."""
    width = neurons // heads
    starts = (part * neurons + head * width for part in range(parts))
    return [slice(start, start + width) for start in starts]
