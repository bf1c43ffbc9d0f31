"""Gap filling on a device: from stored scenes to values of many days at once.

What the values are is said elsewhere: `Packing.decode`, `prepare.gap_fill.bridge`. Here are the steps that
lead to it with the few operations that every device has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmnet_maps.prepare.gap_fill import NO_LIMIT, bridge
from mmnet_maps.produce.engine.arrays import Arrays
from mmnet_maps.produce.tile.inputs import TileInputs
from mmnet_maps.produce.tile.layers import rows_in_reach
from mmnet_maps.produce.tile.trust import age_flag
from mmnet_maps.variables import Variable

__all__ = ["SceneFiller", "Scenes", "screen"]


class SceneFiller:
    """Variables of a source with a cell a pixel, as tensors.

    Parameters
    ----------
    xp : Arrays
        Of a device.
    inputs : TileInputs
    variables : sequence of Variable
        Filled together.
    days : ndarray of int64
        That will be asked for, consecutive.
    arrays : dict
        The observations are added, a row of pixels each.
    """

    def __init__(
        self,
        xp: Arrays,
        inputs: TileInputs,
        variables: Sequence[Variable],
        days: NDArray[np.int64],
        arrays: dict[str, NDArray[Any]],
    ) -> None:
        self.names, self._variables = tuple(v.name for v in variables), variables
        layers = [inputs.layers[name] for name in self.names]
        rows, index = rows_in_reach(layers[0], variables[0], days), inputs.index[layers[0].source]
        for name, layer in zip(self.names, layers, strict=True):
            stored = layer.stored[rows] if index is None else layer.stored[rows].take(index, axis=1)
            arrays[name], self._packing = xp.sendable(stored, layer.packing)
        self._xp, self._days, self._observed = xp, days, layers[0].days[rows]
        self._since = f"days of {self.names[0]}"
        arrays[self._since] = (self._observed - days[0]).astype(np.int32)
        self._flag = age_flag(variables[0])
        self.depth = len(layers) * len(self._observed)

    def block(self, there: Mapping[str, Tensor], pixels: Tensor) -> _SceneBlock:
        """At some pixels."""
        bands = [there[name].index_select(1, pixels) for name in self.names]
        values = screen(self._xp.decode(torch.stack(bands), self._packing), self._variables)
        first = int(self._days[0])
        scenes = Scenes(self._xp, values, self._observed, there[self._since], first, self._variables[0])
        return _SceneBlock(scenes, self._days, self._flag)


class _SceneBlock:
    def __init__(self, scenes: Scenes, days: NDArray[np.int64], flag: int) -> None:
        self._scenes, self._days, self._flag = scenes, days, flag

    def write(self, days: slice, out: Tensor, bits: Tensor) -> None:
        values, old = self._scenes.fill(self._days[days])
        out.copy_(values)
        if old is not None:
            bits |= old.to(torch.int32) * self._flag


def screen(values: Tensor, variables: Sequence[Variable]) -> Tensor:
    """Drop observations with a reflectance outside its range, all bands of that pixel and day.

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
    xp : Arrays
        Of the tensors.
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
        self,
        xp: Arrays,
        values: Tensor,
        days: NDArray[np.int64],
        since: Tensor,
        origin: int,
        variable: Variable,
    ) -> None:
        self._xp, self._values, self._days, self._since = xp, values, days, since
        self._origin, self._variable = origin, variable
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
