"""NetCDF with one or many days in a file, read through xarray without decoding a value."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pyproj import CRS
from pyproj.exceptions import CRSError

from mmnet_maps.errors import InputError
from mmnet_maps.sources.rasters.formats import Band, Header, Wanted, axis_grid, settle_crs, usable_missing

__all__ = ["NetCdf"]

_X = ("lon", "longitude", "x", "easting")
_Y = ("lat", "latitude", "y", "northing")
_TIME = ("day", "time", "date")


class NetCdf:
    """Variables by name; a time axis, or a scalar time, gives the days."""

    def header(self, path: Path, wanted: Mapping[str, Wanted], crs: str | None) -> Header:
        """See `Format.header`."""
        with _open(path) as data:
            arrays = {name: _find(path, data, name, band) for name, band in wanted.items()}
            one = next(iter(arrays.values()))
            y, x = _axes(path, one)
            grid = axis_grid(path, settle_crs(path, _crs(data, one), crs), _numbers(one, x), _numbers(one, y))
            days = _days(path, data, one)
            bands = {name: _band(array) for name, array in arrays.items()}
        return Header(grid, days, bands)

    def read(
        self, path: Path, bands: Mapping[str, Band], steps: slice, rows: slice, cols: slice
    ) -> dict[str, NDArray[Any]]:
        """See `Format.read`."""
        found = {}
        with _open(path) as data:
            for name, band in bands.items():
                array = data[band.key]
                y, x = array.dims[-2:]
                picked = {y: rows, x: cols}
                if array.ndim == 3:
                    picked[array.dims[0]] = steps
                values = array.isel(picked).values
                found[name] = (values if array.ndim == 3 else values[None]).view(band.dtype)
        return found


def _open(path: Path) -> xr.Dataset:
    with path.open("rb") as file:
        engine = "scipy" if file.read(3) == b"CDF" else "h5netcdf"
    try:
        return xr.open_dataset(
            path,
            engine=engine,
            mask_and_scale=False,
            decode_times=xr.coders.CFDatetimeCoder(use_cftime=False, time_unit="s"),
            decode_timedelta=False,
            decode_coords=False,
            cache=False,
        )
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path}: cannot be read as NetCDF: {' '.join(str(error).split())}") from None


def _find(path: Path, data: xr.Dataset, variable: str, wanted: Wanted) -> xr.DataArray:
    fields = [str(name) for name, array in data.data_vars.items() if array.ndim >= 2]
    if wanted is not None:
        name = str(wanted)
    else:
        name = variable if variable in fields or len(fields) != 1 else fields[0]
    if name not in fields:
        have = ", ".join(fields)
        raise InputError(f"{path}: no variable {name} for {variable}; it holds {have}: give `band:`")
    return data[name]


def _axes(path: Path, array: xr.DataArray) -> tuple[str, str]:
    """Names of the (y, x) dimensions, which must be the last two in this order."""
    dims = [str(d) for d in array.dims]
    x = [d for d in dims if d.lower() in _X or array.coords.get(d, _NONE).attrs.get("axis") == "X"]
    y = [d for d in dims if d.lower() in _Y or array.coords.get(d, _NONE).attrs.get("axis") == "Y"]
    if len(x) != 1 or len(y) != 1 or x[0] not in array.coords or y[0] not in array.coords:
        raise InputError(
            f"{path}: dimensions {dims} of {array.name}; expected (day,) lat, lon with coordinates"
        )
    if dims[-2:] != [y[0], x[0]] or len(dims) > 3:
        raise InputError(
            f"{path}: dimensions {dims} of {array.name}; expected (day,) {y[0]}, {x[0]} in this order: "
            "axes swapped? transpose the file"
        )
    return y[0], x[0]


_NONE = xr.DataArray()


def _numbers(array: xr.DataArray, dim: str) -> NDArray[np.float64]:
    return np.asarray(array.coords[dim].values, dtype=np.float64)


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
    units = {str(array.coords[d].attrs.get("units", "")).lower() for d in array.dims[-2:]}
    return CRS.from_epsg(4326) if units == {"degrees_north", "degrees_east"} else None


def _days(path: Path, data: xr.Dataset, array: xr.DataArray) -> NDArray[np.int64] | None:
    name = str(array.dims[0]) if array.ndim == 3 else next((t for t in _TIME if t in data.variables), None)
    if name is None or name not in data.variables:
        return None
    times = np.atleast_1d(data[name].values)
    if times.dtype.kind != "M" or np.isnat(times).any():
        if array.ndim == 2:
            return None
        raise InputError(f"{path}: {name} holds no dates; expected units such as days since 1900-01-01")
    if array.ndim == 2 and times.size != 1:
        return None
    return times.astype("datetime64[D]").astype(np.int64)


def _band(array: xr.DataArray) -> Band:
    attrs, kind = array.attrs, array.dtype
    if kind.kind == "i" and str(attrs.get("_Unsigned", "false")).lower() == "true":
        kind = np.dtype(kind.str.replace("i", "u"))
    dtype = kind.newbyteorder("=").name
    raw = attrs.get("_FillValue", attrs.get("missing_value"))
    if raw is not None and kind.kind == "u" and np.asarray(raw).dtype.kind == "i":
        raw = np.asarray(raw).astype(dtype)  # a signed fill value stands for the same bits
    scale, offset = (float(attrs.get(k, default)) for k, default in (("scale_factor", 1), ("add_offset", 0)))
    return Band(str(array.name), dtype, scale, offset, usable_missing(dtype, raw))
