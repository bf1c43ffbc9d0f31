"""The cube configuration that a user would write for the simulated region's rasters."""

from __future__ import annotations

from typing import Any

from mmnet_maps.simulated.config import SimulationConfig

__all__ = ["cube_settings"]

_OPTICAL = ("Blue", "Green", "Red", "NIR", "SWIR1", "SWIR2")
_WEATHER = ("eto", "etr", "pr", "sph", "srad", "vpd", "vs")
_DATE = r"(?P<date>\d{8})"


def cube_settings(config: SimulationConfig, rasters: str = "rasters") -> dict[str, Any]:
    """Settings of `mmnet_maps.prepare.cube.config.CubeConfig`, as plain values ready for YAML.

    Parameters
    ----------
    config : SimulationConfig
    rasters : str
        The folder of the rasters, relative to where the settings will be written.
    """

    def scenes(source: str, prefix: str, variables: tuple[str, ...]) -> dict[str, Any]:
        return {
            "path": f"{rasters}/{source}",
            "pattern": rf"{prefix}_{_DATE}\.tif",
            "variables": list(variables),
        }

    def fields(source: str, variables: tuple[str, ...]) -> dict[str, Any]:
        return {
            "path": f"{rasters}/{source}",
            "pattern": r"{variable}\.tif",
            "variables": list(variables),
        }

    return {
        "grid": {"like": f"{rasters}/terrain/elevation.tif"},
        "start": config.region_history_start.isoformat(),
        "end": config.last_day.isoformat(),
        "sources": {
            "hls": scenes("hls", "HLS", _OPTICAL),
            "sentinel1": scenes("sentinel1", "S1", ("VV", "VH")),
            "smap": scenes("smap", "SMAP", ("SMAP",)),
            "modis": scenes("modis", "LST", ("LST",)),
            "gridmet": {
                "path": f"{rasters}/gridmet",
                "pattern": r"{variable}_(\d{4})\.nc",
                "variables": list(_WEATHER),
            },
            "terrain": fields("terrain", ("elevation", "slope", "aspect")),
            "soil": fields("soil", ("clay", "sand", "bd")),
            "landcover": {
                "path": f"{rasters}/landcover",
                "pattern": r"LC_(?P<date>\d{4})\.tif",
                "variables": ["LC"],
            },
        },
    }
