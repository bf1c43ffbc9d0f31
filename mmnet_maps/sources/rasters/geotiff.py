"""GeoTIFF, and whatever else rasterio opens with one field in time a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from pyproj import CRS
from rasterio.enums import Resampling
from rasterio.errors import RasterioIOError
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from mmnet_maps.errors import InputError
from mmnet_maps.grid import Grid
from mmnet_maps.sources.rasters.formats import Band, Header, Wanted, settle_crs, usable_missing

__all__ = ["GeoTiff"]


class GeoTiff:
    """Bands by description or number.

    Parameters
    ----------
    target : Grid, optional
        Grid to bring files onto; without one the native grid is kept.
    regrid : {"nearest", "bilinear", "average"}, optional
        How.
    """

    def __init__(self, target: Grid | None = None, regrid: str | None = None) -> None:
        if regrid is not None and target is None:
            raise InputError("regrid needs the target grid; leave it out, or build from a cube configuration")
        self.target = target if regrid is not None else None
        self.resampling = Resampling[regrid or "nearest"]

    def header(self, path: Path, wanted: Mapping[str, Wanted], crs: str | None) -> Header:
        """See `Format.header`."""
        try:
            with rasterio.open(path) as file:
                known = None if file.crs is None else CRS.from_user_input(file.crs.to_wkt())
                name = settle_crs(path, known, crs)
                if file.transform.is_identity:
                    raise InputError(f"{path}: has no georeference; expected a raster with a transform")
                grid = self.target or Grid(name, tuple(file.transform)[:6], file.height, file.width)
                bands = {variable: _band(path, file, variable, band) for variable, band in wanted.items()}
        except RasterioIOError as error:
            raise InputError(f"{path}: cannot be read as a raster: {' '.join(str(error).split())}") from None
        return Header(grid, None, bands)

    def read(
        self, path: Path, bands: Mapping[str, Band], steps: slice, rows: slice, cols: slice
    ) -> dict[str, NDArray[Any]]:
        """See `Format.read`."""
        window = Window(cols.start, rows.start, cols.stop - cols.start, rows.stop - rows.start)
        indexes = [int(band.key) for band in bands.values()]
        with rasterio.open(path) as file:
            if self.target is None:
                values = file.read(indexes, window=window)
            else:
                values = self._warped(file, indexes, window)
        return {name: values[k][None] for k, name in enumerate(bands)}

    def _warped(self, file: Any, indexes: list[int], window: Window) -> NDArray[Any]:
        assert self.target is not None
        with WarpedVRT(
            file,
            crs=self.target.crs,
            transform=self.target.affine,
            height=self.target.height,
            width=self.target.width,
            resampling=self.resampling,
            nodata=file.nodata,
        ) as warped:
            return np.asarray(warped.read(indexes, window=window))


def _band(path: Path, file: Any, variable: str, wanted: Wanted) -> Band:
    index = _index(path, file, variable, wanted)
    dtype = file.dtypes[index - 1]
    missing = usable_missing(dtype, file.nodatavals[index - 1])
    return Band(index, dtype, float(file.scales[index - 1]), float(file.offsets[index - 1]), missing)


def _index(path: Path, file: Any, variable: str, wanted: Wanted) -> int:
    named = [text or "" for text in file.descriptions]
    if isinstance(wanted, int):
        if 1 <= wanted <= file.count:
            return wanted
    elif wanted is not None:
        if named.count(wanted) == 1:
            return named.index(wanted) + 1
    elif named.count(variable) == 1:
        return named.index(variable) + 1
    elif file.count == 1:
        return 1
    have = ", ".join(f"{k + 1} {text}".strip() for k, text in enumerate(named))
    asked = variable if wanted is None else wanted
    raise InputError(f"{path}: no band {asked} for variable {variable}; it holds {have}: give `band:`")
