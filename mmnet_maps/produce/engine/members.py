"""Several networks on the same pixels, and networks that give the square root of soil moisture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from mmnet_maps.learn.models.target import Target
from mmnet_maps.produce.engine.pixels import Buffers, PixelPass

__all__ = ["MembersPass"]


@dataclass(frozen=True)
class _Buffers(Buffers):
    """With room for the sum over the networks, shape (block,)."""

    total: Tensor = field(kw_only=True)


class MembersPass:
    """The mean of what several networks estimate, one after the other in the same buffers.

    Parameters
    ----------
    passes : sequence of PixelPass
        Of the networks, all of one shape.
    width : int
        Numbers in a row of one network's series table; a row of the table here holds theirs side by side.
    target : {"identity", "sqrt"}
        What each network gives.
    """

    def __init__(self, passes: Sequence[PixelPass], width: int, target: Target) -> None:
        self.passes, self.width, self.target = tuple(passes), width, target
        self.table_dtype: torch.dtype = self.passes[0].table_dtype

    @property
    def multiply_adds(self) -> int:
        """Of one pixel."""
        return sum(one.multiply_adds for one in self.passes)

    def buffers(self, block: int) -> Buffers:
        """Buffers for blocks of that many pixels."""
        first = self.passes[0].buffers(block)
        return _Buffers(
            first.inputs,
            first.series,
            first.estimates,
            first.layers,
            total=torch.zeros_like(first.estimates),
        )

    def __call__(self, buffers: Buffers, table: Tensor, count: int) -> Tensor:
        """Estimates of the first `count` pixels at least, in the buffer for their sum."""
        assert isinstance(buffers, _Buffers)
        total = buffers.total.zero_()
        for number, one in enumerate(self.passes):
            own = table[:, number * self.width : (number + 1) * self.width]
            estimate = one(buffers, own, count)
            if self.target == "sqrt":
                # A negative square root is none, and stands for dry; NaN stays NaN.
                estimate = estimate.clamp_(min=0).square_()
            total += estimate
        return total.mul_(1 / len(self.passes)) if len(self.passes) > 1 else total
