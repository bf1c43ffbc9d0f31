"""A cube from Earth Engine: its configuration, and the build."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

from pydantic import Field

from mmnet_maps.prepare.cube import build_cube
from mmnet_maps.prepare.cube_config import CubeConfig
from mmnet_maps.progress import say
from mmnet_maps.source_reader import SourceConfig, SourceReader
from mmnet_maps.sources.earth_engine.cube import estimate_seconds, open_readers
from mmnet_maps.sources.earth_engine.session import open_session
from mmnet_maps.sources.earth_engine.settings import EarthEngineConfig
from mmnet_maps.sources.rasters import open_source

__all__ = ["EarthEngineCubeConfig", "build_from_earth_engine"]


class EarthEngineCubeConfig(CubeConfig):
    """Region, grid and days as for `cube build`; sources come from Earth Engine, and from files beside it.

    Attributes
    ----------
    start, end : date
        First and last day to hold.
    earthengine : EarthEngineConfig
    sources : dict of str to SourceConfig
        Rasters on disk that go into the same cube; leave their source out with ``earthengine.without``.
    """

    start: dt.date
    end: dt.date
    earthengine: EarthEngineConfig = EarthEngineConfig()
    sources: dict[str, SourceConfig] = Field(default_factory=dict)


def build_from_earth_engine(
    config: EarthEngineCubeConfig, base: Path, out: Path, workers: int | None = None
) -> dict[str, Any]:
    """Build a cube, or bring one up to date.

    Parameters
    ----------
    config : EarthEngineCubeConfig
    base : Path
        Folder that relative paths start from.
    out : Path
    workers : int, optional
        Parts that are built at once.

    Returns
    -------
    dict
        Summary of `build_cube`, with ``eecu_hours`` estimated and counted.

    Raises
    ------
    InputError, WorkError
        See `open_session`, `open_readers` and `build_cube`.
    """
    target = config.target(base)
    with open_session(config.earthengine) as session:
        readers: list[SourceReader] = []
        fetched = open_readers(session, target.grid, config.start, config.end)
        estimate = estimate_seconds(session, fetched)
        session.budget.refuse_above(estimate)
        say(f"Earth Engine cube: {len(fetched)} sources, thought to use {estimate / 3600:.2f} EECU-hours")
        readers += fetched
        readers += [open_source(name, keys, base, target.grid) for name, keys in config.sources.items()]
        summary = build_cube(target, readers, out, config.days, workers)
        used = {"estimated": round(estimate / 3600, 4), "counted": round(session.budget.used_hours, 4)}
    return {**summary, "eecu_hours": used}
