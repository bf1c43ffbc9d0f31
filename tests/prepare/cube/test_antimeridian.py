"""A region on both sides of 180 degrees: the cube holds, and every pixel finds, what lies there."""

from __future__ import annotations

from pathlib import Path

import geopandas
import h5py
import numpy as np
import pytest
import rasterio
import xarray as xr
from pyproj import Transformer
from rasterio.transform import from_origin
from shapely import MultiPolygon, box

from mmnet_maps.grid import Grid, Tile, cell_lookup, lonlat
from mmnet_maps.jobs.cubes import build_from_config
from mmnet_maps.jobs.init import init
from mmnet_maps.jobs.readers import remote_of
from mmnet_maps.prepare.cube.config import CubeConfig
from mmnet_maps.prepare.cube.store import Cube, open_cube
from mmnet_maps.sources.remote.listing import boxes

EASE = (9008.055210146, -17367530.4451615)


def _write_sources(folder: Path) -> None:
    """Fields that hold their own longitude east of Greenwich, cut at 180, at 0, and at 180 in metres."""
    for name, west in (("pr", -180.0), ("eto", 0.0)):
        lon, lat = west + np.arange(0.125, 360, 0.25), np.arange(-15.125, -19, -0.25)
        field = np.broadcast_to((lon % 360).astype("float32"), (1, lat.size, lon.size)).copy()
        xr.Dataset(
            {name: (("time", "lat", "lon"), field, {"units": "mm"})},
            coords={
                "time": ("time", np.array([44000]), {"units": "days since 1900-01-01"}),
                "lat": ("lat", lat, {"units": "degrees_north"}),
                "lon": ("lon", lon, {"units": "degrees_east"}),
            },
        ).to_netcdf(folder / f"{name}_2020.nc", engine="h5netcdf")
    with h5py.File(folder / "SMAP_L4_SM_gph_20200620T013000.h5", "w") as file:
        x = EASE[1] + (np.arange(3856) + 0.5) * EASE[0]
        file["x"], file["y"] = x, -1_900_000 - np.arange(60) * EASE[0]
        lon, _ = Transformer.from_crs("EPSG:6933", "EPSG:4326", always_xy=True).transform(x, np.zeros_like(x))
        share = (lon % 360 / 1000).astype("float32")
        data = file.create_dataset("Geophysical_Data/sm_surface", data=np.broadcast_to(share, (60, 3856)))
        data.attrs["units"] = "m3 m-3"
    for name, west in (("a", 179.0), ("b", -180.0)):  # tiles that meet at 180
        with rasterio.open(
            folder / f"dem_{name}.tif",
            "w",
            "GTiff",
            100,
            100,
            1,
            "EPSG:4326",
            from_origin(west, -16.5, 0.01, 0.01),
            "float32",
        ) as tile:
            lon = (west + (np.arange(100) + 0.5) * 0.01) % 360
            tile.write(np.broadcast_to(lon.astype("float32"), (1, 100, 100)))


CONFIG = {
    "region": {"box": [179.7, -17.2, -179.7, -16.8]},
    "grid": {"crs": "EPSG:32760", "resolution": 500},
    "sources": {
        "gridmet": {"path": ".", "pattern": r"{variable}_\d{4}\.nc", "variables": ["pr"]},
        "other": {"path": ".", "pattern": r"{variable}_\d{4}\.nc", "variables": ["eto"]},
        "smap": {"path": ".", "pattern": "SMAP", "crs": "EPSG:6933", "variables": ["SMAP"]},
        "terrain": {"path": ".", "pattern": "dem_", "variables": ["elevation"]},
    },
}


@pytest.fixture(scope="module")
def cube(tmp_path_factory: pytest.TempPathFactory) -> Cube:
    folder = tmp_path_factory.mktemp("fiji")
    _write_sources(folder)
    build_from_config(CubeConfig.from_mapping(CONFIG), folder, folder / "cube.zarr")
    return open_cube(folder / "cube.zarr")


def _at_pixels(cube: Cube, name: str) -> np.ndarray:
    source = cube.source_of(name)
    whole = Tile(0, 0, cube.grid.height, cube.grid.width)
    cells = cell_lookup(cube.grid, whole, source.grid)
    assert (cells.index >= 0).all()
    found = source.variables[name].decode(source.read(name, 0, 1, cells.rows, cells.cols))
    return found.reshape(-1)[cells.index]


@pytest.mark.parametrize(
    ("name", "factor", "cell"),
    [("pr", 1, 0.25), ("eto", 1, 0.25), ("SMAP", 1000, 0.0934), ("elevation", 1, 0.01)],
)
def test_every_pixel_finds_the_cell_that_holds_it(cube: Cube, name: str, factor: float, cell: float) -> None:
    x, y = np.meshgrid(cube.grid.x(np.arange(cube.grid.width)), cube.grid.y(np.arange(cube.grid.height)))
    lon = Transformer.from_crs(cube.grid.crs, "EPSG:4326", always_xy=True).transform(x, y)[0] % 360
    assert lon.min() < 179.75 and lon.max() > 180.25
    assert np.abs(_at_pixels(cube, name) * factor - lon).max() <= cell / 2 * 1.01
    assert cube.source_of("pr").grid.width < 20 and cube.source_of("elevation").grid.width < 100


def test_a_polygon_that_is_cut_at_180_degrees_is_one_region(tmp_path: Path) -> None:
    east, west = box(179.9, -17, 180, -16.9), box(-180, -17, -179.9, -16.9)
    regions = {
        "cut": [MultiPolygon([east, west])],
        "two": [east, west],
        "beyond": [box(179.9, -17, 180.1, -16.9)],
    }
    found = []
    for name, shapes in regions.items():
        geopandas.GeoDataFrame(geometry=shapes, crs="EPSG:4326").to_file(tmp_path / f"{name}.geojson")
        init(tmp_path / f"{name}.geojson", "2020-05-20", "2020-05-21", "planetary", tmp_path / "cube.yaml")
        config = CubeConfig.load(tmp_path / "cube.yaml")
        found.append(config.target(tmp_path))
    assert len({target.grid for target in found}) == 1 and found[0].grid.crs == "EPSG:32701"
    areas = [target.polygon.area for target in found if target.polygon is not None]
    np.testing.assert_allclose(areas, areas[0], rtol=1e-9)
    with remote_of(config, tmp_path, found[0].grid, None, None) as remote:
        one, other = boxes(remote.scope.box)
    assert (one[2], other[0]) == (180.0, -180.0) and one[0] > 179.8 and other[2] < -179.8


def test_longitudes_of_a_grid_in_degrees_beyond_180_are_those_of_the_globe() -> None:
    grid = Grid("EPSG:4326", (0.1, 0.0, 179.5, 0.0, -0.1, -16.0), 3, 10)
    lon, _ = lonlat(grid, Tile(0, 0, 3, 10))
    np.testing.assert_allclose(lon[0], [*np.arange(179.55, 180, 0.1), *np.arange(-179.95, -179.5, 0.1)])
