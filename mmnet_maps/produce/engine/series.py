"""The temporal encoder, run once per distinct series and day instead of once per pixel.

A day is embedded once for all the windows that it is part of: the position code is added after the day's
embedding and before the projections to queries, keys and values, which are linear, so their part of the day
and their part of the position are computed apart. Attention runs with the windows along the last axis, where
its 16 heads of 11 x 11 days are plain vector operations.

Batches have a fixed size and are padded, so the bits of one series do not depend on its company.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm

from mmnet_maps.produce.engine.folding import Dense, fold, plain

__all__ = ["Attention", "DayEncoder", "in_batches"]


def in_batches(count: int, size: int) -> list[tuple[int, int]]:
    """(start, stop) of batches of at most `size`."""
    return [(start, min(start + size, count)) for start in range(0, count, size)]


class _Norm:
    """LayerNorm with its weights."""

    def __init__(self, norm: nn.LayerNorm, device: torch.device) -> None:
        self.shape, self.eps = list(norm.normalized_shape), norm.eps
        self.weight = norm.weight.detach().float().to(device)
        self.bias = norm.bias.detach().float().to(device)

    def __call__(self, values: Tensor) -> Tensor:
        return layer_norm(values, self.shape, self.weight, self.bias, self.eps)


class DayEncoder:
    """Per-day layers up to and with the first LayerNorm, before the position code.

    Parameters
    ----------
    network : nn.Module
        MMNet or Transformer.
    device : torch.device
    """

    def __init__(self, network: nn.Module, device: torch.device) -> None:
        stack = [fold(block.lin, block.bn).to(device) for block in network.encoder_d]  # type: ignore[union-attr]
        self.first, self.rest = stack[0], stack[1:]
        self.norm = _Norm(network.inlayernorm, device)  # type: ignore[arg-type]

    def after_first(self, values: Tensor) -> Tensor:
        """From the first layer's values before ReLU, shape (n, 32); overwritten."""
        values.relu_()
        for layer in self.rest:
            values = torch.addmm(layer.bias, values, layer.weight).relu_()
        return self.norm(values)


class Attention:
    """Position code, transformer layer, final LayerNorm, and mean over the days or the last of them.

    Parameters
    ----------
    network : nn.Module
        MMNet or Transformer.
    steps : int
        Days of a window.
    device : torch.device
    """

    def __init__(self, network: nn.Module, steps: int, device: torch.device) -> None:
        encoder: nn.TransformerEncoder = network.transformerencoder  # type: ignore[assignment]
        layer: nn.TransformerEncoderLayer = encoder.layers[0]
        attention = layer.self_attn
        self.steps, self.heads = steps, attention.num_heads
        self.last_step = network.readout == "last"
        self.width = attention.embed_dim
        weight, bias = attention.in_proj_weight.detach().double(), attention.in_proj_bias.detach().double()
        position = network.position_enc.pe[:steps].detach().double()  # type: ignore[union-attr,index]
        # Queries are divided by the square root of the head's width here, once.
        scale = torch.ones(3 * self.width, dtype=torch.float64)
        scale[: self.width] = 1 / math.sqrt(self.width // self.heads)
        weight, bias = weight * scale[:, None], bias * scale
        self.project = Dense(weight.t().float().contiguous(), torch.zeros(3 * self.width)).to(device)
        self.position = position.float().to(device)
        self.position_projected = (position @ weight.t() + bias).float().to(device)
        self.out = plain(attention.out_proj).to(device)
        self.wide, self.narrow = plain(layer.linear1).to(device), plain(layer.linear2).to(device)
        self.first_norm, self.second_norm = _Norm(layer.norm1, device), _Norm(layer.norm2, device)
        self.last_norm = _Norm(encoder.norm, device)  # type: ignore[arg-type]

    def project_days(self, days: Tensor) -> Tensor:
        """The day's part of queries, keys and values: (n, 128) to (n, 384)."""
        return torch.mm(days, self.project.weight)

    def __call__(self, days: Tensor, projected: Tensor) -> Tensor:
        """Encode windows.

        Parameters
        ----------
        days : Tensor, shape (n, steps, 128)
            Day embeddings without position code; overwritten.
        projected : Tensor, shape (n, steps, 384)
            Their `project_days`; overwritten.

        Returns
        -------
        Tensor, shape (n, 128)
        """
        n = len(days)
        coded = days.add_(self.position)
        # Of the last step alone only its own query is asked; every layer behind it sees one row a window.
        flat = coded[:, -1] if self.last_step else coded.view(n * self.steps, self.width)
        mixed = self._mix(projected.add_(self.position_projected))
        found = self.first_norm(torch.addmm(self.out.bias, mixed, self.out.weight).add_(flat))
        hidden = torch.addmm(self.wide.bias, found, self.wide.weight).relu_()
        found = self.second_norm(torch.addmm(self.narrow.bias, hidden, self.narrow.weight).add_(found))
        encoded = self.last_norm(found)
        return encoded if self.last_step else encoded.view(n, self.steps, self.width).mean(dim=1)

    def _mix(self, projected: Tensor) -> Tensor:
        """Attention of every head: (n, steps, 384) to (n x queries, 128)."""
        n, steps, size = len(projected), self.steps, self.width // self.heads
        parts = projected.view(n, steps, 3, self.heads, size).permute(2, 1, 4, 3, 0).contiguous()
        queries, keys, values = parts  # each (steps, size, heads, n)
        queries = queries[-1:] if self.last_step else queries
        asked = len(queries)
        scores = torch.zeros((asked, steps, self.heads, n), device=projected.device)
        for k in range(size):
            scores.addcmul_(queries[:, None, k], keys[None, :, k])
        shares = torch.softmax(scores, dim=1)
        mixed = torch.zeros((asked, size, self.heads, n), device=projected.device)
        for day in range(steps):
            mixed.addcmul_(shares[:, day, None], values[None, day])
        return mixed.permute(3, 0, 2, 1).reshape(n * asked, self.width)
