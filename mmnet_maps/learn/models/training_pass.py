"""The training pass of noise layers and of the transformer layer, arranged for a processor's caches.

The numbers are those of the stock modules (tests hold both against each other). Attention here is eleven days
by eleven days in heads of eight: as batched matrix products these are too small to be worth a call each, so
rows and heads are the innermost axis, where every step is a plain vector operation.
"""

from __future__ import annotations

import math

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
    return values.mul_(factor.masked_fill_(values.detach() <= 0, 0))


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
    heads, size = attention.num_heads, width // attention.num_heads
    projected = F.linear(flat, attention.in_proj_weight, attention.in_proj_bias)
    inner = projected.view(rows, steps, 3, heads, size).permute(2, 1, 4, 0, 3)
    query, key, value = inner.reshape(3, steps, size, rows * heads)
    query = query * size**-0.5
    shares = torch.softmax(torch.stack([(one * key).sum(1) for one in query]), dim=1)
    shares = shares * keep_factor(tuple(shares.shape), p)
    mixed = torch.stack([(one[:, None] * value).sum(0) for one in shares])
    context = mixed.view(steps, size, rows, heads).permute(2, 0, 3, 1).reshape(rows * steps, width)
    return _after_attention(layer, context, flat, p).view(rows, steps, width)


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
