"""Build a cube: in parts, in parallel, in bounded memory, and again where an input changed.

A part is one shard of every variable of one source. It has one owner, writes its data, then its digests, then
its place in the ledger (the array ``made_from`` of the source): what it was made from. A part whose entry is
there and unchanged is not made again, so a build that died resumes, a later day touches the last shard alone,
and a replaced file its own.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import Any, cast

import numpy as np
import zarr
from dask.base import compute
from dask.delayed import delayed

from mmnet_maps.errors import InputError
from mmnet_maps.grid import tiles
from mmnet_maps.prepare.cube import index as place
from mmnet_maps.prepare.cube.config import Target
from mmnet_maps.prepare.cube.layout import FORMAT, add_mask, add_variable, create_source, set_days
from mmnet_maps.prepare.cube.part import build_part
from mmnet_maps.prepare.cube.plan import Days, Part, Plan, as_stored, plan_source, refuse_twice, up_to_date
from mmnet_maps.progress import steps
from mmnet_maps.source_reader import SourceReader

__all__ = ["build_cube"]

#: Pixels along a side of what is rasterised at once.
_BLOCK = 2048


def build_cube(
    target: Target,
    readers: Sequence[SourceReader],
    out: Path,
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
    out : Path
        The cube. While it is being built it is called ``<out>.partial``; a build that was stopped goes on
        from there.
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
        A source does not reach the region or the days, or `out` holds a cube of another region.
    """
    out = Path(out)
    partial = out.with_name(out.name + ".partial")
    plans = [plan_source(reader, target, days) for reader in readers]
    refuse_twice(plans)
    _refuse_empty(target)
    if partial.exists() and out.exists():
        raise InputError(f"{out}: both it and {partial.name} are there; remove the one that is not wanted")
    found = next((p for p in (partial, out) if p.exists()), None)
    if found is not None:
        plans = [as_stored(plan, found, target) for plan in plans]
    parts = [part for plan in plans for part in plan.parts()]
    if found == out and not _changes(plans, parts, out):
        return _summary(out, plans, parts, 0)
    if found == out:
        out.replace(partial)
    partial.mkdir(parents=True, exist_ok=True)
    root = _prepare(partial, target, plans)
    for plan in plans:
        _shape_source(root, plan)
    missing = _missing(root, parts)
    _run(root, missing, workers)
    root.attrs["complete"] = True
    partial.replace(out)
    return _summary(out, plans, parts, len(missing))


def _changes(plans: list[Plan], parts: list[Part], path: Path) -> bool:
    root = zarr.open_group(path, mode="r")
    return not all(up_to_date(plan, root) for plan in plans) or bool(_missing(root, parts))


def _missing(root: zarr.Group, parts: list[Part]) -> list[Part]:
    """Parts whose entry in the ledger is not what they would be made from now."""
    names = {part.plan.reader.name for part in parts}
    ledgers = {name: np.asarray(cast("Any", root[f"{name}/made_from"])[...]) for name in names}
    return [part for part in parts if ledgers[part.plan.reader.name][part.index] != part.made_from]


def _refuse_empty(target: Target) -> None:
    if target.polygon is None:
        return
    for tile in tiles(target.grid, _BLOCK):
        if place.burn(target.grid.crop(tile), target.polygon, all_touched=False).any():
            return
    raise InputError(
        f"{target.made_from}: holds no pixel centre of the target grid; expected a larger region or "
        "finer pixels"
    )


def _prepare(path: Path, target: Target, plans: list[Plan]) -> zarr.Group:
    """Open the group that is being built; write the region first where it is new."""
    root = zarr.open_group(path, mode="a", zarr_format=3)
    root.attrs["complete"] = False
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
    return root


def _write_inside(root: zarr.Group, target: Target) -> None:
    array = add_mask(root.require_group("region"), target.grid)
    array.attrs["long_name"] = "1 where a pixel centre lies in the region"
    assert target.polygon is not None
    for tile in tiles(target.grid, array.chunks[0]):
        inside = place.burn(target.grid.crop(tile), target.polygon, all_touched=False)
        array[tile.rows, tile.cols] = inside.astype(np.uint8)


def _write_cells(group: zarr.Group, plan: Plan, target: Target) -> None:
    array, region = add_mask(group, plan.grid), place.native_region(plan.grid, target)
    array.attrs.update({"flag_values": [0, 1, 2], "flag_meanings": "not_held margin region"})
    for tile in tiles(plan.grid, array.chunks[0]):
        held = place.needed_cells(plan.grid, plan.polygon, tile.rows, tile.cols)
        cells = np.ones((tile.height, tile.width), dtype=np.uint8) if held is None else held.astype(np.uint8)
        cells[place.burn(plan.grid.crop(tile), region, all_touched=True)] = 2
        array[tile.rows, tile.cols] = cells


def _shape_source(root: zarr.Group, plan: Plan) -> None:
    group = cast("zarr.Group", root[plan.reader.name])
    if not plan.static and not np.array_equal(np.asarray(cast("Any", group["time"])[:]), plan.days):
        set_days(group, plan.days)
    for name, packing in plan.reader.variables.items():
        definition = plan.reader.definitions[name]
        if name not in group:
            add_variable(group, definition, packing)
        elif group[name].attrs["definition"] != definition.model_dump(mode="json"):
            group[name].attrs["definition"] = definition.model_dump(mode="json")


def _run(root: zarr.Group, parts: list[Part], workers: int | None) -> None:
    if not parts:
        return
    names = {part.plan.reader.name for part in parts}
    arrays = {name: dict(cast("zarr.Group", root[name]).arrays()) for name in names}
    lock = Lock()
    with steps("cube", len(parts)) as advance:

        def work(part: Part) -> None:
            build_part(part, arrays[part.plan.reader.name])
            with lock:
                advance(1, part.plan.reader.name)

        jobs = [delayed(work, pure=False)(part) for part in parts]
        threads = workers or os.cpu_count() or 1
        compute(*jobs, scheduler="threads", num_workers=threads)  # type: ignore[no-untyped-call]


def _summary(out: Path, plans: list[Plan], parts: list[Part], built: int) -> dict[str, Any]:
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
