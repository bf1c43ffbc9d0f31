"""A cube from Earth Engine: its configuration, and the build."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from mmnet_maps.errors import InputError
from mmnet_maps.grid import Grid
from mmnet_maps.prepare.cube.config import CubeConfig, NormalsConfig
from mmnet_maps.prepare.cube.normals import normals_readers
from mmnet_maps.prepare.cube.store import build_cube
from mmnet_maps.prepare.normals import NORMALS
from mmnet_maps.progress import say
from mmnet_maps.source_reader import SourceConfig, SourceReader
from mmnet_maps.sources.earth_engine.cube import EarthEngineReader, estimate_seconds, open_readers
from mmnet_maps.sources.earth_engine.session import Session, open_session
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
    normals : NormalsConfig, optional
        Needs ``since`` too: the weather of these years is fetched for the normals, and not kept.
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
        earlier = _of_normals(session, target.grid, config.normals, fetched)
        estimate = estimate_seconds(session, [*fetched, *earlier])
        session.budget.refuse_above(estimate)
        say(f"Earth Engine cube: {len(fetched)} sources, {session.budget.forecast(estimate)}")
        files = [open_source(name, keys, base, target.grid) for name, keys in config.sources.items()]
        readers += [*fetched, *files]
        if config.normals is not None:
            readers += normals_readers(config.normals, [*earlier, *files])
        summary = build_cube(target, readers, out, config.days, workers)
        used = {"estimated": round(estimate / 3600, 4), "counted": round(session.budget.used_hours, 4)}
    return {**summary, "eecu_hours": used}


def _of_normals(
    session: Session, target: Grid, config: NormalsConfig | None, fetched: Sequence[EarthEngineReader]
) -> list[EarthEngineReader]:
    """Readers of the weather that normals are of, over their years."""
    wanted = set(() if config is None else config.variables or NORMALS)
    names = {reader.name for reader in fetched if wanted & set(reader.variables)}
    if config is None or not names:
        return []
    if config.since is None:
        raise InputError("normals.since is missing; expected the first year to fetch from Earth Engine")
    first, last = dt.date(config.since, 1, 1), dt.date(config.until, 12, 31)
    return open_readers(session, target, first, last, names)
