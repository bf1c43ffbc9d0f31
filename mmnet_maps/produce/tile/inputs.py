"""What one piece of a map needs, as plain arrays on native grids: the seam between reading and computing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmnet_maps.grid import Tile
from mmnet_maps.packing import Packing
from mmnet_maps.produce.tile.nodes import Nodes

__all__ = ["Layer", "TileInputs"]


@dataclass(frozen=True)
class Layer:
    """Stored values of one variable around a tile, on its native grid.

    Attributes
    ----------
    source : str
        Which of `TileInputs.index` leads from a pixel to its cell here.
    days : ndarray of int64, shape (s,)
        Days since 1970-01-01, strictly increasing; empty for a static variable (whose `stored` has one row).
        A yearly variable has the first of January of each of its years.
    stored : ndarray, shape (s, cells)
        As stored in the cube, not decoded.
    packing : Packing
    """

    source: str
    days: NDArray[np.int64]
    stored: NDArray[Any]
    packing: Packing


@dataclass(frozen=True)
class TileInputs:
    """Everything that is read for one tile.

    Attributes
    ----------
    tile : Tile
        In the target grid.
    inside : ndarray of bool, shape (pixels,)
        False outside the region's polygon: such pixels are not computed.
    longitude, latitude : ndarray of float64, shape (pixels,)
    layers : mapping of str to Layer
        By variable name, `Catalogue.required` all present.
    index : mapping of str to ndarray of int32, shape (pixels,), or None
        By source: the cell of each pixel, -1 outside the source's grid; None where cells are the pixels.
    nodes : Nodes, optional
        What coarse fields are interpolated with; without them a pixel takes the value of its cell.
    """

    tile: Tile
    inside: NDArray[np.bool_]
    longitude: NDArray[np.float64]
    latitude: NDArray[np.float64]
    layers: Mapping[str, Layer]
    index: Mapping[str, NDArray[np.int32] | None]
    nodes: Nodes | None = None
