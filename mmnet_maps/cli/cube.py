"""``cube build``, ``cube check``, ``cube show`` and ``cube verify``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mmnet_maps.cli.cube_lines import cube_lines
from mmnet_maps.cli.output import Json, show
from mmnet_maps.errors import WorkError
from mmnet_maps.progress import counted

__all__ = ["register"]

cube = typer.Typer(help="The native-resolution cube that maps are made from.", no_args_is_help=True)

_Set = Annotated[
    list[str] | None,
    typer.Option("--set", help="Set a key of the configuration: KEY=VALUE; repeat for more."),
]


@cube.command("build")
def build(
    config: Annotated[Path, typer.Option("--config", help="YAML: region, grid, days and sources.")],
    out: Annotated[Path, typer.Option("--out", help="The cube; an existing one is brought up to date.")],
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers", min=1, max=1024, help="Number of threads. Default: one for each processor."
        ),
    ] = None,
    settings: _Set = None,
    as_json: Json = False,
) -> None:
    """Build a cube from rasters, or bring one up to date."""
    from mmnet_maps.jobs.cubes import build_cube

    summary = build_cube(config, out, workers=workers, settings=settings or ())
    show(summary, as_json, cube_lines(summary))


@cube.command("check")
def check(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="YAML of a cube.")],
    bundle: Annotated[
        Path | None, typer.Option("--bundle", help="The model that will make the maps.")
    ] = None,
    settings: _Set = None,
    as_json: Json = False,
) -> None:
    """List what the sources have for the days to map, and how recent it is. Reads only headers."""
    from mmnet_maps.errors import WorkError
    from mmnet_maps.jobs.check import check_cube, check_text

    found = check_cube(config, bundle=bundle, settings=settings or ())
    show(found, as_json, check_text(found))
    if found["problems"]:
        raise WorkError(f"{config}: not all days can be mapped: {found['problems'][0]}")


@cube.command("show")
def show_cube(
    path: Annotated[Path, typer.Argument(metavar="CUBE", help="A cube.")], as_json: Json = False
) -> None:
    """List what a cube holds: dates, coverage, gaps, value ranges, and what looks wrong."""
    from mmnet_maps.jobs.cubes import describe_cube
    from mmnet_maps.prepare.cube.audit import audit_text

    found = describe_cube(path)
    show(found, as_json, audit_text(found))


@cube.command("verify")
def verify(
    path: Annotated[Path, typer.Argument(metavar="CUBE", help="A cube.")], as_json: Json = False
) -> None:
    """Compare every stored value with its recorded digest, and name files that are lost or changed."""
    from mmnet_maps.jobs.cubes import verify_cube

    found = verify_cube(path)
    damaged = found["damaged"]
    show(
        found, as_json, "\n".join([*damaged, f"{counted(found['shards'], 'shard')}, {len(damaged)} damaged"])
    )
    if damaged:
        raise WorkError(
            f"{found['path']}: {len(damaged)} files are lost or changed, the first is {damaged[0]}; remove "
            "them and run `mmnet-maps cube build` again, which makes them"
        )


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.add_typer(cube, name="cube")
