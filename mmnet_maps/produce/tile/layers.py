"""Layers of a tile as values on pixels, each in the cheapest way: still, coarse, or a line in time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mmnet_maps.catalogue import Catalogue
from mmnet_maps.packing import Packing
from mmnet_maps.prepare.features import nearest_release
from mmnet_maps.prepare.gap_fill import gap_fill
from mmnet_maps.produce.tile.inputs import Layer, TileInputs
from mmnet_maps.produce.tile.lines import LineFill
from mmnet_maps.produce.tile.trust import age_flag
from mmnet_maps.variables import Variable

__all__ = [
    "CoarseGroup",
    "Group",
    "GroupBlock",
    "LineGroup",
    "cells_of",
    "dynamic_groups",
    "release_row",
    "still",
    "together",
    "years",
]

Array = NDArray[np.float32]
Cells = NDArray[np.int32] | NDArray[np.int64]
Quality = NDArray[np.uint16]

#: Fewer cells than this part of the pixels are filled as cells.
_COARSE = 4


def cells_of(inputs: TileInputs, source: str, pixels: NDArray[np.int64]) -> Cells:
    """Cell of a source for each of some pixels."""
    index = inputs.index[source]
    return pixels if index is None else index[pixels]


def years(inputs: TileInputs, names: Sequence[str], days: NDArray[np.int64]) -> Iterator[tuple[slice, int]]:
    """Runs of days that one release of every yearly layer serves: places in `days`, and the year."""
    year = days.astype("datetime64[D]").astype("datetime64[Y]").astype(np.int64) + 1970
    served = np.array([_release(inputs.layers[name], year) for name in names]).reshape(len(names), -1)
    change = np.flatnonzero((np.diff(served, axis=1) != 0).any(axis=0)) + 1
    for start, stop in zip([0, *change], [*change, len(days)], strict=True):
        yield slice(int(start), int(stop)), int(year[start])


def _release(layer: Layer, year: NDArray[np.int64]) -> NDArray[np.int64]:
    if not layer.days.size:
        return np.zeros(year.shape, dtype=np.int64)
    releases = layer.days.astype("datetime64[D]").astype("datetime64[Y]").astype(np.int64) + 1970
    return nearest_release(list(releases), year)


def still(inputs: TileInputs, name: str, year: int, pixels: NDArray[np.int64]) -> Array:
    """A variable that does not change within a year, or the place, at some pixels."""
    if name in ("Latitude", "Longitude"):
        place = inputs.latitude if name == "Latitude" else inputs.longitude
        return place[pixels].astype(np.float32)
    layer = inputs.layers[name]
    row = release_row(layer, year)
    return layer.packing.decode(layer.stored[row].take(cells_of(inputs, layer.source, pixels)))


def release_row(layer: Layer, year: int) -> int:
    """Row of a layer that does not change within a year, for that year."""
    return int(_release(layer, np.array([year]))[0])


class GroupBlock(Protocol):
    """Variables of a source at the pixels of one block."""

    def write(self, place: int, raw: Array, quality: Quality) -> None:
        """Write the variables of a day into rows of `raw`, and what is old into `quality`."""


class Group(Protocol):
    """Variables that are filled together."""

    names: tuple[str, ...]

    def block(self, pixels: NDArray[np.int64]) -> GroupBlock:
        """At the pixels of one block."""


class CoarseGroup:
    """Variables of a source with few cells: filled once for all days on the cells, then gathered."""

    def __init__(self, inputs: TileInputs, variables: Sequence[Variable], days: NDArray[np.int64]) -> None:
        self.names = tuple(v.name for v in variables)
        self._inputs, self._source = inputs, inputs.layers[self.names[0]].source
        cells = inputs.layers[self.names[0]].stored.shape[1]
        self.values = np.empty((len(days), len(variables), cells), dtype=np.float32)
        self.old = np.zeros((len(days), cells), dtype=np.uint16)
        stored = np.stack([inputs.layers[name].stored for name in self.names])
        screened = _outliers(stored, inputs.layers[self.names[0]].packing, variables)
        for row, variable in enumerate(variables):
            layer = inputs.layers[variable.name]
            decoded = layer.packing.decode(layer.stored)
            if screened is not None:
                decoded[screened] = np.nan
            filled = gap_fill(layer.days, decoded, days, variable.fill, variable.max_gap)
            self.values[:, row] = filled.values
            if variable.max_age is not None:
                self.old[filled.age > variable.max_age] |= age_flag(variable)
        self.any_old = (self.old != 0).any(axis=1)

    def block(self, pixels: NDArray[np.int64]) -> GroupBlock:
        """At the pixels of one block."""
        return _CoarseBlock(self, cells_of(self._inputs, self._source, pixels).astype(np.intp))


@dataclass
class _CoarseBlock:
    group: CoarseGroup
    cells: NDArray[np.intp]

    def write(self, place: int, raw: Array, quality: Quality) -> None:
        for row, values in enumerate(self.group.values[place]):
            # Cells are known to be in range; "clip" writes into the row without a copy.
            values.take(self.cells, out=raw[row], mode="clip")
        if self.group.any_old[place]:
            quality |= self.group.old[place].take(self.cells)


class LineGroup:
    """Variables of a source with a cell a pixel: a line in time for each pixel and variable.

    One block is open at a time: all of them use the same memory for their scenes.
    """

    def __init__(self, inputs: TileInputs, variables: Sequence[Variable], days: NDArray[np.int64]) -> None:
        self.names = tuple(v.name for v in variables)
        self._inputs, self._days, self._first = inputs, days, variables[0]
        self._scenes: NDArray[Any] | None = None
        layer = inputs.layers[self.names[0]]
        self._source, self._rows = layer.source, slice(0, layer.days.size)
        self._variables = tuple(variables)
        if self._first.max_gap is not None:
            # No value rests on an observation further away than this.
            reach = self._first.max_gap
            begin, end = np.searchsorted(layer.days, [days[0] - reach, days[-1] + reach + 1])
            self._rows = slice(int(begin), int(end))

    def block(self, pixels: NDArray[np.int64]) -> GroupBlock:
        """At the pixels of one block."""
        cells = cells_of(self._inputs, self._source, pixels)
        chosen: slice | Cells = cells
        if cells[-1] - cells[0] == len(cells) - 1 and (np.diff(cells) == 1).all():
            chosen = slice(int(cells[0]), int(cells[-1]) + 1)
        layers = [self._inputs.layers[name] for name in self.names]
        shape = (len(layers), self._rows.stop - self._rows.start, len(cells))
        if self._scenes is None or self._scenes.shape != shape:
            self._scenes = np.empty(shape, dtype=layers[0].stored.dtype)
        for scene, layer in zip(self._scenes, layers, strict=True):
            scene[...] = layer.stored[self._rows, chosen]
        observed, packing, variable = layers[0].days[self._rows], layers[0].packing, self._first
        screened = _outliers(self._scenes, packing, self._variables)
        if screened is not None:
            self._scenes[:, screened] = packing.encode(np.array([np.nan]))[0]
        first = int(self._days[0])
        fill = LineFill(
            observed, self._scenes, packing, first, variable.fill, variable.max_gap, variable.max_age
        )
        return _LineBlock(fill, self._days, age_flag(variable))


@dataclass
class _LineBlock:
    fill: LineFill
    days: NDArray[np.int64]
    flag: np.uint16

    def write(self, place: int, raw: Array, quality: Quality) -> None:
        old = self.fill.fill(int(self.days[place]), raw)
        if old is not None:
            quality |= old.astype(np.uint16) * self.flag


def _outliers(
    stored: NDArray[Any], packing: Packing, variables: Sequence[Variable]
) -> NDArray[np.bool_] | None:
    """Observations with a reflectance outside its range: all bands of that pixel and day are unusable.

    The same rule as for stations (`prepare.station_days.screen_reflectance`).

    Parameters
    ----------
    stored : ndarray, shape (bands, s, n)
    packing : Packing
    variables : sequence of Variable
        Of the bands.

    Returns
    -------
    ndarray of bool, shape (s, n), or None
        None where there is none.
    """
    bad: NDArray[np.bool_] | None = None
    for band, variable in zip(stored, variables, strict=True):
        if variable.is_reflectance:
            own = _outside(band, packing, variable.valid_range)
            bad = own if bad is None else np.logical_or(bad, own, out=bad)
    return bad if bad is not None and bad.any() else None


def _outside(stored: NDArray[Any], packing: Packing, limits: tuple[float, float]) -> NDArray[np.bool_]:
    """Where a decoded value leaves its range; integers are compared as they are stored."""
    if stored.dtype.kind == "f" or packing.scale <= 0 or packing.missing is None:
        values = packing.decode(stored)
        outside: NDArray[np.bool_] = (values < limits[0]) | (values > limits[1])
        return outside
    low, high = _stored_limits(packing, limits)
    outside = (stored < low) | (stored > high)
    outside &= stored != stored.dtype.type(packing.missing)
    return outside


@lru_cache
def _stored_limits(packing: Packing, limits: tuple[float, float]) -> tuple[int, int]:
    """Smallest and largest stored integer whose decoded value lies within the limits."""
    kind, bare = np.iinfo(packing.dtype), packing.model_copy(update={"missing": None})
    found = []
    for limit in limits:
        guess = round((limit - packing.offset) / packing.scale)
        near = np.clip(np.arange(guess - 2, guess + 3), kind.min, kind.max).astype(packing.dtype)
        values = bare.decode(near)
        found.append(near[(values >= limits[0]) & (values <= limits[1])])
    return int(found[0].min(initial=kind.max)), int(found[1].max(initial=kind.min))


def dynamic_groups(
    inputs: TileInputs, catalogue: Catalogue, names: Sequence[str], days: NDArray[np.int64]
) -> list[Group]:
    """The variables that change with the day, filled in groups, each in the way that suits its cells."""
    pixels = len(inputs.inside)
    found: list[Group] = []
    for members in together(inputs, catalogue, names):
        cells = inputs.layers[members[0].name].stored.shape[1]
        found.append((CoarseGroup if cells * _COARSE <= pixels else LineGroup)(inputs, members, days))
    return found


def together(inputs: TileInputs, catalogue: Catalogue, names: Sequence[str]) -> list[list[Variable]]:
    """Group variables that change with the day by source, storage, dates and way of filling."""
    found: list[tuple[Layer, list[Variable]]] = []
    for name in names:
        layer, variable = inputs.layers[name], catalogue[name]
        for other, members in found:
            if _same_dates(layer, other) and _same_filling(variable, members[0]):
                members.append(variable)
                break
        else:
            found.append((layer, [variable]))
    return [members for _, members in found]


def _same_dates(one: Layer, other: Layer) -> bool:
    same_form = one.stored.shape == other.stored.shape and one.packing == other.packing
    return one.source == other.source and same_form and bool(np.array_equal(one.days, other.days))


def _same_filling(one: Variable, other: Variable) -> bool:
    return all(getattr(one, k) == getattr(other, k) for k in ("fill", "max_gap", "max_age", "sensor"))
