"""Trust on a device: the bits, ranges and interval tables of `trust`, on tensors.

Bits are gathered in int32, since torch computes little with uint16.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from mmnet_maps.produce.engine.device import sent
from mmnet_maps.produce.engine.engine import Engine
from mmnet_maps.produce.tile.rules import valid_range
from mmnet_maps.produce.tile.trust import (
    CLIPPED,
    MISSING,
    MISSING_REASONS,
    NO_INTERVAL,
    SNAPSHOT_MISSING,
    SOIL_MOISTURE,
    IntervalCodes,
    Limits,
)

__all__ = ["Finish", "Ranges", "marked", "stored_bits", "widened"]


def marked(where: Tensor, flag: np.uint16) -> Tensor:
    """Bits, int32: the flag where it holds, else none."""
    return where.to(torch.int32) * int(flag)


def widened(bits: Tensor) -> Tensor:
    """Bits in int32, from int16 with the bits of uint16 (`device.sent`)."""
    return bits.to(torch.int32) & 0xFFFF


def stored_bits(bits: Tensor) -> Tensor:
    """Bits as int16 with the bits of uint16, from int32."""
    return ((bits ^ 0x8000) - 0x8000).to(torch.int16)


class Ranges:
    """Training range of features on a device.

    Parameters
    ----------
    limits : Limits
    device : torch.device
    """

    def __init__(self, limits: Limits, device: torch.device) -> None:
        self._low, self._high = sent(limits.low, device), sent(limits.high, device)

    def outside(self, rows: Tensor) -> Tensor:
        """As `Limits.outside`."""
        return ((rows < self._low) | (rows > self._high)).any(0)


class Finish:
    """Estimates to stored values, as `trust.finish`.

    Parameters
    ----------
    engine : Engine
        Its interval and the valid range of its target.
    device : torch.device
    """

    def __init__(self, engine: Engine, device: torch.device) -> None:
        codes = IntervalCodes(engine.bundle.interval, valid_range(engine))
        self._low, self._high, self._first = float(codes.low), float(codes.high), codes.first
        self._lower, self._upper = sent(codes.lower, device), sent(codes.upper, device)

    def __call__(self, prediction: Tensor, bits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Stored soil moisture and its interval.

        Parameters
        ----------
        prediction : Tensor of float32
            m3 m-3; NaN is missing.
        bits : Tensor of int32, same shape
            Completed in place.

        Returns
        -------
        soil_moisture, lower, upper : Tensor of int16, same shape
        """
        missing = torch.isnan(prediction)
        clipped = prediction.clamp(self._low, self._high)
        bits |= marked((clipped != prediction) & ~missing, CLIPPED)
        bits |= marked(missing & ((bits & int(MISSING_REASONS)) == 0), SNAPSHOT_MISSING)
        scaled = clipped.masked_fill(missing, self._low) * float(np.float32(1 / SOIL_MOISTURE.scale))
        codes = torch.round(scaled).to(torch.int32)
        place = (codes - self._first).view(-1)
        lower, upper = (
            table.index_select(0, place).view(codes.shape).masked_fill(missing, int(MISSING))
            for table in (self._lower, self._upper)
        )
        bits |= marked((lower == int(MISSING)) & ~missing, NO_INTERVAL)
        return codes.to(torch.int16).masked_fill(missing, int(MISSING)), lower, upper
