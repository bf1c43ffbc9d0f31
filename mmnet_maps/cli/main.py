"""The application and its commands."""

from __future__ import annotations

from typing import Annotated

import typer

from mmnet_maps.cli import (
    cube,
    demo,
    earthengine,
    environment,
    learning,
    predicting,
    products,
    starting,
    stations,
    studying,
    trust,
)

_HELP = """Daily high-resolution soil-moisture maps from MMNet.

\b
To see it work:   mmnet-maps demo
With your data:
  mmnet-maps init --region farm.gpkg --start 2020-06-01 --end 2020-06-30 \\
      --door planetary --out cube.yaml
  mmnet-maps cube build --config cube.yaml --out cube.zarr
  mmnet-maps train --table table.parquet --experiment all --out runs/all
  mmnet-maps predict --bundle runs/all/all/bundle --cube cube.zarr \\
      --start 2020-06-01 --end 2020-06-30 --out product.zarr
  mmnet-maps export --product product.zarr --out maps
"""

app = typer.Typer(
    name="mmnet-maps",
    help=_HELP,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        from mmnet_maps.version import __version__

        typer.echo(f"mmnet-maps {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    del version


_COMMANDS = (
    demo,
    starting,
    stations,
    learning,
    studying,
    cube,
    earthengine,
    predicting,
    products,
    trust,
    environment,
)
for module in _COMMANDS:
    module.register(app)
