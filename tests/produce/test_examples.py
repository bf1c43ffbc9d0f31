"""The examples in the docstrings of the front door, run in a folder that holds what they name."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mmnet_maps.catalogue import published_catalogue
from mmnet_maps.learn.bundle import load_bundle, save_bundle
from mmnet_maps.prepare.stations.files import model_columns, write_table

JOBS = ("settings", "cubes", "models", "maps", "products", "scores", "doctor")
MODULES = ("errors", *(f"jobs.{name}" for name in JOBS))


@pytest.fixture(scope="module")
def folder(make_world: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`cube.zarr`, `runs/all/all/bundle` and `table.parquet`."""
    folder = tmp_path_factory.mktemp("examples")
    world = make_world(crs="EPSG:32614", corner=(553_770.0, 4_028_520.0))
    world.cube(folder / "cube.zarr")
    save_bundle(load_bundle(world.bundle), folder / "runs/all/all/bundle")
    catalogue, rng = published_catalogue(), np.random.default_rng(1)
    columns = model_columns(catalogue)
    frame = pd.DataFrame(rng.normal(0.3, 0.1, (360, len(columns))).astype(np.float32), columns=list(columns))
    for k, name in enumerate(n for n in catalogue.snapshot if n.startswith("LC_")):
        frame[name] = (np.arange(360) % 8 == k).astype(np.float32)
    frame["ID"], frame["Network"] = np.repeat([f"SCAN_{k}" for k in range(6)], 60), "SCAN"
    frame["Date"] = np.tile(pd.date_range("2019-05-01", periods=60).strftime("%Y%m%d").astype(int), 6)
    frame["Year"], frame["VWC_5"] = 2019, rng.uniform(0.05, 0.4, 360)
    write_table(frame, folder / "table.parquet", catalogue)
    return folder


@pytest.mark.parametrize("name", ["", *MODULES])
def test_examples(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    module = importlib.import_module("mmnet_maps" + (f".{name}" if name else ""))
    found = doctest.testmod(module)
    assert found.attempted > 0 and found.failed == 0
