"""The pixel pass: a chain of small products over one block of pixels, results in preallocated buffers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from mmnet_maps.learn.models.dense import Dense, shifted_biases
from mmnet_maps.produce.engine.chain import chain, on, rows_of
from mmnet_maps.produce.engine.series import Attention, DayEncoder
from mmnet_maps.produce.engine.sizes import ON_CPU, Sizes

__all__ = ["CPU", "STEP", "Buffers", "DensePass", "PixelPass", "WindowPass"]

#: Pixels of one product on a CPU.
STEP = ON_CPU.step
#: Numbers in a line of the cache.
_LINE = 16
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Buffers:
    """Tensors of one worker.

    Attributes
    ----------
    inputs : Tensor, shape (features, block)
    series : Tensor of int64, shape (block,) or (block, corners)
        Row of the series table that each pixel takes, or rows that it takes a weighted sum of.
    estimates : Tensor, shape (block,)
    layers : tuple of Tensor
        Results of the layers, for some of the pixels at a time.
    weights : Tensor, shape (block, corners), or None
        Of the rows; None where each pixel takes one.
    """

    inputs: Tensor
    series: Tensor
    estimates: Tensor
    layers: tuple[Tensor, ...]
    weights: Tensor | None = None

    def between_rows(self, corners: int) -> Buffers:
        """With room for that many rows of the series table a pixel, and their weights."""
        series = self.series.new_zeros(len(self.series), corners)
        return replace(self, series=series, weights=self.estimates.new_zeros(series.shape))

    def beside(self) -> Buffers:
        """With other room for what is taken, and the same for what is computed."""
        inputs = torch.empty_strided(
            self.inputs.shape, self.inputs.stride(), dtype=self.inputs.dtype, device=self.inputs.device
        )
        weights = None if self.weights is None else torch.zeros_like(self.weights)
        return replace(self, inputs=inputs.zero_(), series=torch.zeros_like(self.series), weights=weights)

    def rows(self, table: Tensor, own: slice) -> Tensor:
        """Rows of the series table for some pixels, shape (n, width)."""
        return rows_of(table, self.series[own], None if self.weights is None else self.weights[own])


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

    def __call__(self, buffers: Buffers, table: Tensor, count: int) -> Tensor:
        """Estimates of the first `count` pixels at least, in the buffer for them."""

    @property
    def multiply_adds(self) -> int:
        """Of one pixel."""


class DensePass:
    """Layers with ReLU between them; the series enter one layer as its bias.

    Parameters
    ----------
    layers : sequence of Dense
        On the processor. Each takes its input in the kind of number that its weights have. The last gives
        the estimate.
    entry : int
        The layer whose bias is the pixel's row of the series table.
    step : int, optional
        Pixels of one product; what suits the class on a CPU without it.
    device : torch.device
        Where it computes.

    Attributes
    ----------
    on_rows : Tensor, shape (width,)
        What the pass expects to be added to every row of the series table.
    """

    def __init__(
        self, layers: Sequence[Dense], entry: int, step: int | None = None, device: torch.device = CPU
    ) -> None:
        self.layers = tuple(layer.to(device) for layer in layers)
        self.entry, self.step, self.device = entry, step or STEP, device
        self.table_dtype: torch.dtype = self.layers[entry].weight.dtype
        kinds = [torch.float32, *(layer.weight.dtype for layer in self.layers)]
        # Values that are left without their bias are larger: in bfloat16 that costs digits.
        exact = {k for k in range(len(layers) - 1) if kinds[k + 1] == kinds[k + 2] == torch.float32}
        self._shifted = [k in exact and k != entry for k in range(len(layers))]
        chosen = [k for k, own in enumerate(self._shifted) if own]
        self._biases = [bias.to(device) for bias in shifted_biases(layers, chosen)]
        self._least = [-bias for bias in self._biases]
        self._weights = [layer.weight for layer in self.layers]
        self.on_rows = self._biases[entry]

    @property
    def multiply_adds(self) -> int:
        """Of one pixel."""
        return sum(a * b for a, b in (layer.shape for layer in self.layers))

    def buffers(self, block: int) -> Buffers:
        """Buffers for blocks of that many pixels."""
        # Rows a power of two apart would fall on the same lines of the cache.
        inputs = torch.zeros(self.layers[0].shape[0], block + _LINE, device=self.device)[:, :block]
        series = torch.zeros(block, dtype=torch.int64, device=self.device)
        estimates = torch.zeros(block, device=self.device)
        return Buffers(inputs, series, estimates, self._results())

    def _results(self) -> tuple[Tensor, ...]:
        """Room for the results of the layers but the last, in turn in two places, which stay in the cache."""
        layers = self.layers[:-1]
        size = self.step * max((layer.shape[1] for layer in layers), default=0)
        kinds = {layer.weight.dtype for layer in layers}
        places = {
            kind: torch.zeros(2, size + _LINE, dtype=kind, device=self.device)[:, :size] for kind in kinds
        }
        return tuple(
            places[layer.weight.dtype][index % 2, : self.step * layer.shape[1]].view(self.step, -1)
            for index, layer in enumerate(layers)
        )

    def __call__(self, buffers: Buffers, table: Tensor, count: int) -> Tensor:
        """Estimates of the first `count` pixels at least, in the buffer for them."""
        on(self.device, chain)(
            buffers.inputs,
            buffers.series,
            buffers.weights,
            table,
            self._weights,
            self._biases,
            self._least,
            self._shifted,
            self.entry,
            list(buffers.layers),
            buffers.estimates,
            self.step,
            count,
        )
        return buffers.estimates


class WindowPass:
    """Transformer: its snapshot stands in every day of the window, so that attention runs per pixel.

    Parameters
    ----------
    place : Dense
        The snapshot's part of the first day layer.
    encoder, attention : DayEncoder, Attention
    head : sequence of Dense
        On the processor.
    sizes : Sizes
        Of the products.
    """

    table_dtype = torch.float32

    def __init__(
        self,
        place: Dense,
        encoder: DayEncoder,
        attention: Attention,
        head: Sequence[Dense],
        sizes: Sizes = ON_CPU,
    ) -> None:
        self.place, self.encoder, self.attention = place, encoder, attention
        self.head, self.windows = DensePass(head, -1, sizes.step, place.weight.device), sizes.windows

    @property
    def multiply_adds(self) -> int:
        """Of one pixel."""
        attention, steps = self.attention, self.attention.steps
        daily, asked = (
            [*self.encoder.rest, attention.project],
            [attention.out, attention.wide, attention.narrow],
        )
        each, once = (sum(a * b for a, b in (layer.shape for layer in part)) for part in (daily, asked))
        queries = 1 if attention.last_step else steps
        seen: int = steps * each + queries * (once + 2 * steps * attention.width)
        return self.place.shape[0] * self.place.shape[1] + seen + self.head.multiply_adds

    def buffers(self, block: int) -> Buffers:
        """Buffers for blocks of that many pixels."""
        width, out = self.place.shape
        head = self.head.buffers(block)
        own = (torch.zeros(block, n, device=self.head.device) for n in (out, self.attention.width))
        inputs = torch.zeros(width, block, device=self.head.device)
        return Buffers(inputs, head.series, head.estimates, (*own, *head.layers))

    def __call__(self, buffers: Buffers, table: Tensor, count: int) -> Tensor:
        """Estimates of the first `count` pixels at least, in the buffer for them."""
        place, past, *rest = buffers.layers
        steps, width, windows = self.attention.steps, self.attention.width, self.windows
        torch.mm(buffers.inputs.t(), self.place.weight, out=place)
        for start in range(0, count, windows):
            own = slice(start, start + windows)
            daily = buffers.rows(table, own).view(windows, steps, -1)
            days = self.encoder.after_first((daily + place[own, None]).view(windows * steps, -1))
            projected = self.attention.project_days(days)
            past[own] = self.attention(days.view(windows, steps, width), projected.view(windows, steps, -1))
        return self.head(Buffers(past.t(), buffers.series, buffers.estimates, tuple(rest)), table, count)
