"""Real upstream files: every value of the cube is what rasterio, h5py or pyhdf reads at that place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyproj import Transformer

from mmnet_maps.grid import Grid, Tile, cell_lookup
from mmnet_maps.jobs.cubes import build_from_config
from mmnet_maps.prepare.cube.config import CubeConfig
from mmnet_maps.prepare.cube.store import Cube, open_cube

ROOT = Path(__file__).resolve().parents[3]
PIXELS = 1000


def _build(settings: dict[str, Any], shared: Path, out: Path) -> Cube:
    config = CubeConfig.from_mapping(settings)
    build_from_config(config, shared / "data", out)
    return open_cube(out)


@pytest.fixture(scope="module")
def zion(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Cube:
    out = tmp_path_factory.mktemp("zion") / "zion.zarr"
    config = CubeConfig.load(ROOT / "configs" / "zion.yaml")
    text = config.model_dump(mode="json")
    text["grid"]["like"] = "zion/landsat_b2.tif"
    for source in text["sources"].values():
        source["path"] = source["path"].split("shared/data/")[1]
    return _build(text, shared, out)


def _at_pixels(
    cube: Cube, variable: str, rows: np.ndarray, cols: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Stored values at pixel centres through the cell lookup, and where the cube has a cell."""
    source = cube.source_of(variable)
    found, have = np.zeros(rows.size), np.zeros(rows.size, dtype=bool)
    for row, col in {(int(r) // 256 * 256, int(c) // 256 * 256) for r, c in zip(rows, cols, strict=True)}:
        tile = Tile(row, col, min(256, cube.grid.height - row), min(256, cube.grid.width - col))
        here = (rows >= row) & (rows < row + tile.height) & (cols >= col) & (cols < col + tile.width)
        cells = cell_lookup(cube.grid, tile, source.grid)
        values = source.read(variable, 0, 1, cells.rows, cells.cols)[0].ravel()
        index = cells.index[rows[here] - row, cols[here] - col]
        found[here], have[here] = values[index], index >= 0
    return found, have


def _random_pixels(grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(1)
    return random.integers(0, grid.height, PIXELS), random.integers(0, grid.width, PIXELS)


def _rasterio_at(path: str, cube: Cube, rows: np.ndarray, cols: np.ndarray) -> tuple[np.ndarray, float]:
    """What rasterio samples at the pixel centres, projected one by one into the file's CRS."""
    import rasterio

    with rasterio.open(path) as file:
        crs = file.crs or "EPSG:4326"
        change = Transformer.from_crs(cube.grid.crs, crs, always_xy=True)
        x, y = change.transform(cube.grid.x(cols), cube.grid.y(rows))
        values = np.array([v[0] for v in file.sample(zip(x, y, strict=True))], dtype=np.float64)
        edge = file.bounds
        inside = (x >= edge.left) & (x < edge.right) & (y > edge.bottom) & (y <= edge.top)
    return np.where(inside, values, np.nan), inside


@pytest.mark.parametrize(
    ("variable", "file"),
    [
        ("Blue", "zion/landsat_b2.tif"),
        ("Green", "zion/landsat_b3.tif"),
        ("Red", "zion/landsat_b4.tif"),
        ("NIR", "zion/landsat_b5.tif"),
        ("LC", "zion/nlcd.tif"),
        ("elevation", "zion/srtm.tif"),
        ("tmmx", "gridmet/tmmx_20190121.nc"),
    ],
)
def test_the_cube_holds_what_rasterio_reads(zion: Cube, shared: Path, variable: str, file: str) -> None:
    rows, cols = _random_pixels(zion.grid)
    expected, inside = _rasterio_at(str(shared / "data" / file), zion, rows, cols)
    found, have = _at_pixels(zion, variable, rows, cols)
    assert have[inside].all()
    np.testing.assert_array_equal(found[inside], expected[inside])
    missing = zion.source_of(variable).variables[variable].missing
    assert (found[~inside] == missing).all()
    assert inside.mean() > 0.95


def test_the_cube_holds_what_h5py_reads(zion: Cube, shared: Path) -> None:
    import h5py

    rows, cols = _random_pixels(zion.grid)
    x, y = Transformer.from_crs(zion.grid.crs, "EPSG:6933", always_xy=True).transform(
        zion.grid.x(cols), zion.grid.y(rows)
    )
    with h5py.File(shared / "data/smap_l4/SMAP_L4_SM_aup_input.h5") as file:
        nearest_x = np.abs(file["x"][:][None] - x[:, None]).argmin(axis=1)
        nearest_y = np.abs(file["y"][:][None] - y[:, None]).argmin(axis=1)
        expected = file["Analysis_Data/sm_surface_analysis"][:][nearest_y, nearest_x]
    found, have = _at_pixels(zion, "SMAP", rows, cols)
    assert have.all()
    np.testing.assert_array_equal(found.astype(np.float32), expected)
    assert len(np.unique(expected)) > 5


def test_the_days_are_those_of_the_files(zion: Cube) -> None:
    days = {
        name: source.days.astype("datetime64[D]").astype(str).tolist()
        for name, source in zion.sources.items()
    }
    assert days == {
        "gridmet": ["2019-01-21"],
        "landsat": ["2015-08-18"],
        "nlcd": ["2011-01-01"],
        "smap": ["2020-01-28"],
        "srtm": [],
    }


def test_modis_lst_is_what_pyhdf_reads_where_the_quality_bits_are_clear(shared: Path, tmp_path: Path) -> None:
    from pyhdf.SD import SD, SDC

    (path,) = (shared / "data/modis").glob("MOD11A1*.hdf")
    settings = {
        # Missouri and Illinois: across the boundary of two UTM zones, and partly clear that day.
        "region": {"box": [-91.0, 38.0, -87.0, 39.8]},
        "grid": {"crs": "EPSG:32616", "resolution": [500, 400]},
        "sources": {"modis": {"path": f"modis/{path.name}", "variables": ["LST"]}},
    }
    cube = _build(settings, shared, tmp_path / "modis.zarr")
    file = SD(str(path), SDC.READ)
    lst, quality = (file.select(name)[:, :] for name in ("LST_Day_1km", "QC_Day"))
    rows, cols = _random_pixels(cube.grid)
    # The sinusoidal projection in closed form; the sphere takes latitude and longitude unchanged.
    lon, lat = Transformer.from_crs("EPSG:32616", "EPSG:4326", always_xy=True).transform(
        cube.grid.x(cols), cube.grid.y(rows)
    )
    radius, cell = 6371007.181, 926.625433055833
    x, y = radius * np.radians(lon) * np.cos(np.radians(lat)), radius * np.radians(lat)
    i, j = ((4447802.079066 - y) // cell).astype(int), ((x + 7783653.638366) // cell).astype(int)
    expected = np.where((quality[i, j] & 0b1010) == 0, lst[i, j], 0)
    found, have = _at_pixels(cube, "LST", rows, cols)
    assert have.all()
    np.testing.assert_array_equal(found, expected)
    assert (expected > 0).sum() > 200, "the granule is very cloudy, but not blind"
    assert (expected[expected > 0] > 7500).all()


def test_the_real_fmask_blanks_clouds_and_shadows(shared: Path, tmp_path: Path) -> None:
    import rasterio

    (mask,) = (shared / "data/hls").glob("*.Fmask.tif")
    with rasterio.open(mask) as file:
        flags, profile = file.read(1), file.profile
    name = mask.name.replace("Fmask", "B04")
    profile |= {"dtype": "int16", "nodata": -9999}
    values = np.arange(flags.size, dtype=np.int64).reshape(flags.shape) % 9000
    with rasterio.open(tmp_path / name, "w", **profile) as file:
        file.write(values.astype(np.int16), 1)
    (tmp_path / mask.name).symlink_to(mask)
    left, top = profile["transform"].c, profile["transform"].f
    settings = {
        "region": {"box": [left + 3000, top - 15000, left + 24000, top - 300], "crs": "EPSG:32606"},
        "grid": {"crs": "EPSG:32606", "resolution": 30},
        "sources": {
            "hls": {
                "path": str(tmp_path),
                "pattern": r"HLS\.L30\.T06WVS\.(?P<date>\d{7})T\d{6}\.v2\.0\.{variable}\.tif",
                "mask": {"file": "Fmask", "clear_bits": [1, 3]},
                "variables": {"Red": {"file": "B04", "scale": 1.0e-4}},
            }
        },
    }
    cube = _build(settings, shared, tmp_path / "hls.zarr")
    source = cube.source_of("Red")
    row = round((top - cube.grid.bounds[3]) / 30)
    col = round((cube.grid.bounds[0] - left) / 30)
    window = slice(row, row + cube.grid.height), slice(col, col + cube.grid.width)
    clear = ((flags[window] & 0b1010) == 0) & (flags[window] != 255)
    found = source.read("Red", 0, 1, slice(0, cube.grid.height), slice(0, cube.grid.width))[0]
    np.testing.assert_array_equal(found, np.where(clear, values[window], -9999))
    assert 0.01 < clear.mean() < 0.99
    assert str(source.days.astype("datetime64[D]")[0]) == "2024-04-29"
