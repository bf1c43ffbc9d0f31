"""Build a cube: in parts, in parallel, in bounded memory, and again where an input changed.

A part is one shard of every variable of one source. It has one owner, writes its data, then its digests, then
its entry in the ledger (the array ``made_from`` of the source): what it was made from. A part whose entry is
there and unchanged is not made again, so a build that died resumes, a later day touches the last shard alone,
and a replaced file its own. Of a part that is made again, only days whose inputs have changed are read from
them; the others come from the finished cube (`mmnet_maps.prepare.cube.earlier`). All of it happens in a draft
(`mmnet_maps.prepare.cube.draft`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from contextlib import nullcontext
from threading import Lock
from typing import Any, cast

import numpy as np
import zarr
from dask.base import compute
from dask.delayed import delayed
from dask.system import cpu_count

from mmnet_maps.errors import InputError
from mmnet_maps.grid import Grid, Tile, tiles
from mmnet_maps.prepare.cube import draft, index
from mmnet_maps.prepare.cube.config import Target
from mmnet_maps.prepare.cube.earlier import Earlier, earlier_of
from mmnet_maps.prepare.cube.layout import (
    FORMAT,
    add_day_ledger,
    add_mask,
    add_variable,
    create_source,
    set_days,
)
from mmnet_maps.prepare.cube.part import build_part
from mmnet_maps.prepare.cube.plan import (
    Days,
    Part,
    Plan,
    as_stored,
    plan_source,
    refuse_foreign,
    refuse_twice,
    up_to_date,
)
from mmnet_maps.prepare.cube.sources import open_sources
from mmnet_maps.prepare.cube.verify import lost, shards
from mmnet_maps.progress import say, steps
from mmnet_maps.source_reader import SourceReader
from mmnet_maps.store.arrays import open_group
from mmnet_maps.store.location import Location, location
from mmnet_maps.store.lock import sole_writer
from mmnet_maps.store.states import state_of
from mmnet_maps.store.whole import naming

__all__ = ["build_cube"]

#: A shard: its source and its index.
_Shard = tuple[str, tuple[int, int, int]]
#: Attribute of a draft: sources that its build changes; those that it does not name are whole.
_CHANGING = "changing"
#: Tiles of a mask, some 250 a second, from which on a reader is told how far they are.
_MANY_TILES = 2000
#: Pixels along a side of what is rasterised at once.
_BLOCK = 2048


def build_cube(
    target: Target,
    readers: Sequence[SourceReader],
    out: Location,
    days: Days = (None, None),
    workers: int | None = None,
) -> dict[str, Any]:
    """Build a cube, or bring one up to date.

    Sources that a cube already has and that `readers` does not name are left as they are.

    Parameters
    ----------
    target : Target
        Grid and region, from `CubeConfig.target`.
    readers : sequence of SourceReader
    out : Path or Remote
        The cube. It is drafted aside, and what was there stays readable until it is whole; a build that was
        stopped goes on from there.
    days : (int or None, int or None)
        First and last day to hold, as days since 1970-01-01; None is open.
    workers : int, optional
        Threads; by default one a processor. Each holds one shard of every variable of a source.

    Returns
    -------
    dict
        ``path``, ``sources`` (variables, days, cells), ``parts`` and ``parts_built``.

    Raises
    ------
    InputError
        A source does not reach the region or the days, `out` holds a cube of another region, or another build
        is writing to it.
    """
    out = location(out)
    plans = [plan_source(reader, target, days) for reader in readers]
    refuse_twice(plans)
    _refuse_empty(target)
    with sole_writer(out):
        refuse_foreign(out)
        draft.settle(out)
        begun, cube = draft.draft_of(out).exists(), state_of(out)
        held = (cube / "zarr.json").is_file()
        if begun or held:
            found = draft.draft_of(out) if begun else cube
            plans = [as_stored(plan, found, target) for plan in plans]
        parts = [part for plan in plans for part in plan.parts()]
        gone = _lost(cube, parts) if held and not begun else set()
        if held and not begun and not gone and not _changes(plans, parts, cube):
            return _summary(out, plans, parts, 0)
        folder = draft.resume(out) if begun else draft.begin_update(out) if held else draft.begin(out)
        root = open_group(folder, "r+")
        _forget_others(root, out, plans)
        _prepare(root, target, plans)
        for plan in plans:
            _shape_source(root, plan)
        missing = _missing(root, parts, gone)
        _run(root, folder, missing, workers, earlier_of(cube) if held else {})
        del root.attrs[_CHANGING]
        draft.appear(out)
    return _summary(out, plans, parts, len(missing))


def _forget_others(root: zarr.Group, out: Location, plans: list[Plan]) -> None:
    """Undo what an earlier build had begun of sources that this one does not name; then enter its own."""
    names = [plan.reader.name for plan in plans]
    for source in cast("list[str]", root.attrs.get(_CHANGING, [])):
        if source not in names:
            draft.leave_out(out, source)
    root.attrs[_CHANGING] = names


def _changes(plans: list[Plan], parts: list[Part], path: Location) -> bool:
    root = open_group(path)
    return not all(up_to_date(plan, root) for plan in plans) or bool(_missing(root, parts))


def _missing(root: zarr.Group, parts: list[Part], gone: Set[_Shard] = frozenset()) -> list[Part]:
    """Parts whose entry in the ledger is not what they would be made from now, and those that are gone."""
    names = {part.plan.reader.name for part in parts}
    ledgers = {name: np.asarray(cast("Any", root[f"{name}/made_from"])[...]) for name in names}
    return [
        part
        for part in parts
        if ledgers[part.plan.reader.name][part.index] != part.made_from or _shard_of(part) in gone
    ]


def _shard_of(part: Part) -> _Shard:
    return part.plan.reader.name, part.index


def _lost(path: Location, parts: list[Part]) -> set[_Shard]:
    """Shards of a finished cube whose files are gone."""
    sources = open_sources(open_group(path))
    names = sorted({part.plan.reader.name for part in parts} & sources.keys())
    found: dict[_Shard, list[Location]] = {}
    for name in names:
        found |= {(name, s.index): lost(path, sources[name], s) for s in shards(sources[name])}
    for files in filter(None, found.values()):
        say(f"{files[0]} is lost and is made again")
    return {shard for shard, files in found.items() if files}


def _refuse_empty(target: Target) -> None:
    if target.polygon is None:
        return
    for tile in tiles(target.grid, _BLOCK):
        if index.burn(target.grid.crop(tile), target.polygon, all_touched=False).any():
            return
    raise InputError(
        f"{target.made_from}: holds no pixel centre of the target grid; expected a larger region or "
        "finer pixels"
    )


def _prepare(root: zarr.Group, target: Target, plans: list[Plan]) -> None:
    """Write the region where it is new, and the groups of sources that are."""
    if "region" not in root.attrs:
        if target.polygon is not None:
            _write_inside(root, target)
        root.attrs.update(
            {
                "mmnet_maps_cube": FORMAT,
                "grid": target.grid.to_dict(),
                "region": {
                    "made_from": target.made_from,
                    "bounds": list(target.grid.bounds),
                    "polygon": target.polygon is not None,
                    "digest": target.digest,
                },
            }
        )
    for plan in plans:
        if plan.reader.name not in root or not root[plan.reader.name].attrs.get("ready"):
            group = create_source(root, plan.reader.name, plan.grid, plan.reader.cadence, plan.layout)
            _write_cells(group, plan, target)
            group.attrs["ready"] = True


def _write_inside(root: zarr.Group, target: Target) -> None:
    array = add_mask(root.require_group("region"), target.grid)
    array.attrs["long_name"] = "1 where a pixel centre lies in the region"
    assert target.polygon is not None
    for tile in _told(target.grid, array.chunks[0], "region"):
        inside = index.burn(target.grid.crop(tile), target.polygon, all_touched=False)
        array[tile.rows, tile.cols] = inside.astype(np.uint8)


def _write_cells(group: zarr.Group, plan: Plan, target: Target) -> None:
    array, region = add_mask(group, plan.grid), index.native_region(plan.grid, target)
    array.attrs.update({"flag_values": [0, 1, 2], "flag_meanings": "not_held margin region"})
    for tile in _told(plan.grid, array.chunks[0], f"cells of {plan.reader.name}"):
        held = index.needed_cells(plan.grid, plan.polygon, tile.rows, tile.cols)
        cells = np.ones((tile.height, tile.width), dtype=np.uint8) if held is None else held.astype(np.uint8)
        cells[index.burn(plan.grid.crop(tile), region, all_touched=True)] = 2
        array[tile.rows, tile.cols] = cells


def _told(grid: Grid, size: int, what: str) -> Iterator[Tile]:
    """The tiles of a grid; how far they are is said where there are so many that it takes a while."""
    count = -(-grid.height // size) * -(-grid.width // size)
    with steps(what, count) if count >= _MANY_TILES else nullcontext() as advance:
        for tile in tiles(grid, size):
            yield tile
            if advance is not None:
                advance()


def _shape_source(root: zarr.Group, plan: Plan) -> None:
    group = cast("zarr.Group", root[plan.reader.name])
    for name, packing in plan.reader.variables.items():
        definition = plan.reader.definitions[name]
        if name not in group:
            add_variable(group, definition, packing)
        elif group[name].attrs["definition"] != definition.model_dump(mode="json"):
            group[name].attrs["definition"] = definition.model_dump(mode="json")
    of = sorted(plan.reader.variables)
    if group["digest"].attrs.get("variables") != of:
        group["digest"].attrs["variables"] = of
    if not plan.static:
        set_days(group, plan.days)
        if "day_made_from" not in group:
            add_day_ledger(group)


def _run(
    root: zarr.Group, folder: Location, parts: list[Part], workers: int | None, earlier: dict[str, Earlier]
) -> None:
    if not parts:
        return
    names = {part.plan.reader.name for part in parts}
    arrays = {name: dict(cast("zarr.Group", root[name]).arrays()) for name in names}
    lock = Lock()
    with steps("cube", len(parts)) as advance:

        def work(part: Part) -> None:
            with naming(folder / part.plan.reader.name):
                build_part(part, arrays[part.plan.reader.name], earlier.get(part.plan.reader.name))
            with lock:
                advance(1, part.plan.reader.name)

        jobs = [delayed(work, pure=False)(part) for part in parts]
        threads = workers or cpu_count()
        compute(*jobs, scheduler="threads", num_workers=threads)  # type: ignore[no-untyped-call]


def _summary(out: Location, plans: list[Plan], parts: list[Part], built: int) -> dict[str, Any]:
    def one(plan: Plan) -> dict[str, Any]:
        span = [] if plan.static else [str(np.datetime64(int(d), "D")) for d in plan.days[[0, -1]]]
        return {
            "variables": list(plan.reader.variables),
            "days": 0 if plan.static else int(plan.days.size),
            "from": span[0] if span else None,
            "to": span[-1] if span else None,
            "cells": [plan.grid.height, plan.grid.width],
            "crs": plan.grid.crs[:60],
        }

    return {
        "path": str(out),
        "sources": {plan.reader.name: one(plan) for plan in plans},
        "parts": len(parts),
        "parts_built": built,
    }
