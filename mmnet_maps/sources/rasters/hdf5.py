"""HDF5 granules with axes ``x`` and ``y`` in metres, as SMAP L4 has them on the EASE-Grid 2.0."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray
from pyproj import CRS

from mmnet_maps.errors import InputError
from mmnet_maps.sources.rasters.formats import Band, Files, Header, Wanted, axis_grid, settle_crs
from mmnet_maps.sources.rasters.stated import band_of
from mmnet_maps.store.hdf5_heaps import refuse_endless_heaps
from mmnet_maps.store.location import Location

__all__ = ["Hdf5"]

#: Where SMAP L4 keeps surface soil moisture, by product: geophysical fields, and analysis updates.
_SURFACE = ("Geophysical_Data/sm_surface", "Analysis_Data/sm_surface_analysis")
#: Granules of a day, one every three hours.
_PER_DAY = 8
_PROJECTIONS = ("EASE2_global_projection", "projection_information")
_EPOCH = dt.datetime(1970, 1, 1)


class Hdf5:
    """Datasets by path."""

    def __init__(self, files: Files | None = None) -> None:
        self.files = files or Files()

    def header(self, path: Location, wanted: Mapping[str, Wanted], crs: str | None) -> Header:
        """See `Format.header`."""
        refuse_endless_heaps(path)
        with _open(path, self.files) as file:
            if "x" not in file or "y" not in file:
                raise InputError(f"{path}: has no axes x and y; expected SMAP L4's layout")
            bands = {name: _band(path, file, name, band) for name, band in wanted.items()}
            x, y = (np.asarray(file[axis], dtype=np.float64) for axis in "xy")
            for band in bands.values():
                shape, expected = file[band.key].shape, (y.size, x.size)
                if shape != expected:
                    raise InputError(
                        f"{path}: {band.key} is {shape}; expected (y, x) = {expected}: axes swapped?"
                    )
            grid = axis_grid(path, settle_crs(path, _crs(file), crs), x, y)
            per_day = _PER_DAY if any(band.key in _SURFACE for band in bands.values()) else None
            return Header(grid, _days(file), bands, per_day=per_day)

    def read(
        self, path: Location, bands: Mapping[str, Band], steps: slice, rows: slice, cols: slice
    ) -> dict[str, NDArray[Any]]:
        """See `Format.read`."""
        with _open(path, self.files) as file:
            return {name: np.asarray(file[band.key][rows, cols])[None] for name, band in bands.items()}


def _open(path: Location, files: Files) -> h5py.File:
    try:
        return h5py.File(path if files.here(path) else files.stream(path), "r")
    except OSError as error:
        raise InputError(f"{path}: cannot be read as HDF5: {' '.join(str(error).split())}") from None


def _band(path: Location, file: h5py.File, variable: str, wanted: Wanted) -> Band:
    # By name first: to look through a file behind HTTP costs requests for each of its datasets.
    known = _SURFACE if wanted is None and variable == "SMAP" else [] if wanted is None else [str(wanted)]
    keys = [key for key in known if getattr(file.get(key), "ndim", 0) == 2]
    fields: list[str] = []
    if not keys:
        file.visititems(lambda key, item: fields.append(key) if getattr(item, "ndim", 0) == 2 else None)
    if wanted is None:
        keys = keys or [key for key in fields if key.rsplit("/", 1)[-1] == variable] or fields
    if len(keys) != 1:
        asked = variable if wanted is None else wanted
        raise InputError(
            f"{path}: no dataset {asked} for {variable}; it holds {', '.join(fields)}: give `band:`"
        )
    data = file[keys[0]]
    dtype = data.dtype.newbyteorder("=").name
    return band_of(keys[0], dtype, data.attrs)


def _crs(file: h5py.File) -> CRS | None:
    """EPSG:6933 where the file describes it: cylindrical equal area, true at 30 degrees, on WGS 84."""
    for name in _PROJECTIONS:
        if name not in file:
            continue
        attrs = {
            key: value.decode() if isinstance(value, bytes) else value
            for key, value in file[name].attrs.items()
        }
        if (
            attrs.get("grid_mapping_name") == "lambert_cylindrical_equal_area"
            and float(attrs.get("standard_parallel", np.nan)) == 30.0
            and float(attrs.get("longitude_of_central_meridian", 0.0)) == 0.0
        ):
            return CRS.from_epsg(6933)
    return None


def _days(file: h5py.File) -> NDArray[np.int64] | None:
    """The UTC day of the granule, from ``seconds since <time>``."""
    if "time" not in file or file["time"].size != 1:
        return None
    unit, value = file["time"].attrs.get("units", b""), float(np.ravel(file["time"][()])[0])
    text = unit.decode() if isinstance(unit, bytes) else str(unit)
    if not text.startswith("seconds since "):
        return None
    try:
        origin = dt.datetime.fromisoformat(text.removeprefix("seconds since ").strip().removesuffix("Z"))
    except ValueError:
        return None
    return np.array([(origin + dt.timedelta(seconds=value) - _EPOCH).days], dtype=np.int64)
