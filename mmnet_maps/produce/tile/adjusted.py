"""Maps of a tile brought to the level of a user's own probes, where these reach."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmnet_maps.learn.adjust import Adjustment, LocalError
from mmnet_maps.prepare.features import land_cover_class
from mmnet_maps.produce.tile.inputs import TileInputs
from mmnet_maps.produce.tile.layers import static_values, years
from mmnet_maps.produce.tile.trust import ADJUSTED, MISSING, SOIL_MOISTURE

__all__ = ["adjust_maps"]

_STORED = ("soil_moisture", "lower", "upper")


def adjust_maps(
    maps: Mapping[str, NDArray[Any]],
    inputs: TileInputs,
    adjustment: Adjustment,
    valid_range: tuple[float, float],
    days: NDArray[np.int64],
) -> None:
    """Apply what probes say to the maps of a tile, in place; pixels out of reach keep their bits.

    Parameters
    ----------
    maps : mapping of str to ndarray, shape (days, pixels)
        As the model gives them; ``prediction`` may be among them.
    inputs : TileInputs
        Where the pixels are, and their land cover.
    adjustment : Adjustment
    valid_range : (float, float)
        Limits of a stored estimate, m3 m-3.
    days : ndarray of int64, shape (days,)
        Since 1970-01-01.
    """
    known = [name for name in ("LC",) if name in inputs.layers]
    for run, year in years(inputs, known, days):
        local = adjustment.at(inputs.longitude, inputs.latitude, _cover(inputs, year) if known else None)
        touched = np.flatnonzero(local.width < 1)
        if touched.size:
            _adjust_run(
                {name: layer[run] for name, layer in maps.items()}, local.of(touched), touched, valid_range
            )


def _cover(inputs: TileInputs, year: int) -> NDArray[np.int8]:
    stored, packing = static_values(inputs, "LC", year)
    return land_cover_class(packing.decode(stored))


def _adjust_run(
    maps: Mapping[str, NDArray[Any]],
    local: LocalError,
    touched: NDArray[np.intp],
    limits: tuple[float, float],
) -> None:
    valued = maps["soil_moisture"][:, touched] != MISSING
    before = [SOIL_MOISTURE.decode(maps[name][:, touched]) for name in _STORED]
    estimate, lower, upper = local.apply(*before)
    for name, values in zip(_STORED, (np.clip(estimate, *limits), lower, upper), strict=True):
        maps[name][:, touched] = SOIL_MOISTURE.encode(values)
    maps["quality"][:, touched] |= np.where(valued, ADJUSTED, 0).astype(maps["quality"].dtype)
    if "prediction" in maps:
        maps["prediction"][:, touched] = local.adjust(maps["prediction"][:, touched])
