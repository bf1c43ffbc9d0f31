"""Layers of a tile on a device: what is sent there, and its values at blocks of pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmnet_maps.packing import Packing
from mmnet_maps.produce.engine.engine import Engine
from mmnet_maps.produce.tile.device_fill import SENT_AS_STORED, Scenes, decode, screen
from mmnet_maps.produce.tile.inputs import Layer, TileInputs
from mmnet_maps.produce.tile.layers import release_row, together
from mmnet_maps.produce.tile.trust import age_flag
from mmnet_maps.variables import Variable

__all__ = ["Daily", "DailyBlock", "Shipment", "Still"]

#: Fewer cells than this part of the pixels are filled as cells.
_COARSE = 4
_PLAIN = Packing(dtype="float32")


def _travelling(stored: NDArray[Any], packing: Packing) -> tuple[NDArray[Any], Packing]:
    """What is sent of stored values, and how it is decoded there."""
    if packing.dtype in SENT_AS_STORED and stored.dtype == packing.dtype:
        return stored, packing
    return packing.decode(stored), _PLAIN


class Shipment:
    """Arrays of one tile that go to the device, by name; what goes by the same name goes once."""

    def __init__(self, inputs: TileInputs) -> None:
        self.inputs = inputs
        self.arrays: dict[str, NDArray[Any]] = {}

    def add(self, name: str, array: NDArray[Any]) -> str:
        """Send an array, and give its name."""
        self.arrays.setdefault(name, array)
        return name

    def cells(self, layer: Layer) -> tuple[str | None, NDArray[np.int32] | None]:
        """Name of the cells of a layer that pixels take; or the cells, where values are sent by pixel.

        A source with more cells than pixels is sent by pixel. None, None where cells are the pixels.
        """
        index = self.inputs.index[layer.source]
        if index is None:
            return None, None
        # Pixels outside the source (-1) are not computed, and their cells never looked up on the device.
        if layer.stored.shape[-1] > len(index):
            return None, index
        return self.add(f"cells of {layer.source}", index), None


class Still:
    """A layer that stays for a land cover year.

    Parameters
    ----------
    shipment : Shipment
    name : str
    year : int
    """

    def __init__(self, shipment: Shipment, name: str, year: int) -> None:
        inputs = shipment.inputs
        if name in ("Latitude", "Longitude"):
            place = inputs.latitude if name == "Latitude" else inputs.longitude
            self._values, self._cells, self._packing = (
                shipment.add(name, place.astype(np.float32)),
                None,
                _PLAIN,
            )
            return
        layer = inputs.layers[name]
        row = release_row(layer, year)
        self._cells, by_pixel = shipment.cells(layer)
        stored = layer.stored[row] if by_pixel is None else layer.stored[row].take(by_pixel)
        values, self._packing = _travelling(stored, layer.packing)
        self._values = shipment.add(f"{name}, release {row}", values)

    def at(self, there: Mapping[str, Tensor], pixels: Tensor) -> Tensor:
        """Values at some pixels, shape (n,)."""
        cells = pixels if self._cells is None else there[self._cells].index_select(0, pixels)
        return decode(there[self._values].index_select(0, cells), self._packing)


@dataclass(frozen=True)
class DailyBlock:
    """Variables that are filled together, at a block of pixels.

    Attributes
    ----------
    names : tuple of str
    """

    names: tuple[str, ...]
    _scenes: Scenes
    _cells: Tensor | None
    _flag: int

    def fill(self, days: NDArray[np.int64]) -> tuple[Tensor, Tensor | None]:
        """Values of consecutive days, shape (names, d, n), and the bits of what is old, shape (d, n)."""
        values, old = self._scenes.fill(days)
        if self._cells is not None:
            values = values.index_select(2, self._cells)
            old = None if old is None else old.index_select(1, self._cells)
        return values, None if old is None else old.to(torch.int32) * self._flag


class Daily:
    """Variables that change with the day and are filled together.

    Parameters
    ----------
    shipment : Shipment
    variables : sequence of Variable
    days : ndarray of int64
        That will be asked for, consecutive.
    """

    def __init__(self, shipment: Shipment, variables: Sequence[Variable], days: NDArray[np.int64]) -> None:
        self.names = tuple(v.name for v in variables)
        self._variables, inputs = tuple(variables), shipment.inputs
        layers = [inputs.layers[name] for name in self.names]
        first, reach = layers[0], variables[0].max_gap
        rows = slice(0, len(first.days))
        if reach is not None:
            # No value rests on an observation further away than this.
            begin, end = np.searchsorted(first.days, [days[0] - reach, days[-1] + reach + 1])
            rows = slice(int(begin), int(end))
        self._days, self._origin = first.days[rows], int(days[0])
        since = (self._days - self._origin).astype(np.int32)
        self._since = shipment.add(f"days of {self.names[0]}", since)
        self._flag = int(age_flag(variables[0]))
        self._cells, by_pixel = shipment.cells(first)
        self._bands = []
        for name, layer in zip(self.names, layers, strict=True):
            stored = layer.stored[rows] if by_pixel is None else layer.stored[rows].take(by_pixel, axis=1)
            values, self._packing = _travelling(stored, layer.packing)
            self._bands.append(shipment.add(name, values))
        cells = first.stored.shape[1] if by_pixel is None else len(inputs.inside)
        self._coarse = self._cells is not None and cells * _COARSE <= len(inputs.inside)
        #: Observations of a pixel that are decoded, over all bands.
        self.depth = 0 if self._coarse else len(layers) * len(self._days)

    @classmethod
    def of(
        cls, shipment: Shipment, engine: Engine, names: Sequence[str], days: NDArray[np.int64]
    ) -> list[Daily]:
        """All variables of some names, in groups."""
        groups = together(shipment.inputs, engine.catalogue, names)
        return [cls(shipment, members, days) for members in groups]

    def block(self, there: Mapping[str, Tensor], pixels: Tensor) -> DailyBlock:
        """At some pixels, shape (n,)."""
        cells = pixels if self._cells is None else there[self._cells].index_select(0, pixels)
        bands = [there[name] for name in self._bands]
        if not self._coarse:
            bands = [band.index_select(1, cells) for band in bands]
        values = decode(torch.stack(bands), self._packing)
        if any(variable.is_reflectance for variable in self._variables):
            values = screen(values, self._variables)
        scenes = Scenes(values, self._days, there[self._since], self._origin, self._variables[0])
        return DailyBlock(self.names, scenes, cells.long() if self._coarse else None, self._flag)
