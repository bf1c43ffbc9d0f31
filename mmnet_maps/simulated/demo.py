"""The whole job on a simulated region, step by step: what `mmnet-maps demo` and its pipeline run."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field

from mmnet_maps.config import Config
from mmnet_maps.errors import InputError, WorkError
from mmnet_maps.jobs.cubes import build_from_config
from mmnet_maps.jobs.summary import plain
from mmnet_maps.learn.experiments import ExperimentConfig, run_experiment
from mmnet_maps.learn.settings import ModernConfig
from mmnet_maps.learn.splits import Experiment
from mmnet_maps.prepare.cube.config import CubeConfig
from mmnet_maps.prepare.cube.store import open_cube
from mmnet_maps.prepare.stations.files import read_table, write_table
from mmnet_maps.prepare.stations.settings import StationTableConfig
from mmnet_maps.prepare.stations.table import build_station_table
from mmnet_maps.produce.export.days import export_product
from mmnet_maps.produce.judge.cell_edges import cell_edges, edges_table
from mmnet_maps.produce.judge.stations import validate_stations
from mmnet_maps.produce.judge.truth import CoarseField, TruthField, compare_with_truth, comparison_table
from mmnet_maps.produce.judge.variogram import variogram, variogram_table
from mmnet_maps.produce.product.store import open_product
from mmnet_maps.produce.run.predict import Request, predict_product
from mmnet_maps.progress import say
from mmnet_maps.show.maps import write_comparison_maps
from mmnet_maps.show.report import write_report
from mmnet_maps.simulated import (
    SimulationConfig,
    cube_settings,
    simulate_region,
    simulate_stations,
)
from mmnet_maps.sources.stations.in_situ import read_in_situ, read_network
from mmnet_maps.sources.stations.raw_exports import read_raw_folder
from mmnet_maps.store.location import local_path
from mmnet_maps.store.whole import write_whole

__all__ = ["DemoConfig", "demo_text", "run_demo"]


class DemoTraining(ExperimentConfig):
    """Settings of the training: the model for maps, by the recipe that learns most in a minute or two."""

    experiment: Experiment = "all"
    recipe: Literal["published", "modern"] = "modern"
    modern: ModernConfig = ModernConfig(
        epochs=12, stations=32, days=4, dropout=0.02, place_noise=0.3, learning_rate=5e-3, target="identity"
    )
    every: int = Field(6, ge=1)
    folds: int = Field(2, ge=2)
    workers: int = Field(2, ge=1)


class DemoConfig(Config):
    """Settings of the whole job.

    Attributes
    ----------
    simulation : SimulationConfig
        The stations, the mapped region and its days.
    table : StationTableConfig
        How the station table is built.
    training : DemoTraining
        How the model for the maps is trained.
    workers : int
        Processes that predict.
    """

    simulation: SimulationConfig = SimulationConfig()
    table: StationTableConfig = StationTableConfig()
    training: DemoTraining = DemoTraining()
    workers: int = Field(2, ge=1)


def run_demo(config: DemoConfig, out: Path) -> dict[str, Any]:
    """Simulate, train, map, export, and judge the maps by the known truth.

    Every step writes its result under `out` and reads the one before from there, as a user's commands would;
    a run that was stopped continues where it was.

    Parameters
    ----------
    config : DemoConfig
    out : Path
        Folder of the demo: ``data``, ``table.parquet``, ``run``, ``cube.yaml``, ``cube.zarr``,
        ``product.zarr``, ``maps`` (COGs with STAC), ``validation``, ``pictures``, ``report.html``.

    Returns
    -------
    dict
        ``comparison`` with the truth, ``cell_edges`` (squares in the maps, by source), ``variogram``,
        ``stations`` (held-out scores of the training and of the maps),
        ``seconds`` by step, and the paths.

    Raises
    ------
    InputError
        `out` holds a demo of other settings.
    WorkError
        Part of the prediction failed.
    """
    _claim(config, local_path(out, to_write=True))
    seconds: dict[str, float] = {}
    with _step("simulated region and stations", seconds):
        _simulate(config.simulation, out / "data")
    with _step("station table", seconds):
        _build_table(config.table, out)
    with _step("training", seconds):
        frame, catalogue = read_table(out / "table.parquet")
        trained = run_experiment(frame, catalogue, config.training, out / "run")
    with _step("cube", seconds):
        _build_cube(config.simulation, out)
    with _step("daily maps", seconds):
        _predict(config, out)
    product = open_product(out / "product.zarr")
    with _step("COGs and STAC", seconds):
        export_product(product, out / "maps", workers=config.workers)
    with _step("validation", seconds):
        in_situ = read_in_situ(out / "data/region/in_situ.csv")
        network = read_network(out / "data/region/network.gpkg", domain=False)
        stations = validate_stations(product, in_situ, network, out / "validation")
        truth = TruthField(out / "data/truth/soil_moisture.zarr", product.grid)
        smap = CoarseField(open_cube(out / "cube.zarr"), "SMAP")
        comparison = compare_with_truth(product, truth, smap)
        edges = cell_edges(product, open_cube(out / "cube.zarr"), product.finished_days().tolist(), truth)
        detail = variogram(product, truth, product.finished_days().tolist())
    with _step("pictures and report", seconds):
        days = product.days[:: max(1, len(product.days) // 3)].tolist()
        pictures = write_comparison_maps(product, truth, smap, days, out / "pictures")
        write_report(out / "product.zarr", out / "report.html", out / "validation", out / "cube.zarr")
    summary = {
        "comparison": comparison,
        "cell_edges": edges,
        "variogram": detail,
        "held_out_stations": trained["stations"],
        "map_stations": stations["stations"],
        "interval_coverage_at_map_stations": stations["interval_coverage"],
        "seconds": seconds,
        "pictures": [str(path) for path in pictures],
        "report": str(out / "report.html"),
        "catalog": str(out / "maps" / "catalog.json"),
    }
    write_whole(out / "summary.json", json.dumps(plain(summary), indent=2) + "\n")
    return summary


def demo_text(summary: dict[str, Any]) -> str:
    """The result for a reader: the tables, where the files are, and the time of each step."""
    spent = ", ".join(f"{name} {s:.0f} s" for name, s in summary["seconds"].items())
    return "\n".join(
        [
            comparison_table(summary["comparison"]),
            "",
            edges_table(summary["cell_edges"]),
            "",
            variogram_table(summary["variogram"]),
            "",
            "maps (COG + STAC): " + summary["catalog"],
            "report:            " + summary["report"],
            "pictures:          " + ", ".join(summary["pictures"]),
            f"time: {spent}",
        ]
    )


def _claim(config: DemoConfig, out: Path) -> None:
    """Remember the settings, so that a later run with others does not mix with what is there."""
    settings = out / "demo.yaml"
    if settings.is_file() and settings.read_text(encoding="utf-8") != config.to_yaml():
        raise InputError(f"{settings}: this folder holds a demo of other settings; choose another --out")
    out.mkdir(parents=True, exist_ok=True)
    write_whole(settings, config.to_yaml())


@contextmanager
def _step(name: str, seconds: dict[str, float]) -> Iterator[None]:
    say(f"== {name}")
    began = time.perf_counter()
    yield
    seconds[name] = round(time.perf_counter() - began, 1)


def _simulate(config: SimulationConfig, out: Path) -> None:
    # Both appear whole or not at all, so that what is there is finished.
    if not (out / "stations").is_dir():
        simulate_stations(config, out)
    if not (out / "rasters").is_dir():
        simulate_region(config, out)


def _build_table(config: StationTableConfig, out: Path) -> None:
    folder = out / "data" / "stations"
    tables = read_raw_folder(folder / "raw")
    truth, network = read_in_situ(folder / "in_situ.csv"), read_network(folder / "network.gpkg")
    table = build_station_table(tables, truth, network, config)
    write_table(table.frame, out / "table.parquet", table.catalogue)


def _build_cube(config: SimulationConfig, out: Path) -> None:
    settings = cube_settings(config, "data/rasters")
    write_whole(out / "cube.yaml", yaml.safe_dump(settings, sort_keys=False))
    build_from_config(CubeConfig.load(out / "cube.yaml"), out, out / "cube.zarr")


def _predict(config: DemoConfig, out: Path) -> None:
    days = config.simulation
    done = predict_product(
        Request(
            bundle=out / "run" / "all" / "bundle",
            cube=out / "cube.zarr",
            start=days.first_day.isoformat(),
            end=days.last_day.isoformat(),
            out=out / "product.zarr",
            workers=config.workers,
        )
    )
    if done.get("failed"):
        raise WorkError(f"{out / 'product.zarr'}: {len(done['failed'])} work units failed: {done['failed']}")
