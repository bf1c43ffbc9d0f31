"""A product of several years against its seasons, beside plain pandas."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import rioxarray  # noqa: F401
import xarray as xr
from scipy.stats import percentileofscore

from mmnet_maps.errors import InputError
from mmnet_maps.grid import Grid
from mmnet_maps.produce.climate.store import write_climate
from mmnet_maps.produce.product.create import create_product
from mmnet_maps.produce.product.layers import LAYERS
from mmnet_maps.produce.product.ledger import Entry
from mmnet_maps.produce.product.store import Product
from mmnet_maps.produce.units import Layout

GRID = Grid("EPSG:32612", (30.0, 0.0, 420_000.0, 0.0, -30.0, 4_100_000.0), 3, 4)
DAYS = pd.Timedelta(days=15)


def _day(text: str) -> int:
    return (dt.date.fromisoformat(text) - dt.date(1970, 1, 1)).days


def _anniversaries(day: pd.Timestamp) -> list[pd.Timestamp]:
    leap = (day.month, day.day) == (2, 29)
    return [day.replace(year=y, day=28 if leap and y % 4 else day.day) for y in range(2015, 2021)]


START, STOP = _day("2015-01-20"), _day("2021-01-20")


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Product:
    """Six years; the last block of days is not finished; one pixel is always missing."""
    path = tmp_path_factory.mktemp("climate") / "product.zarr"
    made = create_product(path, Layout(GRID, START, STOP, 16, 64), {"bundle": "b"})
    rng = np.random.default_rng(8)
    units = list(made.layout.units())
    for unit in units:
        shape = (unit.days, unit.tile.height, unit.tile.width)
        middle = rng.integers(500, 4000, shape)
        middle[:, 0, 1] = -32768
        values: dict[str, Any] = {
            "soil_moisture": middle.astype(np.int16),
            "lower": np.where(middle < 0, middle, middle - 400).astype(np.int16),
            "upper": np.where(middle < 0, middle, middle + 600).astype(np.int16),
            "quality": np.zeros(shape, dtype=LAYERS["quality"].packing.dtype),
        }
        outputs = made.write_unit(unit, values)
        if unit is not units[-1]:
            made.ledger.write(unit.key, Entry(unit.first, unit.stop, {"bundle": "b"}, outputs))
    return made


def test_every_layer_is_that_of_the_season_around_the_day(product: Product, tmp_path: Path) -> None:
    first, last = (_day(text) for text in ("2020-02-27", "2020-03-02"))
    found = write_climate(product, tmp_path / "climate.zarr", first, last)
    assert found["days"] == 5 and found["years"] == [2015, 2016, 2017, 2018, 2019, 2020, 2021]
    held = product.finished_days()
    stored = product.read("soil_moisture", START, START + held.size)[:, 2, 3]
    series = pd.Series(stored * np.float32(1e-4), pd.to_datetime(held, unit="D", origin="unix"))
    with xr.open_zarr(tmp_path / "climate.zarr") as store:
        for day in pd.date_range("2020-02-27", "2020-03-02"):
            season = pd.concat([series[m - DAYS : m + DAYS] for m in _anniversaries(day)])
            pixel = store.sel(time=day).isel(y=2, x=3)
            rank = percentileofscore(season, series[day], kind="mean")
            assert float(pixel["percentile"]) == pytest.approx(rank, abs=0.006)
            assert float(pixel["anomaly"]) == pytest.approx(series[day] - season.mean(), abs=6e-5)
            assert float(pixel["years"]) == 6
            assert float(pixel["drought"]) == sum(rank <= limit for limit in (30, 20, 10, 5, 2))
        assert np.isnan(store["percentile"].isel(y=0, x=1)).all()
        assert np.isnan(store["drought"].isel(y=0, x=1)).all()
        assert store["percentile"].rio.crs.to_epsg() == 32612


def test_days_that_are_not_finished_are_neither_described_nor_counted(
    product: Product, tmp_path: Path
) -> None:
    found = write_climate(product, tmp_path / "all.zarr")
    held = product.finished_days()
    assert found["days"] == held.size < STOP - START
    with pytest.raises(InputError, match="no finished day from 2021-01-19"):
        write_climate(product, tmp_path / "none.zarr", STOP - 1)
    with pytest.raises(InputError, match="already exists"):
        write_climate(product, tmp_path / "all.zarr")
    assert not (tmp_path / "none.zarr").exists()
