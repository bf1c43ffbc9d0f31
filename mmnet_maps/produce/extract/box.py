"""A box of the maps as an xarray data set, read when it is asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from dask.array import from_array
from numpy.typing import NDArray
from pyproj import CRS
from pyproj.exceptions import CRSError

from mmnet_maps.crs import bounds_in, near
from mmnet_maps.errors import InputError
from mmnet_maps.grid import Grid, Tile
from mmnet_maps.produce.extract.maps import QUALITY, Layer, Maps, days_between
from mmnet_maps.produce.product.axes import TIME, axis_attributes, mapping_attributes
from mmnet_maps.produce.product.layers import LAYERS, global_attributes

__all__ = ["as_dataset", "box_tile"]

#: Side of the parts in which a box is read.
_SIDE = 1024


def box_tile(grid: Grid, bounds: tuple[float, float, float, float], crs: str = "EPSG:4326") -> Tile:
    """The pixels of a grid that a box touches: the smallest window of whole pixels that covers it.

    Parameters
    ----------
    grid : Grid
    bounds : (west, south, east, north)
        In units of `crs`: degrees of longitude and latitude, if it is not given.
    crs : str
        CRS of the box.

    Raises
    ------
    InputError
        The CRS is unknown, the box is empty, or it touches no pixel.
    """
    west, south, east, north = bounds
    try:
        source = CRS.from_user_input(crs)
    except CRSError:
        raise InputError(f"crs {crs}: not a CRS that PROJ knows; expected for example EPSG:32612") from None
    if source.is_geographic:
        if not (-180 <= west <= 180 and -180 <= east <= 180 and -90 <= south < north <= 90):
            raise InputError(f"--box {west:g} {south:g} {east:g} {north:g}: expected W S E N in degrees")
        if west > east:  # across 180 degrees
            east += 360
    if not (west < east and south < north):
        raise InputError(f"--box {west:g} {south:g} {east:g} {north:g}: expected W S E N in units of {crs}")
    left, bottom, right, top = bounds_in(crs, grid.crs, (west, south, east, north))
    if not np.isfinite([left, bottom, right, top]).all():
        raise InputError(
            f"--box {west:g} {south:g} {east:g} {north:g}: is outside the projection of the maps"
        )
    middle = np.array([(left + right) / 2])
    turn = near(middle, (grid.bounds[0] + grid.bounds[2]) / 2, grid.crs) - middle
    rows, cols = grid.position(np.array([left, right]) + turn, np.array([bottom, top]))
    ends = []
    for position, size in ((rows, grid.height), (cols, grid.width)):
        low, high = max(0, int(np.floor(position.min()))), min(size, int(np.ceil(position.max())))
        if high <= low:
            raise InputError(f"--box {west:g} {south:g} {east:g} {north:g}: touches no pixel of the maps")
        ends.append((low, high - low))
    return Tile(ends[0][0], ends[1][0], ends[0][1], ends[1][1])


class _Days:
    """A layer of a store as an array over (time, y, x), for dask."""

    ndim = 3

    def __init__(self, maps: Maps, layer: Layer, begin: int, stop: int, tile: Tile) -> None:
        self.maps, self.layer, self.begin, self.tile = maps, layer, begin, tile
        self.shape, self.dtype = (stop - begin, tile.height, tile.width), layer.dtype

    def __getitem__(self, key: tuple[slice, slice, slice]) -> NDArray[Any]:
        steps, rows, cols = (range(*part.indices(size)) for part, size in zip(key, self.shape, strict=True))
        window = (
            slice(self.tile.row + rows.start, self.tile.row + rows.stop),
            slice(self.tile.col + cols.start, self.tile.col + cols.stop),
        )
        return np.stack([self.maps.read(self.layer.name, self.begin + step, *window) for step in steps])


def _part(source: _Days, key: tuple[slice, slice, slice]) -> NDArray[Any]:
    """One part as dask asks for it; with a getter of its own, dask fuses no other index into `key`."""
    return source[key]


def as_dataset(maps: Maps, tile: Tile, start: int | None = None, end: int | None = None) -> xr.Dataset:
    """A part of the maps in stored integers with CF attributes, lazily.

    Parameters
    ----------
    maps : Maps
    tile : Tile
        Pixels to hold.
    start, end : int, optional
        First and last day since 1970-01-01, both included.

    Returns
    -------
    Dataset
        (time, y, x), ``spatial_ref`` as the CRS. Values are as stored (``xr.decode_cf`` scales them), so that
        a file written from it has the stored integers.
    """
    begin, stop = days_between(maps, start, end)
    grid = maps.levels[0].crop(tile)
    # A coordinate has no missing values; xarray would name one.
    whole: dict[str, Any] = {"_FillValue": None}
    coords = {
        "time": ("time", maps.days[begin:stop], dict(TIME)),
        "y": ("y", grid.y(np.arange(grid.height)), axis_attributes(grid, "y"), whole),
        "x": ("x", grid.x(np.arange(grid.width)), axis_attributes(grid, "x"), whole),
        "spatial_ref": ((), np.int32(0), mapping_attributes(grid)),
    }
    variables = {}
    for name, layer in maps.layers.items():
        source, blank = _Days(maps, layer, begin, stop, tile), np.empty((0, 0, 0), layer.dtype)
        parts = from_array(  # type: ignore[no-untyped-call]
            source, (1, _SIDE, _SIDE), asarray=False, meta=blank, getitem=_part
        )
        variables[name] = (("time", "y", "x"), parts, _attributes(maps, layer))
    about = {k: v for k, v in global_attributes(maps.soil_depth).items() if k != "coordinates"}
    about["history"] = f"{about['history']}, from {maps.source.name}"
    return xr.Dataset(variables, coords, about)


def _attributes(maps: Maps, layer: Layer) -> dict[str, Any]:
    known = LAYERS.get(layer.name)
    shared: dict[str, Any] = {"long_name": layer.long_name, "grid_mapping": "spatial_ref"}
    if known is not None:
        named = {"standard_name": known.standard_name, "cell_methods": known.cell_methods}
        shared |= {name: text for name, text in named.items() if text}
    if layer.name == QUALITY:
        masks = np.array(list(maps.flags.values()), dtype=layer.dtype)
        return shared | {
            "flag_masks": masks, "flag_meanings": " ".join(maps.flags),
        }  # fmt: skip
    shared["units"] = layer.units
    if layer.packing.scale != 1.0:
        shared["scale_factor"] = layer.packing.scale
    if layer.packing.offset != 0.0:
        shared["add_offset"] = layer.packing.offset
    if layer.packing.missing is not None:
        shared["_FillValue"] = layer.dtype.type(layer.packing.missing)
    return shared
