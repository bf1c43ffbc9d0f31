"""Climate normals of a place: what its weather is like in the long run, from years before the tested ones.

A normal is computed from the weather of stated years alone, never from soil moisture, and is the same for
every row of a station. Choosing years before the first year that anything is tested on keeps what follows
out of the inputs; the table's catalogue says which years these are.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from mmnet_maps.catalogue import Catalogue
from mmnet_maps.errors import InputError
from mmnet_maps.variables import Variable

__all__ = ["NORMALS", "climate_normals", "with_normals"]

#: Daily variables whose normals describe a climate, as far as a table holds them.
NORMALS = ("pr", "eto", "tmax", "tmin", "vpd", "srad")
#: Days with a value that a calendar month needs, over all years.
_MONTH = 20


def climate_normals(weather: pd.DataFrame, names: Sequence[str], until: int) -> pd.DataFrame:
    """Mean over the year, of the years up to and with ``until``.

    The mean of the means of the twelve calendar months, so that a gap in one season does not shift it.

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
    part = weather.loc[early, list(names)].astype(np.float64)
    ids = weather.loc[early, "ID"].astype(str)
    groups = part.groupby([ids, pd.Series(date[early] // 100 % 100, index=part.index, name="month")])
    monthly = groups.mean().where(groups.count() >= _MONTH)
    whole = monthly.groupby("ID").count() == 12
    normals = monthly.groupby("ID").mean().where(whole)
    return normals.add_suffix("_normal").reset_index()


def with_normals(catalogue: Catalogue, names: Sequence[str], until: int) -> Catalogue:
    """Add the normals of these variables as snapshot features."""
    for name in names:
        daily = catalogue[name]
        normal = Variable(
            name=f"{name}_normal",
            long_name=f"{daily.long_name}, mean of the years to {until}",
            unit=daily.unit,
            kind="constant",
            cadence="static",
            source="normals",
            valid_range=daily.valid_range,
            resolution=daily.resolution,
        )
        catalogue = catalogue.adding(normal)
    return catalogue
