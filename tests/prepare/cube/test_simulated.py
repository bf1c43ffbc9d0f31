"""A simulated region's files through the configuration that a user would write."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pytest
import rasterio

from mmnet_maps.jobs.cubes import build_from_config
from mmnet_maps.prepare.cube.audit import audit
from mmnet_maps.prepare.cube.config import CubeConfig
from mmnet_maps.prepare.cube.store import Cube, open_cube
from mmnet_maps.simulated import packings
from mmnet_maps.simulated.as_cube import cube_settings
from mmnet_maps.simulated.config import SimulationConfig
from mmnet_maps.simulated.rasters import simulate_region


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("simulated")
    config = SimulationConfig(
        region_pixels=64,
        history_days=20,
        spin_up_days=5,
        first_day=date(2020, 5, 16),
        last_day=date(2020, 5, 20),
    )
    simulate_region(config, folder)
    build_from_config(CubeConfig.from_mapping(cube_settings(config)), folder, folder / "c.zarr")
    return folder


@pytest.fixture(scope="module")
def cube(folder: Path) -> Cube:
    return open_cube(folder / "c.zarr")


def test_storage_is_that_of_the_source_to_the_last_bit(cube: Cube) -> None:
    expected = {
        "Blue": packings.HLS,
        "VV": packings.SENTINEL1,
        "SMAP": packings.SMAP,
        "LST": packings.LST,
        "LC": packings.LAND_COVER,
        **packings.SOIL,
        **packings.TERRAIN,
        **packings.WEATHER,
    }
    assert {name: cube.source_of(name).variables[name] for name in expected} == expected


def test_every_file_comes_back_whole(cube: Cube, folder: Path) -> None:
    compared = 0
    for path in sorted((folder / "rasters").rglob("*.tif")):
        with rasterio.open(path) as file:
            stored, names = file.read(), file.descriptions
            day = path.stem.rsplit("_", 1)[-1]
        for band, name in zip(stored, names, strict=True):
            source = cube.source_of(name)
            step = 0
            if source.days.size:
                text = f"{day[:4]}-{day[4:6]}-{day[6:]}" if len(day) == 8 else f"{day}-01-01"
                step = source.days.tolist().index(
                    int(np.datetime64(text).astype("datetime64[D]").astype(int))
                )
            height, width = source.grid.shape
            mine = source.read(name, step, step + 1, slice(0, height), slice(0, width))[0]
            if mine.shape == band.shape:  # fine sources are on the target's pixels, coarse ones are cut
                np.testing.assert_array_equal(mine, band)
                compared += 1
    assert compared >= 6 + 2 + 3 + 3 + 1


def test_nothing_that_the_simulator_writes_is_out_of_range(cube: Cube) -> None:
    assert not [text for text in audit(cube)["warnings"] if "outside" in text or "no value at all" in text]
