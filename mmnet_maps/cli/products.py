"""Commands on finished maps: write files, score them, look at them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from mmnet_maps.cli.output import Json, show
from mmnet_maps.cli.score_lines import number
from mmnet_maps.errors import WorkError
from mmnet_maps.progress import counted
from mmnet_maps.store.location import Location, location

__all__ = ["register"]

_Product = Annotated[Path, typer.Option("--product", help="Product that `predict` made.")]


def export(
    product: _Product,
    out: Annotated[Path, typer.Option("--out", help="Folder of the files; days that it has are kept.")],
    start: Annotated[str | None, typer.Option("--start", help="First day, YYYY-MM-DD.")] = None,
    end: Annotated[str | None, typer.Option("--end", help="Last day, included.")] = None,
    workers: Annotated[
        int, typer.Option("--workers", min=1, max=1024, help="Days written at the same time.")
    ] = 2,
    zarr: Annotated[bool, typer.Option("--zarr", help="Write one Zarr store with overviews too.")] = False,
    no_shards: Annotated[
        bool, typer.Option("--no-shards", help="Zarr format 2 without shards, for GDAL before 3.13.")
    ] = False,
    institution: Annotated[str, typer.Option("--institution", help="Who publishes the maps.")] = "",
    terms: Annotated[str, typer.Option("--license", help="SPDX identifier, such as CC-BY-4.0.")] = "",
    as_json: Json = False,
) -> None:
    """Write cloud-optimised GeoTIFFs and a STAC item for every finished day, and a Zarr store with --zarr."""
    from mmnet_maps.jobs import products

    summary = products.export(
        product,
        out,
        start=start,
        end=end,
        workers=workers,
        zarr=zarr,
        shards=not no_shards,
        institution=institution,
        license=terms,
    )
    text = (
        f"{counted(summary['written'], 'day')} written, {summary['kept']:,} kept; "
        f"{summary['out']}/catalog.json holds {summary['items']:,}\nnext: mmnet-maps view {summary['out']}"
    )
    show(summary, as_json, text)


def validate(
    product: _Product,
    in_situ: Annotated[Path, typer.Option("--in-situ", help="Ground truth CSV: ID ... Date, VWC_5.")],
    network: Annotated[Path, typer.Option("--network", help="Network file: positions of the stations.")],
    out: Annotated[Path, typer.Option("--out", help="Folder of the scores and pairs.")],
    against: Annotated[
        list[str] | None,
        typer.Option("--against", metavar="PATH[:VARIABLE]", help="Another product to compare with; repeat."),
    ] = None,
    cube: Annotated[
        Path | None,
        typer.Option("--cube", help="Cube of the maps, to measure steps at the edges of coarse cells."),
    ] = None,
    truth: Annotated[
        Path | None, typer.Option("--truth", help="Known truth of a simulated region; needs --cube.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Compare maps with stations: scores, interval coverage, every pair, steps at edges of cells."""
    from mmnet_maps.jobs import products

    found = products.validate(product, in_situ, network, out, against=against or (), cube=cube, truth=truth)
    show(found, as_json, _scores_text(found, location(out)))


def _scores_text(found: dict[str, Any], out: Location) -> str:
    overall, coverage = found["overall"], found["interval_coverage"]
    names = {"corr": "R", "rmse": "RMSE", "bias": "bias", "ubrmse": "ubRMSE"}
    scores = ", ".join(f"{names[k]} {number(overall[k])}" for k in names)
    inside = f"; the interval holds {100 * coverage['share']:.1f} %" if coverage["n"] else ""
    stations = found["stations"]["count"]
    lines = [f"{overall['n']} pairs at {stations} stations: {scores}{inside}"]
    for source, both in found.get("against", {}).items():
        if source != "all":
            ours, theirs = both["maps"]["overall"], both["other"]["overall"]
            parts = (
                f"{names[k]} {number(ours[k])} against {number(theirs[k])}"
                for k in ("corr", "rmse", "ubrmse")
            )
            lines.append(f"beside {source}, {both['n']} pairs: {', '.join(parts)}")
    if "cell_edges" in found:
        from mmnet_maps.produce.judge.cell_edges import edges_table
        from mmnet_maps.produce.judge.truth import comparison_table
        from mmnet_maps.produce.judge.variogram import variogram_table

        lines += ["", edges_table(found["cell_edges"])]
        if "truth" in found:
            lines += ["", comparison_table(found["truth"]), "", variogram_table(found["variogram"])]
    return "\n".join([*lines, str(out)])


def report(
    source: Annotated[Path, typer.Argument(metavar="RUN_OR_PRODUCT", help="Run folder or product.")],
    out: Annotated[Path, typer.Option("--out", help="HTML file to write.")],
    validation: Annotated[
        Path | None, typer.Option("--validation", help="What `validate` wrote; default: beside the product.")
    ] = None,
    cube: Annotated[
        Path | None, typer.Option("--cube", help="Cube of the maps, to draw its SMAP beside them.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a self-contained HTML report of a run or of a product."""
    from mmnet_maps.jobs import products

    summary = products.report(source, out, validation=validation, cube=cube)
    show(summary, as_json, f"report of a {summary['of']}: {summary['report']}")


def extract(
    source: Annotated[
        Path,
        typer.Argument(metavar="SOURCE", help="Product, published Zarr, or folder of `export`."),
    ],
    out: Annotated[Path, typer.Option("--out", help="CSV, Parquet or NetCDF, by the ending.")],
    points: Annotated[
        Path | None, typer.Option("--points", help="CSV with longitude, latitude (and id), or points.")
    ] = None,
    polygons: Annotated[Path | None, typer.Option("--polygons", help="Vector file of polygons.")] = None,
    box: Annotated[
        tuple[float, float, float, float] | None,
        typer.Option("--box", metavar="W S E N", help="Degrees; the maps of the box, as NetCDF."),
    ] = None,
    start: Annotated[str | None, typer.Option("--start", help="First day, YYYY-MM-DD.")] = None,
    end: Annotated[str | None, typer.Option("--end", help="Last day, included.")] = None,
    workers: Annotated[
        int, typer.Option("--workers", min=1, max=1024, help="Number of threads that read.")
    ] = 2,
    as_json: Json = False,
) -> None:
    """Write series at points or over polygons, or a box of the maps, with intervals and reasons."""
    from mmnet_maps.jobs.extract import extract as run

    done = run(source, out, points=points, polygons=polygons, box=box, start=start, end=end, workers=workers)
    text = (
        f"{counted(done['days'], 'day')} of {done['rows']} x {done['cols']} pixels"
        if done["of"] == "box"
        else f"{counted(done['rows'], 'row')}: {done['series']} {done['of']}, {counted(done['days'], 'day')}"
    )
    show(done, as_json, f"{text}; {done['out']}")


def view(
    source: Annotated[
        Path,
        typer.Argument(metavar="SOURCE", help="Folder of `export`, published Zarr, or a small product."),
    ],
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Port of the page; 0 takes a free one.")
    ] = 8000,
    host: Annotated[
        str, typer.Option("--host", help="Address to serve on; any other lets other machines read the page.")
    ] = "127.0.0.1",
    static: Annotated[
        Path | None, typer.Option("--static", help="Write the page as files for any web host, serve nothing.")
    ] = None,
    validation: Annotated[
        Path | None, typer.Option("--validation", help="Folder that `validate` wrote, to show its stations.")
    ] = None,
    cube: Annotated[
        Path | None,
        typer.Option(
            "--cube", help="Cube of the maps, to show terrain, SMAP, age of inputs, and rain in series."
        ),
    ] = None,
    base_map: Annotated[
        str | None,
        typer.Option(
            "--base-map", help="Address of online tiles below the maps, https://.../{z}/{x}/{y}.png."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Serve a map page of daily maps on this machine, until interrupted, or write it as files."""
    from mmnet_maps.jobs import products

    done = products.view(
        source, host=host, port=port, static=static, validation=validation, cube=cube, base_map=base_map
    )
    if static is not None:
        size = done["bytes"] / 2**20
        show(done, as_json, f"{done['files']:,} files, {size:,.0f} MiB; serve {static} with any web server")


product_commands = typer.Typer(help="Products that `predict` made.", no_args_is_help=True)


@product_commands.command("verify")
def verify(
    path: Annotated[Path, typer.Argument(metavar="PRODUCT", help="Product that `predict` made.")],
    as_json: Json = False,
) -> None:
    """Compare stored bytes with the ledger; name the files that are lost or changed."""
    from mmnet_maps.jobs import products

    found = products.verify(path)
    damaged = found["damaged"]
    lines = [f"{key}: {said}" for key, said in damaged.items()]
    show(
        found,
        as_json,
        "\n".join([*lines, f"{counted(found['units'], 'finished unit')}, {len(damaged)} damaged"]),
    )
    if damaged:
        raise WorkError(
            f"{found['product']}: {len(damaged)} units are damaged, the first is {next(iter(damaged))}; "
            "run `mmnet-maps predict` for their days again, which makes them"
        )


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.add_typer(product_commands, name="product")
    for command in (export, extract, validate, report, view):
        app.command()(command)
