"""Which file formats the GDAL that is installed can read and write."""

from __future__ import annotations

__all__ = ["gdal_drivers"]

_DRIVERS = ("GTiff", "COG", "VRT", "netCDF", "HDF5", "HDF4", "Zarr", "JP2OpenJPEG", "GPKG")


def gdal_drivers() -> tuple[str, dict[str, bool]]:
    """Version of GDAL, and whether each driver that users ask for is there."""
    import rasterio
    from rasterio.env import Env

    with Env() as env:
        held = set(env.drivers())
    return rasterio.__gdal_version__, {name: name in held for name in _DRIVERS}
