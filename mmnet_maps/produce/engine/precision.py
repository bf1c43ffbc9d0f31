"""The pixel pass in bfloat16, where the processor multiplies bfloat16 in hardware.

The wide layers, which cost nearly all the time, take bfloat16 weights packed once; sums are in float32. The
first layer, whose inputs have few digits to lose, and the last stay in float32. The error is measured by
`mmnet-maps bench` and is never accepted silently: float32 is the default.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from mmnet_maps.errors import InputError
from mmnet_maps.learn.models.dense import Dense
from mmnet_maps.produce.engine.pixels import STEP, Buffers, DensePass

__all__ = ["MixedPass", "has_bfloat16", "require_bfloat16"]

#: Layers kept in float32 at the start: the second would lower the error by a quarter and cost a tenth.
_EXACT = 1
_HALF = torch.bfloat16


def has_bfloat16() -> bool:
    """Whether the processor has bfloat16 multiply-add instructions that torch uses."""
    found = torch.cpu.get_capabilities()
    usable = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return bool(usable and (found.get("avx512_bf16") or found.get("amx_bf16")))


def require_bfloat16() -> None:
    """Raise `InputError` unless bfloat16 can be computed on this processor."""
    if not has_bfloat16():
        raise InputError("precision bfloat16: this processor has no bfloat16 instructions; use float32")


class MixedPass(DensePass):
    """`DensePass` with its wide layers in bfloat16.

    Parameters
    ----------
    layers, entry
        As `DensePass`.
    """

    table_dtype = _HALF
    # Half the bytes, and dearer calls: the largest step that was measured is the fastest. It divides the
    # engine's block.
    step = 8 * STEP

    def __init__(self, layers: Sequence[Dense], entry: int) -> None:
        super().__init__(layers, entry)
        if entry < _EXACT:
            self.table_dtype = torch.float32
        self._packed: list[Tensor | None] = []
        # Added to the series' rows where they stand: a product that adds others makes a copy of them.
        self._entry_weight = layers[entry].weight.to(_HALF)
        self._biases = [layer.bias.to(_HALF) for layer in layers]
        for place, layer in enumerate(layers):
            half = _EXACT <= place < len(layers) - 1 and place != entry
            weight = layer.weight.t().contiguous().to(_HALF)
            self._packed.append(torch.ops.mkldnn._reorder_linear_weight(weight, self.step) if half else None)

    def buffers(self, block: int) -> Buffers:
        """Buffers for blocks of that many pixels."""
        found, last = super().buffers(block), len(self.layers) - 1
        results = [
            torch.zeros(STEP if place < _EXACT else self.step, layer.shape[1])
            for place, layer in enumerate(self.layers)
        ]
        # The last exact layer's result is handed on in bfloat16; so is the gathered series row.
        results.append(torch.zeros(self.step, self.layers[_EXACT - 1].shape[1], dtype=_HALF))
        if _EXACT <= self.entry < last:
            results[self.entry] = results[self.entry].to(_HALF)
        return replace(found, layers=tuple(results))

    def _estimate(self, values: Tensor, series: Tensor, results: Sequence[Tensor], table: Tensor) -> Tensor:
        half = results[-1]
        for start in range(0, self.step, STEP):
            own = slice(start, start + STEP)
            half[own] = self._run(values[own], series[own], results, table, range(_EXACT))
        found = half
        for place in range(_EXACT, len(self.layers) - 1):
            if place == self.entry:
                rows = torch.index_select(table, 0, series, out=results[place])
                found = rows.addmm_(found, self._entry_weight)
                # A negative number is a negative integer too, and integers are compared four times as fast.
                found.view(torch.int16).clamp_(min=0)
            else:
                found = _product(found, self._packed[place], self._biases[place], "relu", [], "")
        last = results[len(self.layers) - 1]
        torch.addmm(self.layers[-1].bias, found.float(), self.layers[-1].weight, out=last)
        # The ReLUs turned NaN into 0: what is missing is made missing again, where there is any.
        if not math.isfinite(values.sum()):
            last[:, 0] += values.sum(dim=1) * 0
        if not math.isfinite(table[:, 0].sum()):
            last[:, 0] += torch.index_select(table[:, 0].float() * 0, 0, series)
        return last[:, 0]


def _product(*operands: Any) -> Tensor:
    """One product of the packed kind: oneDNN's, with what it does to the result."""
    found: Tensor = torch.ops.mkldnn._linear_pointwise(*operands)
    return found
