"""``earthengine stations``, ``earthengine cube`` and ``earthengine check``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from mmnet_maps.cli.cube_lines import cube_lines
from mmnet_maps.cli.output import Json, show
from mmnet_maps.progress import counted

__all__ = ["register"]

earthengine = typer.Typer(help="Station tables and cubes directly from Earth Engine.", no_args_is_help=True)

_Set = Annotated[
    list[str] | None,
    typer.Option("--set", help="Set a key of the configuration: KEY=VALUE; repeat for more."),
]


@earthengine.command("stations")
def stations(
    network: Annotated[Path, typer.Option("--network", help="GeoPackage, Shapefile, GeoJSON or CSV.")],
    start: Annotated[str, typer.Option("--start", help="First day, YYYY-MM-DD or YYYYMMDD.")],
    end: Annotated[str, typer.Option("--end", help="Last day, included.")],
    out: Annotated[Path, typer.Option("--out", help="Folder of raw exports, as `stations build` reads it.")],
    radius: Annotated[float, typer.Option("--radius", min=1.0, help="Metres around a station.")] = 70.7,
    via: Annotated[
        Literal["table", "drive", "gcs"],
        typer.Option("--via", help="Direct, or batch exports to Drive or a bucket."),
    ] = "table",
    config: Annotated[Path | None, typer.Option("--config", help="YAML with Earth Engine settings.")] = None,
    settings: _Set = None,
    as_json: Json = False,
) -> None:
    """Sample every source at the stations, and write CSV files in the layout of the published exports."""
    from mmnet_maps.jobs.earth_engine import fetch_station_exports

    summary = fetch_station_exports(
        network, start, end, out, radius=radius, via=via, config=config, settings=settings or ()
    )
    files = [f"{name}: {counted(rows, 'row')}" for name, rows in summary["files"].items()]
    hours = summary["eecu_hours"]
    used = f"EECU-hours used: {hours['counted'] if isinstance(hours, dict) else hours}"
    next_line = (
        f"next: mmnet-maps stations build --raw {out} --in-situ CSV --network {network} --out table.parquet"
    )
    show(summary, as_json, "\n".join([*files, f"{out}: {counted(len(files), 'file')}; {used}", next_line]))


@earthengine.command("cube")
def cube(
    config: Annotated[
        Path, typer.Option("--config", help="YAML: region, grid, days, Earth Engine settings.")
    ],
    out: Annotated[Path, typer.Option("--out", help="The cube; an existing one is brought up to date.")],
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, max=1024, help="Parts that are built at the same time.")
    ] = None,
    settings: _Set = None,
    as_json: Json = False,
) -> None:
    """Fill a cube with every source on its own native grid. A stopped build continues where it was."""
    from mmnet_maps.jobs.earth_engine import build_cube_from_earth_engine

    summary = build_cube_from_earth_engine(config, out, workers=workers, settings=settings or ())
    show(summary, as_json, cube_lines(summary))


@earthengine.command("check")
def check(
    config: Annotated[Path | None, typer.Option("--config", help="YAML with Earth Engine settings.")] = None,
    start: Annotated[str | None, typer.Option("--start", help="First day that you want, YYYY-MM-DD.")] = None,
    end: Annotated[str | None, typer.Option("--end", help="Last day that you want.")] = None,
    settings: _Set = None,
    as_json: Json = False,
) -> None:
    """Check sign-in, project, every asset and its days, and list what is missing."""
    from mmnet_maps.errors import InputError
    from mmnet_maps.jobs.earth_engine import check_earth_engine

    found = check_earth_engine(config, settings or (), start=start, end=end)
    lines = [f"{'ok     ' if s['ok'] else 'MISSING'} {s['step']}: {s['detail']}" for s in found["steps"]]
    show(found, as_json, "\n".join(lines))
    if found["missing"]:
        raise InputError(f"Earth Engine cannot be used yet: {found['missing'][0]}")


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.add_typer(earthengine, name="earthengine")
