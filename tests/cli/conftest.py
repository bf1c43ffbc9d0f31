"""A first map of a simulated region, shared by the tests of all doors."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from commands import BOX, DAYS, maps_of, run

from mmnet_maps.bench.made_up import made_up_bundle
from mmnet_maps.catalogue import published_catalogue
from mmnet_maps.learn.bundle import save_bundle


@pytest.fixture(scope="session")
def first_map(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a first map: everything but the bundle comes from four commands."""
    folder = tmp_path_factory.mktemp("first")
    catalogue = published_catalogue().with_collections({"SMAP": "NASA/SMAP/SPL4SMGP/008"})
    save_bundle(made_up_bundle("mmnet", catalogue), folder / "bundle")
    days = ("--start", DAYS[0], "--end", DAYS[1])
    run("init", f"--region={BOX}", *days, "--door", "simulated", "--out", folder / "cube.yaml")
    run("cube", "build", "--config", folder / "cube.yaml", "--out", folder / "cube.zarr")
    maps_of(folder, folder / "bundle")
    return folder
