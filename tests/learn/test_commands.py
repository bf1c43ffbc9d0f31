"""The commands train, evaluate, bundle import and bundle show."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from mmnet_maps.catalogue import Catalogue
from mmnet_maps.cli.main import app
from mmnet_maps.errors import InputError
from mmnet_maps.prepare.stations.files import write_table

TableMaker = Callable[..., pd.DataFrame]


def _run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments])


@pytest.fixture
def table(make_table: TableMaker, catalogue: Catalogue, tmp_path: Path) -> Path:
    frame = make_table(stations=6).assign(Network="SCAN", Latitude=40.0, Longitude=-100.0)
    frame["Latitude"] += frame["ID"].str[1:].astype(float)
    write_table(frame, tmp_path / "table.parquet", catalogue)
    return tmp_path / "table.parquet"


def test_train_then_evaluate_then_show(table: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    settings = ("--set", "folds=2", "--set", "baseline.alpha=3.5", "--set", "validation=random_rows")
    ran = _run(
        "train",
        "--table",
        table,
        "--model",
        "ridge",
        "--experiment",
        "off-site",
        *settings,
        "--out",
        out,
        "--json",
    )
    assert ran.exit_code == 0, ran.output
    printed = json.loads(ran.stdout)
    scores = json.loads((out / "scores.json").read_text())
    assert {k: printed[k] for k in scores} == scores
    assert "alpha: 3.5" in (out / "config.yaml").read_text()
    predicted = out / "fold-1" / "y_test_pred.csv"
    ran = _run("evaluate", predicted, "--out", tmp_path / "e.json", "--json")
    found = json.loads(ran.stdout)
    assert found == json.loads((tmp_path / "e.json").read_text())
    assert {"overall", "stations"} <= set(found)
    assert "folds" not in found
    assert found["overall"]["rmse"] == scores["folds"]["fold-1"]["rmse"]
    assert "median of 3 stations: corr" in _run("evaluate", predicted).stdout
    shown = _run("bundle", "show", out / "fold-1" / "bundle").stdout
    assert "model: ridge, recipe published" in shown
    assert "intervals: 90% nominal" in shown
    card = json.loads(_run("bundle", "show", out / "fold-1" / "bundle", "--json").stdout)
    assert card["facts"]["training"]["config"]["baseline"]["alpha"] == 3.5


def test_settings_come_from_a_file_and_options_win(table: Path, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(
        "model: forest\nexperiment: off-site\nfolds: 2\nbaseline: {alpha: 2.0}\n"
    )
    ran = _run(
        "train",
        "--table",
        table,
        "--config",
        tmp_path / "c.yaml",
        "--model",
        "ridge",
        "--out",
        tmp_path / "r",
    )
    assert ran.exit_code == 0, ran.output
    assert "model: ridge" in (tmp_path / "r" / "config.yaml").read_text()
    assert "fold fold-2: corr" in ran.stdout


def test_published_checkpoints_are_imported(shared: Path, tmp_path: Path) -> None:
    folder = shared / "spec" / "published-example"
    files = ("--static", folder / "static_mean_std.npy", "--dynamic", folder / "dynamic_mean_std.npy")
    weights = ("--weights", folder / "model_best.pth")
    ran = _run("bundle", "import", "--model", "mmnet", *weights, *files, "--out", tmp_path / "b", "--json")
    assert ran.exit_code == 0, ran.output
    shown = _run("bundle", "show", tmp_path / "b").stdout
    assert "the weights were imported" in shown
    assert json.loads(ran.stdout)["digest"][:12] in shown


def test_wrong_input_is_an_input_error(table: Path, tmp_path: Path) -> None:
    for arguments in (
        ("train", "--table", table, "--set", "epoch=1", "--out", tmp_path / "r"),
        ("train", "--table", tmp_path / "none.parquet", "--out", tmp_path / "r"),
        ("evaluate", tmp_path / "none.csv"),
        ("evaluate", table, "--out", tmp_path / "nowhere" / "scores.json"),
        ("bundle", "show", tmp_path),
    ):
        assert isinstance(_run(*arguments).exception, InputError), arguments
    assert not (tmp_path / "r").exists()
