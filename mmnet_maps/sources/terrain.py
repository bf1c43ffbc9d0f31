"""Elevation with slope and aspect, computed on the projected grid of the maps."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS

from mmnet_maps.assets import ASSETS
from mmnet_maps.errors import InputError
from mmnet_maps.grid import Grid
from mmnet_maps.packing import Packing
from mmnet_maps.source_reader import SourceReader
from mmnet_maps.variables import Cadence, Variable

__all__ = ["TerrainSource", "padded", "slope_and_aspect"]


@dataclass(frozen=True)
class TerrainSource:
    """A `mmnet_maps.source_reader.SourceReader` of elevation, slope and aspect.

    Attributes
    ----------
    name : str
    grid : Grid
        That of the maps; projected.
    elevation : SourceReader
        On the same grid with a pixel more on every side.
    definitions : dict of str to Variable
    """

    name: str
    grid: Grid
    elevation: SourceReader
    definitions: dict[str, Variable]
    cadence: Cadence = "static"

    def __post_init__(self) -> None:
        if not CRS.from_user_input(self.grid.crs).is_projected:
            raise InputError(
                f"source {self.name}: terrain needs a projected grid; {self.grid.crs} is in degrees"
            )

    @property
    def variables(self) -> dict[str, Packing]:
        """Storage of every variable, that of a cube from Earth Engine."""
        return {name: ASSETS["terrain"].packings[name] for name in self.definitions}

    @property
    def days(self) -> NDArray[np.int64]:
        """None: terrain is static."""
        return np.array([], dtype=np.int64)

    def identity(self, first: int, last: int) -> str:
        """That of the elevation, and what is made of it."""
        what = f"{self.elevation.identity(first, last)} terrain {sorted(self.definitions)}"
        return hashlib.sha256(what.encode()).hexdigest()

    def fetch_bytes(self, first: int, last: int, rows: slice, cols: slice) -> int:
        """Those of the elevation."""
        weigh = getattr(self.elevation, "fetch_bytes", None)
        wider = slice(rows.start, rows.stop + 2), slice(cols.start, cols.stop + 2)
        return 0 if weigh is None else int(weigh(first, last, *wider))

    def read(self, first: int, last: int, rows: slice, cols: slice) -> dict[str, NDArray[Any]]:
        """See `mmnet_maps.source_reader.SourceReader.read`."""
        wider = slice(rows.start, rows.stop + 2), slice(cols.start, cols.stop + 2)
        stored = self.elevation.read(first, last, *wider)["elevation"][0]
        height = self.elevation.variables["elevation"].decode(stored).astype(np.float64)
        slope, aspect = slope_and_aspect(height, abs(self.grid.transform[0]), abs(self.grid.transform[4]))
        values = {"elevation": height[1:-1, 1:-1], "slope": slope, "aspect": aspect}
        return {name: packing.encode(values[name])[None] for name, packing in self.variables.items()}


def padded(grid: Grid) -> Grid:
    """A grid with one pixel more on every side."""
    a, b, c, d, e, f = grid.transform
    return Grid(grid.crs, (a, b, c - a, d, e, f - e), grid.height + 2, grid.width + 2)


def slope_and_aspect(
    height: NDArray[np.float64], dx: float, dy: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Slope and aspect by Horn (1981), Proceedings of the IEEE 69(1), of all but the outermost pixels.

    Parameters
    ----------
    height : ndarray of float64, shape (rows + 2, columns + 2)
        Metres, north up; NaN is missing, and so is what rests on it.
    dx, dy : float
        Metres a pixel.

    Returns
    -------
    slope, aspect : ndarray of float64, shape (rows, columns)
        Degrees; the aspect clockwise from north, the way that water runs, 0 where it is flat.
    """
    h = height
    east = h[:-2, 2:] + 2 * h[1:-1, 2:] + h[2:, 2:]
    west = h[:-2, :-2] + 2 * h[1:-1, :-2] + h[2:, :-2]
    north = h[:-2, :-2] + 2 * h[:-2, 1:-1] + h[:-2, 2:]
    south = h[2:, :-2] + 2 * h[2:, 1:-1] + h[2:, 2:]
    up_east, up_north = (east - west) / (8 * dx), (north - south) / (8 * dy)
    slope = np.degrees(np.arctan(np.hypot(up_east, up_north)))
    aspect = np.degrees(np.arctan2(-up_east, -up_north)) % 360.0
    return slope, np.where(slope == 0, 0.0, aspect)
