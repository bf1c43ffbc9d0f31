"""The pixel pass in bfloat16, where the processor multiplies bfloat16 in hardware.

The wide layers, which cost nearly all the time, take bfloat16 weights packed once; sums are in float32. The
first two layers, whose inputs have few digits to lose, and the last stay in float32. The error is measured by
`mmnet-maps bench` and is never accepted silently: float32 is the default.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mmnet_maps.errors import InputError
from mmnet_maps.produce.engine_pixels import Buffers, DensePass
from mmnet_maps.produce.folding import Dense

__all__ = ["MixedPass", "has_bfloat16", "require_bfloat16"]

#: Layers kept in float32 at the start.
_EXACT = 2
_HALF = torch.bfloat16


def has_bfloat16() -> bool:
    """Whether the processor has bfloat16 multiply-add instructions that torch uses."""
    found = torch.cpu.get_capabilities()
    usable = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return bool(usable and (found.get("avx512_bf16") or found.get("amx_bf16")))


def require_bfloat16(kind: str) -> None:
    """Raise `InputError` unless a model of that kind can run in bfloat16 on this processor."""
    if kind == "transformer":
        raise InputError("precision bfloat16 is for mmnet and mlp; the bundle holds a transformer")
    if not has_bfloat16():
        raise InputError("precision bfloat16: this processor has no bfloat16 instructions; use float32")


class MixedPass(DensePass):
    """`DensePass` with its wide layers in bfloat16.

    Parameters
    ----------
    layers, entry
        As `DensePass`.
    block : int
        Pixels of a block, for which the weights are packed.
    """

    table_dtype = _HALF

    def __init__(self, layers: Sequence[Dense], entry: int, block: int) -> None:
        super().__init__(layers, entry)
        if entry < _EXACT:
            self.table_dtype = torch.float32
        self._packed: list[Tensor | None] = []
        self._biases = [layer.bias.to(_HALF) for layer in layers]
        for place, layer in enumerate(layers):
            half = _EXACT <= place < len(layers) - 1
            weight = layer.weight.t().contiguous().to(_HALF)
            self._packed.append(torch.ops.mkldnn._reorder_linear_weight(weight, block) if half else None)

    def buffers(self, block: int) -> Buffers:
        """Buffers for blocks of that many pixels."""
        found = super().buffers(block)
        results = list(found.layers)
        # The last exact layer's result is handed on in bfloat16; so is the gathered series row.
        results.append(torch.zeros(block, self.layers[_EXACT - 1].shape[1], dtype=_HALF))
        if self.entry >= _EXACT:
            results[self.entry] = torch.zeros(block, self.layers[self.entry].shape[1], dtype=_HALF)
        return Buffers(found.inputs, found.series, tuple(results))

    def __call__(self, buffers: Buffers, table: Tensor) -> Tensor:
        """Estimates, shape (block,)."""
        results, half = buffers.layers, buffers.layers[-1]
        values = self._run(buffers.inputs.t(), buffers, table, 0, _EXACT)
        # The fused ReLU turns NaN into 0: what is missing is added again at the end.
        missing = values[:, 0] * 0
        values = half.copy_(values)
        for place in range(_EXACT, len(self.layers) - 1):
            if place == self.entry:
                rows = torch.index_select(table, 0, buffers.series, out=results[place])
                missing += rows[:, 0].float() * 0
                values = _fused_add(values, rows, self._packed[place]).relu_()
            else:
                values = _fused_relu(values, self._packed[place], self._biases[place])
        last = results[len(self.layers) - 1]
        torch.addmm(self.layers[-1].bias, values.float(), self.layers[-1].weight, out=last)
        return last[:, 0].add_(missing)


def _fused_relu(values: Tensor, packed: Tensor | None, bias: Tensor) -> Tensor:
    found: Tensor = torch.ops.mkldnn._linear_pointwise(values, packed, bias, "relu", [], "")
    return found


def _fused_add(values: Tensor, rows: Tensor, packed: Tensor | None) -> Tensor:
    found: Tensor = torch.ops.mkldnn._linear_pointwise(values, rows, packed, None, "add")
    return found
