"""Station tables and cubes from Earth Engine, and what is missing before it can be used."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field

from mmnet_maps.dates import to_date
from mmnet_maps.errors import InputError
from mmnet_maps.grid import Grid
from mmnet_maps.jobs.settings import Settings, as_overrides, settings_of
from mmnet_maps.prepare.cube.config import CubeConfig, NormalsConfig
from mmnet_maps.prepare.cube.normals import normals_readers
from mmnet_maps.prepare.cube.store import build_cube
from mmnet_maps.prepare.normals import NORMALS
from mmnet_maps.progress import say
from mmnet_maps.source_reader import SourceConfig, SourceReader
from mmnet_maps.sources.earth_engine.check import check_access
from mmnet_maps.sources.earth_engine.cube import EarthEngineReader, estimate_seconds, open_readers
from mmnet_maps.sources.earth_engine.exports import export_tables
from mmnet_maps.sources.earth_engine.session import Session, open_session
from mmnet_maps.sources.earth_engine.settings import EarthEngineConfig
from mmnet_maps.sources.earth_engine.stations import StationJob, download_tables, network_for
from mmnet_maps.sources.rasters import open_source
from mmnet_maps.sources.stations.in_situ import read_network

__all__ = [
    "EarthEngineCubeConfig",
    "build_cube_from_earth_engine",
    "build_from_earth_engine",
    "check_earth_engine",
    "earth_engine_settings",
    "fetch_station_exports",
]


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


def fetch_station_exports(
    network: str | Path,
    start: str,
    end: str,
    out: str | Path,
    *,
    radius: float = 70.7,
    via: Literal["table", "drive", "gcs"] = "table",
    config: str | Path | None = None,
    settings: Settings = (),
) -> dict[str, Any]:
    """Sample every source at the stations, into the raw layout of the published exports.

    Parameters
    ----------
    network : str or Path
        GeoPackage, Shapefile, GeoJSON or CSV.
    start, end : str
        First and last day, both included.
    out : str or Path
        Folder of raw exports, as `build_table` takes it.
    radius : float
        Metres around a station.
    via : {"table", "drive", "gcs"}
        Direct requests, or batch exports to Drive or a bucket.
    config : str or Path, optional
        YAML with Earth Engine settings.
    settings : mapping or sequence of str

    Returns
    -------
    dict
        What was fetched, or asked for, by source.
    """
    path = Path(network)
    table = network_for(read_network(path, domain=False), path)
    job = StationJob(table, to_date(start), to_date(end), Path(out), radius)
    with open_session(earth_engine_settings(config, settings)) as session:
        return download_tables(session, job) if via == "table" else export_tables(session, job, via)


def check_earth_engine(
    config: str | Path | None = None,
    settings: Settings = (),
    *,
    start: str | None = None,
    end: str | None = None,
) -> dict[str, Any]:
    """Try sign-in, project and every asset, compare their days with those wanted, and say what is missing.

    Parameters
    ----------
    config : str or Path, optional
        YAML with Earth Engine settings.
    settings : mapping or sequence of str
    start, end : str, optional
        First and last day that are wanted.

    Returns
    -------
    dict
        ``steps``: ``step``, ``ok`` and ``detail`` of each; ``missing``: the details of those that failed.
    """
    days = (None if day is None else to_date(day) for day in (start, end))
    return check_access(earth_engine_settings(config, settings), *days)


def earth_engine_settings(config: str | Path | None, settings: Settings = ()) -> EarthEngineConfig:
    """Settings from a file of their own, or from the ``earthengine`` part of a cube's configuration."""
    if config is not None and Path(config).is_file():
        data: Any = yaml.safe_load(Path(config).read_text(encoding="utf-8"))
        if isinstance(data, dict) and isinstance(data.get("earthengine"), dict):
            inner = [f"earthengine.{text}" for text in as_overrides(settings)]
            return EarthEngineCubeConfig.load(Path(config), inner).earthengine
    return settings_of(EarthEngineConfig, config, settings)


def build_cube_from_earth_engine(
    config: str | Path, out: str | Path, *, workers: int | None = None, settings: Settings = ()
) -> dict[str, Any]:
    """Fill a cube with every source on its own native grid; a stopped build goes on where it was.

    Parameters
    ----------
    config : str or Path
        YAML with region, grid, days and Earth Engine settings.
    out : str or Path
        The cube; an existing one is brought up to date.
    workers : int, optional
        Parts that are built at once.
    settings : mapping or sequence of str

    Returns
    -------
    dict
        As of `mmnet_maps.jobs.cubes.build_cube`, with ``eecu_hours`` estimated and counted.
    """
    loaded = settings_of(EarthEngineCubeConfig, config, settings)
    return build_from_earth_engine(loaded, Path(config).parent, Path(out), workers)


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
