"""A bundle comes back as it was saved, and anything else is refused."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from mmnet_maps.catalogue import Catalogue
from mmnet_maps.errors import InputError
from mmnet_maps.learn.bundle import Bundle, load_bundle, save_bundle
from mmnet_maps.learn.intervals import Envelope, IntervalTable
from mmnet_maps.learn.model_input import ModelInput, fit_scaler, from_table, model_arrays
from mmnet_maps.learn.models.baselines import BASELINES, BaselineConfig, fit_baseline
from mmnet_maps.learn.models.networks import NETWORKS, build_network
from mmnet_maps.prepare.features import Scaler

TableMaker = Callable[..., pd.DataFrame]


@pytest.fixture
def inputs(make_table: TableMaker, catalogue: Catalogue) -> ModelInput:
    return from_table(make_table(), catalogue)


def _bundle(kind: str, inputs: ModelInput, catalogue: Catalogue) -> Bundle:
    scaler = fit_scaler(kind, inputs, catalogue)
    rng = np.random.default_rng(0)
    observed, predicted = rng.uniform(0, 0.5, (2, 900))
    interval = IntervalTable.calibrate(observed, predicted, np.arange(900) % 40)
    facts = {"recipe": "published", "training": None}
    if kind in NETWORKS:
        torch.manual_seed(0)
        network = build_network(kind, catalogue).eval()
        return Bundle(kind, catalogue, scaler, network, None, interval, Envelope.fit(inputs), facts)
    columns = model_arrays(kind, inputs, catalogue, scaler)[0]
    config = BaselineConfig(trees=3, rounds=5)
    model = fit_baseline(kind, columns, rng.uniform(size=len(inputs)), None, config, 1)
    return Bundle(kind, catalogue, scaler, None, model, interval, Envelope.fit(inputs), facts)


@pytest.mark.parametrize("kind", [*NETWORKS, *BASELINES])
def test_a_bundle_comes_back_as_it_was_saved(
    kind: str, inputs: ModelInput, catalogue: Catalogue, tmp_path: Path
) -> None:
    saved = save_bundle(_bundle(kind, inputs, catalogue), tmp_path / "b")
    loaded = load_bundle(tmp_path / "b")
    assert loaded.digest == saved.digest
    assert loaded.card == saved.card
    np.testing.assert_array_equal(loaded.predict(inputs), saved.predict(inputs))
    found = saved.predict(inputs)
    for a, b in zip(loaded.interval(found), saved.interval(found), strict=True):
        np.testing.assert_array_equal(a, b)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["b"]
    assert sorted(p.name for p in (tmp_path / "b").iterdir()) == ["bundle.json", "weights.safetensors"]


def test_the_same_bundle_has_the_same_bytes(inputs: ModelInput, catalogue: Catalogue, tmp_path: Path) -> None:
    for name in ("a", "b"):
        save_bundle(_bundle("mlp", inputs, catalogue), tmp_path / name)
    for file in ("bundle.json", "weights.safetensors"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_a_row_with_a_missing_or_infinite_input_has_no_prediction(
    inputs: ModelInput, catalogue: Catalogue
) -> None:
    bundle = _bundle("forest", inputs, catalogue)
    inputs.snapshot[3, 0], inputs.series[5, 2, 1] = np.nan, np.inf
    found = bundle.predict(inputs, batch=7)
    assert np.flatnonzero(np.isnan(found)).tolist() == [3, 5]


def test_batches_do_not_change_a_prediction(inputs: ModelInput, catalogue: Catalogue) -> None:
    bundle = _bundle("mmnet", inputs, catalogue)
    np.testing.assert_allclose(bundle.predict(inputs, batch=13), bundle.predict(inputs), atol=2e-6)


def test_input_of_another_width_is_refused(inputs: ModelInput, catalogue: Catalogue) -> None:
    bundle = _bundle("ridge", inputs, catalogue)
    with pytest.raises(InputError, match="the catalogue expects"):
        bundle.predict(ModelInput(inputs.snapshot[:, 1:], inputs.series))


def test_an_edited_bundle_is_refused(inputs: ModelInput, catalogue: Catalogue, tmp_path: Path) -> None:
    save_bundle(_bundle("ridge", inputs, catalogue), tmp_path)
    path = tmp_path / "bundle.json"
    card = json.loads(path.read_text())
    card["scaler"]["snapshot_mean"][0] += 1
    path.write_text(json.dumps(card))
    with pytest.raises(InputError, match="do not match the digest"):
        load_bundle(tmp_path)


def test_damaged_weights_are_refused(inputs: ModelInput, catalogue: Catalogue, tmp_path: Path) -> None:
    save_bundle(_bundle("mlp", inputs, catalogue), tmp_path)
    path = tmp_path / "weights.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match="do not match the digest"):
        load_bundle(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not valid JSON"),
        ("[]", "bundle format 'list'"),
        ('{"format": 99}', "format 99; this version reads"),
    ],
)
def test_other_cards_are_refused(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "bundle.json").write_text(content)
    with pytest.raises(InputError, match=message):
        load_bundle(tmp_path)


def test_a_folder_without_a_bundle_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no bundle here"):
        load_bundle(tmp_path / "nothing")


def test_other_things_are_not_overwritten(inputs: ModelInput, catalogue: Catalogue, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="exists and is no bundle"):
        save_bundle(_bundle("ridge", inputs, catalogue), tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("interval", "lower"), [-0.1], "shapes"),
        (("interval", "centre"), [0.4, 0.1], "centre must increase"),
        (("interval", "upper"), ["much", 0.2], "does not fit"),
        (("interval", "upper"), None, "does not fit"),
        (("scaler", "snapshot_std"), 0.0, r"expected \d+ finite numbers above 0"),
        (("scaler", "series_mean"), [0.0], "series_mean: expected 8 finite numbers"),
        (("interval", "rows"), "many", "rows and stations must be whole numbers"),
        (("envelope", "series_low"), [0.0], "envelope: series_low: expected 8 finite numbers"),
    ],
)
def test_tables_that_do_not_fit_are_refused_at_loading(
    tmp_path: Path, catalogue: Catalogue, path: tuple[str, str], value: object, said: str
) -> None:
    """The digest is right: whoever wrote the bundle wrote these tables."""
    p, v = len(catalogue.snapshot), len(catalogue.series)
    scaler = Scaler(np.zeros(p), np.ones(p), np.zeros(v), np.ones(v))
    table = IntervalTable(np.array([0.1, 0.4]), np.array([-0.1, -0.1]), np.array([0.1, 0.1]), 0.9, 500, 25)
    bound = np.zeros(p, np.float32), np.ones(p, np.float32), np.zeros(v, np.float32), np.ones(v, np.float32)
    network = build_network("mmnet", catalogue).eval()
    bundle = Bundle("mmnet", catalogue, scaler, network, interval=table, envelope=Envelope(*bound))
    save_bundle(bundle, tmp_path / "b")
    card = json.loads((tmp_path / "b" / "bundle.json").read_text())
    card.pop("digest")
    held = card[path[0]][path[1]]
    card[path[0]][path[1]] = [value] * len(held) if isinstance(value, float) else value
    text = json.dumps(card, sort_keys=True)
    weights = (tmp_path / "b" / "weights.safetensors").read_bytes()
    digest = hashlib.sha256(text.encode() + hashlib.sha256(weights).digest()).hexdigest()
    (tmp_path / "b" / "bundle.json").write_text(json.dumps({**card, "digest": digest}))
    with pytest.raises(InputError, match=said):
        load_bundle(tmp_path / "b")
