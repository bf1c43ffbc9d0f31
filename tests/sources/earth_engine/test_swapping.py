"""Another collection in the place of a published one, or beside it, by configuration alone."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from ee_region import END, LAT, LON, START, days_of, grid_around, millis
from ee_standin import StandIn
from ee_world import Scene, World, to

from mmnet_maps.errors import InputError
from mmnet_maps.grid import Grid
from mmnet_maps.sources.earth_engine.cube import open_readers
from mmnet_maps.sources.earth_engine.session import open_session
from mmnet_maps.sources.earth_engine.settings import EarthEngineConfig
from mmnet_maps.sources.earth_engine.stations import StationJob, download_tables
from mmnet_maps.sources.stations.raw_exports import read_raw_folder

X, Y = to("EPSG:4326", "EPSG:32612").transform(LON, LAT)
TARGET = Grid.from_bounds("EPSG:32612", (X - 600, Y - 600, X + 600, Y + 600), 30.0)
HOWTO = Path(__file__).resolve().parents[3] / "docs" / "howto" / "earth_engine.md"


def snippets() -> dict[str, dict[str, object]]:
    """YAML blocks of the how-to by the name in their first line."""
    found = {}
    for block in HOWTO.read_text(encoding="utf-8").split("```yaml\n")[1:]:
        text = block.split("```")[0]
        first = text.split("\n", 1)[0]
        if first.startswith("# ") and first.endswith(".yaml"):
            found[first[2:]] = yaml.safe_load(text)
    return found


@pytest.fixture(scope="module")
def wider(world: World) -> World:
    """The world with Sentinel-2 optical scenes, ERA5-Land and Daymet in it."""
    rng, wider = np.random.default_rng(9), dict(world)
    scenes = []
    for day in days_of()[0::3]:
        names = ("B2", "B3", "B4", "B8A", "B11", "B12")
        bands = {n: np.round(rng.uniform(0.01, 0.6, (160, 160)), 4) for n in names}
        bands["Fmask"] = rng.choice([0.0, 2.0], (160, 160), p=[0.8, 0.2])
        index = f"T12SUG_{day:%Y%m%d}T181601"
        scenes.append(
            Scene(index, "EPSG:32612", grid_around("EPSG:32612", 30.0, 160), bands, millis(day, 18))
        )
    wider["NASA/HLS/HLSS30/v002"] = scenes
    era, daymet = [], []
    for day in days_of():
        rain = np.round(rng.uniform(0, 0.02, (6, 6)), 5)
        sun = np.round(rng.uniform(5e6, 2e7, (6, 6)), 0)
        fields = {"total_precipitation_sum": rain, "surface_solar_radiation_downwards_sum": sun}
        grid = grid_around("EPSG:4326", 0.1, 6)
        era.append(Scene(f"{day:%Y%m%d}", "EPSG:4326", grid, fields, millis(day)))
        prcp = {"prcp": np.round(rng.uniform(0, 20, (20, 20)), 1)}
        lambert = "+proj=lcc +lat_0=42.5 +lon_0=-100 +lat_1=25 +lat_2=60 +ellps=WGS84 +units=m"
        daymet.append(
            Scene(f"{day:%Y%m%d}", lambert, grid_around(lambert, 1000.0, 20), prcp, millis(day, 12))
        )
    wider["ECMWF/ERA5_LAND/DAILY_AGGR"], wider["NASA/ORNL/DAYMET_V4"] = era, daymet
    codes = np.full((200, 200), 40.0)
    wider["ESA/WorldCover/v200/2021"] = Scene(
        "2021", "EPSG:4326", grid_around("EPSG:4326", 1 / 12000, 200), {"Map": codes}
    )
    return wider


def settings(name: str, config_for, server: StandIn, keep: tuple[str, ...]) -> EarthEngineConfig:
    from mmnet_maps.assets import ASSETS

    data = copy.deepcopy(snippets()[name])
    without = [s for s in (*ASSETS, *data.get("sources", {})) if s not in keep]
    without += data.pop("without", [])
    return config_for(server, **{**data, "without": list(dict.fromkeys(without))})


def test_sentinel_2_beside_landsat(wider: World, config_for, network: pd.DataFrame, tmp_path: Path) -> None:
    with StandIn(wider) as server:
        config = settings("hlss30.yaml", config_for, server, ("hls",))
        with open_session(config) as session:
            download_tables(session, StationJob(network, START, END, tmp_path / "raw"))
            (reader,) = open_readers(session, TARGET, START, END)
    landsat = pd.read_csv(tmp_path / "raw" / "HLSL30_SSM_2020_1.csv")
    sentinel = pd.read_csv(tmp_path / "raw" / "HLSL30_SSM_2020_2.csv")
    assert list(landsat.columns) == list(sentinel.columns)
    assert sentinel["B10"].isna().all(), "band 10 of Sentinel-2 is no temperature"
    assert sentinel["B5"].between(0.01, 0.6).all()
    epoch = np.datetime64("1970-01-01")
    days = [str(epoch + int(d)) for d in reader.days]
    assert days == sorted({str(d) for d in (*days_of()[0::3], *days_of()[1::3])})
    assert reader.variables["NIR"].dtype == "int16"


def test_rain_of_era5_land_and_the_rest_of_gridmet(
    wider: World, config_for, network: pd.DataFrame, tmp_path: Path
) -> None:
    with StandIn(wider) as server:
        config = settings("era5land.yaml", config_for, server, ("gridmet", "era5land"))
        with open_session(config) as session:
            download_tables(session, StationJob(network, START, END, tmp_path / "raw"))
            readers = {r.name: r for r in open_readers(session, TARGET, START, END)}
    frame = pd.concat(pd.read_csv(p) for p in sorted((tmp_path / "raw").glob("gridmet*.csv")))
    assert len(frame) == 3 * 8 and frame["pr"].notna().all() and frame["eto"].notna().all()
    for _, row in frame.iterrows():
        day = row["system:index"].split("_")[0]
        scene = next(s for s in wider["ECMWF/ERA5_LAND/DAILY_AGGR"] if s.index == day)
        j, i = ~scene.transform @ (row["Longitude"], row["Latitude"])
        rain = scene.bands["total_precipitation_sum"][int(i), int(j)] * 1000
        sun = scene.bands["surface_solar_radiation_downwards_sum"][int(i), int(j)] / 86400
        assert row["pr"] == pytest.approx(rain) and row["srad"] == pytest.approx(sun, rel=1e-4)
    assert readers["era5land"].grid.transform[0] == 0.1
    assert set(readers["gridmet"].variables) == {"eto", "etr", "sph", "vpd", "vs"}


def test_rain_of_daymet(wider: World, config_for, network: pd.DataFrame, tmp_path: Path) -> None:
    with StandIn(wider) as server:
        config = settings("daymet.yaml", config_for, server, ("gridmet", "daymet"))
        with open_session(config) as session:
            download_tables(session, StationJob(network, START, END, tmp_path / "raw"))
    frame = pd.concat(pd.read_csv(p) for p in sorted((tmp_path / "raw").glob("gridmet*.csv")))
    assert len(frame) == 3 * 8 and frame["pr"].between(0, 20).all()


def test_another_land_cover_in_the_catalogue_s_codes(
    wider: World, config_for, network: pd.DataFrame, tmp_path: Path
) -> None:
    with StandIn(wider) as server:
        config = settings("landcover.yaml", config_for, server, ("landcover",))
        with open_session(config) as session:
            download_tables(session, StationJob(network, START, END, tmp_path / "raw"))
            (reader,) = open_readers(session, TARGET, START, END)
            cover = reader.read(0, 1, slice(9, 14), slice(9, 14))["LC"]
    frame = pd.read_csv(tmp_path / "raw" / "LC_SSM_2021.csv")
    # Cropland is 40 there and 82 here.
    assert (frame["mode"] == 82).all() and (cover == 82).all()


def test_every_example_is_a_whole_configuration(wider: World, config_for) -> None:
    with StandIn(wider) as server:
        for name in snippets():
            settings(name, config_for, server, ())
    assert {"hlss30.yaml", "era5land.yaml", "daymet.yaml", "landcover.yaml"} <= set(snippets())


def test_a_published_table_reads_back(
    wider: World, config_for, network: pd.DataFrame, tmp_path: Path
) -> None:
    from mmnet_maps.catalogue import published_catalogue

    with StandIn(wider) as server:
        config = settings("hlss30.yaml", config_for, server, ("hls",))
        with open_session(config) as session:
            download_tables(session, StationJob(network, START, END, tmp_path / "raw"))
    optical = ["Blue", "Green", "Red", "NIR", "SWIR1", "SWIR2"]
    only = published_catalogue()
    only = only.without([v.name for v in only.variables if v.name not in optical])
    table = read_raw_folder(tmp_path / "raw", only)["hls"]
    assert table[optical].notna().all().all()


def test_an_unknown_variable_is_refused(standin: StandIn, config_for, network, tmp_path: Path) -> None:
    snow = {"times": "daily", "assets": [{"id": "IDAHO_EPSCOR/GRIDMET", "bands": {"snow": "pr"}}]}
    with open_session(config_for(standin, sources={"snow": snow})) as session:
        with pytest.raises(InputError, match="variable snow is not in the raw export layout"):
            download_tables(session, StationJob(network, START, END, tmp_path / "raw"))
        with pytest.raises(InputError, match="snow is not in the catalogue"):
            open_readers(session, TARGET, START, END)
