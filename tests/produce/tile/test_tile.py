"""Maps of a tile against the station path: every pixel on its own, filled, made into features, predicted."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mmnet_maps.bench.made_up import knowing_rows, made_up_bundle, made_up_tile
from mmnet_maps.catalogue import Catalogue, published_catalogue
from mmnet_maps.grid import Tile
from mmnet_maps.learn.bundle import Bundle
from mmnet_maps.learn.model_input import ModelInput
from mmnet_maps.prepare.features import land_cover_class, window, write_features
from mmnet_maps.prepare.gap_fill import gap_fill
from mmnet_maps.produce.engine.arrays import DeviceArrays
from mmnet_maps.produce.engine.engine import Engine
from mmnet_maps.produce.engine.sizes import Sizes
from mmnet_maps.produce.tile import block
from mmnet_maps.produce.tile import series as tile_series
from mmnet_maps.produce.tile.inputs import TileInputs
from mmnet_maps.produce.tile.program import TileResult, predict_tile
from mmnet_maps.produce.tile.trust import DISSIMILARITY, FLAGS, MISSING, MISSING_REASONS

DAYS = np.arange(18_810, 18_822, dtype=np.int64)
#: NumPy's arrays, and tensors of the processor in the place of a device's, with blocks of another size.
ARRAYS = ["numpy", "tensors"]
SIZES = Sizes(block=4096, step=2048, windows=64, day_batch=512, window_batch=128)


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> None:
    torch.set_num_threads(1)


@lru_cache
def _bundle(kind: str) -> Bundle:
    return knowing_rows(made_up_bundle(kind, published_catalogue(), rows=1024), rows=1024)


@lru_cache
def _mapped(
    kind: str, arrays: str = "numpy", height: int = 50, width: int = 60
) -> tuple[Engine, TileInputs, TileResult]:
    tensors = {"xp": DeviceArrays(torch.device("cpu")), "sizes": SIZES} if arrays == "tensors" else {}
    engine = Engine(_bundle(kind), **tensors)  # type: ignore[arg-type]
    inputs = made_up_tile(engine.catalogue, height, width, DAYS, seed=5, clouds=0.4, missing=0.01)
    return engine, inputs, predict_tile(engine, inputs, DAYS, keep_prediction=True)


def _values(inputs: TileInputs, name: str, pixel: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    layer = inputs.layers[name]
    index = inputs.index[layer.source]
    cell = pixel if index is None else int(index[pixel])
    return layer.days, layer.packing.decode(layer.stored[:, cell : cell + 1])


def station_path(catalogue: Catalogue, inputs: TileInputs, pixel: int, days: NDArray[np.int64]) -> ModelInput:
    """Model input of one pixel, as for a station: nothing shared with the fast path but the formulas."""
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
    if "LC" in raw:
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
    assert result.prediction is not None and result.dissimilarity is not None
    some = 0
    for pixel in np.random.default_rng(0).choice(height * width, 60, replace=False):
        own = station_path(bundle.catalogue, inputs, int(pixel), DAYS)
        expected = bundle.predict(own)
        if not inputs.inside[pixel]:
            assert np.isnan(result.prediction[:, pixel]).all()
            continue
        np.testing.assert_allclose(result.prediction[:, pixel], expected, rtol=0, atol=1e-5)
        apart = np.where(np.isfinite(expected), np.minimum(bundle.dissimilarity(own), 32.767), np.nan)
        told = DISSIMILARITY.decode(result.dissimilarity[:, pixel])
        np.testing.assert_allclose(told, apart, rtol=0, atol=6e-4)
        some += np.isfinite(expected).sum()
    assert some > 200
    assert bundle.applicability is not None
    beyond = DISSIMILARITY.decode(result.dissimilarity) > bundle.applicability.threshold
    np.testing.assert_array_equal((result.quality & FLAGS["outside_applicability"]) != 0, beyond)
    assert 0 < beyond.mean() < 1


def _equal(one: TileResult, other: TileResult, columns: NDArray[np.int64] | slice = slice(None)) -> None:
    for name in ("soil_moisture", "lower", "upper", "dissimilarity", "quality", "prediction"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name)[:, columns], err_msg=name)


def _pick(inputs: TileInputs, pixels: NDArray[np.int64]) -> TileInputs:
    """The same places as a tile of their own, in another order."""
    index = {
        source: (pixels if cells is None else cells[pixels]).astype(np.int32)
        for source, cells in inputs.index.items()
    }
    return TileInputs(
        Tile(0, 0, 1, len(pixels)),
        inputs.inside[pixels],
        inputs.longitude[pixels],
        inputs.latitude[pixels],
        inputs.layers,
        index,
    )


@pytest.mark.parametrize("arrays", ARRAYS)
@pytest.mark.parametrize("kind", ["mmnet", "mlp"])
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 2500))
@settings(max_examples=6, deadline=None)
def test_a_pixel_has_the_same_bits_in_any_company(kind: str, arrays: str, seed: int, count: int) -> None:
    engine, inputs, whole = _mapped(kind, arrays)
    pixels = np.random.default_rng(seed).permutation(len(inputs.inside))[:count]
    alone = predict_tile(engine, _pick(inputs, pixels), DAYS, keep_prediction=True)
    _equal(alone, whole, pixels)


def test_transformer_pixels_have_the_same_bits_in_any_company() -> None:
    engine, inputs, whole = _mapped("transformer", "numpy", 12, 20)
    pixels = np.random.default_rng(1).permutation(240)[:77]
    _equal(predict_tile(engine, _pick(inputs, pixels), DAYS, keep_prediction=True), whole, pixels)


@pytest.mark.parametrize("arrays", ARRAYS)
@pytest.mark.parametrize("cut", [1, 5, 11])
def test_days_may_be_cut_anywhere(cut: int, arrays: str) -> None:
    engine, inputs, whole = _mapped("mmnet", arrays)
    parts = [predict_tile(engine, inputs, part, keep_prediction=True) for part in (DAYS[:cut], DAYS[cut:])]
    for name in ("soil_moisture", "lower", "upper", "quality", "prediction"):
        joined = np.concatenate([getattr(part, name) for part in parts])
        np.testing.assert_array_equal(joined, getattr(whole, name), err_msg=name)


@pytest.mark.parametrize("kind", ["mmnet", "mlp"])
@pytest.mark.parametrize("seed", range(4))
def test_every_missing_value_has_a_reason_and_every_value_an_interval(kind: str, seed: int) -> None:
    bundle = _bundle(kind)
    inputs = made_up_tile(bundle.catalogue, 30, 41, DAYS, seed=seed, clouds=0.2 + 0.2 * seed, missing=0.03)
    result = predict_tile(Engine(bundle), inputs, DAYS, keep_prediction=True)
    assert result.prediction is not None
    missing = result.soil_moisture == MISSING
    assert 0 < missing.mean() < 1
    np.testing.assert_array_equal(missing, (result.quality & MISSING_REASONS) != 0)
    np.testing.assert_array_equal(missing, np.isnan(result.prediction))
    for bound in (result.lower, result.upper):
        np.testing.assert_array_equal(bound == MISSING, missing)
    there = ~missing
    assert (result.lower[there] <= result.soil_moisture[there]).all()
    assert (result.soil_moisture[there] <= result.upper[there]).all()
    np.testing.assert_array_equal(
        (result.quality & FLAGS["not_computed"]) != 0, np.broadcast_to(~inputs.inside, missing.shape)
    )


def test_reasons_and_weaknesses_are_those_of_the_inputs() -> None:
    bundle = _bundle("mmnet")
    catalogue = bundle.catalogue
    inputs = made_up_tile(catalogue, 30, 41, DAYS, seed=9, clouds=0.6, missing=0.02)
    result = predict_tile(Engine(bundle), inputs, DAYS)
    assert bundle.envelope is not None
    checked = 0
    for pixel in np.flatnonzero(inputs.inside)[::17]:
        pixel = int(pixel)
        quality = result.quality[:, pixel]
        code = inputs.layers["LC"].stored[0, pixel]
        if code in (0, 11):
            assert (quality == FLAGS["land_cover_missing" if code == 0 else "water_or_ice"]).all()
            continue
        rows = station_path(catalogue, inputs, pixel, DAYS)
        names = {name: rows.snapshot[:, place] for place, name in enumerate(catalogue.snapshot)}
        smap = catalogue.snapshot.index("SMAP")
        age = {
            name: gap_fill(*_values(inputs, name, pixel), DAYS, "linear", catalogue[name].max_gap).age[:, 0]
            for name in ("NIR", "VV")
        }
        expected = {
            "snapshot_missing": np.isnan(np.delete(rows.snapshot, smap, 1)).any(1),
            "smap_missing": np.isnan(names["SMAP"]),
            "series_missing": np.isnan(rows.series).any(axis=(1, 2)),
            "urban": np.full(len(DAYS), code == 22),
            "outside_training_domain": bundle.envelope.outside(rows) > 0,
            "old_optical": age["NIR"] > 30,
            "old_radar": age["VV"] > 30,
            "snow_or_frozen": rows.series[:, 7, -1] < 273.15 / 0.02,
        }
        for name, wanted in expected.items():
            found = (quality & FLAGS[name]) != 0
            if name == "snow_or_frozen":
                assert (found | ~wanted).all()
            else:
                np.testing.assert_array_equal(found, wanted, err_msg=name)
        checked += 1
    assert checked > 40


def test_a_pixel_outside_a_source_says_which_is_missing() -> None:
    bundle = _bundle("mmnet")
    inputs = made_up_tile(bundle.catalogue, 8, 9, DAYS)
    for source, reason in (("smap", "smap_missing"), ("gridmet", "series_missing")):
        cells = inputs.index[source]
        assert cells is not None
        cut = replace(inputs, index={**inputs.index, source: np.where(np.arange(72) == 5, -1, cells)})
        result = predict_tile(Engine(bundle), cut, DAYS)
        assert (result.quality[:, 5] == FLAGS[reason]).all()
        assert (result.soil_moisture[:, 5] == MISSING).all()
        assert (result.soil_moisture[:, 6] != MISSING).any()


def test_land_cover_follows_its_year() -> None:
    bundle = _bundle("mmnet")
    new_year = int(np.datetime64("2020-01-01", "D").astype(np.int64))
    days = np.arange(new_year - 3, new_year + 3, dtype=np.int64)
    inputs = made_up_tile(bundle.catalogue, 6, 7, days)
    layer = inputs.layers["LC"]
    stored = np.repeat(layer.stored[:1], 2, axis=0)
    stored[0, 0], stored[1, 0] = 11, 81
    assert len(layer.days) == 2
    changed = replace(inputs, layers={**inputs.layers, "LC": replace(layer, stored=stored)})
    result = predict_tile(Engine(bundle), changed, days)
    np.testing.assert_array_equal(result.soil_moisture[:, 0] == MISSING, np.arange(6) < 3)


@pytest.mark.parametrize("arrays", ARRAYS)
def test_blocks_are_cut_where_memory_ends(arrays: str, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, inputs, whole = _mapped("mmnet", arrays)
    monkeypatch.setattr(tile_series, "_TABLE", 4 * 128 * len(DAYS) * 3)
    monkeypatch.setattr(block, "_DECODED", 300 * 6 * 27)
    _equal(predict_tile(engine, inputs, DAYS, keep_prediction=True), whole)


def test_a_smaller_catalogue_and_the_cyclic_encoding_map_too() -> None:
    catalogue = published_catalogue("cyclic").without(["VV", "VH", "LC", "SMAP", "srad"]).with_fill("past")
    bundle = made_up_bundle("mmnet", catalogue, rows=1024)
    inputs = made_up_tile(catalogue, 9, 11, DAYS, seed=2)
    result = predict_tile(Engine(bundle), inputs, DAYS, keep_prediction=True)
    assert result.prediction is not None
    for pixel in range(0, 99, 7):
        expected = bundle.predict(station_path(catalogue, inputs, pixel, DAYS))
        np.testing.assert_allclose(result.prediction[:, pixel], expected, rtol=0, atol=1e-5)


def test_one_impossible_reflectance_makes_all_bands_of_that_observation_missing() -> None:
    engine, inputs, _ = _mapped("mmnet")
    bands = [n for n in engine.catalogue.required if engine.catalogue[n].source == "hls"]
    red = inputs.layers["Red"]
    scene, chosen = len(red.days) // 2, slice(100, 400)
    too_bright, gone = dict(inputs.layers), dict(inputs.layers)
    for name in bands:
        layer = inputs.layers[name]
        stored = layer.stored.copy()
        stored[scene, chosen] = layer.packing.missing
        gone[name] = replace(layer, stored=stored)
    stored = red.stored.copy()
    stored[scene, chosen] = red.packing.encode(np.array([1.2]))[0]
    too_bright["Red"] = replace(red, stored=stored)
    screened = predict_tile(engine, replace(inputs, layers=too_bright), DAYS)
    expected = predict_tile(engine, replace(inputs, layers=gone), DAYS)
    np.testing.assert_array_equal(screened.soil_moisture, expected.soil_moisture)
    np.testing.assert_array_equal(screened.quality, expected.quality)


def test_rules_belong_to_variables_whatever_their_source_is_called() -> None:
    bundle = _bundle("mmnet")
    inputs = made_up_tile(bundle.catalogue, 20, 30, DAYS, seed=9, clouds=0.6, missing=0.02)
    red = inputs.layers["Red"]
    stored = red.stored.copy()
    stored[len(red.days) // 2, 100:400] = red.packing.encode(np.array([1.2]))[0]
    layers = {**inputs.layers, "Red": replace(red, stored=stored)}
    names = {source: f"{source}_v2" for source in inputs.index}
    renamed = replace(
        inputs,
        layers={k: replace(layer, source=names[layer.source]) for k, layer in layers.items()},
        index={names[source]: cells for source, cells in inputs.index.items()},
    )
    expected = predict_tile(Engine(bundle), replace(inputs, layers=layers), DAYS)
    found = predict_tile(Engine(bundle), renamed, DAYS)
    assert (found.quality & FLAGS["old_optical"]).any()
    np.testing.assert_array_equal(found.soil_moisture, expected.soil_moisture)
    np.testing.assert_array_equal(found.quality, expected.quality)


def test_days_with_a_hole_and_a_missing_layer_are_refused() -> None:
    engine, inputs, _ = _mapped("mmnet")
    with pytest.raises(ValueError, match="consecutive"):
        predict_tile(engine, inputs, DAYS[::2])
    lacking = replace(inputs, layers={k: v for k, v in inputs.layers.items() if k != "vpd"})
    with pytest.raises(ValueError, match="vpd"):
        predict_tile(engine, lacking, DAYS)
