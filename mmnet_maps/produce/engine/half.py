"""The pixel pass in bfloat16 on a device: plain products, as `precision.MixedPass` on a CPU."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mmnet_maps.errors import InputError
from mmnet_maps.learn.models.dense import Dense
from mmnet_maps.produce.engine.pixels import DensePass

__all__ = ["HalfPass", "require_half"]

#: Layers kept in float32 at the start: one more than on a processor, where narrow layers cost more.
_EXACT = 2
_HALF = torch.bfloat16


def require_half(device: torch.device) -> None:
    """Raise `InputError` unless bfloat16 can be computed on a device."""
    if device.type != "cuda":
        raise InputError(f"precision bfloat16 is for cpu and cuda, not for device {device}; use float32")
    if not torch.cuda.is_bf16_supported(including_emulation=False):
        raise InputError(f"precision bfloat16: device {device} has no bfloat16 instructions; use float32")


class HalfPass(DensePass):
    """`DensePass` with its wide layers in bfloat16; the first two and the last stay in float32.

    Parameters
    ----------
    layers, entry, step
        As `DensePass`.
    """

    def __init__(self, layers: Sequence[Dense], entry: int, step: int | None = None) -> None:
        super().__init__(layers, entry, step)
        self.table_dtype = torch.float32 if entry < _EXACT else _HALF
        self._half = [(layer.weight.to(_HALF), layer.bias.to(_HALF)) for layer in self.layers]

    def _estimate(self, values: Tensor, series: Tensor, results: Sequence[Tensor], table: Tensor) -> Tensor:
        last = len(self.layers) - 1
        found = self._run(values, series, results, table, range(_EXACT)).to(_HALF)
        for place in range(_EXACT, last):
            weight, bias = self._half[place]
            added = table.index_select(0, series) if place == self.entry else bias
            found = torch.addmm(added, found, weight).relu_()
        return torch.addmm(self.layers[last].bias, found.float(), self.layers[last].weight)[:, 0]
