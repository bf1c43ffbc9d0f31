"""The coarse side of a tile: every distinct combination of cells of the series' sources, once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from threading import Lock

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmnet_maps.catalogue import SOIL_STATE_INPUTS, Catalogue
from mmnet_maps.prepare.features import window
from mmnet_maps.prepare.gap_fill import gap_fill
from mmnet_maps.prepare.soil_state import derive_series
from mmnet_maps.produce.engine.engine import Engine
from mmnet_maps.produce.tile.inputs import TileInputs
from mmnet_maps.produce.tile.layers import Cells, cells_of
from mmnet_maps.produce.tile.nodes import Nodes
from mmnet_maps.produce.tile.trust import (
    OUTSIDE_TRAINING_DOMAIN,
    SERIES_MISSING,
    SNOW_OR_FROZEN,
    WINDOW_GAP_FILLED,
    Limits,
    freezing_point,
    mark,
)

__all__ = ["Encoder", "Series", "series_parts"]

Array = NDArray[np.float32]

#: Bytes that the table of one part may take.
_TABLE = 64 * 2**20
#: Bytes of encoded series that are kept from tile to tile.
_KEPT = 16 * 2**20


@dataclass(frozen=True)
class Series:
    """Series of some pixels of a tile, encoded.

    Attributes
    ----------
    pixels : ndarray of int64, shape (n,)
    table : Tensor, shape (days, rows, width)
        `Engine.series_table`.
    rows : ndarray of int64, shape (n,) or (n, 4)
        Row of `table` for each pixel, or the four that it lies between.
    weights : ndarray of float32, shape (n, 4), or None
        Of the four rows.
    bits : ndarray of int32, shape (days, places)
        Bits that stem from the series, of every distinct combination of cells.
    places : ndarray of int64, shape (n,)
        Column of `bits` for each pixel.
    similar : Tensor, shape (days, rows, columns), or None
        `Dissimilarity.table`, in the rows of `table`.
    """

    pixels: NDArray[np.int64]
    table: Tensor
    rows: NDArray[np.int64]
    weights: NDArray[np.float32] | None
    bits: NDArray[np.int32]
    places: NDArray[np.int64]
    similar: Tensor | None


class Encoder:
    """Encodes the series of tiles; tiles beside each other share many, which are encoded once.

    A series is known by its values. Its bits do not depend on what it is encoded together with, so the rows
    that are kept equal new ones. May be shared between threads.

    Parameters
    ----------
    engine : Engine
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._kept: dict[bytes, Tensor] = {}
        self._held = 0
        self._lock = Lock()

    def table(self, values: Array, count: int) -> Tensor:
        """`Engine.series_table` of the same values."""
        with self._lock:
            return self._table(values, count)

    def _table(self, values: Array, count: int) -> Tensor:
        if self._held > _KEPT:
            self._kept, self._held = {}, 0
        keys = [series.tobytes() for series in values.transpose(1, 0, 2)]
        new = {key: place for place, key in enumerate(keys) if key not in self._kept}
        if new:
            table = self.engine.series_table(values[:, list(new.values())], count)
            self._held += table.nbytes
            self._kept |= zip(new, table.unbind(1), strict=True)
            if len(new) == len(keys):
                return table
        return torch.stack([self._kept[key] for key in keys], dim=1)


def series_parts(
    encoder: Encoder, inputs: TileInputs, pixels: NDArray[np.int64], days: NDArray[np.int64]
) -> Iterator[Series]:
    """Encode the series of some pixels, in parts whose tables fit in memory.

    Sources so fine that every pixel has a series of its own are worked through in small parts; the usual tile
    is one part.
    """
    if not pixels.size:
        return
    engine = encoder.engine
    sources = list(dict.fromkeys(inputs.layers[name].source for name in engine.catalogue.series_inputs))
    cells = {source: cells_of(inputs, source, pixels) for source in sources}
    key = np.zeros(len(pixels), dtype=np.int64)
    for own in cells.values():
        key *= int(own.max()) + 1
        key += own
    first, rows = np.unique(key, return_index=True, return_inverse=True)[1:]
    if len(first) > 1 and len(first) * len(days) * engine.series_width * 4 > _TABLE:
        half = len(pixels) // 2
        for part in (pixels[:half], pixels[half:]):
            yield from series_parts(encoder, inputs, part, days)
        return
    places = {source: own[first] for source, own in cells.items()}
    values, filled = _fill(engine.catalogue, inputs, places, days)
    bits, place = _bits(engine, values, filled, len(days)), rows.astype(np.int64)
    if engine.coarse == "nearest":
        similar = _similar(engine, values, len(days))
        yield Series(pixels, encoder.table(values, len(days)), place, None, bits, place, similar)
        return
    nodes = inputs.nodes
    if nodes is None or not nodes.cells.keys() >= set(sources):
        # Cells of a few pixels: what lies between them is hardly seen.
        corners, weights = np.repeat(place[:, None], 4, axis=1), np.zeros((len(place), 4), dtype=np.float32)
        weights[:, 0] = 1
    else:
        corners, weights = nodes.corners[pixels], nodes.weights[pixels]
        values = _fill_nodes(engine.catalogue, inputs, nodes, days)
    similar = _similar(engine, values, len(days))
    yield Series(pixels, encoder.table(values, len(days)), corners, weights, bits, place, similar)


def _similar(engine: Engine, values: Array, count: int) -> Tensor | None:
    return None if engine.dissimilarity is None else engine.dissimilarity.table(values, count)


def _fill_nodes(catalogue: Catalogue, inputs: TileInputs, nodes: Nodes, days: NDArray[np.int64]) -> Array:
    """Values at the nodes, every calendar day from the first window's start on, shape (days, nodes, v)."""
    found: dict[str, Array] = {}
    for names in _together(catalogue):
        weather, made_of = {}, _made_of(catalogue, names)
        layers = {name: inputs.layers[name] for name in made_of}
        one_source = len({layer.source for layer in layers.values()}) == 1
        for name, layer in layers.items():
            variable, calendar = catalogue[name], _calendar(catalogue, names, days)
            decoded = layer.packing.decode(layer.stored)
            filled = gap_fill(layer.days, decoded, calendar, variable.fill, variable.max_gap).values
            weather[name] = filled if one_source else nodes.bring(layer.source, filled)
        part = derive_series(catalogue.model_copy(update={"series": names}), weather)
        source = layers[made_of[0]].source
        found |= {name: nodes.bring(source, part[name]) if one_source else part[name] for name in names}
    return np.stack([found[name] for name in catalogue.series], axis=2)


def _calendar(catalogue: Catalogue, names: tuple[str, ...], days: NDArray[np.int64]) -> NDArray[np.int64]:
    """Days whose weather channels that are computed at once are made of."""
    reach = catalogue.history_days if names[0] in SOIL_STATE_INPUTS else catalogue.window_days
    return np.arange(days[0] - reach, days[-1] + 1, dtype=np.int64)


def _fill(
    catalogue: Catalogue, inputs: TileInputs, places: dict[str, Cells], days: NDArray[np.int64]
) -> tuple[Array, NDArray[np.bool_]]:
    """Values of every calendar day from the first window's start on, and which of them are gap filled.

    A soil-state channel of a day counts as filled if a variable that it is made of is.

    Returns
    -------
    values : ndarray of float32, shape (days, places, v)
    filled : ndarray of bool, same shape
    """
    before = days[0] - catalogue.window_days
    count = len(next(iter(places.values()))) if places else 1
    shape = (int(days[-1] + 1 - before), count, len(catalogue.series))
    values, filled = np.empty(shape, dtype=np.float32), np.zeros(shape, dtype=np.bool_)
    for names in _together(catalogue):
        own, back = _distinct([inputs.layers[n].source for n in _made_of(catalogue, names)], places)
        weather, marks = {}, {}
        for name in _made_of(catalogue, names):
            layer, variable, calendar = (
                inputs.layers[name],
                catalogue[name],
                _calendar(catalogue, names, days),
            )
            cells, again = np.unique(own[layer.source], return_inverse=True)
            decoded = layer.packing.decode(layer.stored[:, cells])
            result = gap_fill(layer.days, decoded, calendar, variable.fill, variable.max_gap)
            weather[name] = result.values[:, again]
            marks[name] = (result.age > 0)[len(calendar) - shape[0] :, again]
        part = derive_series(catalogue.model_copy(update={"series": names}), weather)
        for name in names:
            place = catalogue.series.index(name)
            values[:, :, place] = part[name][:, back]
            made_of = SOIL_STATE_INPUTS.get(name, (name,))
            filled[:, :, place] = np.logical_or.reduce([marks[n] for n in made_of])[:, back]
    return values, filled


def _together(catalogue: Catalogue) -> list[tuple[str, ...]]:
    """Channels that are computed at once: those of the soil's state, and each of the others alone."""
    state = tuple(name for name in catalogue.series if name in SOIL_STATE_INPUTS)
    alone: list[tuple[str, ...]] = [(name,) for name in catalogue.series if name not in state]
    return [*alone, state] if state else alone


def _made_of(catalogue: Catalogue, names: tuple[str, ...]) -> tuple[str, ...]:
    return catalogue.model_copy(update={"series": names}).series_inputs


def _distinct(sources: list[str], places: dict[str, Cells]) -> tuple[dict[str, Cells], NDArray[np.int64]]:
    """Cells of every distinct combination of some sources, by source; and the combination of each place."""
    names = list(dict.fromkeys(sources))
    if len(names) == 1:
        own, back = np.unique(places[names[0]], return_inverse=True)
        found: NDArray[np.int64] = np.asarray(own, dtype=np.int64)
        return {names[0]: found}, back
    cells, back = np.unique(np.stack([places[n] for n in names]), axis=1, return_inverse=True)
    return dict(zip(names, cells, strict=True)), back.reshape(-1)


def _bits(engine: Engine, values: Array, filled: NDArray[np.bool_], count: int) -> NDArray[np.int32]:
    catalogue = engine.catalogue
    lags, first = catalogue.lags, catalogue.window_days
    bits = np.zeros((count, values.shape[1]), dtype=np.int32)

    missing: NDArray[np.bool_] = ~np.logical_and.reduce(np.isfinite(values), axis=2)
    mark(bits, _windows(missing, first, lags, count).any(axis=1), SERIES_MISSING)
    mark(
        bits,
        (_windows(filled, first, lags, count).sum(axis=1) * 2 > len(lags)).any(axis=2),
        WINDOW_GAP_FILLED,
    )
    limits = Limits.of(catalogue.series, engine.bundle.envelope, catalogue)
    outside = limits.outside(values.reshape(-1, values.shape[2]).T).reshape(values.shape[:2])
    mark(bits, _windows(outside, first, lags, count).any(axis=1), OUTSIDE_TRAINING_DOMAIN)
    if "LST" in catalogue.series:
        freezing = freezing_point(catalogue["LST"].unit)
        if freezing is not None:
            today = values[first : first + count, :, catalogue.series.index("LST")]
            mark(bits, np.less(today, np.float32(freezing)), SNOW_OR_FROZEN)
    return bits


def _windows(marks: NDArray[np.bool_], first: int, lags: tuple[int, ...], count: int) -> NDArray[np.bool_]:
    """Marks of calendar days as windows, shape (count, lags, ...)."""
    return window(marks.astype(np.float32), first, lags, count) > 0
