"""Whole tiles against the NumPy path: on the processor as a device, and on a GPU where there is one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mmnet_maps.catalogue import published_catalogue
from mmnet_maps.grid import Tile
from mmnet_maps.learn.bundle import Bundle, load_bundle
from mmnet_maps.packing import Packing
from mmnet_maps.prepare.cube import open_cube
from mmnet_maps.produce import device_tile, tile_series
from mmnet_maps.produce.device_tile import predict_tiles
from mmnet_maps.produce.engine import Engine
from mmnet_maps.produce.engine_pixels import DensePass
from mmnet_maps.produce.half_pass import HalfPass
from mmnet_maps.produce.made_up import made_up_bundle, made_up_tile
from mmnet_maps.produce.sizes import Sizes
from mmnet_maps.produce.tile import TileResult, predict_tile
from mmnet_maps.produce.tile_inputs import TileInputs
from mmnet_maps.produce.trust import FLAGS, MISSING
from mmnet_maps.produce.units import Unit
from mmnet_maps.produce.work import compute_unit

DAYS = np.arange(18_810, 18_822, dtype=np.int64)
#: A day in the middle of those that `make_world` holds.
FIRST = 18_322
STORED = ("soil_moisture", "lower", "upper", "quality")
#: Products as a device has them: other shapes than those of the NumPy path, and few to a tile.
OTHER = Sizes(block=8192, step=2048, windows=64, day_batch=512, window_batch=128)
GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU")
DEVICES = ["cpu", pytest.param("cuda", marks=GPU)]


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> None:
    torch.set_num_threads(1)


@lru_cache
def _bundle(kind: str) -> Bundle:
    return made_up_bundle(kind, published_catalogue(), rows=1024)


def _ensemble(kind: str, target: str) -> Bundle:
    """Three networks, whose outputs are square roots of soil moisture if `target` says so."""
    others = [made_up_bundle(kind, published_catalogue(), seed=seed, rows=1024) for seed in (1, 2)]
    networks = tuple(other.network for other in others)
    return replace(_bundle(kind), others=networks, target=target)


def _engine(bundle: Bundle, device: str = "cpu", sizes: Sizes | None = None) -> Engine:
    engine = Engine(bundle, device=device, sizes=sizes if device == "cpu" else None)
    engine.whole_tiles = True
    return engine


def _mapped(engine: Engine, inputs: TileInputs, days: NDArray[np.int64] = DAYS) -> TileResult:
    ((_, result),) = predict_tiles(engine, iter([inputs]), days, keep_prediction=True)
    return result


def _same_maps(found: TileResult, expected: TileResult, atol: float = 2e-6) -> None:
    """Estimates alike, stored values at most one step apart, bits and intervals the same."""
    assert found.prediction is not None
    assert expected.prediction is not None
    np.testing.assert_array_equal(np.isnan(found.prediction), np.isnan(expected.prediction))
    np.testing.assert_allclose(found.prediction, expected.prediction, rtol=0, atol=atol)
    apart = found.soil_moisture.astype(int) - expected.soil_moisture
    assert np.abs(apart).max() <= 1
    # An estimate at the very end of the range may be clipped by one path and not by the other.
    near = np.isclose(expected.prediction, 0, atol=atol) | np.isclose(expected.prediction, 1, atol=atol)
    allowed = np.where(near, np.uint16(FLAGS["clipped"]), np.uint16(0))
    np.testing.assert_array_equal(found.quality | allowed, expected.quality | allowed)
    alike = apart == 0
    for name in STORED[1:3]:
        np.testing.assert_array_equal(getattr(found, name)[alike], getattr(expected, name)[alike])
    for name in STORED:
        assert getattr(found, name).dtype == getattr(expected, name).dtype


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    ("kind", "height", "width", "clouds", "missing"),
    [
        ("mmnet", 50, 60, 0.4, 0.01),
        ("mmnet", 1, 1, 0.0, 0.0),
        ("mmnet", 37, 131, 0.7, 0.03),
        ("mlp", 50, 60, 0.4, 0.01),
        ("mlp", 97, 53, 0.6, 0.03),
        ("transformer", 20, 30, 0.5, 0.02),
    ],
)
def test_a_tile_is_the_tile_of_the_numpy_path(
    kind: str, height: int, width: int, clouds: float, missing: float, device: str
) -> None:
    inputs = made_up_tile(_bundle(kind).catalogue, height, width, DAYS, 5, clouds, missing)
    expected = predict_tile(Engine(_bundle(kind)), inputs, DAYS, keep_prediction=True)
    found = _mapped(_engine(_bundle(kind), device), inputs)
    _same_maps(found, expected, 2e-6 if device == "cpu" else 1e-4)
    assert (expected.soil_moisture != MISSING).any()


@pytest.mark.parametrize("kind", ["mmnet", "mlp", "transformer"])
def test_products_of_other_shapes_change_nothing_but_rounding(kind: str) -> None:
    inputs = made_up_tile(_bundle(kind).catalogue, 25, 40, DAYS, 7, 0.5, 0.05)
    expected = predict_tile(Engine(_bundle(kind)), inputs, DAYS, keep_prediction=True)
    _same_maps(_mapped(_engine(_bundle(kind), sizes=OTHER), inputs), expected)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("kind", "target"), [("mmnet", "sqrt"), ("mlp", "identity")])
def test_several_networks_and_square_roots(kind: str, target: str, device: str) -> None:
    bundle = _ensemble(kind, target)
    inputs = made_up_tile(bundle.catalogue, 22, 31, DAYS, 3, 0.5, 0.05)
    expected = predict_tile(Engine(bundle), inputs, DAYS, keep_prediction=True)
    _same_maps(_mapped(_engine(bundle, device), inputs), expected, 2e-6 if device == "cpu" else 1e-4)


def test_cyclic_encoding_fewer_variables_and_filling_from_the_past() -> None:
    catalogue = published_catalogue("cyclic").without(["VV", "VH", "LC", "SMAP", "srad"]).with_fill("past")
    bundle = made_up_bundle("mmnet", catalogue, rows=1024)
    inputs = made_up_tile(catalogue, 19, 23, DAYS, 2, 0.7)
    expected = predict_tile(Engine(bundle), inputs, DAYS, keep_prediction=True)
    _same_maps(_mapped(_engine(bundle), inputs), expected)


def _changed(inputs: TileInputs, **layers: Any) -> TileInputs:
    new = {name: replace(inputs.layers[name], **parts) for name, parts in layers.items()}
    return replace(inputs, layers={**inputs.layers, **new})


def _without_scenes(inputs: TileInputs, names: list[str]) -> TileInputs:
    """No observation at all of some variables."""
    none = np.empty(0, dtype=np.int64)
    return _changed(inputs, **{n: {"days": none, "stored": inputs.layers[n].stored[:0]} for n in names})


def _broken(inputs: TileInputs, how: str) -> TileInputs:
    layers, count = inputs.layers, len(inputs.inside)
    rng = np.random.default_rng(4)
    if how == "no radar at all":
        return _without_scenes(inputs, ["VV", "VH"])
    if how == "no SMAP at all":
        return _without_scenes(inputs, ["SMAP"])
    if how == "one scene":
        bands = ["Blue", "Green", "Red", "NIR", "SWIR1", "SWIR2"]
        one = slice(15, 16)
        return _changed(
            inputs, **{n: {"days": layers[n].days[one], "stored": layers[n].stored[one]} for n in bands}
        )
    if how == "impossible reflectance":
        stored = layers["Red"].stored.copy()
        stored[rng.random(stored.shape) < 0.2] = 12_000
        return _changed(inputs, Red={"stored": stored})
    if how == "bands with gaps of their own":
        parts = {}
        for name in ("Green", "NIR", "VH"):
            stored = layers[name].stored.copy()
            stored[rng.random(stored.shape) < 0.4] = layers[name].packing.missing
            parts[name] = {"stored": stored}
        return _changed(inputs, **parts)
    if how == "zero denominators":
        zero = np.zeros_like(layers["NIR"].stored)
        return _changed(inputs, NIR={"stored": zero}, Red={"stored": zero})
    if how == "infinite soil":
        stored = layers["clay"].stored.copy()
        stored[:, ::7] = np.inf
        return _changed(inputs, clay={"stored": stored})
    if how == "a day of weather is missing":
        stored = layers["pr"].stored.copy()
        stored[len(stored) // 2] = layers["pr"].packing.missing
        return _changed(inputs, pr={"stored": stored})
    if how == "snow":
        green, swir, nir = (np.full_like(layers["NIR"].stored, v) for v in (7000, 1500, 6000))
        return _changed(inputs, Green={"stored": green}, SWIR1={"stored": swir}, NIR={"stored": nir})
    if how == "all water":
        return _changed(inputs, LC={"stored": np.full_like(layers["LC"].stored, 11)})
    if how == "outside the region":
        return replace(inputs, inside=np.zeros(count, dtype=np.bool_))
    assert how == "outside of sources"
    index = {
        name: None if cells is None else np.where(rng.random(count) < 0.1, np.int32(-1), cells)
        for name, cells in inputs.index.items()
    }
    return replace(inputs, index=index)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    "how",
    [
        "no radar at all",
        "no SMAP at all",
        "one scene",
        "impossible reflectance",
        "bands with gaps of their own",
        "zero denominators",
        "infinite soil",
        "a day of weather is missing",
        "snow",
        "all water",
        "outside the region",
        "outside of sources",
    ],
)
def test_what_is_missing_is_missing_for_the_same_reason(how: str, device: str) -> None:
    bundle = _bundle("mmnet")
    inputs = _broken(made_up_tile(bundle.catalogue, 23, 29, DAYS, 6, 0.4, 0.02), how)
    expected = predict_tile(Engine(bundle), inputs, DAYS, keep_prediction=True)
    whole = made_up_tile(bundle.catalogue, 23, 29, DAYS, 6, 0.4, 0.02)
    assert (predict_tile(Engine(bundle), whole, DAYS).quality != expected.quality).any()
    _same_maps(_mapped(_engine(bundle, device), inputs), expected, 2e-6 if device == "cpu" else 1e-4)


_TYPES = {
    "int8": Packing(dtype="int8", scale=0.25, missing=-128),
    "uint8": Packing(dtype="uint8", scale=0.2, missing=255),
    "uint16": Packing(dtype="uint16", scale=1e-3, offset=0.01, missing=65_535),
    "int32": Packing(dtype="int32", scale=1e-6, missing=-1),
    "int64": Packing(dtype="int64", scale=1e-6, missing=-1),
    "float32": Packing(dtype="float32", missing=-9999),
    "float64": Packing(dtype="float64"),
}


@pytest.mark.parametrize("stored_as", _TYPES)
def test_every_type_of_storage_gives_the_same_values(stored_as: str) -> None:
    bundle, packing = _bundle("mmnet"), _TYPES[stored_as]
    inputs = made_up_tile(bundle.catalogue, 12, 17, DAYS, 1, 0.3, 0.02)
    parts = {}
    for name in ("NIR", "Red", "SMAP", "clay", "pr"):
        layer = inputs.layers[name]
        parts[name] = {"stored": packing.encode(layer.packing.decode(layer.stored)), "packing": packing}
    inputs = _changed(inputs, **parts)
    expected = predict_tile(Engine(bundle), inputs, DAYS, keep_prediction=True)
    _same_maps(_mapped(_engine(bundle), inputs), expected)


def _fine_source(inputs: TileInputs, source: str, finer: int) -> TileInputs:
    """A source on a grid of its own, which is not aligned and has `finer` cells for each pixel."""
    count, rng = len(inputs.inside), np.random.default_rng(3)
    index = rng.integers(0, count * finer, count).astype(np.int32)
    index[::11] = -1
    layers = dict(inputs.layers)
    for name, layer in layers.items():
        if layer.source == source:
            layers[name] = replace(layer, stored=np.tile(layer.stored, (1, finer)))
    return replace(inputs, layers=layers, index={**inputs.index, source: index})


@pytest.mark.parametrize("finer", [1, 3])
@pytest.mark.parametrize("source", ["hls", "terrain"])
def test_sources_that_are_not_aligned(source: str, finer: int) -> None:
    bundle = _bundle("mmnet")
    inputs = made_up_tile(bundle.catalogue, 17, 22, DAYS, 8, 0.4, 0.02)
    inputs = _fine_source(inputs, source, finer)
    expected = predict_tile(Engine(bundle), inputs, DAYS, keep_prediction=True)
    _same_maps(_mapped(_engine(bundle), inputs), expected)


@pytest.mark.parametrize("device", DEVICES)
def test_days_on_both_sides_of_a_land_cover_year(device: str) -> None:
    bundle = _bundle("mmnet")
    new_year = int(np.datetime64("2020-01-01", "D").astype(np.int64))
    days = np.arange(new_year - 3, new_year + 4, dtype=np.int64)
    inputs = made_up_tile(bundle.catalogue, 13, 21, days, 2, 0.3, 0.02)
    stored = np.random.default_rng(1).choice(np.array([11, 22, 42, 0, 82], dtype=np.uint8), (2, 273))
    inputs = _changed(inputs, LC={"stored": stored})
    expected = predict_tile(Engine(bundle), inputs, days, keep_prediction=True)
    assert ((expected.soil_moisture[2] == MISSING) != (expected.soil_moisture[3] == MISSING)).any()
    _same_maps(_mapped(_engine(bundle, device), inputs, days), expected, 2e-6 if device == "cpu" else 1e-4)


def _equal(one: TileResult, other: TileResult, columns: NDArray[np.int64] | slice = slice(None)) -> None:
    for name in (*STORED, "prediction"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name)[:, columns], err_msg=name)


@lru_cache
def _whole(kind: str) -> tuple[Engine, TileInputs, TileResult]:
    engine = _engine(_bundle(kind), sizes=OTHER)
    inputs = made_up_tile(engine.catalogue, 40, 50, DAYS, seed=5, clouds=0.4, missing=0.01)
    return engine, inputs, _mapped(engine, inputs)


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
    _equal(_mapped(engine, alone), whole, pixels)


@pytest.mark.parametrize("cut", [1, 5, 11])
def test_days_may_be_cut_anywhere(cut: int) -> None:
    engine, inputs, whole = _whole("mmnet")
    parts = [_mapped(engine, inputs, part) for part in (DAYS[:cut], DAYS[cut:])]
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
    _equal(_mapped(engine, inputs), whole)
    assert len(sizes) > 3
    assert max(sizes) < 1500


def test_tiles_come_back_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, first, whole = _whole("mmnet")
    second = made_up_tile(engine.catalogue, 9, 14, DAYS, seed=11, clouds=0.4, missing=0.3)
    expected = _mapped(engine, second)
    read: list[int] = []

    def tiles() -> Iterator[TileInputs]:
        for number, inputs in enumerate((first, second, second, first)):
            read.append(number)
            yield inputs

    found = list(predict_tiles(engine, tiles(), DAYS, keep_prediction=True))
    assert [inputs for inputs, _ in found] == [first, second, second, first]
    for (_, result), wanted in zip(found, (whole, expected, expected, whole), strict=True):
        _equal(result, wanted)
    assert read == [0, 1, 2, 3]
    assert list(predict_tiles(engine, iter(()), DAYS)) == []


def test_days_with_a_hole_and_a_missing_layer_are_refused() -> None:
    engine, inputs, _ = _whole("mmnet")
    with pytest.raises(ValueError, match="consecutive"):
        _mapped(engine, inputs, DAYS[::2])
    lacking = replace(inputs, layers={k: v for k, v in inputs.layers.items() if k != "vpd"})
    with pytest.raises(ValueError, match="vpd"):
        _mapped(engine, lacking)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("sub_tile", [7, 16, 256])
@pytest.mark.parametrize("scene_crs", [None, "EPSG:4326"])
def test_a_unit_of_a_cube_is_that_of_the_numpy_path(
    make_world: Callable[..., Any], tmp_path: Path, scene_crs: str | None, sub_tile: int, device: str
) -> None:
    kwargs: dict[str, Any] = {}
    if scene_crs is not None:
        kwargs = {"crs": "EPSG:32612", "scene_crs": "EPSG:32611"}
    world = make_world(height=20, width=28, seed=3, **kwargs)
    cube, bundle = open_cube(world.cube(tmp_path / "cube")), load_bundle(world.bundle)
    unit = Unit(Tile(0, 0, 20, 28), FIRST, FIRST + 9)
    expected, count = compute_unit(cube, bundle.catalogue, Engine(bundle), unit)
    engine = _engine(bundle, device, OTHER)
    found, computed = compute_unit(cube, bundle.catalogue, engine, unit, sub_tile)
    assert computed == count
    assert (expected["soil_moisture"] != MISSING).any()
    np.testing.assert_array_equal(found["quality"], expected["quality"])
    apart = np.abs(found["soil_moisture"].astype(int) - expected["soil_moisture"])
    assert apart.max() <= 1
    for name in ("lower", "upper"):
        np.testing.assert_array_equal(found[name][apart == 0], expected[name][apart == 0])


@GPU
def test_a_gpu_never_waits_for_the_processor_within_a_tile(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = _engine(_bundle("mmnet"), "cuda")
    inputs = made_up_tile(engine.catalogue, 40, 50, DAYS, seed=5, clouds=0.4, missing=0.01)
    whole = _mapped(engine, inputs)
    compute = device_tile._Work.compute

    def watched(self: Any, load: Any) -> Any:
        torch.cuda.set_sync_debug_mode("error")
        try:
            return compute(self, load)
        finally:
            torch.cuda.set_sync_debug_mode("default")

    monkeypatch.setattr(device_tile._Work, "compute", watched)
    for _, result in predict_tiles(engine, iter([inputs] * 4), DAYS, keep_prediction=True):
        _equal(result, whole)


@GPU
def test_a_gpu_does_not_round_to_tf32() -> None:
    engine = _engine(_bundle("mmnet"), "cuda")
    inputs = made_up_tile(engine.catalogue, 40, 50, DAYS, seed=5, clouds=0.4, missing=0.01)
    expected = _mapped(engine, inputs)
    torch.set_float32_matmul_precision("high")
    try:
        _equal(_mapped(engine, inputs), expected)
    finally:
        torch.set_float32_matmul_precision("highest")


def _half_engine(kind: str) -> Engine:
    """On the processor, with the plain bfloat16 products of a device."""
    engine = _engine(_bundle(kind), sizes=OTHER)
    assert isinstance(engine.pixels, DensePass)
    engine.pixels = HalfPass(engine.pixels.layers, engine.pixels.entry, OTHER.step)
    return engine


def _error(found: TileResult, expected: TileResult) -> float:
    """Root mean square difference; both have the same gaps."""
    assert found.prediction is not None
    assert expected.prediction is not None
    np.testing.assert_array_equal(np.isnan(found.prediction), np.isnan(expected.prediction))
    return float(np.sqrt(np.nanmean((found.prediction - expected.prediction) ** 2)))


@pytest.mark.parametrize("kind", ["mmnet", "mlp"])
def test_maps_in_bfloat16_have_the_same_gaps_and_reasons(kind: str) -> None:
    inputs = made_up_tile(_bundle(kind).catalogue, 25, 40, DAYS, 7, 0.4, 0.02)
    expected = predict_tile(Engine(_bundle(kind)), inputs, DAYS, keep_prediction=True)
    found = _mapped(_half_engine(kind), inputs)
    assert 0 < _error(found, expected) < 0.005
    clipped = np.uint16(FLAGS["clipped"])
    np.testing.assert_array_equal(found.quality | clipped, expected.quality | clipped)


@GPU
@pytest.mark.parametrize("kind", ["mmnet", "mlp"])
def test_bfloat16_on_a_gpu_errs_no_more_than_on_the_processor(kind: str) -> None:
    if not torch.cuda.is_bf16_supported(including_emulation=False):
        pytest.skip("the GPU has no bfloat16 instructions")
    inputs = made_up_tile(_bundle(kind).catalogue, 40, 50, DAYS, 7, 0.4, 0.02)
    expected = predict_tile(Engine(_bundle(kind)), inputs, DAYS, keep_prediction=True)
    found = _mapped(Engine(_bundle(kind), "bfloat16", "cuda"), inputs)
    assert 0 < _error(found, expected) <= 1.5 * _error(_mapped(_half_engine(kind), inputs), expected)
