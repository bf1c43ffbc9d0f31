"""What a device gives against the processor: tensors of the processor, and a GPU where there is one."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from mmnet_maps.bench.made_up import made_up_bundle, made_up_tile
from mmnet_maps.catalogue import published_catalogue
from mmnet_maps.grid import Tile
from mmnet_maps.learn.bundle import Bundle, load_bundle
from mmnet_maps.learn.models.dense import Dense
from mmnet_maps.packing import Packing
from mmnet_maps.prepare.cube.store import open_cube
from mmnet_maps.prepare.features import encode, window
from mmnet_maps.prepare.gap_fill import gap_fill
from mmnet_maps.produce.engine.arrays import DeviceArrays
from mmnet_maps.produce.engine.engine import Engine
from mmnet_maps.produce.engine.pixels import DensePass
from mmnet_maps.produce.engine.precision import Bfloat16Pass
from mmnet_maps.produce.engine.sizes import Sizes
from mmnet_maps.produce.run.work import compute_unit
from mmnet_maps.produce.tile import program
from mmnet_maps.produce.tile.inputs import TileInputs
from mmnet_maps.produce.tile.program import TileResult, predict_tile, predict_tiles
from mmnet_maps.produce.tile.trust import FLAGS, MISSING
from mmnet_maps.produce.units import Unit

#: A day in the middle of those that `make_world` holds.
FIRST = 18_322


DAYS = np.arange(18_810, 18_822, dtype=np.int64)
STORED = ("soil_moisture", "lower", "upper", "quality")
#: Products as a device has them: other shapes than those of the NumPy path, and few to a tile.
OTHER = Sizes(block=8192, step=2048, windows=64, day_batch=512, window_batch=128)
GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU")
DEVICES = ["cpu", pytest.param("cuda", marks=GPU)]


@lru_cache
def bundle_of(kind: str) -> Bundle:
    return made_up_bundle(kind, published_catalogue(), rows=1024)


def engine_of(bundle: Bundle, device: str = "cpu", sizes: Sizes | None = None) -> Engine:
    """An engine with tensors; those of the processor stand for a device's."""
    xp = DeviceArrays(torch.device(device))
    return Engine(bundle, device=device, sizes=sizes if device == "cpu" else None, xp=xp)


def mapped(engine: Engine, inputs: TileInputs, days: NDArray[np.int64] = DAYS) -> TileResult:
    return predict_tile(engine, inputs, days, keep_prediction=True)


def same_maps(found: TileResult, expected: TileResult, atol: float = 2e-6) -> None:
    """Estimates alike, stored values at most one step apart, bits and intervals the same."""
    assert found.prediction is not None
    assert expected.prediction is not None
    np.testing.assert_array_equal(np.isnan(found.prediction), np.isnan(expected.prediction))
    np.testing.assert_allclose(found.prediction, expected.prediction, rtol=0, atol=atol)
    apart = found.soil_moisture.astype(int) - expected.soil_moisture
    assert np.abs(apart).max() <= 1
    # An estimate at the very end of the range may be clipped by one path and not by the other.
    near = np.isclose(expected.prediction, 0, atol=atol) | np.isclose(expected.prediction, 1, atol=atol)
    allowed = np.where(near, np.uint32(FLAGS["clipped"]), np.uint32(0))
    np.testing.assert_array_equal(found.quality | allowed, expected.quality | allowed)
    alike = apart == 0
    for name in STORED[1:3]:
        np.testing.assert_array_equal(getattr(found, name)[alike], getattr(expected, name)[alike])
    for name in STORED:
        assert getattr(found, name).dtype == getattr(expected, name).dtype


def equal_maps(one: TileResult, other: TileResult, columns: NDArray[np.int64] | slice = slice(None)) -> None:
    for name in (*STORED, "prediction"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name)[:, columns], err_msg=name)


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> None:
    torch.set_num_threads(1)


def _ensemble(kind: str, target: str) -> Bundle:
    """Three networks, whose outputs are square roots of soil moisture if `target` says so."""
    others = [made_up_bundle(kind, published_catalogue(), seed=seed, rows=1024) for seed in (1, 2)]
    networks = tuple(other.network for other in others)
    return replace(bundle_of(kind), others=networks, target=target)


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
    inputs = made_up_tile(bundle_of(kind).catalogue, height, width, DAYS, 5, clouds, missing)
    expected = predict_tile(Engine(bundle_of(kind)), inputs, DAYS, keep_prediction=True)
    found = mapped(engine_of(bundle_of(kind), device), inputs)
    same_maps(found, expected, 2e-6 if device == "cpu" else 1e-4)
    assert (expected.soil_moisture != MISSING).any()


@pytest.mark.parametrize("kind", ["mmnet", "mlp", "transformer"])
def test_products_of_other_shapes_change_nothing_but_rounding(kind: str) -> None:
    inputs = made_up_tile(bundle_of(kind).catalogue, 25, 40, DAYS, 7, 0.5, 0.05)
    expected = predict_tile(Engine(bundle_of(kind)), inputs, DAYS, keep_prediction=True)
    same_maps(mapped(engine_of(bundle_of(kind), sizes=OTHER), inputs), expected)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("kind", "target"), [("mmnet", "sqrt"), ("mlp", "identity")])
def test_several_networks_and_square_roots(kind: str, target: str, device: str) -> None:
    bundle = _ensemble(kind, target)
    inputs = made_up_tile(bundle.catalogue, 22, 31, DAYS, 3, 0.5, 0.05)
    expected = predict_tile(Engine(bundle), inputs, DAYS, keep_prediction=True)
    same_maps(mapped(engine_of(bundle, device), inputs), expected, 2e-6 if device == "cpu" else 1e-4)


def test_cyclic_encoding_fewer_variables_and_filling_from_the_past() -> None:
    catalogue = published_catalogue("cyclic").without(["VV", "VH", "LC", "SMAP", "srad"]).with_fill("past")
    bundle = made_up_bundle("mmnet", catalogue, rows=1024)
    inputs = made_up_tile(catalogue, 19, 23, DAYS, 2, 0.7)
    expected = predict_tile(Engine(bundle), inputs, DAYS, keep_prediction=True)
    same_maps(mapped(engine_of(bundle), inputs), expected)


@pytest.mark.parametrize("device", DEVICES)
def test_a_bundle_without_interval_and_training_range(device: str) -> None:
    bundle = replace(bundle_of("mmnet"), interval=None, envelope=None)
    inputs = made_up_tile(bundle.catalogue, 14, 15, DAYS, 2, 0.3, 0.02)
    expected = predict_tile(Engine(bundle), inputs, DAYS, keep_prediction=True)
    assert (expected.quality & FLAGS["no_interval"]).any()
    assert not (expected.quality & FLAGS["outside_training_domain"]).any()
    same_maps(mapped(engine_of(bundle, device), inputs), expected, 2e-6 if device == "cpu" else 1e-4)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    ("name", "end"),
    [("ndvi", "low"), ("ndvi", "high"), ("clay", "high"), ("aspect_normalized", "low"), ("LC_Forest", "high"),
     ("DoY_normalized", "high"), ("DoY_normalized", "low"), ("LST", "high")],
)  # fmt: skip
def test_a_narrow_training_range_is_left_by_the_same_pixel_days(name: str, end: str, device: str) -> None:
    # The MLP takes land cover as one number, whose range says nothing.
    bundle = bundle_of("mlp" if name == "LC_Forest" else "mmnet")
    catalogue, envelope = bundle.catalogue, bundle.envelope
    assert envelope is not None
    inputs = made_up_tile(catalogue, 14, 15, DAYS, 2, 0.3, 0.02)
    kind = "series" if name in catalogue.series else "snapshot"
    place = getattr(catalogue, kind).index(name)
    limits = {
        f"{part}_{side}": np.full_like(getattr(envelope, f"{part}_{side}"), infinite)
        for part in ("snapshot", "series")
        for side, infinite in (("low", -np.inf), ("high", np.inf))
    }
    within = {
        "ndvi": 0.0,
        "clay": 25.0,
        "aspect_normalized": 0.5,
        "LC_Forest": 0.5,
        "LST": _mixed_limit(inputs, "LST"),
    }
    # The middle of the days, or half of the values that are drawn.
    middle = encode("DoY_normalized", float(DAYS[6] - DAYS[0] + _day_of_year(DAYS[0])))
    limits[f"{kind}_{end}"][place] = within.get(name, float(middle))
    bundle = replace(bundle, envelope=replace(envelope, **limits))
    expected = predict_tile(Engine(bundle), inputs, DAYS, keep_prediction=True)
    there = expected.soil_moisture != MISSING
    outside = (expected.quality & FLAGS["outside_training_domain"]) != 0
    assert 0.05 < outside[there].mean() < 0.95
    same_maps(mapped(engine_of(bundle, device), inputs), expected, 2e-6 if device == "cpu" else 1e-4)


def _mixed_limit(inputs: TileInputs, name: str) -> float:
    """A value that the windows of about half of the days exceed."""
    layer = inputs.layers[name]
    filled = gap_fill(layer.days, layer.packing.decode(layer.stored), np.arange(DAYS[0] - 10, DAYS[-1] + 1))
    return float(np.median(window(filled.values, 10, range(11), len(DAYS)).max(axis=1))) - 1


def _day_of_year(day: np.int64) -> int:
    date = day.astype("datetime64[D]")
    return int((date - date.astype("datetime64[Y]")).astype(int)) + 1


def test_a_coarse_source_grows_old() -> None:
    published = published_catalogue()
    variables = tuple(
        v.model_copy(update={"max_age": 1} if v.name == "SMAP" else {}) for v in published.variables
    )
    bundle = made_up_bundle("mmnet", published.model_copy(update={"variables": variables}), rows=1024)
    inputs = made_up_tile(bundle.catalogue, 3, 210, DAYS, 2, 0.3, 0.02)
    stored = inputs.layers["SMAP"].stored.copy()
    assert stored.shape[1] == 2
    stored[100:106, 0] = inputs.layers["SMAP"].packing.missing
    inputs = _changed(inputs, SMAP={"stored": stored})
    expected = predict_tile(Engine(bundle), inputs, DAYS, keep_prediction=True)
    assert 0.01 < ((expected.quality & FLAGS["old_smap"]) != 0).mean() < 0.9
    same_maps(mapped(engine_of(bundle), inputs), expected)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("shift", [-0.22, 0.78])
def test_estimates_beyond_the_physical_range(shift: float, device: str) -> None:
    bundle = bundle_of("mmnet")
    network = copy.deepcopy(bundle.network)
    assert network is not None
    with torch.no_grad():
        network.decoder[-1].bias += shift
    bundle = replace(bundle, network=network)
    inputs = made_up_tile(bundle.catalogue, 14, 15, DAYS, 2, 0.3, 0.02)
    expected = predict_tile(Engine(bundle), inputs, DAYS, keep_prediction=True)
    clipped = (expected.quality & FLAGS["clipped"]) != 0
    assert 0.05 < clipped.mean() < 0.95
    found = mapped(engine_of(bundle, device), inputs)
    same_maps(found, expected, 2e-6 if device == "cpu" else 1e-4)
    assert ((found.quality & FLAGS["clipped"]) != 0)[clipped].mean() > 0.999


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
    bundle = bundle_of("mmnet")
    inputs = _broken(made_up_tile(bundle.catalogue, 23, 29, DAYS, 6, 0.4, 0.02), how)
    expected = predict_tile(Engine(bundle), inputs, DAYS, keep_prediction=True)
    whole = made_up_tile(bundle.catalogue, 23, 29, DAYS, 6, 0.4, 0.02)
    assert (predict_tile(Engine(bundle), whole, DAYS).quality != expected.quality).any()
    same_maps(mapped(engine_of(bundle, device), inputs), expected, 2e-6 if device == "cpu" else 1e-4)


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
    bundle, packing = bundle_of("mmnet"), _TYPES[stored_as]
    inputs = made_up_tile(bundle.catalogue, 12, 17, DAYS, 1, 0.3, 0.02)
    parts = {}
    for name in ("NIR", "Red", "SMAP", "clay", "pr"):
        layer = inputs.layers[name]
        parts[name] = {"stored": packing.encode(layer.packing.decode(layer.stored)), "packing": packing}
    inputs = _changed(inputs, **parts)
    expected = predict_tile(Engine(bundle), inputs, DAYS, keep_prediction=True)
    same_maps(mapped(engine_of(bundle), inputs), expected)


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
    bundle = bundle_of("mmnet")
    inputs = made_up_tile(bundle.catalogue, 17, 22, DAYS, 8, 0.4, 0.02)
    inputs = _fine_source(inputs, source, finer)
    expected = predict_tile(Engine(bundle), inputs, DAYS, keep_prediction=True)
    same_maps(mapped(engine_of(bundle), inputs), expected)


@pytest.mark.parametrize("device", DEVICES)
def test_days_on_both_sides_of_a_land_cover_year(device: str) -> None:
    bundle = bundle_of("mmnet")
    new_year = int(np.datetime64("2020-01-01", "D").astype(np.int64))
    days = np.arange(new_year - 3, new_year + 4, dtype=np.int64)
    inputs = made_up_tile(bundle.catalogue, 13, 21, days, 2, 0.3, 0.02)
    stored = np.random.default_rng(1).choice(np.array([11, 22, 42, 0, 82], dtype=np.uint8), (2, 273))
    soil = inputs.layers["clay"]
    twice = {"stored": np.concatenate((soil.stored, soil.stored[:, ::-1])), "days": inputs.layers["LC"].days}
    inputs = _changed(inputs, LC={"stored": stored}, clay=twice)
    expected = predict_tile(Engine(bundle), inputs, days, keep_prediction=True)
    assert ((expected.soil_moisture[2] == MISSING) != (expected.soil_moisture[3] == MISSING)).any()
    same_maps(mapped(engine_of(bundle, device), inputs, days), expected, 2e-6 if device == "cpu" else 1e-4)


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
    engine = engine_of(bundle, device, OTHER)
    found, computed = compute_unit(cube, bundle.catalogue, engine, unit, sub_tile)
    assert computed == count
    assert (expected["soil_moisture"] != MISSING).any()
    np.testing.assert_array_equal(found["quality"], expected["quality"])
    apart = np.abs(found["soil_moisture"].astype(int) - expected["soil_moisture"])
    assert apart.max() <= 1
    for name in ("lower", "upper"):
        np.testing.assert_array_equal(found[name][apart == 0], expected[name][apart == 0])


@lru_cache
def _whole() -> tuple[Engine, TileInputs, TileResult]:
    engine = engine_of(bundle_of("mmnet"), sizes=OTHER)
    inputs = made_up_tile(engine.catalogue, 40, 50, DAYS, seed=5, clouds=0.4, missing=0.01)
    return engine, inputs, mapped(engine, inputs)


def test_tiles_come_back_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, first, whole = _whole()
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


class _Swallowing:
    """A pixel pass that carries no NaN, as some devices' layers do not."""

    def __init__(self, own: Any) -> None:
        self.own, self.table_dtype, self.buffers = own, own.table_dtype, own.buffers

    def __call__(self, buffers: Any, table: torch.Tensor, count: int) -> torch.Tensor:
        clean = replace(buffers, inputs=buffers.inputs.nan_to_num(0.0))
        found: torch.Tensor = self.own(clean, table.nan_to_num(0.0), count)
        return found


def test_what_is_missing_stays_missing_where_layers_swallow_it() -> None:
    engine, inputs, whole = _whole()
    assert np.isnan(whole.prediction).mean() > 0.05  # type: ignore[arg-type]
    other = engine_of(bundle_of("mmnet"), sizes=OTHER)
    other.pixels = _Swallowing(engine.pixels)  # type: ignore[assignment]
    equal_maps(mapped(other, inputs), whole)


class _Half(Engine):
    """On any device, with the plain bfloat16 products of a GPU."""

    def _dense(self, layers: list[Dense], entry: int) -> DensePass:
        return Bfloat16Pass(layers, entry, self.sizes.step, self.device)


def half_engine(kind: str) -> Engine:
    """On the processor, with the plain bfloat16 products of a device."""
    return _Half(bundle_of(kind), sizes=OTHER, xp=DeviceArrays(torch.device("cpu")))


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
    clipped = np.uint32(FLAGS["clipped"])
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
    compute = program._Program.compute

    def watched(self: Any, load: Any) -> Any:
        torch.cuda.set_sync_debug_mode("error")
        try:
            return compute(self, load)
        finally:
            torch.cuda.set_sync_debug_mode("default")

    monkeypatch.setattr(program._Program, "compute", watched)
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
