"""A network that the program has never seen: one class, one line in the registry, and it makes maps."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from mmnet_maps.bench.made_up import made_up_inputs, made_up_tile
from mmnet_maps.catalogue import Catalogue, published_catalogue
from mmnet_maps.learn.bundle import load_bundle, save_bundle
from mmnet_maps.learn.columns import columns_of
from mmnet_maps.learn.explain import explain
from mmnet_maps.learn.model_input import raw_arrays
from mmnet_maps.learn.models.dense import blocks
from mmnet_maps.learn.models.network import Blocks, Layers, Network, Readout
from mmnet_maps.learn.models.networks import NETWORKS
from mmnet_maps.learn.rows import TrainingRows
from mmnet_maps.learn.train import TrainConfig, fit
from mmnet_maps.prepare.stations.files import model_columns
from mmnet_maps.produce.engine.engine import Engine
from mmnet_maps.produce.tile.program import predict_tile

CATALOGUE = published_catalogue()


class Smoother(nn.Module):
    """A convolution over the days, and its mean."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.over_days = nn.Conv1d(width, 12, 3, padding=1)

    def forward(self, series: Tensor) -> Tensor:
        return torch.tanh(self.over_days(series)).mean(dim=2)


class Fourth(Network):
    """A few columns and smoothed weather, joined in one layer."""

    def __init__(self, width: int, series: int, dropout: float) -> None:
        super().__init__()
        self.own = Blocks((width, 24), dropout)
        self.smoother = Smoother(series)
        self.joint = Blocks((24 + 12, 16), dropout, nn.Linear(16, 1))

    @staticmethod
    def columns(catalogue: Catalogue) -> tuple[str, ...]:
        return ("ndvi", "SMAP", "LC", "sand", "DoY_normalized")

    @classmethod
    def build(cls, catalogue: Catalogue, dropout: float, readout: Readout) -> Self:
        return cls(len(cls.columns(catalogue)), len(catalogue.series), dropout)

    def forward(self, columns: Tensor, series: Tensor) -> Tensor:
        return self.joint(torch.cat((self.own(columns), self.smoother(series)), dim=1))

    def layers(self, catalogue: Catalogue) -> Layers:
        first, *after = blocks(self.joint)
        pixel, series = first.split(slice(24), slice(24, None))
        return Layers(tuple(blocks(self.own)), pixel, series, tuple(after), self.smoother)


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(NETWORKS, "fourth", Fourth)
    torch.set_num_threads(1)


def _table(rows: int = 600) -> pd.DataFrame:
    inputs = made_up_inputs(CATALOGUE, rows)
    values = np.concatenate((inputs.snapshot, inputs.series.reshape(rows, -1)), axis=1)
    frame = pd.DataFrame(values, columns=list(model_columns(CATALOGUE)))
    smap = frame["SMAP"]
    target = 0.1 + 0.2 * (smap - smap.min()) / np.ptp(smap)
    days = pd.date_range("2018-01-01", periods=rows // 20).strftime("%Y%m%d").astype(int)
    return frame.assign(
        ID=np.repeat([f"s{k}" for k in range(20)], rows // 20), Date=np.tile(days, 20), VWC_5=target
    )


@pytest.mark.parametrize("recipe", ["published", "modern"])
def test_a_fourth_network_is_trained_stored_mapped_and_explained(recipe: str, tmp_path: Path) -> None:
    frame = _table()
    config = TrainConfig.from_mapping({"recipe": recipe, "epochs": 2, "batch": 64, "modern": {"epochs": 2}})
    save_bundle(
        fit("fourth", TrainingRows.from_frame(frame, CATALOGUE), CATALOGUE, config).bundle, tmp_path / "b"
    )
    bundle = load_bundle(tmp_path / "b")
    assert (bundle.kind, type(bundle.network)) == ("fourth", Fourth)

    engine, days = Engine(bundle), np.arange(18_810, 18_813, dtype=np.int64)
    assert set(engine.features) == set(Fourth.columns(CATALOGUE))
    tile = made_up_tile(CATALOGUE, 6, 9, days, seed=3, clouds=0.1)
    maps = predict_tile(engine, tile, days, keep_prediction=True).prediction
    assert maps is not None
    assert np.isfinite(maps).all()

    # The engine alone, against the plain forward pass of the same rows.
    inputs = made_up_inputs(CATALOGUE, 200, seed=5)
    raw, _ = raw_arrays("fourth", inputs, CATALOGUE)
    columns = dict(zip(Fourth.columns(CATALOGUE), raw.T, strict=True))
    engine = Engine(bundle, coarse="nearest")
    rows = np.minimum(np.arange(engine.block), 199)
    workspace = engine.workspace()
    engine.scale(np.stack([columns[name] for name in engine.features])[:, rows], 0, workspace.inputs)
    workspace.series[:] = rows
    table = engine.series_table(np.ascontiguousarray(inputs.series.transpose(2, 0, 1)), 1)[0]
    found = engine.predict(workspace, table)[:200]
    np.testing.assert_allclose(found, bundle.predict(inputs), rtol=1e-5, atol=1e-6)

    assert len(columns_of("fourth", CATALOGUE)) == 5 + 8 * 11
    importance = explain(bundle, frame, rows=5, background=20, samples=4).importance
    assert set(importance["variable"]) == {"ndvi", "SMAP", "LC", "sand", "DoY_normalized", *CATALOGUE.series}
