"""Which part of a source's native grid a region needs."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS
from rasterio.features import rasterize
from shapely import box, segmentize, transform
from shapely.geometry.base import BaseGeometry

from mmnet_maps.crs import near, period
from mmnet_maps.crs import transform as project
from mmnet_maps.errors import InputError
from mmnet_maps.grid import Grid, Tile, outline
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
    margin = 2 if is_coarse(native, target.grid) else 1
    x, y = project(target.grid.crs, native.crs, *outline(target.grid, _EDGE_POINTS))
    rows, cols = native.position(*_unbroken(native, x, y))
    if not (np.isfinite(rows).all() and np.isfinite(cols).all()):
        raise InputError(f"the region cannot be placed in {native.crs}; expected a CRS that covers it")
    # A residue of the projection must not open a row that the region only touches.
    row, col = int(np.floor(rows.min() + 1e-6)) - margin, int(np.floor(cols.min() + 1e-6)) - margin
    height = int(np.ceil(rows.max() - 1e-6)) + margin - row
    return Tile(row, col, height, int(np.ceil(cols.max() - 1e-6)) + margin - col)


def _unbroken(native: Grid, x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[Any, Any]:
    """An outline in the CRS of a source without the leap at 180 degrees, where the source has it."""
    turn = period(native.crs)
    if turn is None or not np.isfinite(x).all():
        return x, y
    left, _, right, _ = native.bounds
    whole = np.unwrap(x, period=turn)
    if abs(whole[-1] - whole[0]) > turn / 2:  # once round a pole
        edge = native.bounds[3] if y.mean() > 0 else native.bounds[1]
        return np.append(x, [left, right]), np.append(y, [edge, edge])
    middle = (whole.min() + whole.max()) / 2
    return whole + (near(middle, (left + right) / 2, native.crs) - middle), y


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
        left, bottom, right, top = shape.bounds
        dense = segmentize(shape, max(right - left, top - bottom) / 500)
        window = native_window(native, target)
        middle = float(native.x(np.array(window.col + window.width / 2)))

        def change(xy: NDArray[np.float64]) -> NDArray[np.float64]:
            x, y = project(target.grid.crs, native.crs, xy[:, 0], xy[:, 1])
            return np.column_stack([near(x, middle, native.crs), y])

        shape = transform(dense, change).buffer(0)
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
