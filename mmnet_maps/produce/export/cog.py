"""One day of a product as a cloud-optimised GeoTIFF, and small reads from such files.

Two stages, as memory must not grow with the region: plain tiled GeoTIFFs written window by window with their
overviews, then GDAL's COG driver over a virtual raster of both. The values and the quality bits are two files
in stage one because an average of bits means nothing: values get averaged overviews, quality the most
frequent bits of each block.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import rasterio
import rasterio.shutil
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.windows import Window
from rio_cogeo.cogeo import cog_validate

from mmnet_maps.errors import InputError, WorkError
from mmnet_maps.grid import Grid, tiles
from mmnet_maps.produce.product.store import LAYERS, Product

__all__ = ["BANDS", "BLOCK", "Band", "Cog", "bands_of", "north_up", "open_cog", "write_cog"]

#: Names of the bands of an exported file, in order.
BANDS = tuple(LAYERS)
_MISSING = int(LAYERS["soil_moisture"].missing or 0)
#: Side of the internal tiles of an exported file.
BLOCK = 512
#: GDAL's block cache in MiB; the default, a twentieth of the machine's memory, would grow with the machine.
_CACHE_MIB = 64


@dataclass(frozen=True)
class Band:
    """What a band of an exported file is.

    Attributes
    ----------
    name, description, unit : str
    scale : float
        Physical value = stored x scale.
    tags : dict of str to str
        Further GDAL metadata of the band.
    """

    name: str
    description: str
    unit: str
    scale: float
    tags: dict[str, str]


def bands_of(product: Product) -> tuple[Band, ...]:
    """The bands of a product's exports, soil moisture first.

    All bands are int16, for a GeoTIFF has one type and one nodata value. The quality bits are reinterpreted,
    not converted: bit 15 ("not computed"), when it stands alone, is -32768, which is the nodata value too.
    """
    flags = product.flags()
    found = []
    for name in BANDS:
        attributes = dict(product.group[name].attrs)
        long_name, unit = str(attributes.get("long_name", name)), str(attributes.get("units", ""))
        if name == "quality":
            tags = {
                "flag_masks": " ".join(str(mask) for mask in flags.values()),
                "flag_meanings": " ".join(flags),
                "comment": "bits of a 16-bit mask held in int16; read them as uint16; nodata is bit 15 alone",
            }
            found.append(Band(name, long_name, "1", 1.0, tags))
        else:
            found.append(Band(name, long_name, unit, LAYERS[name].scale, {}))
    return tuple(found)


def north_up(grid: Grid) -> tuple[Grid, bool, bool]:
    """The same pixels, north at the top and west at the left, and whether rows and columns were turned."""
    a, b, c, d, e, f = grid.transform
    rows, cols = e > 0, a < 0
    if rows:
        e, f = -e, f + e * grid.height
    if cols:
        a, c = -a, c + a * grid.width
    return Grid(grid.crs, (a, b, c, d, e, f), grid.height, grid.width), rows, cols


def write_cog(
    product: Product, day: int, path: Path, tags: Mapping[str, str], work: Path
) -> dict[str, float]:
    """Write one day as a strictly valid COG.

    Parameters
    ----------
    product : Product
    day : int
        Days since 1970-01-01.
    path : Path
        File to write; the caller renames it once it is whole.
    tags : mapping of str to str
        Metadata of the file.
    work : Path
        Existing folder for the files of stage one.

    Returns
    -------
    dict of str to float
        ``valid_percent``: share of the pixels that have a soil moisture.

    Raises
    ------
    WorkError
        GDAL failed, or the file is not a valid COG.
    """
    values, quality, virtual = work / "values.tif", work / "quality.tif", work / "day.vrt"
    try:
        with rasterio.Env(GDAL_CACHEMAX=_CACHE_MIB):
            valid = _stage_one(product, day, values, quality)
            virtual.write_text(_virtual(product, values, quality, tags), encoding="utf-8")
            rasterio.shutil.copy(
                str(virtual),
                str(path),
                driver="COG",
                COMPRESS="ZSTD",
                LEVEL=6,
                PREDICTOR="YES",
                BLOCKSIZE=BLOCK,
                OVERVIEWS="FORCE_USE_EXISTING",
                STATISTICS="YES",
                BIGTIFF="IF_SAFER",
            )
            fine, errors, warnings = cog_validate(str(path), strict=True, quiet=True)
    except rasterio.errors.RasterioError as error:
        raise WorkError(f"{path}: GDAL could not write the day: {error}") from error
    if not fine:
        raise WorkError(f"{path}: not a valid COG: {'; '.join([*errors, *warnings])}")
    return {"valid_percent": 100.0 * valid / (product.grid.height * product.grid.width)}


def _stage_one(product: Product, day: int, values: Path, quality: Path) -> int:
    """Write both plain files with their overviews; gives the number of pixels with a soil moisture."""
    grid, turn_rows, turn_cols = north_up(product.grid)
    profile: dict[str, Any] = {
        "driver": "GTiff",
        "dtype": "int16",
        "height": grid.height,
        "width": grid.width,
        "crs": grid.crs,
        "transform": grid.affine,
        "nodata": _MISSING,
        "tiled": True,
        "blockxsize": BLOCK,
        "blockysize": BLOCK,
        "interleave": "band",
        "sparse_ok": True,
        "BIGTIFF": "IF_SAFER",
    }
    step, valid = (slice(None, None, -1 if turn_rows else 1), slice(None, None, -1 if turn_cols else 1)), 0
    with (
        rasterio.open(values, "w", count=3, **profile) as first,
        rasterio.open(quality, "w", count=1, **profile) as second,
    ):
        for tile in tiles(product.grid, product.layout.tile):
            stored = product.read_day(day, tile.rows, tile.cols)
            row = grid.height - tile.row - tile.height if turn_rows else tile.row
            col = grid.width - tile.col - tile.width if turn_cols else tile.col
            window = Window(col, row, tile.width, tile.height)
            first.write(np.stack([stored[name][step] for name in BANDS[:3]]), window=window)
            second.write(stored["quality"].view(np.int16)[step], 1, window=window)
            valid += int(np.count_nonzero(stored["soil_moisture"] != _MISSING))
    factors = _factors(grid)
    if factors:
        for place, method in ((values, Resampling.average), (quality, Resampling.mode)):
            with rasterio.open(place, "r+") as written:
                written.build_overviews(factors, method)
    return valid


def _factors(grid: Grid) -> list[int]:
    """Overviews down to a single internal tile."""
    side = max(grid.shape)
    return [2**level for level in range(1, 1 + max(0, math.ceil(math.log2(side / BLOCK))))]


def _virtual(product: Product, values: Path, quality: Path, tags: Mapping[str, str]) -> str:
    """GDAL virtual raster of both files, which carries names, units, scales and tags into the COG.

    A band made of one whole source has that source's overviews, hence each band its own resampling.
    """
    grid, _, _ = north_up(product.grid)
    a, b, c, d, e, f = grid.transform
    root = ElementTree.Element("VRTDataset", rasterXSize=str(grid.width), rasterYSize=str(grid.height))
    _child(root, "SRS", rasterio.crs.CRS.from_user_input(grid.crs).to_wkt())
    _child(root, "GeoTransform", ", ".join(repr(float(v)) for v in (c, a, b, f, d, e)))
    _metadata(root, tags)
    for number, band in enumerate(bands_of(product), start=1):
        entry = ElementTree.SubElement(root, "VRTRasterBand", dataType="Int16", band=str(number))
        _child(entry, "Description", band.name)
        _metadata(entry, {"long_name": band.description, **band.tags})
        _child(entry, "NoDataValue", str(_MISSING))
        _child(entry, "UnitType", band.unit)
        _child(entry, "Offset", "0")
        _child(entry, "Scale", repr(band.scale))
        source = ElementTree.SubElement(entry, "SimpleSource")
        place, index = (quality, 1) if band.name == "quality" else (values, number)
        _child(source, "SourceFilename", place.name, relativeToVRT="1")
        _child(source, "SourceBand", str(index))
        whole = {"xOff": "0", "yOff": "0", "xSize": str(grid.width), "ySize": str(grid.height)}
        ElementTree.SubElement(source, "SrcRect", whole)
        ElementTree.SubElement(source, "DstRect", whole)
    return ElementTree.tostring(root, encoding="unicode")


def _child(parent: ElementTree.Element, name: str, text: str, **attributes: str) -> None:
    ElementTree.SubElement(parent, name, attributes).text = text


def _metadata(parent: ElementTree.Element, tags: Mapping[str, str]) -> None:
    holder = ElementTree.SubElement(parent, "Metadata")
    for key, text in tags.items():
        _child(holder, "MDI", text, key=key)


@dataclass(frozen=True)
class Cog:
    """An exported file, opened for small reads.

    Attributes
    ----------
    path : Path
    grid : Grid
    tags : dict of str to str
    flags : dict of str to int
        Bits of ``quality`` by meaning.
    """

    path: Path
    grid: Grid
    tags: dict[str, str]
    flags: dict[str, int]

    def overview(self, side: int) -> dict[str, NDArray[Any]]:
        """Stored values of every band, from an overview, at most `side` rows and columns."""
        shrink = max(1.0, max(self.grid.shape) / side)
        shape = len(BANDS), max(1, int(self.grid.height / shrink)), max(1, int(self.grid.width / shrink))
        with rasterio.open(self.path) as file:
            found = file.read(out_shape=shape)
        return dict(zip(BANDS, found, strict=True))

    def pixel(self, row: int, col: int) -> dict[str, int] | None:
        """Stored values of a pixel; None outside the file."""
        if not (0 <= row < self.grid.height and 0 <= col < self.grid.width):
            return None
        with rasterio.open(self.path) as file:
            found = file.read(window=Window(col, row, 1, 1))[:, 0, 0]
        return {name: int(value) for name, value in zip(BANDS, found, strict=True)}


def open_cog(path: Path) -> Cog:
    """Open an exported file.

    Raises
    ------
    InputError
        There is none, or it has other bands.
    """
    try:
        with rasterio.open(path) as file:
            names, tags, extra = tuple(file.descriptions), file.tags(), file.tags(len(BANDS))
            grid = Grid(file.crs.to_string(), tuple(file.transform)[:6], file.height, file.width)
    except (rasterio.errors.RasterioError, IndexError, AttributeError) as error:
        raise InputError(f"{path}: not a readable export: {error}") from None
    if names != BANDS:
        raise InputError(f"{path}: bands {', '.join(map(str, names))}, expected {', '.join(BANDS)}")
    masks = (int(mask) for mask in extra.get("flag_masks", "").split())
    return Cog(path, grid, dict(tags), dict(zip(extra.get("flag_meanings", "").split(), masks, strict=True)))
