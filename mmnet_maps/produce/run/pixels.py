"""Estimates at single pixels of a cube, without a product."""

from __future__ import annotations

import numpy as np
import pandas as pd

from mmnet_maps.dates import from_yyyymmdd
from mmnet_maps.errors import InputError
from mmnet_maps.grid import Tile, pixels_at
from mmnet_maps.learn.bundle import Bundle
from mmnet_maps.prepare.cube.store import Cube
from mmnet_maps.produce.engine.engine import Engine
from mmnet_maps.produce.run.work import compute_unit, one_thread
from mmnet_maps.produce.tile.trust import SOIL_MOISTURE
from mmnet_maps.produce.units import Unit

__all__ = ["estimates_at"]

#: Longest stretch of days computed at once.
_DAYS = 64


def estimates_at(model: Bundle, cube: Cube, measured: pd.DataFrame) -> pd.DataFrame:
    """What maps would say at the pixels of probes, on the days that these measured.

    Parameters
    ----------
    model : Bundle
    cube : Cube
    measured : DataFrame
        ID, Longitude, Latitude (degrees), Date (YYYYMMDD), y_test (what they measured).

    Returns
    -------
    DataFrame
        ID, Date, y_test, y_pred (NaN where the map would have none) and land_cover (-1: not told).

    Raises
    ------
    InputError
        No probe lies in the cube's grid.
    """
    places = measured.drop_duplicates("ID").set_index("ID")
    position = (places[name].to_numpy(np.float64) for name in ("Longitude", "Latitude"))
    pixels = dict(zip(places.index, zip(*pixels_at(cube.grid, *position), strict=True), strict=True))
    engine, parts = Engine(model), []
    for name, own in measured.groupby("ID"):
        row, col = pixels[name]
        if row >= 0:
            parts.append(_at_pixel(model, engine, cube, Tile(int(row), int(col), 1, 1), own))
    if not parts:
        raise InputError(
            f"{cube.path}: none of the {measured['ID'].nunique()} probes lies in the cube's grid"
        )
    return pd.concat(parts, ignore_index=True)


def _at_pixel(model: Bundle, engine: Engine, cube: Cube, pixel: Tile, own: pd.DataFrame) -> pd.DataFrame:
    days = from_yyyymmdd(own["Date"].to_numpy())
    found = np.full(len(days), np.nan, dtype=np.float32)
    with one_thread():
        for first in range(int(days.min()), int(days.max()) + 1, _DAYS):
            part = np.flatnonzero((days >= first) & (days < first + _DAYS))
            if part.size:
                unit = Unit(pixel, int(days[part].min()), int(days[part].max()) + 1)
                values, _ = compute_unit(cube, model.catalogue, engine, unit)
                told = SOIL_MOISTURE.decode(values["soil_moisture"])[:, 0, 0]
                found[part] = told[days[part] - unit.first]
    return own[["ID", "Date", "y_test"]].assign(y_pred=found, land_cover=-1)
