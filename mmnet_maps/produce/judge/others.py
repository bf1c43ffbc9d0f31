"""What another soil-moisture product says at stations: Zarr, NetCDF, or a folder of GeoTIFFs with dates."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import rasterio
import xarray as xr
from numpy.typing import NDArray
from pyproj import CRS, Transformer

from mmnet_maps.dates import from_yyyymmdd, to_day
from mmnet_maps.errors import InputError, suggestion
from mmnet_maps.store.hdf5_heaps import refuse_endless_heaps

__all__ = ["values_at"]

_DATE = re.compile(r"(?<!\d)(?:(\d{4})-?(\d{2})-?(\d{2})|(\d{4})(\d{3}))(?!\d)")
_ACROSS, _ALONG = ("x", "lon", "longitude", "X"), ("y", "lat", "latitude", "Y")


def values_at(source: Path, variable: str | None, wanted: pd.DataFrame) -> NDArray[np.float32]:
    """Values of a product at stations on days.

    Parameters
    ----------
    source : Path
        A Zarr store, a NetCDF file, or a folder of GeoTIFFs whose names hold a date (YYYYMMDD, YYYY-MM-DD or
        YYYYDDD). Scale, offset and missing values are taken from the files; what they hold is soil moisture
        in m3 m-3.
    variable : str, optional
        Of a store or file; by default its only one with a time axis. Of GeoTIFFs: the band's description.
    wanted : DataFrame
        ID, Longitude, Latitude (degrees), Date (YYYYMMDD).

    Returns
    -------
    ndarray of float32, shape (rows of wanted,)
        Of the cell that holds the station; NaN outside the product, on days that it lacks, or where it has
        no value.

    Raises
    ------
    InputError
        It is none of these, the variable is not there, or its axes or CRS are not stated.
    """
    if source.is_dir() and any(source.glob("*.tif*")):
        return _of_files(source, variable, wanted)
    return _of_dataset(source, variable, wanted)


def _of_files(folder: Path, band: str | None, wanted: pd.DataFrame) -> NDArray[np.float32]:
    found = np.full(len(wanted), np.nan, dtype=np.float32)
    days = from_yyyymmdd(wanted["Date"].to_numpy())
    of_day: dict[int, list[Path]] = {}
    for path in sorted(folder.glob("*.tif*")):
        day = _day_of(path.name)
        if day is not None:
            of_day.setdefault(day, []).append(path)
    if not of_day:
        raise InputError(f"{folder}: no GeoTIFF there has a date in its name, such as 20200601 or 2020-06-01")
    for day in sorted(set(days.tolist()) & set(of_day)):
        rows = np.flatnonzero(days == day)
        for path in of_day[day]:
            values = _sample(path, band, wanted.iloc[rows])
            found[rows] = np.where(np.isfinite(found[rows]), found[rows], values)
    return found


def _day_of(name: str) -> int | None:
    match = _DATE.search(name)
    if match is None:
        return None
    year, month, day, of_year, number = match.groups()
    try:
        date = (
            dt.date(int(year), int(month), int(day))
            if year
            else dt.date(int(of_year), 1, 1) + dt.timedelta(days=int(number) - 1)
        )
        return to_day(date)
    except (ValueError, InputError):
        return None


def _sample(path: Path, band: str | None, stations: pd.DataFrame) -> NDArray[np.float32]:
    try:
        with rasterio.open(path) as file:
            number = _band(path, file, band)
            if file.crs is None:
                raise InputError(f"{path}: has no CRS")
            to_file = Transformer.from_crs("EPSG:4326", CRS.from_wkt(file.crs.to_wkt()), always_xy=True)
            lonlat = stations["Longitude"].to_numpy(), stations["Latitude"].to_numpy()
            xy = zip(*to_file.transform(*lonlat), strict=True)
            rows = [
                value.astype(np.float64).filled(np.nan)[0] for value in file.sample(xy, [number], masked=True)
            ]
            scale, offset = file.scales[number - 1], file.offsets[number - 1]
    except rasterio.errors.RasterioIOError as error:
        raise InputError(f"{path}: not a readable GeoTIFF: {' '.join(str(error).split())}") from None
    return np.asarray(np.array(rows, dtype=np.float64) * scale + offset, dtype=np.float32)


def _band(path: Path, file: Any, name: str | None) -> int:
    if name is None:
        return 1
    if name not in file.descriptions:
        known = ", ".join(str(d) for d in file.descriptions if d) or "none has a name"
        raise InputError(f"{path}: no band {name}; bands are {known}")
    return list(file.descriptions).index(name) + 1


def _of_dataset(source: Path, variable: str | None, wanted: pd.DataFrame) -> NDArray[np.float32]:
    with _opened(source) as data:
        array = _variable(source, data, variable)
        across, along = _axis(source, array, _ACROSS), _axis(source, array, _ALONG)
        geographic = {str(across), str(along)} & {"lon", "longitude", "lat", "latitude"}
        crs = CRS.from_epsg(4326) if geographic else _crs(source, data, array)
        to_data = Transformer.from_crs("EPSG:4326", crs, always_xy=True)
        x, y = to_data.transform(wanted["Longitude"].to_numpy(), wanted["Latitude"].to_numpy())
        if geographic and float(array[across].max()) > 180:
            x = np.where(x < 0, x + 360, x)
        col, row = _cell(array[across].to_numpy(), x), _cell(array[along].to_numpy(), y)
        days = array["time"].to_numpy().astype("datetime64[D]").astype(np.int64)
        order = np.argsort(days, kind="stable")
        at = np.searchsorted(days, from_yyyymmdd(wanted["Date"].to_numpy()), sorter=order)
        index = order[np.minimum(at, len(days) - 1)]
        held = days[index] == from_yyyymmdd(wanted["Date"].to_numpy())
        found = np.full(len(wanted), np.nan, dtype=np.float32)
        inside = held & (row >= 0) & (col >= 0)
        for r, c in sorted(set(zip(row[inside].tolist(), col[inside].tolist(), strict=True))):
            rows = np.flatnonzero(inside & (row == r) & (col == c))
            found[rows] = array.isel({along: r, across: c}).to_numpy()[index[rows]]
        return found


def _opened(source: Path) -> xr.Dataset:
    try:
        if source.is_dir():
            opened: xr.Dataset = xr.open_zarr(source, decode_coords="all")
            return opened
        refuse_endless_heaps(source)
        return xr.open_dataset(source, decode_coords="all")
    except (ValueError, OSError, KeyError) as error:
        reason = " ".join(str(error).split())[:160]
        raise InputError(
            f"{source}: neither a Zarr store, NetCDF, nor a folder of GeoTIFFs: {reason}"
        ) from None


def _variable(source: Path, data: xr.Dataset, name: str | None) -> xr.DataArray:
    daily = [str(n) for n, v in data.data_vars.items() if "time" in v.dims and v.ndim == 3]
    if name is None and len(daily) != 1 and "soil_moisture" not in daily:
        raise InputError(
            f"{source}: name one of its variables, SOURCE:VARIABLE; daily ones are {', '.join(daily)}"
        )
    chosen = name or ("soil_moisture" if "soil_moisture" in daily else daily[0])
    if chosen not in daily:
        there = ", ".join(daily) or "none"
        raise InputError(
            f"{source}: no daily variable {chosen}; there are {there}{suggestion(chosen, daily)}"
        )
    return data[chosen]


def _axis(source: Path, array: xr.DataArray, names: tuple[str, ...]) -> str:
    for name in names:
        if name in array.dims and name in array.coords:
            return name
    raise InputError(f"{source}: {array.name} has the axes {array.dims}; expected one of {', '.join(names)}")


def _crs(source: Path, data: xr.Dataset, array: xr.DataArray) -> CRS:
    mapping = array.encoding.get("grid_mapping", array.attrs.get("grid_mapping", "spatial_ref"))
    attributes = data[mapping].attrs if mapping in data.variables else {}
    text = attributes.get("crs_wkt") or attributes.get("spatial_ref")
    if not text:
        raise InputError(f"{source}: {array.name} has no CRS (no grid mapping with crs_wkt)")
    return CRS.from_wkt(text)


def _cell(centres: NDArray[np.floating], value: NDArray[np.floating]) -> NDArray[np.int64]:
    """Index of the cell, around its centre, that holds each value; -1 outside."""
    step = (centres[-1] - centres[0]) / (len(centres) - 1) if len(centres) > 1 else 1.0
    at = np.floor((value - centres[0]) / step + 0.5)
    inside = np.isfinite(at) & (at >= 0) & (at < len(centres))
    return np.where(inside, at, -1).astype(np.int64)
