"""The blocks of an STNDT layer for training on a CPU: the same sums, with less work and memory.

What the plain layers leave on the table there, and these do not:

- a matrix product whose rows do not start on a boundary of 32 bytes runs at 60 % of its speed;
- attention over a band of bins needs only the band;
- dropout needs 16 random bits per element, and its rescaling fits into a small weight matrix;
- of an activation only what the gradient reads is kept;
- some windows at a time stay in the cache.

Gradients are written out by hand below each block. `Layer.lean` turns these blocks off, for
machinery that has to look inside (`torch.func`, `torch.compile`).
"""

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

_ROW = 8  # floats; rows of products start at multiples of this
_EPSILON = 1e-5  # of every layer norm
_BLOCK = 32  # queries that share one block of keys, at least
_CACHED = 2.5e6  # bytes of one (B, T, N) activation that leave its neighbours in the cache


def random_words(
    shape: tuple[int, ...], generator: torch.Generator | None, device: torch.device
) -> Tensor:
    """16 random bits per element, int16; four elements share one draw."""
    numel = math.prod(shape)
    words = torch.empty((numel + 3) // 4, dtype=torch.int64, device=device)
    words.random_(-(2**63), None, generator=generator)
    return words.view(torch.int16)[:numel].view(shape)


def threshold_of(rate: float) -> tuple[int, float]:
    """The word from which on an element is kept, and the factor that then keeps the mean."""
    dropped = round(rate * 2**16)
    return dropped - 2**15, 2**16 / (2**16 - dropped)


def kept(words: Tensor, threshold: int, dtype: torch.dtype) -> Tensor:
    """1 where an element is kept, 0 where it is dropped."""
    return torch.ge(words, threshold, out=torch.empty(words.shape, dtype=dtype))


def band_blocks(bins: int, back: int, forward: int) -> list[tuple[slice, slice, Tensor]]:
    """Blocks of queries, the keys that any of them sees, and 0 or -inf for each pair of both.

    Args:
        back, forward: bins, as in `TemporalAttention`.
    """
    back = bins if back <= 0 else back
    forward = bins if forward < 0 else forward
    size = max(_BLOCK, back + forward)
    if 2 * size > bins:
        size = bins
    blocks = []
    for start in range(0, bins, size):
        stop = min(start + size, bins)
        first, last = max(0, start - back), min(bins, stop + forward)
        offset = torch.arange(first, last) - torch.arange(start, stop)[:, None]
        seen = (offset >= -back) & (offset <= forward)
        blocks.append((slice(start, stop), slice(first, last), torch.where(seen, 0.0, -math.inf)))
    return blocks


def cache_sized(counts: Tensor) -> tuple[Tensor, ...]:
    """The windows (B, T, N) in groups of about equal size that fit the cache."""
    number = math.ceil(counts.nbytes / _CACHED)
    return counts.split(math.ceil(len(counts) / number))


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
        blocks: list[tuple[slice, slice, Tensor]],
        rate: float,
        generator: torch.Generator | None,
    ) -> Tensor:
        threshold, factor = threshold_of(rate)
        a, mean, scale = _norm(h, gain, shift)
        qkv = _product(a, project, project_bias)  # (B, T, 3N)
        mixed = _rows(h, h.shape[2])
        width = h.shape[2] // heads
        sizes = [len(h) * heads * bias.numel() for _, _, bias in blocks]
        words = random_words((sum(sizes),), generator, h.device).split(sizes)
        weights, zero = [], h.new_zeros(())
        for (query, key, bias), bits in zip(blocks, words, strict=True):
            masks = kept(bits, threshold, h.dtype).view(heads, len(h), *bias.shape)
            for head in range(heads):
                q, k, v = _heads(qkv, head, width)
                attention = torch.baddbmm(
                    bias.to(h.dtype), q[:, query], k[:, key].mT, alpha=width**-0.5
                ).softmax(-1)
                weights.append(attention)
                mixed[:, query, head * width : (head + 1) * width] = torch.baddbmm(
                    zero, masks[head].mul_(attention), v[:, key], beta=0, alpha=factor
                )
        out_words = random_words(h.shape, generator, h.device)
        out = _add_kept(h, _product(mixed, mix, mix_bias), out_words, rate)
        ctx.save_for_backward(
            h, a, gain, shift, project, mix, mean, scale, qkv, mixed, out_words, *words, *weights
        )
        ctx.setting = heads, blocks, rate
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = gradients
        heads, blocks, rate = ctx.setting
        threshold, factor = threshold_of(rate)
        h, a, gain, shift, project, mix, mean, scale, qkv, mixed, out_words, *rest = (
            ctx.saved_tensors
        )
        words, weights = rest[: len(blocks)], iter(rest[len(blocks) :])
        dropped = kept(out_words, threshold, h.dtype).mul_(grad)
        d_mixed, d_mix, d_mix_bias = _product_back(dropped, mixed, mix, factor)
        d_qkv = _rows(h, project.shape[0]).zero_()
        width = h.shape[2] // heads
        for (query, key, bias), bits in zip(blocks, words, strict=True):
            masks = kept(bits, threshold, h.dtype).view(heads, len(h), *bias.shape)
            for head in range(heads):
                attention = next(weights)
                q, k, v = _heads(qkv, head, width)
                d_q, d_k, d_v = _heads(d_qkv, head, width)
                out = d_mixed[:, query, head * width : (head + 1) * width]
                d_weights = torch.bmm(out, v[:, key].mT).mul_(masks[head])
                # Products of this size are fastest into memory of their own.
                d_v[:, key].add_(masks[head].mul_(attention).mT @ out, alpha=factor)
                d_scores = torch._softmax_backward_data(d_weights, attention, -1, h.dtype)
                d_scores *= factor * width**-0.5
                d_q[:, query] = d_scores @ k[:, key]
                d_k[:, key] += d_scores.mT @ q[:, query]
        d_a, d_project, d_project_bias = _product_back(d_qkv, a, project)
        d_h, d_gain, d_shift = _norm_back(d_a, h, mean, scale, gain, shift)
        d_h += grad
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
        generator: torch.Generator | None,
    ) -> Tensor:
        threshold, factor = threshold_of(rate)
        a, mean, scale = _norm(h, gain, shift)
        inner = _product(a, widen, widen_bias).relu_()
        # Dropped and negative are both 0 from here on: the gradient needs no mask.
        inner *= kept(random_words(inner.shape, generator, h.device), threshold, h.dtype)
        words = random_words(h.shape, generator, h.device)
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
        d_a, d_widen, d_widen_bias = _product_back(d_inner, a, widen)
        d_h, d_gain, d_shift = _norm_back(d_a, h, mean, scale, gain, shift)
        d_h += grad
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
        generator: torch.Generator | None,
    ) -> Tensor:
        y, mean, scale = _norm(h, gain, shift)
        words = random_words(h.shape, generator, h.device)
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
        d_h, d_gain, d_shift = _norm_back(d_y, h, mean, scale, gain, shift)
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
        a, mean, scale = _norm(s, gain, shift)
        qk = _product(a, project, project_bias)
        width = s.shape[2] // heads
        none = qk.new_zeros(())
        weights = [
            torch.baddbmm(none, q, k.mT, beta=0, alpha=width**-0.5).softmax(-1)
            for q, k in (_heads(qk, head, width, 2) for head in range(heads))
        ]
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
            q, k = _heads(qk, head, width, 2)
            d_q, d_k = _heads(d_qk, head, width, 2)
            alpha = width**-0.5 / heads
            d_q.baddbmm_(d_scores, k, beta=0, alpha=alpha)
            d_k.baddbmm_(d_scores.mT, q, beta=0, alpha=alpha)
        d_a, d_project, d_project_bias = _product_back(d_qk, a, project)
        d_s, d_gain, d_shift = _norm_back(d_a, s, mean, scale, gain, shift)
        return d_s.mT.contiguous(), d_gain, d_shift, d_project, d_project_bias, None


def _rows(like: Tensor, width: int) -> Tensor:
    """Empty (B, R, width) whose rows start at aligned addresses; `like` is (B, R, any)."""
    padded = -(-width // _ROW) * _ROW
    return like.new_empty(*like.shape[:2], padded)[..., :width]


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


def _norm(x: Tensor, gain: Tensor, shift: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return torch.native_layer_norm(x, (x.shape[-1],), gain, shift, _EPSILON)


def _norm_back(
    grad: Tensor, x: Tensor, mean: Tensor, scale: Tensor, gain: Tensor, shift: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    return torch.ops.aten.native_layer_norm_backward(
        grad.contiguous(), x, (x.shape[-1],), mean, scale, gain, shift, [True, True, True]
    )


def _add_kept(h: Tensor, x: Tensor, words: Tensor, rate: float) -> Tensor:
    """h + dropout(x)."""
    threshold, factor = threshold_of(rate)
    mask = kept(words, threshold, h.dtype)
    return torch.addcmul(h, x, mask, value=factor, out=mask)


def _heads(x: Tensor, head: int, width: int, parts: int = 3) -> tuple[Tensor, ...]:
    """The columns of one head in each of the joint projections, (B, R, width) views."""
    return tuple(part[..., head * width : (head + 1) * width] for part in x.chunk(parts, -1))
