"""One tile over consecutive days: gap filling, features, engine and trust, a block of pixels at a time.

A pixel's result depends on its own inputs alone: every block has the same number of pixels (a short one
repeats its last), and every day the same arithmetic, so any tiling gives the same bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmnet_maps.prepare.features import write_features
from mmnet_maps.produce.engine.engine import Engine, Workspace
from mmnet_maps.produce.tile.inputs import TileInputs
from mmnet_maps.produce.tile.layers import Group, GroupBlock, dynamic_groups, still, years
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
from mmnet_maps.produce.tile.series import Series, series_parts
from mmnet_maps.produce.tile.trust import (
    MISSING,
    NOT_COMPUTED,
    OUTSIDE_TRAINING_DOMAIN,
    SNAPSHOT_MISSING,
    SNOW_OR_FROZEN,
    URBAN,
    IntervalCodes,
    Limits,
    finish,
    land_cover_outside,
)

__all__ = ["TileResult", "predict_tile"]

Array = NDArray[np.float32]
Pixels = NDArray[np.int64]


@dataclass(frozen=True)
class TileResult:
    """Daily maps of a tile.

    Attributes
    ----------
    soil_moisture, lower, upper : ndarray of int16, shape (days, pixels)
        As `trust.SOIL_MOISTURE` stores them.
    quality : ndarray of uint16, shape (days, pixels)
        Bits of `trust.FLAGS`.
    prediction : ndarray of float32, shape (days, pixels), or None
        The estimate before it was clipped and rounded, where it was asked for; NaN where missing.
    """

    soil_moisture: NDArray[np.int16]
    lower: NDArray[np.int16]
    upper: NDArray[np.int16]
    quality: NDArray[np.uint16]
    prediction: Array | None = None

    @classmethod
    def empty(cls, days: int, pixels: int, keep_prediction: bool) -> TileResult:
        """All missing, nothing computed."""
        first, second, third = (np.full((days, pixels), MISSING, dtype=np.int16) for _ in range(3))
        quality = np.full((days, pixels), NOT_COMPUTED, dtype=np.uint16)
        exact = np.full((days, pixels), np.nan, dtype=np.float32) if keep_prediction else None
        return cls(first, second, third, quality, exact)


def predict_tile(
    engine: Engine, inputs: TileInputs, days: NDArray[np.int64], keep_prediction: bool = False
) -> TileResult:
    """Map a tile.

    Parameters
    ----------
    engine : Engine
        May be shared between threads.
    inputs : TileInputs
        With every layer of ``engine.catalogue.required``.
    days : ndarray of int64, shape (d,)
        Consecutive days since 1970-01-01.
    keep_prediction : bool
        Keep the estimates in float32 too.

    Returns
    -------
    TileResult

    Raises
    ------
    ValueError
        The days are not consecutive, or a layer is missing.
    """
    check_request(engine, inputs, days)
    result = TileResult.empty(len(days), len(inputs.inside), keep_prediction)
    work = _TileWork(engine, inputs)
    for run, year in years(inputs, work.yearly, days):
        work.predict(days[run], year, _rows(result, run))
    return result


def _rows(result: TileResult, run: slice) -> TileResult:
    """Views of some days of a result."""
    exact = None if result.prediction is None else result.prediction[run]
    parts = (result.soil_moisture[run], result.lower[run], result.upper[run], result.quality[run])
    return TileResult(*parts, exact)


class _TileWork:
    """What the blocks of a tile share."""

    def __init__(self, engine: Engine, inputs: TileInputs) -> None:
        self.engine, self.inputs = engine, inputs
        catalogue, features = engine.catalogue, engine.features
        envelope = engine.bundle.envelope
        self.still_features = features[: engine.static]
        self.dated_features = features[engine.static : engine.dated]
        self.daily_features = features[engine.dated :]
        self.still_names = inputs_of(engine, self.still_features)
        self.daily_names = inputs_of(engine, self.daily_features)
        self.yearly = [name for name in self.still_names if name in inputs.layers]
        self.limits = Limits.of(features, envelope, catalogue)
        self.class_outside = land_cover_outside(envelope, catalogue)
        self.intervals = IntervalCodes(engine.bundle.interval, valid_range(engine))
        self.workspace = engine.workspace()
        # Rows of the daily features whose absence has the same reason.
        self.reasons = missing_reasons(engine, self.daily_features)

    def predict(self, days: NDArray[np.int64], year: int, result: TileResult) -> None:
        """Predict days of one land cover year."""
        usable, cover, reasons = usable_pixels(self.engine, self.inputs, year)
        result.quality[...] = reasons
        groups = dynamic_groups(self.inputs, self.engine.catalogue, self.daily_names, days)
        for series in series_parts(self.engine, self.inputs, np.flatnonzero(usable), days):
            for start in range(0, len(series.pixels), self.engine.block):
                _Block(self, series, start, cover, year, days, groups).run(result)


class _Block:
    """Up to `Engine.block` pixels over all days of a land cover year."""

    def __init__(
        self,
        work: _TileWork,
        series: Series,
        start: int,
        cover: NDArray[np.int8] | None,
        year: int,
        days: NDArray[np.int64],
        groups: Sequence[Group],
    ) -> None:
        self.work, self.series, self.days, self.groups = work, series, days, groups
        self.block = work.engine.block
        self.pixels = series.pixels[start : start + self.block]
        self.count = len(self.pixels)
        padded = _pad(self.pixels, self.block)
        self.workspace: Workspace = work.workspace
        self.workspace.series[:] = _pad(series.rows[start : start + self.block], self.block)
        self.raw = np.empty((len(work.daily_names), self.block), dtype=np.float32)
        self.by_name: dict[str, Array] = {}
        self.parts: list[tuple[GroupBlock, Array]] = []
        row = 0
        for group in groups:
            rows = self.raw[row : row + len(group.names)]
            self.by_name |= dict(zip(group.names, rows, strict=True))
            self.parts.append((group.block(padded), rows))
            row += len(group.names)
        self.still_quality = self._write_still(padded, None if cover is None else cover[padded], year)

    def _write_still(self, pixels: Pixels, cover: NDArray[np.int8] | None, year: int) -> NDArray[np.uint16]:
        """Write the features that stay, scaled, and give their bits."""
        work, engine = self.work, self.work.engine
        raw = {name: still(work.inputs, name, year, pixels) for name in work.still_names if name != "LC"}
        quality = np.zeros(self.block, dtype=np.uint16)
        if cover is not None:
            raw["LC"] = cover.astype(np.float32)
            quality[cover == URBAN_CLASS] |= URBAN
            quality[work.class_outside[cover]] |= OUTSIDE_TRAINING_DOMAIN
        features = np.empty((engine.static, self.block), dtype=np.float32)
        write_features(work.still_features, raw, features)
        quality[~np.isfinite(features).all(axis=0)] |= SNAPSHOT_MISSING
        quality[_part(work.limits, slice(0, engine.static)).outside(features)] |= OUTSIDE_TRAINING_DOMAIN
        engine.scale(features, 0, self.workspace.inputs[: engine.static])
        return quality

    def run(self, result: TileResult) -> None:
        """Predict every day, and write the block's columns of the result."""
        work, engine, series = self.work, self.work.engine, self.series
        shape = (len(self.days), self.block)
        prediction, quality = np.empty(shape, dtype=np.float32), np.empty(shape, dtype=np.uint16)
        features = np.empty((len(work.daily_features), self.block), dtype=np.float32)
        limits = _part(work.limits, slice(engine.dated, None))
        self._prepare_dates()
        for place in range(len(self.days)):
            bits = quality[place]
            series.quality[place].take(self.workspace.series, out=bits, mode="clip")
            bits |= self.still_quality
            for part, rows in self.parts:
                part.write(place, rows, bits)
            write_features(work.daily_features, self.by_name, features)
            self._write_date(place, bits)
            _flag(bits, limits.outside(features), OUTSIDE_TRAINING_DOMAIN)
            self._flag_snow(bits)
            engine.scale(features, engine.dated, self.workspace.inputs[engine.dated :])
            prediction[place] = engine.predict(self.workspace, series.table[place], self.count)
            if not np.isfinite(prediction[place, : self.count]).all():
                self._flag_missing(features, bits)
        self._store(prediction[:, : self.count], quality[:, : self.count], result)

    def _prepare_dates(self) -> None:
        """Features of the date, a column a day: raw, scaled, and whether they leave the training range."""
        work, engine = self.work, self.work.engine
        rows = date_features(work.dated_features, self.days)
        self.dates_outside = _part(work.limits, slice(engine.static, engine.dated)).outside(rows)
        self.dates = np.empty_like(rows)
        engine.scale(rows, engine.static, self.dates)

    def _write_date(self, place: int, bits: NDArray[np.uint16]) -> None:
        engine = self.work.engine
        self.workspace.inputs[engine.static : engine.dated] = self.dates[:, place, None]
        if self.dates_outside[place]:
            bits |= OUTSIDE_TRAINING_DOMAIN

    def _flag_snow(self, bits: NDArray[np.uint16]) -> None:
        raw = self.by_name
        if not {"Green", "SWIR1", "NIR"} <= raw.keys():
            return
        _flag(bits, is_snow(raw["Green"], raw["SWIR1"], raw["NIR"]), SNOW_OR_FROZEN)

    def _flag_missing(self, features: Array, bits: NDArray[np.uint16]) -> None:
        missing = ~np.isfinite(features)
        for flag, rows in self.work.reasons:
            _flag(bits, np.logical_or.reduce(missing[rows], axis=0), flag)

    def _store(self, prediction: Array, quality: NDArray[np.uint16], result: TileResult) -> None:
        columns: slice | Pixels = self.pixels
        if self.pixels[-1] - self.pixels[0] == self.count - 1:
            columns = slice(int(self.pixels[0]), int(self.pixels[-1]) + 1)
        codes, lower, upper = finish(prediction, quality, self.work.intervals)
        result.soil_moisture[:, columns] = codes
        result.lower[:, columns] = lower
        result.upper[:, columns] = upper
        result.quality[:, columns] = quality
        if result.prediction is not None:
            result.prediction[:, columns] = np.where(np.isfinite(prediction), prediction, np.nan)


def _flag(bits: NDArray[np.uint16], where: NDArray[np.bool_], flag: np.uint16) -> None:
    """Set a bit; nothing is the usual case, and cheap."""
    if where.any():
        bits |= where.astype(np.uint16) * flag


def _pad(values: Pixels, block: int) -> Pixels:
    """A block of full length, its last entry repeated."""
    return np.concatenate((values, np.repeat(values[-1:], block - len(values))))


def _part(limits: Limits, rows: slice) -> Limits:
    return Limits(limits.low[rows], limits.high[rows])
