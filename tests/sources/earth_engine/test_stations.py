"""Station tables from the stand-in equal those computed from the arrays it holds."""

from __future__ import annotations

import datetime as dt
import math
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from affine import Affine
from ee_region import END, START, UTM, days_of, sign_in_at
from ee_standin import StandIn
from ee_world import Scene, World, to
from pyproj import Geod
from scipy import signal

from mmnet_maps.assets import ASSETS
from mmnet_maps.errors import InputError
from mmnet_maps.sources.earth_engine.session import Session, open_session
from mmnet_maps.sources.earth_engine.stations import DISC_RADIUS_M, StationJob, download_tables
from mmnet_maps.sources.stations.raw_exports import read_raw_folder


@lru_cache
def shares(scene_crs: str, grid: Affine, lon: float, lat: float) -> dict[tuple[int, int], float]:
    """Share of each pixel of a grid inside the disc, by counting a fine mesh of points on the ground."""
    x, y = to("EPSG:4326", scene_crs).transform(lon, lat)
    col, row = ~grid @ (x, y)
    reach, step = 9, 1 / 12
    fine = np.arange(-reach, reach, step) + step / 2
    cols, rows = np.meshgrid(math.floor(col) + fine, math.floor(row) + fine)
    lons, lats = to(scene_crs, "EPSG:4326").transform(*(grid @ (cols, rows)))
    far = Geod(ellps="WGS84").inv(np.full_like(lons, lon), np.full_like(lats, lat), lons, lats)[2]
    inside = far <= DISC_RADIUS_M
    keys, counts = np.unique(
        np.stack([np.floor(rows[inside]), np.floor(cols[inside])], 1).astype(int), axis=0, return_counts=True
    )
    return {(int(r), int(c)): n * step * step for (r, c), n in zip(keys, counts, strict=True)}


def value_at(scene: Scene, band: str, crs: str, grid: Affine, row: int, col: int) -> float:
    """Nearest pixel of the scene under the centre of a pixel of another grid."""
    x, y = to(crs, scene.crs).transform(*(grid @ (col + 0.5, row + 0.5)))
    j, i = ~scene.transform @ (x, y)
    values = scene.bands[band]
    i, j = math.floor(i), math.floor(j)
    return values[i, j] if 0 <= i < values.shape[0] and 0 <= j < values.shape[1] else math.nan


def disc_mean(scene: Scene, band: str, lon: float, lat: float, size: float, keep=lambda r, c: True) -> float:
    t = scene.transform
    grid = Affine(size, 0, t.c, 0, -size, t.f)
    total = weight = 0.0
    for (row, col), share in shares(scene.crs, grid, lon, lat).items():
        value = value_at(scene, band, scene.crs, grid, row, col)
        if not math.isnan(value) and keep(row, col):
            total, weight = total + value * share, weight + share
    return total / weight if weight else math.nan


@pytest.fixture(scope="module")
def tables(
    world: World, network: pd.DataFrame, key_pem: str, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, pd.DataFrame]:
    folder = tmp_path_factory.mktemp("stations")
    with StandIn(world) as server, open_session(sign_in_at(folder, key_pem, server)) as session:
        summary = download_tables(session, StationJob(network, START, END, folder / "raw"))
    assert summary["files"]["constant_SSM.csv"] == 3
    assert not list(folder.glob(".raw*"))
    return read_raw_folder(folder / "raw")


def test_every_value_of_every_table(
    tables: dict[str, pd.DataFrame], world: World, network: pd.DataFrame
) -> None:
    place = {r["ID"]: (r["Longitude"], r["Latitude"]) for _, r in network.iterrows()}
    days = [int(f"{d:%Y%m%d}") for d in days_of()]

    weather = tables["gridmet"]
    assert sorted(set(weather["Date"])) == days, "the last day is there, and none after it"
    assert len(weather) == 3 * len(days)
    for _, row in weather.iterrows():
        scene = next(s for s in world["IDAHO_EPSCOR/GRIDMET"] if s.index == str(row["Date"]))
        for name in ("pr", "sph", "vpd", "eto"):
            j, i = ~scene.transform @ place[row["ID"]]
            expected = scene.bands[name][int(i), int(j)]
            # The disc lies within one cell of 4 km.
            np.testing.assert_allclose(row[name], expected, rtol=1e-6, equal_nan=True)
    assert weather.loc[weather["Date"] == 20191230, "vpd"].isna().all()
    assert weather.loc[weather["Date"] == 20191230, "pr"].notna().all()

    smap = tables["smap"]
    assert sorted(set(smap["Date"])) == days
    for _, row in smap.iterrows():
        fields = [s for s in world["NASA/SMAP/SPL4SMGP/008"] if s.index.startswith(str(row["Date"]))]
        assert len(fields) == 8
        x, y = to("EPSG:4326", "EPSG:6933").transform(*place[row["ID"]])
        j, i = ~fields[0].transform @ (x, y)
        expected = np.mean([s.bands["sm_surface"][int(i), int(j)] for s in fields])
        np.testing.assert_allclose(row["SMAP"], expected, rtol=1e-6)


def test_clouds_and_shadows_are_left_out_of_the_optical_means(
    tables: dict[str, pd.DataFrame], world: World, network: pd.DataFrame
) -> None:
    place = {r["ID"]: (r["Longitude"], r["Latitude"]) for _, r in network.iterrows()}
    optical, found = tables["hls"], 0
    for scene in world["NASA/HLS/HLSL30/v002"]:
        day = int(scene.index.split("_")[1][:8])
        rows = optical[optical["Date"] == day]
        for station, (lon, lat) in place.items():

            def clear(row: int, col: int, scene: Scene = scene) -> bool:
                return int(scene.bands["Fmask"][row, col]) in (0, 4, 16)

            expected = disc_mean(scene, "B4", lon, lat, 30.0, clear)
            if math.isnan(expected):
                continue
            found += 1
            got = rows.loc[rows["ID"] == station, "Red"].to_numpy()
            assert np.min(np.abs(got - expected)) < 2e-3
    assert found == len(optical) > 6


def test_radar_is_masked_then_smoothed_then_averaged(
    tables: dict[str, pd.DataFrame], world: World, network: pd.DataFrame
) -> None:
    radar = tables["sentinel1"]
    used = [s for s in world["COPERNICUS/S1_GRD"] if s.index.startswith("S1A_IW")]
    assert len(radar) == 3 * len(used)
    offsets = np.arange(-3, 4)
    kernel = np.exp(-(offsets[:, None] ** 2 + offsets[None, :] ** 2) / 2)
    for scene in used:
        day = int(scene.index.split("_")[4][:8])
        for band, low, high in (("VV", -20, -5), ("VH", -30, -10)):
            raw = scene.bands[band]
            good = np.where((raw > low) & (raw < high), raw, np.nan)
            weight = signal.convolve2d(~np.isnan(good), kernel, mode="same")
            smooth = signal.convolve2d(np.nan_to_num(good), kernel, mode="same") / weight
            smooth[np.isnan(good)] = np.nan
            expected_scene = Scene(scene.index, UTM, scene.transform, {band: smooth})
            for _, station in network.iterrows():
                expected = disc_mean(expected_scene, band, station["Longitude"], station["Latitude"], 10.0)
                got = radar.loc[(radar["Date"] == day) & (radar["ID"] == station["ID"]), band].item()
                assert abs(got - expected) < 5e-3
        angle = radar.loc[radar["Date"] == day, "angle"].to_numpy()
        np.testing.assert_allclose(angle, scene.bands["angle"][0, 0])


def test_surface_temperature_is_kept_by_its_quality_bits(
    tables: dict[str, pd.DataFrame], world: World, network: pd.DataFrame
) -> None:
    lst = tables["modis"].set_index(["ID", "Date"])["LST"]
    seen = 0
    for scene in world["MODIS/061/MOD11A1"]:
        day = int(scene.index.replace("_", ""))
        for _, s in network.iterrows():

            def good(row: int, col: int, scene: Scene = scene) -> bool:
                i, j = row // 31, col // 31
                return int(scene.bands["QC_Day"][i, j]) in (0, 1, 65)

            x, y = to("EPSG:4326", scene.crs).transform(s["Longitude"], s["Latitude"])
            j, i = ~scene.transform @ (x, y)
            near = min(i % 1, 1 - i % 1, j % 1, 1 - j % 1) * 926 > 120
            if not near:
                continue
            seen += 1
            quality, value = scene.bands["QC_Day"][int(i), int(j)], scene.bands["LST_Day_1km"][int(i), int(j)]
            if int(quality) in (0, 1, 65):
                assert lst.loc[(s["ID"], day)] == pytest.approx(value)
            else:
                assert (s["ID"], day) not in lst.index
    assert seen >= 8


def test_constants_and_land_cover(
    tables: dict[str, pd.DataFrame], world: World, network: pd.DataFrame
) -> None:
    constants = tables["constants"].set_index("ID")
    for _, s in network.iterrows():
        lat = math.radians(s["Latitude"])
        degree = 2 * math.pi * 6378137 / 360
        # The elevation is a plane: its slope and aspect have a closed form.
        east, north = 0.8 * 10800 / degree / math.cos(lat), 0.5 * 10800 / degree
        row = constants.loc[s["ID"]]
        assert row["slope"] == pytest.approx(math.degrees(math.atan(math.hypot(east, north))), rel=5e-2)
        downhill = math.degrees(math.atan2(-east, -north)) % 360
        assert row["aspect"] == pytest.approx(downhill, abs=6.0)
        dem = world["USGS/3DEP/10m"]
        j, i = ~dem.transform @ (s["Longitude"], s["Latitude"])
        assert row["elevation"] == pytest.approx(1500 + 0.8 * (j - 0.5) - 0.5 * (i - 0.5), abs=1.5)
        assert 5 <= row["clay"] <= 40 and 1.1 <= row["bd"] <= 1.7
    cover = tables["landcover"]
    assert set(cover["Year"]) == {2019, 2021}, "2019 stands for 2018-2019, 2021 for 2020-2022"
    for _, row in cover.iterrows():
        scene = world[next(a.id for a in ASSETS["landcover"].assets if a.year == row["Year"])]
        s = network.set_index("ID").loc[row["ID"]]
        weights: dict[float, float] = {}
        for (i, j), share in shares(scene.crs, scene.transform, s["Longitude"], s["Latitude"]).items():
            code = scene.bands["landcover"][i, j]
            weights[code] = weights.get(code, 0) + share
        assert weights[row["LC"]] >= 0.98 * max(weights.values())


def test_the_same_bytes_however_the_work_was_cut(
    standin: StandIn, config_for, network: pd.DataFrame, tmp_path: Path
) -> None:
    found = []
    for i, (page, concurrency) in enumerate(((1000, 8), (7, 1))):
        standin.page = page
        with open_session(config_for(standin, concurrency=concurrency, without=["sentinel1"])) as session:
            out = tmp_path / f"raw{i}"
            download_tables(session, StationJob(network, START, END, out))
        found.append({p.name: p.read_bytes() for p in sorted(out.iterdir())})
    assert found[0] == found[1]


def test_a_span_ends_with_its_last_day(standin: StandIn, signed_in: Session, network, tmp_path: Path) -> None:
    day = dt.date(2019, 12, 31)
    download_tables(signed_in, StationJob(network, day, day, tmp_path / "raw"))
    frame = pd.read_csv(tmp_path / "raw" / "gridmet_SSM_2019.csv")
    assert frame["system:index"].str.startswith("20191231_").all() and len(frame) == 3


def test_the_raw_folder_says_which_collections_its_tables_come_from(
    signed_in: Session, network: pd.DataFrame, tmp_path: Path
) -> None:
    from mmnet_maps.sources.stations.raw_exports import read_collections

    download_tables(signed_in, StationJob(network, START, START, tmp_path / "raw"))
    found = read_collections(tmp_path / "raw")
    assert found["SMAP"] == "NASA/SMAP/SPL4SMGP/008" and found["pr"] == "IDAHO_EPSCOR/GRIDMET"
    (tmp_path / "raw" / "collections.json").write_text("[1]")
    with pytest.raises(InputError, match=r"collections\.json: expected the collection of each variable"):
        read_collections(tmp_path / "raw")
    assert read_collections(tmp_path) == {}
