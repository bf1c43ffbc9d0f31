"""The temporal encoder, run once per distinct series and day instead of once per pixel.

A day is embedded once for all the windows that it is part of: the position code is added after the day's
embedding and before the projections to queries, keys and values, which are linear, so their part of the day
and their part of the position are computed apart. Attention runs with the windows along the last axis, where
its 16 heads of 11 x 11 days are plain vector operations.

Batches have a fixed size and are padded, so the bits of one series do not depend on its company.
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm

from mmnet_maps.learn.models.dense import Dense, plain
from mmnet_maps.learn.models.temporal import Temporal
from mmnet_maps.produce.engine.sizes import Sizes

__all__ = ["Attention", "DayEncoder", "DayRows", "EncodedWindows", "PlainWindows", "SeriesSide"]


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
    network : Temporal
    device : torch.device
    """

    def __init__(self, network: Temporal, device: torch.device) -> None:
        self.first, *self.rest = (layer.to(device) for layer in network.day_layers)
        self.norm = _Norm(network.inlayernorm, device)

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
    network : Temporal
    steps : int
        Days of a window.
    device : torch.device
    """

    def __init__(self, network: Temporal, steps: int, device: torch.device) -> None:
        layer, last_norm = network.transformer_layer
        attention = layer.self_attn
        self.steps, self.heads = steps, attention.num_heads
        self.last_step = network.readout == "last"
        self.width = attention.embed_dim
        weight, bias = attention.in_proj_weight.detach().double(), attention.in_proj_bias.detach().double()
        position = network.position_enc.pe[:steps].detach().double()
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
        self.last_norm = _Norm(last_norm, device)

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


class SeriesSide(Protocol):
    """What of a network sees the series: it fills the rows of the series table.

    Attributes
    ----------
    width : int
        Numbers in a row.
    """

    width: int

    def fill(self, days: Tensor, windows: Tensor, target: Tensor, table: Tensor) -> None:
        """Fill rows of the table.

        Parameters
        ----------
        days : Tensor, shape (n, v)
            Scaled values of the days that are part of a window.
        windows : Tensor of int64, shape (m, steps)
            Rows of `days`, oldest day first.
        target : Tensor of int64, shape (m,)
            Row of the table for each window.
        table : Tensor, shape (rows, width)
        """


class DayRows:
    """The layer in which a pixel meets the values of a day: of one step of the window or of all in a row.

    Parameters
    ----------
    layer : Dense
    steps : slice
        Which of the window.
    count : int
        How many they are.
    batch : int
        Days in one product.
    """

    def __init__(self, layer: Dense, steps: slice, count: int, batch: int) -> None:
        self.layer, self.steps, self.batch = layer, steps, batch
        self.width = count * layer.shape[1]

    def fill(self, days: Tensor, windows: Tensor, target: Tensor, table: Tensor) -> None:
        """Fill rows of the table, as `SeriesSide` has it."""
        found = torch.empty(len(days), self.layer.shape[1], device=days.device)
        for start, stop in _in_batches(len(days), self.batch):
            part = _pad(days[start:stop], self.batch)
            found[start:stop] = torch.addmm(self.layer.bias, part, self.layer.weight)[: stop - start]
        table[target] = found[windows[:, self.steps]].flatten(1)


class EncodedWindows:
    """A temporal encoder, which embeds every day once, and the layer in which a pixel meets it.

    Parameters
    ----------
    encoder, attention : DayEncoder, Attention
    layer : Dense
    sizes : Sizes
    """

    def __init__(self, encoder: DayEncoder, attention: Attention, layer: Dense, sizes: Sizes) -> None:
        self.encoder, self.attention, self.layer, self.sizes = encoder, attention, layer, sizes
        self.width = layer.shape[1]

    def fill(self, days: Tensor, windows: Tensor, target: Tensor, table: Tensor) -> None:
        """Fill rows of the table, as `SeriesSide` has it."""
        encoder, attention, sizes = self.encoder, self.attention, self.sizes
        embedded = torch.empty(len(days), attention.width, device=days.device)
        projected = torch.empty(len(days), 3 * attention.width, device=days.device)
        for start, stop in _in_batches(len(days), sizes.day_batch):
            part = _pad(days[start:stop], sizes.day_batch)
            found = encoder.after_first(torch.addmm(encoder.first.bias, part, encoder.first.weight))
            embedded[start:stop] = found[: stop - start]
            projected[start:stop] = attention.project_days(found)[: stop - start]
        shape = (sizes.window_batch, attention.steps, -1)
        for start, stop in _in_batches(len(windows), sizes.window_batch):
            chosen = _pad(windows[start:stop], sizes.window_batch).flatten()
            own, seen = (x.index_select(0, chosen).view(shape) for x in (embedded, projected))
            past = torch.addmm(self.layer.bias, attention(own, seen), self.layer.weight)
            table.index_copy_(0, target[start:stop], past[: stop - start])


class PlainWindows:
    """An encoder that the engine has no fast form of, and the layer in which a pixel meets it.

    Parameters
    ----------
    encoder : nn.Module
        Takes windows, shape (n, v, steps).
    layer : Dense
    batch : int
        Windows encoded at once.
    """

    def __init__(self, encoder: nn.Module, layer: Dense, batch: int) -> None:
        self.encoder, self.layer, self.batch = encoder, layer, batch
        self.width = layer.shape[1]

    def fill(self, days: Tensor, windows: Tensor, target: Tensor, table: Tensor) -> None:
        """Fill rows of the table, as `SeriesSide` has it."""
        for start, stop in _in_batches(len(windows), self.batch):
            encoded = self.encoder(days[_pad(windows[start:stop], self.batch)].transpose(1, 2))
            past = torch.addmm(self.layer.bias, encoded, self.layer.weight)
            table.index_copy_(0, target[start:stop], past[: stop - start])


def _in_batches(count: int, size: int) -> list[tuple[int, int]]:
    """(start, stop) of batches of at most `size`."""
    return [(start, min(start + size, count)) for start in range(0, count, size)]


def _pad(rows: Tensor, size: int) -> Tensor:
    """`rows` with its last row repeated up to `size`."""
    if len(rows) == size:
        return rows
    return torch.cat((rows, rows[-1:].expand(size - len(rows), *rows.shape[1:])))
