"""How whole tiles are cut on a device, their order, bfloat16, and what only a GPU can show."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmnet_maps.bench.made_up import made_up_tile
from mmnet_maps.grid import Tile
from mmnet_maps.produce.engine.engine import Engine
from mmnet_maps.produce.engine.pixels import DensePass
from mmnet_maps.produce.engine.precision import Bfloat16Pass
from mmnet_maps.produce.tile import device_tile
from mmnet_maps.produce.tile import series as tile_series
from mmnet_maps.produce.tile.device_tile import predict_tiles
from mmnet_maps.produce.tile.inputs import TileInputs
from mmnet_maps.produce.tile.program import TileResult, predict_tile
from mmnet_maps.produce.tile.trust import FLAGS

sys.path.insert(0, str(Path(__file__).parent))

from device_cases import (
    DAYS,
    GPU,
    OTHER,
    STORED,
    bundle_of,
    engine_of,
    equal_maps,
    mapped,
)


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> None:
    torch.set_num_threads(1)


@lru_cache
def _whole(kind: str) -> tuple[Engine, TileInputs, TileResult]:
    engine = engine_of(bundle_of(kind), sizes=OTHER)
    inputs = made_up_tile(engine.catalogue, 40, 50, DAYS, seed=5, clouds=0.4, missing=0.01)
    return engine, inputs, mapped(engine, inputs)


@pytest.mark.parametrize("kind", ["mmnet", "mlp"])
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 2000))
@settings(max_examples=6, deadline=None)
def test_a_pixel_has_the_same_bits_in_any_company(kind: str, seed: int, count: int) -> None:
    engine, inputs, whole = _whole(kind)
    pixels = np.random.default_rng(seed).permutation(len(inputs.inside))[:count]
    index = {
        source: (pixels if cells is None else cells[pixels]).astype(np.int32)
        for source, cells in inputs.index.items()
    }
    places = (inputs.inside[pixels], inputs.longitude[pixels], inputs.latitude[pixels])
    alone = TileInputs(Tile(0, 0, 1, count), *places, inputs.layers, index)
    equal_maps(mapped(engine, alone), whole, pixels)


@pytest.mark.parametrize("cut", [1, 5, 11])
def test_days_may_be_cut_anywhere(cut: int) -> None:
    engine, inputs, whole = _whole("mmnet")
    parts = [mapped(engine, inputs, part) for part in (DAYS[:cut], DAYS[cut:])]
    for name in (*STORED, "prediction"):
        joined = np.concatenate([getattr(part, name) for part in parts])
        np.testing.assert_array_equal(joined, getattr(whole, name), err_msg=name)


@pytest.mark.parametrize("limit", ["observations", "series"])
def test_blocks_are_cut_where_memory_ends(limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, inputs, whole = _whole("mmnet")
    sizes: list[int] = []
    step = device_tile._Part.map_pixels

    def noted(self: Any, own: slice, *rest: Any) -> None:
        sizes.append(own.stop - own.start)
        step(self, own, *rest)

    monkeypatch.setattr(device_tile._Part, "map_pixels", noted)
    if limit == "observations":
        monkeypatch.setattr(device_tile, "_DECODED", 300 * 6 * 27)
    else:
        monkeypatch.setattr(tile_series, "_TABLE", 4 * 128 * len(DAYS) * 3)
    equal_maps(mapped(engine, inputs), whole)
    assert len(sizes) > 3
    assert max(sizes) < 1500


def test_tiles_come_back_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, first, whole = _whole("mmnet")
    second = made_up_tile(engine.catalogue, 9, 14, DAYS, seed=11, clouds=0.4, missing=0.3)
    expected = mapped(engine, second)
    read: list[int] = []

    def tiles() -> Iterator[TileInputs]:
        for number, inputs in enumerate((first, second, second, first)):
            read.append(number)
            yield inputs

    found = list(predict_tiles(engine, tiles(), DAYS, keep_prediction=True))
    assert [inputs for inputs, _ in found] == [first, second, second, first]
    for (_, result), wanted in zip(found, (whole, expected, expected, whole), strict=True):
        equal_maps(result, wanted)
    assert read == [0, 1, 2, 3]
    assert list(predict_tiles(engine, iter(()), DAYS)) == []


def test_days_with_a_hole_and_a_missing_layer_are_refused() -> None:
    engine, inputs, _ = _whole("mmnet")
    with pytest.raises(ValueError, match="consecutive"):
        mapped(engine, inputs, DAYS[::2])
    lacking = replace(inputs, layers={k: v for k, v in inputs.layers.items() if k != "vpd"})
    with pytest.raises(ValueError, match="vpd"):
        mapped(engine, lacking)


class _Swallowing:
    """A pixel pass that carries no NaN, as some devices' layers do not."""

    def __init__(self, own: Any) -> None:
        self.own, self.table_dtype, self.buffers = own, own.table_dtype, own.buffers

    def __call__(self, buffers: Any, table: torch.Tensor, count: int) -> torch.Tensor:
        clean = replace(buffers, inputs=buffers.inputs.nan_to_num(0.0))
        found: torch.Tensor = self.own(clean, table.nan_to_num(0.0), count)
        return found


def test_what_is_missing_stays_missing_where_layers_swallow_it() -> None:
    engine, inputs, whole = _whole("mmnet")
    assert np.isnan(whole.prediction).mean() > 0.05  # type: ignore[arg-type]
    other = engine_of(bundle_of("mmnet"), sizes=OTHER)
    other.pixels = _Swallowing(engine.pixels)  # type: ignore[assignment]
    equal_maps(mapped(other, inputs), whole)


def half_engine(kind: str) -> Engine:
    """On the processor, with the plain bfloat16 products of a device."""
    engine = engine_of(bundle_of(kind), sizes=OTHER)
    assert isinstance(engine.pixels, DensePass)
    engine.pixels = Bfloat16Pass(engine.pixels.layers, engine.pixels.entry, OTHER.step)
    return engine


def _error(found: TileResult, expected: TileResult) -> float:
    """Root mean square difference; both have the same gaps."""
    assert found.prediction is not None
    assert expected.prediction is not None
    np.testing.assert_array_equal(np.isnan(found.prediction), np.isnan(expected.prediction))
    return float(np.sqrt(np.nanmean((found.prediction - expected.prediction) ** 2)))


@pytest.mark.parametrize("kind", ["mmnet", "mlp"])
def test_maps_in_bfloat16_have_the_same_gaps_and_reasons(kind: str) -> None:
    inputs = made_up_tile(bundle_of(kind).catalogue, 25, 40, DAYS, 7, 0.4, 0.02)
    expected = predict_tile(Engine(bundle_of(kind)), inputs, DAYS, keep_prediction=True)
    found = mapped(half_engine(kind), inputs)
    assert 0 < _error(found, expected) < 0.005
    clipped = np.uint16(FLAGS["clipped"])
    np.testing.assert_array_equal(found.quality | clipped, expected.quality | clipped)


@GPU
@pytest.mark.parametrize("kind", ["mmnet", "mlp"])
def test_bfloat16_on_a_gpu_errs_no_more_than_on_the_processor(kind: str) -> None:
    if not torch.cuda.is_bf16_supported(including_emulation=False):
        pytest.skip("the GPU has no bfloat16 instructions")
    inputs = made_up_tile(bundle_of(kind).catalogue, 40, 50, DAYS, 7, 0.4, 0.02)
    expected = predict_tile(Engine(bundle_of(kind)), inputs, DAYS, keep_prediction=True)
    found = mapped(Engine(bundle_of(kind), "bfloat16", "cuda"), inputs)
    assert 0 < _error(found, expected) <= 1.5 * _error(mapped(half_engine(kind), inputs), expected)


@GPU
def test_a_gpu_never_waits_for_the_processor_within_a_tile(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = engine_of(bundle_of("mmnet"), "cuda")
    inputs = made_up_tile(engine.catalogue, 40, 50, DAYS, seed=5, clouds=0.4, missing=0.01)
    whole = mapped(engine, inputs)
    compute = device_tile._Work.compute

    def watched(self: Any, load: Any) -> Any:
        torch.cuda.set_sync_debug_mode("error")
        try:
            return compute(self, load)
        finally:
            torch.cuda.set_sync_debug_mode("default")

    monkeypatch.setattr(device_tile._Work, "compute", watched)
    for _, result in predict_tiles(engine, iter([inputs] * 4), DAYS, keep_prediction=True):
        equal_maps(result, whole)


@GPU
def test_a_gpu_does_not_round_to_tf32() -> None:
    engine = engine_of(bundle_of("mmnet"), "cuda")
    inputs = made_up_tile(engine.catalogue, 40, 50, DAYS, seed=5, clouds=0.4, missing=0.01)
    expected = mapped(engine, inputs)
    torch.set_float32_matmul_precision("high")
    try:
        equal_maps(mapped(engine, inputs), expected)
    finally:
        torch.set_float32_matmul_precision("highest")
