"""Wrong input, as a user gives it: one line that says what to do, status 2, and nothing half-written."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import rasterio
import yaml
from rasterio.crs import CRS
from rasterio.transform import from_origin

from mmnet_maps import cli
from mmnet_maps.catalogue import Catalogue, published_catalogue
from mmnet_maps.prepare.stations.files import model_columns, write_table

Run = Callable[..., str]


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command that must end with status 2, and give its one line."""

    def call(*arguments: object) -> str:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", ["mmnet-maps", *map(str, arguments)])
            with pytest.raises(SystemExit) as stopped:
                cli.main()
        said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("mmnet-maps:")]
        assert stopped.value.code == 2
        assert len(said) == 1
        return said[0]

    return call


def a_table(
    path: Path, stations: int = 6, days: int = 60, catalogue: Catalogue | None = None
) -> pd.DataFrame:
    catalogue = catalogue or published_catalogue()
    rng = np.random.default_rng(1)
    rows = stations * days
    frame = pd.DataFrame(
        {name: rng.normal(0.3, 0.1, rows).astype(np.float32) for name in model_columns(catalogue)}
    )
    for k, name in enumerate(n for n in catalogue.snapshot if n.startswith("LC_")):
        frame[name] = (np.arange(rows) % 8 == k).astype(np.float32)
    station = np.repeat(np.arange(stations), days)
    dates = pd.date_range("2019-05-01", periods=days).strftime("%Y%m%d").astype(int)
    frame["ID"] = [f"SCAN_{k}" for k in station]
    frame["Network"] = "SCAN"
    frame["Domain"] = np.array(["W", "M", "E"])[station % 3]
    frame["Date"] = np.tile(dates.to_numpy(), stations)
    frame["Year"] = 2019
    frame["VWC_5"] = rng.uniform(0.05, 0.4, rows)
    write_table(frame, path, catalogue)
    return frame


def a_raster(path: Path, crs: str | None = "EPSG:32614", rows: int = 20) -> Path:
    profile = {
        "driver": "GTiff",
        "height": rows,
        "width": 20,
        "count": 1,
        "dtype": "float32",
        "nodata": -9999.0,
        "transform": from_origin(500_000, 4_000_000, 30, 30),
        "crs": None if crs is None else CRS.from_string(crs),
    }
    with rasterio.open(path, "w", **profile) as file:
        file.write(np.ones((1, rows, 20), dtype=np.float32))
    return path


def a_cube_config(folder: Path, sources: dict[str, object], **more: object) -> Path:
    settings = {
        "region": {"box": [500_000, 3_999_400, 500_600, 4_000_000], "crs": "EPSG:32614"},
        "grid": {"crs": "EPSG:32614", "resolution": 30},
        "sources": sources,
        **more,
    }
    path = folder / "cube.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


def test_a_missing_file(refused: Run, tmp_path: Path) -> None:
    said = refused("train", "--table", tmp_path / "no.parquet", "--out", tmp_path / "run")
    assert "no.parquet: no such station table" in said
    said = refused("cube", "build", "--config", tmp_path / "no.yaml", "--out", tmp_path / "cube")
    assert "no.yaml: no such configuration file" in said
    assert not list(tmp_path.iterdir())


def test_a_raster_without_a_crs_and_one_of_another_crs(refused: Run, tmp_path: Path) -> None:
    a_raster(tmp_path / "elevation.tif", crs=None)
    config = a_cube_config(tmp_path, {"terrain": {"path": "elevation.tif", "variables": ["elevation"]}})
    said = refused("cube", "build", "--config", config, "--out", tmp_path / "cube")
    assert "elevation.tif" in said
    assert "crs" in said.lower()
    a_raster(tmp_path / "elevation.tif")
    sources = {"terrain": {"path": "elevation.tif", "crs": "EPSG:32612", "variables": ["elevation"]}}
    said = refused("cube", "build", "--config", a_cube_config(tmp_path, sources), "--out", tmp_path / "cube")
    assert "32614" in said
    assert "32612" in said
    assert not (tmp_path / "cube").exists()


def test_a_box_with_swapped_axes_and_one_beside_the_source(refused: Run, tmp_path: Path) -> None:
    a_raster(tmp_path / "elevation.tif")
    sources: dict[str, object] = {"terrain": {"path": "elevation.tif", "variables": ["elevation"]}}
    swapped = {"box": [36.1, -99.0, 36.2, -98.9], "crs": "EPSG:4326"}
    config = a_cube_config(tmp_path, sources, region=swapped)
    said = refused("cube", "build", "--config", config, "--out", tmp_path / "cube")
    assert "36.1" in said or "region" in said
    assert not (tmp_path / "cube").exists()


def test_an_unknown_key_and_a_date_out_of_range(refused: Run, tmp_path: Path) -> None:
    a_raster(tmp_path / "elevation.tif")
    sources: dict[str, object] = {"terrain": {"path": "elevation.tif", "variables": ["elevation"]}}
    config = a_cube_config(tmp_path, sources, resolution=30)
    assert "unknown key resolution" in refused("cube", "build", "--config", config, "--out", tmp_path / "c")
    config = a_cube_config(tmp_path, sources, start="2300-01-01")
    assert "2300-01-01" in refused("cube", "build", "--config", config, "--out", tmp_path / "c")


def test_a_bundle_for_another_catalogue(refused: Run, tmp_path: Path) -> None:
    from mmnet_maps.bench.made_up import made_up_bundle
    from mmnet_maps.learn.bundle import save_bundle

    save_bundle(made_up_bundle("mlp", published_catalogue(), rows=256), tmp_path / "bundle")
    a_table(tmp_path / "table.parquet", catalogue=published_catalogue().without(["VV", "VH"]))
    said = refused(
        "stations", "predict", "--bundle", tmp_path / "bundle", "--table", tmp_path / "table.parquet",
        "--out", tmp_path / "predicted.csv",
    )  # fmt: skip
    assert "cr only in" in said
    assert not (tmp_path / "predicted.csv").exists()


def test_a_variable_missing_from_the_cube(refused: Run, tmp_path: Path) -> None:
    from mmnet_maps.bench.made_up import made_up_bundle
    from mmnet_maps.jobs.cubes import build_from_config
    from mmnet_maps.learn.bundle import save_bundle
    from mmnet_maps.prepare.cube.config import CubeConfig

    save_bundle(made_up_bundle("mmnet", published_catalogue(), rows=256), tmp_path / "bundle")
    a_raster(tmp_path / "elevation.tif")
    config = a_cube_config(tmp_path, {"terrain": {"path": "elevation.tif", "variables": ["elevation"]}})
    build_from_config(CubeConfig.load(config), tmp_path, tmp_path / "cube.zarr")
    said = refused(
        "predict", "--bundle", tmp_path / "bundle", "--cube", tmp_path / "cube.zarr", "--start", "2020-06-01",
        "--end", "2020-06-02", "--out", tmp_path / "product.zarr",
    )  # fmt: skip
    assert "LC" in said or "slope" in said
    assert "cube.zarr" in said
    assert not (tmp_path / "product.zarr").exists()


def test_an_empty_table_one_station_and_constant_columns(refused: Run, tmp_path: Path) -> None:
    table, out = tmp_path / "table.parquet", tmp_path / "run"
    frame = a_table(table)
    write_table(frame.iloc[:0], table, published_catalogue())
    assert "no rows" in refused("train", "--table", table, "--out", out)
    write_table(frame[frame["ID"] == "SCAN_0"], table, published_catalogue())
    said = refused("train", "--table", table, "--experiment", "off-site", "--out", out)
    assert "station" in said
    constant = frame.assign(**{c: np.float32(1) for c in frame if c == "eto" or c.startswith("eto_")})
    write_table(constant, table, published_catalogue())
    said = refused(
        "train", "--table", table, "--experiment", "off-site", "--set", "folds=2", "--set", "batch=16",
        "--out", out,
    )  # fmt: skip
    assert "eto is constant" in said
    assert not (out / "scores.json").exists()


def test_too_few_rows_for_a_batch_says_which_setting_to_change(refused: Run, tmp_path: Path) -> None:
    a_table(tmp_path / "table.parquet", stations=4, days=20)
    said = refused(
        "train", "--table", tmp_path / "table.parquet", "--set", "folds=2", "--out", tmp_path / "run"
    )
    assert "batch" in said


def test_days_in_the_wrong_order_and_days_that_are_none(refused: Run, tmp_path: Path) -> None:
    for start, end in (("2020-06-03", "2020-06-01"), ("2020-13-01", "2020-06-01"), ("yesterday", "today")):
        said = refused(
            "predict", "--bundle", tmp_path, "--cube", tmp_path, "--start", start, "--end", end, "--out",
            tmp_path / "product.zarr",
        )  # fmt: skip
        assert start in said
    assert not (tmp_path / "product.zarr").exists()


@pytest.mark.parametrize(
    ("option", "value", "limits"),
    [
        *[("--tile", n, "8 to 16,384") for n in (0, -1, 7, 10**9)],
        *[("--workers", n, "1 to 1,024") for n in (0, -3, 10**6)],
        *[("--block-days", n, "1 to 3,660") for n in (0, 10**9)],
    ],
)
def test_numbers_without_limits(refused: Run, tmp_path: Path, option: str, value: int, limits: str) -> None:
    said = refused(
        "predict", "--bundle", tmp_path, "--cube", tmp_path, "--start", "2020-06-01", "--end", "2020-06-02",
        "--out", tmp_path / "product.zarr", option, value,
    )  # fmt: skip
    assert f"{option} {value}: expected {limits}" in said


def test_rounds_members_and_metres_without_limits(refused: Run, tmp_path: Path) -> None:
    assert "--rounds 0: expected 1 to" in refused("bench", "--rounds", 0)
    said = refused("train", "--table", tmp_path / "t.parquet", "--set", f"members={10**9}", "--out", tmp_path)
    assert "members" in said and "1000" in said
    said = refused(
        "init", "--region", "1,1,2,2", "--start", "2020-06-01", "--end", "2020-06-02", "--door", "planetary",
        "--out", tmp_path / "cube.yaml", "--resolution", "inf",
    )  # fmt: skip
    assert "--resolution inf: expected 1 to 100,000" in said


_HERE = "expected a path of this machine; "
_READ_ONLY = "http://127.0.0.1:9/a: a web address is read only"


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("train --table t.parquet --out s3://b/run", f"s3://b/run: {_HERE}write to a folder here"),
        ("explain --bundle m --table t.parquet --out s3://b/e", f"s3://b/e: {_HERE}"),
        ("figures s3://b/run --out f", f"s3://b/run: {_HERE}download it first"),
        ("view maps --static s3://b/page", f"s3://b/page: {_HERE}"),
        ("cube build --config s3://b/c.yaml --out c.zarr", f"s3://b/c.yaml: {_HERE}"),
        ("stations build --raw s3://b/raw --in-situ i --network n --out t.csv", f"s3://b/raw: {_HERE}"),
        ("extract p.zarr --points p.csv --out http://127.0.0.1:9/a.csv", "a.csv: a web address is read only"),
        ("export --product p.zarr --out http://127.0.0.1:9/a", _READ_ONLY),
        ("climate p.zarr --out http://127.0.0.1:9/a", _READ_ONLY),
        ("report p.zarr --out http://127.0.0.1:9/a", _READ_ONLY),
        ("validate --product p --in-situ i --network n --out http://127.0.0.1:9/a", _READ_ONLY),
        ("evaluate t.csv --out http://127.0.0.1:9/a", _READ_ONLY),
        ("evaluate t.csv --seed -1", "--seed -1: expected 0 to"),
        ("explain --bundle m --table t.parquet --out e --samples 1000000000", "expected 2 to 100,000"),
        (
            "adjust --bundle m --in-situ i --network n --out o --cube c --reach nan",
            "--reach nan: expected 1 to",
        ),
        (
            "adjust --bundle m --in-situ i --network n --out o --cube c --reach inf",
            "--reach inf: expected 1 to",
        ),
        ("export --product p.zarr --out loop", "loop: is a symbolic link that leads back to itself"),
        ("extract p.zarr --points p.csv --out folder.csv", "--out folder.csv: is a folder"),
        (
            "init --region 1,1,2,2 --start 2020-06-01 --end 2020-06-02 --door files:loop --out c.yaml",
            "loop: is a symbolic link",
        ),
        (
            "init --region 1,1,2,2 --start 2020-06-01 --end 2020-06-02 --door files:file --out c.yaml",
            "door files:file: is a file, expected a folder",
        ),
    ],
)
def test_what_can_be_told_before_any_work(
    refused: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "file").write_text("")
    before = sorted(path.name for path in tmp_path.iterdir())
    assert says in refused(*command.split())
    assert sorted(path.name for path in tmp_path.iterdir()) == before
