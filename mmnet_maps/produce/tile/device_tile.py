"""Whole tiles on a device: large blocks of pixels and days, and copies both ways while it computes.

The steps are those of `tile`, with the same formulas, rules and tables; only the integers that are stored go
up, and only the integers that will be stored come down. A pixel's bits do not depend on how a tile or its
days are cut: products have a fixed shape, and all else is computed number by number.

Nothing here asks the device for a number before the end of a tile, so that it never waits for the processor.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import reduce

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmnet_maps.prepare.features import write_features
from mmnet_maps.produce.engine.device import Lanes, Outgoing, Parcel, exact_products, sent
from mmnet_maps.produce.engine.engine import Engine
from mmnet_maps.produce.tile.device_fill import Arrays
from mmnet_maps.produce.tile.device_layers import Daily, DailyBlock, Shipment, Still
from mmnet_maps.produce.tile.device_trust import Finish, Ranges, marked, stored_bits, widened
from mmnet_maps.produce.tile.inputs import TileInputs
from mmnet_maps.produce.tile.layers import years
from mmnet_maps.produce.tile.program import TileResult
from mmnet_maps.produce.tile.reading import ahead
from mmnet_maps.produce.tile.rules import (
    URBAN_CLASS,
    check_request,
    date_features,
    inputs_of,
    is_snow,
    missing_reasons,
    usable_pixels,
)
from mmnet_maps.produce.tile.series import Series, series_parts
from mmnet_maps.produce.tile.trust import (
    MISSING,
    OUTSIDE_TRAINING_DOMAIN,
    SNAPSHOT_MISSING,
    SNOW_OR_FROZEN,
    URBAN,
    Limits,
    land_cover_outside,
)

__all__ = ["predict_tiles"]

#: Observations of a block that may be decoded at once: about a GiB with what is made of them.
_DECODED = 2**26
_MAPS = ("soil_moisture", "lower", "upper", "quality")


def predict_tiles(
    engine: Engine, tiles: Iterator[TileInputs], days: NDArray[np.int64], keep_prediction: bool = False
) -> Iterator[tuple[TileInputs, TileResult]]:
    """Map tiles on the engine's device, in their order.

    While one tile is computed the next is read and sent, and the one before comes back.

    Parameters
    ----------
    engine : Engine
        On any device; on the processor too, which is how this path is checked.
    tiles : iterator of TileInputs
        Read in a thread of its own.
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
    work = _Work(engine, days, keep_prediction)
    coming: tuple[TileInputs, Outgoing] | None = None
    for load in ahead(_Load(work, inputs) for inputs in tiles):
        with torch.inference_mode(), exact_products():
            started = load.inputs, work.compute(load)
        if coming is not None:
            yield coming[0], _result(coming[1])
        coming = started
    if coming is not None:
        yield coming[0], _result(coming[1])


def _result(coming: Outgoing) -> TileResult:
    arrays = coming.arrays()
    first, second, third, quality = arrays["maps"]
    return TileResult(first, second, third, quality.view(np.uint16), arrays.get("prediction"))


@dataclass(frozen=True)
class _Run:
    """Days that one land cover year serves, and its pixels."""

    days: slice
    pixels: NDArray[np.int64]
    cover: str | None
    reasons: str
    still: Mapping[str, Still]


class _Load:
    """A tile on its way to the device."""

    def __init__(self, work: _Work, inputs: TileInputs) -> None:
        engine, days = work.engine, work.days
        check_request(engine, inputs, days)
        self.inputs, shipment = inputs, Shipment(inputs)
        yearly = [name for name in work.still_names if name in inputs.layers]
        self.runs = []
        for run, year in years(inputs, yearly, days):
            usable, cover, reasons = usable_pixels(engine, inputs, year)
            still = {name: Still(shipment, name, year) for name in work.still_names if name != "LC"}
            known = None if cover is None else shipment.add(f"cover of {year}", cover)
            why = shipment.add(f"reasons of {year}", reasons)
            self.runs.append(_Run(run, np.flatnonzero(usable), known, why, still))
        self.daily = Daily.of(shipment, engine, work.daily_names, days)
        self.reasons = missing_reasons(engine, work.daily_features)
        self.parcel = Parcel(shipment.arrays, work.lanes)


class _Work:
    """What tiles share: constants and buffers on the device."""

    def __init__(self, engine: Engine, days: NDArray[np.int64], keep_prediction: bool) -> None:
        self.engine, self.days, self.keep_prediction = engine, days, keep_prediction
        catalogue, device, envelope = engine.catalogue, engine.device, engine.bundle.envelope
        self.lanes, self.xp = Lanes(device), Arrays(device)
        self.still_features = engine.features[: engine.static]
        self.dated_features = engine.features[engine.static : engine.dated]
        self.daily_features = engine.features[engine.dated :]
        self.still_names = inputs_of(engine, self.still_features)
        self.daily_names = inputs_of(engine, self.daily_features)
        self.limits = {
            part: Limits.of(names, envelope, catalogue)
            for part, names in (
                ("still", self.still_features),
                ("dated", self.dated_features),
                ("daily", self.daily_features),
            )
        }
        self.ranges = {part: Ranges(limits, device) for part, limits in self.limits.items()}
        self.mean, self.std = sent(engine.mean, device), sent(engine.std, device)
        self.class_outside = sent(land_cover_outside(envelope, catalogue), device)
        self.finish = Finish(engine, device)
        self.buffers = engine.pixels.buffers(engine.block)

    def scale(self, rows: Tensor, first: int) -> Tensor:
        """Scale feature rows ``first, first + 1, ...``, with the arithmetic of `Engine.scale`."""
        stop = first + len(rows)
        return (rows - self.mean[first:stop]) / self.std[first:stop]

    def compute(self, load: _Load) -> Outgoing:
        """Tell the device to map a tile, and to send the maps back."""
        there, device = load.parcel.open(), self.engine.device
        shape = (len(self.days), len(load.inputs.inside))
        maps = torch.full((len(_MAPS), *shape), int(MISSING), dtype=torch.int16, device=device)
        prediction = torch.full(shape, torch.nan, device=device) if self.keep_prediction else None
        for run in load.runs:
            maps[_MAPS.index("quality"), run.days] = there[run.reasons]
            for series in series_parts(self.engine, load.inputs, run.pixels, self.days[run.days]):
                part = _Part(self, load, there, run, series)
                for start, stop in part.cuts():
                    part.map_pixels(slice(start, stop), maps, prediction)
        found = {"maps": maps} if prediction is None else {"maps": maps, "prediction": prediction}
        return Outgoing(found, self.lanes)


class _Part:
    """Pixels of a tile whose series are encoded, over the days of a land cover year."""

    def __init__(
        self, work: _Work, load: _Load, there: Mapping[str, Tensor], run: _Run, series: Series
    ) -> None:
        self.work, self.load, self.there, self.run, self.series = work, load, there, run, series
        device, engine = work.engine.device, work.engine
        self.days = work.days[run.days]
        self.pixels, self.rows = sent(series.pixels, device), sent(series.rows, device)
        self.quality = sent(series.quality, device)
        self.known = torch.isfinite(series.table).all(2)
        dates = date_features(work.dated_features, self.days)
        self.dates_outside = sent(work.limits["dated"].outside(dates), device)
        scaled = np.empty_like(dates)
        engine.scale(dates, engine.static, scaled)
        self.dates = sent(scaled, device)

    def cuts(self) -> Iterator[tuple[int, int]]:
        """Blocks of pixels whose observations and features fit."""
        depth = max((group.depth for group in self.load.daily), default=0)
        size = max(1, min(self.work.engine.block, _DECODED // max(1, depth)))
        for start in range(0, len(self.series.pixels), size):
            yield start, min(start + size, len(self.series.pixels))

    def map_pixels(self, own: slice, maps: Tensor, prediction: Tensor | None) -> None:
        """Map a block of pixels, as many days at once as fit."""
        pixels = self.pixels[own]
        groups = [group.block(self.there, pixels) for group in self.load.daily]
        still, still_bits = self._still(pixels)
        step, first = max(1, self.work.engine.block // len(pixels)), self.run.days.start
        for start in range(0, len(self.days), step):
            days = slice(start, min(start + step, len(self.days)))
            estimate, bits = self._days(days, own, groups, still, still_bits)
            found = self.work.finish(estimate, bits)
            into = slice(first + days.start, first + days.stop)
            for number, values in enumerate((*found, stored_bits(bits))):
                maps[number, into].index_copy_(1, pixels, values)
            if prediction is not None:
                prediction[into].index_copy_(1, pixels, estimate)

    def _still(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Scaled features that stay, shape (static, n), and their bits."""
        work, there = self.work, self.there
        raw = {name: layer.at(there, pixels) for name, layer in self.run.still.items()}
        bits = torch.zeros(len(pixels), dtype=torch.int32, device=pixels.device)
        if self.run.cover is not None:
            cover = there[self.run.cover].index_select(0, pixels)
            raw["LC"] = cover.to(torch.float32)
            bits |= marked(cover == URBAN_CLASS, URBAN)
            bits |= marked(work.class_outside.index_select(0, cover.to(torch.int32)), OUTSIDE_TRAINING_DOMAIN)
        features = torch.empty((len(work.still_features), len(pixels)), device=pixels.device)
        write_features(work.still_features, raw, features, work.xp)  # type: ignore[arg-type]
        bits |= marked(~torch.isfinite(features).all(0), SNAPSHOT_MISSING)
        bits |= marked(work.ranges["still"].outside(features), OUTSIDE_TRAINING_DOMAIN)
        return work.scale(features, 0), bits

    def _days(
        self, days: slice, own: slice, groups: list[DailyBlock], still: Tensor, still_bits: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Estimates of some days, shape (d, n), NaN where missing, and their bits so far."""
        work, engine, count = self.work, self.work.engine, days.stop - days.start
        bits = widened(self.quality[days]).index_select(1, self.rows[own]) | still_bits
        bits |= marked(self.dates_outside[days], OUTSIDE_TRAINING_DOMAIN)[:, None]
        raw: dict[str, Tensor] = {}
        for group in groups:
            values, old = group.fill(self.days[days])
            raw |= {name: band.reshape(-1) for name, band in zip(group.names, values, strict=True)}
            if old is not None:
                bits |= old
        features = torch.empty((len(work.daily_features), bits.numel()), device=bits.device)
        write_features(work.daily_features, raw, features, work.xp)  # type: ignore[arg-type]
        flat = bits.view(-1)
        flat |= marked(work.ranges["daily"].outside(features), OUTSIDE_TRAINING_DOMAIN)
        if {"Green", "SWIR1", "NIR"} <= raw.keys():
            flat |= marked(is_snow(raw["Green"], raw["SWIR1"], raw["NIR"]), SNOW_OR_FROZEN)
        self._flag_missing(features, flat)
        rows = work.buffers.inputs[:, : bits.numel()]
        shaped = rows.view(len(rows), count, -1)
        shaped[: engine.static] = still[:, None]
        shaped[engine.static : engine.dated] = self.dates[:, days, None]
        rows[engine.dated :] = work.scale(features, engine.dated)
        return self._estimate(rows, days, own).view(count, -1), bits

    def _flag_missing(self, features: Tensor, bits: Tensor) -> None:
        missing = ~torch.isfinite(features)
        for flag, rows in self.load.reasons:
            bits |= marked(reduce(torch.logical_or, [missing[row] for row in rows]), flag)

    def _estimate(self, rows: Tensor, days: slice, own: slice) -> Tensor:
        """Estimates of what stands in the buffers, shape (d x n,), NaN where an input is missing."""
        work, places, count = self.work, self.series.table.shape[1], rows.shape[1]
        table = self.series.table[days].flatten(0, 1)
        first = torch.arange(0, len(table), places, device=rows.device)
        # What is left of an earlier block behind the pixels must not point behind this table.
        series = work.buffers.series.zero_()[:count]
        series.copy_((first[:, None] + self.rows[own]).view(-1))
        estimate = work.engine.pixels(work.buffers, table, count)[:count]
        known = self.known[days].flatten().index_select(0, series) & torch.isfinite(rows).all(0)
        # Said outright: not every device and type carries NaN through every layer.
        return torch.where(known & torch.isfinite(estimate), estimate, torch.nan)
