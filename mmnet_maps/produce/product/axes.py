"""Coordinates of a store of maps as CF wants them: days with their bounds, depth, y, x, and the CRS."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from pyproj import CRS

from mmnet_maps.grid import Grid
from mmnet_maps.variables import Depth

__all__ = [
    "COORDINATES",
    "TIME",
    "axis_attributes",
    "day_bounds",
    "mapping_attributes",
    "with_dimensions",
    "write_axes",
    "write_mapping",
]

#: Arrays of a store that are no layers.
COORDINATES = ("time", "time_bnds", "depth", "depth_bnds", "y", "x", "spatial_ref")
#: Length of the time axis' chunk: one object for centuries of days.
_TIME_CHUNK = 1 << 16
#: CF attributes of the time axis, but for its bounds.
TIME = {
    "standard_name": "time",
    "long_name": "day (UTC) that the value is the mean of",
    "axis": "T",
    "units": "days since 1970-01-01",
    "calendar": "proleptic_gregorian",
    "units_metadata": "leap_seconds: none",
}


def write_axes(group: zarr.Group, grid: Grid, days: NDArray[np.int64], soil: Depth) -> None:
    """Write every coordinate of a store.

    Parameters
    ----------
    group : zarr.Group
        Without these arrays yet.
    grid : Grid
    days : ndarray of int64, shape (d,)
        Since 1970-01-01.
    soil : tuple of float
        Top and bottom of the layer of soil, in metres.
    """
    time = {**TIME, "bounds": "time_bnds"}
    _write(group, "time", days, ("time",), time, (_TIME_CHUNK,))
    _write(group, "time_bnds", day_bounds(days), ("time", "bnds"), {}, (_TIME_CHUNK, 2))
    depth = {
        "standard_name": "depth",
        "long_name": "depth below the surface",
        "units": "m",
        "positive": "down",
        "axis": "Z",
        "bounds": "depth_bnds",
    }
    _write(group, "depth", np.array(sum(soil) / 2), (), depth, ())
    _write(group, "depth_bnds", np.array(soil), ("bnds",), {}, (2,))
    _write(group, "y", grid.y(np.arange(grid.height)), ("y",), axis_attributes(grid, "y"), (grid.height,))
    _write(group, "x", grid.x(np.arange(grid.width)), ("x",), axis_attributes(grid, "x"), (grid.width,))
    write_mapping(group, grid)


def write_mapping(group: zarr.Group, grid: Grid) -> None:
    """Write the CRS of a grid as CF's grid mapping, ``spatial_ref``."""
    _write(group, "spatial_ref", np.array(0, dtype=np.int32), (), mapping_attributes(grid), ())


def mapping_attributes(grid: Grid) -> dict[str, Any]:
    """CF's grid mapping of a grid, with GDAL's transform."""
    crs = CRS.from_user_input(grid.crs)
    a, b, c, d, e, f = grid.transform
    return {
        "long_name": "coordinate reference system",
        **{k: v for k, v in crs.to_cf().items() if k != "crs_wkt"},
        "crs_wkt": crs.to_wkt(),
        "GeoTransform": " ".join(repr(float(v)) for v in (c, a, b, f, d, e)),
    }


def day_bounds(days: NDArray[np.int64]) -> NDArray[np.int64]:
    """Beginning and end of every day, shape (d, 2)."""
    return np.stack([days, days + 1], axis=1)


def axis_attributes(grid: Grid, name: str) -> dict[str, Any]:
    """CF attributes of the coordinate ``y`` or ``x``."""
    crs = CRS.from_user_input(grid.crs)
    if crs.is_geographic:
        long = "latitude" if name == "y" else "longitude"
        units = "degrees_north" if name == "y" else "degrees_east"
        return {"standard_name": long, "long_name": long, "axis": name.upper(), "units": units}
    unit = crs.axis_info[0].unit_name
    return {
        "standard_name": f"projection_{name}_coordinate",
        "long_name": f"{name} of the pixel's centre",
        "axis": name.upper(),
        "units": "m" if unit == "metre" else unit,
    }


def _write(
    group: zarr.Group,
    name: str,
    values: NDArray[Any],
    dimensions: tuple[str, ...],
    attributes: Mapping[str, Any],
    chunks: tuple[int, ...],
) -> None:
    # The fill value is Zarr's; a coordinate has no _FillValue.
    fill: Any = np.iinfo(np.int64).min if values.dtype == np.int64 else np.nan if values.ndim else 0
    if group.metadata.zarr_format == 2:
        # There, readers take the fill value for a _FillValue.
        fill = None
    array = group.create_array(
        name,
        shape=values.shape,
        dtype=values.dtype,
        chunks=chunks,
        fill_value=fill,
        config={"write_empty_chunks": True},
        **with_dimensions(group, dimensions, attributes),
    )
    array[...] = values


def with_dimensions(
    group: zarr.Group, names: tuple[str, ...], attributes: Mapping[str, Any]
) -> dict[str, Any]:
    """Names of dimensions and attributes as `zarr.Group.create_array` takes them, in the group's format."""
    if group.metadata.zarr_format == 2:
        return {"attributes": {**attributes, "_ARRAY_DIMENSIONS": list(names)}}
    return {"attributes": dict(attributes), "dimension_names": names}
