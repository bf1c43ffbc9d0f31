"""Commands that make maps, and estimate beforehand what they take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from mmnet_maps.cli.output import Json, show

__all__ = ["register"]

BundleAt = Annotated[Path, typer.Option("--bundle", help="Trained model (a bundle folder).")]
CubeAt = Annotated[Path, typer.Option("--cube", help="Cube that `cube build` made.")]
Start = Annotated[str, typer.Option("--start", help="First day, YYYY-MM-DD.")]
End = Annotated[str, typer.Option("--end", help="Last day, YYYY-MM-DD.")]
Out = Annotated[Path, typer.Option("--out", help="Product store; resumed where it exists.")]
Workers = Annotated[int, typer.Option("--workers", help="Worker processes on this machine.")]
Scheduler = Annotated[str | None, typer.Option("--scheduler", help="Address of a dask scheduler to use.")]
Precision = Annotated[str, typer.Option("--precision", help="float32, or bfloat16 where that is faster.")]
Device = Annotated[str, typer.Option("--device", help="cpu, or what torch sees: cuda, cuda:1, mps, xpu.")]
CoarseFields = Annotated[
    str | None,
    typer.Option("--coarse", help="Weather and SMAP: nearest cell or bilinear. Default: that of the bundle."),
]
OptionalLayers = Annotated[
    str | None,
    typer.Option("--layers", help="dissimilarity, or none. Default: those of the product, or all."),
]
TileSide = Annotated[int | None, typer.Option("--tile", help="Pixels a side of a work unit.")]
BlockDays = Annotated[int | None, typer.Option("--block-days", help="Days of a work unit.")]
PerHour = Annotated[float, typer.Option("--price-per-hour", help="Price of one worker for an hour.")]
PerGib = Annotated[float, typer.Option("--price-per-gib", help="Price of one GiB of output for a month.")]
PowerTable = Annotated[
    Path | None, typer.Option("--power", help="YAML of watts and emissions, in place of the package's table.")
]
Electricity = Annotated[
    str, typer.Option("--electricity", help="Country or region whose emissions count: a name in that table.")
]


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command("predict")(predict)
    app.command("plan")(plan)
    app.command("daily")(daily)
    app.command("bench")(bench)


def predict(
    bundle: BundleAt,
    cube: CubeAt,
    start: Start,
    end: End,
    out: Out,
    workers: Workers = 1,
    scheduler: Scheduler = None,
    precision: Precision = "float32",
    device: Device = "cpu",
    coarse: CoarseFields = None,
    layers: OptionalLayers = None,
    tile: TileSide = None,
    block_days: BlockDays = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print what would be done.")] = False,
    as_json: Json = False,
) -> None:
    """Make daily maps from a bundle and a cube. A second run makes only what is missing."""
    from mmnet_maps.jobs import maps

    how = maps.How(
        workers=workers,
        scheduler=scheduler,
        precision=precision,
        device=device,
        coarse=coarse,
        layers=_named(layers),
        tile=tile,
        block_days=block_days,
    )
    if dry_run:
        summary = maps.plan(bundle, cube, start, end, out, **how)
        show(summary, as_json, _plan_text(summary))
        return
    summary = maps.make_product(bundle, cube, start, end, out, **how)
    show(summary, as_json, _done_text(summary))
    maps.refuse_failed(summary)


def plan(
    bundle: BundleAt,
    cube: CubeAt,
    start: Start,
    end: End,
    out: Out,
    workers: Workers = 1,
    precision: Precision = "float32",
    device: Device = "cpu",
    coarse: CoarseFields = None,
    layers: OptionalLayers = None,
    tile: TileSide = None,
    block_days: BlockDays = None,
    per_hour: PerHour = 0.0,
    per_gib: PerGib = 0.0,
    power: PowerTable = None,
    electricity: Electricity = "world",
    as_json: Json = False,
) -> None:
    """Estimate what `predict` would take: work units, bytes, memory, time, cost, energy. Writes nothing."""
    from mmnet_maps.jobs import maps

    summary = maps.plan(
        bundle, cube, start, end, out, workers=workers, precision=precision, device=device, coarse=coarse,
        layers=_named(layers), tile=tile, block_days=block_days,
        price_per_hour=per_hour, price_per_gib=per_gib, power=power, electricity=electricity,
    )  # fmt: skip
    show(summary, as_json, _plan_text(summary))


def _named(layers: str | None) -> tuple[str, ...] | None:
    """``a,b`` or ``none`` as names."""
    if layers is None:
        return None
    return () if layers == "none" else tuple(name.strip() for name in layers.split(","))


def daily(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="YAML of the daily job.")],
    today: Annotated[
        str | None, typer.Option("--today", help="Day of the run, YYYY-MM-DD; by default today (UTC).")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="Set a key of the configuration: KEY=VALUE; repeat for more."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Map every day as its data arrive: provisional at first, final when all data are there. For cron."""
    from mmnet_maps.jobs.daily import daily as run
    from mmnet_maps.jobs.daily import daily_text

    summary = run(config, today=today, settings=settings or ())
    show(summary, as_json, daily_text(summary))


def bench(
    rounds: Annotated[int, typer.Option("--rounds", help="Number of rounds; medians are over them.")] = 3,
    demo: Annotated[
        Path | None,
        typer.Option(
            "--demo",
            help="Folder of a finished demo: compare cube, files, scores and series with scripts instead.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Compare the speed of the engine and of the whole path with the published and a naive way."""
    if demo is not None:
        from mmnet_maps.bench.job import job_text, measure_job

        found = measure_job(demo, rounds)
        show(found, as_json, job_text(found))
        return
    from mmnet_maps.bench.end_to_end import bench_report

    figures = bench_report(rounds)
    show(figures, as_json, _bench_text(figures))


def _bench_text(figures: dict[str, Any]) -> str:
    """What was measured in sentences, then every figure under its name."""
    said = [
        "engine: {engine_pixels_per_s:,.0f} pixel-days/s, {engine_ratio:.0f} times the published pass, "
        "{roofline_fraction:.0%} of what a large matrix product reaches here",
        "cube to product: {end_to_end_pixel_days_per_s:,.0f} pixel-days/s, {end_to_end_ratio:.0f} times "
        "the naive path, {end_to_end_fraction:.0%} of the engine alone",
        "a tile with every optional layer takes {all_layers_ratio:.2f} times as long as without",
    ]
    rows = (
        f"{name}: {value:,.6g}" if isinstance(value, float) else f"{name}: {value}"
        for name, value in figures.items()
        if value is not None
    )
    return "\n".join([*(text.format(**figures) for text in said), *rows])


def _units_text(summary: dict[str, Any]) -> str:
    counts = summary["units"]
    return (
        f"work units: {counts['new']} new, {counts['stale']} stale, {counts['done']} done "
        f"({counts['outside']} outside the region)"
    )


def _plan_text(summary: dict[str, Any]) -> str:
    lines = [_units_text(summary), f"pixel-days to compute: {summary['pixel_days']:,}"]
    forecast = summary.get("forecast")
    if forecast:
        lines += [
            f"to read: {forecast['bytes_read'] / 2**20:,.0f} MiB, to write: "
            f"{forecast['bytes_written'] / 2**20:,.0f} MiB",
            f"peak memory of a worker: {forecast['peak_memory_mib']:,.0f} MiB",
            f"time on {forecast['workers']} worker(s) of this machine: {forecast['seconds']:,.0f} s",
        ]
        lines += [f"cost: {forecast['cost']:,.2f}"] if forecast["cost"] else []
        lines.append(f"energy: {forecast['energy_kwh']:.3g} kWh, {forecast['co2_kg']:.3g} kg of CO2")
    return "\n".join(lines)


def _done_text(summary: dict[str, Any]) -> str:
    counts, product = summary["units"], summary["product"]
    done = (
        f"computed {summary['pixel_days_done']:,} pixel-days in {summary['seconds']:.1f} s, "
        f"peak memory {summary['peak_memory_mib']:,.0f} MiB"
    )
    if counts["new"] + counts["stale"] == 0:
        done = "nothing was left to do: every work unit is up to date"
    lines = [f"product: {product}", _units_text(summary), done]
    if not summary["failed"]:
        lines.append(f"next: mmnet-maps export --product {product} --out maps")
    return "\n".join(lines)
