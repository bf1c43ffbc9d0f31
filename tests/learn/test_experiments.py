"""Runs are resumable, repeatable, and blind to what they are tested on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mmnet_maps.catalogue import Catalogue
from mmnet_maps.errors import InputError
from mmnet_maps.learn.bundle import load_bundle
from mmnet_maps.learn.evaluate import evaluate_table, read_predictions
from mmnet_maps.learn.experiments import ExperimentConfig, run_experiment
from mmnet_maps.learn.model_input import from_table
from mmnet_maps.prepare.normals import with_normals

TableMaker = Callable[..., pd.DataFrame]
QUICK: dict[str, Any] = {"epochs": 1, "batch": 64, "folds": 3, "model": "mlp"}


def _config(**changes: Any) -> ExperimentConfig:
    return ExperimentConfig.from_mapping({**QUICK, **changes})


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_a_run_folder_holds_what_the_interface_says(
    make_table: TableMaker, catalogue: Catalogue, tmp_path: Path
) -> None:
    frame = make_table()
    summary = run_experiment(frame, catalogue, _config(), tmp_path)
    assert ExperimentConfig.load(tmp_path / "config.yaml").validation == "stations"
    assert json.loads((tmp_path / "scores.json").read_text()) == summary
    assert list(summary["folds"]) == ["fold-1", "fold-2", "fold-3"]
    assert set(summary["overall"]) >= {"corr", "rmse", "bias", "ubrmse", "n"}
    assert set(summary["stations"]) >= {"count", "mean", "median"}
    assert summary["overall"]["n"] == len(frame)
    tables = []
    for name in summary["folds"]:
        table = read_predictions(tmp_path / name / "y_test_pred.csv")
        assert list(table.columns) == ["ID", "Date", "y_test", "y_pred"]
        assert len(pd.read_csv(tmp_path / name / "trainlog.csv")) == 1
        tested = frame[frame["ID"].isin(table["ID"])]
        again = load_bundle(tmp_path / name / "bundle").predict(from_table(tested, catalogue))
        np.testing.assert_array_equal(table["y_pred"].to_numpy(np.float32), again)
        assert summary["folds"][name]["n"] == len(table)
        tables.append(table)
    expected = evaluate_table(pd.concat(tables))
    groups = summary["groups"]
    assert {**expected, "groups": groups["season"]} == {
        **{k: summary[k] for k in expected}, "groups": expected["groups"]["season"],
    }  # fmt: skip
    assert set(groups) == {"season", "land_cover"}


def test_smap_itself_is_a_baseline(make_table: TableMaker, catalogue: Catalogue, tmp_path: Path) -> None:
    frame = make_table()
    summary = run_experiment(frame, catalogue, _config(model="ridge"), tmp_path)
    corr = np.corrcoef(frame["VWC_5"], frame["SMAP"])[0, 1]
    assert summary["baselines"]["SMAP"]["overall"]["corr"] == pytest.approx(corr, abs=1e-9)


@pytest.mark.parametrize("model", ["mmnet", "transformer", "mlp", "ridge", "forest", "xgboost"])
def test_every_model_goes_through_the_same_splits(
    model: str, make_table: TableMaker, catalogue: Catalogue, tmp_path: Path
) -> None:
    small = {"trees": 5, "rounds": 10}
    config = _config(model=model, experiment="on-site", target=2020, baseline=small)
    summary = run_experiment(make_table(stations=6), catalogue, config, tmp_path)
    assert list(summary["folds"]) == ["2020"]
    assert summary["overall"]["n"] == 120


@pytest.mark.parametrize("model", ["mlp", "xgboost"])
@pytest.mark.parametrize("experiment", ["off-site", "on-site", "cross-region"])
def test_nothing_of_the_test_rows_reaches_the_model(
    model: str, experiment: str, make_table: TableMaker, catalogue: Catalogue, tmp_path: Path
) -> None:
    frame = make_table()
    config = _config(model=model, experiment=experiment, train_years=1, baseline={"rounds": 10})
    run_experiment(frame, catalogue, config, tmp_path / "a")
    name = next(p.name for p in sorted((tmp_path / "a").iterdir()) if p.is_dir())
    table = read_predictions(tmp_path / "a" / name / "y_test_pred.csv")
    tested = frame.set_index(["ID", "Date"]).index.isin(table.set_index(["ID", "Date"]).index)
    changed = frame.copy()
    rng = np.random.default_rng(5)
    for column in frame.columns.difference(["ID", "Date", "Domain"]):
        # Land cover stays a class: the MLP makes a number of it.
        if not column.startswith("LC_"):
            changed.loc[tested, column] = rng.uniform(0, 9, tested.sum()).astype(frame[column].dtype)
    run_experiment(changed, catalogue, config, tmp_path / "b")
    first, second = (_contents(tmp_path / run / name / "bundle") for run in "ab")
    assert first["weights.safetensors"] == second["weights.safetensors"]
    one, two = (json.loads(c["bundle.json"]) for c in (first, second))
    for part in ("scaler", "interval", "envelope"):
        assert one[part] == two[part]
    assert read_predictions(tmp_path / "b" / name / "y_test_pred.csv")["y_pred"].ne(table["y_pred"]).any()


def test_the_model_for_maps_is_fitted_on_all_and_calibrated_on_what_was_held_out(
    make_table: TableMaker, catalogue: Catalogue, tmp_path: Path
) -> None:
    frame = make_table()
    summary = run_experiment(frame, catalogue, _config(experiment="all", model="ridge"), tmp_path)
    assert list(summary["folds"]) == ["fold-1", "fold-2", "fold-3"]
    bundle = load_bundle(tmp_path / "all" / "bundle")
    assert bundle.facts["training"]["stations"] == 12
    assert bundle.interval is not None
    assert (bundle.interval.rows, bundle.interval.stations) == (len(frame), 12)


def test_a_run_goes_on_where_it_was_and_ends_with_the_same_bytes(
    make_table: TableMaker, catalogue: Catalogue, tmp_path: Path
) -> None:
    frame = make_table()
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    for out in (whole, broken):
        run_experiment(frame, catalogue, _config(experiment="all"), out)
    times = {p: p.stat().st_mtime_ns for p in broken.rglob("*.safetensors")}
    # As if killed while fold-2 was being written and before the last fit.
    (broken / "fold-2" / "fold.json").unlink()
    (broken / "all" / "fold.json").unlink()
    (broken / "scores.json").unlink()
    (broken / "fold-2" / "y_test_pred.csv").write_text("ID,Date\n")
    run_experiment(frame, catalogue, _config(experiment="all"), broken)
    assert _contents(whole) == _contents(broken)
    redone = {p.parts[-3] for p, t in times.items() if p.stat().st_mtime_ns != t}
    assert redone == {"fold-2", "all"}


@pytest.mark.parametrize("what", ["settings", "table"])
def test_other_settings_or_another_table_train_again(
    what: str, make_table: TableMaker, catalogue: Catalogue, tmp_path: Path
) -> None:
    config, frame = _config(model="ridge"), make_table()
    run_experiment(frame, catalogue, config, tmp_path)
    before = _contents(tmp_path)
    if what == "settings":
        config = _config(model="ridge", seed=2)
    else:
        frame.loc[0, "VWC_5"] += 0.1
    run_experiment(frame, catalogue, config, tmp_path)
    after = _contents(tmp_path)
    assert all(after[f"fold-{k}/fold.json"] != before[f"fold-{k}/fold.json"] for k in (1, 2, 3))


def test_folds_in_parallel_give_the_same_bytes(
    make_table: TableMaker, catalogue: Catalogue, tmp_path: Path
) -> None:
    frame = make_table()
    for name, workers in (("a", 1), ("b", 2)):
        run_experiment(frame, catalogue, _config(workers=workers), tmp_path / name)
    first, second = _contents(tmp_path / "a"), _contents(tmp_path / "b")
    assert first.pop("config.yaml") != second.pop("config.yaml")
    assert first == second


def test_folders_of_something_else_are_refused(
    make_table: TableMaker, catalogue: Catalogue, tmp_path: Path
) -> None:
    frame = make_table()
    run_experiment(frame, catalogue, _config(model="ridge"), tmp_path / "run")
    with pytest.raises(InputError, match="holds a run of ridge off-site, not mlp off-site"):
        run_experiment(frame, catalogue, _config(), tmp_path / "run")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").write_text("dear")
    with pytest.raises(InputError, match="exists and is no run folder"):
        run_experiment(frame, catalogue, _config(), tmp_path / "other")


def test_normals_of_a_tested_year_are_refused_on_site(
    make_table: TableMaker, catalogue: Catalogue, tmp_path: Path
) -> None:
    frame = make_table().assign(pr_normal=np.float32(1.5))
    config = _config(model="ridge", experiment="on-site", train_years=1)
    late = with_normals(catalogue, ["pr"], 2020)
    with pytest.raises(
        InputError, match=r"on-site tests 2020, .* of the years to 2020.*--normals-until 2019"
    ):
        run_experiment(frame, late, config, tmp_path / "a")
    assert not (tmp_path / "a").exists()
    run_experiment(frame, with_normals(catalogue, ["pr"], 2019), config, tmp_path / "a")
    run_experiment(frame, late, _config(model="ridge"), tmp_path / "b")


def test_what_the_table_or_the_settings_lack_is_named(
    make_table: TableMaker, catalogue: Catalogue, tmp_path: Path
) -> None:
    frame = make_table()
    with pytest.raises(InputError, match="model svm is not known; known are mmnet"):
        run_experiment(frame, catalogue, _config(model="svm"), tmp_path / "a")
    with pytest.raises(InputError, match=r"did you mean xgboost\?"):
        run_experiment(frame, catalogue, _config(model="xgbost"), tmp_path / "a")
    with pytest.raises(InputError, match="the table lacks columns clay"):
        run_experiment(frame.drop(columns="clay"), catalogue, _config(), tmp_path / "a")
    with pytest.raises(InputError, match="at least folds=3 stations; the table has 1"):
        run_experiment(make_table(stations=1), catalogue, _config(), tmp_path / "a")
    assert not (tmp_path / "a").exists()
