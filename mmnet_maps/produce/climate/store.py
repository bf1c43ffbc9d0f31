"""Percentiles, anomalies and drought classes of the days of a product, as a Zarr store of the same grid."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec

from mmnet_maps.errors import InputError
from mmnet_maps.grid import Tile, tiles
from mmnet_maps.packing import Packing
from mmnet_maps.produce.climate.season import LEAST_YEARS, NO_CLASS, Season
from mmnet_maps.produce.product.axes import write_axes
from mmnet_maps.produce.product.conventions import declarations, grid_attributes
from mmnet_maps.produce.product.layers import global_attributes
from mmnet_maps.produce.product.store import Product, consolidate
from mmnet_maps.produce.units import iso
from mmnet_maps.progress import steps
from mmnet_maps.store.arrays import create_group
from mmnet_maps.store.location import Location
from mmnet_maps.store.lock import sole_writer
from mmnet_maps.store.whole import appearing_folder

__all__ = ["CLIMATE_LAYERS", "write_climate"]

#: Days before and after the day of the year that make its season.
_REACH = 15
#: Side of the squares that are read at once, and days of the year whose seasons are read together.
_SIDE, _BLOCK = 256, 16


@dataclass(frozen=True)
class ClimateLayer:
    """One layer of the store: its storage and what it means."""

    packing: Packing
    long_name: str
    units: str


CLIMATE_LAYERS = {
    "percentile": ClimateLayer(
        Packing(dtype="int16", scale=0.01, missing=-32768),
        "share of the season's values below the day's, half of equal ones counted",
        "percent",
    ),
    "anomaly": ClimateLayer(
        Packing(dtype="int16", scale=1e-4, missing=-32768),
        "soil moisture less the mean of its season",
        "m3 m-3",
    ),
    "drought": ClimateLayer(
        Packing(dtype="uint8", missing=NO_CLASS),
        f"drought class by percentile, none with fewer than {LEAST_YEARS} years",
        "1",
    ),
    "chance_of_dry": ClimateLayer(
        Packing(dtype="int16", scale=0.01, missing=-32768),
        "chance that the true value is below the 20th percentile, given the interval",
        "percent",
    ),
    "years": ClimateLayer(
        Packing(dtype="uint8", missing=255), "years whose values make the season of the day", "1"
    ),
}


def write_climate(
    product: Product, out: Location, first: int | None = None, last: int | None = None
) -> dict[str, Any]:
    """Compare days of a product with the same season of all years that it holds.

    A season is the day of the year with 15 days on either side, in every year of the product, the year of
    the day among them. Memory holds the seasons of one square of 256 x 256 pixels, whatever the region.

    Parameters
    ----------
    product : Product
    out : Path or Remote
        Zarr store to write; it appears whole under its name or not at all.
    first, last : int, optional
        Days since 1970-01-01 to describe; by default every finished day. Seasons use all finished days.

    Returns
    -------
    dict
        ``out``, ``days``, ``years`` (calendar years of the product), and ``enough_years``: whether any pixel
        can have a drought class.

    Raises
    ------
    InputError
        `out` exists, or the product has no finished day in the span.
    """
    if out.exists():
        raise InputError(f"{out}: already exists, expected the name of a new store")
    held = product.finished_days()
    days = (
        held[(held >= (held.min() if first is None else first)) & (held <= _end(held, last))]
        if held.size
        else held
    )
    if not days.size:
        raise InputError(f"{product.path}: no finished day {_span(first, last)}to compare with its season")
    years = sorted({_date(int(day)).year for day in held})
    with sole_writer(out), appearing_folder(out) as draft:
        group = _create(draft, product, days)
        squares = list(tiles(product.grid, _SIDE))
        with steps("squares of the climate", len(squares)) as advance:
            for square in squares:
                for at, values in _square(product, square, held, days, years):
                    for name, value in values.items():
                        array = group[name]
                        assert isinstance(array, zarr.Array)
                        array[at, square.rows, square.cols] = value
                advance()
        consolidate(draft)
    return {
        "out": str(out),
        "days": len(days),
        "years": years,
        "enough_years": len(years) >= LEAST_YEARS,
    }


def _square(
    product: Product, square: Tile, held: NDArray[np.int64], days: NDArray[np.int64], years: list[int]
) -> Iterator[tuple[int, dict[str, NDArray[Any]]]]:
    """Index on the time axis and stored layers of every day, at one square."""
    of_year: dict[tuple[int, int], list[int]] = {}
    for index, day in enumerate(days.tolist()):
        date = _date(day)
        of_year.setdefault((date.month, date.day), []).append(index)
    anniversaries = sorted(of_year)
    for start in range(0, len(anniversaries), _BLOCK):
        block = anniversaries[start : start + _BLOCK]
        spans = {year: _read_span(product, square, held, year, block) for year in years}
        for month_day in block:
            season = Season.of(np.stack([_season_of(*spans[year], year, month_day) for year in years]))
            for index in of_year[month_day]:
                day = int(days[index])
                first, values = spans[_date(day).year]
                yield index, _day(product, square, season, day, values[day - first])


def _day(
    product: Product, square: Tile, season: Season, day: int, value: NDArray[np.float32]
) -> dict[str, NDArray[Any]]:
    lower, upper = (
        product.packing[name]
        .decode(product.read(name, day, day + 1, square.rows, square.cols)[0])
        .astype(np.float32)
        .ravel()
        for name in ("lower", "upper")
    )
    rank = season.percentile(value)
    found: dict[str, NDArray[Any]] = {
        "percentile": rank,
        "anomaly": season.anomaly(value),
        "chance_of_dry": season.chance_of_dry(value, lower, upper),
    }
    stored = {name: CLIMATE_LAYERS[name].packing.encode(layer) for name, layer in found.items()}
    stored |= {"drought": season.drought(rank), "years": season.years}
    return {name: layer.reshape(square.height, square.width) for name, layer in stored.items()}


def _read_span(
    product: Product, square: Tile, held: NDArray[np.int64], year: int, block: list[tuple[int, int]]
) -> tuple[int, NDArray[np.float32]]:
    """First day and values, shape (days, pixels), that the seasons of a block need in one year."""
    first, last = _anniversary(year, block[0]) - _REACH, _anniversary(year, block[-1]) + _REACH
    values = np.full((last - first + 1, square.height * square.width), np.nan, dtype=np.float32)
    begin, stop = max(first, int(product.layout.start)), min(last + 1, int(product.layout.stop))
    if begin < stop:
        stored = product.read("soil_moisture", begin, stop, square.rows, square.cols)
        part = product.packing["soil_moisture"].decode(stored).reshape(stop - begin, -1)
        # A day that is not finished may hold some units already; it is no part of any season yet.
        done = np.isin(np.arange(begin, stop), held)
        values[begin - first : stop - first][done] = part[done]
    return first, values


def _season_of(
    first: int, values: NDArray[np.float32], year: int, month_day: tuple[int, int]
) -> NDArray[np.float32]:
    start = _anniversary(year, month_day) - _REACH - first
    return values[start : start + 2 * _REACH + 1]


def _anniversary(year: int, month_day: tuple[int, int]) -> int:
    """The day of a year; 28 February stands for the 29th where there is none."""
    month, day = month_day
    try:
        date = dt.date(year, month, day)
    except ValueError:
        date = dt.date(year, month, 28)
    return (date - dt.date(1970, 1, 1)).days


def _date(day: int) -> dt.date:
    return dt.date(1970, 1, 1) + dt.timedelta(days=day)


def _end(held: NDArray[np.int64], last: int | None) -> int:
    return int(held.max()) if last is None else last


def _span(first: int | None, last: int | None) -> str:
    parts = [
        f"from {iso(first)} " if first is not None else "",
        f"to {iso(last)} " if last is not None else "",
    ]
    return "".join(parts)


def _create(path: Location, product: Product, days: NDArray[np.int64]) -> zarr.Group:
    title = "Soil moisture against its season: percentiles, anomalies, drought classes"
    about = {**global_attributes(product.soil_depth), "title": title, **grid_attributes(product.grid)}
    group = create_group(path, about)
    write_axes(group, product.grid, days, product.soil_depth)
    side = min(_SIDE, *product.grid.shape)
    for name, layer in CLIMATE_LAYERS.items():
        packing = layer.packing
        attributes = {
            "long_name": layer.long_name,
            "units": layer.units,
            "grid_mapping": "spatial_ref",
            **({"scale_factor": packing.scale} if packing.scale != 1 else {}),
            "_FillValue": packing.missing,
            **grid_attributes(product.grid),
            "zarr_conventions": declarations("proj", "spatial"),
        }
        if name == "drought":
            attributes |= {"flag_values": [0, 1, 2, 3, 4, 5], "flag_meanings": "none D0 D1 D2 D3 D4"}
        group.create_array(
            name,
            shape=(len(days), *product.grid.shape),
            dtype=packing.dtype,
            chunks=(1, side, side),
            compressors=BloscCodec(cname="zstd", clevel=1, shuffle="bitshuffle"),
            fill_value=packing.missing,
            dimension_names=("time", "y", "x"),
            attributes=attributes,
        )
    return group
