"""Native grids: an asset's own lattice, or the region's UTM zone for scenes that come in many."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import ee
import numpy as np
from pyproj import CRS

from mmnet_maps.assets import AssetSource
from mmnet_maps.crs import bounds_in
from mmnet_maps.errors import InputError, WorkError
from mmnet_maps.grid import Grid
from mmnet_maps.sources.earth_engine.session import Session

__all__ = ["NativeGrid", "lonlat_box", "native_grid"]

#: Codes of Earth Engine that PROJ does not know.
_KNOWN = {"SR-ORG:6974": "+proj=sinu +R=6371007.181 +nadgrids=@null +wktext +units=m"}
#: Cells around the region, so that a margin for interpolation is there.
_MARGIN = 4
_EDGE = 200


@dataclass(frozen=True)
class NativeGrid:
    """A grid, and the CRS as Earth Engine writes it.

    Attributes
    ----------
    grid : Grid
    crs : dict of str to str
        ``crsCode`` or ``crsWkt`` of a PixelGrid.
    """

    grid: Grid
    crs: dict[str, str]

    def window(self, rows: slice, cols: slice) -> dict[str, Any]:
        """PixelGrid of the REST interface for a part of the grid."""
        a, b, c, d, e, f = self.grid.transform
        return {
            "dimensions": {"width": cols.stop - cols.start, "height": rows.stop - rows.start},
            "affineTransform": {
                "scaleX": a,
                "shearX": b,
                "translateX": c + a * cols.start,
                "shearY": d,
                "scaleY": e,
                "translateY": f + e * rows.start,
            },
            **self.crs,
        }


def native_grid(session: Session, source: AssetSource, target: Grid) -> NativeGrid:
    """Grid of a source over the region of `target`.

    Raises
    ------
    InputError
        The region cannot be placed in the source's CRS.
    """
    if source.pixel is not None:
        crs = _utm_of(target)
        return NativeGrid(_scene_grid(crs, source.pixel, target), {"crsCode": crs})
    asset = source.assets[0]
    band = next(iter(asset.bands.values())).name
    if source.times in ("static", "yearly"):
        image = ee.Image(asset.id)
    else:
        image = ee.ImageCollection(asset.id).first()
    # Slope and aspect have the lattice of the elevation that they are computed from.
    chosen = image.select(0) if asset.terrain else image.select(band)
    found = session.value(f"grid of {asset.id}", chosen.projection())
    transform, code, wkt = found.get("transform"), found.get("crs"), found.get("wkt")
    if transform is None or (code is None and wkt is None):
        raise WorkError(f"asset {asset.id}: Earth Engine gave no grid for it, but {found}")
    crs = _KNOWN.get(str(code), str(code)) if code else str(wkt)
    grid = _around(crs, tuple(float(v) for v in transform), target, asset.id)
    return NativeGrid(grid, {"crsCode": str(code)} if code else {"crsWkt": str(wkt)})


def lonlat_box(grid: Grid) -> tuple[float, float, float, float]:
    """West, south, east, north of a grid, a little widened, in degrees; an end may lie beyond 180."""
    west, south, east, north = bounds_in(grid.crs, "EPSG:4326", grid.bounds, _EDGE)
    pad = 1e-3
    return west - pad, south - pad, east + pad, north + pad


def _utm_of(target: Grid) -> str:
    """The target's CRS where that is a UTM zone, else the zone of its centre."""
    code = CRS.from_user_input(target.crs).to_epsg()
    if code is not None and (32601 <= code <= 32660 or 32701 <= code <= 32760):
        return f"EPSG:{code}"
    west, south, east, north = lonlat_box(target)
    zone = int(((west + east) / 2 + 180) // 6) % 60 + 1
    return f"EPSG:{(32600 if south + north >= 0 else 32700) + zone}"


def _scene_grid(crs: str, pixel: float, target: Grid) -> Grid:
    left, bottom, right, top = bounds_in(target.crs, crs, target.bounds, _EDGE)
    pad = _MARGIN * pixel
    return Grid.from_bounds(crs, (left - pad, bottom - pad, right + pad, top + pad), pixel)


def _around(crs: str, transform: tuple[float, ...], target: Grid, asset: str) -> Grid:
    """The part of a lattice that holds the region and a margin."""
    a, b, c, d, e, f = transform
    if b or d:
        raise InputError(f"asset {asset}: its grid {transform} is rotated; give the source a `pixel` size")
    west, south, east, north = bounds_in(target.crs, crs, target.bounds, _EDGE)
    cols, rows = (np.array([west, east]) - c) / a, (np.array([south, north]) - f) / e
    if not (np.isfinite(cols).all() and np.isfinite(rows).all()):
        raise InputError(f"asset {asset}: the region cannot be placed in its CRS {crs[:60]}")
    left, top = math.floor(cols.min()) - _MARGIN, math.floor(rows.min()) - _MARGIN
    width, height = math.ceil(cols.max()) + _MARGIN - left, math.ceil(rows.max()) + _MARGIN - top
    return Grid(crs, (a, 0.0, c + a * left, 0.0, e, f + e * top), height, width)
