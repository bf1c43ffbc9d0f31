"""The configuration of a cube: regions, grids, days, and one line for every mistake."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
from affine import Affine
from shapely import Polygon, box

from mmnet_maps.errors import InputError
from mmnet_maps.grid import Grid
from mmnet_maps.prepare.cube.config import CubeConfig

SOURCES: dict[str, Any] = {"hls": {"path": "hls", "variables": ["Red"]}}
GRID: dict[str, Any] = {"crs": "EPSG:32612", "resolution": 30}
BOX: dict[str, Any] = {"box": [-113.1, 37.1, -112.9, 37.3]}


def config(**keys: Any) -> CubeConfig:
    return CubeConfig.from_mapping({"region": BOX, "grid": GRID, "sources": SOURCES, **keys}, "c.yaml")


def _raster(path: Path, grid: Grid, crs: str | None) -> Path:
    profile = {"driver": "GTiff", "count": 1, "dtype": "uint8", "height": grid.height, "width": grid.width}
    with rasterio.open(path, "w", crs=crs, transform=Affine(*grid.transform), **profile) as file:
        file.write(np.ones((1, *grid.shape), dtype=np.uint8))
    return path


def test_a_box_in_degrees_becomes_a_grid_that_covers_it(tmp_path: Path) -> None:
    target = config().target(tmp_path)
    from pyproj import Transformer

    x, y = Transformer.from_crs("EPSG:4326", "EPSG:32612", always_xy=True).transform(
        np.array([-113.1, -113.1, -112.9, -112.9]), np.array([37.1, 37.3, 37.1, 37.3])
    )
    left, bottom, right, top = target.grid.bounds
    assert left <= x.min() < left + 60
    assert right - 60 < x.max() <= right
    assert bottom <= y.min() < bottom + 60
    assert top - 60 < y.max() <= top
    assert target.polygon is None
    assert left % 30 == 0


def test_pixels_may_be_oblong_and_in_degrees(tmp_path: Path) -> None:
    target = config(grid={"crs": "EPSG:4326", "resolution": [0.001, 0.002]}).target(tmp_path)
    assert target.grid.transform[0] == 0.001
    assert target.grid.transform[4] == -0.002
    assert target.grid.shape == (100, 200)


@pytest.mark.parametrize("ending", ["gpkg", "geojson", "shp"])
def test_polygon_files_are_brought_into_the_crs_of_the_grid(tmp_path: Path, ending: str) -> None:
    shapes = [Polygon([(-113.1, 37.1), (-113.0, 37.1), (-113.1, 37.2)]), box(-113.0, 37.1, -112.9, 37.2)]
    frame = geopandas.GeoDataFrame({"name": ["a", "b"]}, geometry=shapes, crs="EPSG:4326")
    frame.to_file(tmp_path / f"region.{ending}")
    target = config(region={"polygon": f"region.{ending}"}).target(tmp_path)
    assert target.polygon is not None
    expected = frame.set_geometry(frame.segmentize(1e-4)).to_crs("EPSG:32612").area.sum()
    assert target.polygon.area == pytest.approx(expected, rel=1e-5)
    left, bottom, right, top = target.polygon.bounds
    assert target.grid.bounds[0] <= left
    assert target.grid.bounds[1] <= bottom
    assert target.grid.bounds[2] >= right
    assert target.grid.bounds[3] >= top


def test_a_grid_like_a_raster_keeps_its_pixels_and_is_cut_to_the_region(tmp_path: Path) -> None:
    grid = Grid("EPSG:32612", (31.5, 0.0, 300001.0, 0.0, -30.5, 4150007.0), 900, 800)
    _raster(tmp_path / "like.tif", grid, "EPSG:32612")
    whole = config(region=None, grid={"like": "like.tif"}).target(tmp_path)
    assert whole.grid == grid
    region = {"box": [301000, 4140000, 310000, 4145000], "crs": "EPSG:32612"}
    part = config(region=region, grid={"like": "like.tif"}).target(tmp_path).grid
    assert part.aligned_offset(grid) is not None
    left, bottom, right, top = part.bounds
    assert left <= 301000 < left + 31.5
    assert bottom <= 4140000 < bottom + 30.5
    assert right - 31.5 < 310000 <= right
    assert top - 30.5 < 4145000 <= top


def test_dates_are_read_in_both_forms(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(
        "region: {box: [-113.1, 37.1, -112.9, 37.3]}\ngrid: {crs: EPSG:32612, resolution: 30}\n"
        "start: 20190101\nend: 2019-12-31\nsources: {hls: {path: hls, variables: {Red: , NIR: {band: B5}}}}\n"
    )
    loaded = CubeConfig.load(path)
    assert loaded.days == (17897, 18261)
    assert loaded.sources["hls"].variables["NIR"].band == "B5"
    assert CubeConfig.from_mapping(loaded.model_dump(mode="json")) == loaded


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"regoin": BOX}, "c.yaml: unknown key regoin"),
        ({"region": {"box": [-113, 37, -112, 38], "polygon": "x.gpkg"}}, "either box or polygon"),
        ({"region": None}, "expected a region, or grid.like"),
        ({"grid": {"crs": "EPSG:32612"}}, "expected crs and resolution, or like"),
        ({"grid": {**GRID, "like": "x.tif"}}, "not both"),
        ({"start": "2020-01-02", "end": "2020-01-01"}, "start 2020-01-02 is after end 2020-01-01"),
        ({"start": "2020-13-01"}, "2020-13-01 is not a date"),
        ({"start": 20200230}, "20200230 is not a date"),
        ({"start": "1850-01-01"}, "1850-01-01 is out of range"),
        ({"sources": {}}, "sources"),
        ({"sources": {"hls": {"path": "x", "variables": []}}}, "sources.hls.variables"),
        ({"sources": {"hls": {**SOURCES["hls"], "patern": "x"}}}, "unknown key sources.hls.patern"),
        ({"sources": {"hls": {"path": "x", "reader": "grib", "variables": ["Red"]}}}, "sources.hls.reader"),
        ({"sources": {"region": SOURCES["hls"]}}, "not a usable name"),
        (
            {"sources": {"a": SOURCES["hls"], "b": SOURCES["hls"]}},
            "variable Red is in source a and in source b",
        ),
    ],
)
def test_mistakes_in_the_configuration_are_one_line(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        config(**keys)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"region": {"box": [-112.9, 37.1, -113.1, 37.3]}}, "expected west < east and south < north"),
        ({"region": {"box": [37.1, -113.1, 37.3, -112.9]}}, "no such latitude.*axes swapped"),
        ({"region": {**BOX, "crs": "EPSG:nope"}}, "region.crs: EPSG:nope is not a CRS"),
        ({"grid": {"crs": "utm 12", "resolution": 30}}, "grid.crs: utm 12 is not a CRS"),
        ({"region": {"polygon": "none.gpkg"}}, "none.gpkg: no such polygon file"),
        ({"region": {"polygon": "text.gpkg"}}, "text.gpkg: cannot be read as GeoPackage"),
        ({"region": {"polygon": "points.gpkg"}}, "points.gpkg: holds no polygon"),
        ({"grid": {"like": "none.tif"}}, "none.tif: no such raster"),
        ({"grid": {"like": "text.tif"}}, "text.tif: cannot be read as a raster"),
        ({"grid": {"like": "plain.tif"}}, "plain.tif: has no CRS"),
        ({"grid": {"like": "far.tif"}}, "far.tif does not touch the region"),
    ],
)
def test_a_region_that_cannot_be_placed_is_one_line(
    tmp_path: Path, keys: dict[str, Any], message: str
) -> None:
    (tmp_path / "text.gpkg").write_text("no geopackage")
    (tmp_path / "text.tif").write_text("no raster")
    geopandas.GeoDataFrame(geometry=geopandas.points_from_xy([0], [0]), crs=4326).to_file(
        tmp_path / "points.gpkg"
    )
    far = Grid("EPSG:32612", (30.0, 0.0, 600000.0, 0.0, -30.0, 4150000.0), 10, 10)
    _raster(tmp_path / "far.tif", far, "EPSG:32612")
    _raster(tmp_path / "plain.tif", far, None)
    with pytest.raises(InputError, match=message) as error:
        config(**keys).target(tmp_path)
    assert "\n" not in str(error.value)


def test_a_grid_of_too_many_cells_is_refused_and_a_country_is_not(tmp_path: Path) -> None:
    world = {"region": {"box": [-180, -90, 180, 90]}, "grid": {"crs": "EPSG:4326", "resolution": 0.00027}}
    with pytest.raises(InputError, match=r"at most 50,000,000,000 in all"):
        config(**world).target(tmp_path)
    country = {"box": [0, 0, 4_600_000, 2_900_000], "crs": "EPSG:5070"}
    target = config(region=country, grid={"crs": "EPSG:5070", "resolution": 30}).target(tmp_path)
    assert target.grid.height * target.grid.width > 1.4e10
