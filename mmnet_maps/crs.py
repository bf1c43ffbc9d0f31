"""What a CRS says of its coordinates: the way to another, their unit, and where the globe begins again."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError

from mmnet_maps.errors import InputError

__all__ = ["bounds_in", "known_crs", "near", "period", "same_crs", "transform", "unit_metres"]

Float = NDArray[np.float64]

_METRES_PER_DEGREE = 111_320.0
#: Projections in which x is proportional to the longitude.
_CYLINDRICAL = ("lambert_cylindrical_equal_area", "mercator")


@lru_cache(maxsize=64)
def _transformer(source: str, target: str) -> Transformer:
    try:
        return Transformer.from_crs(CRS.from_user_input(source), CRS.from_user_input(target), always_xy=True)
    except Exception as error:
        raise InputError(f"no way from CRS {source} to {target}: {error}") from None


@lru_cache(maxsize=256)
def same_crs(one: str, other: str) -> bool:
    """Whether two texts name one CRS; `InputError` if one of them names none."""
    try:
        return one == other or CRS.from_user_input(one) == CRS.from_user_input(other)
    except CRSError as error:
        raise InputError(f"no way from CRS {one} to {other}: {error}") from None


@lru_cache(maxsize=256)
def known_crs(text: str) -> str:
    """The text, if it names a CRS; `InputError` if it names none."""
    try:
        CRS.from_user_input(text)
    except CRSError as error:
        raise InputError(f"{text!s:.80} is not a CRS that PROJ knows: {error!s:.200}") from None
    return text


@lru_cache(maxsize=64)
def unit_metres(crs: str) -> float:
    """Metres in a unit of its coordinates; of a degree, along a meridian."""
    known = CRS.from_user_input(crs)
    if known.is_geographic:
        return _METRES_PER_DEGREE
    return float(known.axis_info[0].unit_conversion_factor or 1.0)


@lru_cache(maxsize=64)
def period(crs: str) -> float | None:
    """Distance in x after which the globe begins again; None for a CRS whose x is no longitude.

    Examples
    --------
    >>> period("EPSG:4326"), period("EPSG:32612")
    (360.0, None)
    """
    known = CRS.from_user_input(crs)
    if known.is_geographic:
        return 360.0
    if known.to_cf().get("grid_mapping_name") not in _CYLINDRICAL:
        return None
    # One degree of longitude is the same distance everywhere.
    west, east = _transformer("EPSG:4326", crs).transform([-1.0, 1.0], [0.0, 0.0])[0]
    return float(east - west) * 180


def near(x: NDArray[Any], around: float, crs: str) -> Float:
    """X moved by whole turns of the globe to within half a turn of `around`.

    In a CRS whose x is no longitude it is left as it is.
    """
    turn, values = period(crs), np.asarray(x, dtype=np.float64)
    return values if turn is None else values - np.round((values - around) / turn) * turn


def transform(source: str, target: str, x: NDArray[Any], y: NDArray[Any]) -> tuple[Float, Float]:
    """Coordinates of points in another CRS; infinite where it does not reach."""
    if same_crs(source, target):
        return np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    east, north = _transformer(source, target).transform(np.asarray(x), np.asarray(y))
    return np.asarray(east), np.asarray(north)


def bounds_in(
    source: str, target: str, bounds: tuple[float, float, float, float], points: int = 51
) -> tuple[float, float, float, float]:
    """Left, bottom, right and top of a box in another CRS; an end may lie beyond 180 degrees.

    Where the globe begins again the box stays in one piece, near its middle.

    Parameters
    ----------
    source, target : str
    bounds : (left, bottom, right, top)
        In the source's CRS.
    points : int
        On each side that are looked at.

    Examples
    --------
    >>> left, _, right, _ = bounds_in("EPSG:32660", "EPSG:4326", (800_000, 1_880_000, 840_000, 1_920_000))
    >>> right - left < 1
    True
    """
    left, bottom, right, top = bounds
    across, up = np.linspace(left, right, points), np.linspace(bottom, top, points)
    x = np.concatenate([across, across, np.full(points, left), np.full(points, right), [(left + right) / 2]])
    y = np.concatenate([np.full(points, bottom), np.full(points, top), up, up, [(bottom + top) / 2]])
    there, north = transform(source, target, x, y)
    around = near(there, float(there[-1]), target)
    return float(around.min()), float(north.min()), float(around.max()), float(north.max())
