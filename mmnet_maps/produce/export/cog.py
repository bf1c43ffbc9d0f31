"""One day of a product as two cloud-optimised GeoTIFFs.

Values are the bands of one file, with averaged overviews; the bits of ``quality`` are another, whose
overviews have the most frequent bits of each block. Each is written in two stages, as memory must not grow
with the region: a plain tiled GeoTIFF window by window, then GDAL's COG driver.
"""

from __future__ import annotations

import ctypes
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio._base
import rasterio.shutil
from rasterio.windows import Window
from rio_cogeo.cogeo import cog_validate

from mmnet_maps.errors import WorkError
from mmnet_maps.grid import Grid, tiles
from mmnet_maps.produce.product.layers import QUALITY, Layer, value_layers
from mmnet_maps.produce.product.store import Product

__all__ = ["BLOCK", "VALUES", "DayFile", "day_files", "day_stem", "north_up", "write_cogs"]

#: Names of a day's files, before ``_YYYYMMDD.tif``.
VALUES = "soil_moisture"
#: Side of the internal tiles of an exported file.
BLOCK = 512
#: GDAL's block cache in MiB; the default, a twentieth of the machine's memory, would grow with the machine.
_CACHE_MIB = 64
_DRAFT = {"driver": "GTiff", "tiled": True, "blockxsize": BLOCK, "blockysize": BLOCK, "BIGTIFF": "IF_SAFER"}
_COG = {
    "driver": "COG",
    "COMPRESS": "ZSTD",
    "LEVEL": 6,
    "BLOCKSIZE": BLOCK,
    "OVERVIEWS": "IGNORE_EXISTING",
    "BIGTIFF": "IF_SAFER",
    "NUM_THREADS": 1,
}


@dataclass(frozen=True)
class DayFile:
    """One of a day's files.

    Attributes
    ----------
    name : str
        ``soil_moisture`` or ``quality``.
    layers : tuple of Layer
        Its bands; of one type, with one stored value for what is missing.
    options : dict of str to str
        Creation options of GDAL's COG driver.
    """

    name: str
    layers: tuple[Layer, ...]
    options: dict[str, str]

    @property
    def asset(self) -> str:
        """Name of the STAC asset; another than that of its first band, which loaders would number."""
        return "values" if self.name == VALUES else self.name

    @property
    def dtype(self) -> str:
        """Stored type."""
        return self.layers[0].packing.dtype

    @property
    def nodata(self) -> int:
        """Stored value of what is missing."""
        return int(self.layers[0].packing.missing or 0)


def day_files(product: Product) -> tuple[DayFile, DayFile]:
    """The file of values and that of quality of every day of a product."""
    values = {"PREDICTOR": "YES", "OVERVIEW_RESAMPLING": "AVERAGE", "STATISTICS": "YES"}
    # An average of bits means nothing, nor do their statistics.
    quality = {"PREDICTOR": "NO", "OVERVIEW_RESAMPLING": "MODE", "STATISTICS": "NO"}
    return (
        DayFile(VALUES, value_layers(product.layers), values),
        DayFile(QUALITY, (product.layers[QUALITY],), quality),
    )


def day_stem(name: str, date: str) -> str:
    """``NAME_YYYYMMDD`` of a date ``YYYY-MM-DD``."""
    return f"{name}_{date.replace('-', '')}"


def north_up(grid: Grid) -> tuple[Grid, bool, bool]:
    """The same pixels, north at the top and west at the left, and whether rows and columns were turned."""
    a, b, c, d, e, f = grid.transform
    rows, cols = e > 0, a < 0
    if rows:
        e, f = -e, f + e * grid.height
    if cols:
        a, c = -a, c + a * grid.width
    return Grid(grid.crs, (a, b, c, d, e, f), grid.height, grid.width), rows, cols


def write_cogs(
    product: Product, day: int, folder: Path, date: str, tags: Mapping[str, str]
) -> dict[str, Any]:
    """Write one day as strictly valid COGs.

    Parameters
    ----------
    product : Product
    day : int
        Days since 1970-01-01.
    folder : Path
        Existing folder for the files and their drafts; the caller moves the files once they are whole.
    date : str
        ``YYYY-MM-DD``, for the names.
    tags : mapping of str to str
        Metadata of the files.

    Returns
    -------
    dict
        ``valid_percent``: share of the pixels that have a soil moisture; ``combinations``: the values of
        quality that occur, in order.

    Raises
    ------
    WorkError
        GDAL failed, or a file is not a valid COG.
    """
    files = day_files(product)
    drafts = [folder / f"{file.name}.draft.tif" for file in files]
    _quiet_libtiff()
    try:
        with rasterio.Env(GDAL_CACHEMAX=_CACHE_MIB):
            facts = _write_drafts(product, day, files, drafts, tags)
            for file, draft in zip(files, drafts, strict=True):
                path = folder / f"{day_stem(file.name, date)}.tif"
                rasterio.shutil.copy(str(draft), str(path), **_COG, **file.options)
                draft.unlink()
                fine, errors, warnings = cog_validate(str(path), strict=True, quiet=True)
                if not fine:
                    raise WorkError(f"{path}: not a valid COG: {'; '.join([*errors, *warnings])}")
    except rasterio.errors.RasterioError as error:
        free = shutil.disk_usage(folder).free
        raise WorkError(
            f"{folder}: GDAL could not write the files of {date} ({error.__cause__ or error}); "
            f"{free:,} bytes are free there"
        ) from error
    return facts


@lru_cache(maxsize=1)
def _quiet_libtiff() -> None:
    """Let libtiff say nothing of its own: a full disk is a dozen lines beside the error that GDAL gives.

    GDAL hands libtiff functions that report to libtiff's global handler, which prints. A GDAL with a libtiff
    of its own has renamed the function, and is left as it is.
    """
    handler = getattr(ctypes.CDLL(rasterio._base.__file__), "TIFFSetErrorHandler", None)
    if handler is not None:
        handler.argtypes, handler.restype = [ctypes.c_void_p], ctypes.c_void_p
        handler(None)


def _write_drafts(
    product: Product, day: int, files: tuple[DayFile, ...], drafts: list[Path], tags: Mapping[str, str]
) -> dict[str, Any]:
    """Write both plain files window by window."""
    grid, turn_rows, turn_cols = north_up(product.grid)
    step = slice(None, None, -1 if turn_rows else 1), slice(None, None, -1 if turn_cols else 1)
    valid, combinations = 0, np.array([], dtype=np.uint32)
    with (
        rasterio.open(drafts[0], "w", **_profile(files[0], grid)) as values,
        rasterio.open(drafts[1], "w", **_profile(files[1], grid)) as quality,
    ):
        for tile in tiles(product.grid, product.layout.tile):
            stored = product.read_checked(day, tile)
            row = grid.height - tile.row - tile.height if turn_rows else tile.row
            col = grid.width - tile.col - tile.width if turn_cols else tile.col
            window = Window(col, row, tile.width, tile.height)
            values.write(np.stack([stored[layer.name][step] for layer in files[0].layers]), window=window)
            quality.write(stored[QUALITY][step], 1, window=window)
            valid += int(np.count_nonzero(stored["soil_moisture"] != files[0].nodata))
            combinations = np.union1d(combinations, stored[QUALITY].astype(np.uint32))
        for file, written in zip(files, (values, quality), strict=True):
            _describe(product, file, written, tags)
    return {
        "valid_percent": 100.0 * valid / (product.grid.height * product.grid.width),
        "combinations": [int(value) for value in combinations],
    }


def _profile(file: DayFile, grid: Grid) -> dict[str, Any]:
    return {
        **_DRAFT,
        "dtype": file.dtype,
        "nodata": file.nodata,
        "count": len(file.layers),
        "height": grid.height,
        "width": grid.width,
        "crs": grid.crs,
        "transform": grid.affine,
        "interleave": "band",
        "sparse_ok": True,
    }


def _describe(product: Product, file: DayFile, written: Any, tags: Mapping[str, str]) -> None:
    """Names, units, scales and tags of the bands; the COG driver carries them over."""
    written.update_tags(**tags)
    written.scales = [layer.packing.scale for layer in file.layers]
    written.offsets = [layer.packing.offset for layer in file.layers]
    written.units = [layer.units for layer in file.layers]
    for number, layer in enumerate(file.layers, start=1):
        written.set_band_description(number, layer.name)
        written.update_tags(number, long_name=layer.long_name)
        if layer.name == QUALITY:
            flags = product.flags()
            listed = " ".join(str(mask) for mask in flags.values())
            written.update_tags(number, flag_masks=listed, flag_meanings=" ".join(flags))
