"""The dissimilarity index equals its formula written out, and the threshold that of other stations."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import cdist
from sklearn.neighbors import NearestNeighbors

from mmnet_maps.catalogue import Catalogue
from mmnet_maps.errors import InputError
from mmnet_maps.learn.applicability import REFERENCES, Applicability
from mmnet_maps.learn.bundle import CARD, load_bundle, save_bundle
from mmnet_maps.learn.columns import Column
from mmnet_maps.learn.folds import station_folds
from mmnet_maps.learn.model_input import from_table
from mmnet_maps.learn.rows import TrainingRows
from mmnet_maps.learn.train import TrainConfig, fit

from .conftest import TableMaker

IMPORTANCE = {
    Column("SMAP", "snapshot"): 0.03,
    Column("LC", "snapshot"): 0.01,
    Column("elevation", "snapshot"): -0.002,
    Column("pr", "series"): 0.02,
}


def _written_out(
    frame: pd.DataFrame, train: np.ndarray, catalogue: Catalogue
) -> tuple[np.ndarray, float, np.ndarray]:
    """Weighted, standardised predictors; the mean distance of training rows; as the paper has it."""
    covers = [name for name in catalogue.snapshot if name.startswith("LC_")]
    days = frame[["pr_2", "pr_1", "pr"]].to_numpy(np.float64)
    predictors = np.column_stack([frame["SMAP"], frame[covers], days.mean(axis=1), days[:, -1]])
    weight = np.array([0.03] + [0.01] * len(covers) + [0.02 / np.sqrt(2)] * 2)
    spread = predictors[train].std(axis=0)
    spread[spread == 0] = np.inf
    points = (predictors - predictors[train].mean(axis=0)) / spread * weight
    apart = cdist(points[train], points[train])
    return points, apart.sum() / (len(apart) * (len(apart) - 1)), apart


def test_index_and_threshold_are_those_of_the_paper(make_table: TableMaker, catalogue: Catalogue) -> None:
    frame = make_table(stations=16, days=15)
    train = np.arange(len(frame)) < 240
    inputs = from_table(frame, catalogue)
    station = frame["ID"].to_numpy()[train]
    found = Applicability.fit("mmnet", inputs.rows(train), station, catalogue, IMPORTANCE)
    assert found is not None and found.snapshot[0] != "elevation" and "elevation" not in found.snapshot
    points, scale, apart = _written_out(frame, train, catalogue)
    nearest = NearestNeighbors(n_neighbors=1).fit(points[train]).kneighbors(points[~train])[0][:, 0]
    told = found("mmnet", inputs.rows(~train), catalogue)
    np.testing.assert_allclose(told, nearest / scale, rtol=2e-5, atol=1e-6)

    fold = station_folds(station)
    others = np.where(fold[:, None] != fold, apart, np.inf).min(axis=1) / scale
    first, third = np.quantile(others, [0.25, 0.75])
    assert found.threshold == pytest.approx(min(others.max(), third + 1.5 * (third - first)), rel=1e-5)


def test_missing_stays_missing_and_what_is_unlike_lies_outside(
    make_table: TableMaker, catalogue: Catalogue
) -> None:
    frame = make_table(stations=8, days=15)
    inputs = from_table(frame, catalogue)
    found = Applicability.fit("mmnet", inputs, frame["ID"].to_numpy(), catalogue, IMPORTANCE)
    assert found is not None
    odd = frame.iloc[:3].copy()
    odd.loc[odd.index[0], "SMAP"] = np.nan
    odd.loc[odd.index[1], "SMAP"] = 5.0
    told = found("mmnet", from_table(odd, catalogue), catalogue)
    assert np.isnan(told[0]) and told[1] > found.threshold and told[2] == pytest.approx(0, abs=1e-3)


def test_few_rows_stand_for_many(make_table: TableMaker, catalogue: Catalogue) -> None:
    known, new = make_table(stations=30, days=80), make_table(stations=8, days=15, seed=1)
    new["SMAP"] += np.linspace(0, 0.5, len(new), dtype=np.float32)
    rows, asked = from_table(known, catalogue), from_table(new, catalogue)
    found = Applicability.fit("mmnet", rows, known["ID"].to_numpy(), catalogue, IMPORTANCE)
    assert found is not None and len(found.reference) <= REFERENCES
    both = pd.concat([known, new], ignore_index=True)
    points, scale, _ = _written_out(both, np.arange(len(both)) < len(known), catalogue)
    whole = cdist(points[len(known) :], points[: len(known)]).min(axis=1) / scale
    thin = found("mmnet", asked, catalogue)
    assert np.abs(thin - whole).mean() < 0.15
    assert np.corrcoef(np.argsort(np.argsort(thin)), np.argsort(np.argsort(whole)))[0, 1] > 0.8


def test_models_of_every_kind_carry_it(make_table: TableMaker, catalogue: Catalogue, tmp_path: Path) -> None:
    frame = make_table()
    rows = TrainingRows.from_frame(frame, catalogue)
    for kind in ("ridge", "mlp"):
        config = TrainConfig(epochs=2, batch=64, validation="stations")
        made = fit(kind, rows, catalogue, config).bundle
        known = made.applicability
        assert known is not None and "SMAP" in known.snapshot, kind
        assert bool(known.means) == (kind == "ridge")
        save_bundle(made, tmp_path / kind)
        again = load_bundle(tmp_path / kind)
        assert made.dissimilarity(rows.inputs).tobytes() == again.dissimilarity(rows.inputs).tobytes()
        assert save_bundle(again, tmp_path / kind).digest == again.digest
    without = replace(made, applicability=None)
    assert np.isnan(without.dissimilarity(rows.inputs)).all()
    odd = replace(known, lasts=("snow",) * len(known.lasts))
    save_bundle(replace(made, applicability=odd), tmp_path / "odd")
    with pytest.raises(InputError, match="means and lasts have variables that are not in the catalogue"):
        load_bundle(tmp_path / "odd")
    card = json.loads((tmp_path / "odd" / CARD).read_text())
    assert "reference" not in card["applicability"]
