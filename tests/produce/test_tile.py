"""Maps of a tile against the station path: every pixel on its own, filled, turned into features and predicted."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from mmnet_maps.catalogue import Catalogue, published_catalogue
from mmnet_maps.learn.bundle import Bundle
from mmnet_maps.learn.model_input import ModelInput
from mmnet_maps.prepare.features import land_cover_class, window, write_features
from mmnet_maps.prepare.gap_fill import gap_fill
from mmnet_maps.produce.engine import Engine
from mmnet_maps.produce.made_up import made_up_bundle, made_up_tile
from mmnet_maps.produce.tile import TileResult, predict_tile
from mmnet_maps.produce.tile_inputs import TileInputs

DAYS = np.arange(18_810, 18_822, dtype=np.int64)


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> None:
    torch.set_num_threads(1)


@lru_cache
def _bundle(kind: str) -> Bundle:
    return made_up_bundle(kind, published_catalogue(), rows=1024)


def _values(inputs: TileInputs, name: str, pixel: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    layer = inputs.layers[name]
    index = inputs.index[layer.source]
    cell = pixel if index is None else int(index[pixel])
    return layer.days, layer.packing.decode(layer.stored[:, cell : cell + 1])


def station_path(catalogue: Catalogue, inputs: TileInputs, pixel: int, days: NDArray[np.int64]) -> ModelInput:
    """Model input of one pixel, built as for a station: nothing shared with the fast path but the formulas."""
    raw: dict[str, NDArray[np.float32]] = {
        "Latitude": np.full(len(days), inputs.latitude[pixel], dtype=np.float32),
        "Longitude": np.full(len(days), inputs.longitude[pixel], dtype=np.float32),
    }
    for name in catalogue.snapshot_inputs:
        if name in raw:
            continue
        observed, values = _values(inputs, name, pixel)
        variable = catalogue[name]
        if variable.kind == "constant":
            raw[name] = np.repeat(values[0], len(days))
        else:
            raw[name] = gap_fill(observed, values, days, variable.fill, variable.max_gap).values[:, 0]
    raw["LC"] = land_cover_class(raw["LC"]).astype(np.float32)
    dates = days.astype("datetime64[D]")
    raw["DoY"] = ((dates - dates.astype("datetime64[Y]")).astype(np.int64) + 1).astype(np.float32)
    snapshot = np.empty((len(catalogue.snapshot), len(days)), dtype=np.float32)
    write_features(catalogue.snapshot, raw, snapshot)
    calendar = np.arange(days[0] - catalogue.window_days, days[-1] + 1)
    series = []
    for name in catalogue.series:
        variable = catalogue[name]
        filled = gap_fill(*_values(inputs, name, pixel), calendar, variable.fill, variable.max_gap)
        series.append(window(filled.values[:, 0], catalogue.window_days, catalogue.lags, len(days)))
    return ModelInput(snapshot.T.copy(), np.stack(series, axis=1))


@pytest.mark.parametrize("kind", ["mmnet", "mlp", "transformer"])
def test_the_map_at_a_pixel_is_the_station_path_there(kind: str) -> None:
    bundle = _bundle(kind)
    height, width = (37, 70) if kind != "transformer" else (20, 30)
    inputs = made_up_tile(bundle.catalogue, height, width, DAYS, seed=4, clouds=0.5, missing=0.02)
    result = predict_tile(Engine(bundle), inputs, DAYS, keep_prediction=True)
    assert result.prediction is not None
    some = 0
    for pixel in np.random.default_rng(0).choice(height * width, 60, replace=False):
        expected = bundle.predict(station_path(bundle.catalogue, inputs, int(pixel), DAYS))
        if not inputs.inside[pixel]:
            assert np.isnan(result.prediction[:, pixel]).all()
            continue
        np.testing.assert_allclose(result.prediction[:, pixel], expected, rtol=0, atol=1e-5)
        some += np.isfinite(expected).sum()
    assert some > 200
