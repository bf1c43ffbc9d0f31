"""The engine against the plain forward pass of the same bundle."""

from __future__ import annotations

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
from torch import nn

from mmnet_maps.bench.made_up import made_up_bundle, made_up_inputs
from mmnet_maps.catalogue import published_catalogue
from mmnet_maps.errors import InputError
from mmnet_maps.learn.bundle import Bundle
from mmnet_maps.learn.model_input import ModelInput, columns_of_kind
from mmnet_maps.learn.models.dense import fold
from mmnet_maps.learn.published import import_published
from mmnet_maps.produce.engine import chain, precision
from mmnet_maps.produce.engine.engine import Engine

KINDS = ["mmnet", "mlp", "transformer"]


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> None:
    torch.set_num_threads(1)


@lru_cache
def _bundle(kind: str) -> Bundle:
    return made_up_bundle(kind, published_catalogue(), rows=1024)


def run(engine: Engine, inputs: ModelInput) -> NDArray[np.float32]:
    """Every row as a place and a pixel of its own."""
    names = engine.catalogue.snapshot
    columns = {name: inputs.snapshot[:, place] for place, name in enumerate(names)}
    covers = [columns[name] for name in names if name.startswith("LC_")]
    columns["LC"] = np.argmax(covers, axis=0).astype(np.float32)
    features = np.stack([columns[name] for name in engine.features])
    table = engine.series_table(np.ascontiguousarray(inputs.series.transpose(2, 0, 1)), 1)[0]
    workspace, found = engine.workspace(), []
    for start in range(0, len(inputs), engine.block):
        rows = np.minimum(np.arange(start, start + engine.block), len(inputs) - 1)
        engine.scale(features[:, rows], 0, workspace.inputs)
        workspace.series[:] = rows
        found.append(engine.predict(workspace, table)[: len(inputs) - start].copy())
    return np.concatenate(found)


@pytest.mark.parametrize("kind", KINDS)
@given(seed=st.integers(0, 2**31 - 1))
@settings(max_examples=4, deadline=None)
def test_the_engine_equals_the_plain_forward_pass(kind: str, seed: int) -> None:
    inputs = made_up_inputs(published_catalogue(), 300, seed)
    np.testing.assert_allclose(
        run(Engine(_bundle(kind)), inputs), _bundle(kind).predict(inputs), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_narrow_training_region_loses_no_digits(kind: str) -> None:
    catalogue, bundle = published_catalogue(), _bundle(kind)
    inputs = made_up_inputs(catalogue, 300, 3)
    names = columns_of_kind(kind, catalogue)
    mean, std = bundle.scaler.snapshot_mean.copy(), bundle.scaler.snapshot_std.copy()
    rng = np.random.default_rng(0)
    for name, centre in (("Latitude", 37.0), ("Longitude", -113.0), ("elevation", 1450.0)):
        mean[names.index(name)], std[names.index(name)] = centre, 0.01
        inputs.snapshot[:, catalogue.snapshot.index(name)] = centre + rng.normal(0, 0.01, 300)
    narrow = replace(bundle, scaler=replace(bundle.scaler, snapshot_mean=mean, snapshot_std=std))
    np.testing.assert_allclose(run(Engine(narrow), inputs), narrow.predict(inputs), rtol=1e-5, atol=1e-5)


def test_the_published_checkpoint_gives_the_published_output(shared: Path) -> None:
    folder = shared / "spec" / "published-example"
    bundle = import_published(
        "mmnet",
        folder / "model_best.pth",
        folder / "static_mean_std.npy",
        folder / "dynamic_mean_std.npy",
    )
    example = np.load(folder / "io.npz")
    inputs = ModelInput(example["X_s"].astype(np.float32), example["X_d"].astype(np.float32))
    np.testing.assert_allclose(run(Engine(bundle), inputs), example["y"][:, 0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "mode"),
    [*((kind, "float32") for kind in KINDS), *((kind, "bfloat16") for kind in KINDS[:2])],
)
def test_a_missing_input_is_missing_alone(kind: str, mode: str) -> None:
    engine = Engine(_bundle(kind), mode)
    inputs = made_up_inputs(published_catalogue(), 64, 1)
    whole = run(engine, inputs)
    assert np.isfinite(whole).all()
    inputs.snapshot[3, 20], inputs.snapshot[9, 12] = np.nan, np.inf
    inputs.series[17, 2, 0] = np.nan
    found = run(engine, inputs)
    gone = np.isin(np.arange(64), (3, 9, 17))
    np.testing.assert_array_equal(~np.isfinite(found), gone)
    np.testing.assert_array_equal(found[~gone], whole[~gone])


@pytest.mark.parametrize(("kind", "mode"), [("mmnet", "float32"), ("mmnet", "bfloat16")])
@given(seed=st.integers(0, 2**31 - 1))
@settings(max_examples=5, deadline=None)
def test_series_and_pixels_have_the_same_bits_in_any_order(kind: str, mode: str, seed: int) -> None:
    engine = Engine(_bundle(kind), mode)
    inputs = made_up_inputs(published_catalogue(), 257, 2)
    order = np.random.default_rng(seed).permutation(257)[: 1 + seed % 257]
    np.testing.assert_array_equal(run(engine, inputs.rows(order)), run(engine, inputs)[order])


@pytest.mark.parametrize(
    ("kind", "mode"), [*((kind, "float32") for kind in KINDS), ("mmnet", "bfloat16"), ("mlp", "bfloat16")]
)
def test_a_torch_without_torchscript_gives_the_same_bits(
    kind: str, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = made_up_inputs(published_catalogue(), 1500, seed=2)
    inputs.snapshot[7] = np.nan
    assert isinstance(chain.scripted(chain.chain), torch.jit.ScriptFunction)
    fast = run(Engine(_bundle(kind), mode), inputs)

    def gone(function: Any) -> None:
        raise AttributeError("script")

    monkeypatch.setattr(torch.jit, "script", gone)
    chain.scripted.cache_clear()
    try:
        assert chain.scripted(chain.chain) is chain.chain
        plain = run(Engine(_bundle(kind), mode), inputs)
    finally:
        chain.scripted.cache_clear()
    np.testing.assert_array_equal(fast, plain)


@pytest.mark.parametrize("kind", ["mmnet", "mlp"])
def test_bfloat16_is_close(kind: str) -> None:
    inputs = made_up_inputs(published_catalogue(), 4096, 5)
    envelope = _bundle(kind).envelope
    assert envelope is not None
    inputs = inputs.rows(envelope.outside(inputs) == 0)
    assert len(inputs) > 3000
    error = np.abs(run(Engine(_bundle(kind), "bfloat16"), inputs) - run(Engine(_bundle(kind)), inputs))
    assert 0 < np.sqrt(np.mean(error**2)) <= 0.001
    assert np.quantile(error, 0.999) <= 0.005


def test_the_gain_of_bfloat16_is_measured_and_is_not_for_windows_by_pixel() -> None:
    gain = Engine(_bundle("mmnet")).bfloat16_gain()
    assert gain is not None
    assert gain > 0
    assert Engine(_bundle("transformer")).bfloat16_gain() is None


def test_the_measurement_divides_the_times_of_the_two_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = iter([9.0, 9.0, 3.0, 2.0, 6.0, 5.0, 4.0, 1.5])  # a warm-up, then three rounds
    monkeypatch.setattr(precision, "_seconds", lambda case: next(taken))
    assert Engine(_bundle("mmnet")).bfloat16_gain() == 3.0 / 1.5
    slow = iter([1.0, 50.0])  # nobody waits for more rounds
    monkeypatch.setattr(precision, "_seconds", lambda case: next(slow))
    assert Engine(_bundle("mmnet")).bfloat16_gain() == 1 / 50


def test_what_cannot_run_is_refused() -> None:
    bundle = _bundle("mmnet")
    with pytest.raises(InputError, match="holds a ridge"):
        Engine(replace(bundle, kind="ridge", network=None))
    with pytest.raises(InputError, match="float16 is not known; known are float32, bfloat16"):
        Engine(bundle, "float16")
    with pytest.raises(InputError, match="not for a transformer"):
        Engine(_bundle("transformer"), "bfloat16")
    with pytest.raises(InputError, match="device tpu: torch sees no such device here; it sees cpu"):
        Engine(bundle, device="tpu")


def test_a_folded_layer_is_the_layer_and_its_norm() -> None:
    torch.manual_seed(0)
    linear, norm = nn.Linear(9, 5).double(), nn.BatchNorm1d(5).double()
    norm.running_mean, norm.running_var = torch.randn(5).double(), torch.rand(5).double() + 0.1
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    values = torch.randn(7, 9).double()
    folded = fold(linear, norm.eval())
    found = values @ folded.weight.double() + folded.bias.double()
    torch.testing.assert_close(found, norm(linear(values)), rtol=0, atol=2e-6)
