"""Series at points: estimate, interval, quality and its reasons of the pixel that holds each point."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmnet_maps.errors import InputError
from mmnet_maps.grid import pixels_at
from mmnet_maps.produce.extract.maps import QUALITY, Maps, Reasons, days_between, require
from mmnet_maps.progress import say

__all__ = ["COLUMNS", "extract_points", "outside_line"]

#: Columns of every table of points, before those of further layers.
COLUMNS = ("id", "date", "estimate", "lower", "upper", "quality", "reasons")
#: How many names a message holds.
_NAMED = 8


def extract_points(
    maps: Maps, points: pd.DataFrame, start: int | None = None, end: int | None = None, workers: int = 2
) -> pd.DataFrame:
    """Read the series of the pixels that hold the points.

    Parameters
    ----------
    maps : Maps
    points : DataFrame
        ``id``, and ``longitude`` and ``latitude`` in degrees (EPSG:4326).
    start, end : int, optional
        First and last day since 1970-01-01, both included; by default all days of the maps.
    workers : int
        Threads that read.

    Returns
    -------
    DataFrame
        A row a point and day, by the order of the points: `COLUMNS`, then the further layers by their names.
        Soil moisture and its interval in m3 m-3, NaN where missing; ``quality`` as stored, and its bits in
        words.

    Raises
    ------
    InputError
        No point lies in the maps, or they hold no day that was asked for.
    """
    require(maps, "soil_moisture", QUALITY)
    begin, stop = days_between(maps, start, end)
    row, col = pixels_at(maps.levels[0], points["longitude"].to_numpy(), points["latitude"].to_numpy())
    inside = row >= 0
    outside_line(maps, "points", points.loc[~inside, "id"].tolist(), len(points))
    names = points.loc[inside, "id"].to_numpy()
    stored = maps.pixels(list(maps.layers), begin, stop, row[inside], col[inside], workers)
    days = maps.days[begin:stop]
    # By point, then by day, as a reader of one series wants them.
    columns: dict[str, NDArray[np.generic]] = {
        "id": np.repeat(names, days.size),
        "date": np.tile(np.datetime_as_string(days.astype("datetime64[D]")), names.size),
    }
    for name, layer in maps.layers.items():
        values = np.ascontiguousarray(stored.pop(name).T).ravel()
        if name == QUALITY:
            columns[name], columns["reasons"] = values, Reasons(maps.flags).table(values)
        else:
            columns["estimate" if name == "soil_moisture" else name] = layer.packing.decode(values)
    order = [n for n in COLUMNS if n in columns] + [n for n in columns if n not in COLUMNS]
    return pd.DataFrame({name: columns[name] for name in order})


def outside_line(maps: Maps, what: str, names: list[str], count: int) -> None:
    """Say which points or polygons lie outside the maps; refuse if all do."""
    if not names:
        return
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    line = f"{len(names)} of {count} {what} lie outside the maps: {', '.join(map(str, names[:_NAMED]))}{more}"
    if len(names) == count:
        raise InputError(f"{maps.source}: {line}")
    say(line)
