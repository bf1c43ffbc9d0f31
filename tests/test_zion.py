"""Daily maps over Zion from real rasters in three CRSs, the sources without a real file simulated there.

Real: Landsat 8 bands 2 to 5 of 2015-08-18 (EPSG:32612) and SRTM elevation (EPSG:4326). Simulated on their
native grids, because no real file covers Zion in that month: the short-wave infrared bands, radar, SMAP,
weather, surface temperature, soil, slope and aspect, and land cover (the real one holds simplified classes
instead of NLCD codes).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rioxarray  # noqa: F401  (the CRS accessor)
import torch
import xarray as xr
from pyproj import Transformer

from mmnet_maps.bench.made_up import made_up_bundle
from mmnet_maps.catalogue import published_catalogue
from mmnet_maps.jobs.cubes import build_from_config
from mmnet_maps.learn.bundle import load_bundle, save_bundle
from mmnet_maps.prepare.cube.config import CubeConfig
from mmnet_maps.prepare.cube.store import open_cube
from mmnet_maps.produce.engine.arrays import DeviceArrays
from mmnet_maps.produce.engine.engine import Engine
from mmnet_maps.produce.export.days import export_product
from mmnet_maps.produce.product.store import open_product
from mmnet_maps.produce.run.predict import Request, predict_product
from mmnet_maps.produce.run.work import compute_unit
from mmnet_maps.simulated import SimulationConfig, cube_settings, simulate_region

# 6 km around the canyon's mouth, inside the Landsat scene.
CENTRE, SIDE = (-113.02, 37.27), 200


def the_settings(shared: Path, simulated: Path, config: SimulationConfig) -> dict[str, Any]:
    settings = cube_settings(config, str(simulated / "rasters"))
    sources = settings["sources"]
    sources["hls"]["variables"] = ["SWIR1", "SWIR2"]
    sources["terrain"]["variables"] = ["slope", "aspect"]
    zion = shared / "data/zion"
    sources["landsat"] = {
        "path": str(zion),
        "pattern": r"landsat_b{variable}\.tif",
        "date": "2015-08-18",
        "variables": {
            name: {"file": band, "scale": 2e-5, "offset": -0.1}
            for name, band in (("Blue", "2"), ("Green", "3"), ("Red", "4"), ("NIR", "5"))
        },
    }
    sources["srtm"] = {"path": str(zion / "srtm.tif"), "variables": ["elevation"]}
    return settings


@pytest.fixture(scope="module")
def zion(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("zion")
    config = SimulationConfig.from_mapping(
        {
            "region_climate": "desert_southwest",
            "region_pixels": SIDE,
            "crs": "EPSG:32612",
            "longitude": CENTRE[0],
            "latitude": CENTRE[1],
            "first_day": "2015-08-14",
            "last_day": "2015-08-21",
            "history_days": 24,
            "spin_up_days": 20,
            "validation_stations": 0,
        }
    )
    simulate_region(config, out / "simulated")
    cube = CubeConfig.from_mapping(the_settings(shared, out / "simulated", config))
    build_from_config(cube, out, out / "cube.zarr")
    save_bundle(made_up_bundle("mmnet", published_catalogue(), rows=1024), out / "bundle")
    done = predict_product(
        Request(out / "bundle", out / "cube.zarr", "2015-08-14", "2015-08-21", out / "product.zarr")
    )
    assert not done.get("failed")
    return out


def test_the_cube_joins_real_and_simulated_sources_on_their_own_grids(zion: Path) -> None:
    cube = open_cube(zion / "cube.zarr")
    crs = {name: source.grid.crs for name, source in cube.sources.items()}
    assert crs["landsat"] == "EPSG:32612"
    assert crs["srtm"] == "EPSG:4326"
    assert crs["smap"] == "EPSG:6933"
    assert "sinu" in crs["modis"].lower()


def test_the_maps_hold_a_value_or_a_reason_everywhere(zion: Path) -> None:
    maps = xr.open_zarr(zion / "product.zarr", consolidated=False, decode_coords="all", mask_and_scale=True)
    assert maps.rio.crs.to_epsg() == 32612
    missing = np.isnan(maps["soil_moisture"].values)
    assert 0.3 < 1 - missing.mean() <= 1
    assert (maps["quality"].values[missing] != 0).all()
    values = maps["soil_moisture"].values[~missing]
    assert (values >= 0).all()
    assert (values <= 1).all()
    assert values.std() > 0


def test_the_real_scene_shapes_the_map(zion: Path, shared: Path) -> None:
    """Where the real red band is masked or bright, so is what the cube gives at that place."""
    cube = open_cube(zion / "cube.zarr")
    source = cube.sources["landsat"]
    rng = np.random.default_rng(2)
    rows, cols = rng.integers(0, SIDE, (2, 200))
    to_scene = Transformer.from_crs(cube.grid.crs, "EPSG:32612", always_xy=True)
    with rasterio.open(shared / "data/zion/landsat_b4.tif") as real:
        x, y = to_scene.transform(cube.grid.x(cols), cube.grid.y(rows))
        expected = np.array([v[0] for v in real.sample(zip(x, y, strict=True))])
    row, col = (np.floor(p).astype(int) for p in source.grid.position(x, y))
    stored = source.read("Red", 0, 1, slice(0, source.grid.height), slice(0, source.grid.width))[0]
    np.testing.assert_array_equal(stored[row, col], expected)


@pytest.mark.parametrize(
    "device",
    ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))],
)
def test_a_device_makes_the_same_maps(zion: Path, device: str) -> None:
    cube, bundle = open_cube(zion / "cube.zarr"), load_bundle(zion / "bundle")
    product = open_product(zion / "product.zarr")
    engine = Engine(bundle, device=device, xp=DeviceArrays(torch.device(device)))
    (unit,) = product.layout.units()
    found, _ = compute_unit(cube, bundle.catalogue, engine, unit, 96)
    expected = {name: product.read(name, unit.first, unit.stop, slice(None), slice(None)) for name in found}
    np.testing.assert_array_equal(found["quality"], expected["quality"])
    apart = np.abs(found["soil_moisture"].astype(int) - expected["soil_moisture"])
    assert apart.max() <= 1
    for name in ("lower", "upper"):
        np.testing.assert_array_equal(found[name][apart == 0], expected[name][apart == 0])


def test_the_days_become_cogs_over_zion(zion: Path, tmp_path: Path) -> None:
    export_product(open_product(zion / "product.zarr"), tmp_path / "maps", workers=1)
    files = sorted((tmp_path / "maps").glob("soil_moisture_*.tif"))
    assert len(files) == 8
    with rasterio.open(files[0]) as cog:
        left, bottom, right, top = cog.bounds
        east, north = Transformer.from_crs("EPSG:4326", cog.crs, always_xy=True).transform(*CENTRE)
        assert left < east < right
        assert bottom < north < top
