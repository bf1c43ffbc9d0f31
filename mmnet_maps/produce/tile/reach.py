"""How far in time the observations lie that a tile's values rest on, by source and day.

A filled value rests on the valid observations on either side of its day: once every pixel has had one, what
lies beyond cannot change a tile, whatever arrives later. `Reaches` finds these days from the stored values.
Two questions are then answered by dates alone: can late data change a unit, and is a day final?
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from mmnet_maps.produce.engine.engine import Engine
from mmnet_maps.produce.tile.inputs import TileInputs
from mmnet_maps.produce.tile.layers import outliers, together, years
from mmnet_maps.produce.tile.rules import usable_pixels
from mmnet_maps.variables import Variable

__all__ = ["Reach", "Reaches"]

#: First day whose observations the values rest on, then for each day the last one; None: no limit is known.
Reach = list[int | None]
_Mask = NDArray[np.bool_]
#: Stand for "no limit" while days are compared.
_EVER, _NEVER = 2**40, -(2**40)


class Reaches:
    """Reach of every source that changes with the day, over the sub-tiles of a unit.

    Parameters
    ----------
    engine : Engine
    days : ndarray of int64, shape (d,)
        Of the unit, consecutive.
    """

    def __init__(self, engine: Engine, days: NDArray[np.int64]) -> None:
        self._engine, self._days = engine, days
        self._first: dict[str, int] = {}
        self._until: dict[str, NDArray[np.int64]] = {}

    def told_of(self, tiles: Iterator[TileInputs]) -> Iterator[TileInputs]:
        """The same sub-tiles, each taken into account as it passes."""
        for inputs in tiles:
            self.add(inputs)
            yield inputs

    def add(self, inputs: TileInputs) -> None:
        """Take the observations of a sub-tile into account."""
        catalogue = self._engine.catalogue
        known = [name for name in ("LC",) if name in inputs.layers]
        usable = np.logical_or.reduce(
            [usable_pixels(self._engine, inputs, year)[0] for _, year in years(inputs, known, self._days)]
        )
        names = [n for n in catalogue.required if catalogue[n].cadence in ("daily", "irregular")]
        for variables in together(inputs, catalogue, names):
            cells = self._cells(inputs, variables, usable)
            for back in {catalogue.reach(variable.name) for variable in variables}:
                own = [variable for variable in variables if catalogue.reach(variable.name) == back]
                self._widen(inputs.layers[own[0].name].source, *_reach(inputs, own, cells, self._days, back))

    def found(self) -> dict[str, Reach]:
        """By source: the first day, then the last one for each day of the unit."""
        return {
            source: [_day(self._first[source]), *map(_day, self._until[source].tolist())]
            for source in sorted(self._first)
        }

    def _cells(self, inputs: TileInputs, variables: Sequence[Variable], usable: _Mask) -> NDArray[np.int64]:
        """Cells that the usable pixels rest on."""
        layer = inputs.layers[variables[0].name]
        index = inputs.index[layer.source]
        own = np.flatnonzero(usable) if index is None else np.unique(index[usable]).astype(np.int64)
        if self._engine.coarse == "nearest" or inputs.nodes is None or layer.source not in inputs.nodes.cells:
            return own
        # Between cells, neighbours count; what never holds a value lies outside the region.
        layers = [inputs.layers[variable.name] for variable in variables]
        ever = [(~np.isnan(layer.packing.decode(layer.stored))).any(axis=0) for layer in layers]
        return np.union1d(own, np.flatnonzero(np.logical_and.reduce(ever)))

    def _widen(self, source: str, first: int, until: NDArray[np.int64]) -> None:
        self._first[source] = min(first, self._first.get(source, _EVER))
        self._until[source] = np.maximum(until, self._until.get(source, until))


def _day(day: int) -> int | None:
    return None if day in (_EVER, _NEVER) else day


def _reach(
    inputs: TileInputs,
    variables: Sequence[Variable],
    cells: NDArray[np.int64],
    days: NDArray[np.int64],
    back: int,
) -> tuple[int, NDArray[np.int64]]:
    """First day, and last day for each day, of variables that are filled together.

    Parameters
    ----------
    back : int
        Days before each day that its value rests on too (of a series).
    """
    fill, gap = variables[0].fill, variables[0].max_gap
    if fill == "none" or not cells.size:
        return int(days[0]) - back, days
    observed = inputs.layers[variables[0].name].days
    wanted = np.arange(days[0] - back, days[-1] + 1, dtype=np.int64)
    scan = _Scan(observed, cells.size, _validity(inputs, variables, cells))
    before = scan.before(int(wanted[0]), gap)
    first = min(int(wanted[0]), before[1])
    if fill == "past":
        return first, days
    none = np.ones(cells.size, dtype=np.bool_)

    def last_of(day: int) -> int:
        return scan.after(day, gap, scan.before(day, gap)[0] if fill == "hold" else none)

    last = np.array([last_of(day) for day in wanted.tolist()])
    # A day needs all days of its window.
    windows = np.lib.stride_tricks.sliding_window_view(last, back + 1)
    return first, np.maximum(windows.max(axis=1), days)


def _validity(
    inputs: TileInputs, variables: Sequence[Variable], cells: NDArray[np.int64]
) -> Callable[[int], _Mask]:
    layers = [inputs.layers[variable.name] for variable in variables]

    def valid(row: int) -> _Mask:
        """Where all the variables have a usable value in an observation."""
        stored = np.stack([layer.stored[row, cells] for layer in layers])
        found: _Mask = ~np.logical_or.reduce(np.isnan(layers[0].packing.decode(stored)), axis=0)
        screened = outliers(stored[:, None], layers[0].packing, variables)
        return found if screened is None else found & ~screened[0]

    return cache(valid)


class _Scan:
    """Goes through observations from a day on until every cell has had a valid one."""

    def __init__(self, observed: NDArray[np.int64], cells: int, valid: Callable[[int], _Mask]) -> None:
        self._observed, self._cells, self._valid = observed, cells, valid

    def before(self, day: int, gap: int | None) -> tuple[_Mask, int]:
        """Cells without an observation on or before a day, and the day by which all others had theirs."""
        limit = _NEVER if gap is None else day - gap
        left = np.ones(self._cells, dtype=np.bool_)
        for row in range(int(np.searchsorted(self._observed, day, side="right")) - 1, -1, -1):
            if self._observed[row] < limit:
                break
            left &= ~self._valid(row)
            if not left.any():
                return left, int(self._observed[row])
        return left, limit

    def after(self, day: int, gap: int | None, left: _Mask) -> int:
        """The day by which all cells that are left have had an observation on or after a day."""
        limit = _EVER if gap is None else day + gap
        if not left.any():
            return day
        left = left.copy()
        for row in range(int(np.searchsorted(self._observed, day)), len(self._observed)):
            if self._observed[row] > limit:
                break
            left &= ~self._valid(row)
            if not left.any():
                return int(self._observed[row])
        return limit
