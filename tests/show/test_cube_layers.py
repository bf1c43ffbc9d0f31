"""What a cube adds to the page, against second computations: shade, cells, ages, and positions of points."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import LightSource

from mmnet_maps.errors import InputError
from mmnet_maps.grid import Grid, Tile, cell_lookup, lonlat_extent, pixels_at
from mmnet_maps.prepare.cube.store import Cube
from mmnet_maps.produce.extract.maps import open_maps
from mmnet_maps.show.cube_layers import CubeLayers, Hillshade
from mmnet_maps.show.positions import evaluate, fitted
from mmnet_maps.show.server import write_site
from mmnet_maps.show.site import SIDE, Site
from tests.show.conftest import DAYS, GRID, hills

WHOLE = slice(0, GRID.height), slice(0, GRID.width)


def test_the_shade_is_that_of_another_implementation(make_cube: Callable[..., Cube]) -> None:
    terrain = Hillshade(make_cube())
    found = terrain._read(1, *WHOLE)
    # Matplotlib stretches the contrast to 0 to 1.
    other = LightSource(315, 45).hillshade(hills(GRID), vert_exag=terrain._steeper, dx=30, dy=30, fraction=1)
    stretched = (found - found.min()) / np.ptp(found)
    np.testing.assert_allclose(stretched, other, atol=1e-3)


def test_slope_and_aspect_give_the_shade_of_the_elevation(make_cube: Callable[..., Cube]) -> None:
    x, y = np.meshgrid(np.arange(GRID.width) * 30.0, np.arange(GRID.height) * -30.0)
    east, north = 0.1, -0.05
    plane = {"elevation": 900 + east * x + north * y}
    angle = np.degrees(np.arctan(np.hypot(east, north)))
    # Water runs down: against the rise.
    aspect = np.degrees(np.arctan2(-east, -north)) % 360
    angles = {"slope": np.full(GRID.shape, angle), "aspect": np.full(GRID.shape, aspect)}
    one, other = (Hillshade(make_cube(f"{k}.zarr", part)) for k, part in enumerate((plane, angles)))
    np.testing.assert_allclose(one._read(1, *WHOLE), other._read(1, *WHOLE), atol=1e-4)


def test_far_away_the_shade_is_a_mean(make_cube: Callable[..., Cube]) -> None:
    terrain = Hillshade(make_cube())
    fine = terrain._read(1, *WHOLE)
    for times in (2, 8, 16):
        rows, cols = (-(-size // times) for size in GRID.shape)
        found = terrain._read(times, slice(0, rows), slice(0, cols))
        expected = [
            [fine[r * times : (r + 1) * times, c * times : (c + 1) * times].mean() for c in range(cols)]
            for r in range(rows)
        ]
        if times < 16:  # a mean of means weighs the smaller blocks of the edge as much
            np.testing.assert_allclose(found, expected, atol=1e-5)
        else:
            np.testing.assert_allclose(found[:5, :6], np.array(expected)[:5, :6], atol=1e-5)


def test_layers_and_series_hold_the_cells_of_the_cube(
    make_cube: Callable[..., Cube], make_product: Callable[..., Any]
) -> None:
    cube, product = make_cube(), make_product(days=3)
    site = Site(open_maps(product.path), cube=cube)
    about = {layer["name"]: layer for layer in site.about(live=False)["layers"]}
    assert [name for name, layer in about.items() if layer["drawn"]] == [
        "soil_moisture", "width", "quality", "SMAP", "age_optical",
    ]  # fmt: skip
    assert about["SMAP"]["range"] == about["soil_moisture"]["range"]
    day, source = int(product.days[1]), cube.source_of("SMAP")
    step = int(np.flatnonzero(source.days == day)[0])
    z = site.zoom[1]
    x, y = next(iter(site.tiles(z)))
    tile = np.frombuffer(gzip.decompress(site.tile("SMAP", "20210602", z, x, y)), "<f4").reshape(SIDE, SIDE)
    inside = np.frombuffer(gzip.decompress(site.pixels(z, x, y)), "<i4").reshape(SIDE, SIDE)
    stored = source.read("SMAP", step, step + 1, *(slice(0, n) for n in source.grid.shape))[0]
    cells = source.variables["SMAP"].decode(stored)
    lookup = cell_lookup(GRID, Tile(0, 0, *GRID.shape), source.grid)
    here = cells[lookup.rows, lookup.cols].ravel()[lookup.index]
    known = inside >= 0
    # At the edge of a cell, a place on the screen may lie in another cell than the centre of its pixel.
    assert (tile[known] == here.ravel()[inside[known]]).mean() > 0.97
    body = gzip.decompress(site.series(0, 1))
    assert site.series_layers == ["soil_moisture", "lower", "upper", "quality", "pr", "SMAP"]
    values = np.frombuffer(body[-3 * 32 * 32 * 4 :], "<f4").reshape(3, 32, 32)
    np.testing.assert_array_equal(values[1], here[:32, 32:64])


def test_the_age_is_that_of_the_nearest_observation(make_cube: Callable[..., Cube]) -> None:
    cube = make_cube()
    layers, day = CubeLayers(cube, GRID), int(DAYS[30])
    found = layers.tile("age_optical", day, GRID)
    source = cube.source_of("Red")
    reach = cube.variables["Red"].max_gap or 60
    seen = source.variables["Red"].decode(source.read("Red", 0, source.days.size, *WHOLE))
    for row, col in ((0, 0), (5, 77), (95, 119), (40, 3)):
        days = source.days[np.isfinite(seen[:, row, col])]
        ages = np.abs(days - day)
        assert found[row, col] == (ages[ages <= reach].min() if (ages <= reach).any() else np.nan)


def test_a_cube_of_another_region_is_refused(make_cube: Callable[..., Cube]) -> None:
    far = Grid("EPSG:32612", (30.0, 0.0, 700_010.0, 0.0, -30.0, 4_000_020.0), 96, 120)
    with pytest.raises(InputError, match="lies elsewhere than the maps"):
        CubeLayers(make_cube(), far)


@pytest.mark.parametrize(
    "grid",
    [
        GRID,
        Grid("EPSG:32614", (30.0, 0.0, 400_000.0, 0.0, -30.0, 4_200_000.0), 10_000, 10_000),
        Grid("EPSG:5070", (30.0, 0.0, -2_300_000.0, 0.0, -30.0, 3_100_000.0), 90_000, 150_000),
        Grid("EPSG:4326", (0.01, 0.0, 178.0, 0.0, 0.01, -17.0), 300, 400),
        Grid("EPSG:32601", (30.0, 0.0, 200_000.0, 0.0, -30.0, 7_200_000.0), 10_000, 10_000),
    ],
    ids=["small", "large", "country", "across 180, south up", "across 180, projected"],
)
def test_the_polynomials_find_the_pixel_of_a_point(grid: Grid) -> None:
    bounds = lonlat_extent(grid)
    found = fitted(grid, bounds)
    random = np.random.default_rng(0)
    lon, lat = random.uniform(bounds[0], bounds[2], 5000), random.uniform(bounds[1], bounds[3], 5000)
    row, col = pixels_at(grid, (lon + 180) % 360 - 180, lat)
    at = evaluate(found, lon, lat)
    inside = row >= 0
    assert found["error"] < 1e-4 and inside.sum() > 1000
    # A point nearer to an edge than the error may fall on the other side.
    for index, position in ((row, at[0]), (col, at[1])):
        clear = np.abs(position - np.rint(position)) > 2e-4
        np.testing.assert_array_equal(np.floor(position)[inside & clear], index[inside & clear])


def test_files_for_a_web_host_carry_what_the_cube_adds(
    make_cube: Callable[..., Cube], make_product: Callable[..., Any], tmp_path: Path
) -> None:
    site = Site(open_maps(make_product(days=1).path), cube=make_cube())
    write_site(site, tmp_path / "site")
    about = json.loads((tmp_path / "site" / "about.json").read_text())
    assert about["hillshade"] and about["series"][-2:] == ["pr", "SMAP"]
    z = site.zoom[1]
    for x, y in site.tiles(z):
        assert (tmp_path / f"site/hillshade/{z}/{x}/{y}.bin").read_bytes() == site.hillshade(z, x, y)
        for layer in ("SMAP", "age_optical"):
            held = (tmp_path / f"site/tiles/{layer}/20210601/{z}/{x}/{y}.bin").read_bytes()
            assert held == site.tile(layer, "20210601", z, x, y)
    assert (tmp_path / "site/series/0/1.bin").read_bytes() == site.series(0, 1)
