"""The figures of a study from one call: scatter, map of stations, series of a station, box plots by model."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmnet_maps.dates import from_yyyymmdd
from mmnet_maps.errors import InputError, suggestion
from mmnet_maps.learn.bootstrap import paired_difference
from mmnet_maps.learn.evaluate import METRICS, overall_scores, station_scores
from mmnet_maps.show.figures import boxes_figure, map_figure, save, scatter_figure, station_figure
from mmnet_maps.show.run_folder import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure
from mmnet_maps.store.whole import write_whole

__all__ = ["write_figures"]

_KEYS = ["ID", "Date"]


def write_figures(
    runs: Sequence[Run], out: Path, table: pd.DataFrame | None = None, stations: Sequence[str] = ()
) -> tuple[list[Path], list[str]]:
    """Draw the figures of one run, or of several that are compared.

    Parameters
    ----------
    runs : sequence of Run
    out : Path
        Folder, there already: ``scatter_<run>.png`` and ``map_<run>.png`` of each run, ``boxes.png``,
        ``series_<station>.png``, ``station_scores.csv``, and of several runs ``paired.csv``.
    table : DataFrame, optional
        Station table: Latitude and Longitude for the maps; SMAP and pr, where it has them, for the series,
        and SMAP as one more model of the box plots.
    stations : sequence of str
        Whose series are drawn; by default the station whose R is the median of the first run.

    Returns
    -------
    files : list of Path
    left_out : list of str
        What was not drawn, and why.

    Raises
    ------
    InputError
        A station is not among the predictions, or a run predicts a station-day twice.
    """
    for run in runs:
        _refuse_twice(run)
    models = [*runs, *_smap(runs[0], table)]
    scored = {run.name: _scores_of(run.predictions) for run in models}
    chosen = _stations(stations, runs[0], scored[runs[0].name])
    known = None if table is None else table.drop_duplicates("ID").set_index("ID")[["Latitude", "Longitude"]]
    files, left_out = [], []
    for run in runs:
        files += _scatter(run, out)
        if known is not None:
            files += _map(run.name, scored[run.name], known, out)
    if known is None:
        left_out.append("maps of stations, SMAP and precipitation: give --table")
    files += [_series(name, runs, table, out) for name in chosen]
    same = _common(models)
    if same is None:
        left_out.append("box plots: the runs have no station-day in common")
    else:
        boxed = {name: _scores_of(rows) for name, rows in same.items()}
        files += _boxes(boxed, out)
        files += _paired(models, out) if len(runs) > 1 else []
    listed = [scores.assign(model=name) for name, scores in scored.items()]
    files.append(_write_csv(out / "station_scores.csv", _placed(pd.concat(listed), known)))
    return files, left_out


def _refuse_twice(run: Run) -> None:
    twice = run.predictions.duplicated(_KEYS)
    if twice.any():
        row = run.predictions[twice].iloc[0]
        raise InputError(f"run {run.name}: station {row['ID']} has the day {row['Date']} more than once")


def _smap(run: Run, table: pd.DataFrame | None) -> list[Run]:
    """SMAP itself as a prediction of the rows of a run."""
    if table is None or "SMAP" not in table.columns:
        return []
    known = table[[*_KEYS, "SMAP"]].drop_duplicates(_KEYS)
    rows = run.predictions[[*_KEYS, "y_test"]].merge(known.assign(ID=known["ID"].astype(str)), on=_KEYS)
    rows = rows.rename(columns={"SMAP": "y_pred"})
    return [Run("SMAP", rows)] if rows["y_pred"].notna().any() else []


def _scores_of(rows: pd.DataFrame) -> pd.DataFrame:
    """Scores of the stations with several rows."""
    found = station_scores(_numbers(rows, "y_test"), _numbers(rows, "y_pred"), rows["ID"].to_numpy())
    return found[found["n"] > 1].reset_index(drop=True)


def _numbers(rows: pd.DataFrame, name: str) -> NDArray[np.float64]:
    return rows[name].to_numpy(np.float64, na_value=np.nan)


def _stations(wanted: Sequence[str], run: Run, scored: pd.DataFrame) -> list[str]:
    known = set(run.predictions["ID"])
    for name in wanted:
        if name not in known:
            raise InputError(
                f"--station {name}: not among the {len(known)} stations of run {run.name}"
                + suggestion(name, known)
            )
    if wanted:
        return list(dict.fromkeys(wanted))
    ranked = scored.dropna(subset=["corr"]).sort_values(["corr", "ID"])
    return [str(ranked["ID"].iloc[(len(ranked) - 1) // 2])] if len(ranked) else []


def _scatter(run: Run, out: Path) -> list[Path]:
    observed, predicted = (_numbers(run.predictions, name) for name in ("y_test", "y_pred"))
    count = run.predictions["ID"].nunique()
    found = overall_scores(observed, predicted)
    drawn = scatter_figure(observed, predicted, found, f"{run.name}, held-out rows of {count} stations")
    return [_saved(drawn, out, "scatter", run.name)]


def _map(name: str, scored: pd.DataFrame, known: pd.DataFrame, out: Path) -> list[Path]:
    at = _placed(scored, known).dropna(subset=["Latitude", "Longitude"])
    scores = {metric: at[metric].to_numpy(np.float64) for metric in METRICS}
    lon, lat = (at[axis].to_numpy(np.float64) for axis in ("Longitude", "Latitude"))
    return [_saved(map_figure(lon, lat, scores, f"{name}: scores of {len(at)} stations"), out, "map", name)]


def _placed(scored: pd.DataFrame, known: pd.DataFrame | None) -> pd.DataFrame:
    return scored if known is None else scored.merge(known, left_on="ID", right_index=True, how="left")


def _series(station: str, runs: Sequence[Run], table: pd.DataFrame | None, out: Path) -> Path:
    of_run = {run.name: run.predictions[run.predictions["ID"] == station] for run in runs}
    known = pd.concat([rows["Date"] for rows in of_run.values()])
    held = _days(known)
    days = np.arange(held.min(), held.max() + 1)
    first = pd.concat(list(of_run.values())).drop_duplicates("Date")
    measured = _on(days, first, "y_test")
    predicted = {name: _on(days, rows, "y_pred") for name, rows in of_run.items()}
    extra: dict[str, NDArray[np.float64]] = {}
    if table is not None:
        rows = table[table["ID"].astype(str) == station]
        extra = {name: _on(days, rows, name) for name in ("SMAP", "pr") if name in rows.columns}
    n = int(np.isfinite(measured).sum())
    drawn = station_figure(
        days, measured, predicted, extra.get("SMAP"), extra.get("pr"), f"{station}, {n} measured days"
    )
    return _saved(drawn, out, "series", station)


def _on(days: NDArray[np.int64], rows: pd.DataFrame, name: str) -> NDArray[np.float64]:
    """The column on consecutive days, NaN where there is none."""
    values = np.full(len(days), np.nan)
    index = _days(rows["Date"]) - days[0]
    inside = (index >= 0) & (index < len(days))
    values[index[inside]] = _numbers(rows, name)[inside]
    return values


def _days(dates: pd.Series[int]) -> NDArray[np.int64]:
    return from_yyyymmdd(dates.to_numpy(np.int64))


def _common(models: Sequence[Run]) -> Mapping[str, pd.DataFrame] | None:
    """The rows that all models predict, so that boxes compare like with like."""
    held = [pd.MultiIndex.from_frame(run.predictions.dropna(subset=["y_pred"])[_KEYS]) for run in models]
    shared = held[0]
    for index in held[1:]:
        shared = shared.intersection(index)
    if not len(shared):
        return None
    return {run.name: run.predictions.set_index(_KEYS).loc[shared].reset_index() for run in models}


def _boxes(scored: Mapping[str, pd.DataFrame], out: Path) -> list[Path]:
    n = int(next(iter(scored.values()))["n"].sum())
    tables = {name: {m: list(scores[m]) for m in METRICS} for name, scores in scored.items()}
    path = out / "boxes.png"
    save(boxes_figure(tables, f"Scores of stations, {n:,} rows that all have"), path)
    return [path]


def _paired(models: Sequence[Run], out: Path) -> list[Path]:
    """The first model against each other one, on the same stations and days."""
    rows = []
    first = models[0]
    for other in models[1:]:
        found = paired_difference(first.predictions, other.predictions, names=(first.name, other.name))
        for metric in METRICS:
            entry = found[metric]
            low, high = entry["interval"] or (None, None)
            rows.append(
                {
                    "first": first.name,
                    "second": other.name,
                    "score": metric,
                    "median_first": entry["first"],
                    "median_second": entry["second"],
                    "difference": entry["difference"],
                    "low": low,
                    "high": high,
                    "share_better": entry["share_better"],
                    "stations": found["stations"],
                    "n": found["n"],
                }
            )
    return [_write_csv(out / "paired.csv", pd.DataFrame(rows))]


def _saved(drawn: Figure, out: Path, kind: str, name: str) -> Path:
    plain = re.sub(r"[^\w.-]+", "-", name)
    save(drawn, out / f"{kind}_{plain}.png")
    return out / f"{kind}_{plain}.png"


def _write_csv(path: Path, table: pd.DataFrame) -> Path:
    return write_whole(path, table.to_csv(index=False, float_format="%.8g", lineterminator="\n"))
