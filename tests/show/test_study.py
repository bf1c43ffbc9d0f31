"""Figures of a study: what is drawn for one run and for several, and the numbers beside the figures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mmnet_maps.errors import InputError
from mmnet_maps.learn.evaluate import station_scores
from mmnet_maps.show.figures import boxes_figure, map_figure, png, station_figure
from mmnet_maps.show.run_folder import read_runs
from mmnet_maps.show.study import write_figures


def _run(folder: Path, model: str, noise: float, stations: int = 5) -> Path:
    random = np.random.default_rng(0)
    dates = pd.date_range("2020-05-01", periods=40).strftime("%Y%m%d").astype(int)
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(f"model: {model}\n")
    for fold in range(2):
        truth = random.uniform(0.05, 0.4, stations * len(dates))
        error = np.random.default_rng(fold).normal(0, noise, len(truth))
        ids = np.repeat([f"net:s{fold}{k}" for k in range(stations)], len(dates))
        table = pd.DataFrame(
            {"ID": ids, "Date": np.tile(dates, stations), "y_test": truth, "y_pred": truth + error}
        )
        (folder / f"fold-{fold + 1}").mkdir()
        table.to_csv(folder / f"fold-{fold + 1}" / "y_test_pred.csv", index=False)
    return folder


def _table(run: Path) -> pd.DataFrame:
    rows = pd.concat([pd.read_csv(path) for path in sorted(run.glob("*/y_test_pred.csv"))])
    number = rows["ID"].str[-2:].astype(int)
    return rows[["ID", "Date"]].assign(
        Latitude=30.0 + number, Longitude=-110.0 + 2 * number, SMAP=rows["y_test"] + 0.05, pr=3.0
    )


def test_one_run_gives_every_figure(tmp_path: Path) -> None:
    run = _run(tmp_path / "run", "mmnet", 0.05)
    out = tmp_path / "out"
    out.mkdir()
    files, left_out = write_figures(read_runs([run]), out, _table(run))
    names = {path.name for path in files}
    assert {"scatter_mmnet.png", "map_mmnet.png", "boxes.png", "station_scores.csv"} < names
    assert [n for n in names if n.startswith("series_net-s")] and left_out == []
    assert names == {path.name for path in out.iterdir()}
    assert all(p.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n" for p in files if p.suffix == ".png")
    listed = pd.read_csv(out / "station_scores.csv")
    assert set(listed["model"]) == {"mmnet", "SMAP"} and len(listed) == 20
    assert (listed.loc[listed["model"] == "SMAP", "bias"] - 0.05).abs().max() < 1e-6
    assert listed["Latitude"].notna().all()


def test_without_a_table_it_says_what_is_missing(tmp_path: Path) -> None:
    runs = read_runs([_run(tmp_path / "run", "mmnet", 0.05)])
    files, left_out = write_figures(runs, tmp_path)
    assert not [p for p in files if p.name.startswith("map")]
    assert left_out == ["maps of stations, SMAP and precipitation: give --table"]


def test_the_station_drawn_is_the_median_one_or_those_asked_for(tmp_path: Path) -> None:
    runs = read_runs([_run(tmp_path / "run", "mmnet", 0.05)])
    rows = runs[0].predictions
    scores = station_scores(*(rows[n].to_numpy() for n in ("y_test", "y_pred", "ID"))).sort_values("corr")
    middle = scores["ID"].iloc[(len(scores) - 1) // 2].replace(":", "-")
    assert tmp_path / f"series_{middle}.png" in write_figures(runs, tmp_path)[0]
    asked = write_figures(runs, tmp_path, None, ("net:s00", "net:s11"))[0]
    assert {p.name for p in asked if "series" in p.name} == {"series_net-s00.png", "series_net-s11.png"}
    with pytest.raises(InputError, match="--station x: not among the 10 stations"):
        write_figures(runs, tmp_path, None, ("x",))


def test_several_runs_are_compared_on_the_rows_that_all_have(tmp_path: Path) -> None:
    folders = [_run(tmp_path / "a", "mmnet", 0.02), _run(tmp_path / "b", "ridge", 0.08)]
    path = folders[1] / "fold-2" / "y_test_pred.csv"
    pd.read_csv(path).iloc[:-40].to_csv(path, index=False)
    files, _ = write_figures(read_runs(folders), tmp_path)
    assert {"scatter_mmnet.png", "scatter_ridge.png", "boxes.png", "paired.csv"} <= {p.name for p in files}
    paired = pd.read_csv(tmp_path / "paired.csv").set_index("score")
    assert (paired["stations"] == 9).all() and (paired["n"] == 360).all()
    assert paired.loc["ubrmse", "high"] < 0 < paired.loc["corr", "low"]


def test_runs_without_a_common_row_have_no_box_plots(tmp_path: Path) -> None:
    folders = [_run(tmp_path / "a", "mmnet", 0.02), _run(tmp_path / "b", "ridge", 0.08)]
    for path in folders[1].glob("*/y_test_pred.csv"):
        pd.read_csv(path).assign(Date=lambda t: t["Date"] + 10000).to_csv(path, index=False)
    files, left_out = write_figures(read_runs(folders), tmp_path)
    assert "boxes.png" not in {p.name for p in files}
    assert "box plots: the runs have no station-day in common" in left_out


def test_runs_of_one_model_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    folders = [_run(tmp_path / name, "mmnet", 0.02) for name in ("published", "modern")]
    assert [run.name for run in read_runs(folders)] == ["published", "modern"]
    twins = [_run(tmp_path / name / "run", "mmnet", 0.02) for name in ("x", "y")]
    assert [run.name.endswith(f"{n}-run") for n, run in zip("xy", read_runs(twins), strict=True)] == [
        True
    ] * 2


@pytest.mark.parametrize("what", ["none", "empty", "twice", "no date", "station-day twice"])
def test_what_is_no_run_is_refused(what: str, tmp_path: Path) -> None:
    run = _run(tmp_path / "run", "mmnet", 0.05)
    path = run / "fold-1" / "y_test_pred.csv"
    if what == "none":
        folders, message = [tmp_path / "nothing"], "no such run folder"
    elif what == "empty":
        folders, message = [tmp_path / "run" / "fold-1"], "expected the folder that"
    elif what == "twice":
        folders, message = [run, run], "given twice"
    else:
        table = pd.read_csv(path)
        changed = table.assign(Date=7) if what == "no date" else pd.concat([table, table.head(1)])
        changed.to_csv(path, index=False)
        folders = [run]
        message = (
            "Date 7 in row 1 is no date"
            if what == "no date"
            else "net:s00 has the day 20200501 more than once"
        )
    with pytest.raises(InputError, match=message):
        write_figures(read_runs(folders), tmp_path)


def test_the_same_numbers_give_the_same_picture_and_undefined_ones_do_no_harm() -> None:
    place = np.array([-100.0, -90.0]), np.array([40.0, 35.0])
    scores = {name: np.array([0.5, np.nan]) for name in ("corr", "ubrmse", "bias")}
    assert png(map_figure(*place, scores, "m")) == png(map_figure(*place, scores, "m"))
    nowhere = {name: np.array([np.nan, np.nan]) for name in scores}
    assert png(map_figure(*place, nowhere, "m"))
    empty = np.array([])
    assert png(map_figure(empty, empty, dict.fromkeys(scores, empty), "m"))
    assert png(boxes_figure({"a": {name: [np.nan] for name in scores}}, "b"))
    days = np.arange(3)
    assert png(station_figure(days, np.full(3, np.nan), {"a": np.full(3, np.nan)}, None, None, "s"))
