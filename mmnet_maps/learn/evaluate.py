"""Scores of predictions against observations, over all rows and by station.

A score that is not defined (a correlation of a constant, say) is left out where it is not defined, with the
count, and takes no other score with it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmnet_maps.errors import InputError

__all__ = ["METRICS", "evaluate_table", "overall_scores", "read_predictions", "scores", "station_scores"]

Values = NDArray[np.float64]

#: corr (Pearson), rmse, bias = mean(pred - obs), ubrmse = rmse after both means are removed, Spearman's rank
#: correlation, and the Kling-Gupta efficiency (Gupta et al. 2009).
METRICS = ("corr", "rmse", "bias", "ubrmse", "spearman", "kge")
_COLUMNS = ("ID", "Date", "y_test", "y_pred")


def overall_scores(observed: Values, predicted: Values) -> dict[str, Any]:
    """Scores over all rows.

    Parameters
    ----------
    observed, predicted : ndarray, shape (n,)
        Rows with a missing value in either are left out.

    Returns
    -------
    dict
        `METRICS`, None where undefined, and ``n``, the rows used.
    """
    found = _grouped(observed, predicted, np.zeros(len(observed), dtype=np.intp), 1)
    return {**{name: _plain(found[name][0]) for name in METRICS}, "n": int(found["n"][0])}


def station_scores(observed: Values, predicted: Values, station: NDArray[Any]) -> pd.DataFrame:
    """Scores of each station.

    Returns
    -------
    DataFrame
        A row a station that has any prediction, sorted by ID: ID, `METRICS` (NaN where undefined), n.
    """
    names, code = np.unique(np.asarray(station).astype(str), return_inverse=True)
    found = _grouped(observed, predicted, code, len(names))
    table = pd.DataFrame({"ID": names, **{name: found[name] for name in METRICS}, "n": found["n"]})
    return table[table["n"] > 0].reset_index(drop=True)


def scores(observed: Values, predicted: Values, station: NDArray[Any]) -> dict[str, Any]:
    """Overall scores, and the mean and median over stations.

    Stations with a single row are left out of the station scores, as published.

    Returns
    -------
    dict
        ``overall``; ``stations`` with ``count``, ``mean``, ``median``, ``undefined`` (stations without that
        score, by metric, where there are any), ``single_row`` and ``unpredicted`` (stations left out).
    """
    table = station_scores(observed, predicted, station)
    several = table[table["n"] > 1]
    undefined = {name: int(several[name].isna().sum()) for name in METRICS}
    stations = {
        "count": len(several),
        "mean": {name: _plain(several[name].mean()) for name in METRICS},
        "median": {name: _plain(several[name].median()) for name in METRICS},
        "undefined": {name: count for name, count in undefined.items() if count},
        "single_row": int((table["n"] == 1).sum()),
        "unpredicted": len(set(np.asarray(station).astype(str))) - len(table),
    }
    return {"overall": overall_scores(observed, predicted), "stations": stations}


def evaluate_table(frame: pd.DataFrame, where: str = "the prediction table") -> dict[str, Any]:
    """Score any prediction table.

    Parameters
    ----------
    frame : DataFrame
        ID, Date, y_test, y_pred.
    where : str
        What to call the table in errors.

    Raises
    ------
    InputError
        A column is missing or holds no numbers, or no row has both values.
    """
    missing = [name for name in _COLUMNS if name not in frame.columns]
    if missing:
        raise InputError(
            f"{where}: columns {', '.join(missing)} are missing; needed are {', '.join(_COLUMNS)}"
        )
    for name in ("y_test", "y_pred"):
        if not pd.api.types.is_numeric_dtype(frame[name]):
            raise InputError(f"{where}: column {name} holds {frame[name].dtype}, expected numbers")
    observed, predicted = (frame[n].to_numpy(np.float64, na_value=np.nan) for n in ("y_test", "y_pred"))
    if not (np.isfinite(observed) & np.isfinite(predicted)).any():
        raise InputError(f"{where}: none of its {len(frame)} rows has both y_test and y_pred")
    return scores(observed, predicted, frame["ID"].to_numpy())


def read_predictions(path: Path) -> pd.DataFrame:
    """Read a CSV of predictions; ids stay text.

    Raises
    ------
    InputError
        The file is missing or is no CSV.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        return pd.read_csv(path, dtype={"ID": str})
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a readable CSV: {' '.join(str(error).split())}") from None


def _plain(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _grouped(observed: Values, predicted: Values, code: NDArray[np.intp], groups: int) -> dict[str, Any]:
    """Every score of every group, in two passes: means first, then sums of products of the deviations."""
    use = np.isfinite(observed) & np.isfinite(predicted)
    o, p, group = np.asarray(observed, np.float64)[use], np.asarray(predicted, np.float64)[use], code[use]
    n = np.bincount(group, minlength=groups)

    def mean(values: Values) -> Values:
        result: Values = np.bincount(group, weights=values, minlength=groups) / n
        return result

    # A group without rows divides by zero, and its scores are then undefined, as they should be.
    with np.errstate(divide="ignore", invalid="ignore"):
        mean_o, mean_p = mean(o), mean(p)
        deviation_o, deviation_p = o - mean_o[group], p - mean_p[group]
        spread_o, spread_p = np.sqrt(mean(deviation_o**2)), np.sqrt(mean(deviation_p**2))
        # A constant differs from its own mean by rounding: such a spread is none.
        spread_o[spread_o <= 1e-12 * np.abs(mean_o)] = 0
        spread_p[spread_p <= 1e-12 * np.abs(mean_p)] = 0
        corr = mean(deviation_o * deviation_p) / np.where(
            spread_o * spread_p > 0, spread_o * spread_p, np.nan
        )
        kge = 1 - np.sqrt((corr - 1) ** 2 + (spread_p / spread_o - 1) ** 2 + (mean_p / mean_o - 1) ** 2)
        return {
            "corr": corr,
            "rmse": np.sqrt(mean((p - o) ** 2)),
            "bias": mean(p - o),
            "ubrmse": np.sqrt(mean((deviation_p - deviation_o) ** 2)),
            "spearman": _rank_correlation(o, p, group, groups),
            "kge": np.where(np.isfinite(kge), kge, np.nan),
            "n": n,
        }


def _rank_correlation(o: Values, p: Values, group: NDArray[np.intp], groups: int) -> Values:
    ranks = pd.DataFrame({"o": o, "p": p}).groupby(group).rank()
    n = np.bincount(group, minlength=groups)
    centre = (n[group] + 1) / 2
    a, b = ranks["o"].to_numpy() - centre, ranks["p"].to_numpy() - centre

    def total(values: Values) -> Values:
        result: Values = np.bincount(group, weights=values, minlength=groups).astype(np.float64)
        return result

    scale = np.sqrt(total(a * a) * total(b * b))
    correlation: Values = total(a * b) / np.where(scale > 0, scale, np.nan)
    return correlation
