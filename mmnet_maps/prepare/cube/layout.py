"""How a cube lies in Zarr: names, chunks, shards and the attributes that let xarray and GDAL read it.

A cube is a Zarr v3 group with a sub-group a source, each on a window of its own native grid::

    region/inside (y, x)        uint8, only for a polygon: pixels of the target grid that count
    hls/Blue (time, y, x)       stored integers; packing in CF attributes, fill value = missing value
    hls/time (time)             int64 days since 1970-01-01
    hls/digest (time, chunk_y, chunk_x)  uint64 digest of the stored bytes of each day and spatial chunk
    hls/made_from (shard_t, shard_y, shard_x)  uint64 ledger of the build: digest of the inputs, 0 not built
    hls/day_made_from (time, shard_y, shard_x)  uint64 the same of each day, so that others are taken over
    hls/inside (y, x)           uint8: 2 cells of the region, 1 margin, 0 outside the polygon and not held
    hls/x, hls/y, hls/spatial_ref

Fine grids (cells less than four target pixels wide) have chunks of one day and 256 x 256 cells: a column of
256 x 256 pixels then reads nothing that it does not use, and irregular scenes come day by day. Coarse grids
have chunks of 32 days and 64 x 64 cells, since a tile needs few cells but many days. A shard is one file and
one part of the build: 8 x 1,024 x 1,024 cells or 128 x 256 x 256, 16 MiB of int16 at most.
"""

from __future__ import annotations

import base64
import struct
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import zarr
from numpy.typing import NDArray
from pyproj import CRS
from zarr.codecs import ZstdCodec

from mmnet_maps.grid import Grid
from mmnet_maps.packing import Packing
from mmnet_maps.variables import Cadence, Variable

__all__ = [
    "FORMAT",
    "ZSTD",
    "Layout",
    "add_day_ledger",
    "add_variable",
    "choose_layout",
    "create_source",
    "fill_of",
    "has_days",
    "set_days",
]

#: Version of the layout above; a reader refuses any other.
FORMAT = 1
#: Little effort: radar and optical integers hardly shrink further at higher levels. The checksum, four bytes
#: a chunk, makes a changed bit an error for every reader.
ZSTD = ZstdCodec(level=1, checksum=True)
_OWN = ("time", "digest", "made_from", "inside", "x", "y", "spatial_ref")


@dataclass(frozen=True)
class Layout:
    """Chunks and shards (time, y, x) of every array of a source; the time of a static one is 1."""

    chunks: tuple[int, int, int]
    shards: tuple[int, int, int]


def choose_layout(height: int, width: int, coarse: bool, static: bool) -> Layout:
    """Chunks and shards for a native window; see the module for why."""
    days, cells = (32, 64) if coarse else (1, 256)
    many = 4 if coarse else 8
    if static:
        days = many = 1
    chunk_y, chunk_x = min(cells, height), min(cells, width)
    shard_y = chunk_y * min(4, -(-height // chunk_y))
    shard_x = chunk_x * min(4, -(-width // chunk_x))
    return Layout((days, chunk_y, chunk_x), (days * many, shard_y, shard_x))


def fill_of(packing: Packing) -> Any:
    """Zarr's fill value: the missing value in the stored type, NaN for floats that have none."""
    kind = np.dtype(packing.dtype)
    return kind.type(np.nan if packing.missing is None else packing.missing)


def create_source(root: zarr.Group, name: str, grid: Grid, cadence: Cadence, layout: Layout) -> zarr.Group:
    """Create the group of a source with its coordinates, and no variable yet.

    What is left of one that was never made ready is replaced.
    """
    group = root.create_group(
        name,
        attributes={
            "grid": grid.to_dict(),
            "cadence": cadence,
            "chunks": list(layout.chunks),
            "shards": list(layout.shards),
            "Conventions": "CF-1.11",
        },
        overwrite=True,
    )
    _write_place(group, grid)
    if cadence != "static":
        set_days(group, np.array([], dtype=np.int64))
    steps = 1 if cadence == "static" else 0
    rows, cols = (-(-n // c) for n, c in zip(grid.shape, layout.chunks[1:], strict=True))
    block = tuple(s // c for s, c in zip(layout.shards[1:], layout.chunks[1:], strict=True))
    group.create_array(
        "digest",
        shape=(steps, rows, cols),
        chunks=(layout.shards[0], *block),
        dtype="uint64",
        fill_value=0,
        compressors=ZSTD,
        dimension_names=("step" if cadence == "static" else "time", "chunk_y", "chunk_x"),
        attributes={
            "long_name": "digest of the stored bytes of each day and chunk; 0 where nothing is written"
        },
    )
    group.create_array(
        "made_from",
        shape=(steps, *(-(-n // s) for n, s in zip(grid.shape, layout.shards[1:], strict=True))),
        chunks=(1, 1, 1),
        dtype="uint64",
        fill_value=0,
        compressors=None,
        dimension_names=("shard_t", "shard_y", "shard_x"),
        attributes={"long_name": "digest of what each shard was made from; 0 where it was not built"},
    )
    return group


def _write_place(group: zarr.Group, grid: Grid) -> None:
    crs = CRS.from_user_input(grid.crs)
    named = ("longitude", "latitude", "degrees_east", "degrees_north")
    metric = ("projection_x_coordinate", "projection_y_coordinate", "m", "m")
    standard_x, standard_y, unit_x, unit_y = named if crs.is_geographic else metric
    x, y = grid.x(np.arange(grid.width)), grid.y(np.arange(grid.height))
    for axis, values, standard, unit in (("x", x, standard_x, unit_x), ("y", y, standard_y, unit_y)):
        array = group.create_array(
            axis, data=values, chunks=values.shape, dimension_names=(axis,), compressors=ZSTD
        )
        array.attrs.update({"standard_name": standard, "units": unit, "axis": axis.upper()})
    a, b, c, d, e, f = grid.transform
    attributes: dict[str, Any] = {
        k: v for k, v in crs.to_cf().items() if isinstance(v, str | int | float | list)
    }
    attributes |= {"spatial_ref": crs.to_wkt(), "GeoTransform": f"{c!r} {a!r} {b!r} {f!r} {d!r} {e!r}"}
    group.create_array("spatial_ref", data=np.array(0, dtype=np.int64), attributes=attributes)


def add_day_ledger(group: zarr.Group) -> None:
    """Create the array ``day_made_from`` of a source that has days."""
    attrs = cast("dict[str, Any]", group.attrs.asdict())
    days = int(cast("zarr.Array[Any]", group["digest"]).shape[0])
    group.create_array(
        "day_made_from",
        shape=(days, *cast("zarr.Array[Any]", group["made_from"]).shape[1:]),
        chunks=(attrs["shards"][0], 1, 1),  # one owner a chunk: a part
        dtype="uint64",
        fill_value=0,
        compressors=ZSTD,
        dimension_names=("time", "shard_y", "shard_x"),
        attributes={"long_name": "digest of what each day of a shard was made from; 0 if not built"},
    )


def add_mask(group: zarr.Group, grid: Grid) -> zarr.Array[Any]:
    """Create the array ``inside`` (uint8) of a grid; square chunks, 0 where nothing is written."""
    size = min(512, max(grid.shape))
    return group.create_array(
        "inside",
        shape=grid.shape,
        chunks=(size, size),
        dtype="uint8",
        fill_value=0,
        compressors=ZSTD,
        dimension_names=("y", "x"),
        overwrite=True,
    )


def add_variable(group: zarr.Group, variable: Variable, packing: Packing) -> None:
    """Create the array of a variable; every cell reads as missing until it is written."""
    attrs = cast("dict[str, Any]", group.attrs.asdict())
    chunks, shards = tuple(attrs["chunks"]), tuple(attrs["shards"])
    grid, static = Grid.from_dict(attrs["grid"]), attrs["cadence"] == "static"
    days = 0 if static else int(cast("zarr.Array[Any]", group["digest"]).shape[0])
    fill = fill_of(packing)
    attributes: dict[str, Any] = {
        "units": variable.unit,
        "long_name": variable.long_name,
        "grid_mapping": "spatial_ref",
        "_FillValue": _attribute(fill),
        "packing": packing.model_dump(mode="json"),
        "definition": variable.model_dump(mode="json"),
    }
    if variable.standard_name:
        attributes["standard_name"] = variable.standard_name
    if packing.scale != 1.0 or packing.offset != 0.0:
        attributes |= {"scale_factor": packing.scale, "add_offset": packing.offset}
    group.create_array(
        variable.name,
        shape=grid.shape if static else (days, *grid.shape),
        chunks=chunks[1:] if static else chunks,
        shards=shards[1:] if static else shards,
        dtype=packing.dtype,
        fill_value=fill,
        compressors=ZSTD,
        dimension_names=("y", "x") if static else ("time", "y", "x"),
        attributes=attributes,
    )


def _attribute(fill: Any) -> Any:
    """``_FillValue`` as xarray writes it to Zarr v3: a number, or eight bytes in base 64 for a float."""
    if np.dtype(fill.dtype).kind == "f":
        return base64.standard_b64encode(struct.pack("<d", float(fill))).decode()
    return int(fill)


def has_days(group: zarr.Group, days: NDArray[np.int64]) -> bool:
    """Whether a source has these days, in its time axis and in the length of its arrays."""
    if "time" not in group:
        return False
    held = cast("zarr.Array[Any]", group["time"])
    lengths = (array.shape[0] for name, array in group.arrays() if _along_time(name))
    return (
        held.shape == days.shape
        and all(n == days.size for n in lengths)
        and np.array_equal(np.asarray(held[:]), days)
    )


def set_days(group: zarr.Group, days: NDArray[np.int64]) -> None:
    """Give a source these days: its arrays grow or shrink, and what grows reads as missing.

    The ledger comes first, so that a part that loses its data is never taken for one that is done. The time
    axis comes last, so that it tells that all is done; whatever was left undone is made up by a second call.
    """
    if has_days(group, days):
        return
    if "made_from" in group:
        ledger = cast("zarr.Array[Any]", group["made_from"])
        long = cast("list[int]", group.attrs["shards"])[0]
        ledger.resize((-(-days.size // long), *ledger.shape[1:]))
    for name, array in group.arrays():
        if _along_time(name):
            array.resize((days.size, *array.shape[1:]))
    group.create_array(
        "time",
        data=days,
        chunks=(max(1, days.size),),
        dimension_names=("time",),
        attributes={
            "units": "days since 1970-01-01",
            "calendar": "proleptic_gregorian",
            "standard_name": "time",
        },
        overwrite=True,
    )


def _along_time(name: str) -> bool:
    return name == "digest" or name not in _OWN
