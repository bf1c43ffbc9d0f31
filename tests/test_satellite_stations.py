"""The pipeline of the whole network on real stations, with the shortest trainings."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

from mmnet_maps.prepare.stations.files import read_table

ROOT = Path(__file__).resolve().parents[1]


def test_every_model_is_scored_on_the_same_station_days(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = yaml.safe_load((ROOT / "configs/satellite_stations.yaml").read_text(encoding="utf-8"))
    kept = ("mmnet", "mmnet, series alone", "mlp")
    models = {name: settings["models"][name] for name in kept}
    for entry in models.values():
        entry["training"] |= {"epochs": 1, "folds": 2, "modern": {"epochs": 1}}
    against = [["mmnet", "mmnet, series alone"], ["mmnet", "SMAP, scaled"]]
    small = {**settings, "experiments": ["off-site"], "models": models, "against": against}
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(small), encoding="utf-8")
    windows = shared / "data" / "uscrn_satellite" / "windows.csv.gz"
    files = shared / "data" / "uscrn" / "CRND0103_2015-2022.zip"
    words = ["--config", tmp_path / "small.yaml", "--windows", windows, "--files", files, "--out", tmp_path]
    monkeypatch.setattr(sys, "argv", ["satellite_stations", *map(str, words)])
    runpy.run_path(str(ROOT / "pipelines/satellite_stations.py"), run_name="__main__")

    frame, catalogue = read_table(tmp_path / "all.parquet")
    alone, fewer = read_table(tmp_path / "series.parquet")
    assert len(frame) == len(alone) > 2000 and frame["ID"].nunique() == 39
    assert {"ndvi", "vvvh", "clay", "SMAP", "mtpi"} <= set(catalogue.snapshot)
    assert fewer.snapshot == ("DoY_normalized", "Latitude", "Longitude", "SMAP")
    assert fewer.series == catalogue.series
    # Only the last day of a window is free of the future.
    day = pd.to_datetime(frame["Date"].astype(str)) - pd.Timestamp("2019-01-01")
    assert (day.dt.days % 10 == 9).all()
    text = (tmp_path / "satellite_stations.md").read_text(encoding="utf-8")
    assert f"**off-site**, {len(frame)} station-days of 39 stations" in text
    assert "| mmnet less SMAP, scaled | " in text and text.count("\n| mlp |") == 1
