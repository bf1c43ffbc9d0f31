"""A simulated region served by the stand-in: table and cube equal those from the region's own files."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from ee_region import sign_in_at
from ee_simulated import settings_of, world_of
from ee_standin import StandIn
from ee_world import to

from mmnet_maps.dates import year_of
from mmnet_maps.grid import Grid
from mmnet_maps.jobs.cubes import build_from_config
from mmnet_maps.jobs.earth_engine_config import EarthEngineCubeConfig
from mmnet_maps.prepare.cube.config import CubeConfig
from mmnet_maps.prepare.cube.store import Cube, open_cube
from mmnet_maps.prepare.features import nearest_release
from mmnet_maps.prepare.stations.table import build_station_table
from mmnet_maps.simulated import SimulationConfig, cube_settings, simulate_region
from mmnet_maps.sources.earth_engine.session import open_session
from mmnet_maps.sources.earth_engine.stations import StationJob, download_tables
from mmnet_maps.sources.stations.in_situ import read_in_situ, read_network
from mmnet_maps.sources.stations.raw_exports import read_raw_folder

#: Fourteen days around New Year: two files a year, two land cover editions.
TINY = SimulationConfig(
    region_pixels=48,
    first_day=dt.date(2020, 1, 1),
    last_day=dt.date(2020, 1, 4),
    history_days=10,
    spin_up_days=10,
    validation_stations=2,
    optical_revisit_days=4,
    radar_revisit_days=4,
)
#: A disc that lies within the pixel of its station: the simulated exports hold that pixel's value.
RADIUS_M = 4.0
#: Columns of the exports of which the region has no raster.
NOT_IN_FILES = ("TIRS1", "TIRS2", "angle")


@dataclass
class Both:
    """The same region twice: from its own files, and fetched from the stand-in."""

    folder: Path
    raw: Path
    local: Cube
    remote: Cube


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory, key_pem: str) -> Both:
    folder = tmp_path_factory.mktemp("region")
    facts = simulate_region(TINY, folder)
    where = {
        "region": {"box": _bounds(facts["grid"]), "crs": TINY.crs},
        **cube_settings(TINY),
    }
    build_from_config(CubeConfig.from_mapping(where), folder, folder / "local.zarr", 1)
    with StandIn(world_of(folder / "rasters")) as server:
        settings = sign_in_at(folder, key_pem, server, sources=settings_of(TINY.crs))
        config = EarthEngineCubeConfig.from_mapping(
            {**where, "sources": {}, "earthengine": settings.model_dump()}
        )
        build_from_config(config, folder, folder / "remote.zarr", 2)
        network = read_network(folder / "region" / "network.gpkg", domain=False)
        first, last = TINY.region_history_start, TINY.last_day
        with open_session(settings) as session:
            download_tables(session, StationJob(network, first, last, folder / "raw", RADIUS_M))
    return Both(folder, folder / "raw", open_cube(folder / "local.zarr"), open_cube(folder / "remote.zarr"))


def _bounds(grid: dict[str, object]) -> list[float]:
    return list(Grid.from_dict(grid).bounds)


def decoded(both: Both, variable: str) -> tuple[np.ndarray, np.ndarray]:
    """Values in both cubes on the same cells, shape (steps, rows, columns)."""
    local, remote = both.local.source_of(variable), both.remote.source_of(variable)
    assert replace(local.grid, crs=remote.grid.crs).aligned_offset(remote.grid) == (0, 0)
    assert local.grid.shape == remote.grid.shape
    # One CRS, whatever it is called.
    np.testing.assert_allclose(corner(local.grid), corner(remote.grid), rtol=0, atol=1e-9)
    window = slice(0, local.grid.height), slice(0, local.grid.width)
    one, two = (
        source.variables[variable].decode(source.read(variable, 0, source.steps, *window))
        for source in (local, remote)
    )
    return one, two


def corner(grid: Grid) -> tuple[float, float]:
    return to(grid.crs, "EPSG:4326").transform(grid.transform[2], grid.transform[5])


@pytest.mark.parametrize("source", ["hls", "sentinel1", "smap", "gridmet", "modis", "soil"])
def test_a_fetched_source_holds_the_numbers_of_its_files(both: Both, source: str) -> None:
    local, remote = both.local.sources[source], both.remote.sources[source]
    np.testing.assert_array_equal(local.days, remote.days)
    for variable in local.variables:
        one, two = decoded(both, variable)
        # Missing in the same places, and the same float32 everywhere else.
        np.testing.assert_array_equal(one, two, err_msg=variable)
        assert np.isfinite(one).any()
    if source in ("hls", "sentinel1", "modis"):
        assert np.isnan(two).any(), "something was masked"


def test_fetched_terrain_is_that_of_the_files_to_half_a_stored_step(both: Both) -> None:
    one, two = decoded(both, "elevation")
    np.testing.assert_allclose(one, two, rtol=0, atol=0.00501, err_msg="stored in steps of 0.01 m")
    inner = np.s_[:, 1:-1, 1:-1]
    for variable in ("slope", "aspect"):
        one, two = decoded(both, variable)
        # Computed from float32 elevations there and here, then stored in steps of 0.01 degree.
        turn = np.abs(one - two)[inner]
        if variable == "aspect":
            turn = np.minimum(turn, 360 - turn)
        assert turn.max() < 0.0051
        # The catalog's elevation ends here, and a slope needs its neighbours; the files were cut from more.
        assert np.isnan(two).sum() == 2 * sum(two.shape[1:]) - 4


def test_fetched_land_cover_is_that_of_the_files_and_serves_the_published_years(both: Both) -> None:
    files, assets = both.local.sources["landcover"], both.remote.sources["landcover"]
    released = [2016, 2019, 2021]
    assert year_of(files.days).tolist() == released[1:] and year_of(assets.days).tolist() == released
    one, two = decoded(both, "LC")
    np.testing.assert_array_equal(one, two[1:])
    serving = nearest_release(year_of(assets.days).tolist(), np.arange(2016, 2023))
    assert [released[i] for i in serving] == [2016, 2016, 2019, 2019, 2021, 2021, 2021]


def test_fetched_tables_hold_the_numbers_of_the_region_s_own_exports(both: Both) -> None:
    own, fetched = read_raw_folder(both.folder / "region" / "raw"), read_raw_folder(both.raw)
    assert own.keys() == fetched.keys()
    for name, table in own.items():
        keys = [key for key in ("ID", "Date", "Year") if key in table]
        one, two = (t.drop(columns=list(NOT_IN_FILES), errors="ignore") for t in (table, fetched[name]))
        one, two = (t.sort_values(keys).reset_index(drop=True) for t in (one, two))
        # float32 decimals there, double precision here.
        pd.testing.assert_frame_equal(one, two, check_dtype=False, check_exact=False, rtol=1e-6, atol=1e-9)


def test_station_tables_from_both_are_the_same(both: Both) -> None:
    region = both.folder / "region"
    truth, network = read_in_situ(region / "in_situ.csv"), read_network(region / "network.gpkg")
    one, two = (
        build_station_table(read_raw_folder(raw), truth, network).frame.drop(columns=list(NOT_IN_FILES))
        for raw in (region / "raw", both.raw)
    )
    assert len(one) > 4
    pd.testing.assert_frame_equal(one, two, check_exact=False, rtol=2e-6, atol=1e-7)
