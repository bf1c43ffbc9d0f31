"""Each pipeline with its configuration, in a small setting: what a user runs, end to end."""

from __future__ import annotations

import json
import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pystac
import pytest
import rasterio

ROOT = Path(__file__).resolve().parents[1]
SMALL = (
    "simulation.region_pixels=160",
    "simulation.first_day=2020-06-01",
    "simulation.last_day=2020-06-10",
    "simulation.history_days=76",
    "simulation.spin_up_days=30",
    "simulation.station_pixels=32",
    "simulation.stations_per_climate=4",
    "simulation.landscapes_per_climate=1",
    "simulation.station_first_day=2019-01-01",
    "simulation.station_last_day=2019-09-30",
    "simulation.validation_stations=6",
    "training.epochs=3",
    "training.folds=2",
    "training.batch=128",
    "training.workers=1",
    "training.every=1",
    "workers=1",
)


@pytest.fixture(scope="module")
def run() -> Callable[..., None]:
    """Run a pipeline script as `python pipelines/NAME.py ARGUMENTS` would."""

    def call(name: str, *arguments: object) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", [name, *map(str, arguments)])
            runpy.run_path(str(ROOT / "pipelines" / f"{name}.py"), run_name="__main__")

    return call


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory, run: Callable[..., None]) -> Path:
    out = tmp_path_factory.mktemp("pipelines") / "demo"
    run(
        "simulated_region",
        "--config",
        ROOT / "configs/simulated_region.yaml",
        "--out",
        out,
        "--set",
        *SMALL,
    )
    return out


def test_the_simulated_region_ends_in_maps_scores_and_pictures(demo: Path) -> None:
    summary = json.loads((demo / "summary.json").read_text())
    assert summary["comparison"]["days"] == 10
    for name in ("MMNet", "SMAP"):
        assert 0 < summary["comparison"][name]["overall"]["rmse"] < 0.5
    assert all(Path(p).stat().st_size > 10_000 for p in summary["pictures"])
    assert "<html" in (demo / "report.html").read_text()
    items = list(pystac.Catalog.from_file(summary["catalog"]).get_items(recursive=True))
    assert len(items) == 10


def test_a_demo_of_other_settings_in_the_same_folder_is_refused(demo: Path, run: Callable[..., None]) -> None:
    from mmnet_maps.errors import InputError

    with pytest.raises(InputError, match="demo of other settings"):
        run("simulated_region", "--config", ROOT / "configs/simulated_region.yaml", "--out", demo)


def test_regional_maps_from_rasters_cover_the_box_alone(
    demo: Path, run: Callable[..., None], tmp_path: Path
) -> None:
    text = (ROOT / "configs/regional_daily_maps.yaml").read_text().replace("../out/demo", str(demo))
    with rasterio.open(demo / "data/rasters/terrain/elevation.tif") as file:
        left, bottom, right, top = file.bounds
        whole = file.shape
    box = [left + 900, bottom + 600, right - 600, top - 900]
    text = text.replace("[-98.46, 36.35, -98.34, 36.45], crs: EPSG:4326", f"{box}, crs: EPSG:32614")
    config = tmp_path / "regional.yaml"
    config.write_text(text)
    run("regional_daily_maps", "--config", config, "--out", tmp_path / "out", "--set", "workers=1")
    found = sorted((tmp_path / "out/maps").glob("soil_moisture_*.tif"))
    assert len(found) == 10
    with rasterio.open(found[0]) as part, rasterio.open(demo / "maps" / found[0].name) as all_of_it:
        assert part.shape == (whole[0] - 50, whole[1] - 50)
        same = all_of_it.read(1, window=all_of_it.window(*part.bounds))
        np.testing.assert_array_equal(part.read(1), same)


def test_models_go_through_the_same_experiments_side_by_side(
    demo: Path, run: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(
        "station_experiments",
        "--config",
        ROOT / "configs/station_experiments.yaml",
        "--table",
        demo / "table.parquet",
        "--out",
        tmp_path,
        "--set",
        "models=[mlp, ridge]",
        "experiments=[off-site, cross-region]",
        "training.epochs=2",
        "training.folds=2",
        "training.batch=128",
    )
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines[1:]] == [
        ["off-site", "mlp"],
        ["off-site", "ridge"],
        ["cross-region", "mlp"],
        ["cross-region", "ridge"],
    ]
    scores = json.loads((tmp_path / "cross-region-ridge/scores.json").read_text())
    assert set(scores["folds"]) == {"W", "M", "E"}


def test_a_cluster_with_object_storage_alone_gives_the_same_maps(
    demo: Path, run: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    from mmnet_maps.store.remote import store_at
    from tests.store.s3 import Server

    server = Server()
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    store_at.cache_clear()
    asked = ("--start", "2020-06-01", "--end", "2020-06-10", "--store", "s3://bucket/job")
    run("object_storage", "--config", demo / "cube.yaml", "--bundle", demo / "run/all/bundle", *asked)
    there = server.content("bucket/job/product.zarr/")
    names = {
        str(p.relative_to(demo / "product.zarr")) for p in (demo / "product.zarr").rglob("*") if p.is_file()
    }
    assert there.keys() == names
    for name in names:
        assert there[name] == (demo / "product.zarr" / name).read_bytes(), name
    assert len([key for key in server.keys("bucket/job/maps/soil_moisture_") if key.endswith(".tif")]) == 10
    server.stop()
    store_at.cache_clear()


def test_bench_times_the_job_beside_scripts_with_the_same_result(demo: Path) -> None:
    from mmnet_maps.bench.job import job_text, measure_job
    from mmnet_maps.errors import InputError

    found = measure_job(demo, rounds=1)
    parts = ("cube", "export", "validate", "extract")
    assert set(found) == {f"{p}_s" for p in (*parts, "report")} | {f"{p}_ratio" for p in parts}
    assert all(value > 0 for value in found.values())
    assert len(job_text(found).splitlines()) == 5 and "cube: " in job_text(found)
    with pytest.raises(InputError, match="expected the folder of a finished `mmnet-maps demo`"):
        measure_job(demo / "maps")
