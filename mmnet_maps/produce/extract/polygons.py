"""Series over polygons: area-weighted mean, its spread within the polygon, and what share of it has values.

A mean over an area has no interval here: errors of neighbouring pixels hang together, and the table of the
bundle holds for single pixels alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pyproj import CRS
from shapely.geometry import mapping

from mmnet_maps.errors import InputError
from mmnet_maps.grid import Grid
from mmnet_maps.produce.extract.maps import QUALITY, Maps, Reasons, days_between, require
from mmnet_maps.produce.extract.points import outside_line
from mmnet_maps.progress import steps

__all__ = ["POLYGON_COLUMNS", "Cover", "covers", "extract_polygons"]

Float = NDArray[np.float64]

POLYGON_COLUMNS = ("id", "date", "estimate", "p10", "p90", "valid_share", "pixels", "reasons")
#: Pixel-days of one read; two layers of them are in memory at once.
_AT_ONCE = 20_000_000


@dataclass(frozen=True)
class Cover:
    """The pixels under a polygon.

    Attributes
    ----------
    row, col : ndarray of int64, shape (n,)
    weight : ndarray of float64, shape (n,)
        Area of the polygon in the pixel, as a share of the polygon's area. The sum is below 1 where a part of
        the polygon is outside the maps.
    """

    row: NDArray[np.int64]
    col: NDArray[np.int64]
    weight: Float


def covers(grid: Grid, polygons: gpd.GeoDataFrame) -> list[Cover]:
    """The pixels under every polygon with their exact shares.

    Parameters
    ----------
    grid : Grid
    polygons : GeoDataFrame
        In any CRS.
    """
    projected = polygons.to_crs(CRS.from_user_input(grid.crs))
    return [_cover(grid, shape) for shape in projected.geometry]


def _cover(grid: Grid, shape: Any) -> Cover:
    from exactextract import exact_extract
    from exactextract.raster import NumPyRasterSource

    left, bottom, right, top = shape.bounds
    rows, cols = grid.position(np.array([left, right]), np.array([bottom, top]))
    (r0, r1), (c0, c1) = (_span(rows, grid.height), _span(cols, grid.width))
    none = np.zeros(0, dtype=np.int64)
    if r1 <= r0 or c1 <= c0:
        return Cover(none, none, none.astype(np.float64))
    a, _, c, _, e, f = grid.transform
    xs, ys = sorted((c + a * c0, c + a * c1)), sorted((f + e * r0, f + e * r1))
    # The library asks for values; only which cells and how much of each is wanted.
    blank = np.broadcast_to(np.uint8(0), (r1 - r0, c1 - c0))
    source = NumPyRasterSource(blank, xmin=xs[0], ymin=ys[0], xmax=xs[1], ymax=ys[1])
    feature = {"type": "Feature", "properties": {}, "geometry": mapping(shape)}
    found = exact_extract(source, feature, ["cell_id", "coverage"])[0]["properties"]
    cell, part = np.asarray(found["cell_id"], dtype=np.int64), np.asarray(found["coverage"], dtype=np.float64)
    down, across = np.divmod(cell, c1 - c0)
    # The library counts from the north-west corner, whichever way the grid runs.
    row = r0 + down if e < 0 else r1 - 1 - down
    col = c0 + across if a > 0 else c1 - 1 - across
    area, whole = part * abs(a * e), float(shape.area)
    if CRS.from_user_input(grid.crs).is_geographic:
        # A degree of longitude shrinks with the cosine of the latitude.
        area *= np.cos(np.radians(grid.y(row)))
        whole *= float(np.cos(np.radians(shape.centroid.y)))
    return Cover(row, col, np.minimum(area / whole, 1.0))


def _span(positions: Float, size: int) -> tuple[int, int]:
    low, high = float(positions.min()), float(positions.max())
    return max(0, int(np.floor(low))), min(size, int(np.ceil(high)))


def extract_polygons(
    maps: Maps, polygons: gpd.GeoDataFrame, start: int | None = None, end: int | None = None, workers: int = 2
) -> pd.DataFrame:
    """Read the series of areas.

    Parameters
    ----------
    maps : Maps
    polygons : GeoDataFrame
        ``id`` and polygons, in any CRS.
    start, end : int, optional
        First and last day since 1970-01-01, both included; by default all days of the maps.
    workers : int
        Threads that read.

    Returns
    -------
    DataFrame
        A row a polygon and day: `POLYGON_COLUMNS`. ``estimate`` is the area-weighted mean of the pixels with
        a value. ``p10`` and ``p90`` are quantiles of these pixels by area. All are in m3 m-3. ``valid_share``
        is the share of the polygon's area that has a value, and ``pixels`` the number of pixels that it
        touches. ``reasons`` is the share of each quality bit in words, the most frequent first.

    Raises
    ------
    InputError
        No polygon touches the maps, or they hold no day that was asked for.
    """
    require(maps, "soil_moisture", QUALITY)
    begin, stop = days_between(maps, start, end)
    found = covers(maps.levels[0], polygons)
    names = polygons["id"].tolist()
    gone = [name for name, cover in zip(names, found, strict=True) if not cover.row.size]
    outside_line(maps, "polygons", gone, len(names))
    kept = [(name, cover) for name, cover in zip(names, found, strict=True) if cover.row.size]
    days = maps.days[begin:stop]
    reasons, parts = Reasons(maps.flags), []
    with steps("polygons read", len(kept)) as advance:
        for some in _batches(kept, days.size):
            row, col = (np.concatenate([getattr(c, axis) for _, c in some]) for axis in ("row", "col"))
            stored = maps.pixels(["soil_moisture", QUALITY], begin, stop, row, col, workers)
            ends = np.cumsum([0, *(cover.row.size for _, cover in some)])
            for (name, cover), low, high in zip(some, ends[:-1], ends[1:], strict=True):
                values = maps.layers["soil_moisture"].packing.decode(stored["soil_moisture"][:, low:high])
                parts.append(_series(name, days, values, stored[QUALITY][:, low:high], cover.weight, reasons))
                advance()
    return pd.concat(parts, ignore_index=True)


def _batches(kept: list[tuple[str, Cover]], days: int) -> Iterator[list[tuple[str, Cover]]]:
    """Polygons that are read together, so that memory does not grow with their number."""
    some: list[tuple[str, Cover]] = []
    size = 0
    for name, cover in kept:
        if cover.row.size * days > 5 * _AT_ONCE:
            raise InputError(
                f"polygon {name}: {cover.row.size:,} pixels x {days} days are more than fit in memory; "
                "ask for fewer days with --start and --end"
            )
        if some and (size + cover.row.size) * days > _AT_ONCE:
            yield some
            some, size = [], 0
        some.append((name, cover))
        size += cover.row.size
    if some:
        yield some


def _series(
    name: str,
    days: NDArray[np.int64],
    values: NDArray[Any],
    quality: NDArray[Any],
    weight: Float,
    words: Reasons,
) -> pd.DataFrame:
    known = np.isfinite(values)
    area = known @ weight
    with np.errstate(invalid="ignore"):
        mean = np.where(known, values, 0.0).astype(np.float64) @ weight / np.where(area > 0, area, np.nan)
    low, high = np.full((2, days.size), np.nan)
    for at in np.flatnonzero(area > 0):
        there = known[at] & (weight > 0)
        low[at], high[at] = np.quantile(
            values[at, there].astype(np.float64), [0.1, 0.9], weights=weight[there], method="inverted_cdf"
        )
    shares = {text: ((quality & mask) != 0) @ weight for mask, text in words.words.items()}
    return pd.DataFrame(
        {
            "id": name,
            "date": np.datetime_as_string(days.astype("datetime64[D]")),
            "estimate": mean,
            "p10": low,
            "p90": high,
            "valid_share": np.minimum(area, 1.0),
            "pixels": weight.size,
            "reasons": [
                _said({text: float(part[at]) for text, part in shares.items()}) for at in range(days.size)
            ],
        }
    )


def _said(shares: dict[str, float]) -> str:
    ordered = sorted((item for item in shares.items() if item[1] > 0), key=lambda item: -item[1])
    return "; ".join(f"{text} ({100 * part:.2g} %)" for text, part in ordered)
