"""Stored scenes to daily values on a device: decoding, screening, and filling in time, many days at once.

What the values are is said elsewhere: `Packing.decode`, `prepare.gap_fill.bridge`. Here are the steps that
lead to it with the few operations that every device has.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmnet_maps.packing import Packing
from mmnet_maps.prepare.gap_fill import NO_LIMIT, bridge
from mmnet_maps.variables import Variable

__all__ = ["SENT_AS_STORED", "Arrays", "Scenes", "decode", "screen"]

#: Types that travel as they are stored; others are decoded first.
SENT_AS_STORED = ("int8", "uint8", "int16", "uint16", "int32", "float32")


class Arrays:
    """The part of NumPy's interface that formulas use (their `xp`), on the tensors of a device.

    Parameters
    ----------
    device : torch.device
    """

    add, subtract, multiply, divide = (
        staticmethod(f) for f in (torch.add, torch.subtract, torch.multiply, torch.divide)
    )
    cos, sin, minimum, where = (staticmethod(f) for f in (torch.cos, torch.sin, torch.minimum, torch.where))
    isinf, broadcast_to = staticmethod(torch.isinf), staticmethod(torch.broadcast_to)
    full_like, zeros_like = staticmethod(torch.full_like), staticmethod(torch.zeros_like)
    int32, float32 = torch.int32, torch.float32

    def __init__(self, device: torch.device) -> None:
        # Apple's devices have no float64.
        self.float64 = torch.float32 if device.type == "mps" else torch.float64

    @staticmethod
    def asarray(values: Tensor, dtype: torch.dtype) -> Tensor:
        """The values in another type."""
        return values.to(dtype)


def decode(stored: Tensor, packing: Packing) -> Tensor:
    """Physical values in float32, NaN where missing, with the arithmetic of `Packing.decode`.

    Parameters
    ----------
    stored : Tensor
        As `device.sent` gives it: uint16 as int16 of the same bits.
    packing : Packing
        Its type is one of `SENT_AS_STORED`.
    """
    if packing.dtype == "uint16":
        stored = stored.to(torch.int32) & 0xFFFF
    values = stored.to(torch.float32)
    if packing.scale != 1.0:
        values = values * float(np.float32(packing.scale))
    if packing.offset != 0.0:
        values = values + float(np.float32(packing.offset))
    if packing.missing is not None:
        missing = np.dtype(packing.dtype).type(packing.missing).item()
        values = values.masked_fill(stored == missing, torch.nan)
    return values


def screen(values: Tensor, variables: Sequence[Variable]) -> Tensor:
    """Drop observations with a reflectance outside its range, all bands of that place and day.

    Parameters
    ----------
    values : Tensor, shape (bands, s, n)
        Decoded.
    variables : sequence of Variable
        Of the bands.
    """
    bad: Tensor | None = None
    for band, variable in zip(values, variables, strict=True):
        if variable.is_reflectance:
            low, high = (float(np.float32(limit)) for limit in variable.valid_range)
            own = (band < low) | (band > high)
            bad = own if bad is None else bad | own
    return values if bad is None else values.masked_fill(bad, torch.nan)


class Scenes:
    """Observations of variables that are filled together.

    Parameters
    ----------
    values : Tensor of float32, shape (bands, s, n)
        Decoded, NaN where missing.
    days : ndarray of int64, shape (s,)
        Days of the observations, strictly increasing.
    since : Tensor of int32, shape (s,)
        The same on the device, counted from `origin`.
    origin : int
    variable : Variable
        Says how to fill, and from which age on a value is old.
    """

    def __init__(
        self, values: Tensor, days: NDArray[np.int64], since: Tensor, origin: int, variable: Variable
    ) -> None:
        self._values, self._days, self._since = values, days, since
        self._origin, self._variable = origin, variable
        self._xp = Arrays(values.device)
        self._count = count = len(days)
        valid = ~torch.isnan(values)
        row = torch.arange(count, dtype=torch.int32, device=values.device)[:, None]
        self._last, self._next = torch.where(valid, row, -1), torch.where(valid, row, count)

    def fill(self, days: NDArray[np.int64]) -> tuple[Tensor, Tensor | None]:
        """Values of consecutive days.

        Parameters
        ----------
        days : ndarray of int64, shape (d,)

        Returns
        -------
        values : Tensor of float32, shape (bands, d, n)
            NaN where missing.
        old : Tensor of bool, shape (d, n), or None
            Where a band is older than `Variable.max_age`; None where the variable has none.
        """
        bands, _, n = self._values.shape
        max_age = self._variable.max_age
        if self._count == 0:
            shape = (bands, len(days), n)
            return torch.full(shape, torch.nan, device=self._values.device), None
        before, after = self._around(days)
        there_before, there_after = before >= 0, after < self._count
        before, after = before.clamp(min=0).long(), after.clamp(max=self._count - 1).long()
        first = int(days[0]) - self._origin
        day = torch.arange(first, first + len(days), dtype=torch.int32, device=before.device)[:, None]
        far = int(NO_LIMIT)
        values, age, _, _ = bridge(
            torch.where(there_before, day - self._since[before], far),  # type: ignore[arg-type]
            torch.where(there_after, self._since[after] - day, far),  # type: ignore[arg-type]
            self._values.gather(1, before),  # type: ignore[arg-type]
            self._values.gather(1, after),  # type: ignore[arg-type]
            self._variable.fill,
            self._variable.max_gap,
            self._xp,
        )
        old = None if max_age is None else (age > max_age).any(0)
        return values, old  # type: ignore[return-value]

    def _around(self, days: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Row of the valid observation on or before (-1: none), and on or after (s: none), (bands, d, n)."""
        # Few scenes lie between the first day and the last: each distinct cut is searched once.
        upto = np.searchsorted(self._days, days, side="right").tolist()
        onward = np.searchsorted(self._days, days, side="left").tolist()
        before = {row: self._before(row) for row in sorted(set(upto))}
        after = {row: self._after(row) for row in sorted(set(onward))}
        return torch.stack([before[r] for r in upto], 1), torch.stack([after[r] for r in onward], 1)

    def _before(self, row: int) -> Tensor:
        return self._last[:, :row].amax(1) if row else torch.full_like(self._last[:, 0], -1)

    def _after(self, row: int) -> Tensor:
        if row == self._count:
            return torch.full_like(self._next[:, 0], self._count)
        return self._next[:, row:].amin(1)
