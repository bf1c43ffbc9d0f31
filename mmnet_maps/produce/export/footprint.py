"""Where a grid lies on the globe, as GeoJSON (RFC 7946): cut at the antimeridian, closed over a pole."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from shapely import Polygon, box
from shapely.affinity import translate
from shapely.geometry import MultiPolygon, mapping
from shapely.geometry.polygon import orient

from mmnet_maps.grid import Grid

__all__ = ["footprint", "joined"]

#: Points along each edge: a straight edge in one CRS is a curve in another.
_EDGE_POINTS = 8
_DIGITS = 7


def footprint(grid: Grid) -> tuple[list[float], dict[str, Any]]:
    """Bounding box and geometry of a grid in EPSG:4326.

    Parameters
    ----------
    grid : Grid

    Returns
    -------
    bbox : list of float
        West, south, east, north; west is larger than east where the grid crosses the antimeridian
        (RFC 7946, 5.2).
    geometry : dict
        Polygon, counterclockwise, or a MultiPolygon cut at 180 degrees (RFC 7946, 3.1.9).
    """
    lon, lat = _ring(grid)
    south, north = float(lat.min()), float(lat.max())
    turn = np.unwrap(np.array([lon[-1], lon[0]]), period=360.0)[1] - lon[0]
    if abs(turn) > 180.0:
        return _around_a_pole(lon, lat)
    if np.ptp(lon) >= 360.0:
        whole = box(-180.0, south, 180.0, north)
        return [-180.0, south, 180.0, north], _geometry([whole])
    lon = lon - 360.0 * np.floor((lon.min() + 180.0) / 360.0)
    outline, west, east = _polygon(lon, lat), float(lon.min()), float(lon.max())
    parts: list[Any] = [outline]
    if east > 180.0:
        beyond = outline.intersection(box(180.0, -90.0, 540.0, 90.0))
        parts = [outline.intersection(box(-180.0, -90.0, 180.0, 90.0)), translate(beyond, xoff=-360.0)]
        east -= 360.0
    return [round(v, _DIGITS) for v in (west, south, east, north)], _geometry(parts)


def _around_a_pole(lon: NDArray[np.float64], lat: NDArray[np.float64]) -> tuple[list[float], dict[str, Any]]:
    """Bounding box and geometry of an outline that goes once around the globe."""
    lon = (lon + 180.0) % 360.0 - 180.0
    order = np.argsort(lon)
    lon, lat, pole = lon[order], lat[order], 90.0 if lat.mean() > 0 else -90.0
    edge = float(np.interp(180.0, [lon[-1], lon[0] + 360.0], [lat[-1], lat[0]]))
    lon = np.concatenate([[-180.0, -180.0], lon, [180.0, 180.0]])
    lat = np.concatenate([[pole, edge], lat, [edge, pole]])
    south, north = sorted((pole, float(lat.min() if pole > 0 else lat.max())))
    return [-180.0, round(south, _DIGITS), 180.0, round(north, _DIGITS)], _geometry([_polygon(lon, lat)])


def joined(boxes: Iterable[Sequence[float]]) -> list[float]:
    """The bounding box around several, some of which may cross the antimeridian."""
    table = np.array([list(b) for b in boxes], dtype=np.float64)
    crossing = table[:, 0] > table[:, 2]
    if crossing.any():
        table[~crossing & (table[:, 0] < 0), 0] += 360.0
        table[crossing | (table[:, 2] < 0), 2] += 360.0
    west, east = float(table[:, 0].min()), float(table[:, 2].max())
    return [west, float(table[:, 1].min()), east - 360.0 if east > 180.0 else east, float(table[:, 3].max())]


def _ring(grid: Grid) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Longitude, without jumps at 180 degrees, and latitude of points along the outline."""
    left, bottom, right, top = grid.bounds
    part = np.arange(_EDGE_POINTS) / _EDGE_POINTS
    held = np.full(_EDGE_POINTS, 1.0)
    x = np.concatenate(
        [left + part * (right - left), held * right, right - part * (right - left), held * left]
    )
    y = np.concatenate(
        [held * bottom, bottom + part * (top - bottom), held * top, top - part * (top - bottom)]
    )
    to_degrees = Transformer.from_crs(CRS.from_user_input(grid.crs), "EPSG:4326", always_xy=True)
    lon, lat = to_degrees.transform(x, y)
    if not CRS.from_user_input(grid.crs).is_geographic:
        lon = np.unwrap(np.asarray(lon), period=360.0)
    return np.asarray(lon, dtype=np.float64), np.asarray(lat, dtype=np.float64)


def _polygon(lon: NDArray[np.float64], lat: NDArray[np.float64]) -> Polygon:
    return Polygon(np.round(np.column_stack([lon, lat]), _DIGITS))


def _geometry(parts: Sequence[Any]) -> dict[str, Any]:
    polygons = [orient(part) for part in parts if not part.is_empty]
    found = mapping(polygons[0] if len(polygons) == 1 else MultiPolygon(polygons))
    return {"type": found["type"], "coordinates": _lists(found["coordinates"])}


def _lists(values: Any) -> Any:
    return [_lists(v) for v in values] if isinstance(values, tuple | list) else float(values)
