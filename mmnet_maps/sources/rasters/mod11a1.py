"""MOD11A1 (HDF4-EOS) through pyhdf: rasterio's wheels have no HDF4."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import RLock
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS

from mmnet_maps.errors import InputError
from mmnet_maps.grid import Grid
from mmnet_maps.sources.rasters.formats import Band, Files, Header, Wanted, settle_crs
from mmnet_maps.sources.rasters.stated import band_of
from mmnet_maps.store.location import Location

__all__ = ["Mod11a1"]

_LAYERS = {"LST": "LST_Day_1km", "mask": "QC_Day"}
_NUMBERS = r"\(([-\d.eE+]+),([-\d.eE+]+)\)"
_LOCK = RLock()  # the HDF4 library keeps global state and may be used by one thread at a time


class Mod11a1:
    """Scientific data sets by name, on the sinusoidal grid of ``StructMetadata.0``."""

    def __init__(self, files: Files | None = None) -> None:
        self.files = files or Files()

    def header(self, path: Location, wanted: Mapping[str, Wanted], crs: str | None) -> Header:
        """See `Format.header`."""
        with _open(self.files.local(path)) as file:
            grid = _grid(path, str(file.attributes().get("StructMetadata.0", "")), crs)
            bands = {name: _band(path, file, name, band) for name, band in wanted.items()}
        return Header(grid, None, bands)

    def read(
        self, path: Location, bands: Mapping[str, Band], steps: slice, rows: slice, cols: slice
    ) -> dict[str, NDArray[Any]]:
        """See `Format.read`."""
        with _open(self.files.local(path)) as file:
            return {
                name: np.asarray(file.select(band.key)[rows, cols]).astype(band.dtype)[None]
                for name, band in bands.items()
            }


@contextmanager
def _open(path: Path) -> Iterator[Any]:
    from pyhdf.error import HDF4Error
    from pyhdf.SD import SD, SDC

    with _LOCK:
        try:
            file = SD(str(path), SDC.READ)
        except HDF4Error as error:
            raise InputError(f"{path}: cannot be read as HDF4: {error}") from None
        try:
            yield file
        finally:
            file.end()


def _band(path: Location, file: Any, variable: str, wanted: Wanted) -> Band:
    from pyhdf.SD import SDC

    kinds = {SDC.UINT8: "uint8", SDC.INT8: "int8", SDC.UINT16: "uint16", SDC.INT16: "int16"}
    name = str(_LAYERS.get(variable, variable) if wanted is None else wanted)
    held = file.datasets()
    if name not in held:
        raise InputError(f"{path}: no layer {name} for {variable}; it holds {', '.join(held)}: give `band:`")
    attrs, code = file.select(name).attributes(), held[name][2]
    if code not in kinds:
        raise InputError(f"{path}: layer {name} has HDF4 type {code}; expected integers of 8 or 16 bits")
    return band_of(name, kinds[code], attrs)


def _grid(path: Location, text: str, crs: str | None) -> Grid:
    corner = re.search(r"UpperLeftPointMtrs=" + _NUMBERS, text)
    end = re.search(r"LowerRightMtrs=" + _NUMBERS, text)
    size = re.search(r"XDim=(\d+)\s+YDim=(\d+)", text)
    sphere = re.search(r"Projection=GCTP_SNSOID\s+ProjParams=\(([\d.]+),", text)
    if not (corner and end and size and sphere):
        raise InputError(f"{path}: no sinusoidal grid in StructMetadata.0; expected a MODIS land tile")
    left, top, right, bottom = (float(m.group(k)) for m in (corner, end) for k in (1, 2))
    width, height = int(size.group(1)), int(size.group(2))
    # As GDAL writes the MODIS sinusoidal CRS: a sphere, to which latitudes are taken over unchanged.
    found = CRS.from_user_input(f"+proj=sinu +R={sphere.group(1)} +nadgrids=@null +wktext +units=m +no_defs")
    name = settle_crs(path, found, crs)
    return Grid(name, ((right - left) / width, 0.0, left, 0.0, (bottom - top) / height, top), height, width)
