"""Climate normals: the mean weather of a cell or station, from years before the tested ones.

A normal is computed from the weather of stated years alone, never from soil moisture, and is the same for
every row of a station and every day of a pixel. Choosing years before the first year that anything is tested
on keeps what follows out of the inputs; the table's catalogue says which years these are. `MonthSums` does
the arithmetic for tables and for cubes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmnet_maps.catalogue import Catalogue
from mmnet_maps.errors import InputError
from mmnet_maps.variables import NORMAL, Variable, normal_of

__all__ = [
    "MONTH_DAYS",
    "NORMALS",
    "MonthSums",
    "add_normals",
    "climate_normals",
    "missing_normal",
    "with_normals",
]

#: Daily variables whose normals describe a climate, as far as a table or a cube holds them.
NORMALS = ("pr", "eto", "tmax", "tmin", "vpd", "srad")
#: Days with a value that a calendar month needs, over all years.
MONTH_DAYS = 20


class MonthSums:
    """Sums of the days of each calendar month, over all years, and the normals that follow from them.

    Parameters
    ----------
    count : int
        Number of stations or cells.
    """

    def __init__(self, count: int) -> None:
        self._shape = 12, count
        self._total = np.zeros(12 * count)
        self._count = np.zeros(12 * count, dtype=np.int64)

    def add(
        self, values: NDArray[np.floating], index: NDArray[np.integer], month: NDArray[np.integer]
    ) -> None:
        """Add values; all three of shape (n,), months from 0, NaN is missing."""
        seen = ~np.isnan(values)
        cell = (month * self._shape[1] + index)[seen]
        # In the order given, in float64: the sum of a place does not depend on the others.
        self._total += np.bincount(cell, values[seen].astype(np.float64), self._total.size)
        self._count += np.bincount(cell, minlength=self._count.size)

    def normals(self) -> NDArray[np.float64]:
        """Mean of the means of the twelve months, shape (n,).

        So that a gap in one season does not shift it. NaN where a month has fewer than 20 days.
        """
        enough = self._count >= MONTH_DAYS
        monthly = np.where(enough, self._total / np.maximum(self._count, 1), np.nan)
        means: NDArray[np.float64] = monthly.reshape(self._shape).mean(axis=0)
        return means


def climate_normals(weather: pd.DataFrame, names: Sequence[str], until: int) -> pd.DataFrame:
    """Mean over the year, of the years up to and with ``until``.

    Parameters
    ----------
    weather : DataFrame
        ID, Date (YYYYMMDD) and the variables; NaN is missing.
    names : sequence of str
    until : int
        Last year used.

    Returns
    -------
    DataFrame
        ID and ``{name}_normal``, a row a station; NaN where a calendar month has fewer than 20 days.

    Raises
    ------
    InputError
        No day is that early.
    """
    date = weather["Date"].to_numpy()
    early = date // 10_000 <= until
    if not early.any():
        raise InputError(f"climate normals to {until}: the weather begins in {int(date.min()) // 10_000}")
    ids = weather.loc[early, "ID"].astype(str)
    station, index = np.unique(ids, return_inverse=True)
    month = date[early] // 100 % 100 - 1
    columns: dict[str, object] = {"ID": station}
    for name in names:
        sums = MonthSums(len(station))
        sums.add(weather.loc[early, name].to_numpy(dtype=np.float64), index, month)
        columns[f"{name}{NORMAL}"] = sums.normals()
    return pd.DataFrame(columns)


def with_normals(catalogue: Catalogue, names: Sequence[str], until: int) -> Catalogue:
    """Add the normals of these variables as snapshot features."""
    for name in names:
        catalogue = catalogue.adding(normal_of(catalogue[name], until))
    return catalogue


def add_normals(
    tables: Mapping[str, pd.DataFrame], catalogue: Catalogue, until: int
) -> tuple[dict[str, pd.DataFrame], Catalogue]:
    """Add a table of the normals of `NORMALS`, as far as the tables hold them, and the features for them.

    Parameters
    ----------
    tables : mapping of str to DataFrame
        As `build_station_table` takes them.
    catalogue : Catalogue
    until : int
        Last year used.

    Raises
    ------
    InputError
        The catalogue has no weather of which there are normals, or it does not go back so far.
    """
    daily = {name: table for name, table in tables.items() if "Date" in table.columns}
    sources = {
        name: next((key for key, table in daily.items() if name in table.columns), None)
        for name in NORMALS
        if name in catalogue
    }
    held = {name: key for name, key in sources.items() if key is not None}
    if not held:
        raise InputError(f"climate normals to {until}: there is none of {', '.join(NORMALS)} in the weather")
    more = {
        f"normals of {key}": climate_normals(daily[key], [n for n, k in held.items() if k == key], until)
        for key in dict.fromkeys(held.values())
    }
    return {**tables, **more}, with_normals(catalogue, list(held), until)


def missing_normal(variable: Variable) -> str:
    """What to do about a normal that a cube lacks, to be added to a message; empty for any other variable."""
    if not variable.name.endswith(NORMAL) or variable.source != "normals":
        return ""
    return (
        f". It is a climate normal ({variable.long_name}): add `normals: {{until: YEAR}}` to the cube's "
        f"configuration, or list a raster of {variable.name} as a static source, and build the cube again"
    )
