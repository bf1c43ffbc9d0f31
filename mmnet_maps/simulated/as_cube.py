"""The cube configuration that a user would write for the simulated region's rasters."""

from __future__ import annotations

from string import Template
from typing import Any

import yaml

from mmnet_maps.presets import SOURCES, preset
from mmnet_maps.simulated.config import SimulationConfig

__all__ = ["cube_settings"]


def cube_settings(config: SimulationConfig, rasters: str = "rasters") -> dict[str, Any]:
    """Settings of `mmnet_maps.prepare.cube.config.CubeConfig`, as plain values ready for YAML.

    Parameters
    ----------
    config : SimulationConfig
    rasters : str
        The folder of the rasters, relative to where the settings will be written.
    """
    return {
        "grid": {"like": f"{rasters}/terrain/elevation.tif"},
        "start": config.region_history_start.isoformat(),
        "end": config.last_day.isoformat(),
        "sources": {
            name: yaml.safe_load(Template(preset("simulated", name)).substitute(folder=rasters))
            for name in SOURCES
        },
    }
