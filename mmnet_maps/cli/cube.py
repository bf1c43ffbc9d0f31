"""``cube build`` and ``cube show``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mmnet_maps.cli.cube_lines import cube_lines
from mmnet_maps.cli.output import Json, show

__all__ = ["register"]

cube = typer.Typer(help="The native-resolution cube that maps are made from.", no_args_is_help=True)

_Set = Annotated[list[str] | None, typer.Option("--set", help="KEY=VALUE over the configuration.")]


@cube.command("build")
def build(
    config: Annotated[Path, typer.Option("--config", help="YAML: region, grid, days and sources.")],
    out: Annotated[Path, typer.Option("--out", help="The cube; an existing one is brought up to date.")],
    workers: Annotated[int | None, typer.Option("--workers", min=1, help="Threads; one a processor.")] = None,
    settings: _Set = None,
    as_json: Json = False,
) -> None:
    """Build a cube from rasters, or bring one up to date."""
    from mmnet_maps.jobs.cubes import build_cube

    summary = build_cube(config, out, workers=workers, settings=settings or ())
    show(summary, as_json, cube_lines(summary))


@cube.command("show")
def show_cube(
    path: Annotated[Path, typer.Argument(metavar="CUBE", help="A cube.")], as_json: Json = False
) -> None:
    """Tell what a cube holds: dates, coverage, gaps, value ranges, and what looks wrong."""
    from mmnet_maps.jobs.cubes import describe_cube
    from mmnet_maps.prepare.cube.audit import audit_text

    found = describe_cube(path)
    show(found, as_json, audit_text(found))


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.add_typer(cube, name="cube")
