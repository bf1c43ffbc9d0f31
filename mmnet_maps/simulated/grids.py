"""The grids that each source has its data on, cut to a place."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mmnet_maps.crs import bounds_in
from mmnet_maps.grid import Grid, Tile, cell_lookup

__all__ = ["EASE2_9KM", "GRIDMET", "MODIS_1KM", "Cells", "Lattice", "cells_of", "cover"]

_SINUSOIDAL = "+proj=sinu +R=6371007.181 +nadgrids=@null +wktext +units=m"


@dataclass(frozen=True)
class Lattice:
    """An endless north-up grid: CRS, upper left corner of its cell (0, 0), cell size."""

    crs: str
    left: float
    top: float
    size: float


EASE2_9KM = Lattice("EPSG:6933", -17367530.445161372, 7314540.830638504, 9008.055210146)
GRIDMET = Lattice("EPSG:4326", -124.7666666333333 - 1 / 48, 49.4 + 1 / 48, 1 / 24)
MODIS_1KM = Lattice(_SINUSOIDAL, -20015109.353988, 10007554.676994, 1111950.5196666666 / 1200)


@dataclass(frozen=True)
class Cells:
    """Which cell of a coarse grid each pixel of a site lies in.

    Attributes
    ----------
    grid : Grid
        The coarse cells that hold pixels.
    index : ndarray of int64, shape (pixels,)
        Cell of each pixel, row by row on both sides.
    """

    grid: Grid
    index: NDArray[np.int64]

    @property
    def count(self) -> int:
        """Number of cells."""
        return self.grid.height * self.grid.width

    @cached_property
    def population(self) -> NDArray[np.int64]:
        """How many of the pixels lie in each cell."""
        return np.bincount(self.index, minlength=self.count)

    def mean(self, values: NDArray[np.float32]) -> NDArray[np.float64]:
        """Mean of the pixels of each cell; NaN for a cell without any."""
        total = np.bincount(self.index, values.ravel(), minlength=self.count)
        return np.where(self.population > 0, total / np.maximum(self.population, 1), np.nan)

    def of(self, pixels: NDArray[np.bool_]) -> Cells:
        """The same cells, with some of the pixels alone."""
        return Cells(self.grid, self.index[pixels.ravel()])


def cover(lattice: Lattice, site: Grid, margin: int = 0) -> Grid:
    """The part of a lattice that a site touches, widened by whole cells."""
    left, bottom, right, top = bounds_in(site.crs, lattice.crs, site.bounds)
    size = lattice.size
    first_col = int(np.floor((left - lattice.left) / size)) - margin
    last_col = int(np.floor((right - lattice.left) / size)) + margin
    first_row = int(np.floor((lattice.top - top) / size)) - margin
    last_row = int(np.floor((lattice.top - bottom) / size)) + margin
    x, y = lattice.left + first_col * size, lattice.top - first_row * size
    transform = (size, 0.0, x, 0.0, -size, y)
    return Grid(lattice.crs, transform, last_row - first_row + 1, last_col - first_col + 1)


def cells_of(lattice: Lattice, site: Grid) -> Cells:
    """Cut a lattice to the cells that hold pixels of a site, and find each pixel's cell."""
    whole = Tile(0, 0, site.height, site.width)
    wide = cover(lattice, site, margin=1)
    found = cell_lookup(site, whole, wide)
    height, width = found.shape
    grid = wide.crop(Tile(found.rows.start, found.cols.start, height, width))
    return Cells(grid, found.index.ravel().astype(np.int64))
