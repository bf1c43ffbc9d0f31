"""Contributions agree with closed forms, sum to the estimate, and are counted under the right name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from mmnet_maps.catalogue import Catalogue, published_catalogue
from mmnet_maps.errors import InputError
from mmnet_maps.learn.bundle import Bundle
from mmnet_maps.learn.columns import columns_of, membership, variables_of
from mmnet_maps.learn.contributions import contributions, gradient_contributions
from mmnet_maps.learn.explain import explain, write_explanation
from mmnet_maps.learn.model_input import ModelInput, fit_scaler, from_table, model_arrays, side_by_side
from mmnet_maps.learn.models.baselines import BaselineConfig, fit_baseline
from mmnet_maps.learn.models.networks import build_network

TableMaker = Callable[..., pd.DataFrame]


class _Linear(nn.Module):
    """w_s . snapshot + w_d . series, weights from a seed."""

    def __init__(self, inputs: ModelInput, seed: int = 0) -> None:
        super().__init__()
        made = torch.Generator().manual_seed(seed)
        self.snapshot = nn.Parameter(0.05 * torch.randn(inputs.snapshot.shape[1], generator=made))
        self.series = nn.Parameter(0.05 * torch.randn(inputs.series.shape[1:], generator=made))

    def forward(self, snapshot: torch.Tensor, series: torch.Tensor) -> torch.Tensor:
        return (snapshot @ self.snapshot + (series * self.series).sum(dim=(1, 2)))[:, None]

    @property
    def flat(self) -> np.ndarray:
        return torch.cat((self.snapshot, self.series.reshape(-1))).detach().double().numpy()


def _bundle(kind: str, frame: pd.DataFrame, catalogue: Catalogue) -> Bundle:
    inputs = from_table(frame, catalogue)
    scaler = fit_scaler(kind, inputs, catalogue)
    if kind in ("mmnet", "transformer", "mlp"):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network = build_network(kind, catalogue)
            for layer in network.modules():
                if isinstance(layer, nn.Linear | nn.BatchNorm1d):
                    layer.reset_parameters()
        return Bundle(kind, catalogue, scaler, network.eval().requires_grad_(False))
    columns = model_arrays(kind, inputs, catalogue, scaler)[0]
    config = BaselineConfig(trees=8, rounds=20, leaf=5)
    target = frame["VWC_5"].to_numpy(np.float64)
    return Bundle(kind, catalogue, scaler, baseline=fit_baseline(kind, columns, target, None, config, seed=1))


def test_a_linear_network_has_the_closed_form(make_table: TableMaker, catalogue: Catalogue) -> None:
    frame = make_table()
    bundle = _bundle("mmnet", frame, catalogue)
    inputs = from_table(frame, catalogue)
    network = _Linear(inputs)
    bundle = replace(bundle, network=network)
    explained, compared = inputs.rows(slice(0, 3)), inputs.rows(slice(3, 300))
    found, noise, base = contributions(bundle, explained, compared, samples=1500, seed=1)
    x, z = (side_by_side(model_arrays("mmnet", p, catalogue, bundle.scaler)) for p in (explained, compared))
    expected = (x - z.astype(np.float64).mean(axis=0)) * network.flat
    scale = np.abs(network.flat) * z.std(axis=0)
    # 1,500 draws of the background: the error is its standard deviation over the root of that.
    assert (np.abs(found - expected) < 5 * scale / np.sqrt(1500) + 1e-7).all()
    # The noise that is reported has that size.
    ratio = np.sqrt((noise**2).mean(axis=0))[scale > 0] / (scale[scale > 0] / np.sqrt(1500))
    assert 0.5 < np.sqrt(np.mean(ratio**2)) < 1.7
    assert base == pytest.approx(float((z @ network.flat).mean()), abs=1e-5)


def test_contributions_of_mmnet_sum_to_its_estimate(make_table: TableMaker, catalogue: Catalogue) -> None:
    frame = make_table()
    found = explain(_bundle("mmnet", frame, catalogue), frame, rows=12, background=60, samples=400)
    gap, whole = (found.facts["additivity"][n] for n in ("mean_abs_error", "mean_abs_difference"))
    assert gap < 0.15 * whole
    assert found.facts["method"] == "gradient" and found.facts["rows"] == 12


def test_an_ensemble_with_a_root_is_the_mean_of_its_members(
    make_table: TableMaker, catalogue: Catalogue
) -> None:
    frame = make_table()
    inputs = from_table(frame, catalogue)
    bundle = _bundle("mmnet", frame, catalogue)
    members = [_Linear(inputs, seed) for seed in (1, 2)]
    for member in members:  # far from zero, where the square is smooth
        member.forward = lambda a, b, m=member: _Linear.forward(m, a, b) * 0.2 + 0.6  # type: ignore[method-assign]
    pair = replace(bundle, network=members[0], others=(members[1],), target="sqrt")
    rows, compared = inputs.rows(slice(0, 5)), inputs.rows(slice(5, 100))
    both = contributions(pair, rows, compared, samples=20, seed=3)
    single = [contributions(replace(pair, network=m, others=()), rows, compared, 20, 3) for m in members]
    for k in range(3):
        np.testing.assert_allclose(both[k], (single[0][k] + single[1][k]) / 2, rtol=1e-4, atol=1e-6)


def test_ridge_and_xgboost_are_exact_and_a_blend_is_their_mean(
    make_table: TableMaker, catalogue: Catalogue
) -> None:
    frame = make_table()
    bundles = {kind: _bundle(kind, frame, catalogue) for kind in ("ridge", "xgboost")}
    for kind, bundle in bundles.items():
        found = explain(bundle, frame, rows=30, background=50)
        assert found.facts["additivity"]["mean_abs_error"] < 2e-6, kind
        assert (found.importance["noise"] == 0).all()
        assert "pr" in found.importance["variable"].head(3).tolist()
        assert found.importance.set_index("variable").loc["SMAP", "direction"] > 0.9
    inputs = from_table(frame, catalogue)
    rows, compared = inputs.rows(slice(0, 5)), inputs.rows(slice(5, 60))
    network = replace(_bundle("mmnet", frame, catalogue), network=_Linear(inputs))
    blend = replace(network, baseline=bundles["xgboost"].baseline)
    parts = [contributions(b, rows, compared, 30, 1) for b in (network, bundles["xgboost"])]
    np.testing.assert_allclose(
        contributions(blend, rows, compared, 30, 1)[0], (parts[0][0] + parts[1][0]) / 2, rtol=1e-5, atol=1e-8
    )


def test_a_forest_is_explained_by_what_shuffling_costs(make_table: TableMaker, catalogue: Catalogue) -> None:
    frame = make_table()
    found = explain(_bundle("forest", frame, catalogue), frame, rows=150)
    assert found.facts["method"] == "permutation" and found.contributions is None
    top = found.importance.set_index("variable")["importance"]
    assert top.index[0] == "SMAP"
    assert top["SMAP"] > 10 * abs(top["LC"])
    days = found.lags.set_index(["variable", "lag"])["importance"]
    assert days["pr", 0] == days["pr"].max()
    with pytest.raises(InputError, match="VWC_5: it is not there"):
        explain(_bundle("forest", frame, catalogue), frame.drop(columns="VWC_5"), rows=50)


@pytest.mark.parametrize("kind", ["mlp", "transformer"])
def test_the_other_networks_are_explained_too(
    kind: str, make_table: TableMaker, catalogue: Catalogue
) -> None:
    frame = make_table(stations=4)
    found = explain(_bundle(kind, frame, catalogue), frame, rows=4, background=20, samples=200)
    gap, whole = (found.facts["additivity"][n] for n in ("mean_abs_error", "mean_abs_difference"))
    assert gap < 0.5 * whole
    assert set(found.lags["lag"]) == ({0} if kind == "mlp" else {0, 1, 2})


def test_one_hot_and_cyclic_columns_are_counted_under_one_name() -> None:
    catalogue = published_catalogue("cyclic")
    columns = columns_of("mmnet", catalogue)
    assert len(columns) == 30 + 88
    names = [v.variable for v in variables_of(columns)]
    assert names.count("LC") == 1 and "DoY" in names and "aspect" in names
    assert not [n for n in names if n.startswith("LC_") or n.endswith(("_sin", "_cos"))]
    held = membership(columns)
    assert (held.sum(axis=1) == 1).all()
    assert held[:, names.index("LC")].sum() == 8 and held[:, names.index("eto")].sum() == 11
    assert [c.lag for c in columns if c.variable == "LST"] == list(range(10, -1, -1))
    assert len(columns_of("mlp", published_catalogue())) == 29


def test_a_row_sums_its_columns_before_its_size_is_taken(
    make_table: TableMaker, catalogue: Catalogue
) -> None:
    frame = make_table()
    bundle = _bundle("ridge", frame, catalogue)
    found = explain(bundle, frame, rows=40, background=60)
    assert found.contributions is not None
    by_name = found.importance.set_index("variable")["importance"]
    for name in ("LC", "pr", "SMAP"):
        assert by_name[name] == pytest.approx(np.abs(found.contributions[name]).mean(), rel=1e-12)
    assert found.importance["share"].sum() == pytest.approx(1.0)
    assert "LC" not in found.values.columns  # type: ignore[union-attr]


def test_the_same_seed_gives_the_same_rows_and_leaves_the_global_generator_alone(
    make_table: TableMaker, catalogue: Catalogue
) -> None:
    frame = make_table(stations=4)
    bundle = _bundle("mmnet", frame, catalogue)
    before = np.random.get_state()[1].copy()  # type: ignore[index,union-attr]  # noqa: NPY002
    first, again, other = (explain(bundle, frame, 3, 10, 4, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(before, np.random.get_state()[1])  # type: ignore[index]  # noqa: NPY002
    pd.testing.assert_frame_equal(first.importance, again.importance)
    pd.testing.assert_frame_equal(first.contributions, again.contributions)
    assert not first.importance["importance"].equals(other.importance["importance"])


def test_incomplete_rows_are_left_out_and_none_is_refused(
    make_table: TableMaker, catalogue: Catalogue
) -> None:
    frame = make_table(stations=4)
    bundle = _bundle("ridge", frame, catalogue)
    holes = frame.copy()
    holes.loc[holes.index[5:], "pr_1"] = np.nan
    assert explain(bundle, holes).facts["rows"] == 5
    with pytest.raises(InputError, match="0 complete rows of 160"):
        explain(bundle, frame.assign(pr=np.nan))


def test_what_is_written_is_what_was_found(
    make_table: TableMaker, catalogue: Catalogue, tmp_path: Path
) -> None:
    frame = make_table(stations=4)
    found = explain(_bundle("ridge", frame, catalogue), frame, rows=20)
    files = write_explanation(found, tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(p.name for p in files)
    stored = pd.read_csv(tmp_path / "importance.csv")
    np.testing.assert_allclose(stored["importance"], found.importance["importance"], rtol=1e-7)
    rows = pd.read_csv(tmp_path / "contributions.csv")
    total = rows["base"] + rows[list(found.importance["variable"])].sum(axis=1)
    np.testing.assert_allclose(total, rows["y_pred"], atol=1e-5)


def test_a_single_input_network_has_the_closed_form_too() -> None:
    random = np.random.default_rng(0)
    rows, compared = (random.normal(size=(n, 4)).astype(np.float32) for n in (3, 50))
    network = nn.Linear(4, 1).eval()
    values, noise = gradient_contributions(network, (rows,), (compared,), samples=2000, seed=1)
    weight = network.weight.detach().double().numpy()[0]
    np.testing.assert_allclose(values, (rows - compared.mean(axis=0)) * weight, atol=0.08)
    assert noise.shape == values.shape
