"""``cube build`` and ``cube show``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmnet_maps.cli.output import Json, show

if TYPE_CHECKING:
    from mmnet_maps.prepare.cube_config import CubeConfig
    from mmnet_maps.source_reader import SourceReader

__all__ = ["build_from_config", "register"]

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
    from mmnet_maps.prepare.cube_config import CubeConfig

    loaded = CubeConfig.load(config, settings or ())
    show(build_from_config(loaded, config.parent, out, workers), as_json)


@cube.command("show")
def show_cube(
    path: Annotated[Path, typer.Argument(metavar="CUBE", help="A cube.")], as_json: Json = False
) -> None:
    """Tell what a cube holds: dates, coverage, gaps, value ranges, and what looks wrong."""
    from mmnet_maps.prepare.cube import open_cube
    from mmnet_maps.prepare.cube_audit import audit, audit_text

    found = audit(open_cube(path))
    show(found, as_json, audit_text(found))


def build_from_config(
    config: CubeConfig, base: Path, out: Path, workers: int | None = None
) -> dict[str, Any]:
    """Open the sources of a configuration and build the cube.

    Parameters
    ----------
    config : CubeConfig
    base : Path
        Folder that relative paths start from.
    out : Path
    workers : int, optional

    Returns
    -------
    dict
        Summary of `build_cube`.
    """
    from mmnet_maps.prepare.cube import build_cube
    from mmnet_maps.prepare.cube_normals import normals_readers
    from mmnet_maps.sources.rasters import open_source

    target = config.target(base)
    readers: list[SourceReader] = [
        open_source(name, keys, base, target.grid) for name, keys in config.sources.items()
    ]
    if config.normals is not None:
        readers += normals_readers(config.normals, readers)
    return build_cube(target, readers, out, config.days, workers)


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.add_typer(cube, name="cube")
