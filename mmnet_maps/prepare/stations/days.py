"""Observations of stations as dense arrays: a row a calendar day, a column a station, NaN where missing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmnet_maps.catalogue import Catalogue
from mmnet_maps.dates import from_yyyymmdd
from mmnet_maps.errors import InputError
from mmnet_maps.prepare.features import land_cover_class, nearest_release

__all__ = [
    "Axes",
    "constants_of",
    "daily_values",
    "find_table",
    "land_cover_of",
    "refuse_another_unit",
    "screen_reflectance",
    "without_fill_values",
]

Dense = NDArray[np.float32]
Tables = Mapping[str, pd.DataFrame]

#: Numbers that files put where there is no value.
_FILL_VALUES = (-9999.0, -9999.9, -999.0, -999.9, -99999.0, -32768.0, -32767.0, 32767.0, 65535.0, 1e20)
#: Share of values out of range above which they are of another unit, not unlikely weather.
_ANOTHER_UNIT = 0.9


@dataclass(frozen=True)
class Axes:
    """The days and stations of a table.

    Attributes
    ----------
    ids : tuple of str
        Stations, sorted.
    first : int
        First day, counted since 1970-01-01.
    count : int
        Number of consecutive days.
    """

    ids: tuple[str, ...]
    first: int
    count: int

    @property
    def days(self) -> NDArray[np.int64]:
        """The days since 1970-01-01, shape (count,)."""
        return np.arange(self.first, self.first + self.count, dtype=np.int64)

    @property
    def shape(self) -> tuple[int, int]:
        """(days, stations)."""
        return self.count, len(self.ids)

    @classmethod
    def spanning(cls, ids: Iterable[str], dates: Iterable[NDArray[np.int64]], before: int) -> Axes:
        """Axes from the first of all dates (YYYYMMDD) less ``before`` days to the last."""
        ends = [from_yyyymmdd(np.array([part.min(), part.max()])) for part in dates if len(part)]
        first, last = min(int(e[0]) for e in ends), max(int(e[1]) for e in ends)
        return cls(tuple(sorted(ids)), first - before, last - first + before + 1)

    def stations(self, ids: pd.Series) -> NDArray[np.int64]:
        """Column of each id; -1 for a station that is not of this table."""
        kinds = ids if isinstance(ids.dtype, pd.CategoricalDtype) else ids.astype("category")
        index = pd.Index(self.ids).get_indexer(pd.Index(kinds.cat.categories.astype(str)))
        found: NDArray[np.int64] = np.append(index, -1)[kinds.cat.codes.to_numpy()]
        return found


def find_table(tables: Tables, variable: str, key: str | None) -> pd.DataFrame | None:
    """The table that has a column ``variable`` and the key ``Date``, ``Year`` or (None) neither of them."""
    for table in tables.values():
        keys = {"Date", "Year"} & set(table.columns)
        if variable in table.columns and (key in keys if key else not keys):
            return table
    return None


def screen_reflectance(table: pd.DataFrame, catalogue: Catalogue) -> tuple[pd.DataFrame, int]:
    """Blank the optical bands of granules in which any reflectance is above 1 or below 0.

    Nothing but the bands of that granule is touched.

    Returns
    -------
    table : DataFrame
        A new one if anything was blanked.
    count : int
        Granules blanked.
    """
    optical = [v for v in catalogue.variables if v.sensor == "optical" and v.name in table.columns]
    bad = np.zeros(len(table), dtype=bool)
    for variable in optical:
        if variable.is_reflectance:
            low, high = variable.valid_range
            values = table[variable.name].to_numpy()
            bad |= (values < low) | (values > high)
    if not bad.any():
        return table, 0
    names = [v.name for v in optical]
    return table.assign(**{n: table[n].mask(bad) for n in names}), int(bad.sum())


def without_fill_values(
    table: pd.DataFrame, names: Sequence[str], catalogue: Catalogue
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Make missing what stands for missing, such as -9999, where it cannot be a value.

    Returns
    -------
    table : DataFrame
        A new one if anything was made missing.
    count : dict of str to int
        Observations, by what they are.
    """
    blank, count = {}, {}
    for name in names:
        values, (low, high) = table[name], catalogue[name].valid_range
        fill = values.isin(_FILL_VALUES) & ((values < low) | (values > high))
        if fill.any():
            blank[name], count[f"{name} as fill values"] = values.mask(fill), int(fill.sum())
    return (table.assign(**blank) if blank else table), count


def refuse_another_unit(title: str, table: pd.DataFrame, names: Sequence[str], catalogue: Catalogue) -> None:
    """`InputError` where hardly a value of a variable that models take is in the range of its unit."""
    for name in names:
        values, (low, high) = table[name].to_numpy(), catalogue[name].valid_range
        known = values[np.isfinite(values)]
        beyond = (known < low) | (known > high)
        if name in catalogue.required and known.size and beyond.mean() > _ANOTHER_UNIT:
            unit = "" if catalogue[name].unit == "1" else f" {catalogue[name].unit}"
            raise InputError(
                f"{title}: {beyond.mean():.0%} of the values of {name} are outside {low:g} to "
                f"{high:g}{unit}, the median is {np.median(known):.6g}; expected that unit and scale"
            )


def daily_values(table: pd.DataFrame, names: Sequence[str], axes: Axes) -> tuple[dict[str, Dense], int]:
    """Bring observations onto days and stations; several of one station and day are averaged.

    Parameters
    ----------
    table : DataFrame
        ID, Date (YYYYMMDD) and the variables; NaN is no observation.
    names : sequence of str
        Variables wanted.
    axes : Axes
        Stations outside them are left out; every day must be inside.

    Returns
    -------
    values : dict of str to ndarray of float32, shape (days, stations)
    extra : int
        Rows beyond the first of their station and day.
    """
    station = axes.stations(table["ID"])
    day = from_yyyymmdd(table["Date"].to_numpy())
    ours = station >= 0
    cell = (day[ours] - axes.first) * len(axes.ids) + station[ours]
    size = axes.count * len(axes.ids)
    found_rows = np.bincount(cell, minlength=size)
    values = {}
    for name in names:
        column = table[name].to_numpy(dtype=np.float64)[ours]
        seen = ~np.isnan(column)
        total = np.bincount(cell[seen], weights=column[seen], minlength=size)
        count = np.bincount(cell[seen], minlength=size)
        with np.errstate(invalid="ignore"):
            # Summed in float64, rounded once: a lone observation keeps its value.
            values[name] = (total / count).astype(np.float32).reshape(axes.shape)
    return values, int((found_rows - (found_rows > 0)).sum())


def constants_of(tables: Tables, names: Sequence[str], axes: Axes) -> dict[str, Dense]:
    """Static variables of every station, shape (stations,); NaN where the tables lack one."""
    out = {}
    for name in names:
        table = find_table(tables, name, None)
        values = np.full(len(axes.ids), np.nan, dtype=np.float32)
        if table is not None:
            station = axes.stations(table["ID"])
            values[station[station >= 0]] = table[name].to_numpy(dtype=np.float64)[station >= 0]
        out[name] = values
    return out


def land_cover_of(table: pd.DataFrame, axes: Axes, years: NDArray[np.int64]) -> NDArray[np.int8]:
    """Land cover class of every year and station.

    Parameters
    ----------
    table : DataFrame
        ID, Year, LC (NLCD code).
    axes : Axes
    years : ndarray of integers, shape (y,)

    Returns
    -------
    ndarray of int8, shape (y, stations)
        Position in `LAND_COVER_CLASSES`; -1 where the code is missing or of no class.
    """
    releases = sorted(int(year) for year in table["Year"].unique())
    codes = np.full((len(releases), len(axes.ids)), np.nan)
    station = axes.stations(table["ID"])
    row = np.searchsorted(releases, table["Year"].to_numpy())
    codes[row[station >= 0], station[station >= 0]] = table["LC"].to_numpy(dtype=np.float64)[station >= 0]
    return land_cover_class(codes)[nearest_release(releases, years)]
