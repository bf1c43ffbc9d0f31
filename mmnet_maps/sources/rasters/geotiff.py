"""GeoTIFF, and whatever else rasterio opens with one field in time a file."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from pyproj import CRS
from rasterio._err import CPLE_BaseError
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import RasterioIOError
from rasterio.windows import Window

from mmnet_maps.errors import InputError
from mmnet_maps.grid import Grid
from mmnet_maps.sources.rasters.files import raster_in
from mmnet_maps.sources.rasters.formats import Band, Files, Header, Wanted, settle_crs
from mmnet_maps.sources.rasters.stated import band_of, usable
from mmnet_maps.store.location import Location, location, opener_of

__all__ = ["GeoTiff"]

#: How GDAL names a file that it opens through a function of ours.
_OPENER = re.compile(r"^/vsiriopener_\w+/")


class GeoTiff:
    """Bands by description or number."""

    def __init__(self, files: Files | None = None) -> None:
        self.files = files or Files()

    @contextmanager
    def _opened(self, path: Location) -> Iterator[Any]:
        """A file here by GDAL itself, another through its archive."""
        try:
            if self.files.here(path) or path.suffix.lower() == ".zip":
                local = self.files.local(path)
                file = rasterio.open(_in_zip(local) if local.suffix.lower() == ".zip" else local)
            else:
                # GDAL looks for a dozen files beside one.
                with rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR"):
                    file = rasterio.open(str(path), opener=self.files.opener)
            with file:
                yield file
        except RasterioIOError:
            self.files.reraise()
            raise
        except CPLE_BaseError as error:
            # Of some damage rasterio lets GDAL's own exception through.
            raise RasterioIOError(str(error)) from None

    def header(self, path: Location, wanted: Mapping[str, Wanted], crs: str | None) -> Header:
        """See `Format.header`."""
        try:
            with self._opened(path) as file:
                known = None if file.crs is None else CRS.from_user_input(file.crs.to_wkt())
                name = settle_crs(path, known, crs)
                if file.transform.is_identity:
                    raise InputError(f"{path}: has no georeference; expected a raster with a transform")
                if file.transform.b or file.transform.d:
                    raise InputError(
                        f"{path}: its rows are turned; expected rows along an axis: warp it first"
                    )
                grid = Grid(name, tuple(file.transform)[:6], file.height, file.width)
                bands = {variable: _band(path, file, variable, band) for variable, band in wanted.items()}
                return Header(grid, None, bands, tuple(_below(path, file)))
        except RasterioIOError as error:
            raise InputError(f"{path}: cannot be read as a raster: {' '.join(str(error).split())}") from None

    def read(
        self, path: Location, bands: Mapping[str, Band], steps: slice, rows: slice, cols: slice
    ) -> dict[str, NDArray[Any]]:
        """See `Format.read`."""
        window = Window(cols.start, rows.start, cols.stop - cols.start, rows.stop - rows.start)
        indexes = [int(band.key) for band in bands.values()]
        with self._opened(path) as file:
            values = file.read(indexes, window=window)
            found = {name: values[k][None] for k, name in enumerate(bands)}
            for name, band in bands.items():
                if band.masked:
                    found[name] = np.ma.MaskedArray(found[name], _hidden(file, int(band.key), window)[None])
        return found


def _in_zip(path: Path) -> str:
    """The one raster of a zip, as archives hand out land cover, read where it is."""
    return f"/vsizip/{{{path.absolute()}}}/{raster_in(path)}"


def _below(path: Location, file: Any) -> Iterator[Location]:
    """Files that a raster is made of: tiles of a VRT and of VRTs below it, masks beside it."""
    for name in file.files:
        below = location(_OPENER.sub("", name))
        if below == path or below.suffix.lower() == ".ovr" or not below.is_file():
            continue
        yield below
        if below.suffix.lower() == ".vrt":
            with rasterio.open(str(below), **opener_of(below)) as other:
                yield from _below(below, other)


def _alpha(file: Any) -> int | None:
    """The band that hides others; one with another name is data, whatever a driver takes it for."""
    both = zip(file.colorinterp, file.descriptions, strict=True)
    found = [
        k + 1
        for k, (what, name) in enumerate(both)
        if what == ColorInterp.alpha and (name or "alpha").lower() in ("alpha", "mask")
    ]
    return found[0] if found and file.count > 1 else None


def _own_mask(file: Any, index: int) -> bool:
    """Whether a band has a mask that is neither its nodata value nor an alpha band."""
    flags = file.mask_flag_enums[index - 1]
    return MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags


def _hidden(file: Any, index: int, window: Window) -> NDArray[np.bool_]:
    """Pixels that the mask or the alpha band of a file hides."""
    hidden = np.zeros((int(window.height), int(window.width)), dtype=bool)
    alpha = _alpha(file)
    if alpha is not None:
        hidden |= file.read(alpha, window=window) == 0
    if _own_mask(file, index):
        hidden |= file.read_masks(index, window=window) == 0
    return hidden


def _band(path: Location, file: Any, variable: str, wanted: Wanted) -> Band:
    index = _index(path, file, variable, wanted)
    # Tags of the file speak for its bands where it has one; those of the band go first.
    attrs = {**(file.tags() if file.count == 1 else {}), **file.tags(index)}
    scale, offset = float(file.scales[index - 1]), float(file.offsets[index - 1])
    if (scale, offset) != (1.0, 0.0):
        attrs |= {"scale_factor": scale, "add_offset": offset}
    if file.units[index - 1]:
        attrs["units"] = file.units[index - 1]
    masked = _own_mask(file, index) or _alpha(file) is not None
    band = band_of(index, file.dtypes[index - 1], attrs, masked)
    tag = usable(band.dtype, [file.nodatavals[index - 1]])
    return replace(band, missing=tuple(dict.fromkeys((*tag, *band.missing))))


def _index(path: Location, file: Any, variable: str, wanted: Wanted) -> int:
    named = [text or "" for text in file.descriptions]
    data = [k + 1 for k in range(file.count) if k + 1 != _alpha(file)]
    if isinstance(wanted, int):
        if 1 <= wanted <= file.count:
            return wanted
    elif wanted is not None:
        if named.count(wanted) == 1:
            return named.index(wanted) + 1
    elif named.count(variable) == 1:
        return named.index(variable) + 1
    elif len(data) == 1:
        return data[0]
    have = ", ".join(f"{k + 1} {text}".strip() for k, text in enumerate(named))
    asked = variable if wanted is None else wanted
    raise InputError(f"{path}: no band {asked} for variable {variable}; it holds {have}: give `band:`")
