"""A tile that is prepared: which pixels are computed, their fillers and series, its arrays on their way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmnet_maps.packing import Packing
from mmnet_maps.produce.tile.fillers import fillers_of
from mmnet_maps.produce.tile.inputs import TileInputs
from mmnet_maps.produce.tile.layers import static_values, years
from mmnet_maps.produce.tile.rules import check_request, missing_reasons, usable_pixels
from mmnet_maps.produce.tile.series import Series, series_parts
from mmnet_maps.produce.tile.shared import Shared

__all__ = ["PreparedTile", "Year"]


@dataclass(frozen=True)
class Year:
    """Days that one land cover year serves, the pixels that are computed, and what stays the same for them.

    Attributes
    ----------
    days : slice
        Positions in the days that are asked for.
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


class PreparedTile:
    """A tile that is prepared, its arrays on their way to where they are computed with.

    Attributes
    ----------
    parts : iterator of (Year, Series)
        The first is encoded already: usually there is one a land cover year. The others are as they are asked
        for, since the series of many parts may not fit in memory at once.
    """

    def __init__(self, shared: Shared, inputs: TileInputs) -> None:
        engine, self.inputs = shared.engine, inputs
        check_request(engine, inputs, shared.days)
        self._arrays: dict[str, NDArray[Any]] = {}
        yearly = [name for name in shared.static_names if name in inputs.layers]
        runs = years(inputs, yearly, shared.days)
        self.years = [self._year(shared, run, year) for run, year in runs]
        self.fillers = fillers_of(engine, inputs, shared.daily_names, shared.days, self._arrays)
        self.reasons = missing_reasons(engine, shared.daily_features)
        self.upload = engine.xp.upload(self._arrays)
        parts = self._encoded(shared)
        self.parts = chain([first] if (first := next(parts, None)) else [], parts)

    def _encoded(self, shared: Shared) -> Iterator[tuple[Year, Series]]:
        for year in self.years:
            for series in series_parts(shared.encoder, self.inputs, year.pixels, shared.days[year.days]):
                yield year, series

    def _year(self, shared: Shared, run: slice, year: int) -> Year:
        usable, cover, reasons = usable_pixels(shared.engine, self.inputs, year)
        static, catalogue = {}, shared.engine.catalogue
        for name in shared.static_names:
            if name != "LC":
                amount = catalogue[name].measure == "amount"
                stored, packing = shared.xp.sendable(*static_values(self.inputs, name, year, amount))
                static[name] = self._add(f"{name} of {year}", stored), packing
        known = "" if cover is None else self._add(f"cover of {year}", cover)
        why = self._add(f"reasons of {year}", reasons)
        return Year(run, np.flatnonzero(usable), known, why, static)

    def _add(self, name: str, array: NDArray[Any]) -> str:
        self._arrays[name] = array
        return name
