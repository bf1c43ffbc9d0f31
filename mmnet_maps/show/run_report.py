"""The report of a run: scores by fold, baselines, scatter, scores of stations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from mmnet_maps.learn.evaluate import station_scores
from mmnet_maps.show.figures import box_figure, scatter_figure
from mmnet_maps.show.page import SCORE_NAMES, figure, note, preformatted, section, table
from mmnet_maps.show.run_folder import read_folds, read_scores

__all__ = ["run_body", "station_table"]

#: Scores that are shown by group.
_GROUP = ("corr", "rmse", "bias", "ubrmse")


def run_body(run: Path) -> Iterator[str]:
    """Sections of the report of a run folder.

    Raises
    ------
    InputError
        ``scores.json`` or a table of predictions is not what a run holds.
    """
    found = read_scores(run / "scores.json")
    yield section("Scores", [table(*_score_rows(found))])
    if isinstance(found.get("stations"), Mapping):
        yield section("Stations", station_table(found))
    for kind, groups in found.get("groups", {}).items():
        if groups:
            yield section(f"By {kind.replace('_', ' ')}", [table(*_group_rows(groups))])
    folds = read_folds(run)
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


def station_table(found: Mapping[str, Any]) -> list[str]:
    """Means and medians over stations, the interval of the medians, and the medians of the anomalies."""
    stations = found["stations"]
    keys = [key for key in SCORE_NAMES if key in stations.get("mean", {})]
    rows: list[list[object]] = [
        [what, *(stations[what].get(key) for key in keys)] for what in ("mean", "median") if what in stations
    ]
    notes = [note(f"{stations.get('count')} stations")]
    drawn = found.get("intervals")
    if drawn:
        ends = [drawn["median"].get(key) for key in keys]
        rows.append(["median, from", *(end and end[0] for end in ends)])
        rows.append(["median, to", *(end and end[1] for end in ends)])
        draws = f"{drawn['resamples']:,} draws of {drawn['stations']} stations"
        notes.append(note(f"From and to: {drawn['level']:.0%} interval, {draws}."))
    away = found.get("anomalies")
    if away and away["stations"]["count"]:
        rows.append(["median, anomalies", *(away["stations"]["median"].get(key) for key in keys)])
        count = away["stations"]["count"]
        notes.append(note(f"Anomalies: the seasonal cycle of each station removed, {count} stations."))
    return [table(["over stations", *(SCORE_NAMES[key] for key in keys)], rows), *notes]


def _group_rows(groups: Mapping[str, Any]) -> tuple[list[str], list[list[object]]]:
    """Medians over the stations of each group, with their number and that of the rows."""
    rows: list[list[object]] = []
    for name, entry in groups.items():
        stations = entry["stations"]
        rows.append(
            [name, stations["count"], entry["overall"]["n"], *(stations["median"].get(k) for k in _GROUP)]
        )
    return ["median of stations", "stations", "n", *(SCORE_NAMES[key] for key in _GROUP)], rows


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
