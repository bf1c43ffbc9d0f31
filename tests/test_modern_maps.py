"""Models through the commands to a map: the modern recipe with all its inputs, and an imported checkpoint."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from pyproj import Transformer
from typer.testing import CliRunner

from mmnet_maps.cli.main import app
from mmnet_maps.dates import from_yyyymmdd
from mmnet_maps.errors import InputError
from mmnet_maps.grid import Tile, cell_lookup
from mmnet_maps.learn.bundle import load_bundle
from mmnet_maps.learn.model_input import from_table
from mmnet_maps.prepare.cube.store import Cube, open_cube
from mmnet_maps.prepare.stations.files import read_table
from mmnet_maps.produce.product.store import open_product
from mmnet_maps.simulated import (
    SimulationConfig,
    cube_settings,
    simulate_region,
    simulate_stations,
)

NORMALS = {"pr_normal", "eto_normal", "vpd_normal", "srad_normal"}
#: Weather from 1 January 2019 on: a year of it for the normals, 270 days before the first map.
CONFIG = SimulationConfig.from_mapping(
    {
        "seed": 2,
        "climates": ["southern_plains"],
        "stations_per_climate": 5,
        "landscapes_per_climate": 1,
        "station_pixels": 32,
        "station_first_day": "2019-01-01",
        "station_last_day": "2020-03-31",
        "region_pixels": 48,
        "first_day": "2020-03-01",
        "last_day": "2020-03-03",
        "history_days": 425,
        "spin_up_days": 10,
        "validation_stations": 3,
    }
)
FIRST = int(np.datetime64("2020-03-01").astype(int))


def run(*arguments: Any) -> dict[str, Any]:
    found = CliRunner().invoke(app, [*map(str, arguments), "--json"], catch_exceptions=False)
    return json.loads(found.stdout)  # type: ignore[no-any-return]


def build_table(place: Path, out: Path) -> None:
    folder = ("--raw", place / "raw", "--in-situ", place / "in_situ.csv", "--network", place / "network.gpkg")
    run("stations", "build", *folder, "--soil-state", "--normals-until", 2019, "--out", out)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("modern")
    simulate_stations(CONFIG, out)
    simulate_region(CONFIG, out)
    build_table(out / "stations", out / "table.parquet")
    settings = cube_settings(CONFIG) | {"start": "2019-06-05", "normals": {"until": 2019}}
    (out / "cube.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    run("cube", "build", "--config", out / "cube.yaml", "--out", out / "cube.zarr")
    train = ("train", "--table", out / "table.parquet", "--model", "mmnet", "--experiment", "all")
    tiny = ("recipe=modern", "folds=2", "modern.epochs=1", "modern.stations=2", "modern.days=8", "every=4")
    run(*train, *(text for key in tiny for text in ("--set", key)), "--out", out / "run")
    return out


def test_the_table_the_bundle_and_the_cube_hold_the_same_normals(made: Path) -> None:
    _, catalogue = read_table(made / "table.parquet")
    assert set(catalogue.snapshot) >= NORMALS
    cube = open_cube(made / "cube.zarr")
    assert set(cube.sources["gridmet_normals"].variables) == NORMALS
    for name in NORMALS:
        assert cube.variables[name].unit == catalogue[name].unit
        assert cube.variables[name].long_name == catalogue[name].long_name
    shown = run("cube", "show", made / "cube.zarr")
    for name in NORMALS:
        entry = shown["variables"][name]
        assert (entry["missing"], entry["out_of_range"], entry["cadence"]) == (0.0, 0, "static")
    assert not [text for text in shown["warnings"] if "normal" in text]


def pixels_of(frame: pd.DataFrame, cube: Cube) -> tuple[Any, Any]:
    """Row and column of the pixel that each station stands in."""
    to_grid = Transformer.from_crs("EPSG:4326", cube.grid.crs, always_xy=True)
    x, y = to_grid.transform(frame["Longitude"].to_numpy(), frame["Latitude"].to_numpy())
    rows, cols = (np.floor(v).astype(int) for v in cube.grid.position(x, y))
    return rows, cols


def test_maps_have_the_estimates_of_the_station_path(made: Path) -> None:
    """Validation stations through their raw exports, and the pixel that they stand in."""
    ask = ("--bundle", made / "run/all/bundle", "--cube", made / "cube.zarr", "--out", made / "product.zarr")
    # A station takes the values of its cell; maps of the modern recipe are interpolated between cells.
    run("predict", *ask, "--coarse", "nearest", "--start", "2020-03-01", "--end", "2020-03-03")
    smooth = run(
        "predict", *ask, "--coarse", "bilinear", "--start", "2020-03-01", "--end", "2020-03-03", "--dry-run"
    )
    assert smooth["units"]["stale"] == 1
    build_table(made / "region", made / "there.parquet")
    frame, catalogue = read_table(made / "there.parquet")
    frame = frame[frame["Date"] >= 20200301].reset_index(drop=True)
    expected = load_bundle(made / "run/all/bundle").predict(from_table(frame, catalogue))
    product, cube = open_product(made / "product.zarr"), open_cube(made / "cube.zarr")
    rows, cols = pixels_of(frame, cube)
    normals = cube.sources["gridmet_normals"]
    compared = 0
    for i, (row, col) in enumerate(zip(rows, cols, strict=True)):
        cell = cell_lookup(cube.grid, Tile(row, col, 1, 1), normals.grid)
        for name in NORMALS:
            held = normals.variables[name].decode(normals.read(name, 0, 1, cell.rows, cell.cols)).item()
            assert held == pytest.approx(frame[name].iloc[i], rel=3e-7)
        day = from_yyyymmdd(frame["Date"].to_numpy()[i : i + 1])[0]
        mapped = product.packing["soil_moisture"].decode(product.read_day(day)["soil_moisture"])
        assert mapped[row, col] == pytest.approx(max(0.0, expected[i]), abs=1e-4)
        compared += 1
    assert compared >= 6


def test_an_imported_checkpoint_makes_the_maps_of_its_station_path(
    made: Path, shared: Path, tmp_path: Path
) -> None:
    folder = shared / "spec" / "published-example"
    scalers = ("--static", folder / "static_mean_std.npy", "--dynamic", folder / "dynamic_mean_std.npy")
    run(
        "bundle",
        "import",
        "--model",
        "mmnet",
        "--weights",
        folder / "model_best.pth",
        *scalers,
        "--out",
        tmp_path / "b",
    )
    place = made / "region"
    given = ("--raw", place / "raw", "--in-situ", place / "in_situ.csv", "--network", place / "network.gpkg")
    run("stations", "build", *given, "--out", tmp_path / "t.parquet")
    run(
        "stations",
        "predict",
        "--bundle",
        tmp_path / "b",
        "--table",
        tmp_path / "t.parquet",
        "--out",
        tmp_path / "y.csv",
    )
    ask = ("--bundle", tmp_path / "b", "--cube", made / "cube.zarr", "--out", tmp_path / "p.zarr")
    run("predict", *ask, "--start", "2020-03-01", "--end", "2020-03-03")
    frame, _ = read_table(tmp_path / "t.parquet")
    expected = pd.read_csv(tmp_path / "y.csv")["y_pred"][frame["Date"] >= 20200301].to_numpy()
    frame = frame[frame["Date"] >= 20200301].reset_index(drop=True)
    product, cube = open_product(tmp_path / "p.zarr"), open_cube(made / "cube.zarr")
    rows, cols = pixels_of(frame, cube)
    compared = 0
    for day, row, col, value in zip(frame["Date"], rows, cols, expected, strict=True):
        held = product.read_day(from_yyyymmdd(np.array([day]))[0])["soil_moisture"]
        mapped = product.packing["soil_moisture"].decode(held)[row, col]
        assert mapped == pytest.approx(np.clip(value, 0, 1), abs=1e-4)
        compared += 0 < value < 1
    assert compared >= 2


def test_exported_days_have_values(made: Path, tmp_path: Path) -> None:
    import rasterio

    ask = ("--bundle", made / "run/all/bundle", "--cube", made / "cube.zarr", "--out", tmp_path / "p.zarr")
    run("predict", *ask, "--start", "2020-03-02", "--end", "2020-03-02")
    run("export", "--product", tmp_path / "p.zarr", "--out", tmp_path / "maps")
    [path] = (tmp_path / "maps").rglob("soil_moisture_20200302.tif")
    with rasterio.open(path) as file:
        assert (file.read(1) != file.nodata).mean() > 0.5


def without_normals(made: Path, out: Path) -> None:
    """The cube as it would be without the key ``normals``."""
    shutil.copytree(made / "cube.zarr", out)
    shutil.rmtree(out / "gridmet_normals")


def test_a_cube_without_normals_is_refused_with_what_to_do(made: Path, tmp_path: Path) -> None:
    without_normals(made, tmp_path / "plain.zarr")
    ask = (
        "--bundle",
        made / "run/all/bundle",
        "--cube",
        tmp_path / "plain.zarr",
        "--out",
        tmp_path / "p.zarr",
    )
    message = (
        r"plain.zarr: no [\w, ]+_normal, which the bundle needs.*`normals: {until: YEAR}`.*static source"
    )
    with pytest.raises(InputError, match=message):
        run("predict", *ask, "--start", "2020-03-01", "--end", "2020-03-03")


def test_rasters_of_normals_serve_as_well(made: Path, tmp_path: Path) -> None:
    """A user's own normals as GeoTIFFs, here written from the cube, listed as a static source."""
    import rasterio
    from affine import Affine

    held = open_cube(made / "cube.zarr").sources["gridmet_normals"]
    (made / "own").mkdir()
    for name in NORMALS:
        values = held.read(name, 0, 1, slice(0, held.grid.height), slice(0, held.grid.width))[0]
        profile = {"driver": "GTiff", "count": 1, "dtype": "float32", "crs": held.grid.crs}
        size = {"height": held.grid.height, "width": held.grid.width}
        transform = Affine(*held.grid.transform)
        with rasterio.open(made / "own" / f"{name}.tif", "w", **profile, **size, transform=transform) as file:
            file.write(values, 1)
    own = {"path": "own", "pattern": r"{variable}\.tif", "variables": sorted(NORMALS)}
    settings = {"grid": cube_settings(CONFIG)["grid"], "sources": {"normals": own}}
    (made / "own.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    without_normals(made, tmp_path / "own.zarr")
    run("cube", "build", "--config", made / "own.yaml", "--out", tmp_path / "own.zarr")
    days = ("--start", "2020-03-01", "--end", "2020-03-01")
    maps = []
    for cube in (made / "cube.zarr", tmp_path / "own.zarr"):
        out = tmp_path / f"{cube.stem}-product.zarr"
        run("predict", "--bundle", made / "run/all/bundle", "--cube", cube, *days, "--out", out)
        product = open_product(out)
        maps.append(product.packing["soil_moisture"].decode(product.read_day(FIRST)["soil_moisture"]))
    np.testing.assert_array_equal(*maps)
    assert np.isfinite(maps[0]).mean() > 0.5
