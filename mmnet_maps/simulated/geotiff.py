"""GeoTIFFs of stored values, with names, scale and missing value in the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray

from mmnet_maps.grid import Grid
from mmnet_maps.packing import Packing
from mmnet_maps.variables import VARIABLES

__all__ = ["write_geotiff"]

_UNITS = {v.name: v.unit for v in VARIABLES}
_BLOCK = 256


def write_geotiff(
    path: Path, grid: Grid, stored: NDArray[Any], bands: tuple[str, ...], packing: Packing
) -> None:
    """Write stored values.

    Parameters
    ----------
    path : Path
        Inside a folder that is not yet under its final name.
    grid : Grid
    stored : ndarray, shape (bands, rows, columns)
        Of the packing's type.
    bands : tuple of str
        Catalogue names; they become the band descriptions.
    packing : Packing
    """
    profile: dict[str, Any] = {
        "driver": "GTiff",
        "dtype": packing.dtype,
        "count": len(bands),
        "height": grid.height,
        "width": grid.width,
        "crs": grid.crs,
        "transform": Affine(*grid.transform),
        "nodata": packing.missing,
        "interleave": "band",
    }
    if min(grid.shape) >= _BLOCK:
        profile |= {"tiled": True, "blockxsize": _BLOCK, "blockysize": _BLOCK}
    # Noise does not compress: the fastest level is as small as the slow ones.
    predictor = 3 if np.dtype(packing.dtype).kind == "f" else 2
    profile |= {"compress": "ZSTD", "zstd_level": 1, "predictor": predictor}
    with rasterio.open(path, "w", **profile) as file:
        file.write(stored)
        file.descriptions = bands
        file.units = tuple(_UNITS[name] for name in bands)
        file.scales = (packing.scale,) * len(bands)
        file.offsets = (packing.offset,) * len(bands)
