"""Station tables and cubes from Earth Engine, and what is missing before it can be used."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from mmnet_maps.config import read_yaml
from mmnet_maps.dates import to_date
from mmnet_maps.jobs.cubes import build_from_config
from mmnet_maps.jobs.earth_engine_config import EarthEngineCubeConfig
from mmnet_maps.jobs.settings import Settings, as_overrides, settings_of
from mmnet_maps.sources.earth_engine.check import check_access
from mmnet_maps.sources.earth_engine.exports import export_tables
from mmnet_maps.sources.earth_engine.session import open_session
from mmnet_maps.sources.earth_engine.settings import EarthEngineConfig
from mmnet_maps.sources.earth_engine.stations import StationJob, download_tables, network_for
from mmnet_maps.sources.stations.in_situ import read_network
from mmnet_maps.store.location import local_path, location, target_location

__all__ = [
    "build_cube_from_earth_engine",
    "check_earth_engine",
    "earth_engine_settings",
    "fetch_station_exports",
]


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
    path = location(network)
    table = network_for(read_network(path, domain=False), path)
    job = StationJob(table, to_date(start), to_date(end), local_path(out, to_write=True), radius)
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
        data: Any = read_yaml(Path(config))
        if isinstance(data, dict) and isinstance(data.get("earthengine"), dict):
            inner = [f"earthengine.{text}" for text in as_overrides(settings)]
            return EarthEngineCubeConfig.load(Path(config), inner).earthengine
    return settings_of(EarthEngineConfig, config, settings)


def build_cube_from_earth_engine(
    config: str | Path, out: str | Path, *, workers: int | None = None, settings: Settings = ()
) -> dict[str, Any]:
    """Fill a cube with every source on its own native grid. A stopped build continues where it was.

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
    return build_from_config(loaded, Path(config).parent, target_location(out), workers)
