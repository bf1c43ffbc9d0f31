"""What goes into a cube: for each source its window, steps and shards, and what each shard is made from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import zarr
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from mmnet_maps.errors import InputError
from mmnet_maps.grid import Grid, Tile
from mmnet_maps.prepare.cube import index
from mmnet_maps.prepare.cube.config import Target, refuse_too_many_cells
from mmnet_maps.prepare.cube.draft import is_cube
from mmnet_maps.prepare.cube.layout import FORMAT, Layout, choose_layout, has_days
from mmnet_maps.source_reader import SourceReader
from mmnet_maps.store.arrays import open_group
from mmnet_maps.store.location import Location

__all__ = ["Part", "Plan", "as_stored", "plan_source", "refuse_foreign", "refuse_twice", "up_to_date"]

Days = tuple[int | None, int | None]


@dataclass(frozen=True)
class Plan:
    """What of one source goes into the cube.

    Attributes
    ----------
    reader : SourceReader
    window : Tile
        Of the reader's grid; it may reach beyond it.
    grid : Grid
        Of the window: what the cube holds.
    layout : Layout
    first, last : int
        Steps of the reader, `last` exclusive.
    polygon : shapely geometry, optional
        The region in the CRS of the source, with its margin.
    """

    reader: SourceReader
    window: Tile
    grid: Grid
    layout: Layout
    first: int
    last: int
    polygon: BaseGeometry | None

    @property
    def static(self) -> bool:
        """Whether the source has no days."""
        return self.reader.cadence == "static"

    @property
    def days(self) -> NDArray[np.int64]:
        """Days that the cube is to hold."""
        return self.reader.days[self.first : self.last]

    def parts(self) -> Iterator[Part]:
        """One part a shard."""
        long, high, wide = self.layout.shards
        for step, begin in enumerate(range(self.first, self.last, long)):
            end = min(begin + long, self.last)
            what = self._made_from(begin, end)
            for row in range(0, self.grid.height, high):
                for col in range(0, self.grid.width, wide):
                    tile = Tile(row, col, min(high, self.grid.height - row), min(wide, self.grid.width - col))
                    yield Part(self, begin, end, tile, (step, row // high, col // wide), what)

    def days_made_from(self, begin: int, end: int) -> NDArray[np.uint64]:
        """What each of these steps is made from, as `Part.made_from` says it of all together."""
        return np.array([self._made_from(k, k + 1) for k in range(begin, end)], dtype=np.uint64)

    def _made_from(self, begin: int, end: int) -> int:
        facts = {
            "format": FORMAT,
            "grid": self.grid.to_dict(),
            "days": [] if self.static else self.reader.days[begin:end].tolist(),
            "packing": {k: v.model_dump(mode="json") for k, v in sorted(self.reader.variables.items())},
            "inputs": self.reader.identity(begin, end),
        }
        digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).digest()
        return int.from_bytes(digest[:8], "little") | 1  # 0 stands for a part that was never made


@dataclass(frozen=True)
class Part:
    """One shard of every variable of a source: the unit of work of a build.

    Attributes
    ----------
    plan : Plan
    begin, end : int
        Steps of the reader, `end` exclusive.
    tile : Tile
        Rows and columns of the plan's grid.
    index : tuple of int
        Place in the ledger array ``made_from``.
    made_from : int
        Digest of the inputs: files, days, storage.
    """

    plan: Plan
    begin: int
    end: int
    tile: Tile
    index: tuple[int, int, int]
    made_from: int


def plan_source(reader: SourceReader, target: Target, days: Days) -> Plan:
    """Window, steps and shards of a source; `InputError` if it does not reach the region or the days."""
    window = index.native_window(reader.grid, target)
    if index.covered(reader.grid, window) is None:
        left, bottom, right, top = (round(v, 3) for v in reader.grid.bounds)
        extent = f"{reader.grid.crs[:40]}, x {left} to {right}, y {bottom} to {top}"
        raise InputError(
            f"source {reader.name}: its rasters ({extent}) do not touch the region ({target.made_from}); "
            "expected rasters over it: wrong CRS or swapped axes?"
        )
    refuse_too_many_cells(reader.grid.crop(window), f"source {reader.name}")
    static = reader.cadence == "static"
    first, last = (0, 1) if static else _steps(reader, days)
    coarse = index.is_coarse(reader.grid, target.grid)
    layout = choose_layout(window.height, window.width, coarse, static)
    polygon = index.native_polygon(reader.grid, target)
    return Plan(reader, window, reader.grid.crop(window), layout, first, last, polygon)


def _steps(reader: SourceReader, days: Days) -> tuple[int, int]:
    """Steps of a source that lie in the days to hold; all years, since the latest one counts on."""
    if reader.cadence == "yearly":
        return 0, int(reader.days.size)
    first = 0 if days[0] is None else int(np.searchsorted(reader.days, days[0], side="left"))
    last = reader.days.size if days[1] is None else int(np.searchsorted(reader.days, days[1], side="right"))
    if first >= last:
        span = " to ".join(str(np.datetime64(int(d), "D")) for d in reader.days[[0, -1]])
        asked = " to ".join("open" if d is None else str(np.datetime64(d, "D")) for d in days)
        raise InputError(f"source {reader.name} has no day in {asked}; its rasters are of {span}")
    return first, int(last)


def refuse_twice(plans: list[Plan]) -> None:
    """`InputError` if two sources hold one variable."""
    held: dict[str, str] = {}
    for plan in plans:
        for name in plan.reader.variables:
            if name in held:
                raise InputError(
                    f"variable {name} is in source {held[name]} and in source {plan.reader.name}"
                )
            held[name] = plan.reader.name


def refuse_foreign(path: Location) -> None:
    """`InputError` if there is something that is no cube."""
    if path.exists() and not (path.is_dir() and (is_cube(path) or not any(path.iterdir()))):
        raise InputError(f"{path}: holds something else; choose another --out or remove it")


def as_stored(plan: Plan, path: Location, target: Target) -> Plan:
    """The plan on the grid that the cube already has for this source, which must be the same lattice."""
    root = open_group(path)
    if root.attrs.get("complete") is False and "region" not in root.attrs:  # a draft that was hardly begun
        return plan
    region = cast("dict[str, Any]", root.attrs.get("region", {}))
    if root.attrs.get("mmnet_maps_cube") != FORMAT or region.get("digest") != target.digest:
        raise InputError(
            f"{path}: holds a cube of another region, grid or format; choose another --out or remove it"
        )
    if plan.reader.name not in root or not root[plan.reader.name].attrs.get("ready"):
        return plan
    group = root[plan.reader.name]
    stored = Grid.from_dict(cast("dict[str, Any]", group.attrs["grid"]))
    # The last digits of a grid may be those of another file of the source than before.
    offset = stored.aligned_offset(plan.reader.grid, 0.01)
    shape = stored.shape if offset is None else (plan.window.height, plan.window.width)
    if offset is None or shape != stored.shape or group.attrs["cadence"] != plan.reader.cadence:
        raise InputError(
            f"source {plan.reader.name}: {path} holds it on another grid or cadence; expected the same "
            f"({stored.crs}, pixel {stored.transform[0]:g}): choose another --out or remove it"
        )
    _refuse_other_storage(plan, cast("zarr.Group", group), path)
    window = Tile(offset[0], offset[1], *stored.shape)
    return replace(plan, window=window, grid=stored)


def _refuse_other_storage(plan: Plan, group: zarr.Group, path: Location) -> None:
    for name, packing in plan.reader.variables.items():
        now = packing.model_dump(mode="json")
        before = cast("Any", group[name]).attrs["packing"] if name in group else now
        if before != now:
            raise InputError(
                f"source {plan.reader.name}: {path} holds {name} stored as {before}, its rasters now "
                f"say {now}; choose another --out or remove it"
            )


def up_to_date(plan: Plan, root: zarr.Group) -> bool:
    """Whether a cube has the variables and the days of a plan; its parts are another question."""
    if plan.reader.name not in root:
        return False
    group = cast("zarr.Group", root[plan.reader.name])
    if any(name not in group for name in plan.reader.variables):
        return False
    return plan.static or has_days(group, plan.days)
