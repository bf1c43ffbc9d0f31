"""The configuration of a cube that takes sources from Earth Engine; it needs the extra ``ee``."""

from __future__ import annotations

import datetime as dt

from pydantic import Field

from mmnet_maps.prepare.cube.config import CubeConfig
from mmnet_maps.source_reader import SourceConfig
from mmnet_maps.sources.earth_engine.settings import EarthEngineConfig

__all__ = ["EarthEngineCubeConfig"]


class EarthEngineCubeConfig(CubeConfig):
    """Region, grid and days as for `cube build`; sources come from Earth Engine, and others beside it.

    Attributes
    ----------
    start, end : date
        First and last day to hold.
    earthengine : EarthEngineConfig
    sources : dict of str to SourceConfig
        Sources that go into the same cube; leave their counterparts out with ``earthengine.without``.
    normals : NormalsConfig, optional
        Needs ``since`` too: the weather of these years is fetched for the normals, and not kept.
    """

    start: dt.date
    end: dt.date
    earthengine: EarthEngineConfig = EarthEngineConfig()
    sources: dict[str, SourceConfig] = Field(default_factory=dict)
