"""What holds for a tile however it is computed: which pixels are, from what, and why the others are not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmnet_maps.catalogue import LAND_COVER_CLASSES
from mmnet_maps.prepare.features import encode, land_cover_class
from mmnet_maps.produce.engine.engine import Engine
from mmnet_maps.produce.tile.inputs import TileInputs
from mmnet_maps.produce.tile.layers import static_values
from mmnet_maps.produce.tile.trust import (
    LAND_COVER_MISSING,
    NOT_COMPUTED,
    SERIES_MISSING,
    WATER_OR_ICE,
    missing_flag,
)

__all__ = [
    "URBAN_CLASS",
    "check_request",
    "date_features",
    "inputs_of",
    "is_snow",
    "missing_reasons",
    "usable_pixels",
    "valid_range",
]

URBAN_CLASS = LAND_COVER_CLASSES.index("Developed")
#: Snow where (Green - SWIR1) / (Green + SWIR1) exceeds the first and NIR the second (Dozier 1989; the MODIS
#: snow map's test against dark water, Hall et al. 1995).
_NDSI, _SNOW_NIR = 0.4, 0.11


def check_request(engine: Engine, inputs: TileInputs, days: NDArray[np.int64]) -> None:
    """Raise `ValueError` unless the days are consecutive and every layer is there."""
    if not days.size or (np.diff(days) != 1).any():
        raise ValueError("days must be consecutive, and at least one")
    missing = [name for name in engine.catalogue.required if name not in inputs.layers]
    if missing:
        raise ValueError(f"the tile lacks {', '.join(missing)}")


def inputs_of(engine: Engine, features: Sequence[str]) -> list[str]:
    """Variables that some features are made from, each once."""
    catalogue = engine.catalogue
    names = (name for f in features for name in (("LC",) if f == "LC" else catalogue.inputs_of(f)))
    return list(dict.fromkeys(names))


def usable_pixels(
    engine: Engine, inputs: TileInputs, year: int
) -> tuple[NDArray[np.bool_], NDArray[np.int32] | None, NDArray[np.int32]]:
    """Pixels that are computed in a land cover year.

    Returns
    -------
    usable : ndarray of bool, shape (pixels,)
        In the region, in the grid of every source, and of a land cover class.
    cover : ndarray of int32, shape (pixels,), or None
        Land cover class, -1 where there is none; None where the catalogue has no land cover.
    reasons : ndarray of int32, shape (pixels,)
        Bits of those that are not computed.
    """
    usable, reasons = _reach(engine, inputs)
    if "LC" not in engine.catalogue.required:
        return usable, None, reasons
    known = np.flatnonzero(usable)
    cover = np.full(len(usable), -1, dtype=np.int32)
    stored, packing = static_values(inputs, "LC", year)
    code = packing.decode(stored[known])
    cover[known] = land_cover_class(code)
    reasons[known[np.isnan(code)]] |= LAND_COVER_MISSING
    reasons[known[(cover[known] < 0) & ~np.isnan(code)]] |= WATER_OR_ICE
    return usable & (cover >= 0), cover, reasons


def _reach(engine: Engine, inputs: TileInputs) -> tuple[NDArray[np.bool_], NDArray[np.int32]]:
    """Pixels that lie in the region and in the grid of every source, and why the others do not."""
    inside, index = inputs.inside, inputs.index
    usable = inside.copy()
    reasons = np.where(inside, 0, NOT_COMPUTED).astype(np.int32)
    for name in engine.catalogue.required:
        cells = index[inputs.layers[name].source]
        if cells is not None:
            outside = inside & (cells < 0)
            reasons[outside] |= _absent(engine, name)
            usable &= ~outside
    return usable, reasons


def _absent(engine: Engine, name: str) -> int:
    """The bit of a pixel outside the grid of a variable's source."""
    if name == "LC":
        return LAND_COVER_MISSING
    if name in engine.catalogue.series_inputs:
        return SERIES_MISSING
    return missing_flag(engine.catalogue[name])


def missing_reasons(engine: Engine, features: Sequence[str]) -> list[tuple[int, list[int]]]:
    """Rows of features whose absence has the same reason: its bit, and their positions."""
    flags = [_missing_reason(engine, name) for name in features]
    return [(flag, [row for row, own in enumerate(flags) if own == flag]) for flag in set(flags)]


def _missing_reason(engine: Engine, feature: str) -> int:
    return sum({missing_flag(engine.catalogue[n]) for n in inputs_of(engine, [feature])})


def date_features(names: Sequence[str], days: NDArray[np.int64]) -> NDArray[np.float32]:
    """Features of the date alone, shape (names, days), unscaled."""
    calendar = days.astype("datetime64[D]")
    day_of_year = (calendar - calendar.astype("datetime64[Y]")).astype(np.int64) + 1
    rows = np.empty((len(names), len(days)), dtype=np.float32)
    for row, name in zip(rows, names, strict=True):
        row[:] = day_of_year if name == "DoY" else encode(name, day_of_year)
    return rows


def is_snow(green: Any, swir: Any, nir: Any) -> Any:
    """Where reflectances, arrays or tensors of float32, are those of snow."""
    total = green + swir
    total *= _NDSI
    snow = green - swir > total
    snow &= nir > _SNOW_NIR
    return snow


def valid_range(engine: Engine) -> tuple[float, float]:
    """Physical range of the target."""
    targets = [v.valid_range for v in engine.catalogue.variables if v.kind == "target"]
    return targets[0] if targets else (0.0, 1.0)
