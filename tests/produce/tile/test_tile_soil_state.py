"""Soil-state channels on maps: the station path at a pixel, whatever the blocks of days and the tiles."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from mmnet_maps.bench.made_up import made_up_tile
from mmnet_maps.catalogue import Catalogue, published_catalogue
from mmnet_maps.learn.bundle import Bundle
from mmnet_maps.learn.intervals import Envelope
from mmnet_maps.learn.model_input import ModelInput, fit_scaler
from mmnet_maps.learn.models.networks import build_network
from mmnet_maps.packing import Packing
from mmnet_maps.prepare.features import window, write_features
from mmnet_maps.prepare.gap_fill import gap_fill
from mmnet_maps.prepare.soil_state import derive_series
from mmnet_maps.produce.engine.engine import Engine
from mmnet_maps.produce.tile.inputs import TileInputs
from mmnet_maps.produce.tile.program import predict_tile, predict_tiles
from mmnet_maps.produce.tile.series import Encoder, series_parts

#: A tile made for these days holds a hundred days more before them: enough for the last twelve.
MADE = np.arange(18_600, 18_822, dtype=np.int64)
DAYS = MADE[-12:]
PIXELS = 24 * 40


def _catalogue() -> Catalogue:
    """Three features of the place and date; weather with temperatures, so that there is snow."""
    published = published_catalogue()
    eto = published["eto"]
    cold = {"kind": "series", "unit": "degC", "valid_range": (-30.0, 30.0)}
    for name in ("tmax", "tmin"):
        published = published.adding(eto.model_copy(update={"name": name, **cold}))
    calm = {"pr": (0.0, 4.0), "eto": (0.0, 6.0)}  # made-up rain falls every day
    variables = tuple(
        v.model_copy(update={"valid_range": calm.get(v.name, v.valid_range)}) for v in published.variables
    )
    few = published.model_copy(
        update={
            "variables": variables,
            "snapshot": ("DoY_normalized", "Latitude", "elevation"),
            "series": ("pr", "eto", "vpd", "LST"),
        }
    )
    return few.with_soil_state()


CATALOGUE = _catalogue()


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> None:
    torch.set_num_threads(1)


@lru_cache
def _tile() -> TileInputs:
    """A made-up tile, whose temperatures are set here: its weather is stored without a sign."""
    made = made_up_tile(CATALOGUE, 24, 40, MADE, seed=8, clouds=0.4)
    rng, packing = np.random.default_rng(9), Packing(dtype="int16", scale=0.01, missing=-32768)
    frost = {}
    for name, lowest in (("tmin", -1200), ("tmax", -200)):
        layer = made.layers[name]
        stored = rng.integers(lowest, lowest + 1000, layer.stored.shape).astype(np.int16)
        frost[name] = replace(layer, stored=stored, packing=packing)
    return replace(made, layers={**made.layers, **frost})


def _decoded(inputs: TileInputs, name: str, pixel: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    layer = inputs.layers[name]
    index = inputs.index[layer.source]
    cell = pixel if index is None else int(index[pixel])
    return layer.days, layer.packing.decode(layer.stored[:, cell : cell + 1])


def station_path(inputs: TileInputs, pixel: int, days: NDArray[np.int64]) -> ModelInput:
    """Model input of one pixel as for a station: its own weather of the half year before, day by day."""
    count = len(days)
    dates = days.astype("datetime64[D]")
    raw = {
        "DoY": ((dates - dates.astype("datetime64[Y]")).astype(np.int64) + 1).astype(np.float32),
        "Latitude": np.full(count, inputs.latitude[pixel], dtype=np.float32),
        "elevation": np.repeat(_decoded(inputs, "elevation", pixel)[1][0], count),
    }
    snapshot = np.empty((3, count), dtype=np.float32)
    write_features(CATALOGUE.snapshot, raw, snapshot)
    calendar = np.arange(days[0] - CATALOGUE.history_days, days[-1] + 1)
    weather = {}
    for name in CATALOGUE.series_inputs:
        variable = CATALOGUE[name]
        filled = gap_fill(*_decoded(inputs, name, pixel), calendar, variable.fill, variable.max_gap)
        weather[name] = filled.values
    series = derive_series(CATALOGUE, weather)
    back, lags = CATALOGUE.window_days, CATALOGUE.lags
    cut = [window(series[name][:, 0], back, lags, count) for name in CATALOGUE.series]
    return ModelInput(snapshot.T.copy(), np.stack(cut, axis=1))


@lru_cache
def _bundle() -> Bundle:
    parts = [station_path(_tile(), pixel, DAYS) for pixel in range(0, PIXELS, 37)]
    inputs = ModelInput(*(np.concatenate([getattr(p, n) for p in parts]) for n in ("snapshot", "series")))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(6)
        network = build_network("mmnet", CATALOGUE).eval().requires_grad_(False)
    whole = inputs.rows(inputs.complete)
    return Bundle(
        "mmnet", CATALOGUE, fit_scaler("mmnet", whole, CATALOGUE), network, envelope=Envelope.fit(whole)
    )


def test_the_map_at_a_pixel_is_the_station_path_there() -> None:
    bundle, inputs = _bundle(), _tile()
    assert {"swe", "bucket50", "balance90", "t_mean30"} <= set(CATALOGUE.series)
    result = predict_tile(Engine(bundle), inputs, DAYS, keep_prediction=True)
    assert result.prediction is not None
    for pixel in range(0, PIXELS, 61):
        expected = bundle.predict(station_path(inputs, pixel, DAYS))
        assert np.isfinite(expected).all()
        np.testing.assert_allclose(result.prediction[:, pixel], expected, rtol=1e-5, atol=1e-5)
    assert result.prediction.std() > 1e-3


def test_channels_on_the_coarse_cells_are_the_bits_of_the_station_path() -> None:
    seen: list[NDArray[np.float32]] = []

    class Recorder(Engine):
        def series_table(self, values: NDArray[np.float32], count: int) -> torch.Tensor:
            seen.append(values)
            return super().series_table(values, count)

    inputs = _tile()
    pixels = np.arange(PIXELS)
    (part,) = series_parts(Encoder(Recorder(_bundle())), inputs, pixels, DAYS)
    for pixel in (0, 333, 959):
        expected = station_path(inputs, pixel, DAYS).series
        found = window(seen[0][:, part.rows[pixel]], CATALOGUE.window_days, CATALOGUE.lags, len(DAYS))
        np.testing.assert_array_equal(found.transpose(0, 2, 1), expected)


def test_series_that_tiles_share_are_encoded_once_and_give_the_same_bits() -> None:
    encoded: list[int] = []

    class Recorder(Engine):
        def series_table(self, values: NDArray[np.float32], count: int) -> torch.Tensor:
            encoded.append(values.shape[1])
            return super().series_table(values, count)

    left, right = _tile(), _tile()
    alone = predict_tile(Engine(_bundle()), right, DAYS, keep_prediction=True)
    (_, first), (_, second) = predict_tiles(Recorder(_bundle()), iter([left, right]), DAYS, True)
    assert len(encoded) == 1
    for result in (first, second):
        np.testing.assert_array_equal(result.prediction, alone.prediction)


@pytest.mark.parametrize("cut", [1, 5])
def test_blocks_of_days_of_any_length_give_the_same_bits(cut: int) -> None:
    engine, inputs = Engine(_bundle()), _tile()
    whole = predict_tile(engine, inputs, DAYS, keep_prediction=True)
    for name in ("soil_moisture", "quality", "prediction"):
        parts = [
            getattr(predict_tile(engine, inputs, DAYS[i : i + cut], keep_prediction=True), name)
            for i in range(0, len(DAYS), cut)
        ]
        np.testing.assert_array_equal(np.concatenate(parts), getattr(whole, name))
