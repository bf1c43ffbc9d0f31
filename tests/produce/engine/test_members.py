"""Ensembles, square-root targets and last-step read-out in the engine, against the plain forward pass."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from mmnet_maps.bench.made_up import made_up_bundle, made_up_inputs, made_up_tile
from mmnet_maps.catalogue import published_catalogue
from mmnet_maps.errors import InputError
from mmnet_maps.learn.bundle import Bundle
from mmnet_maps.learn.model_input import ModelInput, model_arrays, side_by_side
from mmnet_maps.learn.models.baselines import BaselineConfig, fit_baseline
from mmnet_maps.learn.models.networks import build_network
from mmnet_maps.produce.engine.engine import Engine
from mmnet_maps.produce.tile.program import predict_tile

KINDS = ["mmnet", "mlp", "transformer"]
CATALOGUE = published_catalogue()
DAYS = np.arange(18_810, 18_814, dtype=np.int64)


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> None:
    torch.set_num_threads(1)


@lru_cache
def _members(kind: str, count: int = 3) -> Bundle:
    """Networks of a square root near 0.2 on the average, below 0 for some rows."""
    made = [made_up_bundle(kind, CATALOGUE, seed=seed, rows=512) for seed in range(count)]
    networks = [bundle.network for bundle in made]
    for network in networks:
        assert network is not None
        network.decoder[-1].bias.data.sub_(0.15)  # type: ignore[union-attr,index]
    others = tuple(network for network in networks[1:] if network is not None)
    return replace(made[0], others=others, target="sqrt")


def run(engine: Engine, inputs: ModelInput) -> NDArray[np.float32]:
    """Every row as a place and a pixel of its own."""
    columns = dict(zip(CATALOGUE.snapshot, inputs.snapshot.T, strict=True))
    covers = [columns[name] for name in CATALOGUE.snapshot if name.startswith("LC_")]
    columns["LC"] = np.argmax(covers, axis=0).astype(np.float32)
    rows = np.minimum(np.arange(engine.block), len(inputs) - 1)
    features = np.stack([columns[name] for name in engine.features])[:, rows]
    table = engine.series_table(np.ascontiguousarray(inputs.series.transpose(2, 0, 1)), 1)[0]
    workspace = engine.workspace()
    engine.scale(features, 0, workspace.inputs)
    workspace.series[:] = rows
    return engine.predict(workspace, table, len(inputs))[: len(inputs)].copy()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [1, 3])
def test_members_and_square_roots_equal_the_plain_forward_pass(kind: str, count: int) -> None:
    bundle = _members(kind)
    bundle = replace(bundle, others=bundle.others[: count - 1])
    inputs = made_up_inputs(CATALOGUE, 150, 5)
    expected = bundle.predict(inputs)
    found = run(Engine(bundle), inputs)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    plain = replace(bundle, target="identity", others=()).predict(inputs)
    assert (plain < 0).any()
    if count == 1:
        np.testing.assert_allclose(found, np.maximum(plain, 0) ** 2, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", ["mmnet", "transformer"])
def test_the_last_step_read_out_equals_the_plain_forward_pass(kind: str) -> None:
    bundle = _members(kind, 1)
    network = build_network(kind, CATALOGUE, readout="last")
    assert bundle.network is not None
    network.load_state_dict(bundle.network.state_dict())
    last = replace(bundle, network=network.eval().requires_grad_(False), readout="last")
    inputs = made_up_inputs(CATALOGUE, 120, 6)
    found = run(Engine(last), inputs)
    np.testing.assert_allclose(found, last.predict(inputs), rtol=1e-5, atol=1e-6)
    assert np.abs(found - run(Engine(bundle), inputs)).max() > 1e-3


def test_members_in_bfloat16_stay_near_float32() -> None:
    bundle, inputs = _members("mmnet"), made_up_inputs(CATALOGUE, 100, 7)
    found = run(Engine(bundle, "bfloat16"), inputs)
    np.testing.assert_allclose(found, bundle.predict(inputs), rtol=0, atol=0.01)


def test_a_tile_of_an_ensemble_is_the_mean_of_the_tiles_of_its_members() -> None:
    bundle = _members("mmnet")
    inputs = made_up_tile(CATALOGUE, 20, 30, DAYS, seed=3, clouds=0.4)
    whole = predict_tile(Engine(bundle), inputs, DAYS, keep_prediction=True).prediction
    alone = [
        predict_tile(Engine(replace(bundle, network=n, others=())), inputs, DAYS, True).prediction
        for n in bundle.members
    ]
    assert whole is not None
    np.testing.assert_allclose(whole, np.mean(np.stack(alone), axis=0), rtol=1e-5, atol=1e-6)  # type: ignore
    assert np.isfinite(whole).all()


def test_a_blend_is_refused_until_its_trees_are_left_out() -> None:
    bundle, inputs = _members("mmnet", 1), made_up_inputs(CATALOGUE, 64, 8)
    arrays = model_arrays("mmnet", inputs, CATALOGUE, bundle.scaler)
    columns = side_by_side(arrays)
    target = np.linspace(0.1, 0.4, 64)
    trees = fit_baseline("xgboost", columns, target, None, BaselineConfig(rounds=3), seed=1)
    blend = replace(bundle, baseline=trees)
    with pytest.raises(InputError, match="blends mmnet with xgboost trees, which maps leave out"):
        Engine(blend)
    found = run(Engine(blend.networks_alone()), inputs)
    np.testing.assert_allclose(found, bundle.predict(inputs), rtol=1e-5, atol=1e-6)
