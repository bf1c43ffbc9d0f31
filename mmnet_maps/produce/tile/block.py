"""Pixels of a tile in blocks that fit: what the networks take is made here, and what they give is completed.

The two are apart, since a processor prepares the next steps in a thread of its own while it computes one.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import reduce

import numpy as np
import torch

from mmnet_maps.prepare.features import write_features
from mmnet_maps.produce.engine.arrays import Array
from mmnet_maps.produce.engine.engine import Workspace
from mmnet_maps.produce.tile.prepared import PreparedTile, Year
from mmnet_maps.produce.tile.rules import URBAN_CLASS, date_features, is_snow
from mmnet_maps.produce.tile.series import Series
from mmnet_maps.produce.tile.shared import Shared
from mmnet_maps.produce.tile.trust import (
    MISSING_REASONS,
    OUTSIDE_TRAINING_DOMAIN,
    SERIES_MISSING,
    SNAPSHOT_MISSING,
    SNOW_OR_FROZEN,
    URBAN,
    finish,
    mark,
    unlike,
)

__all__ = ["STORED", "Part", "Step"]

#: Observations of a block that may be decoded at once: about a GiB with what is made of them.
_DECODED = 2**26
#: Names of the maps that every block gives.
STORED = ("soil_moisture", "lower", "upper", "quality")


class Part:
    """Pixels of a tile whose series are encoded, over the days of a land cover year.

    Parameters
    ----------
    shared : Shared
    tile : PreparedTile
    there : mapping of str to array
        The tile's arrays, where they are computed with.
    year : Year
    series : Series
    maps : mapping of str to array, shape (days, pixels of the tile)
        Of the year's days; written.
    """

    def __init__(
        self,
        shared: Shared,
        tile: PreparedTile,
        there: Mapping[str, Array],
        year: Year,
        series: Series,
        maps: Mapping[str, Array],
    ) -> None:
        self.shared, self.tile, self.there, self.year, self.maps = shared, tile, there, year, maps
        engine, xp, self.days = shared.engine, shared.xp, shared.days[year.days]
        self.pixels, self.table, self.similar = xp.send(series.pixels), series.table, series.similar
        self.rows, self.places = xp.send(series.rows), xp.send(series.places)
        self.weights: Array = None if series.weights is None else xp.send(series.weights)
        #: Whether a pixel may have neighbours to interpolate between but no series of its own.
        self.hidden = series.weights is not None and bool((series.bits & SERIES_MISSING).any())
        dates = date_features(shared.dated_features, self.days)
        outside = shared.dated_limits.outside(dates)
        self.bits = xp.send(series.bits | (outside.astype(np.int32) * OUTSIDE_TRAINING_DOMAIN)[:, None])
        rows = xp.send(dates)
        self.dates = xp.empty(dates.shape, xp.float32)
        engine.scale(rows, engine.static, self.dates)

    def steps(self) -> Iterator[Step]:
        """What is to be computed, in order, in blocks whose observations and features fit."""
        depth = max((filler.depth for filler in self.tile.fillers), default=0)
        size = max(1, min(self.shared.engine.block, _DECODED // max(1, depth)))
        for start in range(0, len(self.pixels), size):
            yield from Block(self, slice(start, min(start + size, len(self.pixels)))).steps()

    def store(self, block: Block) -> None:
        """Complete what a block gave, and write it to the maps."""
        xp, maps, estimate, bits = self.shared.xp, self.maps, block.estimates, block.bits
        if self.hidden or xp.some(~xp.isfinite(estimate)):
            # Said outright: not every device and type carries NaN through every layer.
            estimate = xp.where((bits & MISSING_REASONS) != 0, np.nan, estimate)
        codes = finish(estimate, bits, self.shared.intervals, xp)
        known = self.shared.engine.dissimilarity
        if known is not None:
            stored = unlike(block.apart, estimate, bits, known.threshold, xp)
            xp.put(maps["dissimilarity"], block.pixels, stored)
        for name, values in zip(STORED, (*codes, bits), strict=True):
            xp.put(maps[name], block.pixels, values)
        if "prediction" in maps:
            xp.put(maps["prediction"], block.pixels, xp.where(xp.isfinite(estimate), estimate, np.nan))


@dataclass(frozen=True)
class Step:
    """Some days of a block, ready for the networks.

    Attributes
    ----------
    block : Block
    days : slice
        Of the part's days.
    workspace : Workspace
        Holds the features.
    """

    block: Block
    days: slice
    workspace: Workspace

    @torch.inference_mode()
    def compute(self) -> None:
        """Run the networks; the last step of a block completes its maps."""
        self.block.estimate(self)
        if self.days.stop == len(self.block.part.days):
            self.block.part.store(self.block)


class Block:
    """Pixels that are computed together over the days of a part, as many days at once as fit.

    Attributes
    ----------
    pixels : array of int64, shape (n,)
    estimates : array of float32, shape (days, n)
        m3 m-3, not finite where missing.
    bits : array of int32, shape (days, n)
    apart : array of float32, shape (days, n), or None
        Dissimilarities, where they are computed.
    """

    def __init__(self, part: Part, own: slice) -> None:
        self.part, self.shared, self.own = part, part.shared, own
        self.engine, self.xp = part.shared.engine, part.shared.xp
        self.pixels, self.places = part.pixels[own], part.places[own]
        self.count = len(self.pixels)
        self.step = min(len(part.days), max(1, self.engine.block // self.count))
        self.fillers = [filler.block(part.there, self.pixels) for filler in part.tile.fillers]
        shape = (len(part.days), self.count)
        self.estimates, self.bits = self.xp.empty(shape, self.xp.float32), self.xp.empty(shape, self.xp.int32)
        self.apart: Array = None if part.similar is None else self.xp.empty(shape, self.xp.float32)
        self.static, self.static_bits = self._static()
        self._entered: list[Workspace] = []
        self._make_room(self.step)

    def _make_room(self, days: int) -> None:
        """Room for the daily variables and features of so many days."""
        xp, shared, self.room = self.xp, self.shared, days
        raw = xp.empty((len(shared.daily_names), days * self.count), xp.float32)
        self.features = xp.empty((len(shared.daily_features), days * self.count), xp.float32)
        self.raw: dict[str, Array] = {}
        self.filled, row = [], 0
        for filler in self.part.tile.fillers:
            rows = raw[row : row + len(filler.names)]
            self.raw |= dict(zip(filler.names, rows, strict=True))
            self.filled.append(rows.reshape(len(rows), days, self.count))
            row += len(rows)

    def _static(self) -> tuple[Array, Array]:
        """The features that stay, scaled, shape (names, n), and their bits, shape (n,)."""
        xp, shared, part = self.xp, self.shared, self.part
        raw = {
            name: xp.decode(xp.take(part.there[array], self.pixels), packing)
            for name, (array, packing) in part.year.static.items()
        }
        bits = xp.full((self.count,), 0, xp.int32)
        if part.year.cover:
            cover = xp.take(part.there[part.year.cover], self.pixels)
            raw["LC"] = xp.asarray(cover, dtype=xp.float32)
            mark(bits, cover == URBAN_CLASS, URBAN, xp)
            mark(bits, xp.take(shared.class_outside, cover), OUTSIDE_TRAINING_DOMAIN, xp)
        features = xp.empty((len(shared.static_features), self.count), xp.float32)
        write_features(shared.static_features, raw, features, xp)
        mark(bits, ~xp.isfinite(features).all(0), SNAPSHOT_MISSING, xp)
        mark(bits, shared.static_limits.outside(features), OUTSIDE_TRAINING_DOMAIN, xp)
        self.engine.scale(features, 0, features)
        return features, bits

    def steps(self) -> Iterator[Step]:
        """The block's days, as many at once as fit; each is computed before its workspace is used again."""
        for start in range(0, len(self.part.days), self.step):
            step = Step(
                self, slice(start, min(start + self.step, len(self.part.days))), next(self.shared.workspaces)
            )
            self._prepare(step)
            yield step

    def _inputs(self, workspace: Workspace) -> Array:
        """The workspace's features by day and pixel, shape (features, days, n)."""
        rows = workspace.inputs[:, : self.step * self.count]
        return rows.reshape(len(rows), self.step, self.count)

    def _enter(self, workspace: Workspace) -> None:
        """Write what stays the same on every day."""
        self._entered.append(workspace)
        self._inputs(workspace)[: self.engine.static] = self.static[:, None]
        rows = self.part.rows[self.own]
        for day in range(self.step):
            of_day = slice(day * self.count, (day + 1) * self.count)
            workspace.series[of_day] = rows + day * self.part.table.shape[1]
            if workspace.weights is not None:
                workspace.weights[of_day] = self.part.weights[self.own]

    def _prepare(self, step: Step) -> None:
        """Write the features of some days to the workspace, and their bits."""
        xp, shared, engine, part, days = self.xp, self.shared, self.engine, self.part, step.days
        count, first, bits = days.stop - days.start, part.year.days.start, self.bits[days]
        if step.workspace not in self._entered:
            self._enter(step.workspace)
        # What an earlier block left behind the pixels must not point behind this table.
        step.workspace.series[count * self.count :] = 0
        if count != self.room:
            self._make_room(count)
        xp.take(part.bits[days], self.places, out=bits)
        bits |= self.static_bits
        for filler, values in zip(self.fillers, self.filled, strict=True):
            filler.write(slice(first + days.start, first + days.stop), values, bits)
        write_features(shared.daily_features, self.raw, self.features, xp)
        flat = bits.reshape(-1)
        mark(flat, shared.daily_limits.outside(self.features), OUTSIDE_TRAINING_DOMAIN, xp)
        if {"Green", "SWIR1", "NIR"} <= self.raw.keys():
            mark(flat, is_snow(self.raw["Green"], self.raw["SWIR1"], self.raw["NIR"]), SNOW_OR_FROZEN, xp)
        if not xp.all_finite(self.features):
            missing = ~xp.isfinite(self.features)
            for flag, rows in part.tile.reasons:
                mark(flat, reduce(operator.or_, [missing[row] for row in rows]), flag, xp)
        self._inputs(step.workspace)[engine.static : engine.dated, :count] = part.dates[:, days, None]
        engine.scale(self.features, engine.dated, step.workspace.inputs[engine.dated :, : len(flat)])

    def estimate(self, step: Step) -> None:
        """Estimates and dissimilarities of some days."""
        part, days, workspace = self.part, step.days, step.workspace
        size = (days.stop - days.start) * self.count
        found = self.engine.predict(workspace, part.table[days].flatten(0, 1), size)[:size]
        self.estimates[days] = found.reshape(-1, self.count)
        if part.similar is not None:
            found = self.engine.apart(workspace, part.similar[days].flatten(0, 1), size)[:size]
            self.apart[days] = found.reshape(-1, self.count)
