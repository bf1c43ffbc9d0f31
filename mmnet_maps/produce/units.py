"""Work units: a tile and a block of days, aligned to whole shards of the product.

A unit owns its part of the output (no two units touch one stored object) and is a pure function of its
inputs, so it may run anywhere, in any order, twice or again after a crash, and gives the same bytes
on one kind of processor.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mmnet_maps.dates import NO_DAY, from_yyyymmdd
from mmnet_maps.errors import InputError
from mmnet_maps.grid import Grid, Tile, day_blocks, tiles

__all__ = ["Layout", "Unit", "day_number", "iso"]


def iso(day: int) -> str:
    """``YYYY-MM-DD`` of a day counted from 1970-01-01."""
    return str(np.datetime64(int(day), "D"))


def day_number(text: str, what: str) -> int:
    """Days since 1970-01-01 of ``YYYY-MM-DD`` or ``YYYYMMDD``; `InputError` names `what` was given."""
    digits = text.replace("-", "")
    if len(digits) == 8 and digits.isdigit():
        day = int(from_yyyymmdd(np.array([int(digits)]))[0])
        if day != NO_DAY:
            return day
    raise InputError(f"--{what} {text}: expected a day as YYYY-MM-DD")


@dataclass(frozen=True)
class Unit:
    """A tile of the target grid over days ``first`` to ``stop`` (exclusive, days since 1970-01-01)."""

    tile: Tile
    first: int
    stop: int

    @property
    def key(self) -> str:
        """Name by position: first day of the block, row and column of the tile's first pixel."""
        return f"{iso(self.first).replace('-', '')}-r{self.tile.row:06d}-c{self.tile.col:06d}"

    @property
    def days(self) -> int:
        """How many days it covers."""
        return self.stop - self.first

    def __str__(self) -> str:
        return self.key


@dataclass(frozen=True)
class Layout:
    """How a product is cut into units.

    Attributes
    ----------
    grid : Grid
        Target grid.
    start, stop : int
        First day of the product, and the day after its last, since 1970-01-01; blocks count from `start`.
    tile : int
        Rows and columns of a tile.
    block_days : int
        Days of a block.
    """

    grid: Grid
    start: int
    stop: int
    tile: int
    block_days: int

    def blocks(self, first: int | None = None, stop: int | None = None) -> Iterator[tuple[int, int]]:
        """Whole blocks that touch days ``first`` to ``stop`` (exclusive); the last ends with the product."""
        low = self.start if first is None else max(first, self.start)
        high = self.stop if stop is None else min(stop, self.stop)
        low -= (low - self.start) % self.block_days
        for begin, _ in day_blocks(low, high, self.block_days, self.start):
            yield begin, min(begin + self.block_days, self.stop)

    def tiles(self) -> Iterator[Tile]:
        """Tiles of the grid, row by row."""
        return tiles(self.grid, self.tile)

    def units(self, first: int | None = None, stop: int | None = None) -> Iterator[Unit]:
        """Every unit that touches the days ``first`` to ``stop`` (exclusive), block by block."""
        for begin, end in self.blocks(first, stop):
            for tile in self.tiles():
                yield Unit(tile, begin, end)

    def shard(self, unit: Unit) -> tuple[int, int, int]:
        """Position (time, y, x) of the shard that a unit owns in every layer."""
        return (
            (unit.first - self.start) // self.block_days,
            unit.tile.row // self.tile,
            unit.tile.col // self.tile,
        )
