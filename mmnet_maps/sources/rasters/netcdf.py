"""NetCDF with one or many days in a file, read through xarray without decoding a value."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import h5py
import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pyproj import CRS
from pyproj.exceptions import CRSError

from mmnet_maps.errors import InputError
from mmnet_maps.sources.rasters.formats import Band, Files, Header, Wanted, axis_grid, settle_crs
from mmnet_maps.sources.rasters.stated import band_of, usable
from mmnet_maps.store.hdf5_heaps import refuse_endless_heaps
from mmnet_maps.store.location import Location

__all__ = ["NetCdf"]

_X = ("lon", "longitude", "x", "easting")
_Y = ("lat", "latitude", "y", "northing")
_DEGREES_X, _DEGREES_Y = _X[:2], _Y[:2]
_TIME = ("day", "time", "valid_time", "date")
#: CF 1.11, 4.1 and 4.2: units and standard names that say which axis it is.
_SAYS_X = {"degrees_east", "degree_east", "degree_e", "degrees_e", "degreee", "degreese"}
_SAYS_Y = {"degrees_north", "degree_north", "degree_n", "degrees_n", "degreen", "degreesn"}
_SAYS_X |= {"longitude", "projection_x_coordinate", "x"}
_SAYS_Y |= {"latitude", "projection_y_coordinate", "y"}
_METRES = {"km": 1000.0, "kilometer": 1000.0, "kilometers": 1000.0, "kilometre": 1000.0, "kilometres": 1000.0}
#: What a value that was never written reads as, where no ``_FillValue`` is stated (netCDF user guide).
_DEFAULT_FILL = {"i2": -32767, "u2": 65535, "i4": -2147483647, "f4": 9.9692099683868690e36}
_DEFAULT_FILL |= {"u4": 4294967295, "f8": _DEFAULT_FILL["f4"]}
_CALENDARS = ("standard", "gregorian", "proleptic_gregorian")


class NetCdf:
    """Variables by name; a time axis, or a scalar time, gives the days."""

    def __init__(self, files: Files | None = None) -> None:
        self.files = files or Files()

    def header(self, path: Location, wanted: Mapping[str, Wanted], crs: str | None) -> Header:
        """See `Format.header`."""
        refuse_endless_heaps(path)
        with _open(path, self.files) as data:
            arrays = {name: _find(path, data, name, band) for name, band in wanted.items()}
            one = next(iter(arrays.values()))
            y, x = _axes(path, one)
            name = settle_crs(path, _crs(data, one), crs)
            grid = axis_grid(path, name, _numbers(one, x), _numbers(one, y))
            days = _days(path, data, one)
            bands = {name: _band(array) for name, array in arrays.items()}
        return Header(grid, days, bands)

    def read(
        self, path: Location, bands: Mapping[str, Band], steps: slice, rows: slice, cols: slice
    ) -> dict[str, NDArray[Any]]:
        """See `Format.read`."""
        found = {}
        with _open(path, self.files) as data:
            for name, band in bands.items():
                array = _flat(data[band.key])
                y, x = array.dims[-2:]
                picked = {y: rows, x: cols}
                if array.ndim == 3:
                    picked[array.dims[0]] = steps
                values = array.isel(picked).values
                found[name] = (values if array.ndim == 3 else values[None]).view(band.dtype)
        return found


def _open(path: Location, files: Files) -> xr.Dataset:
    with files.stream(path) as file:
        classic = file.read(3) == b"CDF"
    # The classic format is read whole whatever is wanted of it.
    opened: Any = files.local(path) if classic or files.here(path) else files.stream(path)
    try:
        if not classic and files.here(path):
            h5py.File(opened).close()  # of a damaged file h5netcdf prints a traceback when it is thrown away
        return xr.open_dataset(
            opened,
            engine="scipy" if classic else "h5netcdf",
            mask_and_scale=False,
            decode_times=False,
            decode_timedelta=False,
            decode_coords=False,
            cache=False,
        )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise InputError(f"{path}: cannot be read as NetCDF: {' '.join(str(error).split())}") from None


def _find(path: Location, data: xr.Dataset, variable: str, wanted: Wanted) -> xr.DataArray:
    fields = [str(name) for name, array in data.data_vars.items() if array.ndim >= 2]
    if wanted is not None:
        name = str(wanted)
    else:
        name = variable if variable in fields or len(fields) != 1 else fields[0]
    if name not in fields:
        have = ", ".join(fields)
        raise InputError(f"{path}: no variable {name} for {variable}; it holds {have}: give `band:`")
    return _flat(data[name])


def _flat(array: xr.DataArray) -> xr.DataArray:
    """Without dimensions of one value, such as a level, that are neither in space nor in time."""
    between = [d for d in array.dims[:-2] if array.sizes[d] == 1 and not _is_time(array, str(d))]
    return array.isel(dict.fromkeys(between, 0)) if between else array


def _is_time(array: xr.DataArray, dim: str) -> bool:
    attrs = array.coords.get(dim, _NONE).attrs
    return dim.lower() in _TIME or " since " in str(attrs.get("units", ""))


def _axes(path: Location, array: xr.DataArray) -> tuple[str, str]:
    """Names of the (y, x) dimensions, which must be the last two in this order."""
    dims = [str(d) for d in array.dims]
    x = [d for d in dims if d.lower() in _X or _says(array, d) & _SAYS_X]
    y = [d for d in dims if d.lower() in _Y or _says(array, d) & _SAYS_Y]
    if len(x) != 1 or len(y) != 1 or x[0] not in array.coords or y[0] not in array.coords:
        raise InputError(
            f"{path}: dimensions {dims} of {array.name}; expected (day,) lat, lon with coordinates"
        )
    if dims[-2:] != [y[0], x[0]] or len(dims) > 3:
        more = f"choose one {dims[1]}" if len(dims) > 3 else "axes swapped? transpose the file"
        raise InputError(
            f"{path}: dimensions {dims} of {array.name}; expected (day,) {y[0]}, {x[0]} in this order: {more}"
        )
    return y[0], x[0]


_NONE = xr.DataArray()


def _says(array: xr.DataArray, dim: str) -> set[str]:
    """What the coordinate of a dimension says of itself, in lower case."""
    attrs = array.coords.get(dim, _NONE).attrs
    return {str(attrs.get(key, "")).lower() for key in ("units", "standard_name", "axis")}


def _numbers(array: xr.DataArray, dim: str) -> NDArray[np.float64]:
    """Coordinates of a dimension, in degrees or metres."""
    values = np.asarray(array.coords[dim].values, dtype=np.float64)
    return values * _METRES.get(str(array.coords[dim].attrs.get("units", "")).lower(), 1.0)


def _crs(data: xr.Dataset, array: xr.DataArray) -> CRS | None:
    """CRS from the grid mapping, or EPSG:4326 where the axes are in degrees north and east (CF 1.11, 4.1)."""
    mapping = array.attrs.get("grid_mapping")
    if mapping in data.variables:
        attrs = data[mapping].attrs
        try:
            text = attrs.get("crs_wkt") or attrs.get("spatial_ref")
            return CRS.from_user_input(text) if text else CRS.from_cf(dict(attrs))
        except (CRSError, KeyError):
            pass  # an unreadable mapping is as good as none: the axes below, or the configuration, decide
    axes = ((array.dims[-2], _SAYS_Y, _DEGREES_Y), (array.dims[-1], _SAYS_X, _DEGREES_X))
    degrees = all(_in_degrees(array, str(dim), known, named) for dim, known, named in axes)
    return CRS.from_epsg(4326) if degrees else None


def _in_degrees(array: xr.DataArray, dim: str, known: set[str], names: tuple[str, ...]) -> bool:
    """Whether an axis is in degrees; plain degrees count where its name says the rest."""
    said = _says(array, dim)
    which = dim.lower() in names or bool(said & known - {"x", "y"})
    return which and any(word.startswith("degree") for word in said)


def _days(path: Location, data: xr.Dataset, array: xr.DataArray) -> NDArray[np.int64] | None:
    name = str(array.dims[0]) if array.ndim == 3 else next((t for t in _TIME if t in data.variables), None)
    if name is None or name not in data.variables:
        return None
    times = np.atleast_1d(_dates(path, data[[name]], name))
    if times.dtype.kind != "M" or np.isnat(times).any():
        if array.ndim == 2:
            return None
        raise InputError(f"{path}: {name} holds no dates; expected units such as days since 1900-01-01")
    if array.ndim == 2 and times.size != 1:
        return None
    return times.astype("datetime64[D]").astype(np.int64)


def _dates(path: Location, data: xr.Dataset, name: str) -> NDArray[Any]:
    """Times of an axis, as they are in the file where it has none."""
    calendar = str(data[name].attrs.get("calendar", "standard")).lower()
    stated = re.fullmatch(r"(\w+) since (.+)", str(data[name].attrs.get("units", "")).strip(), re.IGNORECASE)
    if stated is not None:
        unit = stated[1].lower()
        units = f"{'days' if unit == 'd' else unit} since {stated[2]}"
        data = data.assign_coords({name: data[name].assign_attrs(units=units)})
    since = re.search(r" since (\d{4})", str(data[name].attrs.get("units", "")))
    if calendar == "julian" and since is not None and int(since[1]) > 1900:
        # AppEEARS writes it; both calendars have the same leap years from 1901 to 2099.
        calendar = "standard"
        data = data.assign_coords({name: data[name].assign_attrs(calendar=calendar)})
    if " since " in str(data[name].attrs.get("units", "")) and calendar not in _CALENDARS:
        raise InputError(
            f"{path}: its calendar is {calendar}, whose days are not those of the year; expected standard: "
            "convert it first, for example with xarray's convert_calendar"
        )
    coder = xr.coders.CFDatetimeCoder(use_cftime=False, time_unit="s")
    try:
        return np.asarray(xr.decode_cf(data, mask_and_scale=False, decode_times=coder)[name].values)
    except (ValueError, OverflowError, KeyError) as error:
        found = data[name].attrs.get("units")
        reason = " ".join(str(error).partition("Try ")[0].split())[:120]
        raise InputError(f"{path}: {name} in {found} cannot be read as dates: {reason}") from None


def _band(array: xr.DataArray) -> Band:
    attrs, kind = array.attrs, array.dtype
    never_written = None if "_FillValue" in attrs else _DEFAULT_FILL.get(kind.str[1:])
    if kind.kind == "i" and str(attrs.get("_Unsigned", "false")).lower() == "true":
        kind = np.dtype(kind.str.replace("i", "u"))
    dtype = kind.newbyteorder("=").name
    band = band_of(str(array.name), dtype, attrs)
    return replace(band, missing=(*band.missing, *usable(dtype, [never_written])))
