"""The door ``simulated``: rasters of a made-up place for a cube's configuration."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pyproj import Transformer

from mmnet_maps.errors import InputError
from mmnet_maps.prepare.cube.config import CubeConfig
from mmnet_maps.simulated.config import SimulationConfig
from mmnet_maps.simulated.rasters import simulate_region

__all__ = ["simulate_for"]

#: Pixels that the simulated square reaches beyond the region.
_MARGIN = 4
#: Pixels along a side above which a simulation takes long.
_MOST = 2048


def simulate_for(config: Path, out: Path) -> SimulationConfig:
    """Simulate the region and days of a cube's configuration; what is there already is kept.

    Parameters
    ----------
    config : Path
        YAML of the cube, with ``maps`` and ``start``.
    out : Path
        Folder of the simulation: ``rasters``, stations for validation in ``region``, ``truth``.

    Raises
    ------
    InputError
        The region is too large to simulate, or the folder holds something else.
    """
    cube = CubeConfig.load(config)
    assert cube.maps is not None and cube.start is not None
    grid = cube.target(config.parent).grid
    side = max(grid.shape) + 2 * _MARGIN
    if side > _MOST:
        raise InputError(
            f"{config}: {grid.height} x {grid.width} pixels; a simulation has at most {_MOST} a side"
        )
    left, bottom, right, top = grid.bounds
    longitude, latitude = Transformer.from_crs(grid.crs, "EPSG:4326", always_xy=True).transform(
        (left + right) / 2, (bottom + top) / 2
    )
    settings = SimulationConfig(
        region_pixels=max(32, int(np.ceil(side / 32) * 32)),
        resolution=abs(grid.transform[0]),
        crs=grid.crs,
        longitude=float(longitude),
        latitude=float(latitude),
        first_day=cube.maps[0],
        last_day=cube.maps[1],
        history_days=(cube.maps[0] - cube.start).days,
        validation_stations=8,
    )
    if not (out / "rasters").is_dir():
        simulate_region(settings, out)
    return settings
