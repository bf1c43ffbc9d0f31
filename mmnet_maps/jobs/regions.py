"""Regions as users name them: a polygon file or a box, and the UTM zone that serves them."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmnet_maps.errors import InputError
from mmnet_maps.prepare.cube.config import RegionConfig, lonlat_bounds
from mmnet_maps.store.location import local_path

__all__ = ["region_of", "utm_of"]


def region_of(
    region: str | Path | Sequence[float], folder: Path
) -> tuple[dict[str, Any], tuple[float, float, float, float]]:
    """A region as a configuration in `folder` names it, and its west, south, east, north in degrees.

    Parameters
    ----------
    region : str, Path or four numbers
        GeoPackage, GeoJSON or Shapefile; or west, south, east, north, as numbers or as text.
    folder : Path

    Raises
    ------
    InputError
        It is neither a file nor a box, or the file holds no polygon.
    """
    if isinstance(region, str | Path) and local_path(region).exists():
        found = lonlat_bounds(RegionConfig(polygon=str(Path(region).absolute())), folder)
        return {"polygon": os.path.relpath(region, folder)}, found
    text = str(region) if isinstance(region, str | Path) else " ".join(map(str, region))
    try:
        west, south, east, north = (float(word) for word in re.split(r"[\s,]+", text.strip()))
    except ValueError:
        raise InputError(
            f"--region {region}: no such file, and no box west,south,east,north in degrees"
        ) from None
    box = (west, south, east, north)
    return {"box": list(box)}, lonlat_bounds(RegionConfig(box=box), folder)


def utm_of(bounds: tuple[float, float, float, float]) -> str:
    """UTM zone of the centre of west, south, east, north in degrees."""
    west, south, east, north = bounds
    zone = int((((west + east) / 2 + 180) % 360) // 6) + 1
    return f"EPSG:{(32600 if north + south >= 0 else 32700) + zone}"
