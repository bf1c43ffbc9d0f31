"""``init`` and ``fetch``: from a region to a cube's configuration, and its files for later."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mmnet_maps.cli.output import Json, show
from mmnet_maps.progress import counted

__all__ = ["register"]


def init(
    region: Annotated[
        str,
        typer.Option("--region", help="GeoPackage, GeoJSON, Shapefile, or west,south,east,north."),
    ],
    start: Annotated[str, typer.Option("--start", help="First day to map, YYYY-MM-DD.")],
    end: Annotated[str, typer.Option("--end", help="Last day to map.")],
    door: Annotated[
        str, typer.Option("--door", help="planetary, earthdata, earthengine, simulated, or files:DIR.")
    ],
    out: Annotated[Path, typer.Option("--out", help="YAML to write.")],
    source: Annotated[
        list[str] | None,
        typer.Option("--source", help="NAME=DOOR: another door for one source; repeat for more."),
    ] = None,
    bundle: Annotated[
        Path | None, typer.Option("--bundle", help="The model that will make the maps.")
    ] = None,
    presets: Annotated[
        Path | None, typer.Option("--presets", help="Folder of your own presets, DOOR/SOURCE.yaml.")
    ] = None,
    resolution: Annotated[float, typer.Option("--resolution", min=1.0, help="Metres a pixel.")] = 30.0,
    mirror: Annotated[
        list[str] | None,
        typer.Option(
            "--mirror", help="ADDRESS=MIRROR: addresses that begin with the first are asked at the second."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write the configuration of a cube for daily maps of a region, with comments and ready to build."""
    from mmnet_maps.errors import InputError
    from mmnet_maps.jobs.init import init as write

    others = dict(text.partition("=")[::2] for text in source or ())
    made = out.parent / f"{out.stem}_simulated"

    def resolved(name: str) -> str:
        return f"simulated:{made / 'rasters'}" if name == "simulated" else name

    simulated = "simulated" in (door, *others.values())
    if simulated and (made / "rasters").exists() and not (made / "rasters" / "simulation.yaml").is_file():
        raise InputError(f"{made}: is there and is no simulation; remove it, or choose another --out")
    summary = write(
        region,
        start,
        end,
        resolved(door),
        out,
        sources={name: resolved(where) for name, where in others.items()},
        bundle=bundle,
        presets=presets,
        resolution=resolution,
        mirrors=dict(text.partition("=")[::2] for text in mirror or ()),
    )
    if simulated:
        from mmnet_maps.simulated.door import simulate_for

        simulate_for(out, made)
    by_door: dict[str, list[str]] = {}
    for name, where in summary["doors"].items():
        by_door.setdefault(where, []).append(name)
    doors = "\n".join(f"{where}: {', '.join(names)}" for where, names in by_door.items())
    text = (
        f"{summary['out']}: maps of {start} to {end}, inputs from {summary['start']} on, "
        f"{summary['grid']['crs']} at {summary['grid']['resolution']:g} m\n{doors}\n"
        f"next: mmnet-maps cube check {out}"
    )
    show(summary, as_json, text)


def fetch(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="YAML of a cube.")],
    out: Annotated[Path, typer.Option("--out", help="Folder of the files; those that it has are kept.")],
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="Set a key of the YAML: KEY=VALUE; repeat for more."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Download the files that a cube's sources list over HTTP, with checksums."""
    from mmnet_maps.jobs.fetch import fetch as download

    found = download(config, out, settings=settings or ())
    text = (
        f"{counted(found['files'], 'file')}, {found['downloaded']:,} downloaded, "
        f"{found['bytes'] / 2**20:,.1f} MiB\n"
        f"next: mmnet-maps cube build --config {found['config']} --out cube.zarr"
    )
    show(found, as_json, text)


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command("init")(init)
    app.command("fetch")(fetch)
