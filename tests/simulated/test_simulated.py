"""Simulated stations and region: files that a user would have, physics that adds up."""

from __future__ import annotations

import csv
import hashlib
import shutil
from datetime import date
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
import xarray as xr
from numpy.testing import assert_allclose, assert_array_equal
from pyproj import Transformer

from mmnet_maps.errors import InputError
from mmnet_maps.grid import Grid
from mmnet_maps.simulated import SimulationConfig, simulate_region, simulate_stations
from mmnet_maps.simulated.folders import MARK

TINY = SimulationConfig(
    climates=("northern_plains", "southern_plains"),
    stations_per_climate=2,
    landscapes_per_climate=1,
    station_pixels=32,
    station_first_day=date(2019, 11, 20),
    station_last_day=date(2020, 1, 19),
    region_pixels=64,
    first_day=date(2020, 1, 5),
    last_day=date(2020, 1, 12),
    history_days=24,
    spin_up_days=20,
    validation_stations=3,
)


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("simulated")
    simulate_stations(TINY, out)
    simulate_region(TINY, out)
    return out


def digests(folder: Path) -> dict[str, str]:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def header(path: Path) -> list[str]:
    with path.open(newline="") as file:
        return next(csv.reader(file))


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(simulated: Path, tmp_path: Path) -> None:
    simulate_stations(TINY, tmp_path / "again")
    simulate_region(TINY, tmp_path / "again")
    assert digests(tmp_path / "again") == digests(simulated)
    simulate_stations(TINY.model_copy(update={"seed": 2}), tmp_path / "other")
    before, after = digests(simulated / "stations"), digests(tmp_path / "other" / "stations")
    assert not {p for p in before if before[p] == after.get(p)}


def test_raw_exports_have_the_headers_of_the_published_ones(simulated: Path, shared: Path) -> None:
    published = shared / "spec" / "published-example" / "raw"
    ours = simulated / "stations" / "raw"
    pairs = {
        "gridmet_SSM_2019.csv": "gridmet_SSM_2016.csv",
        "LST_MOD11A1_2019.csv": "LST_MOD11A1_2016.csv",
        "S1_SSM_2020.csv": "S1_SSM_2016.csv",
        "HLSL30_SSM_2019_1.csv": "HLSL30_SSM_2016_1.csv",
        "LC_SSM_2019.csv": "LC_SSM_2016.csv",
        "constant_SSM.csv": "constant_SSM.csv",
    }
    for mine, theirs in pairs.items():
        assert header(ours / mine) == header(published / theirs)
    wide = header(ours / "smap_ssm_2019.csv")
    assert wide[-5:] == header(published / "smap_ssm_2016.csv")[-5:]
    assert wide[1] == "20191120_sm_surface" and wide[-6] == "20191231_sm_surface"


def test_raw_exports_come_in_yearly_files_with_the_last_day_of_december(simulated: Path) -> None:
    raw = simulated / "stations" / "raw"
    names = {p.name for p in raw.iterdir()}
    for year in (2019, 2020):
        assert {f"gridmet_SSM_{year}.csv", f"smap_ssm_{year}.csv", f"LST_MOD11A1_{year}.csv"} <= names
    assert {"LC_SSM_2019.csv", "LC_SSM_2021.csv", "HLSL30_SSM_2019_2.csv"} <= names
    weather = pd.read_csv(raw / "gridmet_SSM_2019.csv")
    assert weather["system:index"].str.startswith("20191231_").sum() == 4
    assert len(weather) == 4 * 42


def test_network_and_ground_truth_name_the_same_stations(simulated: Path) -> None:
    network = gpd.read_file(simulated / "stations" / "network.gpkg")
    truth = pd.read_csv(simulated / "stations" / "in_situ.csv")
    assert network.crs == "EPSG:4326"
    assert set(network.Domain) == {"M"} and set(network.Network) <= {"SCAN", "USCRN"}
    assert set(truth.ID) <= set(network.ID)
    numbers = (network.index + 1).astype(str)
    assert network.ID.tolist() == (network.Network + "_Simulated_" + numbers).tolist()
    assert truth.VWC_5.dropna().between(0.0, 0.7).all()
    assert 0 < truth.VWC_5.isna().mean() < 0.1
    inside = gpd.read_file(simulated / "region" / "network.gpkg")
    assert len(inside) == 3 and not set(inside.ID) & set(network.ID)


def sample(path: Path, lon: float, lat: float) -> np.ndarray:
    with rasterio.open(path) as file:
        x, y = Transformer.from_crs("EPSG:4326", file.crs, always_xy=True).transform(lon, lat)
        row, col = file.index(x, y)
        stored = file.read()[:, row, col]
        return np.where(
            stored == file.nodata, np.float32(np.nan), stored.astype("f4") * np.float32(file.scales[0])
        )


def test_exports_of_a_mapped_station_hold_exactly_what_the_rasters_hold_there(simulated: Path) -> None:
    raw, rasters = simulated / "region" / "raw", simulated / "rasters"
    radar = pd.read_csv(raw / "S1_SSM_2020.csv")
    smap = pd.read_csv(raw / "smap_ssm_2020.csv")
    heat = pd.read_csv(raw / "LST_MOD11A1_2020.csv")
    constant = pd.read_csv(raw / "constant_SSM.csv")
    optical = pd.concat(pd.read_csv(p) for p in raw.glob("HLSL30_SSM_*.csv"))
    assert len(radar) and len(heat) and len(optical)
    for row in radar.to_dict("records"):
        day = row["system:index"].split("_")[4][:8]
        found = sample(rasters / f"sentinel1/S1_{day}.tif", row["Longitude"], row["Latitude"])
        assert_array_equal(found, np.array([row["VV"], row["VH"]], dtype="f4"))
    for row in optical.to_dict("records"):
        day = row["system:index"].split("_")[1][:8]
        found = sample(rasters / f"hls/HLS_{day}.tif", row["Longitude"], row["Latitude"])
        assert_array_equal(found, np.array([row[f"B{i}"] for i in range(2, 8)], dtype="f4"))
    for row in smap.to_dict("records"):
        found = sample(rasters / "smap/SMAP_20200107.tif", row["Longitude"], row["Latitude"])
        assert found[0] == np.float32(row["20200107_sm_surface"])
    for row in heat.to_dict("records"):
        day = row["system:index"][:10].replace("_", "")
        found = sample(rasters / f"modis/LST_{day}.tif", row["Longitude"], row["Latitude"])
        assert found[0] == row["mean"]
    for row in constant.to_dict("records"):
        for name, column in (("clay", "clay_5"), ("bd", "bd_5")):
            found = sample(rasters / f"soil/{name}.tif", row["Longitude"], row["Latitude"])
            assert found[0] == np.float32(row[column])


def test_weather_files_hold_the_exported_values_in_the_upstream_form(simulated: Path) -> None:
    table = pd.read_csv(simulated / "region" / "raw" / "gridmet_SSM_2020.csv")
    for name, inner in (("pr", "precipitation_amount"), ("sph", "specific_humidity")):
        with xr.open_dataset(simulated / f"rasters/gridmet/{name}_2020.nc") as data:
            field = data[inner].load()
        assert field.dims == ("day", "lat", "lon")
        # gridMET's own cell centres.
        assert_allclose((field.lat - 49.4) * 24, np.round((field.lat - 49.4) * 24), atol=1e-5)
        assert_allclose((field.lon + 124.7666667) * 24, np.round((field.lon + 124.7666667) * 24), atol=1e-4)
        for row in table.to_dict("records"):
            there = field.sel(lat=row["Latitude"], lon=row["Longitude"], method="nearest")
            value = there.sel(day=pd.Timestamp(row["system:index"][:8]))
            assert float(value) == pytest.approx(row[name], rel=1e-6)


@pytest.mark.parametrize(
    ("file", "crs", "size", "left", "top"),
    [
        ("smap/SMAP_20200105.tif", "EPSG:6933", 9008.055210146, -17367530.445161372, 7314540.830638504),
        ("modis/LST_20200105.tif", None, 926.6254330555, -20015109.353988, 10007554.676994),
    ],
)
def test_coarse_rasters_lie_on_the_lattice_of_their_source(
    simulated: Path, file: str, crs: str | None, size: float, left: float, top: float
) -> None:
    with rasterio.open(simulated / "rasters" / file) as raster:
        assert crs is None or raster.crs == crs
        assert crs is not None or "Sinusoidal" in raster.crs.to_wkt()
        t = raster.transform
        assert (t.a, t.e) == (pytest.approx(size), pytest.approx(-size))
        for offset in ((t.c - left) / size, (top - t.f) / size):
            assert offset == pytest.approx(round(offset), abs=1e-6)


def test_every_pixel_has_a_cell_of_every_coarse_source(simulated: Path) -> None:
    with rasterio.open(simulated / "rasters/terrain/elevation.tif") as fine:
        x, y = fine.xy(*np.indices(fine.shape).reshape(2, -1))
        crs = fine.crs
    for file in ("smap/SMAP_20200105.tif", "modis/LST_20200105.tif"):
        with rasterio.open(simulated / "rasters" / file) as raster:
            there = Transformer.from_crs(crs, raster.crs, always_xy=True).transform(x, y)
            row, col = rasterio.transform.rowcol(raster.transform, *there)
            assert min(row) >= 0 and max(row) < raster.height
            assert min(col) >= 0 and max(col) < raster.width


def test_scenes_are_packed_named_and_masked(simulated: Path) -> None:
    hidden = 0
    for path in sorted((simulated / "rasters/hls").glob("*.tif")):
        with rasterio.open(path) as raster:
            assert raster.descriptions == ("Blue", "Green", "Red", "NIR", "SWIR1", "SWIR2")
            assert raster.dtypes[0] == "int16" and raster.scales[0] == 1e-4 and raster.nodata == -9999
            values = raster.read()
        assert ((values == -9999) | ((values > 0) & (values <= 10_000))).all()
        assert ((values == -9999).all(axis=0) == (values == -9999).any(axis=0)).all()
        hidden += int((values == -9999).sum())
    assert hidden > 0
    for path in (simulated / "rasters/sentinel1").glob("*.tif"):
        with rasterio.open(path) as raster:
            assert raster.descriptions == ("VV", "VH") and raster.nodata == -32768
            vv, vh = raster.read()
        assert ((vv == -32768) | ((vv > -2000) & (vv < -500))).all()
        assert ((vh == -32768) | ((vh > -3000) & (vh < -1000))).all()


def test_revisits_and_days_are_those_of_the_settings(simulated: Path) -> None:
    def days(source: str) -> np.ndarray:
        stamps = [p.stem[-8:] for p in sorted((simulated / "rasters" / source).glob("*.tif"))]
        return np.array([f"{s[:4]}-{s[4:6]}-{s[6:]}" for s in stamps], dtype="datetime64[D]")

    assert (np.diff(days("sentinel1")).astype(int) == TINY.radar_revisit_days).all()
    assert (np.diff(days("hls")).astype(int) % TINY.optical_revisit_days == 0).all()
    for source in ("smap", "modis"):
        assert days(source)[0] == np.datetime64(TINY.region_history_start)
        assert days(source)[-1] == np.datetime64(TINY.last_day)
        assert len(days(source)) == TINY.history_days + 8


def test_the_truth_is_kept_for_the_mapped_days_on_the_grid_of_the_maps(simulated: Path) -> None:
    data = xr.open_zarr(simulated / "truth" / "soil_moisture.zarr", consolidated=False, decode_coords="all")
    truth = data["soil_moisture"].load()
    assert truth.dims == ("time", "y", "x") and truth.shape == (8, 64, 64)
    assert truth.time.values[0] == np.datetime64("2020-01-05")
    with rasterio.open(simulated / "rasters/landcover/LC_2021.tif") as cover:
        assert_allclose(truth.x[0], cover.transform.c + 15)
        assert_allclose(truth.y[0], cover.transform.f - 15)
        water = cover.read(1) == 11
        assert rasterio.crs.CRS.from_wkt(data.spatial_ref.attrs["crs_wkt"]) == cover.crs
    assert (np.isnan(truth.values) == water).all()
    assert truth.min() > 0.01 and truth.max() < 0.6


def test_a_station_in_the_region_reads_the_truth_with_a_small_error(simulated: Path) -> None:
    data = xr.open_zarr(simulated / "truth" / "soil_moisture.zarr", consolidated=False)["soil_moisture"]
    rows = pd.read_csv(simulated / "region" / "in_situ.csv").dropna()
    rows = rows[rows.Date >= 20200105]
    assert len(rows) > 5
    x, y = Transformer.from_crs("EPSG:4326", "EPSG:32614", always_xy=True).transform(
        rows.Longitude, rows.Latitude
    )
    times = pd.to_datetime(rows.Date.astype(str))
    points = [data.sel(time=t, x=a, y=b, method="nearest") for t, a, b in zip(times, x, y, strict=True)]
    assert np.abs(np.array(points) - rows.VWC_5).max() < 0.04


def test_readers_need_no_truth(simulated: Path, tmp_path: Path) -> None:
    from mmnet_maps.prepare.stations.table import build_station_table
    from mmnet_maps.sources.stations.in_situ import read_in_situ, read_network
    from mmnet_maps.sources.stations.raw_exports import read_raw_folder

    shutil.copytree(simulated / "stations", tmp_path / "stations")
    folder = tmp_path / "stations"
    table = build_station_table(
        read_raw_folder(folder / "raw"),
        read_in_situ(folder / "in_situ.csv"),
        read_network(folder / "network.gpkg"),
    )
    assert len(table.frame) > 50


def test_a_folder_that_no_simulation_made_is_left_alone(tmp_path: Path) -> None:
    mine = tmp_path / "rasters" / "mine.tif"
    mine.parent.mkdir()
    mine.write_text("precious")
    with pytest.raises(InputError, match="rasters is there and no simulation made it"):
        simulate_region(TINY, tmp_path)
    assert mine.read_text() == "precious"
    assert [p.name for p in tmp_path.iterdir()] == ["rasters"]


def test_the_settings_stand_in_every_folder(simulated: Path) -> None:
    for name in ("stations", "rasters", "region", "truth"):
        assert SimulationConfig.load(simulated / name / MARK) == TINY
    assert not list(simulated.glob(".simulation-*"))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"climates": ["tropics"]}, "climate tropics is unknown"),
        ({"first_day": "2020-06-20"}, "last day is before the first"),
        ({"crs": "EPSG:4326"}, "not a projected CRS in metres"),
        ({"crs": "EPSG:1"}, "not a projected CRS in metres"),
        ({"history_days": 3}, "history_days"),
    ],
)
def test_settings_that_make_no_region_are_refused_in_one_line(settings: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said) as error:
        SimulationConfig.from_mapping(dict(settings))
    assert "\n" not in str(error.value)


def test_the_summary_names_what_was_written(tmp_path: Path) -> None:
    config = TINY.model_copy(update={"validation_stations": 0, "history_days": 10, "region_pixels": 32})
    summary = simulate_region(config, tmp_path)
    assert Grid.from_dict(summary["grid"]).shape == (32, 32)
    assert summary["stations"] == 0 and summary["scenes"]["smap"] == 18
    assert all(Path(summary[k]).exists() for k in ("rasters", "truth", "in_situ", "network", "raw"))
