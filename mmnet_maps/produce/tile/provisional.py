"""Provisional days of a unit: their flag, and their wider intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmnet_maps.produce.tile.trust import (
    LAND_COVER_MISSING,
    MISSING,
    NOT_COMPUTED,
    PROVISIONAL,
    SOIL_MOISTURE,
    WATER_OR_ICE,
)

__all__ = ["mark_provisional"]

#: Pixels that never have a value.
_NEVER = NOT_COMPUTED | WATER_OR_ICE | LAND_COVER_MISSING


def mark_provisional(
    values: Mapping[str, NDArray[Any]], widths: Sequence[float], valid_range: tuple[float, float]
) -> None:
    """Flag the provisional days of a unit and widen their intervals about the estimate, in place.

    Parameters
    ----------
    values : mapping of str to ndarray, shape (days, rows, columns)
        Stored layers.
    widths : sequence of float, one a day
        How many times as wide the interval is; 0: the day is final. Empty: all are.
    valid_range : (float, float)
        Limits of an interval, m3 m-3.

    Examples
    --------
    >>> day = np.full((1, 1, 1), 2000, dtype=np.int16)
    >>> maps = {"soil_moisture": day, "lower": day - 100, "upper": day + 300}
    >>> maps["quality"] = np.zeros((1, 1, 1), dtype=np.uint32)
    >>> mark_provisional(maps, [1.5], (0.0, 1.0))
    >>> [int(maps[name][0, 0, 0]) for name in ("lower", "upper", "quality")]
    [1850, 2450, 131072]
    """
    low, high = (int(v) for v in SOIL_MOISTURE.encode(np.array(valid_range)))
    for day, width in enumerate(widths):
        if not width:
            continue
        quality, estimate = values["quality"][day], values["soil_moisture"][day].astype(np.float64)
        quality |= np.where(quality & _NEVER, 0, PROVISIONAL).astype(quality.dtype)
        if width == 1:
            continue
        for name, outward in (("lower", np.floor), ("upper", np.ceil)):
            end = values[name][day]
            wider = np.clip(outward(estimate + (end - estimate) * width), low, high)
            end[...] = np.where(end == MISSING, MISSING, wider)
