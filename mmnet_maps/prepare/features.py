"""Raw values to model input: indices, encodings, windows, scaling. Plain arrays, no files.

Both paths call `write_features`: the station table with one column a row, the map with one column a pixel.
Backscatter enters the radar indices in dB, as published.

Formulas take an array namespace `xp`: NumPy, or one with the same functions over the arrays of a device.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmnet_maps.catalogue import LAND_COVER_CLASSES, Catalogue
from mmnet_maps.errors import InputError

__all__ = [
    "Scaler",
    "encode",
    "land_cover_class",
    "nearest_release",
    "window",
    "write_features",
]

Array = NDArray[np.float32]
Values = Mapping[str, NDArray[np.float32]]

_NLCD = {
    "Developed": (21, 22, 23, 24),
    "Barren": (31,),
    "Forest": (41, 42, 43),
    "Shrub": (51, 52),
    "Grassland": (71, 72),
    "Pasture": (81,),
    "Crop": (82,),
    "Wetland": (90, 95),
}
_CLASS_OF_CODE = np.full(256, -1, dtype=np.int8)
for _name, _codes in _NLCD.items():
    _CLASS_OF_CODE[list(_codes)] = LAND_COVER_CLASSES.index(_name)


def land_cover_class(code: NDArray[np.generic]) -> NDArray[np.int8]:
    """Class index (order of `LAND_COVER_CLASSES`) of NLCD codes; -1 for water, ice, unknown or missing.

    Parameters
    ----------
    code : ndarray
        NLCD codes of any numeric type; NaN is missing.
    """
    number = np.asarray(code, dtype=np.float64)
    whole = np.nan_to_num(number, nan=0.0)
    usable = (whole >= 0) & (whole <= 255) & (whole == np.floor(whole))
    return _CLASS_OF_CODE[np.where(usable, whole, 0).astype(np.int64)]


def nearest_release(releases: Sequence[int], years: NDArray[np.integer]) -> NDArray[np.int64]:
    """Which yearly release of a map serves each year: the nearest, of two equally near the later.

    With the releases 2016, 2019 and 2021 of the land cover map this is the published rule: 2016 for
    2016-2017, 2019 for 2018-2019, 2021 for 2020-2022.

    Parameters
    ----------
    releases : sequence of int
        Years of the releases, at least one, in any order.
    years : ndarray of integers

    Returns
    -------
    ndarray of int64
        Position in `releases`.
    """
    order = np.argsort(np.asarray(releases), kind="stable")[::-1]
    distance = np.abs(np.asarray(years)[..., None] - np.asarray(releases)[order])
    nearest: NDArray[np.int64] = order[np.argmin(distance, axis=-1)].astype(np.int64)
    return nearest


def encode(name: str, value: NDArray[np.floating] | float, xp: Any = np) -> Array:
    """Encode day of year or aspect (degree): half-period cosine, or sine and cosine of the full period.

    ``DoY_normalized`` = cos((DoY - 1) / 365 pi), ``aspect_normalized`` = cos(aspect / 360 pi); the cyclic
    pairs use a year of 365.25 days. Computed in float64, given as float32.
    """
    number = xp.asarray(value, dtype=xp.float64)
    match name:
        case "DoY_normalized":
            coded = xp.cos((number - 1) / 365 * np.pi)
        case "aspect_normalized":
            coded = xp.cos(number / 360 * np.pi)
        case "DoY_sin":
            coded = xp.sin((number - 1) / 365.25 * 2 * np.pi)
        case "DoY_cos":
            coded = xp.cos((number - 1) / 365.25 * 2 * np.pi)
        case "aspect_sin":
            coded = xp.sin(number / 360 * 2 * np.pi)
        case "aspect_cos":
            coded = xp.cos(number / 360 * 2 * np.pi)
        case _:
            raise KeyError(name)
    return xp.asarray(coded, dtype=xp.float32)  # type: ignore[no-any-return]


def _normalised(one: Array, other: Array, out: Array, xp: Any) -> None:
    """(one - other) / (one + other)."""
    xp.subtract(one, other, out=out)
    out /= one + other


def _ndvi(v: Values, out: Array, xp: Any) -> None:
    _normalised(v["NIR"], v["Red"], out, xp)


def _evi(v: Values, out: Array, xp: Any) -> None:
    bottom = v["Red"] * 6.0
    bottom += v["NIR"]
    bottom -= v["Blue"] * 7.5
    bottom += 1.0
    xp.subtract(v["NIR"], v["Red"], out=out)
    out *= 2.5
    out /= bottom


def _ndwi(v: Values, out: Array, xp: Any) -> None:
    _normalised(v["Green"], v["NIR"], out, xp)


def _lswi(v: Values, out: Array, xp: Any) -> None:
    _normalised(v["NIR"], v["SWIR1"], out, xp)


def _nsdsi(v: Values, out: Array, xp: Any) -> None:
    xp.subtract(v["SWIR1"], v["SWIR2"], out=out)
    out /= v["SWIR1"]


def _cr(v: Values, out: Array, xp: Any) -> None:
    xp.divide(v["VV"], v["VH"], out=out)


def _dpsvim(v: Values, out: Array, xp: Any) -> None:
    xp.multiply(v["VV"], v["VV"], out=out)
    out += v["VH"] * v["VH"]
    out *= 1 / 32


def _pol(v: Values, out: Array, xp: Any) -> None:
    xp.add(v["VV"], v["VH"], out=out)
    out /= v["VV"] - v["VH"]


def _rvim(v: Values, out: Array, xp: Any) -> None:
    xp.multiply(v["VH"], 4.0, out=out)
    out /= v["VV"] + v["VH"]


def _vvvh(v: Values, out: Array, xp: Any) -> None:
    xp.subtract(v["VV"], v["VH"], out=out)


_INDEX: dict[str, Callable[[Values, Array, Any], None]] = {
    "ndvi": _ndvi,
    "evi": _evi,
    "ndwi": _ndwi,
    "lswi": _lswi,
    "nsdsi": _nsdsi,
    "cr": _cr,
    "dpsvim": _dpsvim,
    "pol": _pol,
    "rvim": _rvim,
    "vvvh": _vvvh,
}
_ENCODED = ("DoY_normalized", "aspect_normalized", "DoY_sin", "DoY_cos", "aspect_sin", "aspect_cos")


def write_features(names: Sequence[str], raw: Values, out: Array, xp: Any = np) -> None:
    """Write snapshot features, a row each, into a preallocated buffer.

    Parameters
    ----------
    names : sequence of str
        Features, in the order of the rows of `out`; also ``LC``, the class as a number (MLP baseline).
    raw : mapping of str to ndarray of float32, shape (n,) or ()
        Gap-filled variables by name; ``LC`` holds class indices (`land_cover_class`), ``DoY`` the day.
    out : ndarray of float32, shape (len(names), n)
        Overwritten. An index with a zero denominator is missing (NaN), as is a one-hot column of class -1.
    xp : array namespace
        Of `raw` and `out`; NumPy without it.
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        for name, row in zip(names, out, strict=True):
            if name in _INDEX:
                _INDEX[name](raw, row, xp)
            elif name in _ENCODED:
                row[...] = encode(name, raw[name.split("_")[0]], xp)
            elif name == "LC" or name.startswith("LC_"):
                cover = raw["LC"]
                row[...] = cover if name == "LC" else cover == LAND_COVER_CLASSES.index(name[3:])
                row[xp.broadcast_to(cover, row.shape) < 0] = np.nan
            else:
                row[...] = raw[name]
        _drop_infinite(out, [index for index, name in enumerate(names) if name in _INDEX], xp)


def _drop_infinite(out: Array, rows: list[int], xp: Any) -> None:
    """Set infinite values in some rows to missing; rows that stand together are searched at once."""
    together = bool(rows) and rows[-1] - rows[0] == len(rows) - 1
    for part in [out[rows[0] : rows[-1] + 1]] if together else [out[row] for row in rows]:
        here = isinstance(part, np.ndarray)
        # A sum is finite only where every number is, and is told in a third of the time. Elsewhere than in
        # NumPy to ask at all would wait for the device.
        if here and math.isfinite(part.sum()):
            continue
        infinite = xp.isinf(part)
        if not here or infinite.any():
            part[infinite] = np.nan


def window(values: NDArray[np.float32], first: int, lags: Sequence[int], count: int) -> NDArray[np.float32]:
    """Cut the days before each predicted day out of a daily series.

    Parameters
    ----------
    values : ndarray of float32, shape (days, ...)
        One value a calendar day, without holes in the day axis (a missing day is NaN).
    first : int
        Row of the first predicted day.
    lags : sequence of int
        Days back, oldest first (``10, ..., 0``).
    count : int
        Number of consecutive predicted days.

    Returns
    -------
    ndarray of float32, shape (count, len(lags), ...)

    Raises
    ------
    ValueError
        A window reaches before the first row or behind the last.
    """
    if first - max(lags) < 0 or first + count - min(lags) > len(values):
        raise ValueError("the series does not reach as far as its windows")
    rows = first + np.arange(count)[:, None] - np.asarray(lags)[None, :]
    cut: NDArray[np.float32] = values[rows]
    return cut


@dataclass(frozen=True)
class Scaler:
    """Mean and population standard deviation of the training rows.

    Attributes
    ----------
    snapshot_mean, snapshot_std : ndarray of float64, shape (p,)
        Per snapshot feature, in catalogue order; a zero deviation is 1.
    series_mean, series_std : ndarray of float64, shape (v,)
        Per series variable, over rows and days together.
    """

    snapshot_mean: NDArray[np.float64]
    snapshot_std: NDArray[np.float64]
    series_mean: NDArray[np.float64]
    series_std: NDArray[np.float64]

    @classmethod
    def fit(cls, snapshot: Array, series: Array, catalogue: Catalogue | None = None) -> Scaler:
        """Fit on training rows.

        Parameters
        ----------
        snapshot : ndarray of float32, shape (n, p)
        series : ndarray of float32, shape (n, v, t)
        catalogue : Catalogue, optional
            Names the offending column in errors.

        Raises
        ------
        InputError
            There are no rows, or a series variable is constant (its scale is undefined).
        """
        if len(snapshot) == 0:
            raise InputError("no training rows to fit the scaler on")
        wide, long = snapshot.astype(np.float64), series.astype(np.float64)
        std = wide.std(axis=0)
        series_std = long.std(axis=(0, 2))
        if (series_std == 0).any():
            column = int(np.flatnonzero(series_std == 0)[0])
            name = catalogue.series[column] if catalogue else f"number {column}"
            raise InputError(f"series variable {name} is constant over all training rows; leave it out")
        return cls(wide.mean(axis=0), np.where(std == 0, 1.0, std), long.mean(axis=(0, 2)), series_std)

    def snapshot(self, values: Array) -> Array:
        """Scale snapshot features, shape (n, p); float32 throughout, as the published loader does."""
        mean, std = self.snapshot_mean.astype(np.float32), self.snapshot_std.astype(np.float32)
        scaled: Array = (values - mean) / std
        return scaled

    def series(self, values: Array) -> Array:
        """Scale series windows, shape (n, v, t)."""
        mean, std = self.series_mean.astype(np.float32), self.series_std.astype(np.float32)
        scaled: Array = (values - mean[:, None]) / std[:, None]
        return scaled
