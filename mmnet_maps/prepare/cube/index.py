"""Which part of a source's native grid a region needs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from rasterio.features import rasterize
from shapely import box, segmentize, transform
from shapely.geometry.base import BaseGeometry

from mmnet_maps.errors import InputError
from mmnet_maps.grid import Grid, Tile
from mmnet_maps.prepare.cube.config import Target

__all__ = ["covered", "is_coarse", "burn", "native_polygon", "native_region", "native_window", "needed_cells"]

#: A source is coarse when its cells are at least this many target pixels wide.
_COARSE = 4.0
_METRES_PER_DEGREE = 111_320.0
_EDGE_POINTS = 1000


def _cell_metres(grid: Grid) -> float:
    crs = CRS.from_user_input(grid.crs)
    unit = _METRES_PER_DEGREE if crs.is_geographic else float(crs.axis_info[0].unit_conversion_factor or 1.0)
    return max(abs(grid.transform[0]), abs(grid.transform[4])) * unit


def is_coarse(native: Grid, target: Grid) -> bool:
    """Whether cells of a source are several target pixels wide."""
    return _cell_metres(native) >= _COARSE * _cell_metres(target)


def native_window(native: Grid, target: Target) -> Tile:
    """Rows and columns of the native grid that hold every pixel of the target, with a margin.

    The margin is one cell, two of a coarse source, so that neighbours are there to interpolate with. A source
    on the pixels of the target itself has none: its chunks then begin where the tiles do. The window may
    reach beyond the native grid, so that it does not change when later files widen that.
    """
    aligned = target.grid.aligned_offset(native)
    if aligned is not None:
        return Tile(*aligned, *target.grid.shape)
    grid, margin = target.grid, 2 if is_coarse(native, target.grid) else 1
    left, bottom, right, top = grid.bounds
    across, along = np.linspace(left, right, _EDGE_POINTS), np.linspace(bottom, top, _EDGE_POINTS)
    x = np.concatenate([across, across, np.full(_EDGE_POINTS, left), np.full(_EDGE_POINTS, right)])
    y = np.concatenate([np.full(_EDGE_POINTS, bottom), np.full(_EDGE_POINTS, top), along, along])
    if CRS.from_user_input(grid.crs) != CRS.from_user_input(native.crs):
        x, y = Transformer.from_crs(grid.crs, native.crs, always_xy=True).transform(x, y)
    rows, cols = native.position(x, y)
    if not (np.isfinite(rows).all() and np.isfinite(cols).all()):
        raise InputError(f"the region cannot be placed in {native.crs}; expected a CRS that covers it")
    # A residue of the projection must not open a row that the region only touches.
    row, col = int(np.floor(rows.min() + 1e-6)) - margin, int(np.floor(cols.min() + 1e-6)) - margin
    height = int(np.ceil(rows.max() - 1e-6)) + margin - row
    return Tile(row, col, height, int(np.ceil(cols.max() - 1e-6)) + margin - col)


def covered(native: Grid, window: Tile) -> Tile | None:
    """The part of a window that the native grid has, in the window's own rows and columns."""
    top, left = max(0, -window.row), max(0, -window.col)
    bottom = min(window.height, native.height - window.row)
    right = min(window.width, native.width - window.col)
    return Tile(top, left, bottom - top, right - left) if top < bottom and left < right else None


def native_polygon(native: Grid, target: Target) -> BaseGeometry | None:
    """The region's polygon in the CRS of a source, widened by the margin; None for a box."""
    if target.polygon is None:
        return None
    if target.grid.aligned_offset(native) is not None:
        return target.polygon
    margin = 2 if is_coarse(native, target.grid) else 1
    cell = max(abs(native.transform[0]), abs(native.transform[4]))
    return native_region(native, target).buffer(margin * cell)


def native_region(native: Grid, target: Target) -> BaseGeometry:
    """The region, polygon or box, in the CRS of a source."""
    shape = target.polygon
    if shape is None:
        # Half a pixel in, where the outermost pixel centres are: an edge alone does not touch the next cell.
        pixel = min(abs(target.grid.transform[0]), abs(target.grid.transform[4]))
        shape = box(*target.grid.bounds).buffer(-0.49 * pixel, join_style="mitre")
    if CRS.from_user_input(native.crs) != CRS.from_user_input(target.grid.crs):
        change = Transformer.from_crs(target.grid.crs, native.crs, always_xy=True)
        left, bottom, right, top = shape.bounds
        dense = segmentize(shape, max(right - left, top - bottom) / 500)
        shape = transform(dense, lambda xy: np.column_stack(change.transform(xy[:, 0], xy[:, 1]))).buffer(0)
    return shape


def needed_cells(
    grid: Grid, polygon: BaseGeometry | None, rows: slice, cols: slice
) -> NDArray[np.bool_] | None:
    """Cells of a block that a polygon touches; None without a polygon.

    Returns
    -------
    ndarray of bool, shape (rows, columns), or None
    """
    if polygon is None:
        return None
    return burn(grid.crop(_tile(rows, cols)), polygon, all_touched=True)


def burn(grid: Grid, polygon: BaseGeometry, all_touched: bool) -> NDArray[np.bool_]:
    """Cells of a grid whose centre lies in a polygon, or that it touches at all."""
    if not polygon.intersects(box(*grid.bounds)):
        return np.zeros(grid.shape, dtype=bool)
    mask = rasterize(
        [(polygon, 1)], out_shape=grid.shape, transform=grid.affine, all_touched=all_touched, dtype="uint8"
    )
    return np.asarray(mask).astype(bool)


def _tile(rows: slice, cols: slice) -> Tile:
    return Tile(rows.start, cols.start, rows.stop - rows.start, cols.stop - cols.start)
