"""The scores themselves: of all rows, of each station, and over stations.

A score that is not defined (a correlation of a constant, say) is left out where it is not defined, with the
count, and takes no other score with it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

__all__ = [
    "METRICS",
    "error_parts",
    "grouped_scores",
    "overall_scores",
    "plain",
    "scores",
    "station_codes",
    "station_scores",
]

Values = NDArray[np.float64]

#: corr (Pearson), rmse, bias = mean(pred - obs), ubrmse = rmse after both means are removed, Spearman's rank
#: correlation, and the Kling-Gupta efficiency (Gupta et al. 2009).
METRICS = ("corr", "rmse", "bias", "ubrmse", "spearman", "kge")


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
    found = grouped_scores(observed, predicted, np.zeros(len(observed), dtype=np.intp), 1)
    return {**{name: plain(found[name][0]) for name in METRICS}, "n": int(found["n"][0])}


def station_codes(station: NDArray[Any]) -> tuple[NDArray[np.intp], NDArray[np.str_]]:
    """Number of each row's station, from 0 in the order of their names, and the names; ids are text.

    Distinct ids are found before they become text: that is many times faster than the other way round.
    """
    first, found = pd.factorize(np.asarray(station), use_na_sentinel=False)
    names, code = np.unique(np.asarray(found).astype(str), return_inverse=True)
    return code[first], names


def station_scores(observed: Values, predicted: Values, station: NDArray[Any]) -> pd.DataFrame:
    """Scores of each station.

    Returns
    -------
    DataFrame
        A row a station that has any prediction, sorted by ID: ID, `METRICS` (NaN where undefined), n.
    """
    code, names = station_codes(station)
    found = grouped_scores(observed, predicted, code, len(names))
    table = pd.DataFrame({"ID": names, **{name: found[name] for name in METRICS}, "n": found["n"]})
    return table[table["n"] > 0].reset_index(drop=True)


def scores(observed: Values, predicted: Values, station: NDArray[Any]) -> dict[str, Any]:
    """Overall scores, and the mean and median over stations.

    Stations with a single row are left out of the station scores, as published.

    Returns
    -------
    dict
        ``overall``; ``stations`` with ``count``, ``n`` (their rows), ``mean``, ``median``, ``undefined``
        (stations without that score, by metric, where there are any), ``single_row`` and ``unpredicted``
        (stations left out).
    """
    table = station_scores(observed, predicted, station)
    several = table[table["n"] > 1]
    undefined = {name: int(several[name].isna().sum()) for name in METRICS}
    stations = {
        "count": len(several),
        "n": int(several["n"].sum()),
        "mean": {name: plain(several[name].mean()) for name in METRICS},
        "median": {name: plain(several[name].median()) for name in METRICS},
        "undefined": {name: count for name, count in undefined.items() if count},
        "single_row": int((table["n"] == 1).sum()),
        "unpredicted": len(station_codes(station)[1]) - len(table),
    }
    return {"overall": overall_scores(observed, predicted), "stations": stations}


def error_parts(observed: Values, predicted: Values, station: NDArray[Any]) -> dict[str, Any]:
    """Split the mean squared error twice, each time into terms that sum to it.

    By kind (Gupta et al. 2009): ``total`` = ``bias`` + ``amplitude`` + ``timing``, with bias = (mean
    error)^2, amplitude = (s_p - s_o)^2, timing = 2 s_o s_p (1 - r); standard deviations and r over all rows.
    By station: ``total`` = ``bias`` + ``station_bias`` + ``within_stations``: the variance over rows of the
    mean error of their station, and the mean over rows of the squared ubrmse of their station.

    Returns
    -------
    dict
        The six terms in (m3 m-3)^2, None where there is no row, and ``n``.
    """
    whole = grouped_scores(observed, predicted, np.zeros(len(observed), dtype=np.intp), 1)
    bias, total, spread = (float(whole[name][0]) for name in ("bias", "rmse", "ubrmse"))
    use = np.isfinite(observed) & np.isfinite(predicted)
    amplitude = float((predicted[use].std() - observed[use].std()) ** 2) if use.any() else np.nan
    each = station_scores(observed, predicted, station)
    weight = each["n"].to_numpy(np.float64) / max(1, int(use.sum()))
    between = float((weight * (each["bias"].to_numpy() - bias) ** 2).sum())
    parts = {
        "total": total**2,
        "bias": bias**2,
        "amplitude": amplitude,
        "timing": spread**2 - amplitude,
        "station_bias": between if use.any() else np.nan,
        "within_stations": float((weight * each["ubrmse"].to_numpy() ** 2).sum()) if use.any() else np.nan,
    }
    return {**{name: plain(value) for name, value in parts.items()}, "n": int(use.sum())}


def plain(value: float) -> float | None:
    """The number, or None if it is undefined: JSON has no NaN."""
    return float(value) if np.isfinite(value) else None


def grouped_scores(
    observed: Values, predicted: Values, code: NDArray[np.intp], groups: int
) -> dict[str, Any]:
    """Every score of every group, in two passes: means first, then sums of products of the deviations.

    Parameters
    ----------
    observed, predicted : ndarray, shape (n,)
        Rows with a missing value in either are left out.
    code : ndarray of integers, shape (n,)
        Group of each row, from 0.
    groups : int

    Returns
    -------
    dict of str to ndarray, shape (groups,)
        `METRICS`, NaN where undefined, and ``n``.
    """
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
