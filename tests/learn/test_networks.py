"""The networks are the published ones, in evaluation and in training."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from mmnet_maps.catalogue import Catalogue, published_catalogue
from mmnet_maps.errors import InputError
from mmnet_maps.learn.models import training_pass
from mmnet_maps.learn.models.dense import Dense, shifted_biases
from mmnet_maps.learn.models.mlp import MLP
from mmnet_maps.learn.models.mmnet import MMNet
from mmnet_maps.learn.models.network import GaussianDropout
from mmnet_maps.learn.models.networks import build_network
from mmnet_maps.learn.models.training_pass import encoder_layer, keep_factor, last_step, rectify
from mmnet_maps.learn.models.transformer import Transformer


def test_the_published_checkpoint_gives_the_published_outputs(shared: Path) -> None:
    folder = shared / "spec" / "published-example"
    with torch.serialization.safe_globals([nn.MSELoss]):
        state = torch.load(folder / "model_best.pth", weights_only=True)["model_state"]
    network = MMNet().eval()
    # The position code is part of the checkpoint; ours is computed, with the sines of this processor.
    code, published = network.state_dict()["position_enc.pe"], state["position_enc.pe"]
    torch.testing.assert_close(code, published, rtol=0, atol=1e-6)
    network.load_state_dict(state)
    arrays = np.load(folder / "io.npz")
    static, dynamic = np.load(folder / "static_mean_std.npy"), np.load(folder / "dynamic_mean_std.npy")
    snapshot = ((arrays["X_s"] - static[0]) / static[1]).astype(np.float32)
    series = ((arrays["X_d"] - dynamic[0][:, None]) / dynamic[1][:, None]).astype(np.float32)
    inputs = torch.from_numpy(snapshot), torch.from_numpy(series)
    with torch.no_grad():
        found = network(*inputs).numpy()
        exact = network.double()(*(values.double() for values in inputs)).numpy()
    # The published outputs are float32 of one processor: 1.6e-6 from what float64 gives, as ours are.
    np.testing.assert_allclose(exact, arrays["y"], rtol=0, atol=2e-6)
    np.testing.assert_allclose(found, exact, rtol=0, atol=3e-6)


@pytest.mark.parametrize("shifted", [set(), {0}, {1, 2}, {0, 1, 2}])
def test_layers_without_their_bias_give_the_same_in_the_end(shifted: set[int]) -> None:
    draw = torch.Generator().manual_seed(3)
    layers = [
        Dense(torch.randn(a, b, generator=draw), torch.randn(b, generator=draw))
        for a, b in itertools.pairwise((5, 7, 6, 4, 2))
    ]
    inputs = torch.randn(50, 5, generator=draw)
    inputs[3, 1] = torch.nan
    whole, own = inputs, inputs
    for index, (layer, bias) in enumerate(zip(layers, shifted_biases(layers, shifted), strict=True)):
        whole, own = whole @ layer.weight + layer.bias, own @ layer.weight
        if index in shifted:
            whole, own = whole.relu(), torch.maximum(own, -bias)
            torch.testing.assert_close(own + bias, whole, rtol=0, atol=1e-4, equal_nan=True)
        else:
            own = own + bias
            if index < 3:
                whole, own = whole.relu(), own.relu()
    assert torch.isnan(own[3]).all()
    torch.testing.assert_close(own, whole, rtol=0, atol=1e-4, equal_nan=True)


def test_the_position_code_is_the_stated_formula() -> None:
    table = MMNet().state_dict()["position_enc.pe"].numpy()
    assert table.shape == (12, 128)
    assert not table[0].any()
    for k, j in [(1, 0), (4, 7), (11, 63)]:
        angle = math.exp(-2 * j * math.log(1000) / 128) * (k - 1)
        assert table[k, 2 * j] == pytest.approx(math.sin(angle), abs=1e-6)
        assert table[k, 2 * j + 1] == pytest.approx(math.cos(angle), abs=1e-6)


def _plain_layer(network: MMNet) -> nn.TransformerEncoderLayer:
    layer = network.transformerencoder.layers[0]
    assert isinstance(layer, nn.TransformerEncoderLayer)
    return layer


def test_the_training_pass_equals_the_stock_layers_forward_and_backward() -> None:
    torch.manual_seed(0)
    network = MMNet(dropout=0.0).train()
    days = torch.randn(7, 11, 128, requires_grad=True)
    weight = torch.randn(7, 11, 128)
    parameters = [days, *network.transformerencoder.parameters()]
    ours, stock = network._attend(days), network.transformerencoder(days)
    torch.testing.assert_close(ours, stock, rtol=1e-4, atol=5e-6)
    found = torch.autograd.grad((ours * weight).sum(), parameters)
    expected = torch.autograd.grad((stock * weight).sum(), parameters)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=5e-5)


def test_the_last_step_alone_equals_the_last_of_all_steps_forward_and_backward() -> None:
    torch.manual_seed(0)
    network = MMNet(dropout=0.0, readout="last").eval()
    days = torch.randn(7, 11, 128, requires_grad=True)
    weight = torch.randn(7, 128)
    parameters = [days, *network.transformerencoder.parameters()]
    ours, stock = network._last(days), network.transformerencoder(days)[:, -1]
    torch.testing.assert_close(ours, stock, rtol=1e-4, atol=5e-6)
    found = torch.autograd.grad((ours * weight).sum(), parameters)
    expected = torch.autograd.grad((stock * weight).sum(), parameters)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=5e-5)


def test_the_last_step_in_training_has_the_mean_of_many_draws_of_dropout_in_its_attention() -> None:
    torch.manual_seed(1)
    layer = _plain_layer(MMNet())
    # Without the feed-forward layer and the norms the layer is linear in what dropout multiplies.
    for norm in (layer.norm1, layer.norm2):
        norm.forward = lambda values: values  # type: ignore[method-assign]
    torch.nn.init.zeros_(layer.linear2.weight)
    days = torch.randn(1, 11, 128).expand(20_000, -1, -1)
    with torch.no_grad():
        found, expected = last_step(layer, days, 0.2), last_step(layer, days[:1], 0.0)
    error = found.std(dim=0) / math.sqrt(len(found))
    assert error.min() > 1e-5
    assert ((found.mean(dim=0) - expected[0]).abs() < 5 * error).all()


def test_attention_dropout_matches_plain_attention_with_the_same_mask(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows, steps, heads, size = 3, 5, 16, 8
    torch.manual_seed(1)
    layer = _plain_layer(MMNet())
    factor = keep_factor((steps, steps, rows * heads), 0.3)
    days = torch.randn(rows, steps, 128, requires_grad=True)

    def kept(shape: tuple[int, ...], p: float) -> torch.Tensor:
        return factor if len(shape) == 3 else torch.ones(shape)

    monkeypatch.setattr(training_pass, "keep_factor", kept)
    attention = layer.self_attn
    projected = nn.functional.linear(days, attention.in_proj_weight, attention.in_proj_bias)
    query, key, value = projected.view(rows, steps, 3, heads, size).permute(2, 0, 3, 1, 4)
    mask = factor.view(steps, steps, rows, heads).permute(2, 3, 0, 1)
    shares = torch.softmax(query @ key.transpose(-1, -2) / math.sqrt(size), dim=-1) * mask
    context = (shares @ value).transpose(1, 2).reshape(rows, steps, 128)
    flat = layer.norm1(attention.out_proj(context) + days)
    plain = layer.norm2(layer.linear2(torch.relu(layer.linear1(flat))) + flat)
    ours = encoder_layer(layer, days, 0.3)
    torch.testing.assert_close(ours, plain, rtol=1e-4, atol=1e-5)
    weight = torch.randn_like(plain)
    (found,) = torch.autograd.grad((ours * weight).sum(), days)
    (expected,) = torch.autograd.grad((plain * weight).sum(), days)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_rectify_is_relu_times_factor_with_its_gradient() -> None:
    torch.manual_seed(2)
    source = torch.randn(50, 9, requires_grad=True)
    factor = torch.randn(50, 9)
    expected = torch.relu(source) * factor
    (slope,) = torch.autograd.grad(expected.sum(), source)
    ours = rectify(source * 1, factor.clone())
    torch.testing.assert_close(ours, expected)
    torch.testing.assert_close(torch.autograd.grad(ours.sum(), source)[0], slope)


def test_noise_has_the_stated_mean_and_deviation_and_rests_in_evaluation() -> None:
    torch.manual_seed(3)
    layer = GaussianDropout(0.2)
    ones = torch.ones(400_000)
    noisy = layer.train()(ones)
    assert noisy.mean().item() == pytest.approx(1, abs=0.002)
    assert noisy.std().item() == pytest.approx(0.25, abs=0.002)
    assert layer.eval()(ones) is ones


def test_dropout_keeps_the_stated_share_and_the_mean() -> None:
    torch.manual_seed(4)
    factor = keep_factor((1001, 999), 0.2)
    assert (factor == 0).float().mean().item() == pytest.approx(0.2, abs=0.002)
    assert factor.mean().item() == pytest.approx(1, abs=0.002)
    assert sorted(factor.unique().tolist()) == pytest.approx([0, 1.25], abs=1e-4)


def test_initialisation_is_the_published_one() -> None:
    torch.manual_seed(5)
    network = MMNet()
    weight = torch.cat([m.weight.flatten() for m in [network.fusion[0]]])
    assert weight.std().item() == pytest.approx(math.sqrt(2 / 256), rel=0.05)
    biases = torch.cat([m.bias for m in network.modules() if isinstance(m, nn.Linear)])
    assert biases.std().item() == pytest.approx(1, rel=0.1)
    scales = torch.cat([m.weight for m in network.modules() if isinstance(m, nn.BatchNorm1d)])
    assert scales.mean().item() == pytest.approx(0, abs=0.15)
    norms = torch.cat([m.weight for m in network.modules() if isinstance(m, nn.LayerNorm)])
    assert (norms == 1).all()
    assert not _plain_layer(network).self_attn.in_proj_bias.any()


def test_state_dict_names_of_the_baseline_networks() -> None:
    transformer, mlp = set(Transformer().state_dict()), set(MLP().state_dict())
    assert {
        "encoder_d.0.lin.weight",
        "inlayernorm.weight",
        "position_enc.pe",
        "decoder.8.bias",
    } <= transformer
    assert {f"encoder.{k}.weight" for k in (0, 1, 4, 5, 8, 9)} <= mlp
    assert Transformer().state_dict()["encoder_d.0.lin.weight"].shape == (32, 36)
    assert MLP().state_dict()["encoder.0.weight"].shape == (32, 29)


@pytest.mark.parametrize("kind", ["mmnet", "transformer", "mlp"])
def test_widths_come_from_the_catalogue(kind: str, catalogue: Catalogue) -> None:
    small = catalogue.without(["VV", "VH", "etr"])
    network = build_network(kind, small).eval()
    snapshot, series = torch.zeros(4, len(small.snapshot)), torch.zeros(4, len(small.series), len(small.lags))
    inputs = (torch.zeros(4, len(MLP.columns(small))),) if kind == "mlp" else (snapshot, series)
    assert network(*inputs).shape == (4, 1)
    assert len(MLP.columns(published_catalogue())) == 29


def test_an_unknown_network_is_named() -> None:
    with pytest.raises(InputError, match="resnet; known are mmnet"):
        build_network("resnet", published_catalogue())
