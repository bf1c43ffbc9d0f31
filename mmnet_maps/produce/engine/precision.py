"""The pixel pass in bfloat16, and whether it is worth it on the machine at hand.

The wide layers, which cost nearly all the time, are multiplied in bfloat16 with sums in float32; the first
two, whose inputs have few digits to lose, and the last stay in float32. On a processor the gain depends on
its instructions and on the libraries, so it is measured; the error is measured by `mmnet-maps bench`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import torch

from mmnet_maps.errors import InputError
from mmnet_maps.learn.models.dense import Dense
from mmnet_maps.produce.engine.pixels import CPU, DensePass

__all__ = ["PRECISIONS", "Bfloat16Pass", "bfloat16_gain", "refuse_device"]

PRECISIONS = ("float32", "bfloat16")
#: Layers kept in float32 at the start.
_EXACT = 2
#: Rounds of a measurement after one that warms up, and how much slower that may be to go on at all.
_ROUNDS, _HOPELESS = 3, 4.0


class Bfloat16Pass(DensePass):
    """`DensePass` with its wide layers in bfloat16.

    Parameters
    ----------
    layers, entry, step, device
        As `DensePass`; the layers in float32.
    """

    def __init__(
        self, layers: Sequence[Dense], entry: int, step: int | None = None, device: torch.device = CPU
    ) -> None:
        wide = range(_EXACT, len(layers) - 1)
        kinds = [torch.bfloat16 if index in wide else torch.float32 for index in range(len(layers))]
        turned = [layer.of(kind) for layer, kind in zip(layers, kinds, strict=True)]
        super().__init__(turned, entry, step, device)


def refuse_device(device: torch.device) -> None:
    """Raise `InputError` unless the device is a processor or a GPU with bfloat16 instructions."""
    if device.type not in ("cpu", "cuda"):
        raise InputError(f"precision bfloat16 is for cpu and cuda, not for device {device}; use float32")
    if device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise InputError(f"precision bfloat16: device {device} has no bfloat16 instructions; use float32")


@torch.inference_mode()
def bfloat16_gain(layers: Sequence[Dense], entry: int, block: int, step: int) -> float:
    """Rate of the pixel pass in bfloat16 over that in float32, on this processor now.

    Parameters
    ----------
    layers, entry
        As `DensePass`.
    block : int
        Pixels of a measurement, and of one product in bfloat16.
    step : int
        Pixels of one product in float32.
    """
    passes = DensePass(layers, entry, step), Bfloat16Pass(layers, entry, block)
    cases = [_on_random_pixels(one, block) for one in passes]
    plain, half = _seconds(cases[0]), _seconds(cases[1])
    if half > _HOPELESS * plain:
        return plain / half
    taken = [(_seconds(cases[0]), _seconds(cases[1])) for _ in range(_ROUNDS)]
    return min(plain for plain, _ in taken) / min(half for _, half in taken)


def _on_random_pixels(one: DensePass, block: int) -> Callable[[], object]:
    buffers = one.buffers(block)
    buffers.inputs.copy_(torch.rand(buffers.inputs.shape))
    table = torch.rand(16, one.layers[one.entry].shape[1]).to(one.table_dtype)
    return lambda: one(buffers, table, block)


def _seconds(case: Callable[[], object]) -> float:
    began = time.perf_counter()
    case()
    return time.perf_counter() - began
