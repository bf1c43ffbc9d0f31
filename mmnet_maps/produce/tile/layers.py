"""Layers of a tile: which of them are filled together, what serves a year, and what is screened out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmnet_maps.catalogue import Catalogue
from mmnet_maps.dates import year_of
from mmnet_maps.packing import Packing
from mmnet_maps.prepare.features import nearest_release
from mmnet_maps.produce.tile.inputs import Layer, TileInputs
from mmnet_maps.variables import Variable

__all__ = ["Cells", "cells_of", "outliers", "rows_in_reach", "static_values", "together", "years"]

Cells = NDArray[np.int32] | NDArray[np.int64]
_PLAIN = Packing(dtype="float32")


def cells_of(inputs: TileInputs, source: str, pixels: NDArray[np.int64]) -> Cells:
    """Cell of a source for each of some pixels."""
    index = inputs.index[source]
    return pixels if index is None else index[pixels]


def years(inputs: TileInputs, names: Sequence[str], days: NDArray[np.int64]) -> Iterator[tuple[slice, int]]:
    """Runs of days that one release of every yearly layer serves: positions in `days`, and the year."""
    year = year_of(days)
    served = np.array([_release(inputs.layers[name], year) for name in names]).reshape(len(names), -1)
    change = np.flatnonzero((np.diff(served, axis=1) != 0).any(axis=0)) + 1
    for start, stop in zip([0, *change], [*change, len(days)], strict=True):
        yield slice(int(start), int(stop)), int(year[start])


def _release(layer: Layer, year: NDArray[np.int64]) -> NDArray[np.int64]:
    if not layer.days.size:
        return np.zeros(year.shape, dtype=np.int64)
    return nearest_release(year_of(layer.days).tolist(), year)


def static_values(
    inputs: TileInputs, name: str, year: int, amount: bool = False
) -> tuple[NDArray[Any], Packing]:
    """A variable that stays within a year, or the position: stored values of every pixel, and their packing.

    An amount is interpolated where the tile has nodes for its source.
    """
    if name in ("Latitude", "Longitude"):
        position = inputs.latitude if name == "Latitude" else inputs.longitude
        return position.astype(np.float32), _PLAIN
    layer, index = inputs.layers[name], inputs.index[inputs.layers[name].source]
    stored = layer.stored[int(_release(layer, np.array([year]))[0])]
    if inputs.nodes is not None and layer.source in inputs.nodes.cells and amount:
        return inputs.nodes.at_pixels(layer.source, layer.packing.decode(stored), index), _PLAIN
    # A pixel outside the source (-1) takes anything: it is not computed.
    return stored if index is None else stored.take(index), layer.packing


def rows_in_reach(layer: Layer, variable: Variable, days: NDArray[np.int64]) -> slice:
    """Observations that values of some days can rest on: none further away than `max_gap`."""
    if variable.max_gap is None:
        return slice(0, len(layer.days))
    reach = [days[0] - variable.max_gap, days[-1] + variable.max_gap + 1]
    begin, end = np.searchsorted(layer.days, reach)
    return slice(int(begin), int(end))


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


def outliers(
    stored: NDArray[Any], packing: Packing, variables: Sequence[Variable]
) -> NDArray[np.bool_] | None:
    """Observations with a reflectance outside its range: all bands of that pixel and day are unusable.

    The same rule as for stations (`prepare.stations.days.screen_reflectance`).

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
