"""The comparison of recipes: rows that all models share, the blend, and what is missing."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def pipeline() -> Any:
    spec = importlib.util.spec_from_file_location("beyond", ROOT / "pipelines" / "beyond_published.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["beyond"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def config(pipeline: Any) -> Any:
    return pipeline.BeyondConfig.load(ROOT / "configs" / "beyond_published.yaml", ["seeds=[1]"])


def table(error: float, days: int = 40, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    dates = pd.date_range("2020-01-01", periods=days).strftime("%Y%m%d").astype(int)
    truth = np.random.default_rng(7).uniform(0.1, 0.4, (6, 60))[:, :days].ravel()
    frame = pd.DataFrame({"ID": np.repeat(list("abcdef"), days), "Date": np.tile(dates, 6)})
    return frame.assign(y_test=truth, y_pred=truth + rng.normal(0, error, len(truth)))


def write_run(pipeline: Any, out: Path, name: str, frame: pd.DataFrame) -> None:
    folder = pipeline.run_folder(out, "off-site", name, 1)
    for fold, ids in (("fold-1", "abc"), ("fold-2", "def")):
        (folder / fold).mkdir(parents=True)
        part = frame[frame["ID"].isin(list(ids))]
        part.to_csv(folder / fold / "y_test_pred.csv", index=False)
        (folder / fold / "fold.json").write_text("{}")
    (folder / "scores.json").write_text("{}")


def test_models_are_scored_on_the_rows_that_all_of_them_predict(
    pipeline: Any, config: Any, tmp_path: Path
) -> None:
    write_run(pipeline, tmp_path, "modern", table(0.02, seed=1))
    write_run(pipeline, tmp_path, "xgboost", table(0.02, seed=2))
    write_run(pipeline, tmp_path, "published", table(0.05, days=30, seed=3))
    text = pipeline.markdown(config, tmp_path)
    assert "180 station-days of 6 stations." in text  # six stations with thirty days
    assert "Not run: xgboost-plain." in text
    assert "## on-site, seed 1\n\nNot run." in text
    cells = {
        line.split("|")[1].strip(): line.split("|") for line in text.splitlines() if line.startswith("|")
    }
    ubrmse = {name: float(cells[name][3]) for name in ("published", "modern", "xgboost", "blend")}
    assert ubrmse["blend"] < min(ubrmse["modern"], ubrmse["xgboost"]) < ubrmse["published"]
    assert ", -6" in cells["modern less published"][3]  # an error of 0.02 is 60 % less than one of 0.05


def test_an_unfinished_run_counts_only_when_asked_and_by_its_finished_folds(
    pipeline: Any, config: Any, tmp_path: Path
) -> None:
    write_run(pipeline, tmp_path, "modern", table(0.02))
    folder = pipeline.run_folder(tmp_path, "off-site", "modern", 1)
    (folder / "scores.json").unlink()
    (folder / "fold-2" / "fold.json").unlink()
    assert pipeline.predictions(tmp_path, "off-site", "modern", 1, partial=False) is None
    found = pipeline.predictions(tmp_path, "off-site", "modern", 1, partial=True)
    assert set(found["ID"]) == set("abc")


def test_single_folds_are_scored_alone(pipeline: Any, config: Any, tmp_path: Path) -> None:
    write_run(pipeline, tmp_path, "modern", table(0.02))
    found = pipeline.predictions(tmp_path, "off-site", "modern", 1, only=["fold-2"])
    assert set(found["ID"]) == set("def")
    assert pipeline.predictions(tmp_path, "off-site", "modern", 1, only=["2019"]) is None


def test_the_blend_is_the_mean_of_its_two_models(pipeline: Any, config: Any, tmp_path: Path) -> None:
    first, second = table(0.02, seed=1), table(0.02, seed=2)
    common = pipeline.with_blend(config, {"modern": first, "xgboost": second})
    mean = (first["y_pred"] + second["y_pred"]) / 2
    np.testing.assert_array_equal(common["blend"]["y_pred"], mean)
    assert "blend" not in pipeline.with_blend(config, {"modern": first})


def test_scores_over_seeds_are_their_mean_and_range(pipeline: Any, config: Any, tmp_path: Path) -> None:
    seeds = [{"modern": table(error, seed=1), "published": table(0.05, seed=2)} for error in (0.02, 0.04)]
    lines = pipeline.over_seeds(config, "off-site", seeds)
    cells = {line.split("|")[1].strip(): line.split("|")[2:] for line in lines if line.startswith("|")}
    rmse = [pipeline.shown(common["modern"])[3] for common in seeds]
    assert cells["modern (2)"][3].strip() == f"{np.mean(rmse):.4f} ({min(rmse):.4f} to {max(rmse):.4f})"
    assert "published (2)" in cells and "modern less published (2)" in cells
    assert not any(name.startswith(("xgboost", "blend")) for name in cells)
