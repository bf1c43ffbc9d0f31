"""Linear power to decibel, the published smoothing, and terrain: against closed forms and plain loops."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray

from mmnet_maps.errors import InputError
from mmnet_maps.grid import Grid
from mmnet_maps.source_reader import SourceConfig
from mmnet_maps.sources.rasters import open_source
from mmnet_maps.sources.rasters.transforms import smoothed
from mmnet_maps.sources.terrain import TerrainSource, padded, slope_and_aspect

GRID = Grid("EPSG:32614", (30.0, 0.0, 500_010.0, 0.0, -30.0, 4_000_020.0), 40, 50)


def write(path: Path, values: NDArray[Any], nodata: float, grid: Grid = GRID) -> None:
    profile = {
        "driver": "GTiff", "height": grid.height, "width": grid.width, "count": 1, "dtype": values.dtype,
        "crs": grid.crs, "transform": grid.affine, "nodata": nodata,
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as file:
        file.write(values, 1)


def by_loops(values: NDArray[np.float64], radius: int) -> NDArray[np.float64]:
    """Each pixel the weighted mean of the pixels of its square that are there."""
    out = np.full(values.shape, np.nan)
    for i, j in np.ndindex(*values.shape):
        if math.isnan(values[i, j]):
            continue
        total = weight = 0.0
        for k in range(max(0, i - radius), min(values.shape[0], i + radius + 1)):
            for m in range(max(0, j - radius), min(values.shape[1], j + radius + 1)):
                if not math.isnan(values[k, m]):
                    w = math.exp(-((k - i) ** 2 + (m - j) ** 2) / 2)
                    total, weight = total + w * values[k, m], weight + w
        out[i, j] = total / weight
    return out


def test_smoothing_is_the_published_gaussian_over_what_is_there() -> None:
    random = np.random.default_rng(1)
    values = np.where(random.random((17, 19)) < 0.2, np.nan, random.normal(-12, 3, (17, 19)))
    np.testing.assert_allclose(smoothed(values, 3), by_loops(values, 3), rtol=1e-12)
    # A plane without holes is its own mean away from the edge.
    plane = np.add.outer(np.arange(20.0), 2 * np.arange(20.0))
    np.testing.assert_allclose(smoothed(plane, 3)[3:-3, 3:-3], plane[3:-3, 3:-3], rtol=1e-12)


@pytest.fixture
def radar(tmp_path: Path) -> tuple[Any, NDArray[np.float64]]:
    power = np.random.default_rng(2).lognormal(-2.5, 0.8, GRID.shape).astype(np.float32)
    power[5:8, 5:8], power[20, 30] = np.nan, 0.0
    write(tmp_path / "S1_20200601_VV.tif", power, np.nan)
    keys = {"VV": {"decibel": True, "valid_range": [-20, -5], "smooth": 3}}
    config = SourceConfig.from_mapping(
        {"path": str(tmp_path), "pattern": r"S1_(?P<date>\d{8})_{variable}\.tif", "variables": keys}
    )
    with np.errstate(divide="ignore"):
        level = 10 * np.log10(power.astype(np.float64))
    level[(level < -20) | (level > -5)] = np.nan
    return open_source("sentinel1", config, tmp_path), level


def test_power_becomes_decibel_is_kept_between_limits_and_smoothed(radar: Any) -> None:
    source, level = radar
    packing = source.variables["VV"]
    assert (packing.dtype, packing.scale, packing.missing) == ("int16", 0.01, -32768)
    found = packing.decode(source.read(0, 1, slice(0, 40), slice(0, 50))["VV"])[0]
    # Half a stored step.
    np.testing.assert_allclose(found, by_loops(level, 3), atol=0.0051, equal_nan=True)


def test_smoothing_does_not_depend_on_how_a_read_is_cut(radar: Any) -> None:
    source, _ = radar
    whole = source.read(0, 1, slice(0, 40), slice(0, 50))["VV"]
    for rows, cols in ((slice(0, 13), slice(7, 31)), (slice(13, 40), slice(49, 50))):
        assert np.array_equal(source.read(0, 1, rows, cols)["VV"], whole[:, rows, cols])


@pytest.mark.parametrize(
    ("east", "north", "aspect"),
    [(0.1, 0.0, 270.0), (-0.1, 0.0, 90.0), (0.0, 0.1, 180.0), (0.0, -0.1, 0.0), (0.1, 0.1, 225.0)],
)
def test_a_plane_has_one_slope_and_the_aspect_in_which_water_runs(
    east: float, north: float, aspect: float
) -> None:
    y, x = -30.0 * np.arange(8.0)[:, None], 30.0 * np.arange(9.0)[None]
    slope, facing = slope_and_aspect(east * x + north * y, 30.0, 30.0)
    np.testing.assert_allclose(slope, math.degrees(math.atan(math.hypot(east, north))), rtol=1e-12)
    np.testing.assert_allclose(facing, aspect, atol=1e-9)


def test_terrain_is_computed_on_the_map_s_grid(tmp_path: Path) -> None:
    from mmnet_maps.sources.rasters import definitions_of

    fine = Grid("EPSG:32614", (10.0, 0.0, 499_910.0, 0.0, -10.0, 4_000_120.0), 150, 180)
    x, y = fine.x(np.arange(fine.width))[None], fine.y(np.arange(fine.height))[:, None]
    height = (0.05 * (x - 5e5) - 0.08 * (y - 4e6) + 300).astype(np.float32)
    write(tmp_path / "USGS_13_n37w099.tif", height, -9999.0, fine)
    config = SourceConfig.from_mapping(
        {"path": str(tmp_path), "terrain": True, "regrid": "average", "cadence": "static",
         "variables": {"elevation": {}}}
    )  # fmt: skip
    meaning = definitions_of(
        "terrain", SourceConfig.from_mapping({"variables": ["elevation", "slope", "aspect"]})
    )
    source = TerrainSource("terrain", GRID, open_source("terrain", config, tmp_path, padded(GRID)), meaning)
    found = source.read(0, 1, slice(3, 20), slice(0, 50))
    values = {name: source.variables[name].decode(found[name])[0] for name in found}
    expected = 0.05 * (GRID.x(np.arange(50)) - 5e5) - 0.08 * (GRID.y(np.arange(3, 20))[:, None] - 4e6) + 300
    np.testing.assert_allclose(values["elevation"], expected, atol=0.006)
    np.testing.assert_allclose(values["slope"], math.degrees(math.atan(math.hypot(0.05, 0.08))), atol=0.02)
    np.testing.assert_allclose(values["aspect"], math.degrees(math.atan2(-0.05, 0.08)) % 360, atol=0.2)
    with pytest.raises(InputError, match="terrain needs a projected grid"):
        TerrainSource("terrain", Grid("EPSG:4326", (0.1, 0, 0, 0, -0.1, 10), 4, 4), source.elevation, meaning)
