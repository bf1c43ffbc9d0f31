"""The application and its commands."""

from __future__ import annotations

import typer

from mmnet_maps.cli import cube, demo, earthengine, learning, predicting, products, stations, studying, trust

app = typer.Typer(
    name="mmnet-maps",
    help="Daily high-resolution soil-moisture maps from MMNet.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for module in (demo, stations, learning, studying, cube, earthengine, predicting, products, trust):
    module.register(app)
