"""The two paths against each other: a pixel through the station table and through the map.

Every validation station of a small simulated region (for the other models a few) is taken through its raw
exports, which hold the stored values of its pixel and cells, and through the cube at that pixel. Features
must be the same bits, the prediction the same to 1e-5.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from numpy.typing import NDArray
from pyproj import Transformer

from mmnet_maps.dates import from_yyyymmdd
from mmnet_maps.grid import Tile
from mmnet_maps.jobs.cubes import build_from_config
from mmnet_maps.learn.bundle import Bundle
from mmnet_maps.learn.model_input import columns_of_kind, fit_scaler, from_table
from mmnet_maps.learn.models.networks import build_network
from mmnet_maps.prepare.cube.config import CubeConfig
from mmnet_maps.prepare.cube.store import Cube, open_cube
from mmnet_maps.prepare.features import Scaler
from mmnet_maps.prepare.stations.settings import StationTableConfig
from mmnet_maps.prepare.stations.table import StationTable, build_station_table
from mmnet_maps.produce.engine.engine import Engine
from mmnet_maps.produce.tile.program import predict_tile
from mmnet_maps.produce.tile.reading import tile_inputs
from mmnet_maps.produce.units import Unit
from mmnet_maps.simulated import SimulationConfig, cube_settings, simulate_region
from mmnet_maps.sources.stations.in_situ import read_in_situ, read_network
from mmnet_maps.sources.stations.raw_exports import read_raw_folder

CONFIG = SimulationConfig.from_mapping(
    {
        "seed": 3,
        "region_pixels": 96,
        "first_day": "2020-05-20",
        "last_day": "2020-05-27",
        "history_days": 40,
        "spin_up_days": 30,
        "validation_stations": 12,
    }
)


@pytest.fixture(scope="module")
def region(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("parity")
    simulate_region(CONFIG, out)
    (out / "cube.yaml").write_text(yaml.safe_dump(cube_settings(CONFIG)))
    build_from_config(CubeConfig.load(out / "cube.yaml"), out, out / "cube.zarr")
    return out


def the_station_path(region: Path, encoding: str, fill: str) -> StationTable:
    in_situ = read_in_situ(region / "region/in_situ.csv")
    network = read_network(region / "region/network.gpkg", domain=False)
    if "Domain" not in network:
        network["Domain"] = "M"
    config = StationTableConfig(encoding=encoding, fill=fill)  # type: ignore[arg-type]
    return build_station_table(read_raw_folder(region / "region/raw"), in_situ, network, config)


def an_untrained_bundle(kind: str, table: StationTable) -> Bundle:
    inputs = from_table(table.frame, table.catalogue)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        network = build_network(kind, table.catalogue)
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm1d):
                module.running_mean.normal_(0, 0.3)
                module.running_var.uniform_(0.5, 2)
    network.eval().requires_grad_(False)
    return Bundle(kind, table.catalogue, fit_scaler(kind, inputs, table.catalogue), network)


class Recorder(Engine):
    """An engine that keeps the scaled features of every pixel and day that it predicts."""

    def __init__(self, bundle: Bundle) -> None:
        super().__init__(bundle)
        self.seen: list[NDArray[np.float32]] = []

    def predict(self, workspace: Any, table: Any, count: int | None = None) -> Any:
        self.seen.append(workspace.inputs[:, :count].T.copy())
        return super().predict(workspace, table, count)


def the_map_path(
    cube: Cube, engine: Recorder, row: int, col: int, first: int, count: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Scaled features (days, features) and prediction (days,) at one pixel, days without a value NaN."""
    unit = Unit(Tile(row, col, 1, 1), first, first + count)
    (inputs,) = tile_inputs(cube, engine.catalogue, unit)
    engine.seen.clear()
    result = predict_tile(engine, inputs, np.arange(first, first + count), keep_prediction=True)
    assert result.prediction is not None
    seen = np.concatenate(engine.seen) if engine.seen else np.empty((0, 0), np.float32)
    return seen, result.prediction[:, 0]


@pytest.mark.parametrize(
    ("kind", "encoding", "fill", "stations"),
    [
        ("mmnet", "published", "linear", 12),
        ("mmnet", "cyclic", "past", 4),
        ("mlp", "published", "linear", 4),
        ("transformer", "published", "linear", 2),
    ],
)
def test_a_station_and_its_pixel_agree(
    region: Path, kind: str, encoding: str, fill: str, stations: int
) -> None:
    table = the_station_path(region, encoding, fill)
    bundle = an_untrained_bundle(kind, table)
    from_stations = bundle.predict(from_table(table.frame, table.catalogue))
    cube, engine = open_cube(region / "cube.zarr"), Recorder(bundle)
    days = from_yyyymmdd(table.frame["Date"].to_numpy())
    first, count = int(days.min()), int(days.max() - days.min()) + 1
    compared = 0
    for station, rows in list(table.frame.groupby("ID").indices.items())[:stations]:
        place = table.frame.iloc[rows[0]]
        row, col = pixel_of(cube, float(place["Longitude"]), float(place["Latitude"]))
        features, predicted = the_map_path(cube, engine, row, col, first, count)
        expected = expected_features(table.frame.iloc[rows], engine, bundle.scaler)
        np.testing.assert_array_equal(features[days[rows] - first], expected, err_msg=str(station))
        np.testing.assert_allclose(predicted[days[rows] - first], from_stations[rows], rtol=0, atol=1e-5)
        compared += len(rows)
    assert compared >= 5 * min(stations, 8)


def pixel_of(cube: Cube, longitude: float, latitude: float) -> tuple[int, int]:
    x, y = Transformer.from_crs("EPSG:4326", cube.grid.crs, always_xy=True).transform(longitude, latitude)
    row, col = cube.grid.position(np.array(x), np.array(y))
    # A station stands at the centre of its pixel.
    assert abs(float(row) % 1 - 0.5) < 0.01
    assert abs(float(col) % 1 - 0.5) < 0.01
    return math.floor(row), math.floor(col)


def expected_features(frame: pd.DataFrame, engine: Engine, scaler: Scaler) -> NDArray[np.float32]:
    """The table's own columns, scaled by name in the order of the engine's rows."""
    columns = columns_of_kind(engine.bundle.kind, engine.catalogue)
    place = [columns.index(name) for name in engine.features]
    values = frame[list(engine.features)].to_numpy(dtype=np.float32)
    mean = scaler.snapshot_mean[place].astype(np.float32)
    std = scaler.snapshot_std[place].astype(np.float32)
    scaled: NDArray[np.float32] = (values - mean) / std
    return scaled
