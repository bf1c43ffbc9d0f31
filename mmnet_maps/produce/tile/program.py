"""One tile over consecutive days: filling, features, network, rules, flags, stored values.

The whole program is here, once. It is written over the arrays of the engine (`Engine.xp`): NumPy's on a
processor, tensors on a device. What differs between the two is small: who fills gaps in time (`fillers`), how
many pixels and days are computed at once (`sizes`), and whether it may be asked if any element of a mask is
set (`Arrays.some`). A device is never asked, so that it does not wait before a tile's end.

A pixel's result depends on its own inputs alone: products have a fixed shape, and all else is computed number
by number, so any tiling and any blocks of days give the same bits.
"""

from __future__ import annotations

import operator
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from itertools import chain
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mmnet_maps.ahead import ahead
from mmnet_maps.packing import Packing
from mmnet_maps.prepare.features import write_features
from mmnet_maps.produce.engine.arrays import Array
from mmnet_maps.produce.engine.device import exact_products
from mmnet_maps.produce.engine.engine import Engine
from mmnet_maps.produce.tile.adjusted import adjust_maps
from mmnet_maps.produce.tile.fillers import fillers_of
from mmnet_maps.produce.tile.inputs import TileInputs
from mmnet_maps.produce.tile.layers import static_values, years
from mmnet_maps.produce.tile.rules import (
    URBAN_CLASS,
    check_request,
    date_features,
    inputs_of,
    is_snow,
    missing_reasons,
    usable_pixels,
    valid_range,
)
from mmnet_maps.produce.tile.series import Encoder, Series, series_parts
from mmnet_maps.produce.tile.trust import (
    MISSING,
    MISSING_REASONS,
    OUTSIDE_TRAINING_DOMAIN,
    QUALITY,
    SERIES_MISSING,
    SNAPSHOT_MISSING,
    SNOW_OR_FROZEN,
    URBAN,
    IntervalCodes,
    Limits,
    finish,
    land_cover_outside,
    mark,
    unlike,
)

__all__ = ["TileResult", "predict_tile", "predict_tiles"]

#: Observations of a block that may be decoded at once: about a GiB with what is made of them.
_DECODED = 2**26
_STORED = ("soil_moisture", "lower", "upper", "quality")


@dataclass(frozen=True)
class TileResult:
    """Daily maps of a tile.

    Attributes
    ----------
    soil_moisture, lower, upper : ndarray of int16, shape (days, pixels)
        As `trust.SOIL_MOISTURE` stores them.
    quality : ndarray of `trust.QUALITY`, shape (days, pixels)
        Bits of `trust.FLAGS`.
    dissimilarity : ndarray of int16, shape (days, pixels), or None
        As `trust.DISSIMILARITY` stores it, where the engine computes it.
    prediction : ndarray of float32, shape (days, pixels), or None
        The estimate before it was clipped and rounded, where it was asked for; NaN where missing.
    """

    soil_moisture: NDArray[np.int16]
    lower: NDArray[np.int16]
    upper: NDArray[np.int16]
    quality: NDArray[Any]
    dissimilarity: NDArray[np.int16] | None = None
    prediction: NDArray[np.float32] | None = None


def predict_tile(
    engine: Engine, inputs: TileInputs, days: NDArray[np.int64], keep_prediction: bool = False
) -> TileResult:
    """Map one tile; as `predict_tiles`."""
    ((_, result),) = predict_tiles(engine, iter([inputs]), days, keep_prediction)
    return result


def predict_tiles(
    engine: Engine, tiles: Iterator[TileInputs], days: NDArray[np.int64], keep_prediction: bool = False
) -> Iterator[tuple[TileInputs, TileResult]]:
    """Map tiles, in their order; the next one is read, and its series are encoded, meanwhile.

    On a device the next tile is also sent there meanwhile, and the one before comes back.

    Parameters
    ----------
    engine : Engine
        May be shared between threads.
    tiles : iterator of TileInputs
        Read in a thread of its own; each with every layer of ``engine.catalogue.required``.
    days : ndarray of int64, shape (d,)
        Consecutive days since 1970-01-01.
    keep_prediction : bool
        Keep the estimates in float32 too.

    Yields
    ------
    inputs : TileInputs
    result : TileResult

    Raises
    ------
    ValueError
        The days are not consecutive, or a layer is missing.
    """
    program = _Program(engine, days, keep_prediction)
    computed: deque[tuple[TileInputs, Callable[[], Mapping[str, NDArray[Any]]]]] = deque()
    # Series are encoded in the thread that reads: what is set for the process holds until the last tile.
    with exact_products():
        for tile in ahead(_Tile(program, inputs) for inputs in tiles):
            computed.append((tile.inputs, program.compute(tile)))
            if len(computed) > engine.xp.behind:
                yield program.finished(*computed.popleft())
        while computed:
            yield program.finished(*computed.popleft())


@dataclass(frozen=True)
class _Year:
    """Days that one land cover year serves, the pixels that are computed, and what stays the same for them.

    Attributes
    ----------
    days : slice
        Positions in the days of the program.
    pixels : ndarray of int64, shape (n,)
    cover, reasons : str
        Names of arrays by pixel: land cover classes, and why a pixel is not computed. No cover: "".
    static : dict of str to (str, Packing)
        Name of the array by pixel of each variable, and how it is decoded.
    """

    days: slice
    pixels: NDArray[np.int64]
    cover: str
    reasons: str
    static: Mapping[str, tuple[str, Packing]]


class _Tile:
    """A tile that is prepared, its arrays on their way to where they are computed with.

    Attributes
    ----------
    parts : iterator of (_Year, Series)
        The first is encoded already: usually there is one a land cover year. The others are as they are asked
        for, since the series of many parts may not fit in memory at once.
    """

    def __init__(self, program: _Program, inputs: TileInputs) -> None:
        engine, self.inputs = program.engine, inputs
        check_request(engine, inputs, program.days)
        self._arrays: dict[str, NDArray[Any]] = {}
        yearly = [name for name in program.static_names if name in inputs.layers]
        runs = years(inputs, yearly, program.days)
        self.years = [self._year(program, run, year) for run, year in runs]
        self.fillers = fillers_of(engine, inputs, program.daily_names, program.days, self._arrays)
        self.reasons = missing_reasons(engine, program.daily_features)
        self.upload = engine.xp.upload(self._arrays)
        parts = self._encoded(program)
        self.parts = chain([first] if (first := next(parts, None)) else [], parts)

    def _encoded(self, program: _Program) -> Iterator[tuple[_Year, Series]]:
        for year in self.years:
            for series in series_parts(program.encoder, self.inputs, year.pixels, program.days[year.days]):
                yield year, series

    def _year(self, program: _Program, run: slice, year: int) -> _Year:
        usable, cover, reasons = usable_pixels(program.engine, self.inputs, year)
        static, catalogue = {}, program.engine.catalogue
        for name in program.static_names:
            if name != "LC":
                amount = catalogue[name].measure == "amount"
                stored, packing = program.xp.sendable(*static_values(self.inputs, name, year, amount))
                static[name] = self._add(f"{name} of {year}", stored), packing
        known = "" if cover is None else self._add(f"cover of {year}", cover)
        why = self._add(f"reasons of {year}", reasons)
        return _Year(run, np.flatnonzero(usable), known, why, static)

    def _add(self, name: str, array: NDArray[Any]) -> str:
        self._arrays[name] = array
        return name


class _Program:
    """What tiles share: names of features, their limits, tables and buffers."""

    def __init__(self, engine: Engine, days: NDArray[np.int64], keep_prediction: bool) -> None:
        self.engine, self.xp, self.days, self.keep_prediction = engine, engine.xp, days, keep_prediction
        self.static_features = engine.features[: engine.static]
        self.dated_features = engine.features[engine.static : engine.dated]
        self.daily_features = engine.features[engine.dated :]
        self.static_names = inputs_of(engine, self.static_features)
        self.daily_names = inputs_of(engine, self.daily_features)
        about = (engine.bundle.envelope, engine.catalogue)
        self.static_limits = Limits.of(self.static_features, *about, self.xp)
        self.dated_limits = Limits.of(self.dated_features, *about)
        self.daily_limits = Limits.of(self.daily_features, *about, self.xp)
        self.class_outside = self.xp.send(land_cover_outside(*about))
        self.intervals = IntervalCodes(engine.bundle.interval, valid_range(engine), self.xp)
        self.workspace, self.encoder = engine.workspace(), Encoder(engine)

    @torch.inference_mode()
    def compute(self, tile: _Tile) -> Callable[[], Mapping[str, NDArray[Any]]]:
        """Map a tile; the function gives the maps, once they are there."""
        xp, there = self.xp, tile.upload()
        shape = (len(self.days), len(tile.inputs.inside))
        names = (*_STORED[:3], *self.engine.optional)
        maps = {name: xp.full(shape, int(MISSING), xp.int16) for name in names}
        maps["quality"] = xp.empty(shape, xp.int32)
        if self.keep_prediction:
            maps["prediction"] = xp.full(shape, np.nan, xp.float32)
        for year in tile.years:
            maps["quality"][year.days] = there[year.reasons]
        for year, series in tile.parts:
            of_year = {name: values[year.days] for name, values in maps.items()}
            _Part(self, tile, there, year, series).predict(of_year)
        return xp.download(maps)

    def finished(
        self, inputs: TileInputs, download: Callable[[], Mapping[str, NDArray[Any]]]
    ) -> tuple[TileInputs, TileResult]:
        """The maps of a tile, with what a user's probes say, where the bundle holds some."""
        maps = dict(download())
        maps["quality"] = maps["quality"].view(QUALITY)
        adjustment = self.engine.bundle.adjustment
        if adjustment is not None:
            adjust_maps(maps, inputs, adjustment, valid_range(self.engine), self.days)
        return inputs, TileResult(**maps)


class _Part:
    """Pixels of a tile whose series are encoded, over the days of a land cover year."""

    def __init__(
        self, program: _Program, tile: _Tile, there: Mapping[str, Array], year: _Year, series: Series
    ) -> None:
        self.program, self.tile, self.there, self.year = program, tile, there, year
        engine, xp, self.days = program.engine, program.xp, program.days[year.days]
        self.pixels, self.table, self.similar = xp.send(series.pixels), series.table, series.similar
        self.rows, self.places = xp.send(series.rows), xp.send(series.places)
        self.weights: Array = None if series.weights is None else xp.send(series.weights)
        #: Whether a pixel may have neighbours to interpolate between but no series of its own.
        self.hidden = series.weights is not None and bool((series.bits & SERIES_MISSING).any())
        dates = date_features(program.dated_features, self.days)
        outside = program.dated_limits.outside(dates)
        self.bits = xp.send(series.bits | (outside.astype(np.int32) * OUTSIDE_TRAINING_DOMAIN)[:, None])
        rows = xp.send(dates)
        self.dates = xp.empty(dates.shape, xp.float32)
        engine.scale(rows, engine.static, self.dates)

    def predict(self, maps: Mapping[str, Array]) -> None:
        """Map the pixels in blocks whose observations and features fit."""
        xp, depth = self.program.xp, max((filler.depth for filler in self.tile.fillers), default=0)
        size = max(1, min(self.program.engine.block, _DECODED // max(1, depth)))
        for start in range(0, len(self.pixels), size):
            block = _Block(self, slice(start, min(start + size, len(self.pixels))))
            estimate, bits, apart = block.predict()
            codes = finish(estimate, bits, self.program.intervals, xp)
            known = self.program.engine.dissimilarity
            if known is not None:
                stored = unlike(apart, estimate, bits, known.threshold, xp)
                xp.put(maps["dissimilarity"], block.pixels, stored)
            for name, values in zip(_STORED, (*codes, bits), strict=True):
                xp.put(maps[name], block.pixels, values)
            if "prediction" in maps:
                xp.put(maps["prediction"], block.pixels, xp.where(xp.isfinite(estimate), estimate, np.nan))


class _Block:
    """Pixels that are computed together over the days of a part, as many days at once as fit."""

    def __init__(self, part: _Part, own: slice) -> None:
        self.part, self.program = part, part.program
        self.engine, self.xp = part.program.engine, part.program.xp
        self.pixels, self.places, rows_of_series = part.pixels[own], part.places[own], part.rows[own]
        self.count = len(self.pixels)
        self.step = min(len(part.days), max(1, self.engine.block // self.count))
        self.fillers = [filler.block(part.there, self.pixels) for filler in part.tile.fillers]
        workspace = self.program.workspace
        rows = workspace.inputs[:, : self.step * self.count]
        #: Scaled features by day and pixel; those that stay are written once.
        self.inputs = rows.reshape(len(rows), self.step, self.count)
        for day in range(self.step):
            of_day = slice(day * self.count, (day + 1) * self.count)
            workspace.series[of_day] = rows_of_series + day * part.table.shape[1]
            if workspace.weights is not None:
                workspace.weights[of_day] = part.weights[own]
        self.static_bits = self._write_static()
        self._make_room(self.step)

    def _make_room(self, days: int) -> None:
        """Room for the daily variables and features of so many days."""
        xp, program, self.room = self.xp, self.program, days
        raw = xp.empty((len(program.daily_names), days * self.count), xp.float32)
        self.features = xp.empty((len(program.daily_features), days * self.count), xp.float32)
        self.raw: dict[str, Array] = {}
        self.filled, row = [], 0
        for filler in self.part.tile.fillers:
            rows = raw[row : row + len(filler.names)]
            self.raw |= dict(zip(filler.names, rows, strict=True))
            self.filled.append(rows.reshape(len(rows), days, self.count))
            row += len(rows)
        # What an earlier block left behind the pixels must not point behind this table.
        self.program.workspace.series[days * self.count :] = 0

    def _write_static(self) -> Array:
        """Write the features that stay, scaled, and give their bits, shape (n,)."""
        xp, program, part = self.xp, self.program, self.part
        raw = {
            name: xp.decode(xp.take(part.there[array], self.pixels), packing)
            for name, (array, packing) in part.year.static.items()
        }
        bits = xp.full((self.count,), 0, xp.int32)
        if part.year.cover:
            cover = xp.take(part.there[part.year.cover], self.pixels)
            raw["LC"] = xp.asarray(cover, dtype=xp.float32)
            mark(bits, cover == URBAN_CLASS, URBAN, xp)
            mark(bits, xp.take(program.class_outside, cover), OUTSIDE_TRAINING_DOMAIN, xp)
        features = xp.empty((len(program.static_features), self.count), xp.float32)
        write_features(program.static_features, raw, features, xp)
        mark(bits, ~xp.isfinite(features).all(0), SNAPSHOT_MISSING, xp)
        mark(bits, program.static_limits.outside(features), OUTSIDE_TRAINING_DOMAIN, xp)
        self.engine.scale(features, 0, features)
        self.inputs[: self.engine.static] = features[:, None]
        return bits

    def predict(self) -> tuple[Array, Array, Array]:
        """Estimates in m3 m-3, not finite where missing, their bits so far, and dissimilarities if computed.

        Each of shape (days, n).
        """
        shape = (len(self.part.days), self.count)
        estimate, bits = self.xp.empty(shape, self.xp.float32), self.xp.empty(shape, self.xp.int32)
        similar = self.part.similar
        apart: Array = None if similar is None else self.xp.empty(shape, self.xp.float32)
        for start in range(0, len(self.part.days), self.step):
            days = slice(start, min(start + self.step, len(self.part.days)))
            estimate[days] = self._predict_days(days, bits[days])
            if similar is not None:
                size = (days.stop - days.start) * self.count
                found = self.engine.apart(self.program.workspace, similar[days].flatten(0, 1), size)[:size]
                apart[days] = found.reshape(apart[days].shape)
        return estimate, bits, apart

    def _predict_days(self, days: slice, bits: Array) -> Array:
        """Estimates of some days, shape (days, n); `bits`, of the same shape, are written."""
        xp, program, engine, part = self.xp, self.program, self.engine, self.part
        count, first = days.stop - days.start, part.year.days.start
        if count != self.room:
            self._make_room(count)
        xp.take(part.bits[days], self.places, out=bits)
        bits |= self.static_bits
        for filler, values in zip(self.fillers, self.filled, strict=True):
            filler.write(slice(first + days.start, first + days.stop), values, bits)
        write_features(program.daily_features, self.raw, self.features, xp)
        flat = bits.reshape(-1)
        mark(flat, program.daily_limits.outside(self.features), OUTSIDE_TRAINING_DOMAIN, xp)
        if {"Green", "SWIR1", "NIR"} <= self.raw.keys():
            mark(flat, is_snow(self.raw["Green"], self.raw["SWIR1"], self.raw["NIR"]), SNOW_OR_FROZEN, xp)
        self.inputs[engine.static : engine.dated, :count] = part.dates[:, days, None]
        engine.scale(self.features, engine.dated, program.workspace.inputs[engine.dated :, : len(flat)])
        table = part.table[days].flatten(0, 1)
        estimate = engine.predict(program.workspace, table, len(flat))[: len(flat)]
        if part.hidden or xp.some(~xp.isfinite(estimate)):
            missing = ~xp.isfinite(self.features)
            for flag, rows in part.tile.reasons:
                mark(flat, reduce(operator.or_, [missing[row] for row in rows]), flag, xp)
            # Said outright: not every device and type carries NaN through every layer.
            estimate = xp.where((flat & MISSING_REASONS) != 0, np.nan, estimate)
        return estimate.reshape(count, self.count)
