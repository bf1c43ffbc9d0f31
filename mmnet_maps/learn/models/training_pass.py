"""The training pass of noise layers and of the transformer layer, arranged for a processor's caches.

The numbers are those of the plain modules (tests hold both against each other); what differs is the order
in which memory is touched. Attention here is eleven days by eleven days in heads of eight: as batched matrix
products these are too small to be worth a call each, so rows and heads are the innermost axis and every
step is one pass over a contiguous block.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["encoder_layer", "keep_factor", "last_step", "noise_factor", "rectify"]


def noise_factor(like: Tensor, deviation: float) -> Tensor:
    """Draw N(1, deviation) in the shape of `like`."""
    return torch.empty_like(like).normal_(1.0, deviation)


def keep_factor(shape: tuple[int, ...], p: float) -> Tensor:
    """Draw 0 with probability p, else 1 / (1 - p), from 16 random bits a value.

    p is met to 1 / 65536, and the values kept are scaled by the share that is really kept.
    """
    count = math.prod(shape)
    gone = round(p * 65536)
    bits = torch.empty(-(-count // 4), dtype=torch.int64).random_(-(2**63), None)
    kept = bits.view(torch.int16)[:count].view(shape) >= gone - 32768
    return kept.to(torch.float32).mul_(65536 / (65536 - gone))


def rectify(values: Tensor, factor: Tensor) -> Tensor:
    """relu(values) * factor, in place in `values`; `factor` is consumed and alone kept for the way back."""
    torch.ops.aten.threshold_backward.grad_input(factor, values.detach(), 0, grad_input=factor)
    result: Tensor = values.mul_(factor)
    return result


def encoder_layer(layer: nn.TransformerEncoderLayer, days: Tensor, p: float) -> Tensor:
    """Apply a post-norm transformer layer with ReLU in training.

    Parameters
    ----------
    layer : nn.TransformerEncoderLayer
        Holds the weights; ``batch_first``.
    days : Tensor, shape (n, t, width)
    p : float
        Dropout of the attention weights, the feed-forward layer and both residual branches.

    Returns
    -------
    Tensor, shape (n, t, width)
    """
    rows, steps, width = days.shape
    flat = days.reshape(rows * steps, width)
    attention = layer.self_attn
    projected = F.linear(flat, attention.in_proj_weight, attention.in_proj_bias)
    factor = keep_factor((steps, steps, rows * attention.num_heads), p)
    context = _Attention.apply(projected, factor, rows, attention.num_heads)  # type: ignore[no-untyped-call]
    flat = _after_attention(layer, context, flat, p)
    result: Tensor = flat.view(rows, steps, width)
    return result


def last_step(layer: nn.TransformerEncoderLayer, days: Tensor, p: float) -> Tensor:
    """What `encoder_layer` gives for the last step of each series, without computing the others.

    One query meets all keys; the rest of the layer, most of its work, sees a row a series instead of a row a
    day.

    Parameters
    ----------
    layer, days, p
        As `encoder_layer`; with p = 0 it is the layer in evaluation.

    Returns
    -------
    Tensor, shape (n, width)
    """
    rows, steps, width = days.shape
    attention = layer.self_attn
    weight, bias, last = attention.in_proj_weight, attention.in_proj_bias, days[:, -1]
    size = width // attention.num_heads
    query = F.linear(last, weight[:width], bias[:width]).view(rows, 1, attention.num_heads, size)
    both = F.linear(days.reshape(rows * steps, width), weight[width:], bias[width:])
    key, value = both.view(rows, steps, 2, attention.num_heads, size).unbind(2)
    shares = torch.softmax((key * query).sum(3) * size**-0.5, dim=1)
    if p > 0:
        shares = shares * keep_factor(tuple(shares.shape), p)
    context = (value * shares[..., None]).sum(1).view(rows, width)
    return _after_attention(layer, context, last, p)


def _after_attention(layer: nn.TransformerEncoderLayer, context: Tensor, flat: Tensor, p: float) -> Tensor:
    """Residual branches, norms and the feed-forward layer of some steps, shape (steps, width)."""
    branch = layer.self_attn.out_proj(context)
    flat = layer.norm1(_dropped(branch, p).add_(flat))
    hidden = layer.linear1(flat)
    hidden = rectify(hidden, keep_factor(tuple(hidden.shape), p)) if p > 0 else torch.relu(hidden)
    result: Tensor = layer.norm2(_dropped(layer.linear2(hidden), p).add_(flat))
    return result


def _dropped(branch: Tensor, p: float) -> Tensor:
    return branch.mul_(keep_factor(tuple(branch.shape), p)) if p > 0 else branch


class _Attention(torch.autograd.Function):
    """Scaled dot-product attention with dropout factors; arrays are (days, ..., rows x heads) inside."""

    @staticmethod
    def forward(ctx: Any, projected: Tensor, factor: Tensor, rows: int, heads: int) -> Tensor:
        steps = factor.shape[0]
        size = projected.shape[1] // (3 * heads)
        cut = projected.view(rows, steps, 3, heads, size).permute(2, 1, 4, 0, 3)
        query, key, value = cut.reshape(3, steps, size, rows * heads)
        query.mul_(size**-0.5)
        weights = torch.softmax(_pairs(query, key), dim=1)
        dropped = weights * factor
        ctx.save_for_backward(query, key, value, weights, dropped, factor)
        ctx.shape = rows, steps, heads, size
        mixed = _mix(dropped, value)
        back = mixed.view(steps, size, rows, heads).permute(2, 0, 3, 1)
        return back.reshape(rows * steps, heads * size)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        query, key, value, weights, dropped, factor = ctx.saved_tensors
        rows, steps, heads, size = ctx.shape
        mixed = grads[0].view(rows, steps, heads, size).permute(1, 3, 0, 2)
        mixed = mixed.reshape(steps, size, rows * heads)
        found = torch.empty((3, steps, size, rows * heads))
        _mix(dropped.transpose(0, 1), mixed, found[2])
        slope = _pairs(mixed, value).mul_(factor)
        slope = torch._softmax_backward_data(slope, weights, 1, slope.dtype)
        _mix(slope, key, found[0]).mul_(size**-0.5)
        _mix(slope.transpose(0, 1), query, found[1])
        back = found.view(3, steps, size, rows, heads).permute(3, 1, 0, 4, 2)
        return back.reshape(rows * steps, 3 * heads * size), None, None, None


def _pairs(first: Tensor, second: Tensor) -> Tensor:
    """out[i, j] = sum over d of first[i, d] * second[j, d]; shapes (t, d, m) to (t, t, m)."""
    steps, size, lanes = first.shape
    out = torch.empty((steps, steps, lanes))
    for i in range(steps):
        torch.mul(second[:, 0], first[i, 0], out=out[i])
        for d in range(1, size):
            out[i].addcmul_(second[:, d], first[i, d])
    return out


def _mix(weights: Tensor, values: Tensor, out: Tensor | None = None) -> Tensor:
    """out[i] = sum over j of weights[i, j] * values[j]; shapes (t, t, m) and (t, d, m) to (t, d, m)."""
    result = torch.empty_like(values) if out is None else out
    for i in range(len(values)):
        torch.mul(values[0], weights[i, 0], out=result[i])
        for j in range(1, len(values)):
            result[i].addcmul_(values[j], weights[i, j])
    return result
