"""Published checkpoints are imported; nothing pickled runs."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from mmnet_maps.errors import InputError
from mmnet_maps.learn.bundle import load_bundle, save_bundle
from mmnet_maps.learn.model_input import ModelInput
from mmnet_maps.learn.models.mlp import MLP
from mmnet_maps.learn.models.mmnet import MMNet
from mmnet_maps.learn.models.transformer import Transformer
from mmnet_maps.learn.published import import_published


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Scaler files and checkpoints of all three networks."""
    torch.manual_seed(0)
    for name, network in {"mmnet": MMNet(), "transformer": Transformer(), "mlp": MLP()}.items():
        state = {"model_state": network.state_dict(), "criterion": nn.MSELoss()}
        torch.save(state, tmp_path / f"{name}.pth")
    for name, width in {"static": 28, "static_mlp": 29, "dynamic": 8}.items():
        np.save(tmp_path / f"{name}.npy", np.stack([np.arange(width), np.ones(width)]).astype(np.float64))
    return tmp_path


def _import(files: Path, model: str = "mmnet", **other: Any) -> Any:
    static = files / ("static_mlp.npy" if model == "mlp" else "static.npy")
    dynamic = None if model == "mlp" else files / "dynamic.npy"
    given = {"weights": files / f"{model}.pth", "static": static, "dynamic": dynamic, **other}
    return import_published(model, **given)


def test_the_published_example_predicts_the_published_outputs(shared: Path, tmp_path: Path) -> None:
    folder = shared / "spec" / "published-example"
    static, dynamic = folder / "static_mean_std.npy", folder / "dynamic_mean_std.npy"
    save_bundle(import_published("mmnet", folder / "model_best.pth", static, dynamic), tmp_path / "b")
    bundle = load_bundle(tmp_path / "b")
    arrays = np.load(folder / "io.npz")
    inputs = ModelInput(arrays["X_s"].astype(np.float32), arrays["X_d"].astype(np.float32))
    np.testing.assert_allclose(bundle.predict(inputs), arrays["y"][:, 0], atol=5e-6)
    assert bundle.interval is None
    assert bundle.envelope is None


@pytest.mark.parametrize("model", ["mmnet", "transformer", "mlp"])
def test_every_network_is_imported_and_predicts(model: str, files: Path) -> None:
    bundle = _import(files, model)
    inputs = ModelInput(np.zeros((3, 28), np.float32), np.ones((3, 8, 11), np.float32))
    inputs.snapshot[:, 0] = 1
    assert np.isfinite(bundle.predict(inputs)).all()


class _Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("how", ["torch", "plain"])
def test_a_malicious_checkpoint_is_refused_and_does_nothing(how: str, files: Path) -> None:
    state = {"model_state": MMNet().state_dict(), "criterion": _Evil(files / "hacked")}
    with (files / "evil.pth").open("wb") as file:
        torch.save(state, file) if how == "torch" else pickle.dump(state["criterion"], file)
    with pytest.raises(InputError, match=r"evil\.pth: refused") as refusal:
        _import(files, weights=files / "evil.pth")
    assert "\n" not in str(refusal.value)
    assert not (files / "hacked").exists()


@pytest.mark.parametrize("kept", [0, 100, 5_000, 0.5, 0.99])
def test_a_checkpoint_that_was_cut_off_is_refused_in_one_line(files: Path, kept: float) -> None:
    data = (files / "mmnet.pth").read_bytes()
    (files / "cut.pth").write_bytes(data[: int(kept * len(data)) if isinstance(kept, float) else kept])
    with pytest.raises(InputError, match=r"cut\.pth: refused: not a checkpoint") as refusal:
        _import(files, weights=files / "cut.pth")
    assert "\n" not in str(refusal.value)


def test_a_malicious_scaler_is_refused_and_does_nothing(files: Path) -> None:
    np.save(files / "evil.npy", np.array([_Evil(files / "hacked")], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match=r"evil\.npy: not a plain \.npy array"):
        _import(files, static=files / "evil.npy")
    assert not (files / "hacked").exists()


def test_a_checkpoint_with_the_widened_series_input_is_refused_by_name(files: Path) -> None:
    state = {"model_state": MMNet(series_width=36).state_dict()}
    torch.save(state, files / "wide.pth")
    with pytest.raises(
        InputError, match=r"encoder_d\.0\.lin\.weight: has shape \(32, 36\), expected \(32, 8\)"
    ):
        _import(files, weights=files / "wide.pth")


def test_a_checkpoint_of_another_network_is_refused_by_name(files: Path) -> None:
    with pytest.raises(InputError, match=r"encoder\.0\.weight: missing"):
        _import(files, "mlp", weights=files / "mmnet.pth")


def test_weights_of_another_encoding_do_not_fit(files: Path) -> None:
    np.save(files / "static30.npy", np.ones((2, 30)))
    with pytest.raises(InputError, match=r"encoder_s\.0\.weight: has shape \(32, 28\), expected \(32, 30\)"):
        _import(files, static=files / "static30.npy", encoding="cyclic")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.ones((2, 29)), r"shape \(2, 29\), expected \(2, 28\)"),
        (np.zeros((2, 28)), "positive deviations"),
        (np.full((2, 28), np.nan), "finite means"),
    ],
)
def test_scaler_files_that_do_not_fit_are_named(values: Any, message: str, files: Path) -> None:
    np.save(files / "bad.npy", values)
    with pytest.raises(InputError, match=message):
        _import(files, static=files / "bad.npy")


def test_missing_files_and_wrong_combinations_are_named(files: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.pth: no such checkpoint"):
        _import(files, weights=files / "nowhere.pth")
    with pytest.raises(InputError, match="--dynamic is missing"):
        _import(files, dynamic=None)
    with pytest.raises(InputError, match="mlp has one scaler file"):
        _import(files, "mlp", dynamic=files / "dynamic.npy")
    with pytest.raises(InputError, match="published checkpoints are of"):
        import_published("ridge", files / "mlp.pth", files / "static.npy")


def test_a_file_without_model_state_says_what_it_holds(files: Path) -> None:
    torch.save({"weights": torch.ones(1)}, files / "other.pth")
    with pytest.raises(InputError, match="expected a state dict under 'model_state', found weights"):
        _import(files, weights=files / "other.pth")
    (files / "text.pth").write_text("not a checkpoint")
    with pytest.raises(InputError, match=r"text\.pth: refused"):
        _import(files, weights=files / "text.pth")
