"""The commands evaluate, explain and figures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from mmnet_maps.catalogue import LAND_COVER_CLASSES, Catalogue, published_catalogue
from mmnet_maps.cli.main import app
from mmnet_maps.errors import InputError
from mmnet_maps.learn.bundle import Bundle, save_bundle
from mmnet_maps.learn.evaluate import station_scores
from mmnet_maps.learn.model_input import fit_scaler, from_table, model_arrays
from mmnet_maps.learn.models.baselines import BaselineConfig, fit_baseline
from mmnet_maps.prepare.stations.files import model_columns, write_table


def _run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments])


@pytest.fixture
def catalogue() -> Catalogue:
    return published_catalogue().model_copy(update={"lags": (1, 0)})


@pytest.fixture
def frame(catalogue: Catalogue) -> pd.DataFrame:
    random = np.random.default_rng(0)
    names = list(model_columns(catalogue))
    table = pd.DataFrame(random.normal(size=(200, len(names))).astype(np.float32), columns=names)
    for k, name in enumerate(LAND_COVER_CLASSES):
        table[f"LC_{name}"] = (np.repeat(np.arange(5), 40) == k).astype(np.float32)
    dates = pd.date_range("2020-06-01", periods=40).strftime("%Y%m%d").astype(int)
    place = np.repeat(np.arange(5.0), 40)
    return table.assign(
        ID=np.repeat([f"s{k}" for k in range(5)], 40), Date=np.tile(dates, 5), Network="SCAN",
        Latitude=40 + place, Longitude=-100 + place, Climate=np.where(place < 3, "BSk", "Cfa"),
        VWC_5=0.2 + 0.03 * table["SMAP"],
    )  # fmt: skip


@pytest.fixture
def table(frame: pd.DataFrame, catalogue: Catalogue, tmp_path: Path) -> Path:
    write_table(frame, tmp_path / "table.parquet", catalogue)
    return tmp_path / "table.parquet"


@pytest.fixture
def predictions(frame: pd.DataFrame, tmp_path: Path) -> Path:
    random = np.random.default_rng(1)
    path = tmp_path / "run" / "fold-1" / "y_test_pred.csv"
    path.parent.mkdir(parents=True)
    rows = frame[["ID", "Date"]].assign(
        y_test=frame["VWC_5"], y_pred=frame["VWC_5"] + random.normal(0, 0.02, 200)
    )
    rows.to_csv(path, index=False)
    return path


def test_evaluate_takes_groups_from_a_table_and_writes_stations(
    predictions: Path, table: Path, tmp_path: Path
) -> None:
    stations = tmp_path / "stations.csv"
    ran = _run("evaluate", predictions, "--table", table, "--stations", stations, "--resamples", 20, "--json")
    assert ran.exit_code == 0, ran.output
    found = json.loads(ran.stdout)
    assert {"overall", "stations"} <= set(found)
    assert set(found["groups"]["climate"]) == {"BSk", "Cfa"}
    assert set(found["groups"]["land_cover"]) == set(LAND_COVER_CLASSES[:5])
    assert set(found["groups"]["season"]) == {"summer"}
    assert found["intervals"]["resamples"] == 20
    rows = pd.read_csv(predictions)
    expected = station_scores(*(rows[n].to_numpy() for n in ("y_test", "y_pred", "ID")))
    pd.testing.assert_frame_equal(pd.read_csv(stations), expected, check_dtype=False)
    shown = _run("evaluate", predictions, "--resamples", 20).stdout
    assert "season summer, n 200, median of 5 stations: corr" in shown and "95% interval" in shown
    assert "climate" not in shown


def test_evaluate_against_another_model_is_paired(predictions: Path, tmp_path: Path) -> None:
    other = pd.read_csv(predictions)
    other["y_pred"] += np.random.default_rng(2).normal(0, 0.05, len(other))
    other.to_csv(tmp_path / "other.csv", index=False)
    ran = _run("evaluate", predictions, "--against", tmp_path / "other.csv", "--json")
    found = json.loads(ran.stdout)["paired"]
    assert found["stations"] == 5 and found["ubrmse"]["interval"][1] < 0
    shown = _run("evaluate", predictions, "--against", tmp_path / "other.csv").stdout
    assert "against the other model, 5 stations, 200 rows (medians):" in shown


def test_explain_writes_tables_and_figures(
    frame: pd.DataFrame, catalogue: Catalogue, table: Path, tmp_path: Path
) -> None:
    inputs = from_table(frame, catalogue)
    scaler = fit_scaler("ridge", inputs, catalogue)
    columns = model_arrays("ridge", inputs, catalogue, scaler)[0]
    target = frame["VWC_5"].to_numpy(np.float64)
    ridge = fit_baseline("ridge", columns, target, None, BaselineConfig(), seed=1)
    save_bundle(Bundle("ridge", catalogue, scaler, baseline=ridge), tmp_path / "bundle")
    out = tmp_path / "deep" / "why"
    ran = _run(
        "explain", "--bundle", tmp_path / "bundle", "--table", table, "--out", out, "--rows", 50, "--json"
    )
    assert ran.exit_code == 0, ran.output
    found = json.loads(ran.stdout)
    assert found["importance"][0]["variable"] == "SMAP" and found["rows"] == 50
    assert {p.name for p in out.iterdir()} == {
        "importance.csv", "importance_by_lag.csv", "contributions.csv", "explanation.json",
        "importance.png", "importance_by_lag.png", "contributions.png",
    }  # fmt: skip
    assert {Path(f).name for f in found["files"]} == {p.name for p in out.iterdir()}
    shown = _run("explain", "--bundle", tmp_path / "bundle", "--table", table, "--out", out).stdout
    assert "SMAP (snapshot): 0.0" in shown and "contributions miss their sum by 0.00000" in shown


def test_figures_of_a_run_in_one_command(predictions: Path, table: Path, tmp_path: Path) -> None:
    ran = _run(
        "figures",
        predictions.parents[1],
        "--table",
        table,
        "--station",
        "s3",
        "--out",
        tmp_path / "f",
        "--json",
    )
    assert ran.exit_code == 0, ran.output
    found = json.loads(ran.stdout)
    assert {Path(f).name for f in found["files"]} == {p.name for p in (tmp_path / "f").iterdir()}
    assert (tmp_path / "f" / "series_s3.png").is_file() and (tmp_path / "f" / "map_run.png").is_file()


def test_wrong_input_is_an_input_error(predictions: Path, table: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for arguments in (
        ("evaluate", predictions, "--stations", tmp_path / "none" / "s.csv"),
        ("evaluate", predictions, "--table", tmp_path / "none.parquet"),
        ("evaluate", predictions, "--against", table),
        ("figures", tmp_path / "none", "--out", tmp_path / "f"),
        ("figures", predictions.parents[1], "--out", tmp_path / "file"),
        ("figures", predictions.parents[1], "--out", tmp_path / "file" / "deeper"),
        ("explain", "--bundle", tmp_path, "--table", table, "--out", tmp_path / "f"),
    ):
        assert isinstance(_run(*arguments).exception, InputError), arguments
