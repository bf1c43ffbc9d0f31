"""From a bundle and a cube to daily maps: run the work units that are missing or stale."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from mmnet_maps.errors import InputError, refuse_beyond
from mmnet_maps.learn.against_smap import warning_line
from mmnet_maps.learn.bundle import Bundle, load_bundle
from mmnet_maps.prepare.cube.store import open_cube
from mmnet_maps.produce.engine.device import find_device
from mmnet_maps.produce.engine.engine import Engine
from mmnet_maps.produce.product.create import create_product
from mmnet_maps.produce.product.store import Product, check_current, open_product
from mmnet_maps.produce.run.arrived import Arrived
from mmnet_maps.produce.run.chosen import coarse_choice, optional_layers
from mmnet_maps.produce.run.plan import Estimate, Prices, calibrate, estimate
from mmnet_maps.produce.run.survey import Planned, Survey
from mmnet_maps.produce.run.work import Job, forget_peak, one_thread
from mmnet_maps.produce.run.workers import connected, reports
from mmnet_maps.produce.tile.reading import check_cube
from mmnet_maps.produce.units import Layout, day_number, iso
from mmnet_maps.progress import say, steps
from mmnet_maps.store.location import Location
from mmnet_maps.store.lock import check_owner, sole_writer

if TYPE_CHECKING:
    from distributed.deploy.cluster import Cluster

__all__ = ["Request", "outstanding", "predict_product"]

#: Below this many pixel-days a forecast would cost more than it tells.
_WORTH_A_FORECAST = 30_000_000
_TILE, _BLOCK_DAYS = 1024, 16
_LIMITS = {"workers": (1, 1024), "tile": (8, 16_384), "block_days": (1, 3660)}
_PRECISIONS = ("float32", "bfloat16")


@dataclass(frozen=True)
class Request:
    """What is asked for.

    Attributes
    ----------
    bundle, cube, out : Path or Remote
        The last is the product: created, or resumed where it exists.
    start, end : str
        First and last day, ``YYYY-MM-DD`` or ``YYYYMMDD``.
    workers : int
        Processes on this machine; 1 works in this process.
    scheduler : str or Cluster, optional
        Address of a dask scheduler whose workers do the work instead, or the cluster itself, as
        `dask_jobqueue`, `dask_kubernetes` and `coiled` give it: it has the certificates of ``tls://``.
    precision : {"float32", "bfloat16"}
    device : str
        ``cpu``, ``cuda``, ``cuda:1``, ``mps``, ``xpu``: what torch sees.
    coarse : {"nearest", "bilinear"}, optional
        How a pixel gets its weather, surface temperature and SMAP: from its cell, or interpolated between
        cells. Default: as the bundle says.
    tile, block_days : int, optional
        Size of a work unit; as the product has it, or 1,024 pixels and 16 days.
    layers : sequence of str, optional
        Optional layers; as the product has them, or all that the bundle can give. Empty: none.
    arrived : Arrived, optional
        What has arrived of the sources: days that later observations can change are provisional. Without it
        nothing more is expected.
    """

    bundle: Location
    cube: Location
    start: str
    end: str
    out: Location
    workers: int = 1
    scheduler: str | Cluster | None = None
    precision: str = "float32"
    device: str = "cpu"
    coarse: str | None = None
    tile: int | None = None
    block_days: int | None = None
    layers: Sequence[str] | None = None
    arrived: Arrived | None = None


@dataclass(frozen=True)
class _Prepared:
    """A request that was checked against its bundle, its cube and the product that is there."""

    request: Request
    first: int
    stop: int
    about: dict[str, Any]
    survey: Survey
    product: Product | None
    other_collections: tuple[str, ...]


def predict_product(
    request: Request, dry_run: bool = False, forecast: bool = True, prices: Prices | None = None
) -> dict[str, Any]:
    """Make or complete a product; units that are up to date are left alone.

    Parameters
    ----------
    request : Request
    dry_run : bool
        Only say what would be done, and what it would take; nothing is written.
    forecast : bool
        Estimate time and memory before the work, and print them afterwards with what it took.
    prices : Prices, optional
        For the cost and energy of a dry run.

    Returns
    -------
    dict
        Counts of units by state, and the forecast; after a run also what was done, with ``failed`` (errors by
        unit).

    Raises
    ------
    InputError
        The inputs do not fit each other, the days, or the product that is there.
    """
    # Nothing is looked at before the lock is held: what was found would be out of date.
    with nullcontext("") if dry_run else sole_writer(request.out) as run:
        return _predict(request, run, forecast, prices)


def outstanding(request: Request) -> list[Planned]:
    """Units that a request would make, in order; stored objects are not looked at, and nothing is written.

    Raises
    ------
    InputError
        As `predict_product`.
    """
    prepared = _prepare(request)
    ledger = prepared.product.ledger if prepared.product else None
    planned = prepared.survey.planned(ledger, prepared.first, prepared.stop)
    return [item for item in planned if item.state != "done"]


def _predict(request: Request, run: str, forecast: bool, prices: Prices | None) -> dict[str, Any]:
    """Do a request as the run of that name; without a name, only say what would be done."""
    prepared, dry_run = _prepare(request), not run
    if run and prepared.product is not None and prepared.product.path != request.out:
        raise InputError(f"{request.out}: `daily` writes to it; give another --out")
    counts, todo = _sort(_looked_at(prepared))
    pixel_days = sum(prepared.survey.pixels(p.unit) * p.unit.days for p in todo)
    expected = None
    if forecast and (dry_run or pixel_days > _WORTH_A_FORECAST):
        expected = _forecast(prepared, todo, prices or Prices())
    summary: dict[str, Any] = {"product": str(request.out), "units": counts, "pixel_days": pixel_days}
    if prepared.other_collections:
        summary["other_collections"] = list(prepared.other_collections)
    if expected is not None:
        summary["forecast"] = asdict(expected)
    if dry_run:
        return summary
    prepared.survey.check_cube(p.unit for p in todo)
    # A run without workers leaves everything as it was.
    with connected(request.workers, request.scheduler) if todo else nullcontext() as client:
        product = _ready_product(prepared)
        done = _run(prepared, product, todo, expected, run, client)
    if todo:
        _say_processors(prepared, product)
    return summary | done


def _say_processors(prepared: _Prepared, product: Product) -> None:
    """Say in one line if the units of the request were made on several kinds of processors."""
    units = prepared.survey.layout.units(prepared.first, prepared.stop)
    entries = product.ledger.read_all(unit.key for unit in units)
    kinds = Counter(entry.processor for entry in entries if entry and entry.processor)
    if len(kinds) > 1:
        told = "; ".join(f"{count} on {kind}" for kind, count in sorted(kinds.items()))
        say(f"units were made on several kinds of processors, which agree to float rounding only: {told}")


def _looked_at(prepared: _Prepared) -> Iterator[Planned]:
    """Units with their state; one whose stored objects are not what was written is to be made again."""
    product, first, stop = prepared.product, prepared.first, prepared.stop
    planned = list(prepared.survey.planned(product.ledger if product else None, first, stop))
    done = [item.unit for item in planned if item.state == "done"]
    damaged = product.damaged(done) if product else {}
    for key, found in damaged.items():
        say(f"unit {key} is made again: {found}")
    for item in planned:
        yield replace(item, state="stale") if item.unit.key in damaged else item


def _prepare(request: Request) -> _Prepared:
    first, stop = day_number(request.start, "start"), day_number(request.end, "end") + 1
    if stop <= first:
        raise InputError(f"--start {request.start} is after --end {request.end}")
    for name, (least, most) in _LIMITS.items():
        refuse_beyond(f"--{name.replace('_', '-')}", getattr(request, name), least, most)
    if request.precision not in _PRECISIONS:
        raise InputError(f"--precision {request.precision}: expected {' or '.join(_PRECISIONS)}")
    device = _device_kind(request)
    bundle, cube = load_bundle(request.bundle), open_cube(request.cube)
    if warning := warning_line(bundle.facts.get("held_out")):
        say(warning)
    product = open_product(request.out) if request.out.exists() else None
    if product is not None:
        check_current(product)
        _refuse_other_target(product, bundle)
    precision = _precision(request, bundle, product)
    about: dict[str, Any] = {
        "bundle": bundle.digest,
        "catalogue": bundle.catalogue.fingerprint,
        "target": bundle.catalogue.target.name,
        "model": bundle.kind,
        "precision": precision,
        "device": device,
        "interval": bundle.interval.nominal if bundle.interval else None,
    }
    if bundle.adjustment is not None:
        about["adjusted"] = {
            "probes": [probe.id for probe in bundle.adjustment.probes],
            "reach": bundle.adjustment.reach,
        }
    if precision != request.precision:
        about["precision_asked"] = request.precision
        request = replace(request, precision=precision)
    coarse = coarse_choice(request.coarse, bundle)
    about["coarse"] = coarse
    layout = _layout(request, cube.grid, first, stop, product)
    check_cube(cube, bundle.catalogue, *_whole_blocks(layout, first, stop), str(request.cube))
    held = {cube.variables[name].collection for name in bundle.catalogue.required} - {""}
    about |= {"collections": sorted(held)} if held else {}
    differ = bundle.catalogue.other_collections(cube.variables)
    for line in differ:
        say(f"{line}: another version may be another distribution; see the limits in the documentation")
    common = {name: about[name] for name in ("bundle", "catalogue", "precision")}
    if device != "cpu":
        # Another kind of device rounds otherwise: what one has begun another makes anew.
        common["device"] = device
    if coarse != "nearest":
        common["coarse"] = coarse
    optional = optional_layers(request.layers, bundle, product.layers if product else None)
    survey = Survey(cube, bundle.catalogue, layout, common, coarse, request.arrived, optional)
    return _Prepared(request, first, stop, about, survey, product, differ)


def _refuse_other_target(product: Product, bundle: Bundle) -> None:
    """A product is of one layer of soil."""
    ours, theirs = bundle.catalogue.target, product.target
    if ours.name != theirs.name:
        raise InputError(
            f"{product.path}: the product is of {theirs.name}, the bundle of {ours.name}; give another --out"
        )


def _device_kind(request: Request) -> str:
    """``cpu``, ``cuda``, ...: of a device here, or of the workers of a scheduler, which see their own."""
    if request.scheduler is None:
        return find_device(request.device).type
    return request.device.split(":")[0]


def _precision(request: Request, bundle: Bundle, product: Product | None) -> str:
    """The precision to compute with: bfloat16 on a processor only where it is measured to be faster.

    A product that was begun with the same wish goes on as it was begun.
    """
    asked = request.precision
    if product is not None and product.about.get("precision_asked", product.about.get("precision")) == asked:
        return str(product.about["precision"])
    if asked == "float32":
        return asked
    if request.scheduler is None:
        gain = bfloat16_gain(bundle, asked, request.device)
    else:
        with connected(1, request.scheduler) as client:
            gain = client.submit(bfloat16_gain, bundle, asked, request.device).result()
    if gain is None or gain > 1:
        return asked
    say(f"precision {asked}: measured {gain:.2f} times as fast as float32 here; float32 is used")
    return "float32"


def bfloat16_gain(bundle: Bundle, precision: str, device: str) -> float | None:
    """Rate of a bundle's pixel pass in bfloat16 over that in float32 here; None where it is not measured.

    Raises
    ------
    InputError
        The precision is not there for this bundle or device.
    """
    with one_thread():
        Engine(bundle, precision, device)  # refuses what cannot be computed
        return Engine(bundle, device=device).bfloat16_gain()


def _layout(request: Request, grid: Any, first: int, stop: int, product: Product | None) -> Layout:
    if product is None:
        return Layout(grid, first, stop, request.tile or _TILE, request.block_days or _BLOCK_DAYS)
    held, where = product.layout, request.out
    if held.grid != grid:
        raise InputError(
            f"{where}: the product is on another grid ({_described(held.grid)}) than {request.cube} "
            f"({_described(grid)}); give another --out"
        )
    if first < held.start:
        raise InputError(
            f"{where}: the product begins on {iso(held.start)} and cannot begin earlier, on {request.start}; "
            "give a later --start or another --out"
        )
    for name in ("tile", "block_days"):
        asked, has = getattr(request, name), getattr(held, name)
        if asked is not None and asked != has:
            raise InputError(f"{where}: the product was made with {name} {has}, found {asked}")
    return Layout(grid, held.start, max(stop, held.stop), held.tile, held.block_days)


def _described(grid: Any) -> str:
    left, bottom, right, top = grid.bounds
    return f"{grid.height} x {grid.width} over {left:g} {bottom:g} {right:g} {top:g} in {str(grid.crs)[:40]}"


def _whole_blocks(layout: Layout, first: int, stop: int) -> tuple[int, int]:
    blocks = list(layout.blocks(first, stop))
    return blocks[0][0], blocks[-1][1]


def _sort(planned: Iterable[Planned]) -> tuple[dict[str, int], list[Planned]]:
    counts = {"new": 0, "done": 0, "stale": 0, "outside": 0}
    todo = []
    for item in planned:
        counts[item.state] += 1
        counts["outside"] += item.outside
        if item.state != "done":
            todo.append(item)
    return counts, todo


def _forecast(prepared: _Prepared, todo: list[Planned], prices: Prices) -> Estimate | None:
    units = [p.unit for p in todo if not p.outside]
    request = prepared.request
    elsewhere = request.scheduler is not None and _device_kind(request) != "cpu"
    if not units or elsewhere:
        return None
    found = calibrate(
        prepared.survey, units, request.bundle, request.precision, request.device, request.workers
    )
    # Workers of a scheduler have cores of their own.
    cores = None if request.scheduler is None else request.workers
    return estimate(prepared.survey, units, found, request.workers, prices, _device_kind(request), cores)


def _ready_product(prepared: _Prepared) -> Product:
    """The product as long as the request needs it, naming the bundle that it is being made from."""
    layout, out = prepared.survey.layout, prepared.request.out
    if prepared.product is None:
        return create_product(out, layout, prepared.about, prepared.survey.optional)
    prepared.product.clear_drafts()
    return prepared.product.extended(layout.stop).described(prepared.about)


def _run(
    prepared: _Prepared,
    product: Product,
    todo: list[Planned],
    expected: Estimate | None,
    run: str,
    client: Any,
) -> dict[str, Any]:
    request = prepared.request
    job = Job(
        request.bundle.absolute(),
        prepared.survey.cube.folder.absolute(),
        request.out.absolute(),
        request.precision,
        request.device,
        prepared.survey.coarse,
        run,
        tuple(prepared.survey.common.items()),
        request.arrived,
    )
    tasks = ((job, p.unit, p.outside) for p in todo)
    forget_peak()
    began, done, failed, peak = time.perf_counter(), 0, {}, 0.0
    with steps("units", len(todo)) as advance:
        for report in reports(tasks, client):
            done += report.pixel_days
            peak = max(peak, report.peak_mib)
            rate = done / (time.perf_counter() - began)
            advance(1, f"{rate / 1e6:.2f} M pixel-days/s" if done else "")
            if report.error:
                check_owner(request.out, run)  # a run that has lost its lock has nothing more to say
                failed[report.key] = report.error
                say(f"unit {report.key} failed: {report.error}")
    failed |= product.damaged((p.unit for p in todo if p.unit.key not in failed), finished=True)
    seconds = time.perf_counter() - began
    if expected is not None:
        say(
            f"took {seconds:.0f} s, expected {expected.seconds:.0f} s; peak memory {peak:.0f} MiB, "
            f"expected {expected.peak_memory_mib:.0f} MiB"
        )
    return {
        "seconds": seconds,
        "pixel_days_done": done,
        "pixel_days_per_s": done / seconds if seconds else 0.0,
        "peak_memory_mib": peak,
        "workers": request.workers,
        "failed": failed,
    }
