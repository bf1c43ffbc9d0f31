"""Values of a file on another grid, after what is missing has been settled on its own pixels."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.warp import reproject

from mmnet_maps.crs import near, transform
from mmnet_maps.errors import InputError
from mmnet_maps.grid import CellLookup, Grid, Tile, cell_lookup, outline
from mmnet_maps.packing import Packing
from mmnet_maps.variables import Measure

__all__ = ["METHODS", "needed", "refuse_unsuitable", "warped"]

#: Methods that make sense for what is measured.
METHODS: dict[Measure, tuple[str, ...]] = {
    "amount": ("nearest", "bilinear", "average"),
    "class": ("nearest", "mode"),
    "direction": ("nearest", "bilinear", "average"),
}
_EDGE_POINTS = 100
#: Cells of the file that are read beyond the pixels' own.
_MARGIN = 3


def refuse_unsuitable(where: str, method: str, measure: Measure) -> None:
    """`InputError` if values of that kind cannot be brought onto another grid in that way."""
    if method not in METHODS[measure]:
        raise InputError(
            f"{where}: regrid: {method} does not suit it, a variable of measure {measure}; expected "
            f"{' or '.join(METHODS[measure])}: give it a source of its own"
        )


def needed(own: Grid, grid: Grid, tile: Tile, method: str) -> Tile | None:
    """The tile of a file's grid that a tile of another grid needs; None if it needs none."""
    if method == "nearest":
        lookup = _lookup(own, grid, tile)
        high, wide = lookup.shape
        return Tile(lookup.rows.start, lookup.cols.start, high, wide) if high and wide else None
    part = grid.crop(tile)
    x, y = transform(part.crs, own.crs, *outline(part, _EDGE_POINTS))
    left, _, right, _ = own.bounds
    rows, cols = own.position(near(x, (left + right) / 2, own.crs), y)
    if not (np.isfinite(rows).all() and np.isfinite(cols).all()):
        return None
    found = []
    for values, size, pixels in ((rows, own.height, tile.height), (cols, own.width, tile.width)):
        margin = _MARGIN + int(np.ceil((values.max() - values.min()) / pixels))
        low, high = int(np.floor(values.min())) - margin, int(np.ceil(values.max())) + margin
        low, high = max(0, low), min(size, high)
        if low >= high:
            return None
        found.append((low, high - low))
    (row, height), (col, width) = found
    return Tile(row, col, height, width)


def warped(
    values: NDArray[Any],
    window: Tile,
    own: Grid,
    grid: Grid,
    tile: Tile,
    method: str,
    packing: Packing,
    measure: Measure,
) -> NDArray[Any]:
    """Bring settled values onto a tile of another grid.

    Parameters
    ----------
    values : ndarray, shape (steps, rows, columns)
        Stored as `packing` says.
    window : Tile
        Of `own`, from `needed`.
    own, grid : Grid
    tile : Tile
        Of `grid`.
    method : {"nearest", "bilinear", "average", "mode"}
    packing : Packing
    measure : {"amount", "class", "direction"}
        Directions are averaged on the circle.

    Returns
    -------
    ndarray, shape (steps, tile.height, tile.width)
        Missing where the file has no pixel, or none with a value.
    """
    if method == "nearest":
        index = _lookup(own, grid, tile).index
        flat = values.reshape(len(values), -1)
        fill = np.dtype(packing.dtype).type(np.nan if packing.missing is None else packing.missing)
        return np.where(index >= 0, flat[:, np.maximum(index, 0)], fill)
    source, target = own.crop(window), grid.crop(tile)
    decoded = packing.decode(values)
    if measure != "direction":
        return packing.encode(np.stack([_reproject(field, source, target, method) for field in decoded]))
    angle = np.radians(decoded.astype(np.float64))
    east, north = (
        np.stack([_reproject(field, source, target, method) for field in part])
        for part in (np.sin(angle), np.cos(angle))
    )
    return packing.encode(np.degrees(np.arctan2(east, north)) % 360.0)


@lru_cache(maxsize=16)
def _lookup(own: Grid, grid: Grid, tile: Tile) -> CellLookup:
    return cell_lookup(grid, tile, own)


def _reproject(field: NDArray[Any], source: Grid, target: Grid, method: str) -> NDArray[np.float64]:
    """One field through GDAL, every pixel projected in full; NaN is missing on both sides."""
    out = np.full(target.shape, np.nan)
    reproject(
        field.astype(np.float64),
        out,
        src_transform=Affine(*source.transform),
        src_crs=source.crs,
        dst_transform=Affine(*target.transform),
        dst_crs=target.crs,
        src_nodata=np.nan,
        dst_nodata=np.nan,
        resampling=Resampling[method],
        tolerance=0,
    )
    return out
