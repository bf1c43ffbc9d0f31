"""``earthengine stations``, ``earthengine cube`` and ``earthengine check``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmnet_maps.cli.output import Json, show

if TYPE_CHECKING:
    from mmnet_maps.sources.earth_engine.settings import EarthEngineConfig

__all__ = ["register"]

earthengine = typer.Typer(help="Station tables and cubes straight from Earth Engine.", no_args_is_help=True)

_Set = Annotated[list[str] | None, typer.Option("--set", help="KEY=VALUE over the configuration.")]


class Via(StrEnum):
    """How a table comes: direct requests, or batch exports."""

    table = "table"
    drive = "drive"
    gcs = "gcs"


@earthengine.command("stations")
def stations(
    network: Annotated[Path, typer.Option("--network", help="GeoPackage, Shapefile, GeoJSON or CSV.")],
    start: Annotated[str, typer.Option("--start", help="First day, YYYY-MM-DD or YYYYMMDD.")],
    end: Annotated[str, typer.Option("--end", help="Last day, included.")],
    out: Annotated[Path, typer.Option("--out", help="Folder of raw exports, as `stations build` takes it.")],
    radius: Annotated[float, typer.Option("--radius", min=1.0, help="Metres around a station.")] = 70.7,
    via: Annotated[
        Via, typer.Option("--via", help="Direct, or batch exports to Drive or a bucket.")
    ] = Via.table,
    config: Annotated[Path | None, typer.Option("--config", help="YAML with Earth Engine settings.")] = None,
    settings: _Set = None,
    as_json: Json = False,
) -> None:
    """Sample every source at the stations, into the raw layout of the published exports."""
    from mmnet_maps.dates import to_date
    from mmnet_maps.sources.earth_engine.exports import export_tables
    from mmnet_maps.sources.earth_engine.session import open_session
    from mmnet_maps.sources.earth_engine.stations import StationJob, download_tables, network_for
    from mmnet_maps.sources.stations.in_situ import read_network

    table = network_for(read_network(network, domain=False), network)
    job = StationJob(table, to_date(start), to_date(end), out, radius)
    with open_session(_settings(config, settings)) as session:
        if via is Via.table:
            show(download_tables(session, job), as_json)
        else:
            show(export_tables(session, job, via.value), as_json)


@earthengine.command("cube")
def cube(
    config: Annotated[
        Path, typer.Option("--config", help="YAML: region, grid, days, Earth Engine settings.")
    ],
    out: Annotated[Path, typer.Option("--out", help="The cube; an existing one is brought up to date.")],
    workers: Annotated[int | None, typer.Option("--workers", min=1, help="Parts at once.")] = None,
    settings: _Set = None,
    as_json: Json = False,
) -> None:
    """Fill a cube with every source on its own native grid; a stopped build goes on where it was."""
    from mmnet_maps.jobs.earth_engine_cube import EarthEngineCubeConfig, build_from_earth_engine

    loaded = EarthEngineCubeConfig.load(config, settings or ())
    show(build_from_earth_engine(loaded, config.parent, out, workers), as_json)


@earthengine.command("check")
def check(
    config: Annotated[Path | None, typer.Option("--config", help="YAML with Earth Engine settings.")] = None,
    start: Annotated[str | None, typer.Option("--start", help="First day that is wanted.")] = None,
    end: Annotated[str | None, typer.Option("--end", help="Last day that is wanted.")] = None,
    settings: _Set = None,
    as_json: Json = False,
) -> None:
    """Try sign-in, project and every asset, compare their days with those wanted, and say what is missing."""
    from mmnet_maps.dates import to_date
    from mmnet_maps.errors import InputError
    from mmnet_maps.sources.earth_engine.check import check_access

    days = (None if day is None else to_date(day) for day in (start, end))
    found = check_access(_settings(config, settings), *days)
    lines = [f"{'ok     ' if s['ok'] else 'MISSING'} {s['step']}: {s['detail']}" for s in found["steps"]]
    show(found, as_json, "\n".join(lines))
    if found["missing"]:
        raise InputError(f"Earth Engine cannot be used yet: {found['missing'][0]}")


def _settings(path: Path | None, overrides: list[str] | None) -> EarthEngineConfig:
    """Settings from a file of their own, or from the ``earthengine`` part of a cube's configuration."""
    import yaml

    from mmnet_maps.sources.earth_engine.settings import EarthEngineConfig

    if path is not None and path.is_file():
        data: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
        if isinstance(data, dict) and isinstance(data.get("earthengine"), dict):
            from mmnet_maps.jobs.earth_engine_cube import EarthEngineCubeConfig

            inner = [f"earthengine.{text}" for text in overrides or ()]
            return EarthEngineCubeConfig.load(path, inner).earthengine
    return EarthEngineConfig.load(path, overrides or ())


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.add_typer(earthengine, name="earthengine")
