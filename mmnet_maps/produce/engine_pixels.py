"""The pixel pass: a chain of small products over one block of pixels, results in preallocated buffers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from mmnet_maps.produce.engine_series import Attention, DayEncoder
from mmnet_maps.produce.folding import Dense

__all__ = ["Buffers", "DensePass", "PixelPass", "WindowPass"]

#: Pixels whose windows the Transformer encodes at once.
_WINDOW_PIXELS = 32


@dataclass(frozen=True)
class Buffers:
    """Tensors of one worker.

    Attributes
    ----------
    inputs : Tensor, shape (features, block)
    series : Tensor of int64, shape (block,)
    layers : tuple of Tensor, shape (block, outputs)
        A result for every layer.
    """

    inputs: Tensor
    series: Tensor
    layers: tuple[Tensor, ...]


class PixelPass(Protocol):
    """From scaled features and a table of series to estimates.

    Attributes
    ----------
    table_dtype : torch.dtype
        Of the table that it takes.
    """

    table_dtype: torch.dtype

    def buffers(self, block: int) -> Buffers:
        """Buffers for blocks of that many pixels."""

    def __call__(self, buffers: Buffers, table: Tensor) -> Tensor:
        """Estimates, shape (block,), in one of the buffers."""

    @property
    def multiply_adds(self) -> int:
        """Of one pixel."""


class DensePass:
    """MMNet and MLP: layers with ReLU between them; the series enter one layer as its bias.

    Parameters
    ----------
    layers : sequence of Dense
        The last gives the estimate.
    entry : int
        The layer whose bias is the pixel's row of the series table.
    """

    table_dtype = torch.float32

    def __init__(self, layers: Sequence[Dense], entry: int) -> None:
        self.layers, self.entry = tuple(layers), entry

    @property
    def multiply_adds(self) -> int:
        """Of one pixel."""
        return sum(a * b for a, b in (layer.shape for layer in self.layers))

    def buffers(self, block: int) -> Buffers:
        """Buffers for blocks of that many pixels."""
        inputs = torch.zeros(self.layers[0].shape[0], block)
        results = tuple(torch.zeros(block, layer.shape[1]) for layer in self.layers)
        return Buffers(inputs, torch.zeros(block, dtype=torch.int64), results)

    def __call__(self, buffers: Buffers, table: Tensor) -> Tensor:
        """Estimates, shape (block,)."""
        return self._run(buffers.inputs.t(), buffers, table, 0, len(self.layers))[:, 0]

    def _run(self, values: Tensor, buffers: Buffers, table: Tensor, start: int, stop: int) -> Tensor:
        """Layers `start` to `stop` (exclusive) in float32, shape (block, outputs)."""
        for place in range(start, stop):
            layer, out = self.layers[place], buffers.layers[place]
            if place == self.entry:
                torch.index_select(table, 0, buffers.series, out=out)
                out.addmm_(values, layer.weight)
            else:
                torch.addmm(layer.bias, values, layer.weight, out=out)
            values = out.relu_() if place + 1 < len(self.layers) else out
        return values


class WindowPass:
    """Transformer: its snapshot stands in every day of the window, so that attention runs per pixel.

    Parameters
    ----------
    place : Dense
        The snapshot's part of the first day layer.
    encoder, attention : DayEncoder, Attention
    head : sequence of Dense
    """

    table_dtype = torch.float32

    def __init__(
        self, place: Dense, encoder: DayEncoder, attention: Attention, head: Sequence[Dense]
    ) -> None:
        self.place, self.encoder, self.attention = place, encoder, attention
        self.head = DensePass([*head], -1)

    @property
    def multiply_adds(self) -> int:
        """Of one pixel."""
        attention, steps = self.attention, self.attention.steps
        layers = [*self.encoder.rest, attention.project, attention.out, attention.wide, attention.narrow]
        daily: int = sum(a * b for a, b in (layer.shape for layer in layers)) + 2 * steps * attention.width
        return self.place.shape[0] * self.place.shape[1] + steps * daily + self.head.multiply_adds

    def buffers(self, block: int) -> Buffers:
        """Buffers for blocks of that many pixels."""
        width, out = self.place.shape
        results = (torch.zeros(block, out), torch.zeros(block, self.attention.width))
        series = torch.zeros(block, dtype=torch.int64)
        return Buffers(torch.zeros(width, block), series, (*results, *self.head.buffers(block).layers))

    def __call__(self, buffers: Buffers, table: Tensor) -> Tensor:
        """Estimates, shape (block,)."""
        place, past, *rest = buffers.layers
        steps, width = self.attention.steps, self.attention.width
        torch.mm(buffers.inputs.t(), self.place.weight, out=place)
        for start in range(0, len(place), _WINDOW_PIXELS):
            own = slice(start, start + _WINDOW_PIXELS)
            daily = table[buffers.series[own]].view(_WINDOW_PIXELS, steps, -1)
            days = self.encoder.after_first((daily + place[own, None]).view(_WINDOW_PIXELS * steps, -1))
            projected = self.attention.project_days(days)
            past[own] = self.attention(
                days.view(_WINDOW_PIXELS, steps, width), projected.view(_WINDOW_PIXELS, steps, -1)
            )
        return self.head(Buffers(past.t(), buffers.series, tuple(rest)), table)
