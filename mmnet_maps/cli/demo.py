"""The ``demo`` command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mmnet_maps.cli.output import Json, show

__all__ = ["register"]


def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder of the demo.")] = Path("out/demo"),
    full: Annotated[bool, typer.Option("--full", help="A larger region, more days and stations.")] = False,
    config: Annotated[Path | None, typer.Option("--config", help="YAML with the settings.")] = None,
    override: Annotated[
        list[str] | None, typer.Option("--set", help="KEY=VALUE of the settings; repeat for more.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Run the whole job on a simulated region, from its data to maps compared with the known truth."""
    from mmnet_maps.simulated.demo import DemoConfig, demo_text, run_demo

    preset = ["simulation.region_pixels=2048", "simulation.stations_per_climate=40"] if full else []
    summary = run_demo(DemoConfig.load(config, [*preset, *(override or ())]), out)
    show(summary, as_json, demo_text(summary))


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("demo")(demo)
