"""What attributes say of a band: scale, unit, missing values, valid range (CF 1.11, 2.5 and 8.1)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from mmnet_maps.sources.rasters.formats import Band

__all__ = ["band_of", "numbers", "text", "usable"]


def band_of(key: str | int, dtype: str, attrs: Mapping[str, Any], masked: bool = False) -> Band:
    """A band from its attributes.

    Parameters
    ----------
    key : str or int
    dtype : str
        As values are stored; unsigned where ``_Unsigned`` says so.
    attrs : mapping
        ``scale_factor``, ``add_offset``, ``_FillValue``, ``missing_value``, ``valid_min``, ``valid_max``,
        ``valid_range``, ``units``. Numbers may be arrays or text.
    masked : bool
    """
    scale, offset = (
        next(iter(numbers(attrs.get(k))), default)
        for k, default in (("scale_factor", 1.0), ("add_offset", 0.0))
    )
    missing = [v for k in ("_FillValue", "missing_value") for v in numbers(attrs.get(k), dtype)]
    if np.dtype(dtype).kind in "iu":
        # Of packed integers a missing value with decimals can only be one that was unpacked.
        missing = [round((v - offset) / scale) if v % 1 and scale else v for v in missing]
    return Band(
        key,
        dtype,
        scale,
        offset,
        usable(dtype, missing),
        _valid(dtype, attrs, scale, offset),
        text(attrs.get("units")),
        masked,
    )


def numbers(value: Any, dtype: str | None = None) -> list[float]:
    """Numbers of an attribute, which may be one, an array, or text.

    A signed number for an unsigned type `dtype` stands for the same bits.
    """
    if value is None:
        return []
    if isinstance(value, bytes | str | np.bytes_ | np.str_):
        words = text(value).strip("{}[]() ").replace(",", " ").split()
        try:
            return [float(word) for word in words]
        except ValueError:
            return []
    array = np.ravel(np.asarray(value))
    if array.dtype.kind not in "iuf":
        return []
    unsigned = dtype is not None and np.dtype(dtype).kind == "u" and array.dtype.kind == "i"
    turn = float(2 ** (8 * np.dtype(dtype).itemsize)) if unsigned else 0.0
    return [float(v) + turn if v < 0 else float(v) for v in array]


def text(value: Any) -> str:
    """An attribute as text."""
    if value is None:
        return ""
    first = np.ravel(np.asarray(value, dtype=object))
    one = first[0] if first.size else ""
    return (one.decode(errors="replace") if isinstance(one, bytes) else str(one)).strip("\0 ")


def usable(dtype: str, values: Iterable[float | None]) -> tuple[float, ...]:
    """Missing values that the type can hold, each once; NaN is missing in any float and not listed."""
    kind, found = np.dtype(dtype), []
    for value in values:
        if value is None or np.isnan(value):
            continue
        if kind.kind == "f":
            # The missing value must be the one that the stored type compares equal to.
            with np.errstate(over="ignore"):
                found.append(float(kind.type(value)))
        elif np.iinfo(kind).min <= value <= np.iinfo(kind).max and value == int(value):
            found.append(value)
    return tuple(dict.fromkeys(found))


def _valid(dtype: str, attrs: Mapping[str, Any], scale: float, offset: float) -> tuple[float, float] | None:
    """Limits in stored values.

    They are of the stored type, says CF; where that is an integer and they are not, they are of the unpacked
    values, as the netCDF user guide has it.
    """
    both = numbers(attrs.get("valid_range"), dtype)
    low = both[:1] if len(both) == 2 else numbers(attrs.get("valid_min"), dtype)[:1]
    high = both[1:] if len(both) == 2 else numbers(attrs.get("valid_max"), dtype)[:1]
    if not low and not high:
        return None
    given = (attrs.get(k) for k in ("valid_range", "valid_min", "valid_max"))
    unpacked = np.dtype(dtype).kind != "f" and any(_is_fraction(v) for v in given)
    limits = [low[0] if low else -np.inf, high[0] if high else np.inf]
    if unpacked and (scale, offset) != (1.0, 0.0):
        limits = sorted((limit - offset) / scale for limit in limits)
        # The division must not push a limit past the stored integer that it stands for.
        limits = [limits[0] - 1e-6, limits[1] + 1e-6]
    return limits[0], limits[1]


def _is_fraction(value: Any) -> bool:
    if isinstance(value, bytes | str | np.bytes_ | np.str_):
        return "." in text(value)
    return value is not None and np.asarray(value).dtype.kind == "f"
