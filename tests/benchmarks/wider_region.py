"""The rasters of a demo, repeated to the east and to the south: a region of 16 times the area in a minute."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import xarray as xr
from rasterio.windows import Window

__all__ = ["write_wider"]


def write_wider(rasters: Path, out: Path, times: int) -> None:
    """Write every raster of a folder and its sub-folders again, `times` beside and below itself.

    Names, pixels, storage and tags stay. Coarse cells are repeated too, so that they reach as far.

    Parameters
    ----------
    rasters : Path
        As `mmnet_maps.simulated` writes them: GeoTIFF, and NetCDF by latitude and longitude.
    out : Path
    times : int
    """
    for path in sorted(rasters.glob("*/*")):
        made = out / path.relative_to(rasters)
        made.parent.mkdir(parents=True, exist_ok=True)
        (_wider_netcdf if path.suffix == ".nc" else _wider_geotiff)(path, made, times)


def _wider_geotiff(path: Path, made: Path, times: int) -> None:
    with rasterio.open(path) as file:
        high, wide = file.height, file.width
        profile = file.profile | {"height": times * high, "width": times * wide}
        with rasterio.open(made, "w", **profile) as copy:
            copy.descriptions, copy.units = file.descriptions, file.units
            copy.scales, copy.offsets = file.scales, file.offsets
            row: Any = np.tile(file.read(), (1, 1, times))
            for k in range(times):
                copy.write(row, window=Window(0, k * high, times * wide, high))


def _wider_netcdf(path: Path, made: Path, times: int) -> None:
    with xr.open_dataset(path, engine="h5netcdf", decode_cf=False) as file:
        found = file.load()
    for axis in ("lat", "lon"):
        old = found[axis].values
        more = old[0] + (old[1] - old[0]) * np.arange(times * old.size)
        found = xr.concat([found] * times, axis, data_vars="minimal").assign_coords(
            {axis: (axis, more, found[axis].attrs)}
        )
    found.to_netcdf(made, engine="h5netcdf")
