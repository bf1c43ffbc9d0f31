"""One tile over consecutive days: filling, features, network, rules, flags, stored values.

The whole program is here, once. It is written over the arrays of the engine (`Engine.xp`): NumPy's on a
processor, tensors on a device. What differs between the two is small: who fills gaps in time (`fillers`), how
many pixels and days are computed at once (`sizes`), and whether it may be asked if any element of a mask is
set (`Arrays.some`). A device is never asked, so that it does not wait before a tile's end.

A pixel's result depends on its own inputs alone: products have a fixed shape, and all else is computed number
by number, so any tiling and any blocks of days give the same bits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mmnet_maps.ahead import ahead
from mmnet_maps.produce.engine.arrays import Array
from mmnet_maps.produce.engine.device import exact_products
from mmnet_maps.produce.engine.engine import Engine
from mmnet_maps.produce.tile.adjusted import adjust_maps
from mmnet_maps.produce.tile.block import STORED, Part, Step
from mmnet_maps.produce.tile.inputs import TileInputs
from mmnet_maps.produce.tile.prepared import PreparedTile
from mmnet_maps.produce.tile.rules import valid_range
from mmnet_maps.produce.tile.shared import AHEAD, Shared
from mmnet_maps.produce.tile.trust import MISSING, QUALITY

__all__ = ["TileResult", "predict_tile", "predict_tiles"]


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

    On a processor what the networks take next is prepared meanwhile too. On a device the next tile is also
    sent there, and the one before comes back.

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
    program = _Program(Shared(engine, days), keep_prediction)
    computed: deque[tuple[TileInputs, Callable[[], Mapping[str, NDArray[Any]]]]] = deque()
    # Series are encoded in the thread that reads: what is set for the process holds until the last tile.
    with exact_products():
        steps = program.steps(ahead(PreparedTile(program.shared, inputs) for inputs in tiles))
        for step in steps if engine.xp.on_device else ahead(steps, AHEAD):
            if isinstance(step, Step):
                step.compute()
                continue
            computed.append((step.inputs, engine.xp.download(step.maps)))
            if len(computed) > engine.xp.behind:
                yield program.finished(*computed.popleft())
        while computed:
            yield program.finished(*computed.popleft())


@dataclass(frozen=True)
class _Mapped:
    """A tile whose steps have all gone before.

    Attributes
    ----------
    inputs : TileInputs
    maps : dict of str to array, shape (days, pixels)
    """

    inputs: TileInputs
    maps: Mapping[str, Array]


class _Program:
    """What becomes of prepared tiles."""

    def __init__(self, shared: Shared, keep_prediction: bool) -> None:
        self.shared, self.keep_prediction = shared, keep_prediction
        self.engine, self.xp, self.days = shared.engine, shared.xp, shared.days

    @torch.inference_mode()
    def steps(self, tiles: Iterator[PreparedTile]) -> Iterator[Step | _Mapped]:
        """The steps of each tile, and then its maps."""
        for tile in tiles:
            there = tile.upload()
            maps = self._empty(tile, there)
            for year, series in tile.parts:
                of_year = {name: values[year.days] for name, values in maps.items()}
                yield from Part(self.shared, tile, there, year, series, of_year).steps()
            yield _Mapped(tile.inputs, maps)

    def _empty(self, tile: PreparedTile, there: Mapping[str, Array]) -> dict[str, Array]:
        """Maps with nothing but the reasons why pixels are not computed."""
        xp, shape = self.xp, (len(self.days), len(tile.inputs.inside))
        maps = {name: xp.full(shape, int(MISSING), xp.int16) for name in (*STORED[:3], *self.engine.optional)}
        maps["quality"] = xp.empty(shape, xp.int32)
        if self.keep_prediction:
            maps["prediction"] = xp.full(shape, np.nan, xp.float32)
        for year in tile.years:
            maps["quality"][year.days] = there[year.reasons]
        return maps

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
