"""Maps of every day as its data arrive: provisional at first, final when everything is in."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from mmnet_maps.config import Config
from mmnet_maps.dates import to_date, to_day
from mmnet_maps.errors import InputError
from mmnet_maps.jobs.cubes import build_from_config
from mmnet_maps.jobs.maps import refuse_failed
from mmnet_maps.jobs.readers import cube_config
from mmnet_maps.jobs.settings import Settings, settings_of
from mmnet_maps.learn.bundle import load_bundle
from mmnet_maps.prepare.cube.config import CubeConfig
from mmnet_maps.prepare.cube.store import open_cube
from mmnet_maps.produce.export.collection import write_entrance
from mmnet_maps.produce.export.days import export_product, outdated_days
from mmnet_maps.produce.export.folder import CATALOG_FILE
from mmnet_maps.produce.product.store import Product, open_product
from mmnet_maps.produce.run.arrived import Arrived
from mmnet_maps.produce.run.predict import Request, outstanding, predict_product
from mmnet_maps.produce.tile.reading import last_day
from mmnet_maps.produce.units import day_number, iso
from mmnet_maps.store.location import Location, Remote, location, target_location
from mmnet_maps.store.lock import sole_writer
from mmnet_maps.store.states import standing_state, state_of
from mmnet_maps.store.updating import updating

__all__ = ["DailyConfig", "daily", "daily_text"]

#: Days after which nothing more of a day is expected, of a source that the configuration does not name.
_LATE = 5


class DailyConfig(Config):
    """What one run of a daily job needs; paths are relative to the configuration file.

    Attributes
    ----------
    config : str
        YAML of the cube. Its `end` does not matter: the cube grows with its sources.
    cube : str
        The cube; made where it is not there.
    bundle : str
        The model.
    product : str
        The maps; made where they are not there.
    start : date
        First day that is mapped.
    maps : str, optional
        Folder of the exports; without it nothing is exported.
    zarr : bool
        Whether the folder also holds all days as one Zarr store.
    late : dict of str to int
        By source, the number of days after which no more data of a day are expected. With 3, a run takes all
        days up to the third before its own as complete. 5 for sources that are not named.
    widen : dict of int to float
        Width of the intervals of provisional days. Each key is a greatest age in days, and its value is how
        many times as wide the intervals are. Older days have the intervals of the bundle, and so have all
        days without this key.
    workers : int
        Processes that map, and threads that build the cube and export.
    coarse : {"nearest", "bilinear"}, optional
        How a pixel gets its weather and SMAP. Default: as the bundle says.
    tile, block_days : int, optional
        Size of a work unit of a new product: 1,024 pixels, 16 days. A day that changes costs a block.
    """

    config: str
    cube: str
    bundle: str
    product: str
    start: dt.date
    maps: str | None = None
    zarr: bool = False
    late: dict[str, int] = Field(default_factory=dict)
    widen: dict[int, float] = Field(default_factory=dict)
    workers: int = Field(1, ge=1, le=1024)
    coarse: Literal["nearest", "bilinear"] | None = None
    tile: int | None = Field(None, ge=8, le=16_384)
    block_days: int | None = Field(None, ge=1, le=3660)

    @field_validator("start", mode="before")
    @classmethod
    def _plain_date(cls, value: Any) -> Any:
        return to_date(value) if isinstance(value, int | str) else value

    @model_validator(mode="after")
    def _limits(self) -> Self:
        for source, days in self.late.items():
            if not 0 <= days <= 366:
                raise ValueError(f"late.{source}: expected 0 to 366 days, found {days}")
        for age, factor in self.widen.items():
            if age < 0 or not 1 <= factor <= 100:
                raise ValueError(f"widen.{age}: expected a factor of 1 to 100, found {factor}")
        return self


def daily(
    config: str | Path, *, today: str | dt.date | None = None, settings: Settings = ()
) -> dict[str, Any]:
    """Bring the cube, the product and the exports up to date with what has arrived of the sources.

    A day is mapped as soon as its weather is there. Other inputs are those that have arrived, and the day is
    flagged as provisional. It is made again when anything arrives that changes it, and is final when nothing
    more can. Product and exports are changed in a copy that then replaces them in one step (in an object
    store: as their next state). If a run is killed, the next one finishes it. Only one run at a time.

    Parameters
    ----------
    config : str or Path
        YAML of `DailyConfig`.
    today : str or date, optional
        The day of the run (UTC), ``YYYY-MM-DD``; by default today.
    settings : mapping or sequence of str
        Single settings over the configuration.

    Returns
    -------
    dict
        ``product``, ``today``, ``parts_built`` of the cube; ``units`` that were new and stale; ``mapped``:
        first and last day; ``provisional`` and ``final``: numbers of days; ``exported``: days that were
        written.

    Raises
    ------
    InputError
        A key, a source or a day is not what was expected, or another run is at work.
    WorkError
        Part of the work failed; product and exports are as they were, and the next run continues.
    """
    job, base = settings_of(DailyConfig, config, settings), Path(config).parent
    now = to_day(dt.datetime.now(dt.UTC).date() if today is None else to_date(str(today)))
    product, cube = target_location(job.product, base), target_location(job.cube, base)
    maps = None if job.maps is None else target_location(job.maps, base)
    sources = cube_config(base / job.config)
    _refuse_unknown(job, sources, config)
    for folder in (product, maps):
        _refuse_other(folder)
    with sole_writer(product):
        _refuse_earlier(product, now)
        until = sources.model_copy(update={"end": to_date(iso(now))})
        built = build_from_config(until, (base / job.config).parent, cube, job.workers)
        summary: dict[str, Any] = {"product": str(product), "today": iso(now)}
        summary["parts_built"] = built["parts_built"]
        summary |= _map(_request(job, base, cube, product, now), product)
        summary["exported"] = [] if maps is None else _export(job, maps, product)
    return summary


def daily_text(summary: dict[str, Any]) -> str:
    """What a run did, in one line."""
    counts, (first, last) = summary["units"], summary["mapped"]
    status = f"{first} to {last} mapped, {summary['provisional']} days provisional"
    if not (summary["parts_built"] or counts["new"] or counts["stale"] or summary["exported"]):
        return f"{summary['product']}: nothing new on {summary['today']}; {status}"
    done = f"{counts['new']} units new, {counts['stale']} made again"
    return f"{summary['product']}: {done}, {len(summary['exported'])} days exported; {status}"


def _refuse_unknown(job: DailyConfig, sources: CubeConfig, where: str | Path) -> None:
    for name in job.late:
        if name not in sources.sources:
            known = ", ".join(sources.sources)
            raise InputError(f"{where}: late.{name}: no source of {job.config}, which has {known}")


def _refuse_earlier(product: Location, now: int) -> None:
    """`InputError` for a run as of a day before the last map: the cube would lose days that maps need."""
    standing = standing_state(product)
    if (standing / "zarr.json").is_file():
        last = open_product(standing).layout.stop - 1
        if now < last:
            raise InputError(f"{product}: holds maps up to {iso(last)}; expected --today on or after it")


def _refuse_other(folder: Location | None) -> None:
    """`InputError` for a folder in an object store that something else than `daily` has filled."""
    if isinstance(folder, Remote) and state_of(folder) == folder:
        for name in ("zarr.json", "catalog.json"):
            if (folder / name).is_file():
                raise InputError(
                    f"{folder}: `predict` or `export` made it; `daily` keeps a folder of its own in an "
                    "object store: give another address"
                )


def _request(job: DailyConfig, base: Path, cube: Location, product: Location, now: int) -> Request:
    """The maps of all days that the cube can serve, as of what has arrived."""
    bundle, held = location(job.bundle, base), open_cube(cube)
    first, last = to_day(job.start), min(now, last_day(held, load_bundle(bundle).catalogue, str(cube)))
    if last < first:
        raise InputError(
            f"{cube}: holds what maps need up to {iso(last)}, the first map is wanted of {iso(first)} (start)"
        )
    dated = [source.name for source in held.sources.values() if source.cadence in ("daily", "irregular")]
    complete = tuple((name, now - job.late.get(name, _LATE)) for name in dated)
    return Request(
        bundle=bundle,
        cube=cube,
        start=iso(first),
        end=iso(last),
        out=product,
        workers=job.workers,
        coarse=job.coarse,
        tile=job.tile,
        block_days=job.block_days,
        arrived=Arrived(now, complete, tuple(sorted(job.widen.items()))),
    )


def _map(request: Request, product: Location) -> dict[str, Any]:
    """Make what is new or stale, beside the product, and put it in its place."""
    with updating(product) as draft:
        todo = outstanding(replace(request, out=standing_state(product)))
        if todo:
            # What stands before is left alone, and not read.
            begin = max(day_number(request.start, "start"), todo[0].unit.first)
            again = replace(request, start=iso(begin), out=draft())
            refuse_failed(predict_product(again, forecast=False))
    counts = Counter(item.state for item in todo)
    provisional, days = _provisional_days(open_product(product), request)
    return {
        "units": {state: counts[state] for state in ("new", "stale")},
        "mapped": [request.start, request.end],
        "provisional": provisional,
        "final": days - provisional,
    }


def _provisional_days(product: Product, request: Request) -> tuple[int, int]:
    """How many of the days asked for are provisional, and how many there are."""
    first, stop = day_number(request.start, "start"), day_number(request.end, "end") + 1
    found: set[int] = set()
    for entry in product.ledger.read_all(unit.key for unit in product.layout.units(first, stop)):
        if entry is not None:
            found |= {day for day in range(entry.first, entry.stop) if entry.is_provisional(day)}
    return len(found), stop - first


def _export(job: DailyConfig, folder: Location, product: Location) -> list[str]:
    """Write the days whose files are not those of the product, beside the folder, and put it in its place."""
    made = open_product(product)
    store: Literal["none", "shards"] = "shards" if job.zarr else "none"
    with sole_writer(folder):
        done: tuple[int, ...] = ()
        with updating(folder, keep=(CATALOG_FILE,)) as draft:
            todo = outdated_days(made, standing_state(folder))
            if todo:
                done = export_product(made, draft(), todo[0], todo[-1], job.workers, store=store).written
        if isinstance(folder, Remote):
            write_entrance(folder)
    return [iso(day) for day in done]
