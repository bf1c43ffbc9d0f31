"""Commands that adjust maps to probes, and compare days with other years."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mmnet_maps.cli.output import Json, show
from mmnet_maps.progress import counted

__all__ = ["register"]


def adjust(
    bundle: Annotated[Path, typer.Option("--bundle", help="Trained model.")],
    in_situ: Annotated[
        Path,
        typer.Option("--in-situ", help="Records of your probes: ID ... Date, VWC_5."),
    ],
    network: Annotated[Path, typer.Option("--network", help="Network file: positions of the probes.")],
    out: Annotated[Path, typer.Option("--out", help="Adjusted bundle to write.")],
    cube: Annotated[Path | None, typer.Option("--cube", help="Cube that covers the probes.")] = None,
    table: Annotated[Path | None, typer.Option("--table", help="Station table of the probes.")] = None,
    reach: Annotated[
        float, typer.Option("--reach", help="Distance in metres from which on a probe has no effect.")
    ] = 1000.0,
    as_json: Json = False,
) -> None:
    """Adjust a model to the level of your own probes, near their positions."""
    from mmnet_maps.jobs.adjust import adjust as adjust_bundle

    found = adjust_bundle(bundle, in_situ, network, out, cube=cube, table=table, reach=reach)
    lines = [
        f"{p['id']}: {counted(p['days'], 'day')}, RMSE {p['rmse_before']:.3f}; with the other probes alone "
        f"{p['rmse_from_others']:.3f}, with its own {p['rmse_after']:.3f}"
        for p in found["probes"]
    ]
    left = [f"{name}: left out, {reason}" for name, reason in found["left_out"].items()]
    show(
        found,
        as_json,
        "\n".join([*lines, *left, f"{found['bundle']}: reach {reach:g} m, digest {found['digest']:.12}"]),
    )


def climate(
    product: Annotated[Path, typer.Argument(metavar="PRODUCT", help="Product of several years.")],
    out: Annotated[Path, typer.Option("--out", help="Zarr store to write.")],
    start: Annotated[str | None, typer.Option("--start", help="First day to describe, YYYY-MM-DD.")] = None,
    end: Annotated[str | None, typer.Option("--end", help="Last day, included.")] = None,
    as_json: Json = False,
) -> None:
    """Compare days with the same season of all years of the product: percentile, anomaly, drought class."""
    from mmnet_maps.jobs.climate import climate as write_climate

    found = write_climate(product, out, start=start, end=end)
    years = found["years"]
    text = (
        f"{found['out']}: {counted(found['days'], 'day')} against {counted(len(years), 'year')}, "
        f"{years[0]} to {years[-1]}"
    )
    if not found["enough_years"]:
        text += "; too few years for drought classes, which need five"
    show(found, as_json, text)


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command()(adjust)
    app.command()(climate)
