"""Overviews of a published store: each level from the one before, four pixels to one."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmnet_maps.grid import Grid
from mmnet_maps.produce.product.layers import MISSING

__all__ = ["coarser_bits", "coarser_grid", "coarser_values", "level_grids"]

#: Levels are added until rows and columns are at most this many.
_SMALLEST = 256


def level_grids(grid: Grid) -> list[Grid]:
    """The grid itself, then each level."""
    found = [grid]
    while max(found[-1].shape) > _SMALLEST:
        found.append(coarser_grid(found[-1]))
    return found


def coarser_grid(grid: Grid) -> Grid:
    """Pixels of twice the side; the last row and column may reach beyond the grid."""
    a, b, c, d, e, f = grid.transform
    return Grid(grid.crs, (2 * a, 2 * b, c, 2 * d, 2 * e, f), -(-grid.height // 2), -(-grid.width // 2))


def coarser_values(values: NDArray[np.int16]) -> NDArray[np.int16]:
    """Mean of the valid pixels, where at least half of the pixels that there are have a value.

    Parameters
    ----------
    values : ndarray of int16, shape (days, rows, columns)
        `MISSING` where there is none. A row or column beyond the grid does not count.

    Returns
    -------
    ndarray of int16, shape (days, ceil(rows / 2), ceil(columns / 2))
    """
    valid = values != MISSING
    # An odd row or column is padded with pixels that neither count nor add.
    count = _folded(valid, False).sum(axis=(2, 4), dtype=np.int32)
    total = _folded(np.where(valid, values, np.int16(0)), 0).sum(axis=(2, 4), dtype=np.int32)
    there = _folded(np.ones((1, *values.shape[1:]), dtype=bool), False).sum(axis=(2, 4), dtype=np.int32)
    mean = np.rint(total / np.maximum(count, 1)).astype(np.int16)
    found: NDArray[np.int16] = np.where((count > 0) & (2 * count >= there), mean, np.int16(MISSING))
    return found


def coarser_bits(quality: NDArray[Any], values: NDArray[np.int16], coarse: NDArray[np.int16]) -> NDArray[Any]:
    """Every bit of the pixels that are as their area is: valid with a mean, missing without one.

    So a missing mean has a reason, and a mean has no reason to be missing.

    Parameters
    ----------
    quality : ndarray of unsigned integers, shape (days, rows, columns)
    values : ndarray of int16, same shape
        Of the layer that says which pixels are valid.
    coarse : ndarray of int16
        `coarser_values` of `values`.
    """
    alike = _folded(values != MISSING, False) == (coarse != MISSING)[:, :, None, :, None]
    bits = np.where(alike, _folded(quality, 0), 0)
    found: NDArray[Any] = np.bitwise_or.reduce(np.bitwise_or.reduce(bits, axis=4), axis=2)
    return found


def _folded(values: NDArray[Any], beyond: Any) -> NDArray[Any]:
    """Rows and columns in pairs, shape (days, rows / 2, 2, columns / 2, 2); `beyond` fills an odd end."""
    days, rows, cols = values.shape
    if rows % 2 or cols % 2:
        values = np.pad(values, ((0, 0), (0, rows % 2), (0, cols % 2)), constant_values=beyond)
    return values.reshape(days, -(-rows // 2), 2, -(-cols // 2), 2)
