"""Nothing of the tested years or stations reaches training, from the raw exports on.

Every raw value of what is tested is changed; scaler, weights, intervals and early stopping must be the same.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mmnet_maps.catalogue import published_catalogue
from mmnet_maps.learn.experiments import ExperimentConfig, run_experiment
from mmnet_maps.prepare.normals import add_normals
from mmnet_maps.prepare.stations.files import read_table, write_table
from mmnet_maps.prepare.stations.settings import StationTableConfig
from mmnet_maps.prepare.stations.table import StationTable, build_station_table
from mmnet_maps.sources.stations.in_situ import read_in_situ, read_network
from mmnet_maps.sources.stations.raw_exports import read_raw_folder

#: Columns of the exports that are no values.
NAMES = ("system:index", ".geo", "ID", "Network", "Latitude", "Longitude", "Date", "Domain", "mode")


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = Path(__file__).parents[1] / "benchmarks" / "bench_station_table.py"
    spec = importlib.util.spec_from_file_location("bench_station_table", path)
    assert spec is not None and spec.loader is not None
    bench = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(bench)
    place = tmp_path_factory.mktemp("exports")
    bench.write_exports(place, 6, [2016, 2017], seed=9)
    return place


def build(place: Path, out: Path, fill: str) -> StationTable:
    catalogue = published_catalogue()
    tables, catalogue = add_normals(read_raw_folder(place / "raw", catalogue), catalogue, 2016)
    truth, network = read_in_situ(place / "in_situ.csv"), read_network(place / "network.csv")
    settings = StationTableConfig(fill=fill, window_missing="fill")  # type: ignore[arg-type]
    table = build_station_table(tables, truth, network, settings, catalogue)
    write_table(table.frame, out, table.catalogue)
    return table


def spoil(place: Path, which: Callable[[pd.DataFrame, str], Any]) -> None:
    """Change every value of the rows, or of the days of the wide table, that ``which`` chooses."""
    for path in [*sorted((place / "raw").glob("*.csv")), place / "in_situ.csv"]:
        table = pd.read_csv(path)
        chosen = np.broadcast_to(np.asarray(which(table, path.name), dtype=bool), len(table))
        for name in table.columns.difference(NAMES):
            if pd.api.types.is_float_dtype(table[name]):
                table.loc[chosen, name] *= 0.93
        table.to_csv(path, index=False)


def fit(table: Path, out: Path, experiment: str, model: str) -> tuple[dict[str, bytes], pd.DataFrame]:
    frame, catalogue = read_table(table)
    settings = {"epochs": 3, "patience": 1, "batch": 64, "folds": 3, "train_years": 1}
    config = ExperimentConfig.from_mapping(
        {**settings, "experiment": experiment, "model": model, "baseline": {"rounds": 15}}
    )
    run_experiment(frame, catalogue, config, out)
    [folder] = [out / name for name in ("2017", "fold-1") if (out / name).is_dir()]
    files = {name: (folder / name).read_bytes() for name in ("bundle/weights.safetensors", "trainlog.csv")}
    card = json.loads((folder / "bundle/bundle.json").read_text(encoding="utf-8"))
    files |= {part: json.dumps(card[part]).encode() for part in ("scaler", "interval", "envelope")}
    return files, pd.read_csv(folder / "y_test_pred.csv")


@pytest.mark.parametrize(("model", "fill"), [("mlp", "linear"), ("mlp", "past"), ("xgboost", "linear")])
def test_no_raw_value_of_the_tested_year_reaches_training(
    exports: Path, tmp_path: Path, model: str, fill: str
) -> None:
    place = tmp_path / "exports"
    shutil.copytree(exports, place)
    before = build(place, tmp_path / "a.parquet", fill)
    spoil(place, lambda t, name: t["Date"] >= 20170101 if name == "in_situ.csv" else "2017" in name)
    after = build(place, tmp_path / "b.parquet", fill)
    first, tested = fit(tmp_path / "a.parquet", tmp_path / "a", "on-site", model)
    second, again = fit(tmp_path / "b.parquet", tmp_path / "b", "on-site", model)
    assert first == second
    assert tested["y_pred"].ne(again["y_pred"]).mean() > 0.5
    # The tables themselves do differ before New Year where gaps are filled from both sides.
    early = [t.frame[t.frame["Date"] < 20170101].drop(columns="fill_ahead") for t in (before, after)]
    assert early[0].equals(early[1]) == (fill == "past")


def test_no_raw_value_of_a_tested_station_reaches_training(exports: Path, tmp_path: Path) -> None:
    fill = "linear"
    place = tmp_path / "exports"
    shutil.copytree(exports, place)
    build(place, tmp_path / "a.parquet", fill)
    first, tested = fit(tmp_path / "a.parquet", tmp_path / "a", "off-site", "mlp")
    spoil(place, lambda t, _: t["ID"].isin(set(tested["ID"])))
    build(place, tmp_path / "b.parquet", fill)
    second, again = fit(tmp_path / "b.parquet", tmp_path / "b", "off-site", "mlp")
    assert first == second
    assert tested["y_pred"].ne(again["y_pred"]).mean() > 0.5


def test_a_row_says_how_far_ahead_it_looks(exports: Path, tmp_path: Path) -> None:
    """Second opinion: spoil what lies after a day, and see which rows before it change."""
    place = tmp_path / "exports"
    shutil.copytree(exports, place)
    assert (build(place, tmp_path / "p.parquet", "past").frame["fill_ahead"] == 0).all()
    before = build(place, tmp_path / "a.parquet", "linear").frame
    spoil(place, lambda t, name: t["Date"] >= 20170101 if name == "in_situ.csv" else "2017" in name)
    after = build(place, tmp_path / "b.parquet", "linear").frame
    early = before["Date"] < 20170101
    assert (before[early][["ID", "Date"]] == after[after["Date"] < 20170101][["ID", "Date"]]).all().all()
    own = pd.to_datetime(before["Date"].astype(str))
    reaches = own + pd.to_timedelta(before["fill_ahead"], unit="D") >= pd.Timestamp(2017, 1, 1)
    values = before.columns.difference(["fill_ahead"])
    changed = (before.loc[early, values].ne(after[after["Date"] < 20170101][values]).to_numpy()).any(axis=1)
    assert changed.sum() > 50
    assert not (changed & ~reaches[early].to_numpy()).any()
    # It is not said of many more rows than it is true of.
    assert reaches[early].sum() <= changed.sum() + 5
