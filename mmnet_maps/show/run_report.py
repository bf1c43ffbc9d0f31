"""The report of a run: scores by fold, baselines, scatter, scores of stations."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from mmnet_maps.errors import InputError
from mmnet_maps.learn.evaluate import station_scores
from mmnet_maps.show.figures import box_figure, scatter_figure
from mmnet_maps.show.page import SCORE_NAMES, figure, note, preformatted, section, table

__all__ = ["read_scores", "run_body"]

_PREDICTIONS = "y_test_pred.csv"


def read_scores(path: Path) -> dict[str, Any]:
    """A ``scores.json``; `InputError` if it is not one."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not readable scores: {' '.join(str(error).split())}") from None
    if not isinstance(data, dict) or "overall" not in data:
        raise InputError(f"{path}: no overall scores; expected what `train`, `evaluate` or `validate` wrote")
    return data


def run_body(run: Path) -> Iterator[str]:
    """Sections of the report of a run folder.

    Raises
    ------
    InputError
        ``scores.json`` or a table of predictions is not what a run holds.
    """
    found = read_scores(run / "scores.json")
    yield section("Scores", [table(*_score_rows(found))])
    stations = found.get("stations")
    if isinstance(stations, Mapping):
        yield section("Stations", _stations(stations))
    folds = {place.parent.name: _predictions(place) for place in sorted(run.glob(f"*/{_PREDICTIONS}"))}
    if folds:
        rows = pd.concat(folds.values())
        drawn = scatter_figure(
            rows["y_test"].to_numpy(float), rows["y_pred"].to_numpy(float), found["overall"], "All test rows"
        )
        yield section("Predicted against measured", [figure(drawn, "scatter of all test rows")])
        yield section("Scores of the stations by fold", list(_boxes(folds)))
    settings = run / "config.yaml"
    if settings.is_file():
        yield section("Settings", [preformatted(settings.read_text(encoding="utf-8"))])


def _score_rows(found: Mapping[str, Any]) -> tuple[list[str], list[list[object]]]:
    """A row for all test rows, for each baseline on the same rows (SMAP itself, say), and for each fold."""
    entries = {"all": found["overall"]}
    for name, entry in found.get("baselines", {}).items():
        entries[f"{name} itself"] = entry.get("overall", entry)
    for name, entry in found.get("folds", {}).items():
        entries[f"fold {name}"] = entry.get("overall", entry)
    keys = [key for key in SCORE_NAMES if any(key in entry for entry in entries.values())]
    rows: list[list[object]] = [[name, *(entry.get(key) for key in keys)] for name, entry in entries.items()]
    return ["test rows", *(SCORE_NAMES[key] for key in keys)], rows


def _stations(stations: Mapping[str, Any]) -> list[str]:
    keys = [key for key in SCORE_NAMES if key in stations.get("mean", {})]
    rows = [
        [what, *(stations[what].get(key) for key in keys)] for what in ("mean", "median") if what in stations
    ]
    count = stations.get("count")
    return [note(f"{count} stations"), table(["over stations", *(SCORE_NAMES[key] for key in keys)], rows)]


def _predictions(path: Path) -> pd.DataFrame:
    try:
        frame = pd.read_csv(path, dtype={"ID": str})
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a readable CSV: {' '.join(str(error).split())}") from None
    missing = [name for name in ("ID", "y_test", "y_pred") if name not in frame.columns]
    if missing:
        raise InputError(f"{path}: columns {', '.join(missing)} are missing")
    return frame


def _boxes(folds: Mapping[str, pd.DataFrame]) -> Iterator[str]:
    tables = {
        name: station_scores(
            frame["y_test"].to_numpy(float), frame["y_pred"].to_numpy(float), frame["ID"].to_numpy()
        )
        for name, frame in folds.items()
    }
    for key, label in (("corr", "R"), ("ubrmse", "ubRMSE (m³ m⁻³)")):
        groups = {name: frame.loc[frame["n"] > 1, key].tolist() for name, frame in tables.items()}
        yield figure(
            box_figure(groups, label, f"{label} by station, number of stations below"), f"{label} boxes"
        )
