"""Other products at stations, and what three products say of each other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import rasterio
import xarray as xr
from rasterio.transform import from_origin

from mmnet_maps.errors import InputError
from mmnet_maps.produce.judge.against import compare_with_others
from mmnet_maps.produce.judge.collocation import triple_collocation
from mmnet_maps.produce.judge.others import values_at

DAYS = pd.date_range("2020-06-01", periods=40)
LON, LAT = np.arange(-100.0, -99.0, 0.1), np.arange(37.0, 36.0, -0.1)


@pytest.fixture
def field() -> np.ndarray:
    return np.random.default_rng(5).uniform(0.1, 0.4, (len(DAYS), len(LAT), len(LON))).astype(np.float32)


@pytest.fixture
def wanted() -> pd.DataFrame:
    rows = [("a", -99.72, 36.81, day) for day in DAYS] + [("b", -99.31, 36.18, day) for day in DAYS[:5]]
    frame = pd.DataFrame(rows, columns=["ID", "Longitude", "Latitude", "day"])
    frame.loc[len(frame)] = ["far", -80.0, 30.0, DAYS[0]]
    return frame.assign(Date=frame["day"].dt.strftime("%Y%m%d").astype(int))


def expected(field: np.ndarray) -> np.ndarray:
    return np.concatenate([field[:, 2, 3], field[:5, 8, 7], [np.nan]])


@pytest.mark.parametrize("turned", [False, True])
def test_netcdf_and_zarr_give_the_cell_that_holds_the_station(
    tmp_path: Path, field: np.ndarray, wanted: pd.DataFrame, turned: bool
) -> None:
    data = xr.Dataset({"sm": (("time", "lat", "lon"), field)}, {"time": DAYS, "lat": LAT, "lon": LON})
    if turned:
        data = data.sortby("lat").assign_coords(lon=LON + 360)
    data.to_netcdf(tmp_path / "other.nc")
    data.to_zarr(tmp_path / "other.zarr")
    for name in ("other.nc", "other.zarr"):
        found = values_at(tmp_path / name, None, wanted)
        np.testing.assert_array_equal(found, expected(field))


def test_geotiffs_are_found_by_date_and_unpacked(
    tmp_path: Path, field: np.ndarray, wanted: pd.DataFrame
) -> None:
    stored = np.rint(field * 1e4).astype(np.int16)
    stored[0, 2, 3] = -1
    shape = {"height": len(LAT), "width": len(LON), "count": 1, "dtype": "int16", "nodata": -1}
    for day, values in zip(DAYS, stored, strict=True):
        path = tmp_path / f"sm_{day:%Y%j}.tif"
        to_map = from_origin(-100.05, 37.05, 0.1, 0.1)
        with rasterio.open(path, "w", driver="GTiff", crs="EPSG:4326", transform=to_map, **shape) as file:
            file.write(values, 1)
            file.scales, file.descriptions = [1e-4], ["sm"]
    found, true = values_at(tmp_path, "sm", wanted), expected(field)
    true[0] = np.nan
    np.testing.assert_allclose(found, true, atol=5.1e-5)
    with pytest.raises(InputError, match=r"no band ssm; bands are sm"):
        values_at(tmp_path, "ssm", wanted)


def test_both_are_scored_on_the_days_that_both_have(
    tmp_path: Path, field: np.ndarray, wanted: pd.DataFrame
) -> None:
    xr.Dataset({"sm": (("time", "lat", "lon"), field)}, {"time": DAYS, "lat": LAT, "lon": LON}).to_netcdf(
        tmp_path / "other.nc"
    )
    rng, near = np.random.default_rng(1), wanted[wanted["ID"] != "far"]
    true = expected(field)[:-1] + rng.normal(0, 0.01, len(near))
    pairs = near.assign(y_test=true, y_pred=true + rng.normal(0, 0.02, len(near)))[
        ["ID", "Date", "y_test", "y_pred"]
    ]
    stations = near.drop_duplicates("ID").set_index("ID")
    source = f"{tmp_path / 'other.nc'}:sm"
    found = compare_with_others(pairs, stations, [source])[source]
    error = expected(field)[:-1] - true
    assert found["n"] == 45 and found["stations"] == 2
    assert found["other"]["overall"]["rmse"] == pytest.approx(np.sqrt((error**2).mean()), rel=1e-6)
    assert found["difference"]["rmse"]["difference"] > 0


@pytest.mark.parametrize("text", ["nothing.zarr", "other.nc:soil"])
def test_what_cannot_be_compared_is_named(
    tmp_path: Path, field: np.ndarray, wanted: pd.DataFrame, text: str
) -> None:
    xr.Dataset({"sm": (("time", "lat", "lon"), field)}, {"time": DAYS, "lat": LAT, "lon": LON}).to_netcdf(
        tmp_path / "other.nc"
    )
    stations = wanted.drop_duplicates("ID").set_index("ID")
    pairs = wanted.assign(y_test=0.2, y_pred=0.3)
    with pytest.raises(InputError, match=text.split(":")[0]):
        compare_with_others(pairs, stations, [str(tmp_path / text)])


def test_triple_collocation_finds_the_errors_that_were_put_in() -> None:
    rng = np.random.default_rng(2)
    truth = rng.normal(0.25, 0.06, 200_000)
    seen = np.stack(
        [truth + rng.normal(0, 0.02, truth.size), 0.1 + 0.5 * truth + rng.normal(0, 0.03, truth.size),
         truth + rng.normal(0, 0.05, truth.size)], axis=1
    )  # fmt: skip
    found = triple_collocation(seen, ("maps", "smap", "stations"))
    assert [found[n]["error"] for n in found] == pytest.approx([0.02, 0.03, 0.05], rel=0.02)
    assert [found[n]["corr"] for n in found] == pytest.approx(
        [0.06 / np.hypot(0.06, 0.02), 0.03 / np.hypot(0.03, 0.03), 0.06 / np.hypot(0.06, 0.05)], rel=0.01
    )


def test_products_without_a_common_signal_get_no_number() -> None:
    rng = np.random.default_rng(4)
    found = triple_collocation(rng.normal(0, 1, (31, 3)), ("a", "b", "c"))
    assert any(part["error"] is None for part in found.values())
