"""What sources hold at places: the pixel of a map, or a disc around a station, on their native grids."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS, Transformer

from mmnet_maps.dates import to_yyyymmdd, year_of
from mmnet_maps.grid import Grid, Tile, cell_lookup, lonlat
from mmnet_maps.source_reader import SourceReader

__all__ = ["Place", "Series", "at_pixel", "centre_of", "in_disc", "pixel_of", "series_at"]


@dataclasses.dataclass(frozen=True)
class Place:
    """Cells of a source that stand for a place.

    Attributes
    ----------
    rows, cols : slice
        A window of the source's grid; empty if the source does not reach the place.
    inside : ndarray of bool, shape (rows, columns)
        Cells of the window that count.
    """

    rows: slice
    cols: slice
    inside: NDArray[np.bool_]


#: Columns of a table of observations at one place: Date, Year or neither, and the variables.
Series = dict[str, NDArray[np.generic]]


def pixel_of(grid: Grid, longitude: float, latitude: float) -> Tile | None:
    """The pixel of a grid that holds a point; None if none does."""
    x, y = Transformer.from_crs("EPSG:4326", grid.crs, always_xy=True).transform(longitude, latitude)
    row, col = (int(np.floor(v)) for v in grid.position(np.asarray(x), np.asarray(y)))
    return Tile(row, col, 1, 1) if 0 <= row < grid.height and 0 <= col < grid.width else None


def centre_of(grid: Grid, pixel: Tile) -> tuple[float, float]:
    """Longitude and latitude of a pixel, as maps have them."""
    lon, lat = lonlat(grid, pixel)
    return float(lon[0, 0]), float(lat[0, 0])


def at_pixel(grid: Grid, pixel: Tile, source: Grid) -> Place:
    """The cell of a source that a map takes for a pixel."""
    cell = cell_lookup(grid, pixel, source)
    return Place(cell.rows, cell.cols, np.ones(cell.shape, dtype=bool))


def in_disc(longitude: float, latitude: float, radius: float, source: Grid) -> Place:
    """Cells of a source whose centres lie within a radius (metres) of a point; else the one that holds it."""
    plane = CRS.from_proj4(f"+proj=aeqd +lat_0={latitude} +lon_0={longitude} +datum=WGS84 +units=m")
    angles = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    out = Transformer.from_crs(plane, source.crs, always_xy=True)
    rows, cols = source.position(*out.transform(radius * np.cos(angles), radius * np.sin(angles)))
    top, bottom = _span(rows, source.height)
    left, right = _span(cols, source.width)
    if top >= bottom or left >= right:
        return Place(slice(0, 0), slice(0, 0), np.zeros((0, 0), dtype=bool))
    row, col = np.mgrid[top:bottom, left:right]
    back = Transformer.from_crs(source.crs, plane, always_xy=True)
    x, y = back.transform(source.x(col.ravel()), source.y(row.ravel()))
    inside = (np.hypot(x, y) <= radius).reshape(row.shape)
    if not inside.any():
        one = pixel_of(source, longitude, latitude)
        if one is None:
            return Place(slice(0, 0), slice(0, 0), np.zeros((0, 0), dtype=bool))
        return Place(one.rows, one.cols, np.ones((1, 1), dtype=bool))
    return Place(slice(top, bottom), slice(left, right), inside)


def _span(positions: NDArray[np.float64], end: int) -> tuple[int, int]:
    return max(0, int(np.floor(positions.min()))), min(end, int(np.floor(positions.max())) + 1)


def series_at(reader: SourceReader, place: Place, first: int | None, last: int | None) -> Series | None:
    """Values of every variable of a source at a place.

    Parameters
    ----------
    reader : SourceReader
    place : Place
    first, last : int, optional
        Days since 1970-01-01, both included; yearly sources are read whole.

    Returns
    -------
    dict of str to ndarray, or None
        Date (YYYYMMDD) or Year, and each variable in float64: the mean of the cells that have a value, of a
        class the most frequent, of a direction the mean on the circle; NaN if none has. None if the source
        does not reach the place.
    """
    if not place.inside.any():
        return None
    begin, end = 0, 1
    if reader.cadence == "yearly":
        end = int(reader.days.size)
    elif reader.cadence != "static":
        begin = 0 if first is None else int(np.searchsorted(reader.days, first))
        end = int(reader.days.size if last is None else np.searchsorted(reader.days, last, side="right"))
    found: Series = {}
    if reader.cadence == "yearly":
        found["Year"] = year_of(reader.days)
    elif reader.cadence != "static":
        found["Date"] = to_yyyymmdd(reader.days[begin:end])
    if begin >= end:
        return None
    stored = reader.read(begin, end, place.rows, place.cols)
    for name, packing in reader.variables.items():
        cells = packing.decode(stored[name])[:, place.inside].astype(np.float64)
        found[name] = _summary(cells, reader.definitions[name].measure)
    return found


def _summary(cells: NDArray[np.float64], measure: str) -> NDArray[np.float64]:
    """One value a step of (steps, cells)."""
    if cells.shape[1] == 1:
        return cells[:, 0]
    there = ~np.isnan(cells)
    count = np.maximum(there.sum(axis=1), 1)
    some = there.any(axis=1)
    if measure == "class":
        return np.array([_mode(row[~np.isnan(row)]) for row in cells])
    if measure == "direction":
        angle = np.radians(np.where(there, cells, 0.0))
        east, north = (np.where(there, f(angle), 0.0).sum(axis=1) for f in (np.sin, np.cos))
        return np.where(some, np.degrees(np.arctan2(east, north)) % 360.0, np.nan)
    return np.where(some, np.where(there, cells, 0.0).sum(axis=1) / count, np.nan)


def _mode(codes: NDArray[np.float64]) -> float:
    """The most frequent code, of several the lowest; NaN of none."""
    if not codes.size:
        return float("nan")
    values, counts = np.unique(codes, return_counts=True)
    return float(values[int(np.argmax(counts))])
