"""What a user asks of a cube: a region, a grid, days, and sources."""

from __future__ import annotations

import datetime as dt
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from pydantic import Field, field_validator, model_validator
from pyproj import CRS, Transformer
from shapely.geometry.base import BaseGeometry

from mmnet_maps.config import Config
from mmnet_maps.dates import to_date, to_day
from mmnet_maps.errors import InputError
from mmnet_maps.grid import Grid, Tile
from mmnet_maps.source_reader import HttpConfig, SourceConfig
from mmnet_maps.store.location import Location, location, opener_of
from mmnet_maps.store.whole import local_copy

__all__ = [
    "CubeConfig",
    "GridConfig",
    "NormalsConfig",
    "RegionConfig",
    "Target",
    "lonlat_bounds",
    "refuse_too_many_cells",
]

Box = tuple[float, float, float, float]
#: Names of sources, which are those of folders.
_NAME = re.compile(r"\w[\w. -]{0,99}")
#: Cells of the largest grid that a cube holds: three countries of 4,600 x 2,900 km at 30 m.
_MOST_CELLS = 50_000_000_000


@dataclass(frozen=True)
class Target:
    """What a cube is for.

    Attributes
    ----------
    grid : Grid
        Pixels of the maps.
    polygon : shapely geometry, optional
        The region in the CRS of the grid; None for a box.
    made_from : str
        For the record: the box or the polygon file.
    """

    grid: Grid
    polygon: BaseGeometry | None = None
    made_from: str = ""

    def __post_init__(self) -> None:
        refuse_too_many_cells(self.grid, f"region {self.made_from}")

    @property
    def digest(self) -> str:
        """Digest of the grid and the polygon."""
        shape = b"" if self.polygon is None else self.polygon.wkb
        return hashlib.sha256(repr(self.grid.to_dict()).encode() + shape).hexdigest()[:16]


def refuse_too_many_cells(grid: Grid, what: str) -> None:
    """`InputError` if a cube would hold more cells of a grid than it can."""
    if grid.height * grid.width > _MOST_CELLS:
        raise InputError(
            f"{what}: a grid of {grid.height:,} x {grid.width:,} pixels; at most {_MOST_CELLS:,} in all are "
            "possible: expected a smaller region or coarser pixels"
        )


class RegionConfig(Config):
    """A box or a polygon file.

    Attributes
    ----------
    box : tuple of float, optional
        West, south, east, north. In degrees, a west above the east crosses 180 degrees.
    crs : str
        CRS of the box.
    polygon : str, optional
        GeoPackage, GeoJSON or Shapefile, relative to the configuration file; all its shapes together.
    layer : str, optional
        Layer of a GeoPackage.
    """

    box: Box | None = None
    crs: str = "EPSG:4326"
    polygon: str | None = None
    layer: str | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.box is None) == (self.polygon is None):
            raise ValueError("expected either box or polygon")
        return self


class GridConfig(Config):
    """The target grid: a CRS and a pixel size, or the pixels of an existing raster.

    Attributes
    ----------
    crs : str, optional
        CRS of the maps, such as ``EPSG:32614``.
    resolution : float or tuple of float, optional
        In units of the CRS; two numbers are x and y.
    like : str, optional
        A raster whose CRS and pixels are taken; the region is cut out of it.
    """

    crs: str | None = None
    resolution: float | tuple[float, float] | None = None
    like: str | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if self.like is None and (self.crs is None or self.resolution is None):
            raise ValueError("expected crs and resolution, or like")
        if self.like is not None and (self.crs is not None or self.resolution is not None):
            raise ValueError("expected crs and resolution, or like, not both")
        return self


class NormalsConfig(Config):
    """Climate normals, computed from the daily rasters of the sources as station tables compute theirs.

    Attributes
    ----------
    until : int
        Last year used: that of ``--normals-until`` of the table which the model was trained on.
    since : int, optional
        First year used; by default all that the rasters hold. ``start`` of the cube does not matter.
    variables : tuple of str, optional
        Daily variables; by default all of `mmnet_maps.prepare.normals.NORMALS` that the sources hold.
    """

    until: int
    since: int | None = None
    variables: tuple[str, ...] | None = Field(None, min_length=1)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.since is not None and self.since > self.until:
            raise ValueError(f"since {self.since} is after until {self.until}")
        return self


class CubeConfig(Config):
    """Everything that `cube build` needs.

    Attributes
    ----------
    region : RegionConfig, optional
        Without one, the whole of ``grid.like``.
    grid : GridConfig
    maps : (date, date), optional
        First and last day that are to be mapped: what `cube check` holds the sources against.
    start : date, optional
        First day to hold; by default that of the sources. Leave room before the first predicted day for gap
        filling and the window of 10 days. Static and yearly sources are stored whole.
    end : date, optional
        Last day to hold; by default that of the sources.
    sources : dict of str to SourceConfig
        The sources by name; a name is free, and becomes that of a group of the cube.
    normals : NormalsConfig, optional
        Climate normals to add, for a model that was trained with them.
    http : HttpConfig
        How archives over HTTP are asked.
    """

    region: RegionConfig | None = None
    grid: GridConfig
    maps: tuple[dt.date, dt.date] | None = None
    start: dt.date | None = None
    end: dt.date | None = None
    sources: dict[str, SourceConfig] = Field(min_length=1)
    normals: NormalsConfig | None = None
    http: HttpConfig = HttpConfig()

    @field_validator("start", "end", mode="before")
    @classmethod
    def _plain_date(cls, value: Any) -> Any:
        return to_date(value) if isinstance(value, int | str) else value

    @model_validator(mode="after")
    def _checks(self) -> Self:
        if self.region is None and self.grid.like is None:
            raise ValueError("expected a region, or grid.like")
        if self.start and self.end and self.start > self.end:
            raise ValueError(f"start {self.start} is after end {self.end}")
        held: dict[str, str] = {}
        for source, config in self.sources.items():
            if source in ("region", "zarr.json") or not _NAME.fullmatch(source):
                raise ValueError(
                    f"sources.{source}: not a usable name for a source; expected letters, digits, - and _"
                )
            for name in config.variables:
                if name in held:
                    raise ValueError(
                        f"variable {name} is in source {held[name]} and in source {source}; expected one "
                        "source, which may have several `collections:`"
                    )
                held[name] = source
        return self

    @property
    def days(self) -> tuple[int | None, int | None]:
        """(first, last) day to hold as days since 1970-01-01, None where open."""
        start = None if self.start is None else to_day(self.start)
        return start, None if self.end is None else to_day(self.end)

    def target(self, base: Path) -> Target:
        """Work out the target grid and the polygon on it.

        Parameters
        ----------
        base : Path
            Folder that relative paths start from: that of the configuration file.

        Raises
        ------
        InputError
            A file is missing or holds no shape, a CRS is unknown, a box is upside down, or nothing is left.
        """
        like = None if self.grid.like is None else _grid_of(location(self.grid.like, base))
        crs = like.crs if like is not None else _known_crs(str(self.grid.crs), "grid.crs")
        if self.region is None:
            assert like is not None
            return Target(like, None, f"the grid of {self.grid.like}")
        polygon: BaseGeometry | None = None
        if self.region.box is not None:
            bounds = _box_in(self.region.box, _known_crs(self.region.crs, "region.crs"), crs)
            made_from = f"box {list(self.region.box)} in {self.region.crs}"
        else:
            made_from = f"polygon {self.region.polygon}"
            polygon = _polygon_in(location(str(self.region.polygon), base), self.region.layer, crs)
            left, bottom, right, top = (float(v) for v in polygon.bounds)
            bounds = left, bottom, right, top
        if like is not None:
            return Target(_cut(like, bounds, str(self.grid.like)), polygon, made_from)
        assert self.grid.resolution is not None
        return Target(Grid.from_bounds(crs, bounds, self.grid.resolution), polygon, made_from)


def lonlat_bounds(region: RegionConfig, base: Path) -> Box:
    """West, south, east and north of a region in degrees."""
    if region.box is None:
        west, south, east, north = _polygon_in(
            location(str(region.polygon), base), region.layer, "EPSG:4326"
        ).bounds
        return float(west), float(south), float(east), float(north)
    return _box_in(region.box, _known_crs(region.crs, "region.crs"), "EPSG:4326")


def _known_crs(text: str, key: str) -> str:
    try:
        known = CRS.from_user_input(text)
    except Exception:
        raise InputError(
            f"{key}: {text} is not a CRS that PROJ knows; expected for example EPSG:32612"
        ) from None
    code = known.to_epsg(min_confidence=100)
    return text if code is None else f"EPSG:{code}"


def _box_in(box: Box, source: str, target: str) -> Box:
    west, south, east, north = box
    geographic = CRS.from_user_input(source).is_geographic
    if geographic and -180 <= east < west <= 180 and east + 360 - west < 180:
        east += 360  # across 180 degrees
    if not (west < east and south < north):
        raise InputError(f"region.box {list(box)}: expected west < east and south < north, in that order")
    if geographic and not (west >= -360 and east <= 360 and south >= -90 and north <= 90):
        raise InputError(
            f"region.box {list(box)}: no such latitude; expected west, south, east, north: axes swapped?"
        )
    if source == target:
        return west, south, east, north
    change = Transformer.from_crs(source, target, always_xy=True)
    left, bottom, right, top = change.transform_bounds(west, south, east, north, densify_pts=101)
    if not np.isfinite([left, bottom, right, top]).all():
        raise InputError(
            f"region.box {list(box)} cannot be expressed in {target}; expected a CRS that covers it"
        )
    return left, bottom, right, top


def _polygon_in(path: Location, layer: str | None, crs: str) -> BaseGeometry:
    import geopandas

    if not path.exists():
        raise InputError(f"{path}: no such polygon file (region.polygon)")
    try:
        with local_copy(path) as file:
            frame = geopandas.read_file(file, layer=layer) if layer else geopandas.read_file(file)
    except Exception as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: cannot be read as GeoPackage, GeoJSON or Shapefile: {reason}") from None
    shapes = (
        frame[frame.geometry.geom_type.isin(["Polygon", "MultiPolygon"])]
        if "geometry" in frame
        else frame[:0]
    )
    if shapes.empty:
        raise InputError(f"{path}: holds no polygon; expected the outline of the region")
    if shapes.crs is None:
        raise InputError(f"{path}: has no CRS; expected one, to place the region")
    if shapes.crs.is_geographic:
        shapes = shapes.set_geometry(_across_180(shapes.geometry))
    # Long edges bend between CRSs: points are added first, 200 along the longer side of the region.
    west, south, east, north = shapes.total_bounds
    dense = shapes.geometry.segmentize(max(east - west, north - south) / 200)
    union: BaseGeometry = dense.to_crs(crs).make_valid().union_all()
    if union.is_empty or not np.isfinite(union.bounds).all():
        raise InputError(f"{path}: cannot be expressed in {crs}; expected a CRS that covers it")
    return union


def _across_180(shapes: Any) -> Any:
    """Shapes in degrees; what GeoJSON has cut at 180 degrees is put together beyond it."""
    west, _, east, _ = shapes.total_bounds
    if east - west <= 180:
        return shapes
    parts = shapes.explode()
    moved = parts.where(parts.bounds["maxx"] > 0, parts.translate(xoff=360.0))
    west, _, east, _ = moved.total_bounds
    if east - west >= 180:
        return shapes
    return moved.groupby(level=0).agg(lambda part: part.union_all()).set_crs(shapes.crs)


def _grid_of(path: Location) -> Grid:
    import rasterio

    if not path.is_file():
        raise InputError(f"{path}: no such raster (grid.like)")
    try:
        with rasterio.open(str(path), **opener_of(path)) as file:
            crs, affine, height, width = file.crs, file.transform, file.height, file.width
    except rasterio.errors.RasterioIOError as error:
        raise InputError(f"{path}: cannot be read as a raster (grid.like): {error}") from None
    if crs is None:
        raise InputError(f"{path}: has no CRS (grid.like); expected a georeferenced raster")
    return Grid(_known_crs(crs.to_wkt(), "grid.like"), tuple(affine)[:6], height, width)


def _cut(like: Grid, bounds: Box, name: str) -> Grid:
    """The pixels of a grid that bounds touch."""
    rows, cols = like.position(np.array(bounds[::2]), np.array(bounds[1::2]))
    top, bottom = max(0, int(np.floor(rows.min()))), min(like.height, int(np.ceil(rows.max())))
    left, right = max(0, int(np.floor(cols.min()))), min(like.width, int(np.ceil(cols.max())))
    if top >= bottom or left >= right:
        raise InputError(f"grid.like: {name} does not touch the region; expected a raster that covers it")
    return like.crop(Tile(top, left, bottom - top, right - left))
